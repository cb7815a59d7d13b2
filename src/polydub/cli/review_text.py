"""What `polydub review` shows: lines as a table, one line with everything about it, differences."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from polydub.cli import output
from polydub.edits import Change
from polydub.review.comparing import Changed, TakeFacts
from polydub.review.importing import Difference
from polydub.review.reading import Row
from polydub.review.rows import clock
from polydub.text.tags import PAUSE
from polydub.types import PLAIN, Expression

_PLAIN_WIDTH = 80
_STATUS = {"draft": "", "approved": "ok", "locked": "locked"}


def width() -> int:
    """Columns to write in: those of the terminal, 80 elsewhere."""
    return shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if sys.stdout.isatty() else _PLAIN_WIDTH


def table(rows: Sequence[Row], *, wide: bool) -> list[str]:
    """One row a line; texts are cut to the width unless `wide`. Marks: ! a notice, * changed since the last render."""
    ids = max((len(row.id) for row in rows), default=2)
    long = any(row.start >= 3600 for row in rows)
    names = min(10, max(7, *(cells(row.speaker) for row in rows), 7))
    head = f"{'id':>{ids}}  {'time':<{10 if long else 7}}  {fitted('speaker', names)}  {'status':<6}  take  rate     text"
    shown = [head]
    for row in rows:
        rate = f"{row.rate:4.2f}" if row.rate else "   -"
        marks = ("!" if row.notices else " ") + ("*" if row.pending else " ")
        take = f"v{row.heard}" if row.heard else "-"
        start = (
            f"{row.id:>{ids}}  {_time(row.start, long=long)}  {fitted(output.clean(row.speaker), names)}  "
            f"{_STATUS[row.status]:<6}  {take:<4}  {rate} {marks}  "
        )
        text = output.clean(row.text)
        shown.append(start + (text if wide else cut(text, width() - cells(start))))
    return [line.rstrip() for line in shown]


def cells(text: str) -> int:
    """Columns that a text takes on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, columns: int) -> str:
    """`text` in at most so many columns, the end told by an ellipsis."""
    if cells(text) <= columns:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, max(columns - 1, 0)).rstrip() + "\u2026"


def fitted(text: str, columns: int) -> str:
    """`text` in exactly so many columns."""
    short = cut(text, columns)
    return short + " " * (columns - cells(short))


def _time(seconds: float, *, long: bool) -> str:
    text = clock(round(seconds * 1000))[:-2]
    return text if long else text[3:]


def everything(row: Row, changed: Iterable[Changed], takes: Sequence[dict[str, Any]]) -> list[str]:
    """All about one line, "name: value"."""
    facts: list[tuple[str, object]] = [
        ("line", row.id + (" (changed since the last render)" if row.pending else "")),
        ("status", row.status),
        ("time", f"{clock(round(row.start * 1000))} to {clock(round(row.end * 1000))}{', set by hand' if row.pinned else ''}"),
        ("speaker", row.speaker),
        ("voice", row.voice + (" (its own)" if row.own_voice else "")),
        ("source", row.source_text),
        ("text", row.text),
    ]
    if row.said and row.said != row.text:
        facts.append(("said", f"{row.said} (in the last render)"))
    facts += [(name.replace("_", " "), value) for name, value in _manner(row.expression).items()]
    facts += _marks(row)
    if row.at is not None:
        facts.append(
            ("heard", f"{clock(round(row.at * 1000))}, {row.duration:.3f} s, rate {row.rate:.2f}, shift {row.shift:+.3f} s")
        )
    if row.overflow:
        facts.append(("talk-over", f"{row.overflow:.3f} s"))
    facts.append(("seed", row.seed))
    for take in takes:
        chosen, heard = take["number"] == row.take, take["number"] == row.heard
        facts.append((f"take {'*' if chosen else ''}v{take['number']}", take_line(take) + (", in the film" if heard else "")))
    for one in changed:
        facts += [("changed", _difference(name, *values)) for name, values in one.fields.items() if values[0] is not None]
    facts += [("notice", text) for text in row.notices]
    wide = max(len(name) for name, _ in facts)
    return [f"{name + ':':<{wide + 1}} {output.clean(str(value))}" for name, value in facts]


def _manner(expression: Expression) -> dict[str, Any]:
    plain = asdict(PLAIN)
    return {name: value for name, value in asdict(expression).items() if value != plain[name]}


def _marks(row: Row) -> list[tuple[str, object]]:
    """The marks of the text, and what became of them."""
    told: list[tuple[str, object]] = []
    if row.marks:
        tones = any(mark != PAUSE for mark in row.marks)
        unheeded = tones and row.at is not None and not row.pending and row.spoken_as is None
        told.append(("marks", ", ".join(row.marks) + (" (not heeded: dub with --expressive text)" if unheeded else "")))
    if row.spoken_as and row.spoken_as != row.expression and (manner := _manner(row.spoken_as)):
        units = {"pitch": " semitones", "energy_db": " dB"}
        said = [
            f"{name.removesuffix('_db').replace('_', ' ')} {value}{units.get(name, '')}"
            for name, value in manner.items()
            if name != "emotion"
        ]
        told.append(("said with", ", ".join(said + [row.spoken_as.emotion] * bool(row.spoken_as.emotion))))
    return told


def take_line(take: dict[str, Any]) -> str:
    """A take in one line."""
    return f"{take['text']} ({take['voice']}, {take['duration']:.2f} s; {take['why']})"


def changes(found: Sequence[Changed]) -> list[str]:
    """What a person changed, a block a line."""
    shown: list[str] = []
    for one in found:
        what = " (merged into another line)" if one.gone else " (made by a split)" if one.new else ""
        shown.append(f"line {one.line}{what}")
        for name, (before, after) in one.fields.items():
            if isinstance(before, str) and name in ("text", "source_text"):
                shown += [f"  {name}:", f"    - {output.clean(before)}", f"    + {output.clean(str(after))}"]
            else:
                shown.append("  " + _difference(name, before, after))
    return shown


def _difference(name: str, before: object, after: object) -> str:
    return output.clean(f"{name}: {after}" if before is None else f"{name}: {_said(before)} -> {_said(after)}")


def _said(value: object) -> str:
    return "nothing" if value in ("", None) else str(value)


def take_table(found: Sequence[TakeFacts]) -> list[str]:
    """Takes side by side, each with its file."""
    shown = ["take  seconds  LUFS   pitch   voice"]
    for one in found:
        heard = f"{one.pitch:4.0f} Hz" if one.pitch else "      -"
        shown += [
            f"v{one.number:<4} {one.duration:7.3f}  {one.loudness:5.1f}  {heard}  {output.clean(one.voice)}",
            f"      {output.clean(one.text)}",
            f"      {one.why}: {one.file}",
        ]
    return shown


def past(history: Sequence[Change], done: int) -> list[str]:
    """The changes, the newest first; what was undone is marked."""
    shown: list[str] = []
    for number in range(len(history), 0, -1):
        one = history[number - 1]
        undone = "" if number <= done else "  (undone)"
        shown.append(f"{number:>4}  {one.when.astimezone():%Y-%m-%d %H:%M:%S}  {output.clean(one.what)}{undone}")
    return shown


def differences(found: Sequence[Difference], head: str) -> list[str]:
    """What a file has otherwise, under a head that tells what becomes of it."""
    if not found:
        return []
    return [head, *(f"  line {d.line}, {d.where}: {_difference(d.field, shown(d, d.here), shown(d, d.there))}" for d in found)]


def shown(difference: Difference, value: Any) -> Any:
    """A value as a person writes it."""
    return clock(value) if difference.field in ("start", "end") else "" if value is None else value
