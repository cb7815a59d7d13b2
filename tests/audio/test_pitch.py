"""The pitch of tones that are known, of what has none, and of people whom Praat has measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydub.audio import pitch

RATE_HZ = 16_000


def voice(f0: NDArray[np.float64], rate_hz: int = RATE_HZ, harmonics: tuple[float, ...] = (1, 0.8, 0.5, 0.4, 0.3)) -> NDArray:
    """A buzz whose fundamental is `f0` sample by sample."""
    phase = 2 * np.pi * np.cumsum(f0) / rate_hz
    return (0.1 * sum(level * np.sin(n * phase) for n, level in enumerate(harmonics, 1))).astype(np.float32)


def steady(hz: float, seconds: float = 0.6, rate_hz: int = RATE_HZ, harmonics: tuple[float, ...] = (1, 0.8, 0.5)) -> NDArray:
    return voice(np.full(round(seconds * rate_hz), hz), rate_hz, harmonics)


def semitones(found: float, wanted: float) -> float:
    return abs(12 * np.log2(found / wanted))


@settings(max_examples=40)
@given(st.floats(65, 380), st.sampled_from([8_000, 16_000, 22_050, 48_000]))
def test_a_steady_voice_has_its_own_pitch_at_every_sample_rate(hz: float, rate_hz: int) -> None:
    times, f0 = pitch.track(steady(hz, rate_hz=rate_hz), rate_hz)
    assert (f0 > 0).all()
    assert semitones(pitch.median_hz(f0), hz) < 0.15
    assert semitones(float(f0.max()), float(f0.min())) < 0.5
    assert pitch.spread_semitones(f0) < 0.2
    assert times[0] > 0 and times[-1] < 0.6
    assert np.allclose(np.diff(times), pitch.STEP_S)


@pytest.mark.parametrize("harmonics", [(0, 1, 1, 1, 1), (0.3, 1, 0.1, 0.2), (1,), (0.4, 0.3, 1, 0.3)])
@pytest.mark.parametrize("hz", [90.0, 130.0, 200.0])
def test_weak_and_missing_fundamentals_do_not_move_it_by_an_octave(hz: float, harmonics: tuple[float, ...]) -> None:
    _, f0 = pitch.track(steady(hz, harmonics=harmonics), RATE_HZ)
    assert semitones(pitch.median_hz(f0), hz) < 0.15


def test_a_glide_is_followed_and_its_spread_is_that_of_its_middle_eighty_percent() -> None:
    hz = 110 * 2 ** np.linspace(0, 1, 2 * RATE_HZ)
    times, f0 = pitch.track(voice(hz), RATE_HZ)
    wanted = 110 * 2 ** (times / 2)
    assert np.max(np.abs(12 * np.log2(f0 / wanted))) < 0.4
    assert pitch.spread_semitones(f0) == pytest.approx(0.8 * 12, abs=0.5)


def test_a_voice_in_noise_and_pauses_keeps_its_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 3 * RATE_HZ).astype(np.float32)
    noise[RATE_HZ : 2 * RATE_HZ] += steady(140, 1.0)
    times, f0 = pitch.track(noise, RATE_HZ)
    voiced = times[f0 > 0]
    assert semitones(pitch.median_hz(f0), 140) < 0.15
    assert ((voiced > 0.95) & (voiced < 2.05)).mean() > 0.97


@pytest.mark.parametrize("kind", ["silence", "noise", "constant", "short", "nothing"])
def test_what_has_no_pitch_has_none(kind: str) -> None:
    sounds = {
        "silence": np.zeros(RATE_HZ),
        "noise": np.random.default_rng(2).normal(0, 0.1, RATE_HZ),
        "constant": np.full(RATE_HZ, 0.3),
        "short": steady(150, 0.04),
        "nothing": np.zeros(0),
    }
    times, f0 = pitch.track(sounds[kind].astype(np.float32), RATE_HZ)
    assert len(times) == len(f0)
    assert (f0 > 0).mean() < 0.02 if len(f0) else kind in ("short", "nothing")
    assert pitch.median_hz(f0) == 0.0
    assert pitch.spread_semitones(f0) == 0.0


def test_the_level_does_not_matter() -> None:
    sound = voice(150 + 20 * np.sin(np.arange(RATE_HZ) / 2000))
    loud, quiet = pitch.track(sound, RATE_HZ)[1], pitch.track(sound * np.float32(0.01), RATE_HZ)[1]
    assert np.allclose(loud, quiet, rtol=1e-3)


def test_long_sounds_have_no_seams() -> None:
    seconds = 1.5 * pitch.AT_ONCE * pitch.STEP_S
    _, f0 = pitch.track(steady(120, seconds), RATE_HZ)
    assert len(f0) == pytest.approx(seconds / pitch.STEP_S, abs=10)
    assert semitones(float(f0.max()), float(f0.min())) < 0.1


# Medians by Praat 6.4 (to_pitch_ac, 60-400 Hz, 10 ms).
PRAAT_HZ = {
    "librispeech-speakers/1998/1998-15444-0000.flac": 189.8,
    "librispeech-speakers/2033/2033-164914-0000.flac": 159.9,
    "librispeech-speakers/2414/2414-128291-0000.flac": 123.9,
    "librispeech-speakers/2609/2609-156975-0000.flac": 111.5,
    "voices/en-Carter_man.wav": 128.8,
    "voices/en-Maya_woman.wav": 198.0,
    "ljspeech/LJ001-0001.wav": 212.9,
    "ljspeech/LJ001-0002.wav": 191.3,
}


@pytest.mark.parametrize("name", PRAAT_HZ)
def test_people_have_the_pitch_that_praat_finds(shared_data: Path, name: str) -> None:
    file = shared_data / "media" / name
    if not file.exists():
        pytest.skip(f"needs ../shared/data/media/{name} (not present)")
    sound, rate_hz = sf.read(file, dtype="float32")
    assert semitones(pitch.median_hz(pitch.track(sound, rate_hz)[1]), PRAAT_HZ[name]) < 0.8
