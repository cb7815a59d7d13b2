"""A slower clock: it rises, joins without a jump, and knows its own length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio.timemap import TimeMap, time_map


@st.composite
def clocks(draw: st.DrawFn) -> TimeMap:
    source, film, points = 0.0, 0.0, [(0.0, 0.0)]
    for _ in range(draw(st.integers(1, 12))):
        length = draw(st.floats(0.05, 20))
        source, film = source + length, film + length * draw(st.sampled_from([1.0, 1.0, 1.1, 1.25, 2.0]))
        points.append((source, film))
    return time_map(points)


@given(clocks(), st.lists(st.floats(-5, 300), min_size=2, max_size=20))
def test_time_never_runs_faster_than_in_the_source(clock: TimeMap, times: list[float]) -> None:
    for a, b in pairwise(sorted(times)):
        assert clock.to(b) - clock.to(a) >= (b - a) - 1e-9


@given(clocks(), st.floats(1, 300))
def test_the_stretches_cover_the_whole_film_without_a_gap(clock: TimeMap, length: float) -> None:
    parts = clock.stretches(length)
    assert parts[0][0][0] == 0.0
    assert parts[-1][0][1] == length
    assert all(a[0][1] == b[0][0] and a[1][1] == b[1][0] for a, b in pairwise(parts))
    assert parts[-1][1][1] == pytest.approx(clock.to(length))


@given(clocks())
def test_points_that_bend_nothing_are_left_out(clock: TimeMap) -> None:
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(clock.points)]
    assert all(abs(b - a) > 1e-7 for a, b in pairwise(slopes))


def test_outside_its_points_time_runs_as_in_the_source() -> None:
    clock = TimeMap(((10.0, 10.0), (20.0, 25.0)))
    assert [clock.to(t) for t in (0, 10, 15, 20, 21)] == [0, 10, 17.5, 25, 26]
    assert (clock.added_s, clock.slowest) == (5.0, 1.5)


def test_no_points_are_the_source_s_own_clock() -> None:
    assert (TimeMap().to(3.25), TimeMap().added_s, TimeMap().slowest) == (3.25, 0.0, 1.0)
    assert time_map([(0, 0), (5, 5), (9, 9)]) == TimeMap()


def test_a_clock_that_stands_still_is_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        TimeMap(((1.0, 1.0), (2.0, 1.0)))
