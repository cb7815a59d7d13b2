"""Lines that come back in a file: what changed in it since it was written, what changed here, and what of it is taken.

All or nothing: a file with one row that makes no sense changes nothing. What is taken is one change, to be undone as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polydub import edits
from polydub.edits import Change, Edits, LineEdit, Manner
from polydub.errors import BadInput, BadSettings
from polydub.review import exporting, operations, rows
from polydub.review.reading import Reviewed
from polydub.review.rows import Row, mark
from polydub.types import Span

Check = Callable[[Collection[str]], None]
LARGEST = 50 << 20  # bytes of a file that is read
_SAME_TIME = 0.5  # share of the shorter of two spans that both share, from which a cue is that of a line


@dataclass(frozen=True)
class Difference:
    """A field of a line that the file has otherwise; values as in `rows.Row`. where: in the file."""

    line: str
    field: str
    here: Any
    there: Any
    where: str


@dataclass(frozen=True)
class Import:
    """What a file brings. taken: what is set by it. conflicts: of lines that were changed here as well, none of which is
    taken. locked: of lines that are locked and stay. missing: ids that the file has not; they stay too.
    """

    taken: tuple[Difference, ...] = ()
    conflicts: tuple[Difference, ...] = ()
    locked: tuple[Difference, ...] = ()
    missing: tuple[str, ...] = ()
    change: Change | None = None


def import_lines(
    dub: Reviewed, file: str | Path, check: Check = lambda names: None, *, force: bool = False, dry_run: bool = False
) -> Import:
    """Takes over what somebody changed in an exported file, whatever it is called now.

    Args: check: of the names of voices that would be set; it raises where there is no such voice. force: also where a line
    was changed here since, and from a file of another language's dub.
    Raises: BadInput for a file that cannot be read or has a row that belongs to no line, with its number; Conflict where
    another process changes one of the lines meanwhile; BadSettings for an ending of no format.
    """
    file = Path(file)
    found = _read(file)
    book = edits.read(dub.folder, dub.language)  # before the lines: what is set of them from now on is a Conflict
    here = exporting.current(dub)
    matched = _matched(found, here, file.name)
    known = exporting.known(dub, file.name, matched)
    if known.language and not force:
        hint = f"import it with --lang {known.language}; or take it all the same with --force"
        raise BadInput(f"{file.name} was exported from the dub in {known.language}, not in {dub.language}", hint)
    brought = Import(missing=tuple(row.id for row in here if row.id not in matched))
    for row in here:
        if row.id in matched:
            there = matched[row.id]
            was = there.was if there.was is not None else known.was.get(row.id, {})
            were = (was, *(marks.get(row.id, {}) for marks in known.brought))
            line = _Line(row, were, touched=row.id in book.revisions, force=force)
            brought = _with(brought, _differences(row, there), line)
    fields = _fields(brought.taken, book, {row.id: row for row in here}, file.name)
    for x in brought.taken:
        if x.field == "voice" and x.there:
            with _told_of(file.name, x):
                check([x.there])
    if dry_run or not fields:
        return brought
    left = {x.line for x in (*brought.conflicts, *brought.locked)}
    locked = [id_ for id_, some in fields.items() if some.get("status") == "locked"]
    for id_ in locked:
        del fields[id_]["status"]
    seen = {id_: book.revisions.get(id_, 0) for id_ in fields}
    change = operations.edit_many(dub, fields, seen, f"import of {file.name}", locked)
    read = [(row, matched[row.id]) for row in here if row.id in matched and row.id not in left]
    exporting.imported(dub, file.name, [old for old, _ in read], [new for _, new in read])
    return replace(brought, change=change)


def _read(file: Path) -> list[Row]:
    form = exporting.form_of(file)
    try:
        if file.stat().st_size > LARGEST:
            raise BadInput(f"{file} is too large for a file of lines", "check that it is the right file")
        data = file.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"there is no file {file}", "check the name") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror or error}", "check its name and permissions") from error
    return form.read(data, file.name)


# whose row is it?


def _matched(found: Sequence[Row], here: Sequence[Row], name: str) -> dict[str, Row]:
    """The rows by the ids of their lines. Raises BadInput for one that belongs to no line, or two that belong to one."""
    ids = {row.id for row in here}
    subtitles = name.lower().endswith((".srt", ".vtt"))
    pairs = _cues_of(found, here, name) if subtitles else [(row.id, row) for row in found]
    matched: dict[str, Row] = {}
    for id_, row in pairs:
        if id_ not in ids:
            hint = f"the lines are {here[0].id} to {here[-1].id}; delete the row; see review PROJECT list" if here else ""
            raise BadInput(f"{name}, {row.where}: there is no line {id_}", hint)
        if id_ in matched:
            raise BadInput(f"{name}: {matched[id_].where} and {row.where} are both for line {id_}", "delete one of them")
        matched[id_] = row
    return matched


def _cues_of(found: Sequence[Row], here: Sequence[Row], name: str) -> list[tuple[str, Row]]:
    """Cues with the ids of their lines: by number; by order where an editor numbered them anew; else by time."""
    ids = [row.id for row in here]
    times = {row.id: _span(row) for row in here}
    by_order = list(zip(ids, sorted(found, key=_start), strict=False))
    if sorted(row.id for row in found) == sorted(ids):  # also after an editor numbered lines anew of which some were split
        return max(([(row.id, row) for row in found], by_order), key=lambda pairs: _shared_s(pairs, times))
    if len(found) == len(here):
        return by_order
    pairs: list[tuple[str, Row]] = []
    lines = [(span, id_) for id_, span in times.items()]
    for row in found:
        own = _span(row)
        near = [(own.overlap(span) / min(own.duration, span.duration), id_) for span, id_ in lines if own.overlap(span) > 0]
        shared, best = max(near, default=(0.0, ""))
        if shared < _SAME_TIME:
            raise BadInput(
                f"{name}, {row.where}: no line is spoken between {rows.clock(row.values['start'])} "
                f"and {rows.clock(row.values['end'])}",
                "the file has not as many cues as there are lines; new lines are made by polydub review split",
            )
        pairs.append((best, row))
    return pairs


def _shared_s(pairs: Sequence[tuple[str, Row]], times: Mapping[str, Span]) -> float:
    """How long cues and their lines are both spoken, seconds."""
    return sum(max(0.0, _span(row).overlap(times[id_])) for id_, row in pairs)


def _start(row: Row) -> int:
    return row.values["start"]


def _span(row: Row) -> Span:
    return Span(row.values["start"] / 1000, row.values["end"] / 1000)


# what is taken of it?


@dataclass(frozen=True)
class _Line:
    """A line here; marks of what it held when the file was written, and of what before and after it was read last; whether a
    person ever changed it."""

    row: Row
    were: tuple[Mapping[str, str], ...]
    touched: bool
    force: bool

    def known(self, field: str) -> set[str]:
        """Marks that a field had."""
        return {marks[field] for marks in self.were if field in marks}


def _differences(here: Row, there: Row) -> list[Difference]:
    told = {name: value for name, value in there.values.items() if not (name == "speaker" and not value)}
    return [
        Difference(here.id, name, here.values[name], value, there.where)
        for name, value in told.items()
        if _plain(value) != _plain(here.values[name])
    ]


def _plain(value: Any) -> Any:
    """A text without its line breaks, which are not spoken: editors of subtitles make some."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _with(brought: Import, differences: Sequence[Difference], line: _Line) -> Import:
    """What is brought, and the differences of one more line, each where it belongs."""
    changed = [d for d in differences if not _older(d, line)]
    if not changed:
        return brought
    if line.row.values["status"] == "locked":
        return replace(brought, locked=(*brought.locked, *changed))
    if not line.force and any(_both(d, line) for d in changed):
        return replace(brought, conflicts=(*brought.conflicts, *changed))
    return replace(brought, taken=(*brought.taken, *changed))


def _older(difference: Difference, line: _Line) -> bool:
    """Whether the file still has what it was made from, and the field was changed here."""
    was = line.were[0].get(difference.field)
    return mark(difference.there) == was and mark(difference.here) not in line.known(difference.field)


def _both(difference: Difference, line: _Line) -> bool:
    """Whether the field was changed here too; where nobody knows what the file was made from, whether the line was."""
    known = line.known(difference.field)
    return mark(difference.here) not in known if known else line.touched


def _fields(taken: Sequence[Difference], book: Edits, here: Mapping[str, Row], name: str) -> dict[str, dict[str, Any]]:
    """What is set, by line, as `operations.edit_many` takes it. Raises BadInput with the row for what cannot be set."""
    by_line: dict[str, list[Difference]] = {}
    for difference in taken:
        by_line.setdefault(difference.line, []).append(difference)
    fields: dict[str, dict[str, Any]] = {}
    for id_, some in by_line.items():
        fields[id_] = _set({d.field: d.there for d in some}, book.line(id_), here[id_])
        checked = {key: value for key, value in fields[id_].items() if key != "status"}
        with _told_of(name, some[0]):
            LineEdit().changed(**checked)
    return fields


@contextmanager
def _told_of(name: str, found: Difference) -> Generator[None]:
    """Says in which row of the file is what cannot be set."""
    try:
        yield
    except (BadInput, BadSettings) as error:
        raise BadInput(f"{name}, {found.where}: {error.message}", error.hint) from error


def _set(values: Mapping[str, Any], old: LineEdit, here: Row) -> dict[str, Any]:
    names = {"source": "source_text", "text": "text", "speaker": "speaker", "status": "status"}
    made: dict[str, Any] = {names[key]: value for key, value in values.items() if key in names}
    if "voice" in values:
        made["voice"] = values["voice"] or None
    if "start" in values or "end" in values:
        made |= {key: values.get(key, here.values[key]) / 1000 for key in ("start", "end")}
    manner = {"rate": "rate", "pitch": "pitch", "energy": "energy_db"}
    if said := {manner[key]: value for key, value in values.items() if key in manner}:
        kept = (old.expression or Manner()).model_dump() | said
        made["expression"] = {key: value for key, value in kept.items() if value is not None} or None
    return made
