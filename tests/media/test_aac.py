"""AAC in blocks: the joined stream is in time, without seams, and the same every time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from flash_clips import ff, probe, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.audio import layouts
from polydub.media import ffmpeg
from polydub.types import FRAME, RATE_HZ, Samples

PREROLL, AHEAD = 64 * FRAME, 2 * FRAME


def speechlike(seconds: float, channels: int, seed: int = 0) -> Samples:
    """Noise and tones that start and stop."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * RATE_HZ)
    t = np.arange(frames) / RATE_HZ
    gate = np.clip(np.sin(2 * np.pi * 2.3 * t) * 3, 0, 1)
    voice = sum(0.2 / k * np.sin(2 * np.pi * 140 * k * t + k) for k in range(1, 12))
    sound = gate * voice + 0.003 * rng.normal(size=(channels, frames))
    return np.ascontiguousarray(sound, np.float32)


def encode(samples: Samples, cut: ffmpeg.Cut, kbit_s: int = 96) -> ffmpeg.AacBlock:
    with TemporaryDirectory() as folder:
        return ffmpeg.encode_aac_block(samples, cut, kbit_s, Path(folder))


def in_blocks(film: Samples, size: int, kbit_s: int = 96) -> list[ffmpeg.AacBlock]:
    """`film` encoded block by block, each from its own neighbourhood only."""

    def one(first: int) -> ffmpeg.AacBlock:
        start, frames = max(0, first - PREROLL), min(size, film.shape[1] - first)
        return encode(film[:, start : first + frames + AHEAD], ffmpeg.Cut(start, first, frames), kbit_s)

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(one, range(0, film.shape[1], size)))


def error_db(heard: Samples, film: Samples) -> float:
    power = np.mean((heard.astype(float) - film) ** 2) / np.mean(film.astype(float) ** 2)
    return float(10 * np.log10(power + 1e-12))


@pytest.mark.parametrize("channels", [1, 2])
def test_decoded_sample_j_is_film_sample_j(channels: int) -> None:
    film = speechlike(8, channels)
    stream = b"".join(block.packets for block in in_blocks(film, 100 * FRAME, 96 * channels))
    heard = ffmpeg.decode_aac(stream, channels)
    inner = slice(FRAME, min(film.shape[1], heard.shape[1]))
    assert heard.dtype == np.float32
    assert error_db(heard[:, inner], film[:, inner]) < -20
    for lag in (-1024, -1, 1, 1024):
        assert error_db(np.roll(heard, lag, axis=1)[:, inner], film[:, inner]) > error_db(heard[:, inner], film[:, inner]) + 3


def test_the_joins_are_not_worse_than_the_middle_of_blocks() -> None:
    film, size = speechlike(30, 1), 70 * FRAME
    heard = ffmpeg.decode_aac(b"".join(b.packets for b in in_blocks(film, size)), 1)

    def worst(at: int) -> float:
        return max(error_db(heard[:, k : k + FRAME], film[:, k : k + FRAME]) for k in range(at - FRAME, at + 5 * FRAME, FRAME))

    joins = range(size, heard.shape[1] - 45 * FRAME, size)
    excess = np.array([worst(at) for at in joins]) - np.array([worst(at + size // 2) for at in joins])
    assert len(excess) > 15
    assert np.median(excess) < 3


def test_an_edit_changes_only_the_blocks_near_it() -> None:
    film = speechlike(20, 1)
    edited = film.copy()
    edited[:, 9 * RATE_HZ : 10 * RATE_HZ] *= 0.5
    size = 100 * FRAME
    before, after = in_blocks(film, size), in_blocks(edited, size)
    changed = [n for n, (one, two) in enumerate(zip(before, after, strict=True)) if one != two]
    assert changed in ([4], [4, 5])  # 2.13 s a block: the edit lies in block 4 and in the pre-roll of block 5


def test_the_same_samples_give_the_same_bytes() -> None:
    film = speechlike(3, 2)
    assert in_blocks(film, 50 * FRAME) == in_blocks(film, 50 * FRAME)


@settings(max_examples=15)
@given(frames=st.integers(1, 5 * FRAME), channels=st.sampled_from([1, 2]))
def test_the_length_is_the_films_to_half_an_aac_frame(frames: int, channels: int) -> None:
    film = tone(frames / RATE_HZ, channels)
    blocks = in_blocks(film, 2 * FRAME)
    heard = ffmpeg.decode_aac(b"".join(b.packets for b in blocks), channels)
    assert heard.shape[0] == channels and heard.shape[1] % FRAME == 0
    assert heard.shape[1] == FRAME or abs(heard.shape[1] - frames) <= FRAME // 2


def test_a_block_alone_sounds_as_it_does_in_the_stream() -> None:
    film, size = speechlike(6, 2), 60 * FRAME
    blocks = in_blocks(film, size, 192)
    stream = ffmpeg.decode_aac(b"".join(b.packets for b in blocks), 2)
    for number, block in enumerate(blocks):
        alone = block.heard
        there = stream[:, number * size : number * size + alone.shape[1]]
        assert np.array_equal(alone[:, FRAME:], there[:, FRAME:])  # no dice in the decoder
        assert np.abs(alone - there).max() < 0.05  # the first frame overlaps with the neighbour's own encoding


def test_silence_stays_silent_and_loud_sound_is_not_clipped() -> None:
    silence = np.zeros((1, 20 * FRAME), np.float32)
    assert np.abs(encode(silence, ffmpeg.Cut(0, 0, silence.shape[1])).heard).max() < 1e-6
    loud = 1.5 * np.sign(tone(0.5)).astype(np.float32)
    assert np.abs(encode(loud, ffmpeg.Cut(0, 0, loud.shape[1]), 128).heard).max() > 1.2


def test_no_packets_decode_to_no_sound() -> None:
    assert ffmpeg.decode_aac(b"", 2).shape == (2, 0)
    with pytest.raises(ValueError, match="ADTS"):
        ffmpeg.decode_aac(bytes(20), 1)


def test_blocks_must_begin_at_whole_frames() -> None:
    for start, first in ((1, FRAME), (0, 5), (2 * FRAME, FRAME)):
        with pytest.raises(ValueError, match="whole AAC frames"):
            encode(tone(1), ffmpeg.Cut(start, first, FRAME))


def test_other_programs_read_the_joined_stream(tmp_path: Path) -> None:
    film = speechlike(4, 2)
    stream = tmp_path / "dub.aac"
    stream.write_bytes(b"".join(b.packets for b in in_blocks(film, 50 * FRAME, 192)))
    ffmpeg.run(["-xerror", "-f", "aac", "-i", str(stream), str(tmp_path / "dub.wav")], stage="test")
    with av.open(str(stream)) as container:
        track = container.streams.audio[0]
        assert (track.rate, track.channels, track.codec_context.profile) == (RATE_HZ, 2, "LC")
        assert sum(frame.samples for frame in container.decode(track)) == (film.shape[1] + FRAME // 2) // FRAME * FRAME


TONES_HZ = {"FL": 300, "FR": 400, "FC": 500, "LFE": 60, "BL": 600, "BR": 700, "BC": 750, "SL": 800, "SR": 900}
TOLD = {"5.0(side)": "5.0", "5.1(side)": "5.1"}  # AAC does not tell the side from the back


def tones(layout: str, seconds: float) -> Samples:
    """A tone of its own in each channel."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    names = layouts.channels(layout)
    return np.stack([0.2 * np.sin(2 * np.pi * TONES_HZ[name] * t) for name in names]).astype(np.float32)


def loudest_hz(samples: Samples) -> list[float]:
    spectrum = np.abs(np.fft.rfft(samples[:, RATE_HZ : 2 * RATE_HZ], axis=1))
    return [float(hz) for hz in spectrum.argmax(axis=1)]


@pytest.mark.parametrize("container", ["mkv", "mp4"])
@pytest.mark.parametrize("layout", layouts.CARRIED)
def test_every_channel_is_where_it_was_in_either_container(layout: str, container: str, tmp_path: Path) -> None:
    film = tones(layout, 3)
    size, kbit_s = 50 * FRAME, 96 * film.shape[0]
    blocks: list[ffmpeg.AacBlock] = []
    for first in range(0, film.shape[1], size):
        start, frames = max(0, first - PREROLL), min(size, film.shape[1] - first)
        around = film[:, start : first + frames + AHEAD]
        blocks.append(ffmpeg.encode_aac_block(around, ffmpeg.Cut(start, first, frames), kbit_s, tmp_path, layout))
    (tmp_path / "dub.aac").write_bytes(b"".join(block.packets for block in blocks))
    joined = tmp_path / f"dub.{container}"
    ff("-f", "aac", "-i", tmp_path / "dub.aac", "-c", "copy", joined)

    (track,) = probe(joined).tracks
    assert (track.codec, track.channels, track.layout) == ("aac", film.shape[0], TOLD.get(layout, layout))
    ff("-i", joined, "-f", "f32le", tmp_path / "heard.f32")
    heard = np.fromfile(tmp_path / "heard.f32", np.float32).reshape(-1, film.shape[0]).T
    expected = [float(TONES_HZ[name]) for name in layouts.channels(layout)]
    assert loudest_hz(heard) == expected
    told = np.concatenate([block.heard for block in blocks], axis=1)
    assert loudest_hz(told) == expected
    end = min(heard.shape[1], told.shape[1])
    inner = np.abs(heard[:, FRAME : end - FRAME] - told[:, FRAME : end - FRAME])
    assert np.median(inner) < 1e-4 and inner.max() < 0.1, "what a player hears is what was measured"
