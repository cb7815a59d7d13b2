"""Lines as subtitles to be edited: SRT, whose cues bear the lines' ids as numbers, and WebVTT with speakers besides."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from polydub.errors import BadInput
from polydub.review.rows import Row, clock, read_time, tidy
from polydub.text.formats import srt_plain, unescape

SRT_FIELDS = ("start", "end", "text")
VTT_FIELDS = ("start", "end", "speaker", "text")
_BLANK_ROW = "\u200b"  # a blank row would end the cue
_TIMES = re.compile(r"\s*(\d[\d:.,]*)\s*-{1,2}>\s*(\d[\d:.,]*)")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)*[ \t]+([^>\n]*)>")
_TAG = re.compile(r"</?[A-Za-z0-9][^<>\n]*>")


def write_srt(rows: Sequence[Row]) -> bytes:
    """SubRip in UTF-8, every line a cue, also one without text."""
    return "".join(_cue(row, ",", _srt_row) for row in rows).encode()


def write_vtt(rows: Sequence[Row]) -> bytes:
    """WebVTT; a cue's identifier is the line's id, its voice the speaker."""
    return ("WEBVTT\n\n" + "".join(_cue(row, ".", _vtt_row) for row in rows)).encode()


def _cue(row: Row, point: str, escaped: Any) -> str:
    values = row.values
    body = [escaped(one) or _BLANK_ROW for one in values["text"].split("\n")] if values["text"] else []
    if escaped is _vtt_row and values["speaker"]:
        body = [f"<v {_vtt_row(values['speaker'])}>{body[0] if body else ''}", *body[1:]]
    times = f"{clock(values['start'], point)} --> {clock(values['end'], point)}"
    return "\n".join([row.id, times, *body]) + "\n\n"


def _srt_row(row: str) -> str:
    """SRT has no escapes: only what a reader would take for a tag, an entity or a time is written as an entity."""
    if srt_plain(row) != row:
        row = re.sub("[&<{]", lambda found: f"&#{ord(found[0])};", row)
    return row.replace("-->", "--&gt;")


def _vtt_row(row: str) -> str:
    return html.escape(row, quote=False)


def read_srt(data: bytes, name: str) -> list[Row]:
    """The cues; tags, entities and embeddings are taken out of their texts. Raises: BadInput with the cue's number."""
    return _read(data, name, vtt=False)


def read_vtt(data: bytes, name: str) -> list[Row]:
    """The cues, NOTE, STYLE and REGION left out. Raises: BadInput with the cue's number."""
    return _read(data, name, vtt=True)


def _read(data: bytes, name: str, *, vtt: bool) -> list[Row]:
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8 text", "save it as UTF-8") from None
    lines = tidy(text).split("\n")
    heads = [at for at, line in enumerate(lines) if "-->" in line]
    if not heads:
        raise BadInput(f"{name} has no subtitles in it", "check that it is the right file")
    names = [at - 1 if at and lines[at - 1].strip() and (at == 1 or not lines[at - 2].strip()) else at for at in heads]
    found: list[Row] = []
    for number, (head, begin) in enumerate(zip(heads, names, strict=True)):
        until = names[number + 1] if number + 1 < len(names) else len(lines)
        id_ = lines[begin].strip() if begin < head else ""
        where = f"cue {id_ or number + 1}"
        found.append(Row(id_, _values(lines[head], lines[head + 1 : until], f"{name}, {where}", vtt=vtt), where))
    return found


def _values(times: str, body: list[str], where: str, *, vtt: bool) -> dict[str, Any]:
    found = _TIMES.match(times)
    try:
        start, end = (read_time(text) for text in found.groups()) if found else (1, 0)
    except ValueError:
        start, end = 1, 0
    if start >= end:
        raise BadInput(f"{where}: {times.strip()!r} is no time span", "write it as 00:00:01,000 --> 00:00:02,500")
    values: dict[str, Any] = {"start": start, "end": end}
    while body and not body[-1].strip(" \t"):
        body.pop()
    if vtt:
        blank = next((at for at, line in enumerate(body) if not line.strip(" \t")), len(body))  # what follows is a NOTE
        whole = "\n".join(body[:blank])
        voice = _VOICE.search(whole)
        values["speaker"] = " ".join(unescape(voice[1]).split()) if voice else ""
        plain = unescape(_TAG.sub("", whole))
    else:
        plain = srt_plain("\n".join(body))
    return values | {"text": "\n".join("" if line == _BLANK_ROW else line for line in plain.split("\n"))}
