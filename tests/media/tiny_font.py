"""A TrueType font of a few square glyphs, made byte by byte: what a renderer draws with it is known."""

from __future__ import annotations

import struct
from pathlib import Path


def square(low: int, high: int, hole: int = 0) -> bytes:
    """A glyph of 1000 units an em: a filled square, with a square hole where `hole` is the width of its frame."""
    outlines = [[(low, low), (low, high), (high, high), (high, low)]]
    if hole:
        inner_low, inner_high = low + hole, high - hole
        outlines.append([(inner_low, inner_low), (inner_high, inner_low), (inner_high, inner_high), (inner_low, inner_high)])
    ends = b"".join(struct.pack(">H", 4 * n + 3) for n in range(len(outlines)))
    points = [point for outline in outlines for point in outline]
    moves = list(zip([(0, 0), *points[:-1]], points, strict=True))
    xs = b"".join(struct.pack(">h", b[0] - a[0]) for a, b in moves)
    ys = b"".join(struct.pack(">h", b[1] - a[1]) for a, b in moves)
    return struct.pack(">5h", len(outlines), low, low, high, high) + ends + struct.pack(">H", 0) + b"\1" * len(points) + xs + ys


def _cmap4(characters: str) -> bytes:
    """One segment a character with glyphs 1, 2, ... in order, and the last segment that the format wants."""
    rows = [(ord(c), ord(c), (n - ord(c)) % 65536) for n, c in sorted(enumerate(characters, 1), key=lambda p: p[1])]
    rows.append((0xFFFF, 0xFFFF, 1))
    count = len(rows)
    ends, starts, deltas = (b"".join(struct.pack(">H", row[k]) for row in rows) for k in (1, 0, 2))
    body = struct.pack(">HHHH", 2 * count, 0, 0, 0) + ends + b"\0\0" + starts + deltas + b"\0\0" * count
    return struct.pack(">HHH", 4, len(body) + 6, 0) + body


def _cmap12(characters: str) -> bytes:
    rows = b"".join(struct.pack(">III", ord(c), ord(c), n) for n, c in sorted(enumerate(characters, 1), key=lambda p: p[1]))
    return struct.pack(">HHIII", 12, 0, 16 + len(rows), 0, len(characters)) + rows


def _names(family: str) -> bytes:
    """Windows' names, by which renderers know a font, after older ones for the Macintosh that say something else."""
    texts = [(1, 0, 0, 1, b"Old Mac Name")]
    windows = ((1, family), (2, "Regular"), (4, family), (6, family.replace(" ", "")))
    texts += [(3, 1, 0x409, kind, text.encode("utf-16-be")) for kind, text in windows]
    rows, data = b"", b""
    for platform, encoding, language, kind, coded in texts:
        rows += struct.pack(">6H", platform, encoding, language, kind, len(coded), len(data))
        data += coded
    return struct.pack(">3H", 0, len(texts), 6 + len(rows)) + rows + data


def write_font(path: Path, family: str, characters: str) -> Path:
    """A font in which every character is a filled square, and a missing one a hollow box."""
    glyphs = [square(100, 900, 60), *[square(100, 900)] * len(characters)]
    padded = [glyph + b"\0" * (-len(glyph) % 4) for glyph in glyphs]
    places = [sum(map(len, padded[:n])) for n in range(len(padded) + 1)]
    wide = any(ord(c) > 0xFFFF for c in characters)
    cmap = struct.pack(">HHHHI", 0, 1, 3, 10 if wide else 1, 12) + (_cmap12 if wide else _cmap4)(characters)
    line = (900, -100, 0)
    tables = {
        "cmap": cmap,
        "glyf": b"".join(padded),
        "head": struct.pack(">4IHHQQ4h2H3h", 0x10000, 0x10000, 0, 0x5F0F3CF5, 3, 1000, 0, 0, 0, 0, 1000, 1000, 0, 8, 2, 1, 0),
        "hhea": struct.pack(">I3hH11hH", 0x10000, *line, 1000, *[0] * 11, len(glyphs)),
        "hmtx": struct.pack(">Hh", 1000, 100) * len(glyphs),
        "loca": b"".join(struct.pack(">I", place) for place in places),
        "maxp": struct.pack(">IH13H", 0x10000, len(glyphs), 8, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0),
        "name": _names(family),
        "post": struct.pack(">II2hI4I", 0x30000, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    head = struct.pack(">I4H", 0x10000, len(tables), 128, 3, len(tables) * 16 - 128)
    at, rows, data = 12 + 16 * len(tables), b"", b""
    for name, table in sorted(tables.items()):
        rows += name.encode() + struct.pack(">III", 0, at + len(data), len(table))
        data += table + b"\0" * (-len(table) % 4)
    path.write_bytes(head + rows + data)
    return path


def write_collection(path: Path, fonts: list[Path]) -> Path:
    """A TrueType collection: the fonts one after another, with the places of their tables moved."""
    head = 12 + 4 * len(fonts)
    places, data = list[int](), b""
    for font in fonts:
        raw = bytearray(font.read_bytes())
        base = head + len(data)
        for n in range(struct.unpack(">H", raw[4:6])[0]):
            row = 12 + 16 * n + 8
            raw[row : row + 4] = struct.pack(">I", struct.unpack(">I", raw[row : row + 4])[0] + base)
        places.append(base)
        data += bytes(raw)
    path.write_bytes(b"ttcf" + struct.pack(f">HHI{len(fonts)}I", 1, 0, len(fonts), *places) + data)
    return path
