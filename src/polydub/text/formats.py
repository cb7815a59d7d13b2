"""Readers of SRT, WebVTT, ASS/SSA, transcript JSON and plain text: what a file says, in its order, nothing repaired.

Why not pysubs2: it drops the sign of negative SRT times and the first digit of hours >= 100, eats a last text line
that is a number, reads a backslash in SRT text as an override, loses WebVTT voices and timestamps, and one bad style
line stops a whole ASS file. The tests compare with it wherever it is right.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from polydub.errors import BadInput
from polydub.types import Notice, Segment, Word, Wordings, seconds

_SHAPE = '{"language": "en", "segments": [{"start": 0.5, "end": 2.0, "speaker": "A", "text": "Hello."}]}'
_NO_MEANING = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
_BLANK = re.compile(r"[ \t\n\x0b\x0c\r\x1c-\x1f\x85\u2028\u2029]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SRT_TAG = re.compile(r"\{\\[^{}\n]*\}|</?[A-Za-z][^<>\n]*>")
_EMBEDDED = re.compile("^\u202b|\u202c$", re.MULTILINE)  # for players that take every row to run from the left
_STAMP = r"(-?)(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2})(?:[.,](\d{1,3}))?"
_SRT_TIMES = re.compile(rf"\s*{_STAMP}\s*-{{1,3}}>\s*{_STAMP}(?![\d:.,])")
_STAMP_ALONE = re.compile(_STAMP)
_VTT_STAMP = r"(?:(\d{1,6}):)?(\d{1,6}):(\d{2})[.,](\d{3})"
_VTT_TIMES = re.compile(rf"\s*{_VTT_STAMP}\s*-->\s*{_VTT_STAMP}")
_VTT_MARK = re.compile(rf"\s*{_VTT_STAMP}\s*")
_VTT_TAG = re.compile(r"(/?[a-z]+)(?:\.[^\s.]*)*(?:\s+(.*))?", re.DOTALL)
_ASS_FIELDS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says: cues in file order with times as written (they may be negative or reversed), ids empty.

    `wordings` are texts that the file gives in several lengths, by the normal one.
    """

    cues: tuple[Segment, ...]
    language: str | None = None
    notices: tuple[Notice, ...] = ()
    wordings: Mapping[str, Wordings] = field(default_factory=dict[str, Wordings])


def clean(text: str) -> str:
    """`text` on one line: control characters removed, runs of blanks made one space, both ends stripped."""
    return _BLANK.sub(" ", _NO_MEANING.sub("", _SURROGATE.sub("\ufffd", text))).strip(" ")


def unescape(text: str) -> str:
    """HTML character references that end in a semicolon, decoded; a lone `&` stays."""
    return _ENTITY.sub(lambda m: html.unescape(m[0]), text)


def srt_plain(text: str) -> str:
    """SRT cue text without HTML tags, `{\\an8}` overrides, entities and right-to-left embeddings of whole rows; line breaks
    stay."""
    return unescape(_SRT_TAG.sub("", _EMBEDDED.sub("", text)))


def _seconds(sign: str, hours: str | None, minutes: str, secs: str, fraction: str | None) -> float:
    value = int(hours or 0) * 3600 + int(minutes) * 60 + int(secs) + float(f"0.{fraction or 0}")
    return seconds(-value if sign else value)


def _bad_times(count: int) -> tuple[Notice, ...]:
    if not count:
        return ()
    return (Notice("bad-cue-time", f"{count} cue(s) were left out: their times cannot be read"),)


def read_srt(text: str) -> Reading:
    """SubRip. A number above a timing line is its counter; blank lines inside a cue do not end it."""
    cues: list[Segment] = []
    times: tuple[float, float] | None = None
    body: list[str] = []
    counter = bad = 0
    for line in text.split("\n"):
        found = _SRT_TIMES.match(line)
        if not found and "-->" not in line:
            body.append(line)
            continue
        counter = _take_counter(body, counter, times is None)
        if times:
            cues.append(Segment(*times, text=clean(srt_plain("\n".join(body)))))
        body = []
        times = (_seconds(*found.groups()[:5]), _seconds(*found.groups()[5:])) if found else None
        bad += not found
    if times:
        cues.append(Segment(*times, text=clean(srt_plain("\n".join(body)))))
    return Reading(tuple(cues), notices=_bad_times(bad))


def _take_counter(body: list[str], last: int, outside: bool) -> int:
    """Removes the next cue's counter from the end of `body` and returns it; a number that may be speech stays."""
    if not body or not re.fullmatch(r"\s*\d{1,9}\s*", body[-1]):
        return last
    value = int(body[-1])
    if outside or value == last + 1 or (len(body) > 1 and not body[-2].strip()):
        body.pop()
        return value
    return last


def read_vtt(text: str) -> Reading:
    """WebVTT: voice -> speaker (the first of a cue), inner timestamps -> words, NOTE, STYLE and REGION skipped."""
    lines = text.split("\n")
    cues: list[tuple[float, float, list[str]]] = []
    notices: list[Notice] = []
    if not re.match(r"WEBVTT(?:[ \t]|$)", lines[0]):
        notices.append(Notice("vtt-header", "the file does not begin with WEBVTT; it was read as WebVTT all the same"))
    header = next((i for i, line in enumerate(lines) if not line.strip() or "-->" in line), len(lines))
    language = next((line[9:].strip() for line in lines[:header] if line.lower().startswith("language:")), None)
    inside, bad = False, 0
    for line in lines:
        if "-->" in line:
            found = _VTT_TIMES.match(line)
            inside = found is not None
            if found:
                groups = found.groups()
                cues.append((_seconds("", *groups[:4]), _seconds("", *groups[4:]), []))
            else:
                bad += any(c.isdigit() for c in line)
        elif not line.strip():
            inside = False
        elif inside:
            cues[-1][2].append(line)
    read = [_vtt_cue(start, end, "\n".join(body)) for start, end, body in cues]
    several = sum(voices > 1 for _, voices in read)
    if several:
        notices.append(Notice("several-voices", f"{several} cue(s) name several voices; the first one speaks all of the cue"))
    return Reading(tuple(cue for cue, _ in read), language or None, (*notices, *_bad_times(bad)))


def _vtt_cue(start: float, end: float, body: str) -> tuple[Segment, int]:
    plain, voices, marks, annotation = "", list[str](), [(start, 0)], False
    for odd, piece in enumerate(re.split(r"<([^<>]*)>", body)):
        if odd % 2 == 0:
            plain += "" if annotation else unescape(piece)
            continue
        if mark := _VTT_MARK.fullmatch(piece):
            at = _seconds("", *mark.groups())
            if marks[-1][0] < at < end:
                marks.append((at, len(plain)))
        elif tag := _VTT_TAG.fullmatch(piece):
            annotation = tag[1] == "rt" or (annotation and tag[1] not in ("/rt", "/ruby"))
            name = clean(unescape(tag[2] or "")) if tag[1] == "v" else ""
            if name and name not in voices:
                voices.append(name)
    words = _marked_words(plain, marks, end) if len(marks) > 1 else ()
    return Segment(start, end, speaker=voices[0] if voices else "", text=clean(plain), words=words), len(voices)


def _marked_words(plain: str, marks: list[tuple[float, int]], end: float) -> tuple[Word, ...]:
    """One word for each stretch between timestamps; a timestamp inside a word (karaoke) is passed over."""
    kept = [(t, i) for t, i in marks if i in (0, len(plain)) or plain[i - 1].isspace() or plain[i].isspace()]
    stops = [*kept[1:], (end, len(plain))]
    found = (Word(t, u, clean(plain[i:j])) for (t, i), (u, j) in zip(kept, stops, strict=True))
    return tuple(word for word in found if word.text)


def read_ass(text: str) -> Reading:
    """ASS and SSA: dialogue events; name or actor -> speaker; override tags, drawings and comments left out."""
    cues: list[Segment] = []
    fields, events, bad = list(_ASS_FIELDS), False, 0
    for raw in text.split("\n"):
        line = raw.strip()
        key, _, rest = line.partition(":")
        key = key.lower()
        if line.startswith("[") and line.endswith("]") and line != line.upper():  # attached fonts are upper case
            events = line.lower() == "[events]"
        elif events and key == "format":
            fields = [name.strip().lower() for name in rest.split(",")]
        elif events and key == "dialogue":
            values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
            start, end = (_STAMP_ALONE.fullmatch(values.get(name, "").strip()) for name in ("start", "end"))
            if not start or not end:
                bad += 1
                continue
            speaker = clean(values.get("name", values.get("actor", "")))
            words = clean(_ass_plain(values.get("text", "")))
            cues.append(Segment(_seconds(*start.groups()), _seconds(*end.groups()), speaker=speaker, text=words))
    return Reading(tuple(cues), notices=_bad_times(bad))


def _ass_plain(text: str) -> str:
    kept: list[str] = []
    drawing = False
    text = text.replace("\0", "").replace("\\{{}", "\0")  # how ffmpeg escapes a plain brace; a plain backslash below
    closed = text.rfind("}") + 1  # beyond it no brace opens anything; and the search stays linear
    for odd, piece in enumerate([*re.split(r"\{([^}]*)\}", text[:closed]), "", text[closed:]]):
        if odd % 2:
            levels = re.findall(r"\\p(\d+)", piece)
            drawing = bool(levels[-1].strip("0")) if levels else drawing
        elif not drawing:
            kept.append(re.sub(r"\\[Nnh]", " ", piece))
    return "".join(kept).replace("\0", "{").replace("\\\u2060", "\\")


def read_txt(text: str) -> Reading:
    """One line of text is one cue; all times are 0. Raises: BadInput when the bytes are no text."""
    if "\0" in text:
        raise BadInput("the file is not text", "give subtitles (.srt, .vtt, .ass, .json) or plain text in UTF-8")
    lines = (clean(line) for line in text.split("\n"))
    return Reading(tuple(Segment(0.0, 0.0, text=line) for line in lines if line))


def read_json(text: str) -> Reading:
    """polydub's own transcript, a bare list of segments, or Whisper's verbose_json. Raises: BadInput with the JSON path.

    A segment may have `short` and `long` texts besides its `text`: the same in fewer and in more words.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f": {error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadInput(f"the transcript is not valid JSON{where}", f"its shape is {_SHAPE}") from None
    if isinstance(found, list):
        return Reading(tuple(_segments(cast("list[Any]", found), "$")), wordings=_wordings(cast("list[Any]", found), "$"))
    top = _object(found, "$")
    language = _optional_text(top, "language", "$")
    cues = tuple(_segments(top.get("segments"), "$.segments"))
    return Reading(cues, clean(language) or None, wordings=_wordings(top.get("segments"), "$.segments"))


def _wrong(path: str, wanted: str) -> BadInput:
    return BadInput(f"the JSON transcript is wrong at {path}: {wanted} expected", f"its shape is {_SHAPE}")


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(path, "an object")
    return cast("Mapping[str, Any]", value)


def _items(value: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    if not isinstance(value, list):
        raise _wrong(path, "a list")
    for i, entry in enumerate(cast("list[Any]", value)):
        yield _object(entry, f"{path}[{i}]"), f"{path}[{i}]"


def _segments(value: Any, path: str) -> Iterator[Segment]:
    for entry, at in _items(value, path):
        text = entry.get("text")
        if not isinstance(text, str):
            raise _wrong(f"{at}.text", "a string")
        words = tuple(_words(entry.get("words"), f"{at}.words"))
        start, end = (_time(entry, name, at) for name in ("start", "end"))
        speaker = clean(_optional_text(entry, "speaker", at))
        yield Segment(start, end, speaker=speaker, text=clean(text), words=words)


def _wordings(value: Any, path: str) -> Mapping[str, Wordings]:
    """Texts in several lengths, by the normal one; of two entries with one text the first counts."""
    found: dict[str, Wordings] = {}
    for entry, at in _items(value, path):
        normal, short, long = (clean(_optional_text(entry, name, at)) for name in ("text", "short", "long"))
        if normal and (short or long):
            found.setdefault(normal, Wordings(normal, short, long))
    return found


def _words(value: Any, path: str) -> Iterator[Word]:
    for entry, at in _items(value, path) if value is not None else ():
        if entry.get("start") is None or entry.get("end") is None:
            continue  # WhisperX gives numbers no times
        text = clean(_optional_text(entry, "text" if "text" in entry else "word", at))
        first, last = sorted(max(0.0, _time(entry, name, at)) for name in ("start", "end"))
        sure: Any = next((entry[name] for name in ("confidence", "probability", "score") if name in entry), None)
        if text:
            yield Word(first, last, text, float(sure) if isinstance(sure, int | float) and 0 <= sure <= 1 else None)


def _optional_text(entry: Mapping[str, Any], name: str, path: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(f"{path}.{name}", "a string")
    return value


def _time(entry: Mapping[str, Any], name: str, path: str) -> float:
    value: Any = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9 or math.isnan(value):
        raise _wrong(f"{path}.{name}", "a number of seconds")
    return seconds(value)


READERS: Mapping[str, Callable[[str], Reading]] = {
    "srt": read_srt,
    "vtt": read_vtt,
    "ass": read_ass,
    "ssa": read_ass,
    "json": read_json,
    "txt": read_txt,
}
