"""A clock that runs slower in places: how times of the source become times of a film whose picture is slowed down."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor

from polydub.types import seconds

Point = tuple[float, float]
_STRAIGHT = 1e-6  # a bend of less is none
LEAST_S = 0.005  # of gained time; below, WSOLA would work on a part for nothing


@dataclass(frozen=True, slots=True)
class TimeMap:
    """Points (seconds of the source, seconds of the film), both rising; between them time runs evenly, outside at rate 1.

    No points: the film's clock is the source's.
    """

    points: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        if any(b[0] <= a[0] or b[1] <= a[1] for a, b in pairwise(self.points)):
            raise ValueError("the points of a time map must rise")

    def to(self, source_s: float) -> float:
        """The film's time at a time of the source, not rounded."""
        if not self.points:
            return source_s
        at = bisect_right(self.points, source_s, key=lambda point: point[0])
        if at in (0, len(self.points)):
            here, there = self.points[0 if at == 0 else -1]
            return there + source_s - here
        (s0, f0), (s1, f1) = self.points[at - 1], self.points[at]
        return f0 + (source_s - s0) * (f1 - f0) / (s1 - s0)

    def back(self, film_s: float) -> float:
        """The source's time at a time of the film, not rounded."""
        return TimeMap(tuple((film, source) for source, film in self.points)).to(film_s)

    def stretches(self, duration_s: float) -> tuple[tuple[Point, Point], ...]:
        """The parts of a source of that length in which time runs evenly: (start, end) in the source, the same in the film."""
        edges = sorted({0.0, duration_s, *(s for s, _ in self.points if 0 < s < duration_s)})
        return tuple(((a, b), (self.to(a), self.to(b))) for a, b in pairwise(edges))

    @property
    def added_s(self) -> float:
        """By how much the film is longer than the source."""
        if not self.points:
            return 0.0
        (s0, f0), (s1, f1) = self.points[0], self.points[-1]
        return seconds(f1 - f0 - s1 + s0)

    @property
    def slowest(self) -> float:
        """The largest factor by which time is stretched; 1.0 for the source's own clock."""
        return max(((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(self.points)), default=1.0)


def time_map(points: Sequence[Point]) -> TimeMap:
    """A map through `points` in rising order, on whole milliseconds, without those that bend nothing.

    Where less than LEAST_S is gained from one point to the next time runs exactly as in the source: such parts can be copied.
    """
    kept: list[Point] = []
    film, slope = seconds(points[0][1]) if points else 0.0, 1.0
    for number, (source, there) in enumerate(points):
        gained, length = 0.0, 0.0
        if number + 1 < len(points):
            length = seconds(points[number + 1][0]) - seconds(source)
            gained = floor((points[number + 1][1] - there - points[number + 1][0] + source) * 1000 + 1e-6) / 1000
            gained = gained if gained >= LEAST_S else 0.0
        following = 1 + gained / length if length else 1.0
        if abs(following - slope) > _STRAIGHT:
            kept.append((seconds(source), seconds(film)))
        film, slope = film + length + gained, following
    return TimeMap(tuple(kept)) if len(kept) > 1 else TimeMap()
