"""L1, L2, B1, B2 and the delay: against ffmpeg's ebur128, pyloudnorm, and signals whose figures are known."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydub.evaluate import sound
from polydub.types import BLOCK, HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Samples, Span


def noise(seconds: float, seed: int = 1, channels: int = 1) -> Samples:
    frames = round(seconds * RATE_HZ)
    wave = 0.1 * np.random.default_rng(seed).standard_normal((channels, frames))
    return (wave * (1 + 0.8 * np.sin(np.arange(frames) / RATE_HZ))).astype(np.float32)


def pieces(samples: Samples, size: int) -> Iterator[Samples]:
    for at in range(0, samples.shape[1], size):
        yield samples[:, at : at + size]


def mask(samples: Samples) -> NDArray[np.bool_]:
    return np.ones(samples.shape[1], bool)


def test_levels_are_those_of_ffmpeg_and_pyloudnorm(tmp_path: Path) -> None:
    samples = noise(30, channels=2)
    file = tmp_path / "noise.wav"
    soundfile.write(file, samples.T, RATE_HZ, subtype="FLOAT")
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-nostdin", "-hide_banner", "-i", str(file), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr.rpartition("Summary:")[2]
    figure = {name: float(re.search(rf"{name}:\s+(-?[\d.]+)", said)[1]) for name in ("I", "LRA", "Peak")}  # type: ignore[index]
    levels = sound.measured(pieces(samples, BLOCK))
    assert levels.integrated == pytest.approx(figure["I"], abs=0.1)
    assert levels.range_lu == pytest.approx(figure["LRA"], abs=0.3)
    assert 20 * math.log10(levels.true_peak) == pytest.approx(figure["Peak"], abs=0.15)
    assert levels.integrated == pytest.approx(pyloudnorm.Meter(RATE_HZ).integrated_loudness(samples.T), abs=0.1)


def test_levels_do_not_depend_on_the_blocks() -> None:
    samples = noise(5)
    whole, parted = (sound.measured(pieces(samples, size)) for size in (samples.shape[1], 31_337))
    assert whole.integrated == pytest.approx(parted.integrated, abs=1e-3)
    assert whole.true_peak == pytest.approx(parted.true_peak, rel=1e-3)
    assert whole.peak == parted.peak


def test_silence_has_a_floor() -> None:
    levels = sound.measured([np.zeros((2, RATE_HZ), np.float32)])
    assert (levels.integrated, levels.range_lu, levels.true_peak, levels.clipped) == (-120.0, 0.0, 0.0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6)), min_size=1, max_size=12), st.integers(1, 9))
def test_clipped_waves_are_counted_across_blocks(runs: list[tuple[bool, int]], size: int) -> None:
    full = [on for on, length in runs for _ in range(length)]
    samples = np.where(full, -1.0, 0.5).astype(np.float32)[np.newaxis]
    meter = sound.Meter()
    counted = sum(_clips(meter, piece) for piece in pieces(samples, size))
    expected = sum(len(run) for run in re.findall("1{3,}", "".join("1" if f else "0" for f in full)))
    assert counted == expected


def _clips(meter: sound.Meter, piece: Samples) -> int:
    meter.add(piece)
    before, meter._clipped = meter._clipped, 0  # pyright: ignore[reportPrivateUsage]
    return before


def test_a_peak_that_only_just_fits_is_no_clipping() -> None:
    samples = np.zeros((1, 100), np.float32)
    samples[0, 50:52] = 1.0
    assert sound.measured([samples]).clipped == 0


@pytest.mark.parametrize("gated", [False, True])
def test_the_distance_to_the_target_is_that_of_the_programme_or_of_the_dialogue(gated: bool) -> None:
    samples = np.concatenate([noise(4, channels=1) * 0.1, noise(4, channels=1)], axis=1).astype(np.float32)
    levels = sound.measured([samples])
    loud = sound.measured([samples[:, 4 * RATE_HZ :]])
    scores = {s.id: s.value for s in sound.loudness_scores(levels, -20.0, [Span(4, 8)], gated)}
    wanted = loud.integrated if gated else levels.integrated
    assert scores["L1.error"] == pytest.approx(abs(wanted + 20), abs=0.25)


def si_sdr(source: Samples, dub: Samples) -> float:
    """Straight from the definition."""
    s, o = source.astype(np.float64), dub.astype(np.float64)
    target = (o * s).sum() / (s * s).sum() * s
    return float(10 * np.log10((target**2).sum() / ((target - o) ** 2).sum()))


@pytest.mark.parametrize(("gain", "added"), [(1.0, 0.1), (0.3, 0.05), (2.0, 1.0)])
def test_the_background_is_judged_by_its_shape(gain: float, added: float) -> None:
    source = noise(3)
    dub = (gain * source + added * noise(3, seed=2)).astype(np.float32)
    kept = sound.Kept()
    for s, o in zip(pieces(source, 40_000), pieces(dub, 40_000), strict=True):
        kept.add(s, o, mask(s))
    assert kept.ratio_db() == pytest.approx(si_sdr(source, dub), abs=0.01)


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_an_untouched_background_is_perfect_at_any_level(gain: float) -> None:
    kept = sound.Kept()
    kept.add(noise(2), (noise(2) * np.float32(gain)), mask(noise(2)))
    assert kept.ratio_db() == math.inf
    score = kept.score()
    assert score is not None
    assert score.value == 120.0


def test_only_the_chosen_moments_count() -> None:
    source = noise(4)
    dub = source.copy()
    dub[:, : 2 * RATE_HZ] += 1.0
    kept = sound.Kept()
    kept.add(source, dub, sound.frames_in([Span(2.0, 4.0)], 0, source.shape[1]))
    assert kept.ratio_db() == math.inf
    assert kept.seconds == 2.0


def test_a_silent_source_or_too_short_a_moment_has_no_figure() -> None:
    kept = sound.Kept()
    kept.add(np.zeros((1, RATE_HZ), np.float32), noise(1), mask(noise(1)))
    assert kept.ratio_db() is None
    short = sound.Kept()
    short.add(noise(0.4), noise(0.4), mask(noise(0.4)))
    assert short.score() is None


@pytest.mark.parametrize("level_db", [-10.0, -20.0, -40.0])
def test_what_is_left_of_the_voice_is_told_beside_the_background(level_db: float) -> None:
    voice, bed = noise(3, seed=4), noise(3, seed=5)
    dub = (0.7 * (bed + 10 ** (level_db / 20) * voice)).astype(np.float32)
    residue = sound.Residue()
    for v, b, o in zip(pieces(voice, 50_000), pieces(bed, 50_000), pieces(dub, 50_000), strict=True):
        residue.add(v, b, o, mask(v))
    assert residue.ratio_db() == pytest.approx(level_db, abs=0.1)


def test_a_voice_without_background_is_told_against_itself() -> None:
    voice = noise(1, seed=4)
    residue = sound.Residue()
    residue.add(voice, 0 * voice, (0.1 * voice).astype(np.float32), mask(voice))
    assert residue.ratio_db() == pytest.approx(-20.0, abs=0.01)


def test_loud_music_is_not_taken_for_a_voice() -> None:
    voice, bed = noise(2, seed=4), 5 * noise(2, seed=5)
    residue = sound.Residue()
    residue.add(voice, bed, bed, mask(voice))
    assert (residue.ratio_db() or 0.0) < -60


def test_balance_is_the_change_of_the_distance() -> None:
    score = sound.balance((-20.0, -35.0), (-16.0, -28.0))
    assert score is not None
    assert score.value == 3.0
    assert sound.balance((-20.0, -120.0), (-16.0, -28.0)) is None


@pytest.mark.parametrize("late_ms", [-250.0, -12.5, 0.0, 1024 / 48, 80.0, 640.0])
def test_the_delay_of_the_background_is_found_under_another_voice(late_ms: float) -> None:
    bed = noise(8, seed=6)
    moved = np.roll(bed, round(late_ms * RATE_HZ / 1000), axis=1)
    delay = sound.Delay()
    voices = noise(8, seed=7), noise(8, seed=8)
    for a, b in zip(pieces(bed + voices[0], 3 * RATE_HZ), pieces(moved + 2 * voices[1], 3 * RATE_HZ), strict=True):
        delay.add(a, b)
    assert delay.seconds() == pytest.approx(late_ms / 1000, abs=1.1 / RATE_HZ)


def test_sounds_with_nothing_in_common_have_no_delay() -> None:
    delay = sound.Delay()
    delay.add(noise(6, seed=1), noise(6, seed=2))
    assert delay.seconds() is None
    silent = sound.Delay()
    silent.add(np.zeros((1, RATE_HZ), np.float32), noise(1))
    assert silent.seconds() is None
    assert sound.Delay().seconds() is None


def loudest(speech: Audio) -> Sequence[float]:
    """A detector that takes whatever is loud for speech."""
    count = -(-speech.samples.shape[1] // VAD_FRAME)
    padded = np.zeros((count, VAD_FRAME), np.float32)
    padded.reshape(-1)[: speech.samples.shape[1]] = speech.samples[0]
    assert speech.rate_hz == HEAR_HZ
    return [float(abs(frame).max() > 0.05) for frame in padded]


def test_speech_is_found_at_its_place_whatever_the_blocks() -> None:
    samples = np.zeros((1, 7 * RATE_HZ), np.float32)
    for start, stop in ((1.0, 2.5), (3.9, 6.0)):
        samples[:, round(start * RATE_HZ) : round(stop * RATE_HZ)] = 0.01
    found: list[tuple[Span, ...]] = []
    for size in (samples.shape[1], 4 * RATE_HZ + 1):
        listener = sound.Listener(loudest, 0.01)
        for piece in pieces(samples, size):
            listener.add(piece)
        found.append(listener.spans())
    for spans in found:
        assert [(s.start, s.end) for s in spans] == [pytest.approx((1.0, 2.5), abs=0.05), pytest.approx((3.9, 6.0), abs=0.05)]


def test_figures_can_be_written_as_json() -> None:
    levels = sound.measured([noise(1)])
    json.dumps([s.model_dump() for s in sound.loudness_scores(levels, -16.0, (), False)])
