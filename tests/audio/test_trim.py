"""Finding the audible part of a take and cutting it out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio.trim import shape, trim
from polydub.engines.registry import get
from polydub.types import Part, Samples

RATES = [16_000, 22_050, 44_100, 48_000]


def burst(
    rate_hz: int, at_s: float, length_s: float, level: float = 0.3, total_s: float = 2.0, noise_db: float = -70.0
) -> Samples:
    """A 300 Hz tone in a noise floor of that RMS level."""
    samples = np.random.default_rng(5).normal(0, 10 ** (noise_db / 20), int(total_s * rate_hz))
    first, count = int(at_s * rate_hz), int(length_s * rate_hz)
    samples[first : first + count] += level * np.sin(2 * np.pi * 300 * np.arange(count) / rate_hz + 0.5)
    return samples.astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("level", [0.02, 0.3, 0.9])
def test_onset_and_offset_are_found_within_5_ms(rate_hz: int, level: float) -> None:
    start, end = trim(burst(rate_hz, 0.5, 0.8, level), rate_hz)
    assert start / rate_hz + 0.005 == pytest.approx(0.5, abs=0.005)
    assert end / rate_hz - 0.005 == pytest.approx(1.3, abs=0.005)
    assert start / rate_hz < 0.5
    assert end / rate_hz > 1.3


def test_a_soft_beginning_35_db_below_the_voice_is_kept() -> None:
    samples = burst(48_000, 0.5, 0.8) + burst(48_000, 0.4, 0.1, level=0.3 * 10 ** (-35 / 20))
    assert trim(samples, 48_000)[0] / 48_000 == pytest.approx(0.395, abs=0.005)


def test_a_pause_inside_is_kept() -> None:
    samples = burst(48_000, 0.3, 0.2) + burst(48_000, 1.5, 0.2)
    start, end = trim(samples, 48_000)
    assert start < 0.3 * 48_000
    assert end > 1.7 * 48_000


def test_sound_at_the_very_edges_is_kept_whole() -> None:
    samples = burst(48_000, 0.0, 1.0, total_s=1.0)
    assert trim(samples, 48_000) == (0, 48_000)


def test_a_short_word_in_a_long_silence_is_found() -> None:
    start, end = trim(burst(48_000, 5.0, 0.1, total_s=10.0), 48_000)
    assert start / 48_000 == pytest.approx(4.995, abs=0.005)
    assert end / 48_000 == pytest.approx(5.105, abs=0.005)


@pytest.mark.parametrize("count", [0, 1, 100, 48_000])
def test_silence_has_no_audible_part(count: int) -> None:
    assert trim(np.zeros(count, np.float32), 48_000) == (0, 0)


def test_noise_below_the_floor_has_no_audible_part() -> None:
    assert trim(burst(48_000, 0.5, 0.8, level=0.0), 48_000) == (0, 0)


@given(st.integers(0, 3000), st.sampled_from(RATES), st.floats(0, 1))
def test_the_audible_part_lies_within_the_samples(count: int, rate_hz: int, level: float) -> None:
    samples = np.random.default_rng(count).uniform(-level, level, count).astype(np.float32)
    start, end = trim(samples, rate_hz)
    assert 0 <= start <= end <= count


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_a_take_is_whole_milliseconds_and_fades_from_and_to_nothing(start: int, length: int) -> None:
    samples = np.ones(2000, np.float32)
    take = shape(samples, start, start + length)
    assert take.dtype == np.float32
    assert len(take) % 48 == 0
    assert 0 <= len(take) - length < 48
    assert np.abs(take[:1]).max(initial=0) < 0.01
    assert np.abs(take[-1:]).max(initial=0) < 0.01
    assert np.abs(np.diff(take)).max(initial=0) < 0.11 or len(take) + start > 2000 or length < 288


def test_the_middle_of_a_take_is_untouched() -> None:
    samples = burst(48_000, 0.0, 2.0)
    take = shape(samples, 4800, 52_800)
    assert np.array_equal(take[144:-144], samples[4800 + 144 : 52_800 - 144])


def test_an_empty_part_gives_an_empty_take() -> None:
    assert len(shape(np.ones(100, np.float32), 0, 0)) == 0


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "she sells sea shells"),
        ("de", "Zwei Hunde im Garten"),
        ("it", "Perché no?"),
        ("en", "apples"),
        ("es", "hay que ver"),
    ],
)
def test_a_spoken_take_begins_and_ends_where_its_sound_is_40_db_below_its_peak(language: str, text: str) -> None:
    espeak = get("tts", "espeak-ng")
    with espeak.load(espeak.options(), {}, "cpu") as tts:
        audio = tts.synthesize(Part(text, language, tts.voices(language)[0]))
    samples = audio.samples[0]
    start, end = trim(samples, audio.rate_hz)
    width = round(0.005 * audio.rate_hz)
    level = np.convolve(np.square(samples.astype(np.float64)), np.ones(width) / width, "same")
    audible = np.flatnonzero(level > level.max() * 10 ** (-40 / 10)) / audio.rate_hz
    assert start / audio.rate_hz + 0.005 == pytest.approx(audible[0], abs=0.01)
    assert end / audio.rate_hz - 0.005 == pytest.approx(audible[-1], abs=0.01)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_real_speech_loses_its_silence_and_keeps_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "line.wav"
    subprocess.run(["espeak-ng", "-w", str(path), "--", "first things first"], check=True)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    start, end = trim(samples, rate_hz)
    silence = 0.05 * np.abs(samples).max()
    assert 0.4 < (end - start) / rate_hz < len(samples) / rate_hz
    assert np.abs(samples[:start]).max(initial=0) < silence
    assert np.abs(samples[end:]).max(initial=0) < silence
