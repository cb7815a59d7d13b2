"""Long-term spectra, and equalisers that keep length, level and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydub.audio import match, signal

RATE_HZ = 48_000
GAINS = st.lists(st.floats(-6, 6), min_size=len(match.BANDS_HZ), max_size=len(match.BANDS_HZ))


def noise(seconds: float = 2.0, rate_hz: int = RATE_HZ, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * rate_hz)).astype(np.float32)


def speechlike(seconds: float = 3.0) -> NDArray[np.float32]:
    """Harmonics that fall by 6 dB per octave, in syllables, over a little noise."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 120 * n * t) / n for n in range(1, 60))
    return (0.05 * buzz * np.sin(4 * np.pi * t) ** 2 + 0.02 * noise(seconds)).astype(np.float32)


def rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def test_white_noise_is_flat_and_falling_noise_falls() -> None:
    assert np.ptp(match.spectrum(noise(8), RATE_HZ)) < 2.5
    red = np.cumsum(noise(8)).astype(np.float32)
    red -= np.convolve(red, np.ones(4800) / 4800, "same").astype(np.float32)
    slope = np.diff(np.array(match.spectrum(red, RATE_HZ))[5:17]).mean()
    assert slope == pytest.approx(-2, abs=0.4)  # -6 dB an octave, three bands an octave


def test_neither_level_nor_pauses_nor_the_sample_rate_matter() -> None:
    sound = speechlike()
    whole = np.array(match.spectrum(sound, RATE_HZ))
    assert match.spectrum(sound * np.float32(0.1), RATE_HZ) == pytest.approx(whole, abs=0.02)
    paused = np.concatenate([sound, noise(3) * np.float32(0.001)])
    assert match.spectrum(paused, RATE_HZ) == pytest.approx(whole, abs=0.3)
    lower = signal.resample(sound[np.newaxis], RATE_HZ, 16_000)[0]
    assert np.abs(np.array(match.spectrum(lower, 16_000)) - whole)[:-1].max() < 1.0


@pytest.mark.parametrize("sound", [np.zeros(RATE_HZ, np.float32), np.zeros(0, np.float32), noise(0.01)])
def test_silence_and_snippets_have_no_spectrum_and_need_no_equaliser(sound: NDArray[np.float32]) -> None:
    found = match.spectrum(sound, RATE_HZ)
    assert found == ()
    other = match.spectrum(noise(), RATE_HZ)
    assert match.tone(found, other) == match.tone(other, found) == ()
    assert match.distance_db(found, other) == 0.0


@given(GAINS, GAINS, st.floats(0.5, 12))
def test_gains_stay_within_their_limit_and_never_raise_rumble(one: list[float], other: list[float], limit: float) -> None:
    gains = match.tone([10 * x for x in one], [10 * x for x in other], limit)
    assert len(gains) == len(match.BANDS_HZ)
    assert max(map(abs, gains)) <= limit + 0.051
    assert gains[0] <= 0


def test_a_voice_needs_no_equaliser_towards_itself() -> None:
    found = match.spectrum(speechlike(), RATE_HZ)
    assert set(match.tone(found, found)) == {0.0}


def test_the_equaliser_does_what_it_says_and_brings_the_spectrum_nearer() -> None:
    sound = speechlike()
    hz = np.array(match.BANDS_HZ)
    wanted = np.array(match.spectrum(sound, RATE_HZ)) + 5 * np.sin(np.log2(hz / 100) * 2)
    gains = match.tone(match.spectrum(sound, RATE_HZ), wanted)
    heard = match.spectrum(match.toned(sound[np.newaxis], RATE_HZ, gains)[0], RATE_HZ)
    before = match.distance_db(match.spectrum(sound, RATE_HZ), wanted)
    assert match.distance_db(heard, wanted) < 0.4 * before
    flat = noise(8)
    steps = (0.0,) * 8 + (6.0,) * 6 + (0.0,) * 6
    change = np.array(match.spectrum(match.toned(flat[np.newaxis], RATE_HZ, steps)[0], RATE_HZ)) - match.spectrum(flat, RATE_HZ)
    assert change[10:12].mean() - change[3:6].mean() == pytest.approx(6, abs=0.7)


@given(GAINS, st.integers(1, 4000), st.integers(1, 2))
def test_length_channels_and_level_are_kept_and_nothing_clips(gains: list[float], frames: int, channels: int) -> None:
    sound = np.stack([noise(0.1, seed=n)[:frames] for n in range(channels)])
    heard = match.toned(sound, RATE_HZ, gains)
    assert heard.shape == sound.shape
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 0.991
    assert rms(heard) <= rms(sound) * 1.001
    if np.abs(heard).max() < 0.98:
        assert rms(heard) == pytest.approx(rms(sound), rel=1e-3)


def test_a_loud_sound_stays_below_full_scale() -> None:
    loud = np.clip(20 * noise(0.5), -1, 1)[np.newaxis]
    heard = match.toned(loud, RATE_HZ, (6.0, -6.0) * (len(match.BANDS_HZ) // 2))
    assert np.abs(heard).max() <= 1.0


def test_it_does_not_move_the_sound_in_time() -> None:
    click = np.zeros((1, 9600), np.float32)
    click[0, 4800] = 0.5
    heard = match.toned(click, RATE_HZ, tuple(np.linspace(-6, 6, len(match.BANDS_HZ))))
    assert int(np.abs(heard).argmax()) == 4800
    assert heard[0, 4700:4800] == pytest.approx(heard[0, 4900:4800:-1], abs=1e-6)


def test_without_gains_the_sound_itself_comes_back_and_silence_stays_silent() -> None:
    sound = noise()[np.newaxis]
    assert match.toned(sound, RATE_HZ, ()) is sound
    assert not match.toned(np.zeros((1, 500), np.float32), RATE_HZ, (3.0,) * len(match.BANDS_HZ)).any()
    assert match.toned(np.zeros((1, 0), np.float32), RATE_HZ, (3.0,) * len(match.BANDS_HZ)).shape == (1, 0)
