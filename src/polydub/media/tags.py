"""Language tags that ffmpeg does not write: BCP-47 beside ISO 639-2, in Matroska (RFC 9559) and MP4 (ISO/IEC 14496-12).

A file is tagged in place, since a new element would move everything behind it: ffmpeg is given a title that is longer than
the real one by exactly the element's length (`room_for`), and `settle` then makes title and element out of those bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MARKS = {"mkv": b"\x1dBCP", "mp4": b"\x1dlanguage-is="}  # as long as what an element needs besides its text
_TAG = rb"[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8})*"
_PADDED = {container: re.compile(re.escape(mark) + b"(" + _TAG + b")\\Z") for container, mark in _MARKS.items()}

_SEGMENT, _TRACKS, _CLUSTER, _ENTRY = 0x18538067, 0x1654AE6B, 0x1F43B675, 0xAE
_NAME, _BCP47, _CRC32, _VOID = 0x536E, 0x22B59D, 0xBF, 0xEC
_MOST = 10_000  # elements or boxes of one level that are looked at: a file may be made to hold any number
_HANDLER_NAME = 24  # where it begins in the content of hdlr


def room_for(tag: str, title: str, container: str) -> str:
    """What to give ffmpeg for a track's `title` (in MP4: handler name), so that `settle` can tag it with BCP-47 `tag`.

    The title alone where the tag says nothing ("" or "und") or is none that a file could hold (over 100 letters).
    """
    if tag in ("", "und") or len(tag) > 100 or not re.fullmatch(_TAG.decode(), tag):
        return title
    return title + _MARKS[container].decode() + tag


def settle(path: Path, container: str) -> None:
    """Give the tracks of a file that ffmpeg has just written their titles and tags; its length stays."""
    with path.open("r+b") as file:
        if container == "mkv":
            _settle_matroska(file)
        else:
            for begin, end in _tracks_of_mp4(file):
                _settle_handler(file, begin, end)


def bcp47(path: Path) -> tuple[str, ...]:
    """The BCP-47 tag of each track of a Matroska or MP4 file in order, "" where a track has none; () for other files."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"\x1aE\xdf\xa3":
            data = _matroska_tracks(file)[1]
            return tuple(_matroska_language(data, begin, end) for name, _, begin, end in _elements(data) if name == _ENTRY)
        if head[4:] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return ()
        return tuple(_extended_language(file, begin, end) for begin, end in _tracks_of_mp4(file))


def hide_subtitles(mp4: Path) -> None:
    """Clear the "enabled" flag of all subtitle tracks: ffmpeg sets it for the first one, and players then show it unasked."""
    with mp4.open("r+b") as file:
        for begin, end in _tracks_of_mp4(file):
            inside = {name: place for name, place, _ in boxes(file, begin, end)}
            media = {name: place for name, place, _ in boxes(file, inside.get(b"mdia", end), end)}
            if b"tkhd" in inside and _read(file, media.get(b"hdlr", 0) + 8, 4) in (b"sbtl", b"text", b"subt"):
                at = inside[b"tkhd"] + 3  # behind the version: three bytes of flags, bit 0 of the last
                _write(file, at, bytes([_read(file, at, 1)[0] & ~1]))


def boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin of the content and end of each box of an MP4 file between two places."""
    for _ in range(_MOST):
        if at + 8 > end:
            return
        head = _read(file, at, 16)
        size, begin = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), at + 16
        elif size == 0:
            size = end - at
        if size < begin - at or at + size > end:
            return
        yield head[4:8], begin, at + size
        at += size


def _tracks_of_mp4(file: BinaryIO) -> list[tuple[int, int]]:
    outer = boxes(file, 0, file.seek(0, 2))
    index = next(((begin, end) for name, begin, end in outer if name == b"moov"), (0, 0))
    return [(begin, end) for name, begin, end in boxes(file, *index) if name == b"trak"]


def _media_box(file: BinaryIO, track: tuple[int, int], wanted: bytes) -> tuple[int, int] | None:
    """Where the content of a box inside a track's mdia lies."""
    for name, begin, end in boxes(file, *track):
        if name == b"mdia":
            return next(((at, stop) for kind, at, stop in boxes(file, begin, end) if kind == wanted), None)
    return None


def _settle_handler(file: BinaryIO, begin: int, end: int) -> None:
    place = _media_box(file, (begin, end), b"hdlr")
    if place is None:
        return
    at, stop = place
    content = _read(file, at, stop - at)
    name = content[_HANDLER_NAME:].rstrip(b"\0")
    found = _PADDED["mp4"].search(name)
    if found:
        tag = found[1]
        handler = content[:_HANDLER_NAME] + name[: found.start()] + b"\0"
        _write(file, at - 8, _box(b"hdlr", handler) + _box(b"elng", bytes(4) + tag + b"\0"))


def _extended_language(file: BinaryIO, begin: int, end: int) -> str:
    place = _media_box(file, (begin, end), b"elng")
    return _text(_read(file, place[0] + 4, min(place[1] - place[0] - 4, 128))) if place else ""


def _box(name: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + name + content


def _settle_matroska(file: BinaryIO) -> None:
    at, data = _matroska_tracks(file)
    made = bytearray(data)
    for name, _, begin, end in _elements(data):
        if name == _ENTRY:
            made[begin:end] = _settled(data[begin:end])
    first = next(_elements(data), None)
    if first and first[0] == _CRC32:
        made[first[2] : first[3]] = zlib.crc32(made[first[3] :]).to_bytes(4, "little")
    _write(file, at, bytes(made))


def _settled(entry: bytes) -> bytes:
    """A track's description with its title's end made an element of its own.

    That comes last: MediaInfo believes whichever of the two language elements is the later one.
    """
    for name, at, begin, end in _elements(entry):
        found = _PADDED["mkv"].search(entry, begin, end) if name == _NAME else None
        if found:
            length, width = found.start() - begin, begin - at - 2
            # the size stays as wide as it was: EBML allows more bytes than needed
            head = entry[at : at + 2] + (length | 1 << 7 * width).to_bytes(width, "big")
            title = head + entry[begin : found.start()] if length else bytes([_VOID, 0x80 | width]) + bytes(width)
            language = _BCP47.to_bytes(3, "big") + bytes([0x80 | len(found[1])]) + found[1]
            return entry[:at] + title + entry[end:] + language
    return entry


def _matroska_tracks(file: BinaryIO) -> tuple[int, bytes]:
    """Place and content of the element that describes all tracks; nothing where it is not before the sound and pictures."""
    at, end = 0, file.seek(0, 2)
    for _ in range(_MOST):
        name, size, width = _header(_read(file, at, 12)) if at < end else (0, 0, 0)
        begin = at + width
        if not width or name == _CLUSTER:
            break
        if name == _TRACKS and size < 1 << 24:
            return begin, _read(file, begin, size)
        at = begin if name == _SEGMENT else begin + size
    return 0, b""


def _elements(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Id, begin, begin of the content and end of each EBML element between two places."""
    end = len(data) if end is None else end
    while at < end:
        name, size, width = _header(data[at : at + 12])
        if not width or at + width + size > end:
            return
        yield name, at, at + width, at + width + size
        at += width + size


def _matroska_language(data: bytes, at: int, end: int) -> str:
    return next((_text(data[begin:stop]) for name, _, begin, stop in _elements(data, at, end) if name == _BCP47), "")


def _header(head: bytes) -> tuple[int, int, int]:
    """Id, size of the content and length of an EBML element's header; length 0 where there is none."""
    if not head or not head[0]:
        return 0, 0, 0
    name_width = 9 - head[0].bit_length()
    rest = head[name_width:]
    if not rest or not rest[0]:
        return 0, 0, 0
    width = 9 - rest[0].bit_length()
    size = int.from_bytes(rest[:width], "big") & ~(1 << 7 * width)
    return int.from_bytes(head[:name_width], "big"), size, name_width + width


def _text(value: bytes) -> str:
    text = value.rstrip(b"\0")
    return text.decode("ascii") if re.fullmatch(_TAG, text) else ""


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _write(file: BinaryIO, at: int, data: bytes) -> None:
    file.seek(at)
    file.write(data)
