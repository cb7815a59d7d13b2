"""Fonts to draw text with: which file of the system, or of the user, has every character of it.

The character tables (OpenType cmap, formats 4 and 12) and names are read here: no library of the core does it, and a
renderer that lacks a character draws a box without a word.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polydub.errors import BadSettings, Missing

_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts")
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_FAMILIES = ("Noto Sans", "DejaVu Sans", "Liberation Sans", "Arial", "Helvetica")
_ODD = (
    "mono",
    "serif",
    "condensed",
    "narrow",
    "light",
    "thin",
    "black",
    "bold",
    "italic",
    "oblique",
    "emoji",
    "symbol",
    "math",
)
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "KATAKANA-HIRAGANA")
_CJK_FACES = {"ja": ("JP",), "ko": ("KR",), "zh": ("SC", "TC", "HK"), "yue": ("HK", "TC")}


@dataclass(frozen=True, slots=True)
class Face:
    """One font of a file. `number`: its place in a collection, 0 in other files; `family` and `style` as it calls them."""

    path: Path
    number: int
    family: str
    style: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A font for a text. `without`: characters of it that the font lacks, none of which is a letter, digit or stop."""

    face: Face
    without: str


def find_font(text: str, language: str, given: Path | None = None) -> Choice:
    """A font that has every character of `text`: `given`, else the system's plainest sans-serif.

    Symbols that no font has, such as emoji, are told in `without` and should not be drawn; blanks, control and format
    characters need none. Args: language: base tag; decides among the faces of Chinese, Japanese and Korean fonts.
    Raises: BadSettings when `given` is no font or lacks characters, Missing when no font of the system has all of them.
    """
    needed = frozenset(c for c in unicodedata.normalize("NFC", text) if _is_drawn(c))
    found = list(_faces(given)) if given else [face for path in _system_fonts() for face in _faces(path)]
    if given and not found:
        raise BadSettings("the file given with --font is not a font", "give a TrueType or OpenType file: .ttf, .otf or .ttc")
    best: tuple[int, int, tuple[object, ...], Face, frozenset[str]] | None = None
    for face in sorted(found, key=lambda face: _rank(face, language)):
        missing = _missing(face, needed)
        letters = sum(_is_text(c) for c in missing)
        if best is None or (letters, len(missing)) < best[:2]:
            best = letters, len(missing), (), face, missing
        if not missing:
            break
    if best is not None and best[0] == 0:
        return Choice(best[3], "".join(sorted(best[4])))
    raise _refusal(best[4] if best else needed, given)


def _refusal(missing: frozenset[str], given: Path | None) -> BadSettings | Missing:
    lost = sorted(c for c in missing if _is_text(c))
    shown = "".join(lost[:10]) + ("..." if len(lost) > 10 else "")
    package = "fonts-noto-cjk" if any(_script(c) in _CJK for c in lost) else "fonts-noto-core"
    script = ", ".join(dict.fromkeys(_script(c).title() if _script(c) not in _CJK else "Chinese/Japanese/Korean" for c in lost))
    if given:
        return BadSettings(f"the font given with --font has no {shown} ({script})", "give a font that has the script")
    hint = f"install one (Debian, Ubuntu: apt install {package}) or name a file with --font"
    return Missing(f"no font of this system can draw the subtitles: {shown} ({script}) is in none", hint)


def _script(c: str) -> str:
    return unicodedata.name(c, "UNKNOWN").split()[0]


def _is_drawn(c: str) -> bool:
    return not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp") and not "\ufe00" <= c <= "\ufe0f"


def _is_text(c: str) -> bool:
    return unicodedata.category(c)[0] in "LMNP"


def _rank(face: Face, language: str) -> tuple[object, ...]:
    """Smaller is better: the language's own face, plain style, well-known family; then by name, the same on every run."""
    wanted = _CJK_FACES.get(language, ())
    own = next((n for n, tag in enumerate(wanted) if face.family.endswith(f" {tag}")), len(wanted))
    odd = sum(word in f"{face.family} {face.style}".lower().replace("sans serif", "") for word in _ODD)
    known = next((n for n, name in enumerate(_FAMILIES) if face.family.startswith(name)), len(_FAMILIES))
    return own, odd, known, len(face.family), face.family, face.style, str(face.path), face.number


def _system_fonts() -> list[Path]:
    """Font files, as fontconfig lists them where its program is installed, else those of the usual folders."""
    program = shutil.which("fc-list")
    if program is not None:
        answer = subprocess.run([program, "--format", "%{file}\n"], capture_output=True, text=True, check=False, timeout=60)
        listed = {Path(line) for line in answer.stdout.splitlines() if line.lower().endswith(_SUFFIXES)}
        if listed:
            return sorted(listed)
    homes = (Path.home() / ".fonts", Path.home() / ".local/share/fonts", Path.home() / "Library/Fonts")
    folders = [*map(Path, _FOLDERS), *homes]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def _faces(path: Path) -> Iterator[Face]:
    """The fonts in a file; none in what is no font."""
    try:
        with path.open("rb") as file:
            for number, at in enumerate(_offsets(file)):
                tables = _tables(file, at)
                family, style = _names(file, tables["name"])
                if family and "cmap" in tables:
                    yield Face(path, number, family, style)
    except (OSError, struct.error, KeyError, UnicodeError, MemoryError):
        return


def _offsets(file: BinaryIO) -> list[int]:
    head = file.read(12)
    if head[:4] != b"ttcf":
        return [0] if head[:4] in (b"\0\1\0\0", b"OTTO", b"true") else []
    count = min(struct.unpack(">I", head[8:12])[0], 64)
    return list(struct.unpack(f">{count}I", file.read(4 * count)))


def _tables(file: BinaryIO, at: int) -> dict[str, tuple[int, int]]:
    """Place and length of each table."""
    file.seek(at + 4)
    (count,) = struct.unpack(">H6x", file.read(8))
    rows = (struct.unpack(">4s4xII", file.read(16)) for _ in range(count))
    return {name.decode("latin-1"): (place, size) for name, place, size in rows}


def _names(file: BinaryIO, table: tuple[int, int]) -> tuple[str, str]:
    """Family and style, in English where the font tells them so: libass knows a font by its Windows names."""
    file.seek(table[0])
    data = file.read(min(table[1], 1 << 20))
    count, strings = struct.unpack(">2xHH", data[:6])
    found: dict[int, tuple[tuple[bool, bool], str]] = {}
    for n in range(count):
        platform, _, language, kind, size, at = struct.unpack(">6H", data[6 + 12 * n : 18 + 12 * n])
        if kind in (1, 2) and platform in (1, 3):
            text = data[strings + at : strings + at + size].decode("utf-16-be" if platform == 3 else "mac-roman", "replace")
            better = (platform == 3, language in (0, 0x409))
            if kind not in found or better > found[kind][0]:
                found[kind] = better, text
    family, style = (found.get(kind, ((), ""))[1] for kind in (1, 2))
    return family, style


def _missing(face: Face, characters: Iterable[str]) -> frozenset[str]:
    """Those for which the font has no glyph; all where its tables cannot be read."""
    try:
        with face.path.open("rb") as file:
            place, size = _tables(file, _offsets(file)[face.number])["cmap"]
            file.seek(place)
            has = _characters(file.read(min(size, 1 << 24)))
    except (OSError, struct.error, KeyError, IndexError):
        return frozenset(characters)
    starts = [first for first, _ in has]

    def known(code: int) -> bool:
        at = bisect_right(starts, code) - 1
        return at >= 0 and code <= has[at][1]

    return frozenset(c for c in characters if not known(ord(c)))


def _characters(cmap: bytes) -> list[tuple[int, int]]:
    """Ranges of characters with a glyph, in order, from the fullest Unicode table."""
    (count,) = struct.unpack(">2xH", cmap[:4])
    rows = [struct.unpack(">HHI", cmap[4 + 8 * n : 12 + 8 * n]) for n in range(count)]
    unicode = [at for platform, encoding, at in rows if platform == 0 or (platform == 3 and encoding in (1, 10))]
    formats = {struct.unpack(">H", cmap[at : at + 2])[0]: at for at in unicode}
    if 12 in formats:
        at = formats[12]
        (groups,) = struct.unpack(">I", cmap[at + 12 : at + 16])
        triples = struct.iter_unpack(">III", cmap[at + 16 : at + 16 + 12 * groups])
        return sorted((first + (glyph == 0), last) for first, last, glyph in triples)
    return _segments(cmap, formats[4]) if 4 in formats else []


def _segments(cmap: bytes, at: int) -> list[tuple[int, int]]:
    """Format 4: a segment's glyphs lie at a fixed distance from their characters, or in a list."""
    (twice,) = struct.unpack(">H", cmap[at + 6 : at + 8])
    parts = [at + 14, at + 16 + twice, at + 16 + 2 * twice, at + 16 + 3 * twice]
    ends, starts, deltas, offsets = (struct.unpack(f">{twice // 2}H", cmap[p : p + twice]) for p in parts)
    found: list[tuple[int, int]] = []
    for n, (first, last, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
        if offset == 0:
            hole = (0x10000 - delta) % 0x10000  # the one character whose glyph would be 0
            found += [(first, hole - 1), (hole + 1, last)] if first <= hole <= last else [(first, last)]
        else:
            listed = parts[3] + 2 * n + offset
            for code in range(first, last + 1):
                glyph = cmap[listed + 2 * (code - first) : listed + 2 * (code - first) + 2]
                if glyph not in (b"", b"\0\0"):
                    found.append((code, code))
    return sorted((first, last) for first, last in found if first <= last)
