"""Where the picture must be slowed down so that every line fits: as little as possible, as evenly as possible.

The film is cut at the onsets of its lines. Unknown are the seconds that each part becomes longer, and the start of each
line. Minimise

    sum extra + EVEN sum extra^2 / length + FIRST (talk-over)        (seconds)

so that no part is slowed down by more than the limit, no line starts earlier than it may or later than `late_s` after the
source's (stretched) onset, and none runs into a following one when it is spoken at the highest rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydub.audio.fit import Limits, Slot, following
from polydub.audio.fit_programme import Rows, minimum
from polydub.audio.sparse import columns
from polydub.audio.timemap import TimeMap, time_map

LATE_S = 0.3  # a line that starts later is seen to do so; also what Amazon's dubbing scores call a drift
LEAST_S = 0.05  # a film that would gain less is left as it is
EVEN, FIRST = 0.1, 1e3


@dataclass(frozen=True, slots=True)
class Slowing:
    """How far the picture may be slowed down: the largest factor, and how late a line may start, seconds."""

    most: float = 1.25
    late_s: float = LATE_S


def slow_down(slots: Sequence[Slot], film_s: float, limits: Limits, how: Slowing) -> TimeMap:
    """The clock of a film in which all lines fit at no more than `limits.max_rate`, as far as `how` allows.

    The map without points where they fit already, or where nothing can be won. Locked lines count where the source has
    them. The end of the film is a border like an onset.
    """
    spoken = sorted((s for s in slots if s.natural_s > 0), key=lambda s: (s.start, s.end, s.speaker, s.id))
    if not spoken or how.most <= 1:
        return TimeMap()
    borders = sorted({0.0, film_s, *(round(s.start, 3) for s in spoken if 0 < s.start < film_s)})
    extra = _solve(spoken, borders, limits, how)
    gained = np.concatenate([[0.0], np.cumsum(extra)])
    if gained[-1] < LEAST_S:
        return TimeMap()
    return time_map([(border, border + float(more)) for border, more in zip(borders, gained, strict=True)])


def _solve(slots: Sequence[Slot], borders: list[float], limits: Limits, how: Slowing) -> NDArray[np.float64]:
    """Seconds that each part between two borders becomes longer.

    Columns: what has been gained by each border, starts of the lines, talk-over of each line.
    """
    lengths, parts = np.diff(borders), len(borders) - 1
    size = parts + 1 + 2 * len(slots)
    linear = np.zeros(size)
    linear[parts] = 1.0
    linear[parts + 1 + len(slots) :] = FIRST
    here = np.arange(parts)
    weight = 2 * EVEN / lengths
    values = np.concatenate([weight, weight, -weight])
    cells = np.concatenate([here, here + 1, here]), np.concatenate([here, here + 1, here + 1])
    quadratic = columns(values, cells, (size, size))
    found = minimum(quadratic, linear, _rows(slots, borders, limits, how), 1)
    return np.clip(np.diff(found[: parts + 1]), 0.0, lengths * (how.most - 1))


def _rows(slots: Sequence[Slot], borders: list[float], limits: Limits, how: Slowing) -> list[Rows]:
    """Rows of Ax <= b, the first one an equation: nothing is gained at the beginning."""
    lengths, parts, count = np.diff(borders), len(borders) - 1, len(slots)
    here, line = np.arange(parts), np.arange(count)
    start, over = parts + 1 + line, parts + 1 + count + line
    begin = np.array([s.start for s in slots])
    shortest = np.array([s.natural_s for s in slots]) / limits.max_rate
    border = np.searchsorted(borders, np.clip(np.round(begin, 3), 0.0, borders[-1]))
    early = np.minimum(limits.early_s, begin)
    i, j = np.array(following(slots), np.int64).reshape(-1, 2).T
    last = np.full(count, parts)
    return [
        (np.zeros(1), [(np.zeros(1, np.int64), 1.0)]),
        (np.zeros(parts), [(here, 1.0), (here + 1, -1.0)]),
        (lengths * (how.most - 1), [(here + 1, 1.0), (here, -1.0)]),
        (early - begin, [(border, 1.0), (start, -1.0)]),
        (begin + how.late_s, [(start, 1.0), (border, -1.0)]),
        (np.zeros(count), [(over, -1.0)]),
        (borders[-1] - shortest, [(start, 1.0), (over, -1.0), (last, -1.0)]),
        (-shortest[i] - limits.gap_s, [(start[i], 1.0), (start[j], -1.0), (over[i], -1.0)]),
    ]
