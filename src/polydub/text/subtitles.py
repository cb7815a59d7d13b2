"""Given subtitles and transcripts, from bytes of any age and quality to segments in order of time."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from polydub.errors import BadInput
from polydub.text import tags
from polydub.text.formats import READERS, clean
from polydub.types import Notice, Segment, Word, Wordings, seconds

SUFFIXES = tuple(f".{name}" for name in READERS)
READING_CPS = 17.0  # characters a second at which a zero-length cue is given time

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EAST_ASIAN = (  # encoding, script that must make up this share of its non-ASCII text
    ("shift_jis", r"[\u3040-\u30ff]", 0.2),
    ("euc_jp", r"[\u3040-\u30ff]", 0.2),
    ("cp949", r"[\uac00-\ud7a3]", 0.9),
    ("gb18030", r"[\u4e00-\u9fff]", 0.7),
    ("big5", r"[\u4e00-\u9fff]", 0.7),
)
_PREFIXES = (
    re.compile(r"\[([^\[\]:]{1,30})\]:\s+(\S.*)"),
    re.compile(r"\[(SPEAKER_\d+)\]\s+(\S.*)"),
    re.compile(r"(\w[\w ]{1,29}):\s+(\S.*)"),
)
_DESCRIPTION = re.compile(r"(?:\[[^\[\]]*\]|【[^【】]*】|\([^()]{1,30}\)|（[^（）]{1,30}）|\*[^*]+\*|[-–—\s])+")
# Beside what is said. Round brackets may hold what is said, too, but not a few words that a row begins with.
_ASIDE = re.compile(
    r"[ \t]*(?:\[([^\[\]]{4,60})\](?!:)|【[^【】]{1,60}】|(?m:^)[-–—\s]*[(（](?:[^\s()（）]+ ?){1,4}[)）]:?)[ \t]*"
)
_STRESSED = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a subtitle or transcript file holds.

    Attributes: segments: by time, ids "1", "2", ..., never empty. timed: False = times are all 0 (plain text).
    language: as the file calls it, None when it does not say. wordings: texts given in several lengths, by the normal one.
    """

    segments: tuple[Segment, ...]
    timed: bool
    language: str | None
    notices: tuple[Notice, ...]
    wordings: Mapping[str, Wordings] = field(default_factory=dict[str, Wordings])


def parse_subtitles(data: bytes, suffix: str) -> Parsed:
    """Segments of a subtitle file, transcript or plain text.

    Args: data: the whole file. suffix: ".srt", ".vtt", ".ass", ".ssa", ".json" or ".txt"; any other is decided by
    content. Content that plainly is another timed format than the suffix says wins, with a notice.
    Raises: BadInput when the format is unknown, the JSON has a wrong shape, or there is no cue in it.
    """
    text, notices = _decode(data)
    given = suffix.lower().lstrip(".")
    name = _format(text, given)
    if given in READERS and name != given:
        notices += (Notice("format-by-content", f"the file is called .{given} but holds {name.upper()}; it was read as that"),)
    reading = READERS[name](text)
    timed = name != "txt"
    cues = [cue for cue in reading.cues if not _empty(cue.text)]
    if not cues:
        raise BadInput(f"the .{name} file has no subtitles in it", "check that it is the right file and that it is not empty")
    notices += reading.notices
    if len(cues) < len(reading.cues):
        notices += (Notice("empty-cues", f"{len(reading.cues) - len(cues)} cue(s) without text were left out", "info"),)
    if name != "json":
        cues = _read_speakers(cues)
    cues = [replace(cue, kind=_kind(cue.text)) for cue in cues]
    if name != "json":
        plain = [_said(cue) if cue.kind == "speech" and not cue.words else cue for cue in cues]
        if changed := sum(a.text != b.text for a, b in zip(cues, plain, strict=True)):
            said = f"{changed} cue(s) had descriptions in brackets or asterisks; these are left out, since nobody says them"
            notices += (Notice("descriptions-left-out", said, "info"),)
        cues = plain
    if timed:
        cues, repairs = _repair(cues)
        notices += repairs
    segments = tuple(replace(cue, id=str(i)) for i, cue in enumerate(cues, 1))
    return Parsed(segments, timed, reading.language, notices, reading.wordings)


def _empty(text: str) -> bool:
    return all(c.isspace() or not c.isprintable() for c in text)


def _format(text: str, given: str) -> str:
    """The reader to use: a plain signature of a timed format, else what the suffix says, else JSON by its first marks."""
    signs = (
        ("vtt", r"\A\s*WEBVTT\b"),
        ("ass", r"^\[(?:Script Info|V4\+? Styles\+?)\]"),
        ("srt", r"^[ \t]*-?\d{1,4}:\d{1,2}:\d{1,2}[.,]\d{1,3}\s*-->"),
    )
    found = next((name for name, sign in signs if re.search(sign, text, re.MULTILINE | re.IGNORECASE)), None)
    settled = given == "json" or (given == "ssa" and found == "ass") or (given == "vtt" and found == "srt")
    if given in READERS and (settled or found is None):
        return given
    if found:
        return found
    if re.match(r"\s*[\[{]\s*[\[{\"]", text):
        return "json"
    raise BadInput("the text file is of no format polydub reads", f"supported are {', '.join(SUFFIXES)}")


def _decode(data: bytes) -> tuple[str, tuple[Notice, ...]]:
    """Text with `\\n` line ends, and a notice unless it is plain UTF-8 or carries a byte-order mark."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None) or _wide(data)
    marked = encoding is not None and any(data.startswith(mark) for mark, _ in _BOMS)
    if encoding is None:
        encoding = "utf-8" if _mostly_utf8(data) else _legacy(data)
    text = data.decode(encoding, "replace")
    notices: tuple[Notice, ...] = ()
    if not marked and encoding != "utf-8":
        said = f"The file is not UTF-8; it was read as {encoding}. If letters look wrong, save it as UTF-8"
        notices = (Notice("encoding-guessed", said),)
    elif "\ufffd".encode() not in data and "\ufffd" in text:
        notices = (Notice("bad-bytes", f"{text.count(chr(0xFFFD))} character(s) of the file cannot be read as {encoding}"),)
    return text.replace("\r\n", "\n").replace("\r", "\n"), notices


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark: nearly every second byte is zero."""
    head = data[:4096]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if len(head) < 8 or max(even, odd) < 0.7 * len(head) / 2 or min(even, odd) > 0.1 * len(head) / 2:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _mostly_utf8(data: bytes) -> bool:
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return broken == 0 or sum(c > "\x7f" for c in text) > 3 * broken


def _legacy(data: bytes) -> str:
    """The likeliest old encoding: by the share of non-ASCII letters, then by what looks least odd inside words."""
    high = sum(b >= 0x80 for b in data)
    ascii_letters = sum(chr(b).isalpha() for b in data if b < 0x80)
    if high < 0.5 * (high + ascii_letters) and not re.search(rb"[\x80-\xff]{6}", data):
        return min(("cp1252", "cp1250"), key=lambda name: _oddity(data, name))
    for name, script, share in _EAST_ASIAN:
        foreign = [c for c in data.decode(name, "replace") if c > "\x7f"]
        if "\ufffd" not in foreign and len(re.findall(script, "".join(foreign))) >= share * len(foreign):
            return name
    return min(("cp1251", "cp1253", "koi8_r"), key=lambda name: _oddity(data, name))


def _oddity(data: bytes, encoding: str) -> int:
    text = re.sub(r"<[^<>]*>|\{[^{}]*\}", " ", data.decode(encoding, "replace"))
    inside = re.findall(r"(?<=[^\W\d_])[^\w\s'’.,:;!?\"()\-–—…\]\[&/%]|[¹²³](?=[^\W\d_])|\ufffd", text)
    turns = sum(a.islower() and b.isupper() and max(a, b) > "\x7f" for a, b in pairwise(text))
    marks = sum(unicodedata.category(c) in ("Sk", "Sc") for c in text)
    return len(inside) + turns + marks


def _read_speakers(cues: list[Segment]) -> list[Segment]:
    """Speaker prefixes taken out of the text, if a form occurs in two cues or more or as SPEAKER_<n>."""
    for form in _PREFIXES:
        found = {i: m for i, cue in enumerate(cues) if not cue.speaker and (m := form.fullmatch(cue.text))}
        if form is _PREFIXES[2]:
            found = {i: m for i, m in found.items() if m[1].isupper()}
        if len(found) < 2 and not any(re.fullmatch(r"SPEAKER_\d+", m[1]) for m in found.values()):
            continue
        cues = [replace(cue, speaker=clean(found[i][1]), text=found[i][2]) if i in found else cue for i, cue in enumerate(cues)]
    return cues


def _kind(text: str) -> Literal["speech", "song", "nonverbal"]:
    if text[0] in "♪♫♬" or text[-1] in "♪♫♬":
        return "song"
    round_words = max((len(part.split()) for part in re.findall(r"[(（]([^()（）]*)[)）]", text)), default=0)
    described = any(c.isalnum() for c in text) and round_words <= 4 and _DESCRIPTION.fullmatch(text)
    return "nonverbal" if described else "speech"


def _said(cue: Segment) -> Segment:
    """A cue without sounds that its text describes beside what is said ("[laughs] Hello"); marks of `text.tags` stay."""

    def taken(found: re.Match[str]) -> str:
        return found[0] if (found[1] or "").strip().casefold() in tags.NAMES else " "

    told = _STRESSED.sub(r"\1", _ASIDE.sub(taken, cue.text))
    if told == cue.text:
        return cue
    rows = (re.sub(r"[ \t]{2,}", " ", row).strip() for row in told.split("\n"))
    text = "\n".join(row for row in rows if any(c.isalnum() for c in row))
    return replace(cue, text=text) if text else cue


def _repair(cues: Sequence[Segment]) -> tuple[list[Segment], tuple[Notice, ...]]:
    """Cues by start with 0 <= start < end, each once; what was wrong is told once for each kind of fault."""
    wrong = sum(cue.end < cue.start or cue.start < 0 for cue in cues)
    right = [replace(cue, start=max(0.0, min(cue.start, cue.end)), end=max(0.0, cue.start, cue.end)) for cue in cues]
    unsorted = any(a.start > b.start for a, b in pairwise(right))
    right.sort(key=lambda cue: cue.start)
    first: dict[tuple[float, float, str], Segment] = {}
    for cue in right:
        first.setdefault((cue.start, cue.end, cue.text), cue)
    kept = list(first.values())
    empty = sum(cue.end <= cue.start for cue in kept)
    twice = len(right) - len(kept)
    faults = (
        (wrong, "cue-times-repaired", f"{wrong} cue(s) had negative or reversed times; they were set right"),
        (unsorted, "cues-unsorted", "The cues were not in order of time; they were sorted"),
        (twice, "duplicate-cues", f"{twice} cue(s) came again with the same time and text; the first of each was kept"),
        (empty, "zero-length-cues", f"{empty} cue(s) had no length; they were given reading time up to the next cue"),
    )
    return [_with_words(cue) for cue in _given_length(kept)], tuple(Notice(code, text) for count, code, text in faults if count)


def _given_length(cues: Sequence[Segment]) -> list[Segment]:
    """Zero-length cues get reading time, at most up to the next later start, at least 1 ms."""
    long: list[Segment] = []
    later = following = float("inf")
    for cue in reversed(cues):
        if cue.start < following:
            later, following = following, cue.start
        read = min(later, cue.start + len(cue.text) / READING_CPS)
        long.append(cue if cue.end > cue.start else replace(cue, end=seconds(max(cue.start + 0.001, read))))
    return long[::-1]


def _with_words(cue: Segment) -> Segment:
    """Word times held inside the cue, where a repair moved its ends."""

    def held(word: Word) -> Word:
        return replace(word, start=min(max(word.start, cue.start), cue.end), end=min(max(word.end, cue.start), cue.end))

    return replace(cue, words=tuple(held(word) for word in cue.words)) if cue.words else cue
