"""Speakers are found from vectors alone: how many, which window is whose, and where they change."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import clusters
from polydub.audio.clusters import Thresholds, Voices
from polydub.types import Samples, Span

RULES = Thresholds(0.35, 0.70, (0.3, 0.5))
DIMENSIONS = 64


def voice(number: int) -> Samples:
    """What speaker `number` is like: 0.4 apart from every other, as people in one room are."""
    own = np.random.default_rng(number).normal(0, 1, DIMENSIONS)
    room = np.random.default_rng(99).normal(0, 1, DIMENSIONS)
    return (own / np.linalg.norm(own) + 1.1 * room / np.linalg.norm(room)).astype(np.float32)


def spoken(order: list[int], spread: float = 0.05, seed: int = 1) -> Samples:
    """One window for each entry of `order`, as that speaker would sound."""
    noise = np.random.default_rng(seed).normal(0, spread, (len(order), DIMENSIONS))
    return clusters.unit(np.stack([voice(n) for n in order]) + noise.astype(np.float32))


def told_apart(order: list[int], limits: tuple[int, int] | None = None) -> list[int]:
    vectors = spoken(order)
    voices = Voices(vectors, np.full(len(order), 1.6))
    return clusters.speakers(voices, spoken(order, seed=2), RULES, limits).tolist()


def changing(*counts: tuple[int, int]) -> list[int]:
    """(speaker, windows) after each other."""
    return [speaker for speaker, windows in counts for _ in range(windows)]


TALK = changing((7, 9), (3, 12), (7, 10), (5, 8), (3, 9))
NUMBERED = changing((0, 9), (1, 12), (0, 10), (2, 8), (1, 9))


def test_speakers_are_found_and_numbered_as_they_appear() -> None:
    assert told_apart(TALK) == NUMBERED


def test_one_speaker_is_one() -> None:
    assert set(told_apart(changing((4, 40)))) == {0}


def test_one_window_is_one_speaker() -> None:
    assert told_apart([3]) == [0]


def test_never_more_speakers_are_found_than_there_can_be() -> None:
    assert max(told_apart(TALK, (1, 2))) == 1
    assert set(told_apart(TALK, (1, 1))) == {0}
    assert told_apart(TALK, (1, 3)) == told_apart(TALK, (3, 3)) == told_apart(TALK, (1, 9)) == NUMBERED


def test_nobody_is_made_up_to_reach_a_number() -> None:
    assert told_apart(TALK, (6, 8)) == NUMBERED


def test_a_stray_window_is_no_speaker() -> None:
    assert set(told_apart(changing((7, 15), (9, 1), (7, 15)))) == {0}


def test_the_voices_of_two_are_nearest_to_themselves() -> None:
    order = changing((7, 9), (3, 12))
    middles = clusters.centres(spoken(order), np.array([0] * 9 + [1] * 12))
    own = clusters.unit(np.stack([voice(7), voice(3)]))
    assert ((own @ middles.T).argmax(axis=1) == [0, 1]).all()
    assert np.allclose(np.linalg.norm(middles, axis=1), 1, atol=1e-5)


scores = st.integers(1, 3).flatmap(
    lambda labels: st.lists(
        st.lists(st.integers(-8, 8), min_size=labels, max_size=labels),
        min_size=1,
        max_size=5,
    )
)


@given(scores, st.integers(0, 6))
def test_no_other_way_through_the_labels_is_better(raw: list[list[int]], switch: int) -> None:
    def worth(way: tuple[int, ...]) -> int:
        return sum(row[label] for row, label in zip(raw, way, strict=True)) - switch * sum(a != b for a, b in pairwise(way))

    chosen = clusters.viterbi(np.array(raw, np.float32), switch)
    best = max(worth(way) for way in product(range(len(raw[0])), repeat=len(raw)))
    assert worth(tuple(chosen.tolist())) == best


times = st.integers(0, 100_000).map(lambda ms: ms / 1000)


@given(times, st.integers(1, 60_000), st.sampled_from([(1.6, 0.4), (1.0, 0.5)]))
def test_windows_cover_a_span_evenly(start: float, length_ms: int, kind: tuple[float, float]) -> None:
    size_s, hop_s = kind
    span = Span(start, round(start + length_ms / 1000, 3))
    made = clusters.windows(span, size_s, hop_s)
    assert (made[0].start, made[-1].end) == (span.start, pytest.approx(span.end, abs=0.0011))
    assert all(w.duration == pytest.approx(min(size_s, span.duration), abs=0.0011) for w in made)
    assert all(0 < b.start - a.start <= hop_s + 0.0011 for a, b in pairwise(made))


@given(times, st.integers(1, 20_000), st.integers(0, 1000))
def test_who_speaks_in_a_span_is_told_without_gaps(start: float, length_ms: int, seed: int) -> None:
    span = Span(start, round(start + length_ms / 1000, 3))
    around = clusters.windows(span, 1.0, 0.5)
    labels = np.random.default_rng(seed).integers(0, 3, len(around))
    parts = clusters.runs(span, around, labels)
    assert (parts[0][0].start, parts[-1][0].end) == (span.start, span.end)
    assert all(a.end == b.start and one != two for (a, one), (b, two) in pairwise(parts))
    assert {label for _, label in parts} <= set(labels.tolist())


def test_a_change_of_speaker_is_put_between_the_middles_of_the_windows() -> None:
    span = Span(10.0, 16.0)
    around = clusters.windows(span, 1.0, 0.5)
    middles = [(w.start + w.end) / 2 for w in around]
    parts = clusters.runs(span, around, np.array([0 if m < 13 else 1 for m in middles]))
    assert [label for _, label in parts] == [0, 1]
    assert parts[0][0].end == pytest.approx(12.75, abs=0.011)  # the last window of one is at 12.5, the first of two at 13
