"""List files: many films with settings of their own, as text, CSV, JSON or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from polydub.cli.earlier import RENAMED
from polydub.config import Flag, flags
from polydub.errors import BadInput, BadSettings

TABLES, LINES = frozenset({".csv", ".tsv"}), frozenset({".jsonl", ".ndjson"})
WHOLE_BATCH = frozenset({"jobs", "threads"})  # settings that no single film can have
TEXTS = ("transcript", "translation")


@dataclass(frozen=True)
class Entry:
    """A row of a list: a film, and what it has of its own. `place`: "films.csv, row 3"."""

    file: Path
    settings: Mapping[str, object]
    transcript: str | None
    translations: tuple[str, ...]
    place: str


def list_file(text: str) -> Path | None:
    """The list that is meant by an input: `@films.txt`, or a file whose ending says so; None when it is a film."""
    if text.startswith("@") and not Path(text).exists():
        return Path(text[1:])
    ends = Path(text).suffix.lower()
    return Path(text) if ends in TABLES | LINES | {".json"} and not Path(text).is_dir() else None


def entries(path: Path) -> Iterator[Entry]:
    """The rows of a list in order. Files in it are relative to its folder.

    Text: a file on each line; empty lines and lines that begin with # are left out. CSV: a header with `file` and options of
    `polydub dub` by setting or flag; commas, semicolons or tabs. JSON: a list of such objects; JSON lines: one on each line.
    Raises: BadInput, BadSettings, with the row.
    """
    text = _text(path)
    kind = path.suffix.lower()
    rows = _table(path, text) if kind in TABLES else _objects(path, text, kind) if kind != ".txt" else _plain(path, text)
    names, found = _names(), False
    for place, row in rows:
        found = True
        yield _entry(row, place, path.parent, names)
    if not found:
        raise BadInput(f"{path} names no films", "write one file on each line")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text", "save the list as UTF-8") from error
    except FileNotFoundError:
        raise BadInput(f"there is no list {path}", "check the name") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}", "check its name and permissions") from error


def _plain(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path}, line {number}", {"file": line.strip()}


def _table(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadInput(f"{path} is damaged: {error}", "save it as CSV again") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if "file" not in (name.lower() for name in header):
        raise BadInput(f"{path} has no column called file", "name the columns in its first row: file,to,transcript")
    for number, row in enumerate(rows[1:], 2):
        cells = [cell.strip() for cell in row]
        if any(cells[len(header) :]):
            raise BadInput(
                f"{path}, row {number} has more cells than the first row has names", "put texts with commas in quotes"
            )
        if any(cells):
            _once(header, f"{path}")
            yield f"{path}, row {number}", {name: cell for name, cell in zip(header, cells, strict=False) if name or cell}


def _objects(path: Path, text: str, kind: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    if kind in LINES:
        lines = [(f"{path}, line {n}", line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        rows = [(place, _json(line, place)) for place, line in lines]
    else:
        whole = _json(text, str(path))
        if not isinstance(whole, list):
            raise BadInput(f"{path} is not a list", 'write [{"file": "talk.mp4", "to": "es"}]')
        rows = [(f"{path}, entry {n}", row) for n, row in enumerate(cast("list[object]", whole), 1)]
    for place, row in rows:
        if isinstance(row, str):
            yield place, {"file": row}
        elif isinstance(row, dict):
            yield place, cast("dict[str, object]", row)
        else:
            raise BadInput(f"{place} is neither an object nor a name", 'write {"file": "talk.mp4", "to": "es"}')


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{place} is damaged: {error}", "correct it, or leave it out") from error


def _names() -> Mapping[str, Flag]:
    """What a column may be called, dashes as underscores -> the setting."""
    known: dict[str, Flag] = {}
    for flag in flags():
        if flag.name and flag.key not in WHOLE_BATCH:
            earlier = (old for old, now in RENAMED.items() if now == flag.name)
            known |= {_plainly(name): flag for name in (flag.key, flag.name, *earlier)}
    return known


def _plainly(column: str) -> str:
    return column.strip().lstrip("-").replace("-", "_").lower()


def _once(names: list[str], place: str) -> None:
    plain = [_plainly(name) for name in names if name]
    twice = next((name for name in plain if plain.count(name) > 1), None)
    if twice:
        raise BadInput(f"{place} has two columns called {twice}", "leave one of them out")


def _entry(row: Mapping[str, object], place: str, base: Path, names: Mapping[str, Flag]) -> Entry:
    given = {_plainly(name): (name, value) for name, value in row.items() if value is not None and value != ""}
    _, file = given.pop("file", ("", None))
    if not isinstance(file, str):
        raise BadInput(f"{place} names no file", "give the name of a film as file")
    texts = {what: _texts(given.pop(what, ("", None))[1], place, what) for what in TEXTS}
    if len(texts["transcript"]) > 1:
        raise BadInput(f"{place} has several transcripts", "give one; translations may be several")
    settings: dict[str, object] = {}
    for plain, (name, value) in given.items():
        flag = names.get(plain)
        if flag is None:
            raise _unknown(name, plain, place, names)
        if flag.key in settings:
            raise BadSettings(f"{place} sets {flag.key} twice", "leave one of them out")
        settings[flag.key] = _located(flag, value, base)
    transcript = str(_beside(base, texts["transcript"][0])) if texts["transcript"] else None
    translations = tuple(_translation(base, text) for text in texts["translation"])
    return Entry(_beside(base, file), settings, transcript, translations, place)


def _unknown(name: str, plain: str, place: str, names: Mapping[str, Flag]) -> BadSettings:
    if plain in WHOLE_BATCH:
        return BadSettings(f"{place}: {plain} is for the whole batch", f"give --{plain} on the command line")
    near = get_close_matches(plain, [*names, "file", *TEXTS], n=1)
    hint = (
        f"did you mean {near[0]}?" if near else "the columns are file, transcript, translation and the options of polydub dub"
    )
    return BadSettings(f"{place} has the unknown option {name}", hint)


def _texts(value: object, place: str, what: str) -> list[str]:
    """Files of texts: one name, several with semicolons, a list, or an object of language and name."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        value = [f"{tag}={name}" for tag, name in cast("Mapping[str, object]", value).items()]
    several = value.split(";") if isinstance(value, str) else value
    if not isinstance(several, list) or not all(isinstance(text, str) for text in cast("list[object]", several)):
        raise BadInput(f"{place}: {what} is no name of a file", "write the name as text")
    return [text.strip() for text in cast("list[str]", several) if text.strip()]


def _translation(base: Path, text: str) -> str:
    """`es=talk.srt` or `talk.es.srt`, with the file relative to the list."""
    tag, equals, name = text.partition("=")
    return f"{tag}={_beside(base, name)}" if equals and not _beside(base, text).exists() else str(_beside(base, text))


def _located(flag: Flag, value: object, base: Path) -> object:
    """A setting's value; files and folders are relative to the list."""
    if not isinstance(value, str):
        return value
    if flag.key == "summary" and value.startswith("@"):
        return f"@{_beside(base, value[1:])}"
    return str(_beside(base, value)) if flag.kind == "path" else value


def _beside(base: Path, name: str) -> Path:
    return base / Path(name).expanduser()
