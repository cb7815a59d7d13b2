"""The file of what a person has set: written whole, by several at once, undone and redone, never overwritten when damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polydub import edits
from polydub.edits import Conflict, Edits, LineEdit, Lock, Manner, SpeakerEdit, Version
from polydub.errors import BadInput, PolydubError, StoreError
from polydub.spoken import Spoken
from polydub.types import Artifact, Expression, Line, Phrase, Span, Take

SOUND = Artifact("ab" * 32, ".flac", 3)
SPOKEN = Spoken(
    line=Line(0, 1, "3", "A", "one", "uno", "es"),
    span=Span(0, 1),
    text="uno",
    voice="low",
    phrases=(Phrase(0, 1, "3", "A", "uno"),),
    takes={"3": (Take(SOUND, 1.0, 1.0, -20.0),)},
)


def say(folder: Path, line: str, text: str, **more: int) -> edits.Change | None:
    return edits.change(
        folder, "es", f"text of {line}", lambda book: book.with_line(line, book.line(line).changed(text=text)), more or None
    )


def texts(folder: Path) -> dict[str, str | None]:
    return {id_: edit.text for id_, edit in edits.read(folder, "es").lines.items()}


def test_what_was_set_is_read_again(tmp_path: Path) -> None:
    edit = LineEdit(
        text="uno", voice="Anna", expression=Manner(rate=1.1, emotion="angry"), start=1.5, seed=7, status="approved"
    )
    book = Edits(format=2).with_line("3", edit).with_speaker("A", SpeakerEdit(label="Anna"))
    book = book.with_lock("3", Lock(when=edits.now(), spoken=SPOKEN))
    book = book.with_take("3", Version(number=1, when=edits.now(), why="first", spoken=SPOKEN))
    edits.update(tmp_path, "es", lambda _: book)
    assert edits.read(tmp_path, "es") == book
    assert edits.read(tmp_path, "fr") == Edits(format=2)
    assert book.status("3") == "locked"
    assert book.with_lock("3", None).status("3") == "approved"


def test_a_person_can_read_the_file(tmp_path: Path) -> None:
    say(tmp_path, "3", "¡Buenos días!")
    file = edits.path(tmp_path, "es").read_text(encoding="utf-8")
    assert json.loads(file)["lines"] == {"3": {"text": "¡Buenos días!"}}
    assert "¡Buenos días!" in file
    assert "\n  " in file


def test_the_first_form_of_the_file_is_still_read(tmp_path: Path) -> None:
    old = {"version": 1, "items": {"lines": {"1": {"text": "Hola.", "seed": 3}, "2": {"locked": True}}}}
    edits.path(tmp_path, "es").write_text(json.dumps(old), encoding="utf-8")
    book = edits.read(tmp_path, "es")
    assert book.line("1") == LineEdit(text="Hola.", seed=3)
    assert book.status("2") == "locked"
    say(tmp_path, "5", "cinco")
    assert texts(tmp_path)["1"] == "Hola."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": 2, "lines": {"3": {"txet": "x"}}}', "lines.3.txet"),
        ('{"format": 2, "lines": {"3": {"seed": "x"}}}', "lines.3.seed"),
        ('{"format": 2, "lines": {"3": {"start": -1}}}', "lines.3.start"),
        ('{"items": {"lines": {"3": {"txet": "x"}}}}', "txet"),
        ('{"format": 9}', "newer polydub"),
        ("[]", "no edits"),
        ('{"format": ', "cannot be read"),
    ],
)
def test_a_damaged_file_is_one_sentence_and_never_overwritten(tmp_path: Path, text: str, said: str) -> None:
    file = edits.path(tmp_path, "es")
    file.write_text(text)
    for attempt in (lambda: edits.read(tmp_path, "es"), lambda: say(tmp_path, "3", "x"), lambda: edits.undo(tmp_path, "es")):
        with pytest.raises(PolydubError, match=said) as caught:
            attempt()
        assert caught.value.hint
    assert file.read_text() == text


def test_a_recording_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    edits.update(tmp_path, "es", lambda book: book.with_lock("3", Lock(when=edits.now(), spoken=SPOKEN)))
    file = edits.path(tmp_path, "es")
    file.write_text(file.read_text().replace("ab" * 32, "../../secret"))
    with pytest.raises(BadInput, match="hexadecimal"):
        edits.read(tmp_path, "es")


def test_a_change_can_be_undone_and_made_again(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    say(tmp_path, "3", "dos")
    say(tmp_path, "4", "tres")
    assert edits.undo(tmp_path, "es").what == "text of 4"
    edits.undo(tmp_path, "es")
    assert texts(tmp_path) == {"3": "uno"}
    edits.undo(tmp_path, "es", again=True)
    assert texts(tmp_path) == {"3": "dos"}
    edits.undo(tmp_path, "es")
    edits.undo(tmp_path, "es")
    assert texts(tmp_path) == {}
    with pytest.raises(BadInput, match="nothing to undo"):
        edits.undo(tmp_path, "es")


def test_a_new_change_drops_what_was_undone(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    edits.undo(tmp_path, "es")
    say(tmp_path, "4", "dos")
    with pytest.raises(BadInput, match="nothing to redo"):
        edits.undo(tmp_path, "es", again=True)
    assert texts(tmp_path) == {"4": "dos"}


def test_undo_takes_back_what_one_change_touched_and_nothing_else(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    edits.change(tmp_path, "es", "lock", lambda book: book.with_lock("3", Lock(when=edits.now(), spoken=SPOKEN)))
    edits.update(tmp_path, "es", lambda book: book.with_take("3", Version(number=1, when=edits.now(), why="", spoken=SPOKEN)))
    edits.undo(tmp_path, "es")
    book = edits.read(tmp_path, "es")
    assert (book.status("3"), book.line("3").text, len(book.takes["3"])) == ("draft", "uno", 1)
    edits.undo(tmp_path, "es", again=True)
    assert edits.read(tmp_path, "es").locks["3"].spoken == SPOKEN


def test_what_changes_nothing_is_no_change(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    assert say(tmp_path, "3", "uno") is None
    assert len(edits.read(tmp_path, "es").history) == 1


def test_an_older_view_of_the_line_is_a_conflict_only_for_who_asks(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    seen = edits.read(tmp_path, "es").revisions["3"]
    say(tmp_path, "4", "another line does not matter")

    def set_text(text: str, expected: dict[str, int] | None) -> None:
        edits.change(tmp_path, "es", "x", lambda book: book.with_line("3", LineEdit(text=text)), expected)

    set_text("dos", {"3": seen})
    with pytest.raises(Conflict, match="line 3 was changed"):
        set_text("tres", {"3": seen})
    set_text("cuatro", None)
    assert texts(tmp_path)["3"] == "cuatro"


def test_a_refused_change_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    say(tmp_path, "3", "uno")
    before = edits.path(tmp_path, "es").read_bytes()
    with pytest.raises(BadInput, match="seed"):
        edits.change(tmp_path, "es", "x", lambda book: book.with_line("3", book.line("3").changed(seed=-1)))
    assert edits.path(tmp_path, "es").read_bytes() == before


def test_a_folder_that_is_no_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no project"):
        say(tmp_path / "gone", "3", "x")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    edits.path(tmp_path, "es").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        edits.read(tmp_path, "es")


def test_edits_of_two_processes_do_not_lose_each_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from polydub import edits\n"
        "for n in range(50):\n"
        "    line = f'{sys.argv[2]}{n}'\n"
        "    edits.change(Path(sys.argv[1]), 'es', line, lambda book: book.with_line(line, edits.LineEdit(text=line)))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in ("1", "2")]
    assert [process.wait(60) for process in running] == [0, 0]
    book = edits.read(tmp_path, "es")
    assert set(book.lines) == {f"{name}{n}" for name in ("1", "2") for n in range(50)}
    assert (len(book.history), book.done, book.revision) == (100, 100, 100)


def test_a_manner_changes_only_what_it_names() -> None:
    plain = Expression(rate=1.2, pitch=1.0)
    assert Manner(pitch=-2.0).over(plain) == Expression(rate=1.2, pitch=-2.0)
    assert Manner().over(plain) == plain


def test_what_is_set_of_a_line_and_its_history_follow_the_line_to_its_new_number(tmp_path: Path) -> None:
    edits.change(tmp_path, "es", "text", lambda book: book.with_line("3", LineEdit(text="uno")))
    edits.change(tmp_path, "es", "lock", lambda book: book.with_lock("3", Lock(when=edits.now())))
    moved = {"3": "7"}
    edits.update(tmp_path, "es", lambda book: book.renamed(moved).with_lock("3", None).with_lock("7", Lock(when=edits.now())))
    assert texts(tmp_path) == {"7": "uno"}
    edits.undo(tmp_path, "es")
    assert edits.read(tmp_path, "es").locks == {}
    edits.undo(tmp_path, "es")
    assert texts(tmp_path) == {}
    edits.undo(tmp_path, "es", again=True)
    assert texts(tmp_path) == {"7": "uno"}


def test_a_line_that_has_edits_of_its_own_takes_no_others() -> None:
    book = Edits(format=2).with_line("3", LineEdit(text="uno")).with_line("7", LineEdit(text="dos"))
    assert book.renamed({"3": "7"}) == book
    turned = book.renamed({"3": "7", "7": "8"})
    assert {id_: edit.text for id_, edit in turned.lines.items()} == {"7": "uno", "8": "dos"}
