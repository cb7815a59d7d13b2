"""The lines of a dub as a file for people: CSV, XLSX, SRT or WebVTT, and what was in it, so that conflicts are found later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from polydub import edits, project
from polydub.edits import LineEdit, Manner
from polydub.errors import BadInput, BadSettings
from polydub.review import cues, reading, rows, sheets
from polydub.review.reading import Reviewed
from polydub.review.rows import Row

MOST_FILES = 20  # of which it is remembered what was in them
LIKE = 0.25  # share of a file's cells that are as they were exported, from which a file of another name is that export


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
    marks = {row.id: rows.marks({name: row.values[name] for name in form.fields}) for row in found}
    records = _records(dub)
    made = [one for one in records["exports"] if one != {"name": file.name, "lines": marks}]
    brought = {name: marks for name, marks in records["imports"].items() if name != file.name}
    _keep(dub, [*made, {"name": file.name, "lines": marks}], brought)
    return len(found)


Marks = Mapping[str, Mapping[str, str]]  # of what lines held, by id and field


@dataclass(frozen=True)
class Known:
    """What is known of a file that comes back.

    Attributes: was: what lines held when it was written; empty where nobody knows. brought: what they held before and after it
    was read last. language: of the dub that it was exported from, where that is another one.
    """

    was: Marks
    brought: Sequence[Marks]
    language: str = ""


def known(dub: Reviewed, name: str, found: Mapping[str, Row]) -> Known:
    """What is known of a file with these rows. It may have been renamed: it came from the export that it has most in common
    with; of several such ones from the last of its own name, else from the first, so that no change is overlooked."""
    records = _records(dub)
    share, was = _likest(records["exports"], name, found)
    others = {tag: _likest(_records(replace(dub, language=tag))["exports"], name, found)[0] for tag in _others(dub)}
    nearer = [tag for tag, one in others.items() if one > share]
    return Known(was, records["imports"].get(name, ()), max(nearer, key=lambda tag: others[tag], default=""))


def _likest(made: Sequence[Any], name: str, found: Mapping[str, Row]) -> tuple[float, Marks]:
    """The export that a file came from, and the share of its cells that are still the same; (0.0, {}) where it is none."""
    best: tuple[float, bool, int, Marks] = (0.0, False, 0, {})
    for number, one in enumerate(made):
        pairs = [(mark, found[id_].values.get(key)) for id_, held in one["lines"].items() if id_ in found
                 for key, mark in held.items()]  # fmt: skip
        share = sum(rows.mark(value) == mark for mark, value in pairs) / max(1, len(pairs))
        named = one["name"] == name
        if named or share >= LIKE:
            best = max(best, (share, named, number if named else -number, one["lines"]), key=lambda row: row[:3])
    return best[0], best[3]


def _others(dub: Reviewed) -> list[str]:
    """The other languages that lines were exported in."""
    found = (path.name.removeprefix(".exports.").removesuffix(".json") for path in dub.folder.glob(".exports.*.json"))
    return sorted(tag for tag in found if tag != dub.language)


def imported(dub: Reviewed, name: str, before: Sequence[Row], after: Sequence[Row]) -> None:
    """Remembers what lines held before and after a file was read, so that it may be worked on further and be read again."""
    records = _records(dub)
    brought = {key: marks for key, marks in records["imports"].items() if key != name}
    both = [{row.id: rows.marks(row.values) for row in held} for held in (before, after)]
    _keep(dub, records["exports"], {**brought, name: both})


def _keep(dub: Reviewed, made: Sequence[Any], brought: Mapping[str, Any]) -> None:
    kept = {"format": 2, "exports": made[-MOST_FILES:], "imports": dict([*brought.items()][-MOST_FILES:])}
    project.write(_record(dub), json.dumps(kept, ensure_ascii=False) + "\n")


def _records(dub: Reviewed) -> dict[str, Any]:
    try:
        tree = json.loads(_record(dub).read_text(encoding="utf-8"))
        if tree["format"] == 2:
            return cast("dict[str, Any]", tree)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no harm: lines that a person changed here are then told as conflicts
    return {"exports": [], "imports": {}}


def _record(dub: Reviewed) -> Path:
    return dub.folder / f".exports.{dub.language}.json"
