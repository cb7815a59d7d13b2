"""A voice gets another pitch, or more movement, and stays as long as it was and the same voice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from polydub.audio import repitch
from polydub.types import RATE_HZ


def voice(hz: NDArray[np.float64], formants: tuple[float, ...] = (700.0, 1200.0)) -> NDArray[np.float32]:
    """Pulses at `hz` sample by sample, through formants: like a vowel."""
    phase = np.cumsum(hz) / RATE_HZ
    pulses = np.diff(np.floor(phase), prepend=0.0)
    bands = [sosfilt(butter(2, (f - 80, f + 80), "band", fs=RATE_HZ, output="sos"), pulses) for f in formants]
    return (0.3 * np.sum(bands, axis=0) / np.max(np.abs(bands))).astype(np.float32)[np.newaxis]


def gliding(seconds: float = 2.0) -> NDArray[np.float64]:
    """120 Hz, 3 semitones up and down, twice."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 120 * 2 ** (3 * np.sin(2 * np.pi * at) / 12)


def f0(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Fundamental by the highest peak of the autocorrelation of 50 ms, every 10 ms: another way than polydub's own."""
    found: list[float] = []
    size = RATE_HZ // 20
    for at in range(0, samples.shape[1] - size, RATE_HZ // 100):
        frame = samples[0, at : at + size].astype(np.float64) * np.hanning(size)
        power = np.fft.irfft(np.abs(np.fft.rfft(frame, 4 * size)) ** 2)
        low, high = RATE_HZ // 300, RATE_HZ // 60
        if power[0] > 1e-6:
            found.append(RATE_HZ / (low + int(np.argmax(power[low:high]))))
    return np.array(found)


def spread(hz: NDArray[np.float64]) -> float:
    low, high = np.percentile(hz, (10, 90))
    return float(12 * np.log2(high / low))


@pytest.mark.parametrize("semitones", [-2.0, -1.0, 1.0, 2.0])
def test_the_pitch_moves_by_so_many_semitones(semitones: float) -> None:
    sound = voice(gliding())
    made = repitch.repitched(sound, RATE_HZ, semitones, 1.0)
    assert made.shape == sound.shape and made.dtype == np.float32
    assert 12 * np.log2(np.median(f0(made)) / np.median(f0(sound))) == pytest.approx(semitones, abs=0.3)
    assert spread(f0(made)) == pytest.approx(spread(f0(sound)), abs=0.6)


@pytest.mark.parametrize("movement", [0.6, 0.8, 1.25, 1.5])
def test_the_movement_of_the_pitch_grows_or_shrinks_about_its_median(movement: float) -> None:
    sound = voice(gliding())
    made = repitch.repitched(sound, RATE_HZ, 0.0, movement)
    assert spread(f0(made)) / spread(f0(sound)) == pytest.approx(movement, rel=0.12)
    assert abs(12 * np.log2(np.median(f0(made)) / np.median(f0(sound)))) < 0.3


def test_formants_stay_where_they_are() -> None:
    sound = voice(np.full(RATE_HZ, 110.0))

    def centre(samples: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1]))) ** 2
        hz = np.fft.rfftfreq(samples.shape[1], 1 / RATE_HZ)
        near = (hz > 400) & (hz < 950)
        return float((hz * power)[near].sum() / power[near].sum())

    made = repitch.repitched(sound, RATE_HZ, 2.0, 1.0)
    assert centre(made) == pytest.approx(centre(sound), rel=0.03), "a shift of everything would be 12 %"


def test_the_level_stays_about_what_it_was() -> None:
    sound = voice(gliding())
    for semitones, movement in ((2.0, 1.0), (-2.0, 1.0), (0.0, 1.4), (1.0, 0.7)):
        made = repitch.repitched(sound, RATE_HZ, semitones, movement)
        assert abs(20 * np.log10(made.std() / sound.std())) < 2
        assert np.abs(made).max() < 1.3 * np.abs(sound).max()


def test_nothing_wanted_and_nothing_voiced_change_nothing() -> None:
    noise = (0.05 * np.random.default_rng(1).normal(size=(1, RATE_HZ))).astype(np.float32)
    sound = voice(gliding())
    assert repitch.repitched(sound, RATE_HZ, 0.0, 1.0) is sound
    for other in (noise, np.zeros((1, RATE_HZ), np.float32), np.zeros((1, 0), np.float32), sound[:, :1000]):
        assert repitch.repitched(other, RATE_HZ, 2.0, 1.2) is other


def test_the_same_sound_gives_the_same_samples() -> None:
    sound = voice(gliding())
    assert np.array_equal(repitch.repitched(sound, RATE_HZ, 1.5, 1.2), repitch.repitched(sound.copy(), RATE_HZ, 1.5, 1.2))


def test_what_has_no_pitch_stays_itself_between_what_has() -> None:
    hiss = (0.02 * np.random.default_rng(2).normal(size=RATE_HZ // 2)).astype(np.float32)
    sound = voice(gliding(1.0))
    whole = np.concatenate([sound[0], hiss, sound[0]])[np.newaxis]
    made = repitch.repitched(whole, RATE_HZ, 2.0, 1.0)
    middle = slice(RATE_HZ + 4800, RATE_HZ + RATE_HZ // 2 - 4800)
    assert np.allclose(made[0, middle], whole[0, middle], atol=0.002)
