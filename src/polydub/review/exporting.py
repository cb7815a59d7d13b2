"""The lines of a dub as a file for people: CSV, XLSX, SRT or WebVTT, and what was in it, so that conflicts are found later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from polydub import edits, project
from polydub.edits import LineEdit, Manner
from polydub.errors import BadInput, BadSettings
from polydub.review import cues, reading, rows, sheets
from polydub.review.reading import Reviewed
from polydub.review.rows import Row

MOST_EXPORTS = 20  # of which it is remembered what was in them


@dataclass(frozen=True)
class Form:
    """A kind of file: how it is written and read, and the fields that it has a place for."""

    write: Callable[[Sequence[Row]], bytes]
    read: Callable[[bytes, str], list[Row]]
    fields: tuple[str, ...] = rows.EDITABLE


FORMS: Mapping[str, Form] = {
    "csv": Form(sheets.write_csv, sheets.read_csv),
    "xlsx": Form(sheets.write_xlsx, sheets.read_xlsx),
    "srt": Form(cues.write_srt, cues.read_srt, cues.SRT_FIELDS),
    "vtt": Form(cues.write_vtt, cues.read_vtt, cues.VTT_FIELDS),
}


def form_of(file: Path) -> Form:
    """The kind of a file by its ending. Raises BadSettings for another one."""
    form = FORMS.get(file.suffix.lower().removeprefix("."))
    if form is None:
        endings = ", ".join(f".{name}" for name in FORMS)
        raise BadSettings(f"{file.name} has none of the endings {endings}", "choose one of them: talk.es.csv")
    return form


def current(dub: Reviewed) -> list[Row]:
    """The lines as they are set now, in order of time. Raises BadInput, StoreError."""
    book = edits.read(dub.folder, dub.language)
    return [_row(x, book.line(x.id)) for x in reading.listing(dub)]


def _row(line: reading.Row, edit: LineEdit) -> Row:
    manner = edit.expression or Manner()
    values: dict[str, Any] = {
        "start": round(line.start * 1000),
        "end": round(line.end * 1000),
        "speaker": rows.tidy(line.speaker),
        "source": rows.tidy(line.source_text),
        "text": rows.tidy(line.text),
        "status": line.status,
        "voice": rows.tidy(line.own_voice),
        "rate": manner.rate,
        "pitch": manner.pitch,
        "energy": manner.energy_db,
    }
    return Row(line.id, values)


def export_lines(dub: Reviewed, file: str | Path, *, overwrite: bool = False) -> int:
    """Writes all lines to `file`, whose ending tells its kind; how many there are.

    Raises: BadSettings for another ending; BadInput when there is such a file and it may not be overwritten: somebody may have
    worked on it; StoreError.
    """
    file = Path(file)
    form = form_of(file)
    if file.exists() and not overwrite:
        raise BadInput(f"{file} is there already", "give another name, or --force to overwrite what is in it")
    found = current(dub)
    data = form.write([Row(row.id, {name: row.values[name] for name in form.fields}) for row in found])
    project.write(file, data)
    _remember(dub, file.name, {row.id: rows.marks({name: row.values[name] for name in form.fields}) for row in found})
    return len(found)


def exported(dub: Reviewed, name: str) -> Mapping[str, Mapping[str, str]]:
    """What the lines held when a file of this name was written last, as marks by id and field; empty when not known."""
    return _remembered(dub).get(name, {})


def _remember(dub: Reviewed, name: str, marks: Mapping[str, Mapping[str, str]]) -> None:
    known = {key: value for key, value in _remembered(dub).items() if key != name}
    kept = dict([*known.items(), (name, marks)][-MOST_EXPORTS:])
    project.write(_record(dub), json.dumps({"format": 1, "files": kept}, ensure_ascii=False) + "\n")


def _remembered(dub: Reviewed) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    try:
        tree = json.loads(_record(dub).read_text(encoding="utf-8"))
        return cast("Mapping[str, Mapping[str, Mapping[str, str]]]", tree["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no harm: lines that a person changed here are then told as conflicts


def _record(dub: Reviewed) -> Path:
    return dub.folder / f".exports.{dub.language}.json"
