"""Recordings of voices out of all sorts of media files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub.errors import NoAudioTrack, UnreadableMedia
from polydub.media.recordings import check_recording, read_recording


@pytest.mark.parametrize(
    ("rate_hz", "read_hz"), [(6_000, 8_000), (16_000, 16_000), (22_050, 22_050), (44_100, 44_100), (96_000, 48_000)]
)
def test_the_rate_is_the_files_own_within_limits(tmp_path: Path, rate_hz: int, read_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(rate_hz), rate_hz)
    found = read_recording(tmp_path / "a.wav", 10)
    assert found.rate_hz == read_hz and found.duration == pytest.approx(1.0, abs=0.01)


def test_mono_samples_are_read_exactly(tmp_path: Path) -> None:
    wave = np.random.default_rng(1).uniform(-1, 1, 24_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 24_000, subtype="FLOAT")
    assert np.array_equal(read_recording(tmp_path / "a.wav", 10).samples[0], wave)


def test_channels_are_mixed_and_only_so_much_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "-odd name.wav", np.tile([0.4, 0.0], (48_000, 1)), 16_000)
    found = read_recording(tmp_path / "-odd name.wav", 1.5)
    assert found.samples.shape == (1, 24_000) and found.samples.mean() == pytest.approx(0.2, abs=0.001)


def test_numbers_that_are_none_are_silent(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5, np.nan, np.inf, -np.inf] * 4000, np.float32), 16_000, subtype="FLOAT")
    assert np.isfinite(read_recording(tmp_path / "a.wav", 10).samples).all()


def test_the_sound_of_a_video_is_read(clip: Callable[..., Path]) -> None:
    found = read_recording(clip("talk", seconds=1.0), 10)
    assert (found.rate_hz, round(found.duration, 1)) == (48_000, 1.0)


def test_what_holds_no_sound_is_refused_by_name(tmp_path: Path, clip: Callable[..., Path]) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    (tmp_path / "b.m3u8").write_text("#EXTM3U\nfile:///etc/passwd\n")
    for path, kind in (("a.wav", UnreadableMedia), ("b.m3u8", UnreadableMedia), ("none.wav", UnreadableMedia)):
        with pytest.raises(kind):
            check_recording(tmp_path / path)
    with pytest.raises(NoAudioTrack, match=r"dumb\.mkv"):
        check_recording(clip("dumb", seconds=1.0, sound="none"))
