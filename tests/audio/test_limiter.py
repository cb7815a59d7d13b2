"""The limiter holds its ceiling between samples, is local in time, and leaves quiet sound alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio.limiter import REACH, limit
from polydub.audio.loudness import true_peak
from polydub.types import RATE_HZ, Samples


def burst(seconds: float, seed: int, level: float, channels: int = 1) -> Samples:
    """Noise of which a fifth is loud."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(size=(channels, round(seconds * RATE_HZ))) * 0.05
    third = sound.shape[1] // 3
    sound[:, third : third + sound.shape[1] // 5] *= level
    return sound.astype(np.float32)


@given(seed=st.integers(0, 99), level=st.floats(1, 30), ceiling=st.floats(0.1, 0.9), channels=st.sampled_from([1, 2]))
def test_no_true_peak_passes_the_ceiling(seed: int, level: float, ceiling: float, channels: int) -> None:
    sound = burst(0.5, seed, level, channels)
    curve = limit(sound, ceiling)
    limited = sound if curve is None else sound * curve
    assert true_peak(limited) <= ceiling * 1.001
    if curve is not None:
        assert curve.max() <= 1.0
        assert curve.min() > 0


def test_quiet_sound_is_left_alone() -> None:
    assert limit(burst(0.2, 1, 1.0), 0.9) is None
    assert limit(np.zeros((2, 0), np.float32), 0.9) is None
    assert limit(np.zeros((2, 4800), np.float32), 0.9) is None


def test_what_is_farther_than_its_reach_is_not_touched() -> None:
    sound = np.full((1, RATE_HZ), 0.01, np.float32)
    sound[0, RATE_HZ // 2] = 1.0
    curve = limit(sound, 0.5)
    assert curve is not None
    touched = np.flatnonzero(curve < 1)
    assert touched.min() > RATE_HZ // 2 - REACH - 64
    assert touched.max() < RATE_HZ // 2 + REACH + 64


def test_a_block_with_its_neighbourhood_is_limited_as_the_whole_is() -> None:
    sound = burst(2, 5, 12.0, 2)
    whole = limit(sound, 0.4)
    low, first, last = 16 * 1000, 16 * 1500, 16 * 3500
    part = limit(sound[:, low : last + 2 * REACH], 0.4)
    assert whole is not None
    assert part is not None
    assert np.allclose(part[first - low : last - low], whole[first:last], atol=1e-5)


def test_the_gain_moves_smoothly() -> None:
    curve = limit(burst(1, 7, 20.0), 0.3)
    assert curve is not None
    assert np.abs(np.diff(curve)).max() < 0.01
