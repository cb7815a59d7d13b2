"""Cues as the text of SRT, WebVTT and ASS files."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from polydub.text.formats import clean, srt_plain
from polydub.types import Cue

_ASS_TEXT = str.maketrans({"{": "｛", "}": "｝", "\\": "＼"})
_LIBASS_TEXT = str.maketrans({"{": "\\{", "}": "\\}", "\\": "\\\u2060"})
_RLE, _PDF, _RLM = "\u202b", "\u202c", "\u200f"
# Light and far apart on any picture behind a dark outline; the first is everybody's where nobody is named.
_COLOURS = ("FFFFFF", "FFE066", "7FDBFF", "9BE564", "FFB3DA", "FFB366", "C9B6FF", "7FE5C8")


@dataclass(frozen=True, slots=True)
class Exchange(Cue):
    """A cue in which several people speak, one a row: `speakers` by row."""

    speakers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bilingual(Cue):
    """A cue that shows its text and below it `other`, the same in another language; "" = nothing."""

    other: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """How a file is to look. `fonts`: names of the fonts of the text and of a bilingual cue's other one (ASS).

    Attributes: width, height: of the picture, 0 = 1920 x 1080. other: language of the other text. word_times: WebVTT tells
    when each word is said, where that is known. libass: only libass will read the ASS, whose escapes keep braces as they are.
    """

    width: int = 0
    height: int = 0
    fonts: tuple[str, str] = ("Arial", "Arial")
    other: str = ""
    word_times: bool = True
    libass: bool = False


def is_rtl(text: str) -> bool:
    """Whether more letters of `text` are written from right to left than from left to right."""
    sides = [unicodedata.bidirectional(c) for c in text]
    return sum(side in ("R", "AL") for side in sides) > sum(side == "L" for side in sides)


def _stamp(time: float, point: str) -> str:
    ms = max(0, round(time * 1000))
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def _rows(text: str) -> list[str]:
    return [row for row in map(clean, text.split("\n")) if row]


def _texts(cue: Cue) -> list[str]:
    return [cue.text, cue.other] if isinstance(cue, Bilingual) else [cue.text]


def _led(row: str) -> str:
    """A row of right-to-left text for readers that find a row's direction by its first letter: that must be such a one."""
    first = next((side for c in row if (side := unicodedata.bidirectional(c)) in ("L", "R", "AL")), "R")
    return _RLM + row if first == "L" else row


def _srt_row(row: str) -> str:
    """SRT has no escapes: only what a reader would take for a tag, an entity or a time is written as an entity."""
    if srt_plain(row) != row:
        row = re.sub(r"&(?=#?\w+;)", "&amp;", row).replace("{\\", "&#123;\\")
        row = re.sub(r"<(?=/?[A-Za-z])", "&lt;", row)
    return row.replace("-->", "--&gt;")


def _srt_rows(text: str) -> list[str]:
    """Right-to-left rows stand in a right-to-left embedding: most players of SRT take every row to run from the left, and
    would put its full stop on the wrong side and its Latin words in the wrong order."""
    rows = [_srt_row(row) for row in _rows(text)]
    return [f"{_RLE}{row}{_PDF}" for row in rows] if is_rtl(text) else rows


def write_srt(cues: Sequence[Cue]) -> str:
    """SubRip, numbered from 1; cues without text are left out. Without cues the result is empty."""
    shown = [(cue, rows) for cue in cues if (rows := [row for text in _texts(cue) for row in _srt_rows(text)])]
    return "".join(
        f"{i}\n{_stamp(cue.start, ',')} --> {_stamp(cue.end, ',')}\n" + "\n".join(rows) + "\n\n"
        for i, (cue, rows) in enumerate(shown, 1)
    )


def write_vtt(cues: Sequence[Cue], look: Look = Look()) -> str:
    """WebVTT with a voice tag where the speaker is known, times inside a cue where its words' are, and the other text of a
    bilingual cue in a language tag; cues without text are left out. Right-to-left rows begin with a mark where their first
    letter is none: by WebVTT's own rule that letter decides."""
    blocks = ["WEBVTT\n"]
    for cue in cues:
        rows = _vtt_rows(cue, look)
        if rows:
            blocks.append(f"{_stamp(cue.start, '.')} --> {_stamp(cue.end, '.')}\n" + "\n".join(rows) + "\n")
    return "\n".join(blocks)


def _vtt_rows(cue: Cue, look: Look) -> list[str]:
    rtl = is_rtl(cue.text)
    if look.word_times and cue.words:
        rows = _marked(cue)
    else:
        rows = [html.escape(_led(row) if rtl else row, quote=False) for row in _rows(cue.text)]
    if isinstance(cue, Exchange) and len(rows) == len(cue.speakers):
        return [_voice(name) + row for name, row in zip(cue.speakers, rows, strict=True)]
    if isinstance(cue, Bilingual) and (below := _rows(cue.other)):
        escaped = [html.escape(_led(row) if is_rtl(cue.other) else row, quote=False) for row in below]
        rows.append(f"<lang {html.escape(look.other)}>" + "\n".join(escaped) + "</lang>" if look.other else "\n".join(escaped))
    return [_voice(cue.speaker) + rows[0], *rows[1:]] if rows else []


def _voice(speaker: str) -> str:
    name = html.escape(clean(speaker), quote=False)
    return f"<v {name}>" if name else ""


def _marked(cue: Cue) -> list[str]:
    """The rows with the time of each word that begins later than what stands before it, as WebVTT wants them to rise."""
    begins: dict[int, float] = {}
    place, last = 0, cue.start
    for word in cue.words:
        if last < word.start < cue.end:
            begins[place] = word.start
        last = max(last, word.start)
        place += len("".join(word.text.split()))
    rows, place, rtl = list[str](), 0, is_rtl(cue.text)
    for row in _rows(cue.text):
        marked = _RLM if rtl and _led(row) != row else ""
        for c in row:
            if c != " ":
                marked += f"<{_stamp(begins[place], '.')}>" if place in begins else ""
                place += 1
            marked += html.escape(c, quote=False)
        rows.append(marked)
    return rows


@dataclass(slots=True)
class _Styles:
    """The styles of an ASS file, one a speaker."""

    look: Look
    names: dict[str, str] = field(default_factory=dict[str, str])
    lines: list[str] = field(default_factory=list[str])

    def of(self, speaker: str) -> str:
        """The style of a speaker; made when they first speak."""
        if speaker not in self.names:
            taken = len(self.names) + ("" not in self.names)
            name = "Default" if not speaker else f"Speaker{taken}"
            self.names[speaker] = name
            self.lines.append(self._style(name, _COLOURS[0 if not speaker else taken % len(_COLOURS)], self.look.fonts[0], 1.0))
        return self.names[speaker]

    def other(self) -> str:
        """The style of the other text of bilingual cues: smaller, grey-white."""
        line = self._style("Other", "D8D8D8", self.look.fonts[1], 0.8)
        if line not in self.lines:
            self.lines.append(line)
        return "Other"

    def _style(self, name: str, colour: str, font: str, scale: float) -> str:
        across, down = _size(self.look)
        # 60 of 1080 lines, unless 42 letters of half a size each would not fit into nine tenths of a narrow picture
        points = scale * min(down / 18, 0.9 * across / 21)
        edge, side = max(1.0, points / 20), round(across / 24)
        bgr = f"&H00{colour[4:6]}{colour[2:4]}{colour[0:2]}"
        return (
            f"Style: {name},{_plain(font)},{points:.0f},{bgr},&H000000FF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,"
            f"{edge:.1f},{edge / 3:.1f},2,{side},{side},{round(down / 18)},-1\n"  # -1: direction by the first letter
        )


def _size(look: Look) -> tuple[int, int]:
    return (look.width, look.height) if look.width > 0 and look.height > 0 else (1920, 1080)


def _plain(name: str) -> str:
    return clean(name.replace(",", " "))


def write_ass(cues: Sequence[Cue], title: str, look: Look = Look()) -> str:
    """Advanced SubStation Alpha: sizes in pixels of the picture, a style and a colour for each speaker, times rounded down
    to hundredths so that no frame is missed.

    Braces and backslashes become their full-width forms: no renderer agrees with another on how to escape them, and plain
    ones would be overrides. A row's direction is that of its first letter (Encoding -1).
    """
    styles = _Styles(look)
    styles.of("")
    events: list[str] = []
    for cue in cues:
        style = styles.of(_plain(cue.speaker))
        text = _ass_text(cue, styles)
        if text:
            times = f"{_hundredths(cue.start)},{_hundredths(cue.end)}"
            events.append(f"Dialogue: 0,{times},{style},{_plain(cue.speaker)},0,0,0,,{text}\n")
    across, down = _size(look)
    head = (
        f"[Script Info]\nTitle: {clean(title)}\nScriptType: v4.00+\nWrapStyle: 0\nScaledBorderAndShadow: yes\n"
        f"PlayResX: {across}\nPlayResY: {down}\n\n[V4+ Styles]\n"
        "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
        "Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, "
        "MarginL, MarginR, MarginV, Encoding\n"
    )
    middle = "\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    return head + "".join(styles.lines) + middle + "".join(events)


def _ass_text(cue: Cue, styles: _Styles) -> str:
    escapes = _LIBASS_TEXT if styles.look.libass else _ASS_TEXT
    rows = _ass_rows(cue.text, escapes)
    if isinstance(cue, Exchange) and len(rows) == len(cue.speakers):
        rows = [f"{{\\r{styles.of(_plain(name))}}}{row}" for name, row in zip(cue.speakers, rows, strict=True)]
    if isinstance(cue, Bilingual) and (below := _ass_rows(cue.other, escapes)):
        rows += [f"{{\\r{styles.other()}}}" + "\\N".join(below)]
    return "\\N".join(rows)


def _ass_rows(text: str, escapes: dict[int, str]) -> list[str]:
    rtl = is_rtl(text)
    return [(_led(row) if rtl else row).translate(escapes) for row in _rows(text)]


def _hundredths(time: float) -> str:
    cs = max(0, round(time * 1000) // 10)
    return f"{cs // 360_000}:{cs // 6000 % 60:02d}:{cs // 100 % 60:02d}.{cs % 100:02d}"
