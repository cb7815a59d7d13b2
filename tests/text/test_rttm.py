"""RTTM read and written, compared with pyannote's own reader and writer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyannote.core import Annotation, Segment
from pyannote.database.util import load_rttm

from polydub.errors import BadInput
from polydub.text import rttm
from polydub.types import Turn

TURNS = (Turn(0.5, 2.25, "Ana"), Turn(2.0, 3.125, "Björn"), Turn(2.0, 3.5, "李雷"))
TEXT = """;; made by hand
SPKR-INFO talk 1 <NA> <NA> <NA> unknown Ana <NA> <NA>

SPEAKER talk 1 2.000 1.125 <NA> <NA> Björn <NA> <NA>
SPEAKER talk 1 0.500 1.750 <NA> <NA> Ana 0.9
SPEAKER talk 1 2.000 1.500 <NA> <NA> 李雷
SPEAKER talk 1 9.000 0.000 <NA> <NA> Ana <NA> <NA>
"""


def test_turns_come_in_order_of_time_and_other_lines_say_nothing() -> None:
    assert rttm.parse(TEXT.encode(), "a.rttm") == TURNS
    assert rttm.parse("\ufeff" + TEXT.replace("\n", "\r\n"), "a.rttm") == TURNS
    assert rttm.parse(TEXT.replace(" ", "\t"), "a.rttm") == TURNS


def test_what_is_written_is_read_by_pyannote(tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_text(rttm.write("my talk", TURNS), encoding="utf-8")
    (name, told), *others = load_rttm(tmp_path / "a.rttm").items()
    assert name == "my_talk" and not others
    assert {(s.start, s.end, who) for s, _, who in told.itertracks(yield_label=True)} == {
        (t.start, t.end, t.speaker) for t in TURNS
    }


def test_what_pyannote_writes_is_read() -> None:
    told = Annotation(uri="talk")
    for number, turn in enumerate(TURNS):
        told[Segment(turn.start, turn.end), number] = turn.speaker
    assert rttm.parse(told.to_rttm(), "a.rttm") == TURNS


def test_names_with_blanks_become_words_and_stay_apart() -> None:
    turns = [Turn(n, n + 1, name) for n, name in enumerate(("A B", "A_B", "A\tB", "", "A B"))]
    written = rttm.write("x\u2028y", turns)
    assert len(written.splitlines()) == len(turns)
    names = [line.split()[7] for line in written.splitlines()]
    assert names == ["A_B_2", "A_B", "A_B_3", "<NA>", "A_B_2"]


@given(
    st.lists(
        st.builds(
            lambda at, ms, name: Turn(at / 1000, (at + ms) / 1000, name),
            st.integers(0, 10**7),
            st.integers(1, 10**6),
            st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=5).filter(lambda n: n != "<NA>"),
        ),
        min_size=1,
    )
)
def test_what_is_written_is_read_as_it_was(turns: list[Turn]) -> None:
    assert rttm.parse(rttm.write("film", turns).encode(), "a.rttm") == tuple(
        sorted(turns, key=lambda t: (t.start, t.end, t.speaker))
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("SPEAKER talk 1 0.5 1.0 <NA> <NA>", "7 fields"),
        ("SPEAKER talk 1 half 1.0 <NA> <NA> Ana <NA> <NA>", "'half' is no time"),
        ("SPEAKER talk 1 0.5 -1 <NA> <NA> Ana <NA> <NA>", "'-1' is no time"),
        ("SPEAKER talk 1 nan 1 <NA> <NA> Ana <NA> <NA>", "'nan' is no time"),
        ("SPEAKER talk 1 1 1e999 <NA> <NA> Ana <NA> <NA>", "no time"),
        ("SPEAKER talk 1 0.5 1.0 <NA> <NA> <NA> <NA> <NA>", "nobody is named"),
        ("1\n00:00:01,000 --> 00:00:02,000\nHello", "'1' is no type of line"),
        ("speaker talk 1 0.5 1.0 <NA> <NA> Ana <NA> <NA>", "'speaker' is no type"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(line: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        rttm.parse(f";; one\n\n{line}\n", "a.rttm")
    assert caught.value.message.startswith("a.rttm, line 3: ") and told in caught.value.message
    assert caught.value.hint


def test_bytes_that_are_no_utf_8_are_told_with_the_line() -> None:
    with pytest.raises(BadInput, match="line 2: it is not UTF-8"):
        rttm.parse(b";; x\nSPEAKER talk 1 0 1 <NA> <NA> Bj\xf6rn\n", "a.rttm")


@pytest.mark.parametrize("text", ["", "\n", ";; nothing\n", "LEXEME talk 1 0.5 1.0 hello lex Ana 1 <NA>\n"])
def test_a_file_without_turns_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="holds no turn"):
        rttm.parse(text, "a.rttm")


def test_of_several_recordings_the_one_of_the_film_is_taken() -> None:
    both = rttm.write("one", TURNS[:1]) + rttm.write("my talk", TURNS[1:])
    assert rttm.parse(both, "a.rttm", "my talk") == TURNS[1:]
    with pytest.raises(BadInput, match="2 recordings, none of them 'other': my_talk, one"):
        rttm.parse(both, "a.rttm", "other")
    assert rttm.parse(rttm.write("one", TURNS), "a.rttm", "other") == TURNS
