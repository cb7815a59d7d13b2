"""What a clean part is, which parts make a reference, and how they are joined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import loudness
from polydub.audio import reference as r
from polydub.types import RATE_HZ, Samples


def speech(seconds: float = 3.0, level: float = 0.2) -> Samples:
    """Syllables of a quarter of a second with pauses between, (n,)."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = sum((np.sin(2 * np.pi * 150 * n * t) / n for n in range(1, 9)), np.zeros(len(t)))
    heights = 0.9 ** ((2 * t).astype(int) % 7)  # peaks differ
    syllables = np.clip(np.sin(4 * np.pi * t), 0, 1) * heights
    return (level * wave / np.abs(wave).max() * syllables).astype(np.float32)


def noise(like: Samples, below_db: float) -> Samples:
    """White noise so far below the loud moments of a sound."""
    loud = float(np.sqrt(np.percentile(np.square(like[like != 0]), 90)))
    return (np.random.default_rng(1).standard_normal(len(like)) * loud * 10 ** (-below_db / 20)).astype(np.float32)


@pytest.mark.parametrize("below_db", [10, 20, 30])
def test_noise_in_the_pauses_is_measured(below_db: float) -> None:
    sound = speech()
    assert r.clean(sound + noise(sound, below_db)).snr_db == pytest.approx(below_db, abs=3)


def test_what_was_taken_away_counts_too(below_db: float = 8) -> None:
    sound = speech()
    assert r.clean(sound).snr_db > 40
    assert r.clean(sound, noise(sound, below_db)).snr_db == pytest.approx(below_db, abs=3)


def test_silence_and_nothing_are_not_clean() -> None:
    for sound in (np.zeros(RATE_HZ, np.float32), np.zeros(0, np.float32), np.zeros(5, np.float32)):
        assert r.clean(sound) == r.Clean(0.0, clipped=False)
        assert r.clean(sound, sound) == r.Clean(0.0, clipped=False)


def test_what_is_cut_off_is_found_at_any_level() -> None:
    sound = np.random.default_rng(3).standard_normal(3 * RATE_HZ).astype(np.float32) / 5  # no two peaks are alike
    cut = np.clip(sound, -0.5, 0.5)
    assert not r.clipped(sound)
    assert r.clipped(cut) and r.clipped(cut * np.float32(0.3))


def test_edges_move_inwards_to_a_pause() -> None:
    sound = speech(3.1)[round(0.1 * RATE_HZ) :]  # begins in the middle of a syllable, ends in a pause
    low, high = r.trimmed(sound)
    assert 0.1 <= low / RATE_HZ <= r.SNAP_S and high / RATE_HZ >= 3.0 - r.SNAP_S
    assert np.abs(sound[low : low + 100]).max() == 0 and np.abs(sound[high - 100 : high]).max() == 0
    assert r.trimmed(sound[:50]) == (0, 50)


def part(start: float, seconds: float, snr_db: float = 40.0, clipped: bool = False) -> r.Part:
    return r.Part(start, seconds, r.Clean(snr_db, clipped))


def test_long_and_clean_parts_from_several_places_are_taken() -> None:
    parts = [part(0, 5), part(6, 5), part(100, 4), part(200, 3.5), part(300, 5, 15), part(400, 1.5)]
    assert r.chosen(parts) == [0, 2, 3]


def test_noisy_parts_are_left_out_once_there_is_enough() -> None:
    assert r.chosen([part(0, 4), part(100, 3), part(200, 5, 6)]) == [0, 1]
    assert r.chosen([part(0, 4), part(200, 5, 6)]) == [0, 1]
    assert r.chosen([part(0, 5, clipped=True), part(100, 3), part(200, 4)]) == [1, 2]
    assert r.chosen([part(0, 5, clipped=True), part(100, 3)]) == [0, 1]
    assert r.chosen([]) == []


PARTS = st.lists(st.tuples(st.floats(0, 3000), st.floats(0.4, 5), st.floats(0, 60), st.booleans()), max_size=30)


@given(PARTS)
def test_there_is_never_too_much_and_enough_where_there_is_enough(drawn: list[tuple[float, float, float, bool]]) -> None:
    parts = [part(*row) for row in drawn]
    taken = r.chosen(parts)
    assert len(set(taken)) == len(taken)
    assert [parts[n].start for n in taken] == sorted(parts[n].start for n in taken)
    total = sum(parts[n].seconds for n in taken)
    assert total <= r.MOST_S
    assert total >= min(r.LEAST_S, sum(p.seconds for p in parts)) - 1e-6


def test_parts_are_joined_equally_loud_faded_and_with_pauses() -> None:
    quiet, loud = speech(2.0, 0.01), speech(3.0, 0.5)
    made = r.joined([quiet, loud])
    assert made.shape == (1, round((5.0 + r.PAUSE_S) * RATE_HZ))
    assert loudness.whole(made[:, : 2 * RATE_HZ]) == pytest.approx(r.LOUDNESS_LUFS, abs=0.5)
    assert loudness.whole(made[:, -3 * RATE_HZ :]) == pytest.approx(r.LOUDNESS_LUFS, abs=0.5)
    assert np.abs(made).max() <= r.PEAK + 1e-6
    assert not made[0, 2 * RATE_HZ : 2 * RATE_HZ + round(r.PAUSE_S * RATE_HZ)].any()
    assert r.joined([]).shape == (1, 0)


def test_a_peak_is_not_raised_to_the_loudness() -> None:
    click = speech(2.0, 0.001)
    click[5000] = 0.9
    assert np.abs(r.joined([click])).max() == pytest.approx(r.PEAK, rel=1e-3)
