"""Speech begins and ends where the probabilities say, with hysteresis, and never outside the film."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio.activity import Rules, spans
from polydub.types import Span

FRAME_S = 0.032
BARE = Rules(pad_s=0.0)


def found(chances: list[float], rules: Rules = BARE, total_s: float | None = None) -> tuple[Span, ...]:
    times = np.arange(len(chances)) * FRAME_S
    return spans(chances, times, len(chances) * FRAME_S if total_s is None else total_s, rules)


def frames(*parts: tuple[float, float]) -> list[float]:
    """(probability, seconds) after each other."""
    return [chance for chance, seconds in parts for _ in range(round(seconds / FRAME_S))]


def test_silence_and_no_frames_hold_no_speech() -> None:
    assert found([]) == found(frames((0.0, 5))) == ()
    assert spans([], [], 0.0, Rules()) == ()


def test_speech_begins_at_on_and_lasts_while_it_is_above_off() -> None:
    (span,) = found(frames((0.4, 0.96), (0.6, 0.64), (0.4, 1.6), (0.2, 0.96)))
    assert (span.start, span.end) == (0.96, 3.2)


def test_a_threshold_of_its_own_for_the_end_is_used() -> None:
    chances = frames((0.6, 0.64), (0.4, 1.6), (0.2, 0.96))
    assert found(chances, Rules(pad_s=0, off=0.45))[0].end == 0.64
    assert Rules(on=0.1).floor == 0.05 and Rules(on=0.5).floor == pytest.approx(0.35)


def test_short_pauses_are_bridged_and_short_speech_is_dropped() -> None:
    bridged = found(frames((0.9, 0.96), (0.0, 0.256), (0.9, 0.96), (0.0, 0.64)))
    assert bridged == (Span(0.0, 2.176),)
    parted = found(frames((0.9, 0.96), (0.0, 0.32), (0.9, 0.96), (0.0, 0.64)))
    assert parted == (Span(0.0, 0.96), Span(1.28, 2.24))
    assert found(frames((0.0, 0.64), (0.9, 0.224), (0.0, 0.64))) == ()


def test_padding_is_added_inside_the_film_and_what_then_overlaps_is_one() -> None:
    chances = frames((0.9, 0.96), (0.0, 0.32), (0.9, 0.96))
    assert found(chances, Rules(pad_s=0.1)) == (Span(0.0, 1.06), Span(1.18, 2.24))
    assert found(chances, Rules(pad_s=0.2)) == (Span(0.0, 2.24),)


def test_speech_up_to_the_end_of_the_film_ends_there() -> None:
    assert found(frames((0.0, 0.96), (0.9, 0.96)), total_s=1.9007)[-1].end == 1.9


def test_frames_that_are_not_equally_long_are_taken_at_their_own_times() -> None:
    chances, times = [0.0, 0.9, 0.9, 0.9, 0.0, 0.0], [0.0, 1.0, 1.5, 1.6, 3.0, 3.1]
    assert spans(chances, times, 10.0, BARE) == (Span(1.0, 3.0),)


def test_a_long_span_is_cut_where_speech_is_least_likely_in_the_latter_half() -> None:
    chances = frames((0.9, 40.0))
    chances[round(5 / FRAME_S)] = 0.36  # too early to cut
    chances[round(22 / FRAME_S)] = 0.5
    one, two = found(chances)
    assert one.end == two.start == pytest.approx(22, abs=FRAME_S)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 1.5)), max_size=120),
    st.floats(0.1, 0.9),
    st.floats(0, 0.5),
    st.floats(0.5, 30),
)
def test_spans_are_in_order_apart_short_enough_and_inside(
    raw: list[tuple[float, float]], on: float, pad_s: float, longest_s: float
) -> None:
    steps = [step for _, step in raw]
    times = np.concatenate([[0.0], np.cumsum(steps)[:-1]]) if steps else np.zeros(0)
    total_s = float(sum(steps))
    made = spans([chance for chance, _ in raw], times, total_s, Rules(on=on, pad_s=pad_s, longest_s=longest_s))
    assert all(0 <= s.start < s.end <= total_s for s in made)
    assert all(a.end <= b.start for a, b in pairwise(made))
    assert all(s.end - s.start <= longest_s + 0.002 for s in made)
    assert all(round(edge, 3) == edge for s in made for edge in (s.start, s.end))


@given(st.lists(st.floats(0, 1), max_size=200), st.floats(1, 10))
def test_cutting_long_spans_loses_no_speech(chances: list[float], longest_s: float) -> None:
    whole, cut = found(chances, Rules(longest_s=1e6)), found(chances, Rules(longest_s=longest_s))
    assert sum(s.end - s.start for s in cut) == pytest.approx(sum(s.end - s.start for s in whole))
