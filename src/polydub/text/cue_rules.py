"""The timed-text rules as numbers: what a cue may be, how wide text is, and how many cues of a file keep to each rule.

Sources: Netflix, Timed Text Style Guide: General Requirements and Subtitle Timing Guidelines (5/6 to 7 s, 2 lines of 42
characters, 2 frames between cues, gaps of up to half a second closed to 2 frames); 17 and 20 characters a second are
its reading speeds for translated and original-language subtitles. Chinese, Japanese and Korean have 16 characters a line.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from polydub.types import Cue

SMALL_GAP_S = 0.5  # a shorter gap flickers: it is closed to two frames
FALLBACK_FPS = 25.0  # where there is no picture, or one with a rate that is no film's


@dataclass(frozen=True, slots=True)
class CueLimits:
    """How much a reader can take: characters a line (full-width scripts apart), lines, characters a second, seconds."""

    line_chars: int = 42
    full_width_chars: int = 16
    lines: int = 2
    cps: float = 17.0
    min_s: float = 5 / 6
    max_s: float = 7.0


STANDARD = CueLimits()


@cache
def char_width(c: str) -> int:
    """Columns of a character: 2 if full-width, 0 if it combines or is invisible, else 1."""
    if unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def width(text: str) -> int:
    """Columns of `text` on one line."""
    return sum(map(char_width, text))


def line_limit(text: str, limits: CueLimits = STANDARD) -> int:
    """Columns that a line of `text` may have; a full-width character has two of them."""
    shown = [c for c in text if not c.isspace()]
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in shown)
    return 2 * limits.full_width_chars if wide > 0.3 * len(shown) else limits.line_chars


def known_fps(fps: float) -> float:
    """`fps` if it may be a film's rate, else 0.0: a slide show of 2 frames a second has no frame grid for subtitles."""
    return fps if 12 <= fps <= 120 else 0.0


def gap_s(fps: float) -> float:
    """Two frames in seconds, rounded up to 1 ms; 80 ms where `fps` is not known."""
    return math.ceil(2000 / (known_fps(fps) or FALLBACK_FPS)) / 1000


def rule_report(
    cues: Sequence[Cue], fps: float, limits: CueLimits = STANDARD, rounding_s: float = 0.002
) -> Mapping[str, float]:
    """For each timed-text rule the share of cues, 0 to 1, that keep to it; 1.0 where there is nothing to judge.

    Rules of a cue: `chars_per_line`, `lines`, `cps_17`, `cps_20` (blanks count, line breaks do not, a full-width character
    counts as two), `min_s`, `max_s`. Rules of two neighbours, as the cues stand in the file: `gap` (two frames or more),
    `small_gaps_closed` (none between two frames and half a second), `ordered` (by start), `non_overlapping`.

    Args: cues: in the order of the file, rows of a cue parted by line breaks. fps: frames a second, 0 = unknown, 25 is taken.
    rounding_s: what the file's resolution may have added or taken: 0.002 for SRT and WebVTT, 0.02 for ASS.
    """
    gap = 2 / (known_fps(fps) or FALLBACK_FPS)
    apart = [(a, b, b.start - a.end) for a, b in pairwise(cues)]
    speeds = [_columns(cue) / max(1e-3, cue.end - cue.start + rounding_s) for cue in cues]
    return {
        "chars_per_line": _share(all(width(row) <= line_limit(cue.text, limits) for row in _rows(cue)) for cue in cues),
        "lines": _share(len(_rows(cue)) <= limits.lines for cue in cues),
        "cps_17": _share(speed <= 17 for speed in speeds),
        "cps_20": _share(speed <= 20 for speed in speeds),
        "min_s": _share(cue.end - cue.start >= limits.min_s - rounding_s for cue in cues),
        "max_s": _share(cue.end - cue.start <= limits.max_s + rounding_s for cue in cues),
        "gap": _share(between >= gap - rounding_s for _, _, between in apart),
        "small_gaps_closed": _share(not gap + rounding_s < between < SMALL_GAP_S - rounding_s for _, _, between in apart),
        "ordered": _share(a.start <= b.start for a, b, _ in apart),
        "non_overlapping": _share(between >= -1e-9 for _, _, between in apart),
    }


def _rows(cue: Cue) -> list[str]:
    return [row for row in cue.text.split("\n") if row.strip()]


def _columns(cue: Cue) -> int:
    return sum(map(width, _rows(cue)))


def _share(kept: Iterable[bool]) -> float:
    found = list(kept)
    return sum(found) / len(found) if found else 1.0
