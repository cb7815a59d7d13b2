"""Joined FLAC files decode to their samples in a row, in every decoder, and can be entered anywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import StoreError
from polydub.media import ffmpeg
from polydub.media.flac import read_flac, write_flac
from polydub.media.splice import join_flac
from polydub.types import BLOCK, RATE_HZ

FRAME = 1152  # samples in a frame of libFLAC at the level in use
BLOCKS = 48  # of silence; more than 2**26 samples


def sound(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """A few tones in noise, as int32 of 24 bits in the upper part, shape (frames, channels)."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, np.newaxis] / RATE_HZ
    tones = 0.4 * np.sin(2 * np.pi * (200 + 90 * np.arange(channels) + 10 * seed) * t)
    return np.rint((tones + rng.normal(0, 0.01, (frames, channels))) * 2**23).astype(np.int32) << 8


def written(folder: Path, parts: Sequence[np.ndarray]) -> list[Path]:
    """Each of `parts` as a FLAC file like those of the store."""
    paths = [folder / f"part-{n}.flac" for n in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_flac(path, (part.T >> 8).astype(np.float32) / 2**23)
    return paths


def by_ffmpeg(path: Path, *, first: float = 0) -> np.ndarray:
    channels = soundfile.info(path).channels
    strict = [str(ffmpeg.program()), "-v", "error", "-xerror", "-err_detect", "crccheck+bitstream+explode", "-ss", str(first)]
    done = subprocess.run([*strict, "-i", str(path), "-f", "s32le", "-"], capture_output=True, check=True)
    assert done.stderr == b""
    return np.frombuffer(done.stdout, np.int32).reshape(-1, channels)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
@pytest.mark.parametrize("lengths", [(FRAME * 5,), (48_000, 4096, 30_001), (FRAME * 2, FRAME * 3, 77), (20, 5000, 16)])
def test_two_decoders_hear_the_parts_in_a_row(lengths: tuple[int, ...], channels: int, tmp_path: Path) -> None:
    parts = [sound(n, channels, seed) for seed, n in enumerate(lengths)]
    join_flac(written(tmp_path, parts), tmp_path / "all.flac")
    whole = np.concatenate(parts)
    heard, rate = soundfile.read(tmp_path / "all.flac", dtype="int32", always_2d=True)
    assert rate == RATE_HZ and np.array_equal(heard, whole)
    assert np.array_equal(by_ffmpeg(tmp_path / "all.flac"), whole)
    info = soundfile.info(tmp_path / "all.flac")
    assert (info.subtype, info.frames, info.channels) == ("PCM_24", sum(lengths), channels)


@given(st.lists(st.tuples(st.integers(1, 9000), st.booleans()), min_size=1, max_size=6))
def test_parts_of_any_length_come_through(tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, bool]]) -> None:
    folder = tmp_path_factory.getbasetemp()
    parts = [sound(n, 1, seed) * (not silent) for seed, (n, silent) in enumerate(asked)]
    join_flac(written(folder, parts), folder / "all.flac")
    assert np.array_equal(soundfile.read(folder / "all.flac", dtype="int32", always_2d=True)[0], np.concatenate(parts))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """25 minutes: silence and then a sound, so that sample numbers take one to six bytes."""
    folder = tmp_path_factory.mktemp("long")
    end = sound(100_000, 1)
    silence, last = written(folder, [np.zeros((BLOCK, 1), np.int32), end])
    join_flac([*[silence] * BLOCKS, last], folder / "all.flac")
    return folder / "all.flac", end


def test_a_long_file_is_whole(long: tuple[Path, np.ndarray]) -> None:
    path, end = long
    with soundfile.SoundFile(path) as file:
        assert file.frames == BLOCKS * BLOCK + 100_000
        for _ in range(BLOCKS):
            assert not file.read(BLOCK, dtype="int32").any()
        assert np.array_equal(file.read(dtype="int32"), end[:, 0])


def test_a_long_file_can_be_entered_anywhere(long: tuple[Path, np.ndarray]) -> None:
    path, end = long
    with soundfile.SoundFile(path) as file:
        for at in (99_000, 5000, 0, 31_337):
            file.seek(BLOCKS * BLOCK + at)
            assert np.array_equal(file.read(900, dtype="int32"), end[at : at + 900, 0])
        file.seek(BLOCKS * BLOCK - 10)
        assert np.array_equal(file.read(20, dtype="int32"), np.append(np.zeros(10, np.int32), end[:10]))
    assert np.array_equal(read_flac(path, BLOCKS * BLOCK + 50_000, 5), end[50_000:50_005].T / np.float32(2**31))


def test_ffmpeg_enters_where_it_is_told(tmp_path: Path) -> None:
    parts = [sound(70_000, 2, seed) for seed in range(4)]
    join_flac(written(tmp_path, parts), tmp_path / "all.flac")
    whole = np.concatenate(parts)
    for at in (24_000, 70_000, 139_999, 200_001, 230_000):
        assert np.array_equal(by_ffmpeg(tmp_path / "all.flac", first=at / RATE_HZ), whole[at:])


@pytest.mark.skipif(shutil.which("flac") is None, reason="needs the reference decoder")
def test_the_reference_decoder_finds_no_fault(tmp_path: Path, long: tuple[Path, np.ndarray]) -> None:
    join_flac(written(tmp_path, [sound(70_000, 2, n) for n in range(3)]), tmp_path / "all.flac")
    for path in (tmp_path / "all.flac", long[0]):
        done = subprocess.run(["flac", "-t", "-s", path], capture_output=True, text=True, check=True)
        assert "ERROR" not in done.stderr
    listed = subprocess.run(["metaflac", "--list", long[0]], capture_output=True, text=True, check=True).stdout
    assert "seek points: 49" in listed and f"total samples: {BLOCKS * BLOCK + 100_000}" in listed


def test_sound_that_looks_like_a_frame_is_sound(tmp_path: Path) -> None:
    """Full-scale noise is stored as it is, so that the sound of frame 3 can hold the header of frame 4."""
    noise = np.random.default_rng(4).integers(-(2**23), 2**23, (FRAME * 8, 1), dtype=np.int32) << 8
    plain = written(tmp_path, [noise])[0].read_bytes()
    header = next(plain[at : at + 6] for at in range(len(plain)) if plain[at : at + 5] == b"\xff\xf8\x3a\x0c\x04")
    noise[3 * FRAME + 500 :][:2, 0] = [int.from_bytes(header[n : n + 3] + b"\0", "big", signed=True) for n in (0, 3)]
    paths = written(tmp_path, [noise])
    assert paths[0].read_bytes().count(header) == 2
    join_flac([*paths, *paths], tmp_path / "all.flac")
    assert np.array_equal(by_ffmpeg(tmp_path / "all.flac"), np.concatenate([noise, noise]))


def test_the_joined_file_is_hardly_larger(tmp_path: Path) -> None:
    paths = written(tmp_path, [sound(480_000, 2, n) for n in range(2)])
    join_flac(paths, tmp_path / "all.flac")
    parts = sum(path.stat().st_size for path in paths)
    assert (tmp_path / "all.flac").stat().st_size < 1.002 * parts


def test_nothing_and_unlike_sounds_are_not_joined(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing"):
        join_flac([], tmp_path / "all.flac")
    mono, stereo = (*written(tmp_path, [sound(500, 1)]), tmp_path / "stereo.flac")
    write_flac(stereo, np.zeros((2, 500), np.float32))
    with pytest.raises(ValueError, match="formats"):
        join_flac([mono, stereo], tmp_path / "all.flac")


@pytest.mark.parametrize("harm", ["cut", "middle", "head", "missing"])
def test_a_damaged_sound_is_a_store_error(harm: str, tmp_path: Path) -> None:
    path = written(tmp_path, [sound(30_000)])[0]
    whole = bytearray(path.read_bytes())
    if harm == "cut":
        del whole[len(whole) // 2 :]
    elif harm == "middle":
        whole[whole.index(b"\xff\xf8", len(whole) // 2) + 4] ^= 1
    else:
        whole[:4] = b"RIFF"
    path.write_bytes(whole)
    if harm == "missing":
        path.unlink()
    with pytest.raises(StoreError):
        join_flac([path], tmp_path / "all.flac")


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process of its own")
def test_a_disk_that_fills_while_joining_is_a_store_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).uniform(-1, 1, (1, 96_000)).astype(np.float32)
    write_flac(tmp_path / "a.flac", noise)
    script = (
        "import resource, sys; from pathlib import Path; from polydub.media.splice import join_flac\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "here = Path(sys.argv[1])\n"
        "try:\n    join_flac([here / 'a.flac'] * 4, here / 'all.flac')\n"
        "except Exception as error:\n    print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "StoreError"
