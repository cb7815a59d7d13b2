"""Tables and subtitles of lines: what goes out comes back, also through a spreadsheet program."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import BadInput
from polydub.review import cues, sheets
from polydub.review.rows import COLUMNS, Row, marks, read_time, tidy

ODD = (
    '=HYPERLINK("http://x","y")',
    "+1",
    "-2 people",
    "- Hola.",
    "@all",
    "\tTab",
    "'quoted'",
    "'=x",
    "''=x",
    'He said: "no", twice; twice',
    "one\ntwo\n\nfour\n",
    "\n",
    "مرحبا بالعالم، 2024",
    "שלום (world)!",
    "Ein Emoji 😀👩‍👩‍👧 und e\u0301",
    "1\n00:00:01,000 --> 00:00:02,000",
    "a & b < c > d {\\an8} <i>x</i> &amp; &lt;",
    "_x0041_ _x005F_x000D_",
    "42",
    "1/2",
    "TRUE",
    "NOTE to all",
    "WEBVTT",
    " blanks ",
    "",
)
letters = st.characters(codec="utf-8", exclude_categories=("Cs",))
texts = (st.text(letters, max_size=30) | st.sampled_from(ODD)).map(tidy)
names = st.text(letters, max_size=12).map(lambda text: " ".join(tidy(text).split()))
numbers = st.none() | st.floats(-20, 20).map(lambda x: round(x, 3) + 0.0)
times = st.integers(0, 36_000_000)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    made: list[Row] = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        start = draw(times)
        made.append(
            Row(
                str(number),
                {
                    "start": start,
                    "end": start + draw(st.integers(1, 60_000)),
                    "speaker": draw(names),
                    "source": draw(texts),
                    "text": draw(texts),
                    "status": draw(st.sampled_from(("draft", "approved", "locked"))),
                    "voice": draw(names),
                    "rate": draw(numbers),
                    "pitch": draw(numbers),
                    "energy": draw(numbers),
                },
            )
        )
    return made


def held(found: Sequence[Row]) -> list[tuple[str, dict[str, Any]]]:
    return [(row.id, dict(row.values)) for row in found]


def of(row: Row, fields: Sequence[str]) -> Row:
    return replace(row, values={name: row.values[name] for name in fields})


LINE = Row(
    "1",
    {
        "start": 1005,
        "end": 2250,
        "speaker": "ANNA",
        "source": "Hello.",
        "text": "Hola.",
        "status": "draft",
        "voice": "",
        "rate": None,
        "pitch": None,
        "energy": None,
    },
)
TABLES = [(sheets.write_csv, sheets.read_csv), (sheets.write_xlsx, sheets.read_xlsx)]
Write, Read = Callable[[Sequence[Row]], bytes], Callable[[bytes, str], list[Row]]


@pytest.mark.parametrize(("write", "read"), TABLES)
@given(made=rows())
def test_a_table_holds_every_line_exactly_and_marks_what_it_held(write: Write, read: Read, made: list[Row]) -> None:
    found = read(write(made), "lines")
    assert held(found) == held(made)
    assert [row.was for row in found] == [marks(row.values) for row in made]


@given(made=rows())
def test_srt_holds_numbers_times_and_texts_exactly(made: list[Row]) -> None:
    assert held(cues.read_srt(cues.write_srt(made), "talk.srt")) == held([of(row, cues.SRT_FIELDS) for row in made])


@given(made=rows())
def test_vtt_holds_speakers_besides(made: list[Row]) -> None:
    assert held(cues.read_vtt(cues.write_vtt(made), "talk.vtt")) == held([of(row, cues.VTT_FIELDS) for row in made])


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize(("write", "read"), [*TABLES, (cues.write_srt, cues.read_srt), (cues.write_vtt, cues.read_vtt)])
def test_odd_texts_come_back_as_they_were(write: Write, read: Read, text: str) -> None:
    line = replace(LINE, values={**LINE.values, "text": text})
    after = replace(LINE, id="2")
    first, second = read(write([line, after]), "lines")
    assert first.values["text"] == text
    assert (second.id, second.values["text"]) == ("2", "Hola.")


@pytest.mark.parametrize("text", [text for text in ODD if text[:1] in "=+-@\t" and text])
def test_no_cell_of_a_csv_file_is_a_formula(text: str) -> None:
    table = list(
        csv.reader(
            io.StringIO(sheets.write_csv([replace(LINE, values={**LINE.values, "text": text})]).decode("utf-8-sig"), newline="")
        )
    )
    assert table[1][COLUMNS.index("text")][0] == "'"


@pytest.mark.parametrize("text", ODD)
def test_no_cell_of_a_workbook_is_a_formula(text: str) -> None:
    data = sheets.write_xlsx([replace(LINE, values={**LINE.values, "text": text, "speaker": text})])
    sheet: Any = openpyxl.load_workbook(io.BytesIO(data)).active
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n", "inlineStr"}


def test_a_table_may_come_back_with_other_separators_columns_and_line_ends() -> None:
    data = 'Note;Text;End;START;ID;Rate\r\nx;"Hola,\r\nAna";2,25;1,005;1.0;1,1\r\n;;;;;\r\n'.encode("utf-16")
    (row,) = sheets.read_csv(data, "lines.csv")
    assert (row.id, row.values, row.was) == ("1", {"start": 1005, "end": 2250, "text": "Hola,\nAna", "rate": 1.1}, None)


def test_a_workbook_may_come_back_with_numbers_and_times_of_its_own() -> None:
    book: Any = openpyxl.Workbook()
    book.active.append(["id", "text", "start", "end", "rate", "notes"])
    book.active.append([1.0, 42.0, time(0, 0, 1, 5000), timedelta(seconds=2.25), 1, datetime(2024, 1, 2)])
    book.active.append([None, None, None, None])
    book.active.append(["2", True, "0:02.5", 3, None])
    out = io.BytesIO()
    book.save(out)
    first, second = sheets.read_xlsx(out.getvalue(), "lines.xlsx")
    assert (first.id, first.values) == ("1", {"start": 1005, "end": 2250, "text": "42", "rate": 1.0})
    assert (second.id, second.values) == ("2", {"start": 2500, "end": 3000, "text": "TRUE", "rate": None})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'id'"),
        ("text,start\nHola,1\n", "no column 'id'"),
        ("id,was\n1,x\n", "no column 'text'"),
        ("id,text\n,Hola\n", "row 2: there is no id"),
        ("id,start,end\n1,1,2\n2,soon,3\n", "row 3: the start 'soon' is no time"),
        ("id,start,end\n1,2,1\n", "row 2: the line ends before it starts"),
        ("id,start,end\n1,-1,1\n", "row 2: the start '-1' is no time"),
        ("id,status\n1,done\n", "row 2: the status 'done' is none of draft"),
        ("id,rate\n1,fast\n", "row 2: the rate 'fast' is no number"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_row(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        sheets.read_csv(text.encode(), "lines.csv")


def test_a_table_in_an_old_encoding_is_refused() -> None:
    with pytest.raises(BadInput, match="UTF-8"):
        sheets.read_csv("id,text\n1,Adiós\n".encode("cp1252"), "lines.csv")


@pytest.mark.parametrize("data", [b"", b"id,text\n1,Hola", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_workbook_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"lines\.xlsx"):
        sheets.read_xlsx(data, "lines.xlsx")


def test_a_workbook_that_was_damaged_on_its_way_is_refused_or_read() -> None:
    whole = sheets.write_xlsx([Row("1", {"start": 0, "end": 900, "text": "Hola."}), Row("2", {"start": 950, "end": 1900})])
    refused = 0
    for at in range(0, len(whole), 97):
        data = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        try:
            sheets.read_xlsx(data, "lines.xlsx")
        except BadInput as error:
            refused += "lines.xlsx" in error.message
    assert refused > 20


@pytest.mark.parametrize(
    ("cells", "words"), [(["1", datetime(2024, 1, 2)], "into a date"), (["1", "=A1"], "row 2: there is a formula")]
)
def test_a_workbook_whose_text_is_lost_is_refused(cells: list[Any], words: str) -> None:
    book: Any = openpyxl.Workbook()
    book.active.append(["id", "text"])
    book.active.append(cells)
    out = io.BytesIO()
    book.save(out)
    with pytest.raises(BadInput, match=words):
        sheets.read_xlsx(out.getvalue(), "lines.xlsx")


def test_subtitles_of_other_programs_are_read() -> None:
    first = "\ufeff1\r\n00:00:01,005 --> 00:00:02,250 X1:1\r\n<i>Hola,</i>\r\n{\\an8}Ana &amp; Bo\r\n\r\n\r\n"
    data = first + "7\r\n0:00:03.5 --> 0:00:04\r\n\r\n"
    assert held(cues.read_srt(data.encode(), "talk.srt")) == [
        ("1", {"start": 1005, "end": 2250, "text": "Hola,\nAna & Bo"}),
        ("7", {"start": 3500, "end": 4000, "text": ""}),
    ]
    cue = "00:01.005 --> 00:02.250 align:left\n<v.loud Ana Bel><b>Hola</b> &lt;3</v>\n\n"
    vtt = f"WEBVTT - x\n\nNOTE hello\n\n{cue}STYLE\n::cue {{}}\n"
    assert held(cues.read_vtt(vtt.encode(), "talk.vtt")) == [
        ("", {"start": 1005, "end": 2250, "speaker": "Ana Bel", "text": "Hola <3"})
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no subtitles"),
        ("1\n00:00:02,000 --> 00:00:01,000\nHola\n", "cue 1: .* is no time span"),
        ("1\n00:00:01,000 --> soon\nHola\n", "cue 1: .* is no time span"),
    ],
)
def test_subtitles_that_make_no_sense_are_refused_with_the_cue(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        cues.read_srt(text.encode(), "talk.srt")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1.005", 1005),
        ("62,5", 62500),
        ("1:02.345", 62345),
        ("00:01:02,345", 62345),
        ("1:00:00", 3600000),
        ("90:00.5", 5400500),
    ],
)
def test_times_are_read_as_people_write_them(text: str, ms: int) -> None:
    assert read_time(text) == ms


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:61:00", "a", "1e3", "1:2:3:4", "nan", f"{10**400}:00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        read_time(text)
