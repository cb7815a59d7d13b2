"""Lines as tables: CSV and XLSX, as written here and as spreadsheet programs give them back."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from polydub.errors import BadInput
from polydub.review.rows import COLUMNS, EDITABLE, READERS, Row, cell, marks_cell, read_marks

_NAMES = {"source_text": "source", "source text": "source", "energy_db": "energy", "translation": "text", "target": "text"}
_TEXTS = ("speaker", "source", "text", "voice")
_FORMULA = re.compile(r"'*[=+\-@\t]")  # how spreadsheets tell a formula from a text
_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_LONGEST_CELL = 32_767
_LARGEST = 200 << 20  # bytes of an unpacked workbook; an hour of film has 2 MB
# What openpyxl raises for a workbook that holds no table, and zipfile for a damaged archive; XML's own error is a SyntaxError.
_DAMAGED = (
    *(KeyError, ValueError, TypeError, AttributeError, IndexError, OSError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError),
)
_WIDTHS = {"id": 6, "start": 11, "end": 11, "speaker": 14, "source": 50, "text": 50, "status": 10, "voice": 18}


def write_csv(rows: Sequence[Row]) -> bytes:
    """UTF-8 with a mark at the begin, by which spreadsheet programs know it. A text that one of them would take for a formula
    has an apostrophe before it, which `read_csv` takes away again."""
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for row in rows:
        cells = {name: cell(name, row.values.get(name)) for name in EDITABLE}
        cells |= {name: "'" + cells[name] for name in _TEXTS if _FORMULA.match(cells[name])}
        table.writerow([row.id, *cells.values(), marks_cell(row.values)])
    return out.getvalue().encode("utf-8-sig")


def read_csv(data: bytes, name: str) -> list[Row]:
    """The rows of a table with commas, semicolons or tabs. Raises: BadInput with the row's number."""
    text = _decoded(data, name)
    table = _table(text, name)
    return _rows(table, name, _without_apostrophe)


def _without_apostrophe(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _decoded(data: bytes, name: str) -> str:
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8 text", "save it as CSV UTF-8, or as XLSX") from None


def _table(text: str, name: str) -> list[list[str]]:
    """Cells by row. The separator is the one by which the first row has the most columns that are known."""
    best: list[list[str]] = []
    for separator in ",;\t":
        try:
            table = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
        except csv.Error as error:
            raise BadInput(f"{name} is no CSV file: {error}", "save it again as CSV UTF-8, or as XLSX") from None
        if not best or (table and len(_known(table[0])) > len(_known(best[0]))):
            best = table
    return best


def _known(heads: Sequence[Any]) -> dict[str, int]:
    """Columns by name. The first of two with one name counts."""
    found: dict[str, int] = {}
    for at, head in enumerate(heads):
        plain = " ".join(str(head or "").lower().split())
        found.setdefault(_NAMES.get(plain, plain), at)
    return {name: at for name, at in found.items() if name in COLUMNS}


def _rows(table: Sequence[Sequence[Any]], name: str, plain: Callable[[str], str]) -> list[Row]:
    heads = table[0] if table else ()
    columns = _known(heads)
    if "id" not in columns or not set(columns) - {"id", "was"}:
        shown = ", ".join(str(head) for head in heads if head) or "nothing"
        lacks = "id" if "id" not in columns else "text"
        hint = f"the first row names the columns: {', '.join(COLUMNS)}"
        raise BadInput(f"{name} has no column {lacks!r} in its first row, which says: {shown[:200]}", hint)
    found: list[Row] = []
    for number, cells in enumerate(table[1:], 2):
        where = f"row {number}"
        texts = {key: _text(cells[at] if at < len(cells) else "", key, f"{name}, {where}") for key, at in columns.items()}
        if not any(text.strip() for text in texts.values()):
            continue
        texts |= {key: plain(texts[key]) for key in _TEXTS if key in texts}
        found.append(_row(texts, where, name))
    return found


def _text(value: Any, key: str, where: str) -> str:
    """A cell as text, whatever a spreadsheet made of it. Raises: BadInput for what cannot be undone."""
    if value is None:
        return ""
    if key in ("start", "end") and isinstance(value, time | timedelta):
        if isinstance(value, time):
            value = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
        return f"{value.total_seconds():.3f}"
    if isinstance(value, date | datetime | time | timedelta):
        raise BadInput(
            f"{where}: a spreadsheet has turned the {key} into a date", "format the column as text, and type it again"
        )
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.3f}" if key in ("start", "end") else f"{value:.15g}"
    return str(value)


def _row(texts: Mapping[str, str], where: str, name: str) -> Row:
    id_ = re.sub(r"^(\d+)[.,]0+$", r"\1", texts["id"].strip())
    if not id_:
        raise BadInput(
            f"{name}, {where}: there is no id", "a row without an id belongs to no line; new lines are made by split"
        )
    values: dict[str, Any] = {}
    for key in EDITABLE:
        if key not in texts:
            continue
        try:
            values[key] = READERS[key](texts[key])
        except ValueError as error:
            raise BadInput(f"{name}, {where}: the {key} {error}", _HINTS.get(key, "")) from None
    if values.get("start", 0) >= values.get("end", 1 << 60):
        raise BadInput(f"{name}, {where}: the line ends before it starts", _HINTS["end"])
    return Row(id_, values, where, read_marks(texts.get("was", "")))


_HINTS = {
    "start": "write seconds or a time such as 00:01:02.345",
    "end": "write seconds or a time such as 00:01:02.345",
    "status": "write draft, approved or locked",
    "rate": "write a number such as 1.1, or nothing",
    "pitch": "write a number of semitones such as -2, or nothing",
    "energy": "write a number of decibels such as 3, or nothing",
}


def write_xlsx(rows: Sequence[Row]) -> bytes:
    """A workbook of one sheet; texts are cells of text whatever they begin with, numbers are numbers.

    Raises: BadInput for a text that is longer than a cell may be.
    """
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font

    book: Any = Workbook()
    sheet: Any = book.active
    sheet.title, sheet.freeze_panes = "lines", "A2"
    sheet.append(list(COLUMNS))
    wrapped, bold = Alignment(vertical="top", wrap_text=True), Font(bold=True)
    for at, row in enumerate(rows, 2):
        for column, key in enumerate(COLUMNS, 1):
            _put(sheet.cell(at, column), key, row).alignment = wrapped
    for column, key in enumerate(COLUMNS, 1):
        head = sheet.cell(1, column)
        head.font = bold
        sheet.column_dimensions[head.column_letter].width = _WIDTHS.get(key, 8)
        sheet.column_dimensions[head.column_letter].hidden = key == "was"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _put(place: Any, key: str, row: Row) -> Any:
    value: Any = row.id if key == "id" else marks_cell(row.values) if key == "was" else row.values.get(key)
    if key in ("start", "end") and value is not None:
        place.value, place.number_format = value / 1000, "0.000"
    elif isinstance(value, float):
        place.value = value
    elif value:
        if len(value) > _LONGEST_CELL:
            raise BadInput(f"line {row.id} is too long for a cell of a spreadsheet", "export to CSV")
        place.value, place.data_type, place.number_format = _ESCAPED.sub("_x005F_", value), "s", "@"
        place.quotePrefix = bool(_FORMULA.match(value))
    return place


def read_xlsx(data: bytes, name: str) -> list[Row]:
    """The rows of the sheet "lines", else of the first one. Raises: BadInput with the row's number."""
    from openpyxl import load_workbook

    _check_archive(data, name)
    try:
        book: Any = load_workbook(io.BytesIO(data), read_only=True)
        sheet: Any = book["lines"] if "lines" in book.sheetnames else book.worksheets[0]
        sheet.reset_dimensions()
        table = [[(place.value, place.data_type) for place in row] for row in sheet.iter_rows()]
    except _DAMAGED as error:
        raise BadInput(f"{name} cannot be read as a workbook: {error}", "save it again as XLSX, or as CSV UTF-8") from None
    for number, row in enumerate(table[1:], 2):
        if any(kind == "f" for _, kind in row):
            raise BadInput(f"{name}, row {number}: there is a formula", "put its value there, as text")
    values = [[_unescaped(value) if isinstance(value, str) else value for value, _ in row] for row in table]
    return _rows(cast("list[list[Any]]", values), name, str)


def _unescaped(text: str) -> str:
    text = re.sub(r"(?<!_x005F)_x000D_\n?", "\n", text)
    return re.sub(r"_x005F_(?=x[0-9A-Fa-f]{4}_)", "_", text)


def _check_archive(data: bytes, name: str) -> None:
    """Raises BadInput for what is no workbook, or unpacks to more than any review."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise BadInput(f"{name} is no XLSX file", "save it again as XLSX, or as CSV UTF-8") from error
    if size > _LARGEST:
        raise BadInput(f"{name} holds {size >> 20} MB, which is no table of lines", "export it again")
