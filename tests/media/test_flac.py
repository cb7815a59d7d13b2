from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polydub.errors import StoreError
from polydub.media.flac import read_flac, write_flac

TWENTY_FOUR_BITS = 2.0**-23


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 600)), elements=st.floats(-1.5, 1.5, width=32)))
def test_a_round_trip_rounds_to_24_bits_and_clips(tmp_path_factory: pytest.TempPathFactory, samples: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-{samples.shape[0]}.flac"
    write_flac(path, samples)
    back = read_flac(path, 0, 1000)
    assert back.dtype == np.float32 and back.shape == samples.shape
    assert np.abs(back - np.clip(samples, -1, 1 - TWENTY_FOUR_BITS)).max() <= TWENTY_FOUR_BITS


def test_what_was_read_is_written_again_unchanged(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (2, 5000)).astype(np.float32)
    write_flac(tmp_path / "a.flac", samples)
    once = read_flac(tmp_path / "a.flac", 0, 5000)
    write_flac(tmp_path / "b.flac", once)
    assert np.array_equal(read_flac(tmp_path / "b.flac", 0, 5000), once)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_the_file_is_24_bit_flac_at_48_khz(tmp_path: Path) -> None:
    write_flac(tmp_path / "a.flac", np.zeros((2, 100), np.float32))
    info = soundfile.info(tmp_path / "a.flac")
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_24", 48000, 2)


def test_a_part_is_read_and_the_end_ends(tmp_path: Path) -> None:
    samples = np.linspace(-0.5, 0.5, 10_000, dtype=np.float32)[np.newaxis]
    write_flac(tmp_path / "a.flac", samples)
    assert np.allclose(read_flac(tmp_path / "a.flac", 4000, 50), samples[:, 4000:4050], atol=TWENTY_FOUR_BITS)
    assert read_flac(tmp_path / "a.flac", 9990, 50).shape == (1, 10)
    assert read_flac(tmp_path / "a.flac", 20_000, 50).shape == (1, 0)


def test_no_sound_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sound"):
        write_flac(tmp_path / "a.flac", np.zeros((1, 0), np.float32))
    assert not (tmp_path / "a.flac").exists()


def test_a_damaged_or_missing_sound_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "bad.flac").write_bytes(b"not sound")
    for name in ("bad.flac", "missing.flac"):
        with pytest.raises(StoreError):
            read_flac(tmp_path / name, 0, 10)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="No space left"):
        write_flac(Path("/dev/full"), np.zeros((1, 1000), np.float32))
