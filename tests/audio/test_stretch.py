"""Time-scaling: exact length, same pitch, same level, same bytes."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.audio.stretch import stretch
from polydub.types import Samples

RATES = [0.85, 0.95, 1.02, 1.1, 1.2, 1.3]
TIME = np.arange(48_000 * 2) / 48_000


def stereo(mono: np.ndarray) -> Samples:
    return np.stack([mono, -0.5 * mono]).astype(np.float32)


def tone() -> Samples:
    return stereo(0.5 * np.sin(2 * np.pi * 220 * TIME))


def buzz() -> Samples:
    return stereo(0.1 * sum(np.sin(2 * np.pi * 110 * k * TIME) / k for k in range(1, 30)))


def speech_like() -> Samples:
    """Syllables: a buzz of moving pitch and a little noise, four times a second."""
    chance = np.random.default_rng(3)
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * TIME)) / 48_000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20)) + chance.normal(0, 0.2, len(TIME))
    return stereo(0.1 * voice * np.sin(2 * np.pi * 2 * TIME) ** 2)


def fundamental(mono: Samples) -> float:
    """Strongest period between 80 and 400 Hz, from the autocorrelation, in Hz."""
    spectrum = np.abs(np.fft.rfft(mono, 2 * len(mono))) ** 2
    likeness = np.fft.irfft(spectrum)[: 48_000 // 80] / np.arange(len(mono), len(mono) - 600, -1)
    lag = 120 + int(np.argmax(likeness[120:]))
    left, middle, right = likeness[lag - 1 : lag + 2] if lag + 1 < len(likeness) else (0, 1, 0)
    return 48_000 / (lag + 0.5 * (left - right) / (left - 2 * middle + right))


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("sound", [tone, buzz, speech_like])
def test_the_length_is_exact_and_the_level_is_kept(sound, rate) -> None:
    samples = sound()
    frames = round(samples.shape[1] / rate)
    out = stretch(samples, frames)
    assert out.shape == (2, frames)
    assert out.dtype == np.float32
    assert abs(20 * np.log10(rms(out) / rms(samples))) < 1
    assert np.abs(out).max() <= np.abs(samples).max() * 10 ** (1 / 20)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("sound", "hertz"), [(tone, 220), (buzz, 110)])
def test_the_pitch_is_kept(sound, hertz, rate) -> None:
    samples = sound()
    out = stretch(samples, round(samples.shape[1] / rate))
    assert fundamental(out[0]) == pytest.approx(hertz, rel=0.01)


def test_nothing_is_done_where_nothing_is_wanted() -> None:
    samples = speech_like()
    assert stretch(samples, samples.shape[1]) is samples


@pytest.mark.parametrize("rate", RATES)
def test_joins_do_not_click(rate) -> None:
    samples = tone()
    out = stretch(samples, round(samples.shape[1] / rate))
    assert np.abs(np.diff(out)).max() <= 1.1 * np.abs(np.diff(samples)).max()


@pytest.mark.parametrize("rate", RATES)
def test_the_first_and_the_last_sound_are_kept(rate) -> None:
    samples = speech_like()
    out = stretch(samples, round(samples.shape[1] / rate))
    assert np.allclose(out[:, :200], samples[:, :200], atol=2e-3)
    assert np.allclose(out[:, -200:], samples[:, -200:], atol=2e-3)


@pytest.mark.parametrize("rate", RATES)
def test_time_runs_evenly(rate) -> None:
    samples = np.zeros((1, 96_000), np.float32)
    marks = [12_000, 36_000, 60_000, 84_000]
    for mark in marks:
        samples[0, mark : mark + 4800] = 0.5 * np.sin(2 * np.pi * 300 * np.arange(4800) / 48_000)
    out = stretch(samples, round(96_000 / rate))
    loud = np.convolve(np.abs(out[0]), np.ones(240) / 240, "same") > 0.05
    onsets = np.flatnonzero(np.diff(loud.astype(int)) == 1)
    assert len(onsets) == len(marks)
    assert np.abs(onsets - np.array(marks) / rate).max() < 0.025 * 48_000


def test_channels_stay_together() -> None:
    samples = speech_like()
    out = stretch(samples, 80_000)
    assert np.allclose(out[1], -0.5 * out[0], atol=1e-6)


def test_silence_stays_silent() -> None:
    assert not stretch(np.zeros((1, 48_000), np.float32), 40_000).any()


@given(st.integers(0, 9000), st.integers(0, 9000), st.integers(1, 2))
@settings(max_examples=80, deadline=None)
def test_any_length_becomes_any_other(length: int, frames: int, channels: int) -> None:
    samples = np.random.default_rng(length).uniform(-0.9, 0.9, (channels, length)).astype(np.float32)
    out = stretch(samples, frames)
    assert out.shape == (channels, frames)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.abs(out).max(initial=0) <= 0.9 * 10 ** (1 / 20)


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import numpy as np; from hashlib import sha256; from polydub.audio.stretch import stretch;"
        "x = np.random.default_rng(1).normal(0, 0.1, (1, 90_000)).astype(np.float32);"
        "print(sha256(stretch(x, 77_777).tobytes()).hexdigest())"
    )
    samples = np.random.default_rng(1).normal(0, 0.1, (1, 90_000)).astype(np.float32)
    here = sha256(stretch(samples, 77_777).tobytes()).hexdigest()
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert here == there == sha256(stretch(samples, 77_777).tobytes()).hexdigest()
