"""Joining FLAC files without decoding them: frames are copied, and only their headers and checksums are made anew.

A frame says which one it is, under a checksum of the header (CRC-8) and one of the whole frame (CRC-16). The files' frames
are numbered from 0 and their last ones are short, so the joined stream is of the variable-block-size kind, whose frames give
the number of their first sample instead. CRC-16 is linear: the new one follows from the old one, the two headers and the
number of bytes behind them. Formats: RFC 9639.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from polydub.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]

_CRC8, _CRC16 = 0x107, 0x18005  # polynomials
_PERIOD = 32767  # of the powers of x modulo the polynomial of CRC-16
_SYNC = re.compile(rb"\xff\xf8")  # how a frame of a stream of fixed block size begins
_HEADER = 16  # bytes; no frame header is longer
_INFO = 34  # bytes of STREAMINFO
_SEEK_POINT = 18


def join_flac(files: Sequence[Path], out: Path) -> None:
    """One FLAC file of consecutive ones of one format, sample for sample; memory does not grow with the length.

    It has a seek point for each of `files` and no MD5 sum, which would take decoding. 300 to 500 MB/s.
    Raises: StoreError when a file cannot be read or `out` cannot be written; ValueError when there is no file, or when they
    differ in rate, channels or bits.
    """
    if not files:
        raise ValueError("there is nothing to join")
    parts: list[_Part] = []
    sizes: list[Sequence[int]] = []
    try:
        with out.open("wb", 1 << 20) as stream:
            stream.write(bytes(8 + _INFO + 4 + _SEEK_POINT * len(files)))
            for file in files:
                part = _read(file)
                if parts and part.format != parts[0].format:
                    raise ValueError("sounds of several formats cannot be joined")
                sizes.append(_copy(part, sum(p.samples for p in parts), stream))
                parts.append(replace(part, frames=memoryview(b"")))
            stream.seek(0)
            stream.write(_metadata(parts, sizes))
    except OSError as error:
        raise StoreError("a full-length sound file could not be written", "free some space or give another --output") from error


@dataclass(frozen=True, slots=True)
class _Part:
    """A file to be joined.

    Attributes: format: rate, channels and bits as STREAMINFO packs them. frame: samples in each frame but the last.
    frames: the bytes behind the metadata.
    """

    format: int
    frame: int
    samples: int
    frames: memoryview


def _read(file: Path) -> _Part:
    whole = file.read_bytes()
    at, last = 4, False
    while whole[:4] == b"fLaC" and not last and at + 4 <= len(whole):
        last = bool(whole[at] & 0x80)
        at += 4 + int.from_bytes(whole[at + 1 : at + 4], "big")
    packed = int.from_bytes(whole[18:26], "big")  # 20 bits rate, 3 channels, 5 bits a sample, 36 samples
    frame, samples = int.from_bytes(whole[10:12], "big"), packed & (1 << 36) - 1
    if not last or not samples or frame < 1:
        raise _damaged()
    return _Part(packed >> 36, frame, samples, memoryview(whole)[at:])


def _damaged() -> StoreError:
    return StoreError("a stored sound cannot be read", "delete the store folder and run again")


def _metadata(parts: Sequence[_Part], sizes: Sequence[Sequence[int]]) -> bytes:
    """Everything before the frames: STREAMINFO, and a SEEKTABLE that finds each part's first frame."""
    total = sum(part.samples for part in parts)
    lasts = [part.samples - part.frame * (len(own) - 1) for part, own in zip(parts, sizes, strict=True)]
    firsts = [part.frame if len(own) > 1 else last for part, own, last in zip(parts, sizes, lasts, strict=True)]
    shortest, longest = max(16, min((*firsts, *lasts[:-1]))), max(firsts)
    info = shortest.to_bytes(2, "big") + max(shortest, longest).to_bytes(2, "big")
    info += min(map(min, sizes)).to_bytes(3, "big") + max(map(max, sizes)).to_bytes(3, "big")
    info += (parts[0].format << 36 | total).to_bytes(8, "big") + bytes(16)  # no MD5 sum
    sample, place, points = 0, 0, b""
    for part, own, count in zip(parts, sizes, firsts, strict=True):
        points += sample.to_bytes(8, "big") + place.to_bytes(8, "big") + count.to_bytes(2, "big")
        sample += part.samples
        place += sum(own)
    return b"fLaC\0" + len(info).to_bytes(3, "big") + info + b"\x83" + len(points).to_bytes(3, "big") + points


def _copy(part: _Part, first: int, out: BinaryIO) -> list[int]:
    """Write the frames of a file whose first sample is number `first` of all; returns their sizes."""
    import numpy as np

    data = np.frombuffer(part.frames, np.uint8)
    count = -(-part.samples // part.frame)
    starts, lengths = _find_frames(part.frames, count)
    ends = np.append(starts[1:], len(part.frames)) - 2  # of what is covered by CRC-16
    old = _rows(data, starts)
    new, widths = _renumbered(old, lengths, first + part.frame * np.arange(count))
    bodies = ends - starts - lengths
    changed = _crc(old, lengths, _CRC16) ^ _crc(new, widths, _CRC16)
    sums = (data[ends].astype(np.int64) << 8 | data[ends + 1]) ^ _product(changed, _powers()[bodies % _PERIOD])
    heads, tails = new.tobytes(), sums.astype(">u2").tobytes()
    pieces: list[bytes | memoryview] = []
    columns = (widths.tolist(), (starts + lengths).tolist(), ends.tolist())
    for n, (width, begin, end) in enumerate(zip(*columns, strict=True)):
        pieces += heads[n * _HEADER : n * _HEADER + width], part.frames[begin:end], tails[2 * n : 2 * n + 2]
    out.writelines(pieces)
    return (widths + bodies + 2).tolist()


def _rows(data: Bytes, starts: Ints) -> Bytes:
    """The bytes from each of `starts` on that may be a header."""
    import numpy as np

    return data[np.minimum(starts[:, np.newaxis] + np.arange(_HEADER), len(data) - 1)]


def _find_frames(frames: memoryview, count: int) -> tuple[Ints, Ints]:
    """Where each of `count` frames begins and how long its header is; sought, since frames do not tell their length."""
    import numpy as np

    starts = np.array([found.start() for found in _SYNC.finditer(frames)], np.int64)
    heads = _rows(np.frombuffer(frames, np.uint8), starts)
    lengths = 5 + _number_lengths(heads) + _size_lengths(heads)
    numbers = _numbers(heads)
    like_first = (heads[:, 2] == heads[:1, 2]) | (numbers == count - 1)  # the last frame has another size
    like_first &= ((heads[:, 2:4] ^ heads[:1, 2:4]) & 15 == 0).all(1)
    numbers[~like_first | (numbers >= count) | (_crc(heads, lengths, _CRC8) != 0)] = -1
    unsure = np.count_nonzero(numbers >= 0) != count  # something in the sound looks just like a header
    kept: list[int] = []
    for place, number in enumerate(numbers.tolist()):
        if number == len(kept) and not (unsure and kept and not _is_frame(frames[starts[kept[-1]] : starts[place]])):
            kept.append(place)
    if len(kept) != count or starts[kept[0]]:
        raise _damaged()
    return starts[kept], lengths[kept]


def _is_frame(whole: memoryview) -> bool:
    """Whether the last two bytes are the checksum of those before."""
    table, crc = _table(_CRC16).tolist(), 0
    for byte in whole:
        crc = (crc << 8) & 0xFFFF ^ table[crc >> 8 ^ byte]
    return crc == 0


def _number_lengths(heads: Bytes) -> Ints:
    """Bytes of the frame number: in UTF-8's way the first of them tells, by its leading ones."""
    import numpy as np

    first = heads[:, 4]
    return np.searchsorted(np.array([0x80, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE]), first, "right") + 1


def _size_lengths(heads: Bytes) -> Ints:
    """Bytes behind the frame number that tell a size or a rate which has no code of its own."""
    import numpy as np

    sizes, rates = heads[:, 2] >> 4, heads[:, 2] & 15
    return np.select([sizes == 6, sizes == 7], [1, 2], 0) + np.select([rates == 12, rates > 12], [1, 2], 0)


def _numbers(heads: Bytes) -> Ints:
    import numpy as np

    lengths = _number_lengths(heads)
    numbers = heads[:, 4].astype(np.int64) & np.where(lengths == 1, 0x7F, 0x7F >> lengths)
    for n in range(1, 7):
        numbers = np.where(n < lengths, numbers << 6 | heads[:, 4 + n] & 0x3F, numbers)
    return numbers


def _renumbered(old: Bytes, lengths: Ints, samples: Ints) -> tuple[Bytes, Ints]:
    """Headers of variable-size frames that begin at `samples`, and how long they are."""
    import numpy as np

    skipped, sizes = _number_lengths(old), _size_lengths(old)
    digits = np.searchsorted(1 << np.array([7, 11, 16, 21, 26, 31]), samples, "right") + 1
    new = np.zeros_like(old)
    new[:, :4] = old[:, :4]
    new[:, 1] |= 1
    for n in range(7):
        bits = samples >> 6 * np.maximum(digits - 1 - n, 0)
        lead = np.where(digits == 1, 0, 0xFF00 >> digits) if n == 0 else 0x80
        byte = lead & 0xFF | (bits & (0x3F if n else 0x7F))
        new[:, 4 + n] = np.where(n < digits, byte, 0)
    for n in np.flatnonzero(sizes).tolist():
        new[n, 4 + digits[n] :][: sizes[n]] = old[n, 4 + skipped[n] :][: sizes[n]]
    widths = 5 + digits + sizes
    new[np.arange(len(new)), widths - 1] = _crc(new, widths - 1, _CRC8)
    return new, widths


def _crc(rows: Bytes, lengths: Ints, polynomial: int) -> Ints:
    """The checksum of the first `lengths` bytes of each row."""
    import numpy as np

    bits = polynomial.bit_length() - 1
    table = _table(polynomial)
    crc, found = np.zeros((2, len(rows)), np.int64)
    for n in range(rows.shape[1]):
        crc = (crc << 8) & (1 << bits) - 1 ^ table[crc >> bits - 8 ^ rows[:, n]]
        found = np.where(lengths == n + 1, crc, found)
    return found


@cache
def _table(polynomial: int) -> Ints:
    """What each byte adds to a checksum."""
    import numpy as np

    top = 1 << polynomial.bit_length() - 2
    table = np.arange(256) << polynomial.bit_length() - 9
    for _ in range(8):
        table = np.where(table & top, table << 1 ^ polynomial, table << 1)
    return table


@cache
def _powers() -> Ints:
    """x to the power of 8 n modulo the polynomial of CRC-16: what n bytes do to the checksum before them."""
    import numpy as np

    table, powers = _table(_CRC16).tolist(), [1]
    for _ in range(_PERIOD - 1):
        powers.append((powers[-1] << 8) & 0xFFFF ^ table[powers[-1] >> 8])
    return np.array(powers)


def _product(a: Ints, b: Ints) -> Ints:
    """Product of polynomials modulo that of CRC-16."""
    import numpy as np

    product = np.zeros_like(a)
    for bit in range(15, -1, -1):
        product = np.where(product & 0x8000, product << 1 ^ _CRC16, product << 1)
        product ^= np.where(b >> bit & 1, a, 0)
    return product
