"""A line as the row of a file that goes out to people and comes back: its cells, and marks of what they held."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

EDITABLE = ("start", "end", "speaker", "source", "text", "status", "voice", "rate", "pitch", "energy")
COLUMNS = ("id", *EDITABLE, "was")
STATUSES = ("draft", "approved", "locked")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # what no XML and no terminal can hold
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2})(?:[.,](\d{1,9}))?")
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:[.,]\d{1,9})?")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `values`: by the names of EDITABLE, only those that a file has a place for.

    start, end are whole milliseconds; rate a factor, pitch semitones, energy dB, each None where the line has none of its
    own; everything else is text. `where`: how a person finds it in the file, "row 7". `was`: marks by field of what the
    line held when the file was written; None where the file does not tell.
    """

    id: str
    values: Mapping[str, Any]
    where: str = ""
    was: Mapping[str, str] | None = None


def tidy(text: str) -> str:
    """Text as every format can hold it: line ends are \\n, nothing that steers a terminal. Equal texts stay equal."""
    return _NO_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def mark(value: object) -> str:
    """Eight digits that tell whether a value has changed."""
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def marks(values: Mapping[str, Any]) -> dict[str, str]:
    """The marks of a row's values, by field."""
    return {name: mark(value) for name, value in values.items()}


def marks_cell(values: Mapping[str, Any]) -> str:
    """The same as one cell of a table; begins with a letter, so that no spreadsheet takes it for a number."""
    return "v1-" + "-".join(mark(values[name]) if name in values else "" for name in EDITABLE)


def read_marks(cell: str) -> dict[str, str] | None:
    """What `marks_cell` wrote; None where it is empty or was damaged."""
    version, *found = cell.strip().split("-")
    if version != "v1" or len(found) != len(EDITABLE):
        return None
    return {name: told for name, told in zip(EDITABLE, found, strict=True) if told}


def clock(ms: int, point: str = ".") -> str:
    """Milliseconds as `00:01:02.345`."""
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def read_time(text: str) -> int:
    """Milliseconds of `62.345`, `62,345`, `1:02.345` or `00:01:02,345`. Raises: ValueError."""
    text = text.strip()
    if _NUMBER.fullmatch(text) and not text.startswith("-"):
        return round(float(text.replace(",", ".")) * 1000)
    found = _CLOCK.fullmatch(text)
    if not found or (found[1] and int(found[2]) > 59) or int(found[3]) > 59:
        raise ValueError(f"{text!r} is no time")
    whole = int(found[1] or 0) * 3600 + int(found[2]) * 60 + int(found[3])
    return whole * 1000 + round(float(f"0.{found[4] or 0}") * 1000)


def read_number(text: str) -> float | None:
    """A number with point or comma; None for an empty cell. Raises: ValueError."""
    text = text.strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return round(float(text.replace(",", ".")), 3)


def _status(text: str) -> str:
    status = text.strip().lower() or "draft"
    if status not in STATUSES:
        raise ValueError(f"{text!r} is none of {', '.join(STATUSES)}")
    return status


def _name(text: str) -> str:
    return " ".join(tidy(text).split())


READERS: Mapping[str, Callable[[str], Any]] = {
    "start": read_time,
    "end": read_time,
    "speaker": _name,
    "source": tidy,
    "text": tidy,
    "status": _status,
    "voice": _name,
    "rate": read_number,
    "pitch": read_number,
    "energy": read_number,
}


def cell(name: str, value: Any) -> str:
    """A value as text that its reader takes back: seconds for times, "" for nothing."""
    if name in ("start", "end"):
        return f"{value // 1000}.{value % 1000:03d}"
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
