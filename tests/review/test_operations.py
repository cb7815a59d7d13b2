"""What a person can do to lines: checked, one change each, told; nothing is spoken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from polydub import edits, review
from polydub.errors import BadInput, BadSettings, PolydubError, StoreError
from polydub.review import Reviewed
from polydub.review.operations import cut_text


def test_the_lines_of_a_dub_are_listed_as_they_are(talk: Reviewed) -> None:
    rows = review.listing(talk)
    assert [(x.id, x.speaker, x.text) for x in rows[:2]] == [
        ("1", "ANNA", "Hola, ¿qué tal?"),
        ("2", "BOB", "Muy bien hoy, muchas gracias."),
    ]
    report = json.loads((talk.folder / "report.es.json").read_text(encoding="utf-8"))["lines"]
    assert [(x.at, x.duration, x.rate) for x in rows] == [(x["start"], x["duration"], x["rate"]) for x in report]
    assert {(x.status, x.pending, x.takes, x.revision) for x in rows} == {("draft", False, (), 0)}
    assert rows[0].source_text == "Hello there, how are you?"
    assert rows[0].voice


def test_the_language_is_found_or_asked_for(talk: Reviewed, tmp_path: Path) -> None:
    assert review.open_review(talk.folder) == talk
    assert review.open_review(talk.folder, "Spanish") == talk
    with pytest.raises(BadSettings, match="no dub in fr"):
        review.open_review(talk.folder, "fr")
    (talk.folder / "script.fr.json").write_text("{}")
    with pytest.raises(BadSettings, match="es, fr") as caught:
        review.open_review(talk.folder)
    assert "--lang" in caught.value.hint
    for folder in (tmp_path / "gone", tmp_path):
        with pytest.raises(BadInput, match="no "):
            review.open_review(folder)


def test_a_project_of_an_earlier_polydub_is_told(talk: Reviewed) -> None:
    (talk.folder / ".spoken.es.json").unlink()
    with pytest.raises(BadInput, match="earlier polydub") as caught:
        review.listing(talk)
    assert "once more" in caught.value.hint


def test_a_damaged_report_is_told(talk: Reviewed) -> None:
    (talk.folder / "report.es.json").write_text("{")
    with pytest.raises(StoreError, match=r"report\.es\.json"):
        review.listing(talk)


def test_an_edit_is_seen_at_once_and_pending(talk: Reviewed) -> None:
    review.edit(talk, "1", {"text": "  Hola\n a todos. "})
    row = review.row(talk, "1")
    assert (row.text, row.said, row.pending, row.revision) == ("Hola a todos.", "Hola, ¿qué tal?", True, 1)
    assert row.takes == (1,), "what was there before is the first take"
    assert not review.row(talk, "2").pending
    review.edit(talk, "1", {"text": None})
    assert review.row(talk, "1").text == "Hola, ¿qué tal?"


def test_an_edit_of_several_lines_is_undone_as_one(talk: Reviewed) -> None:
    before = review.listing(talk)
    review.edit_many(talk, {"1": {"text": "a"}, "3": {"text": "b", "status": "approved"}})
    assert [x.text for x in review.listing(talk)][::2] == ["a", "b"]
    assert review.undo(talk).what == "status, text of lines 1, 3"
    assert [x.text for x in review.listing(talk)] == [x.text for x in before]
    review.redo(talk)
    assert review.row(talk, "3").status == "approved"


REFUSED: list[tuple[str, Callable[[Reviewed], object], str]] = [
    ("unknown line", lambda dub: review.edit(dub, "77", {"text": "x"}), "no line 77"),
    ("unknown field", lambda dub: review.edit(dub, "1", {"txet": "x"}), "txet"),
    ("bad value", lambda dub: review.edit(dub, "1", {"seed": -1}), "seed"),
    ("no text at all", lambda dub: review.edit(dub, "1", {"speaker": ""}), "speaker"),
    ("ends before it begins", lambda dub: review.time(dub, "1", start=3.0, end=2.0), "before it begins"),
    ("after the film", lambda dub: review.time(dub, "1", start=60.0), "after the film"),
    ("nothing to split", lambda dub: review.split(dub, "3", at=4.0), "say nothing"),
    ("split outside", lambda dub: review.split(dub, "1", ("a", "b"), at=5.0), "not inside line 1"),
    ("split nowhere", lambda dub: review.split(dub, "1"), "where"),
    ("two speakers", lambda dub: review.merge(dub, "1", "2"), "not two of one speaker"),
    ("itself", lambda dub: review.merge(dub, "1", "1"), "not two of one speaker"),
    ("not locked", lambda dub: review.unlock(dub, ["1"]), "not locked"),
    ("no such take", lambda dub: review.use(dub, "1", 4), "no take 4"),
    ("nobody", lambda dub: review.speaker(dub, "ZOE", {"voice": "x"}), "nobody in this film is called ZOE"),
    ("same each time", lambda dub: review.regen(dub, ["1"], frozenset({"rate"})), "the same way each time"),
    ("nothing done", review.undo, "nothing to undo"),
]


@pytest.mark.parametrize(("act", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_done_is_told_and_changes_nothing(talk: Reviewed, act: Callable[[Reviewed], object], said: str) -> None:
    with pytest.raises(PolydubError, match=said) as caught:
        act(talk)
    assert caught.value.hint
    assert not edits.path(talk.folder, "es").exists()


def test_a_locked_line_cannot_be_changed_until_it_is_unlocked(talk: Reviewed) -> None:
    review.lock(talk, ["1"])
    acts: list[Callable[[], object]] = [
        lambda: review.edit(talk, "1", {"text": "x"}),
        lambda: review.time(talk, "1", 1.0),
        lambda: review.voice(talk, "low", ["1"]),
        lambda: review.regen(talk, ["1"]),
        lambda: review.split(talk, "1", at=1.0),
        lambda: review.merge(talk, "1", "3"),
        lambda: review.use(talk, "1", 1),
    ]
    for act in acts:
        with pytest.raises(BadInput, match="line 1 is locked") as caught:
            act()
        assert "unlock" in caught.value.hint
    assert review.row(talk, "1").status == "locked"
    review.approve(talk, ["1"])
    review.unlock(talk, ["1"])
    assert review.row(talk, "1").status == "approved"
    review.edit(talk, "1", {"text": "x"})


def test_a_lock_holds_what_was_spoken_last(talk: Reviewed) -> None:
    review.lock(talk, ["1"])
    held = edits.read(talk.folder, "es").locks["1"].spoken
    assert held
    assert (held.text, held.placed[0].start) == ("Hola, ¿qué tal?", review.row(talk, "1").at)
    review.edit(talk, "3", {"text": "Otra cosa."})
    review.lock(talk, ["3"])
    assert edits.read(talk.folder, "es").locks["3"].spoken is None, "it is held as the next render speaks it"


def test_a_split_gives_a_number_that_no_line_had(talk: Reviewed) -> None:
    review.edit(talk, "1", {"voice": "higher"})
    review.split(talk, "1", ("Hola,", "¿qué tal?"), at=1.0)
    rows = {x.id: x for x in review.listing(talk)}
    assert list(rows) == ["1", "5", "2", "3", "4"]
    assert [(rows[x].start, rows[x].end, rows[x].text, rows[x].own_voice) for x in ("1", "5")] == [
        (0.5, 1.0, "Hola,", "higher"),
        (1.0, 1.9, "¿qué tal?", "higher"),
    ]
    assert rows["1"].source_text + " " + rows["5"].source_text == "Hello there, how are you?"
    review.undo(talk)
    assert [x.id for x in review.listing(talk)] == ["1", "2", "3", "4"]
    review.split(talk, "2", at=2.6)
    assert [x.id for x in review.listing(talk)] == ["1", "2", "6", "3", "4"] or "5" in edits.path(talk.folder, "es").read_text()


def test_merged_lines_say_both_texts(talk: Reviewed) -> None:
    review.merge(talk, "3", "1")
    rows = review.listing(talk)
    assert [x.id for x in rows] == ["1", "2", "4"]
    assert (rows[0].text, rows[0].start, rows[0].end) == ("Hola, ¿qué tal? Bien.", 0.5, 4.9)


def test_regen_takes_another_seed_each_time(talk: Reviewed) -> None:
    review.regen(talk, ["1"], frozenset({"seed"}))
    first = review.row(talk, "1").seed
    review.regen(talk, ["1", "2"])
    assert first
    assert review.row(talk, "1").seed
    assert review.row(talk, "2").seed


def test_a_conflict_is_told_to_who_asks(talk: Reviewed) -> None:
    seen = review.row(talk, "1").revision
    review.edit(talk, "1", {"text": "a"})
    with pytest.raises(review.Conflict):
        review.edit(talk, "1", {"text": "b"}, expected=seen)
    review.edit(talk, "2", {"text": "b"}, expected=0)


@pytest.mark.parametrize(
    ("text", "share", "halves"),
    [
        ("one two three four", 0.5, ("one two", "three four")),
        ("one two three four", 0.0, ("one", "two three four")),
        ("one two three four", 1.0, ("one two three", "four")),
        ("word", 0.5, ("word", "")),
        ("", 0.5, ("", "")),
        ("你好世界", 0.5, ("你好", "世界")),
    ],
)
def test_a_text_is_cut_between_words(text: str, share: float, halves: tuple[str, str]) -> None:
    assert cut_text(text, share) == halves


def test_only_what_changes_the_film_is_pending(talk: Reviewed) -> None:
    review.approve(talk, ["1"])
    review.lock(talk, ["2"])
    assert not any(x.pending for x in review.listing(talk))
    review.speaker(talk, "ANNA", {"voice": "higher"})
    assert [x.id for x in review.listing(talk) if x.pending] == ["1", "3"]
    review.undo(talk)
    assert not any(x.pending for x in review.listing(talk))
