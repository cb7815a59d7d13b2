"""Loudness against independent meters: ffmpeg's ebur128 and pyloudnorm; the EBU's own tone cases."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from polydub.audio import layouts, loudness
from polydub.types import RATE_HZ, Samples, Span


def programme(seconds: float, channels: int = 2, seed: int = 1) -> Samples:
    """Coloured noise that swells and pauses."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * RATE_HZ)
    noise = np.cumsum(rng.normal(size=(channels, frames)), axis=1)
    noise -= np.convolve(noise[0], np.ones(999) / 999, "same")
    swell = 0.1 + np.abs(np.sin(2 * np.pi * 0.21 * np.arange(frames) / RATE_HZ))
    edges = np.minimum(1, np.minimum(np.arange(frames), np.arange(frames)[::-1]) / 4800)  # a sudden start has no true peak
    shaped = swell * edges * noise
    return (0.08 * shaped / np.sqrt(np.mean(shaped**2))).astype(np.float32)


def in_blocks(samples: Samples, size: int, layout: str = "") -> np.ndarray:
    """The cells of a film that is measured block by block."""
    parts = []
    for first in range(0, samples.shape[1], size):
        low = max(0, first - loudness.SETTLE)
        parts.append(loudness.energies(samples[:, low : first + size], first, first - low, layout))
    return loudness.join(parts)


def ebur128(samples: Samples, folder: Path, layout: str = "") -> dict[str, float]:
    """Integrated loudness, range and true peak as ffmpeg measures them."""
    file = folder / "sound.wav"
    soundfile.write(file, samples.T, RATE_HZ, subtype="FLOAT")
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-nostdin",
        "-hide_banner",
        *(["-channel_layout", layout] if layout else []),
        "-i",
        file,
        "-af",
        "ebur128=peak=true",
        "-f",
        "null",
        "-",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    summary = said[said.rindex("Summary:") :]
    found = {name: float(re.search(rf"{name}:\s+(-?[\d.]+)", summary)[1]) for name in ("I", "LRA", "Peak")}  # type: ignore[index]
    return found


@pytest.mark.parametrize("channels", [1, 2])
def test_programme_figures_agree_with_ffmpeg(tmp_path: Path, channels: int) -> None:
    sound = programme(25, channels)
    cells = in_blocks(sound, 7 * RATE_HZ + 1234)
    theirs = ebur128(sound, tmp_path)
    assert loudness.integrated(cells) == pytest.approx(theirs["I"], abs=0.1)
    assert loudness.loudness_range(cells) == pytest.approx(theirs["LRA"], abs=0.6)
    assert 20 * np.log10(loudness.true_peak(sound)) == pytest.approx(theirs["Peak"], abs=0.2)


@pytest.mark.parametrize("layout", ["3.0", "5.0", "5.1", "5.1(side)", "7.1"])
def test_surround_sound_measures_as_in_ffmpeg(tmp_path: Path, layout: str) -> None:
    names = layouts.channels(layout)
    level = {"FC": 1.0, "LFE": 3.0, "FL": 0.3, "FR": 0.3, "BL": 0.8, "BR": 0.8, "SL": 0.9, "SR": 0.9}
    if layout == "7.1":
        level |= {"BL": 0.0, "BR": 0.0}  # ffmpeg takes them for surrounds; BS.1770-4 does not where there are side ones
    sound = np.concatenate([programme(12, 1, seed) * np.float32(level[name]) for seed, name in enumerate(names)])
    cells = in_blocks(sound, 5 * RATE_HZ, layout)
    assert loudness.integrated(cells) == pytest.approx(ebur128(sound, tmp_path, layout)["I"], abs=0.1)


@pytest.mark.parametrize(("channels", "layout"), [(2, ""), (5, "5.0")])
def test_programme_loudness_agrees_with_pyloudnorm(channels: int, layout: str) -> None:
    sound = programme(12, channels)
    theirs = pyloudnorm.Meter(RATE_HZ).integrated_loudness(sound.T.astype(np.float64))
    assert loudness.integrated(in_blocks(sound, RATE_HZ * 5, layout)) == pytest.approx(theirs, abs=0.1)


def test_dialogue_is_measured_where_it_is_and_without_a_gate() -> None:
    sound = (0.05 * np.random.default_rng(4).normal(size=(2, 20 * RATE_HZ))).astype(np.float32)
    spans = [Span(3, 7), Span(12, 14.5)]
    apart = np.concatenate([sound[:, int(s.start * RATE_HZ) : int(s.end * RATE_HZ)] for s in spans], axis=1)
    found = loudness.spoken(in_blocks(sound, 6 * RATE_HZ), spans)
    assert found == pytest.approx(loudness.whole(apart), abs=0.05)
    quieter = sound.copy()
    quieter[:, 12 * RATE_HZ : int(14.5 * RATE_HZ)] = 0  # a gate would not see it
    assert loudness.spoken(in_blocks(quieter, 6 * RATE_HZ), spans) < found - 1
    assert loudness.spoken(in_blocks(sound, 6 * RATE_HZ), []) == loudness.SILENT_LUFS
    assert loudness.spoken(np.zeros(0), spans) == loudness.SILENT_LUFS


@pytest.mark.parametrize(
    ("levels", "expected"),
    [([(-23, 20)], -23.0), ([(-33, 20)], -33.0), ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
     ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0)],
)  # fmt: skip
def test_the_tones_of_ebu_tech_3341(levels: list[tuple[float, float]], expected: float) -> None:
    pieces = []
    for level, seconds in levels:
        t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        pieces.append(10 ** (level / 20) * np.sin(2 * np.pi * 1000 * t))
    tone = np.concatenate(pieces).astype(np.float32)
    assert loudness.integrated(in_blocks(np.stack([tone, tone]), 30 * RATE_HZ)) == pytest.approx(expected, abs=0.1)


@given(size=st.integers(RATE_HZ // 2, 3 * RATE_HZ))
def test_blocks_of_any_size_give_the_same_cells(size: int) -> None:
    sound = programme(4, 1)
    whole, parts = in_blocks(sound, sound.shape[1]), in_blocks(sound, size)
    assert len(whole) == len(parts)
    assert np.allclose(whole, parts, rtol=1e-3, atol=1e-6)


def test_silence_and_nothing_have_a_defined_loudness() -> None:
    silence = np.zeros((2, RATE_HZ), np.float32)
    assert loudness.integrated(in_blocks(silence, RATE_HZ)) == loudness.SILENT_LUFS
    assert loudness.integrated(loudness.join([])) == loudness.SILENT_LUFS
    assert loudness.whole(silence[:, :0]) == loudness.SILENT_LUFS
    assert loudness.true_peak(silence) == 0.0
    assert loudness.true_peak(silence[:, :0]) == 0.0
    assert loudness.loudness_range(np.zeros(0)) == 0.0


@pytest.mark.parametrize("hz", [997.0, 5000.3, 11999.7, 15000.3])
def test_true_peak_finds_what_lies_between_samples(hz: float) -> None:
    t = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.5 * np.sin(2 * np.pi * hz * t + 0.7) * np.hanning(RATE_HZ)).astype(np.float32)[np.newaxis]
    reference = float(np.abs(resample_poly(tone.astype(np.float64), 64, 1, axis=1)).max())
    assert loudness.true_peak(tone) == pytest.approx(reference, rel=0.02)


def test_the_talk_is_measured_without_the_bed_beneath_it() -> None:
    rng = np.random.default_rng(3)
    bed = (0.02 * rng.normal(size=(1, 20 * RATE_HZ))).astype(np.float32)
    talk = np.zeros_like(bed)
    spans = [Span(2, 6), Span(9, 14)]
    for span in spans:
        inside = slice(int(span.start * RATE_HZ), int(span.end * RATE_HZ))
        talk[:, inside] = 0.1 * rng.normal(size=(1, inside.stop - inside.start))
    alone = loudness.whole(talk[:, 2 * RATE_HZ : 6 * RATE_HZ])
    level = loudness.dialogue_level(in_blocks(talk + bed, 6 * RATE_HZ), spans)
    assert level.dialogue == pytest.approx(alone, abs=0.3)
    assert level.bed == pytest.approx(loudness.whole(bed), abs=0.5)
    assert loudness.dialogue_level(in_blocks(bed, 6 * RATE_HZ), []).dialogue == loudness.SILENT_LUFS
