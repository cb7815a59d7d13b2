"""Lines that go out and come back: what is taken of a file, what is told, and that it is one change."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import openpyxl
import pytest

from polydub import edits
from polydub.errors import BadInput, BadSettings
from polydub.review import operations, reading
from polydub.review.exporting import export_lines
from polydub.review.importing import import_lines
from polydub.review.reading import Reviewed

FORMS = ("csv", "xlsx", "srt", "vtt")
Change = Callable[[list[dict[str, str]]], None]


def worked_on(file: Path, change: Change) -> Path:
    """A CSV file as somebody changed it."""
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))
    change(rows)
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, list(rows[0]), extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    file.write_text(out.getvalue(), encoding="utf-8")
    return file


@pytest.fixture
def sheet(talk: Reviewed, tmp_path: Path) -> Path:
    """The lines as CSV."""
    export_lines(talk, tmp_path / "talk.csv")
    return tmp_path / "talk.csv"


def texts(dub: Reviewed) -> list[str]:
    return [row.text for row in reading.listing(dub)]


def told(found: Sequence[object]) -> list[tuple[str, str, object]]:
    return [(x.line, x.field, x.there) for x in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", FORMS)
def test_what_nobody_changed_changes_nothing(talk: Reviewed, tmp_path: Path, form: str) -> None:
    operations.edit_many(
        talk,
        {
            "1": {"text": "=¡\"Hola\", ; 'tú'! 😀", "voice": "es+f2"},
            "2": {"text": "مرحبا، 2024 (ok)"},
            "3": {"text": "", "expression": {"rate": 1.15, "pitch": -2.0}},
            "4": {"text": "- <i>a & b</i> --> {c}", "start": 5.25},
        },
    )
    operations.lock(talk, ["2"])
    file = tmp_path / f"talk.{form}"
    assert export_lines(talk, file) == 4
    before = edits.read(talk.folder, "es")
    brought = import_lines(talk, file)
    assert not (brought.taken or brought.conflicts or brought.locked or brought.missing)
    assert edits.read(talk.folder, "es") == before


@pytest.mark.parametrize("form", FORMS)
def test_what_somebody_changed_is_taken_and_one_undo_takes_it_all_back(talk: Reviewed, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"talk.{form}"
    before = texts(talk)
    export_lines(talk, file)
    if form == "xlsx":
        book = openpyxl.load_workbook(file)
        for row in book.active.iter_rows(min_row=2):  # type: ignore[union-attr]
            row[5].value = str(row[5].value).replace("Hasta", "¡Hasta").replace("Hola", "Buenas")
        book.save(file)
    else:
        file.write_text(file.read_text(encoding="utf-8").replace("Hasta", "¡Hasta").replace("Hola", "Buenas"), encoding="utf-8")
    brought = import_lines(talk, file)
    assert told(brought.taken) == [("1", "text", "Buenas, ¿qué tal?"), ("4", "text", "¡Hasta pronto.")]
    assert texts(talk) == ["Buenas, ¿qué tal?", *before[1:3], "¡Hasta pronto."]
    assert operations.undo(talk).what == f"import of talk.{form}"
    assert texts(talk) == before


def test_everything_about_a_line_may_be_changed_in_a_sheet(talk: Reviewed, sheet: Path) -> None:
    values = {"start": "0.6", "end": "1,95", "speaker": "BOB", "source": "Hi.", "text": "Ea.", "status": "Approved",
              "voice": "es+f2", "rate": "1.1", "pitch": "-2", "energy": "3"}  # fmt: skip
    import_lines(talk, worked_on(sheet, lambda rows: rows[0].update(values)))
    edit = edits.read(talk.folder, "es").line("1")
    assert (edit.start, edit.end, edit.speaker, edit.source_text, edit.text) == (0.6, 1.95, "BOB", "Hi.", "Ea.")
    assert (edit.status, edit.voice) == ("approved", "es+f2")
    assert edit.expression
    assert (edit.expression.rate, edit.expression.pitch, edit.expression.energy_db) == (1.1, -2.0, 3.0)


def test_an_empty_cell_takes_back_what_was_set_and_keeps_the_rest(talk: Reviewed, tmp_path: Path) -> None:
    expression = {"rate": 1.1, "pitch": 1.0, "emotion": "angry"}
    operations.edit(talk, "1", {"voice": "es+f2", "expression": expression})
    export_lines(talk, tmp_path / "talk.csv")
    import_lines(talk, worked_on(tmp_path / "talk.csv", lambda rows: rows[0].update(voice="", rate="")))
    edit = edits.read(talk.folder, "es").line("1")
    assert edit.voice is None
    assert edit.expression
    assert (edit.expression.rate, edit.expression.pitch, edit.expression.emotion) == (None, 1.0, "angry")


def test_a_sheet_may_lock_lines_in_the_same_change(talk: Reviewed, sheet: Path) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        rows[0].update(status="locked")
        rows[1].update(status="locked", text="Otra cosa.")

    import_lines(talk, worked_on(sheet, change))
    book = edits.read(talk.folder, "es")
    assert [book.status(id_) for id_ in "1234"] == ["locked", "locked", "draft", "draft"]
    assert book.locks["1"].spoken  # as the film says it
    assert book.locks["2"].spoken is None  # as the next render says it
    operations.undo(talk)
    assert not edits.read(talk.folder, "es").locks


def test_lines_changed_here_and_there_are_told_and_stay_but_other_lines_are_taken(talk: Reviewed, sheet: Path) -> None:
    operations.edit_many(talk, {"1": {"text": "De aquí."}, "2": {"text": "También de aquí."}})

    def change(rows: list[dict[str, str]]) -> None:
        rows[0].update(text="De allí.", rate="1.2")
        rows[2].update(text="Muy bien.")

    brought = import_lines(talk, worked_on(sheet, change))
    assert told(brought.conflicts) == [("1", "text", "De allí."), ("1", "rate", 1.2)]
    assert told(brought.taken) == [("3", "text", "Muy bien.")]
    assert texts(talk) == ["De aquí.", "También de aquí.", "Muy bien.", "Hasta pronto."]


def test_force_takes_the_files_version_of_what_the_file_changed(talk: Reviewed, sheet: Path) -> None:
    operations.edit_many(talk, {"1": {"text": "De aquí."}, "2": {"text": "También de aquí."}})
    brought = import_lines(talk, worked_on(sheet, lambda rows: rows[0].update(text="De allí.")), force=True)
    assert told(brought.taken) == [("1", "text", "De allí.")]
    assert texts(talk)[:2] == ["De allí.", "También de aquí."]


def test_two_fields_of_one_line_changed_by_two_people_are_no_conflict(talk: Reviewed, sheet: Path) -> None:
    operations.edit(talk, "1", {"voice": "es+f2"})
    brought = import_lines(talk, worked_on(sheet, lambda rows: rows[0].update(text="De allí.")))
    assert told(brought.taken) == [("1", "text", "De allí.")]
    assert edits.read(talk.folder, "es").line("1").voice == "es+f2"


def test_the_same_change_here_and_there_is_no_conflict(talk: Reviewed, sheet: Path) -> None:
    operations.edit(talk, "1", {"text": "Lo mismo."})
    brought = import_lines(talk, worked_on(sheet, lambda rows: rows[0].update(text="Lo mismo.")))
    assert not (brought.taken or brought.conflicts)


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_know_what_they_were_made_from_whatever_they_are_called_now(
    talk: Reviewed, tmp_path: Path, form: str
) -> None:
    file = tmp_path / f"talk.{form}"
    export_lines(talk, file)
    operations.edit_many(talk, {"1": {"text": "De aquí."}, "2": {"text": "También de aquí."}})
    file.write_text(file.read_text().replace("Hola", "De allí"))
    brought = import_lines(talk, file)
    assert told(brought.conflicts) == [("1", "text", "De allí, ¿qué tal?")]
    assert not brought.taken
    other = file.rename(tmp_path / f"my.{form}")
    assert import_lines(talk, other) == brought


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_a_renamed_file_is_that_of_the_export_it_came_from(talk: Reviewed, tmp_path: Path, form: str) -> None:
    """Of two exports, one before and one after an edit of line 1."""
    old, new = tmp_path / f"old.es.{form}", tmp_path / f"new.es.{form}"
    export_lines(talk, old)
    operations.edit(talk, "1", {"text": "De aquí."})
    export_lines(talk, new)
    for file, says in ((old, "Bien, viejo."), (new, "Bien, nuevo.")):
        file.write_text(file.read_text().replace("Bien.", says))
    assert told(import_lines(talk, new.rename(tmp_path / f"1.{form}")).taken) == [("3", "text", "Bien, nuevo.")]
    brought = import_lines(talk, old.rename(tmp_path / f"2.{form}"))
    assert told(brought.conflicts) == [("3", "text", "Bien, viejo.")]
    assert not brought.taken, "the old text of line 1 came back"
    assert texts(talk)[:1] == ["De aquí."]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_was_read_can_be_worked_on_further_and_read_again(talk: Reviewed, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"talk.{form}"
    export_lines(talk, file)
    before = file.read_bytes()
    for says in ("Buenas", "Oye", "Hola"):

        def change(rows: list[dict[str, str]], says: str = says) -> None:
            rows[0].update(text=f"{says}, ¿qué tal?")

        if form == "xlsx":
            book = openpyxl.load_workbook(io.BytesIO(before))
            book.active["F2"].value = f"{says}, ¿qué tal?"  # type: ignore[index]
            book.save(file)
        elif form == "csv":
            worked_on(file, change)
        else:
            file.write_text(before.decode().replace("Hola", says))
        brought = import_lines(talk, file)
        assert told(brought.taken) == [("1", "text", f"{says}, ¿qué tal?")]
        operations.undo(talk)
        assert import_lines(talk, file).taken == brought.taken, "an undone import cannot be made again"


def test_a_file_of_another_language_is_refused(talk: Reviewed, tmp_path: Path) -> None:
    for kind in ("edits", "script", "report", ".spoken"):
        file = talk.folder / f"{kind}.es.json"
        if file.exists():
            (talk.folder / f"{kind}.fr.json").write_bytes(file.read_bytes().replace(b"Bien", b"Bon"))
    other = Reviewed(talk.folder, "fr")
    export_lines(talk, tmp_path / "talk.es.srt")
    export_lines(other, tmp_path / "talk.fr.srt")
    file = (tmp_path / "talk.fr.srt").rename(tmp_path / "my.srt")
    with pytest.raises(BadInput, match=r"my\.srt was exported from the dub in fr, not in es"):
        import_lines(talk, file)
    assert not import_lines(other, file).taken
    assert import_lines(talk, file, force=True).taken


def test_cues_that_an_editor_numbered_anew_after_a_split_stay_with_their_lines(talk: Reviewed, tmp_path: Path) -> None:
    operations.split(talk, "1", ("Hola,", "¿qué tal?"))
    file = tmp_path / "talk.srt"
    export_lines(talk, file)
    assert [x.id for x in reading.listing(talk)] == ["1", "5", "2", "3", "4"]
    cues = file.read_text().strip().split("\n\n")
    file.write_text("\n\n".join(f"{n}\n{cue.split(chr(10), 1)[1]}" for n, cue in enumerate(cues, 1)) + "\n")
    brought = import_lines(talk, file)
    assert not (brought.taken or brought.conflicts), "texts went to other lines"


def test_locked_lines_stay_and_are_told_even_by_force(talk: Reviewed, sheet: Path) -> None:
    operations.lock(talk, ["1"])
    brought = import_lines(talk, worked_on(sheet, lambda rows: rows[0].update(text="De allí.")), force=True)
    assert told(brought.locked) == [("1", "text", "De allí.")]
    assert brought.change is None
    assert texts(talk)[0] == "Hola, ¿qué tal?"


def test_a_dry_run_shows_what_would_change_and_changes_nothing(talk: Reviewed, sheet: Path) -> None:
    brought = import_lines(talk, worked_on(sheet, lambda rows: rows[0].update(text="De allí.")), dry_run=True)
    assert told(brought.taken) == [("1", "text", "De allí.")]
    assert edits.read(talk.folder, "es").history == ()


def test_lines_that_the_file_leaves_out_stay(talk: Reviewed, sheet: Path) -> None:
    assert import_lines(talk, worked_on(sheet, lambda rows: rows.pop(1) and None)).missing == ("2",)
    assert len(texts(talk)) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[3].update(id="9"), "talk.csv, row 5: there is no line 9"),
        (lambda rows: rows[3].update(id="2"), "row 3 and row 5 are both for line 2"),
        (lambda rows: rows[3].update(rate="9"), "talk.csv, row 5: that cannot be set: expression.rate"),
        (lambda rows: rows[3].update(start="soon"), "talk.csv, row 5: the start 'soon' is no time"),
        (lambda rows: rows[3].update(start="100", end="101"), "line 4 would begin after the film"),
    ],
)
def test_a_row_that_makes_no_sense_is_told_and_nothing_of_the_file_is_taken(
    talk: Reviewed, sheet: Path, change: Change, words: str
) -> None:
    def both(rows: list[dict[str, str]]) -> None:
        rows[0].update(text="De allí.")
        change(rows)

    with pytest.raises(BadInput) as error:
        import_lines(talk, worked_on(sheet, both))
    assert words in error.value.message
    assert edits.read(talk.folder, "es").history == ()


def test_a_file_that_is_not_there_or_of_no_known_kind_is_refused(talk: Reviewed, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        import_lines(talk, tmp_path / "none.csv")
    with pytest.raises(BadSettings, match="none of the endings"):
        export_lines(talk, tmp_path / "talk.docx")


def test_a_file_that_somebody_may_have_worked_on_is_not_overwritten_unasked(talk: Reviewed, sheet: Path) -> None:
    sheet.write_text("work of days")
    with pytest.raises(BadInput, match="is there already"):
        export_lines(talk, sheet)
    assert sheet.read_text() == "work of days"
    export_lines(talk, sheet, overwrite=True)
    assert not import_lines(talk, sheet).taken


def test_cues_that_an_editor_numbered_anew_are_known_by_their_order(talk: Reviewed, tmp_path: Path) -> None:
    operations.merge(talk, "1", "3")
    file = tmp_path / "talk.srt"
    export_lines(talk, file)
    text = file.read_text().replace("\n4\n", "\n3\n").replace("Hasta", "Y hasta")
    file.write_text(text)
    assert told(import_lines(talk, file).taken) == [("4", "text", "Y hasta pronto.")]


def test_cues_that_an_editor_left_out_are_known_by_their_time(talk: Reviewed, tmp_path: Path) -> None:
    file = tmp_path / "talk.srt"
    export_lines(talk, file)
    cues = file.read_text().replace("Bien.", "Muy bien.").split("\n\n")
    file.write_text("\n\n".join(cue.replace(cue[0], str(n), 1) for n, cue in enumerate(cues[1:4], 1)))
    brought = import_lines(talk, file)
    assert told(brought.taken) == [("3", "text", "Muy bien.")]
    assert brought.missing == ("1",)


@pytest.mark.parametrize(
    ("cue", "words"),
    [
        ("9\n00:01:00,000 --> 00:01:01,000\nNueva.\n", "cue 9: no line is spoken between"),
        ("9\n00:00:01,000 --> 00:00:01,800\nNueva.\n", "cue 1 and cue 9 are both for line 1"),
    ],
)
def test_cues_that_belong_to_no_line_of_their_own_are_refused(talk: Reviewed, tmp_path: Path, cue: str, words: str) -> None:
    file = tmp_path / "talk.srt"
    export_lines(talk, file)
    file.write_text(file.read_text() + cue)
    with pytest.raises(BadInput, match=words):
        import_lines(talk, file)


def test_line_breaks_that_an_editor_of_subtitles_makes_are_no_change(talk: Reviewed, tmp_path: Path) -> None:
    file = tmp_path / "talk.srt"
    export_lines(talk, file)
    file.write_text(file.read_text().replace("hoy, muchas", "hoy,\nmuchas").replace("\n", "\r\n"), newline="")
    assert not import_lines(talk, file).taken


def test_a_change_meanwhile_is_no_loss(talk: Reviewed, sheet: Path) -> None:
    """What another process sets between two imports is seen by the second."""
    worked_on(sheet, lambda rows: rows[0].update(text="De allí."))
    import_lines(talk, sheet)
    operations.edit(talk, "1", {"text": "Mejor así."})
    assert told(import_lines(talk, sheet).conflicts) == [("1", "text", "De allí.")]
    assert texts(talk)[0] == "Mejor así."
