"""Long sounds as files that are mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub.audio import pcm
from polydub.errors import BadInput
from polydub.types import HEAR_HZ


def test_what_is_written_in_pieces_is_mapped_as_one_and_other_programs_read_it(tmp_path: Path) -> None:
    sound = np.random.default_rng(1).normal(0, 0.3, (1, 40_000)).astype(np.float32)
    file = tmp_path / "a.wav"
    assert pcm.write_pcm(file, (sound[:, :7], sound[:, 7:7], sound[:, 7:])) == 40_000
    audio = pcm.mapped(file)
    assert audio.rate_hz == HEAR_HZ
    np.testing.assert_array_equal(audio.samples, sound)
    read, rate = soundfile.read(file, dtype="float32")
    assert rate == HEAR_HZ
    np.testing.assert_array_equal(read, sound[0])


def test_changing_what_is_mapped_changes_no_file(tmp_path: Path) -> None:
    pcm.write_pcm(tmp_path / "a.wav", [np.ones((1, 10), np.float32)])
    before = (tmp_path / "a.wav").read_bytes()
    pcm.mapped(tmp_path / "a.wav").samples[:] = 0
    assert (tmp_path / "a.wav").read_bytes() == before


def test_no_sound_is_a_file_too(tmp_path: Path) -> None:
    assert pcm.write_pcm(tmp_path / "a.wav", []) == 0
    assert pcm.mapped(tmp_path / "a.wav").samples.shape == (1, 0)


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, np.zeros(100), 16_000, "PCM_16")
    with pytest.raises(BadInput, match="32-bit floats"):
        pcm.mapped(file)
    pcm.write_pcm(file, [np.ones((1, 10), np.float32)])
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(BadInput, match="damaged"):
        pcm.mapped(file)
    file.write_bytes(b"no sound")
    with pytest.raises(BadInput, match="not a sound"):
        pcm.mapped(file)
