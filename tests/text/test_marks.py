"""Marks that tell how a text is said are found and taken out; what only looks like one is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text import tags
from polydub.types import PLAIN, Expression


@pytest.mark.parametrize(
    ("text", "said", "marks"),
    [
        ("[angry] Leave me alone!", "Leave me alone!", ("angry",)),
        ("[ANGRY]Leave me alone!", "Leave me alone!", ("angry",)),
        ("Leave [ whispers ] me alone.", "Leave me alone.", ("whispering",)),
        ("Leave me alone [sadly].", "Leave me alone.", ("sad",)),
        ("[angry] [fast] Go! [angry] Now!", "Go! Now!", ("angry", "fast")),
        ("Wait [pause] what?", "Wait… what?", ()),
        ("Wait, [pause] what?", "Wait, what?", ()),
        ("[pause] What?", "What?", ()),
        ("One row [slow]\nand the next", "One row\nand the next", ("slow",)),
    ],
)
def test_marks_are_taken_out_wherever_they_stand(text: str, said: str, marks: tuple[str, ...]) -> None:
    assert tags.read(text) == tags.Marked(said, marks)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[music]",
            "[laughs] That is good.",
            "[angry]",
            "[whispering]",
            "(angry) Leave me alone",
            "See [1] and [angrier than].",
        ),
        *("", "Two  blanks stay", "an [open mark", "[ANNA]: Hello", "[door slams shut]"),
    ],
)
def test_what_is_no_mark_or_nothing_else_stays_as_it_is(text: str) -> None:
    assert tags.read(text) == tags.Marked(text)


@given(st.text(alphabet="ab [].,!\n", max_size=40), st.sampled_from(sorted(tags.NAMES)), st.text(alphabet="ab ,.", max_size=20))
def test_no_mark_is_left_where_anything_is_said_and_reading_twice_changes_nothing(before: str, name: str, after: str) -> None:
    read = tags.read(f"{before}[{name}]{after}")
    if any(c.isalnum() for c in before + after):
        assert f"[{name}]" not in read.text
        assert [c for c in read.text if c.isalnum()] == [c for c in before + after if c.isalnum()]
    assert tags.read(read.text).text == read.text


def test_every_mark_means_something_small_and_is_known_by_its_own_name() -> None:
    for name, meant in {**tags.EMOTIONS, **tags.MANNERS}.items():
        assert tags.NAMES[name] == name and meant != PLAIN
        assert 0.85 <= meant.rate <= 1.15 and abs(meant.pitch) <= 2 and abs(meant.energy_db) <= 7
        assert 0.65 <= meant.pitch_range <= 1.4
    assert all(meant.emotion == name for name, meant in tags.EMOTIONS.items())
    assert set(tags.NAMES.values()) == {*tags.EMOTIONS, *tags.MANNERS, tags.PAUSE}


def test_half_the_strength_is_half_of_it_and_none_is_nothing() -> None:
    whole, half = tags.meaning(["angry"]), tags.meaning(["angry"], 0.5)
    assert half.rate**2 == pytest.approx(whole.rate, abs=0.002) and half.pitch_range**2 == pytest.approx(
        whole.pitch_range, abs=0.002
    )
    assert (half.pitch, half.energy_db) == (whole.pitch / 2, whole.energy_db / 2)
    assert tags.meaning(["angry"], 0.0) == tags.meaning([]) == tags.meaning(["nonsense"]) == PLAIN


def test_marks_add_up_and_the_first_emotion_is_the_emotion() -> None:
    both = tags.meaning(["angry", "slow", "sad"])
    assert both.emotion == "angry"
    assert both.rate == pytest.approx(1.08 * 0.87 * 0.92, abs=0.001) and both.energy_db == 1.0


def test_several_expressions_lie_on_top_of_each_other() -> None:
    assert tags.combined([Expression(1.2, 1.0, 2.0, 1.5), Expression(0.5, -2.0, 1.0, 0.5, "sad")]) == Expression(
        0.6, -1.0, 3.0, 0.75, "sad"
    )
