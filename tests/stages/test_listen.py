"""Listening in blocks: nothing of what engines are given tells where a block of the film ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import layouts, signal
from polydub.engines.base import SpeechDetector
from polydub.engines.vad.silero import ENGINE as SILERO
from polydub.media.flac import read_flac, write_flac
from polydub.stages import listen
from polydub.stages.listen import Detected, excerpt, sound_of
from polydub.store import Store
from polydub.types import BLOCK, HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Part, Samples, Sound, Source, Speech, Track, Voice
from polydub.work import Work

ROUNDED = 2.0**-23  # half a step of 24 bits, twice
DOWN = RATE_HZ // HEAR_HZ


@dataclass
class Meter:
    """A detector that takes loud frames for speech, and remembers what it was given."""

    given: list[Audio] = field(default_factory=list)

    def probabilities(self, speech: Audio) -> Sequence[float]:
        self.given.append(speech)
        frames = np.pad(speech.samples[0], (0, -speech.samples.shape[1] % VAD_FRAME)).reshape(-1, VAD_FRAME)
        return tuple(np.minimum(1.0, 2 * np.abs(frames).max(axis=1)).tolist())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(tmp_path_factory.mktemp("store"))
    yield opened
    opened.close()


@pytest.fixture
def work(store: Store) -> Iterator[Work]:
    with store.scratch() as scratch:
        yield Work(store, scratch, 1, lambda share: None)


def in_blocks(work: Work, samples: Samples) -> Sound:
    """A film's sound as `extract` leaves it."""
    kept = []
    for at in range(0, samples.shape[1], BLOCK):
        file = work.scratch / "block.flac"
        write_flac(file, samples[:, at : at + BLOCK])
        kept.append(work.keep(file))
    return Sound(tuple(kept), samples.shape[0], samples.shape[1])


def noise(channels: int, frames: int) -> Samples:
    rounded = np.random.default_rng(frames).integers(-(2**22), 2**22, (channels, frames))
    return (rounded / 2**23).astype(np.float32)


def detected(work: Work, samples: Samples, vad: SpeechDetector) -> tuple[Detected, ...]:
    level = float(np.abs(samples).max(initial=0.0))
    return tuple(listen.detect(work, vad, near, level) for near in listen.nearby(in_blocks(work, samples)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [2 * BLOCK + BLOCK // 2, 2 * BLOCK + 1, BLOCK, 7])
def test_the_blocks_joined_are_the_whole_film_resampled_at_once(work: Work, channels: int, frames: int) -> None:
    samples = noise(channels, frames)
    found = detected(work, samples, Meter())
    assert [b.frames for b in found] == [
        -(-min((n + 1) * BLOCK, frames) // DOWN) - -(-n * BLOCK // DOWN) for n in range(len(found))
    ]
    joined = np.concatenate([read_flac(work.path(b.sound), 0, b.frames) for b in found], axis=1)
    expected = signal.resample(samples.mean(axis=0, keepdims=True), RATE_HZ, HEAR_HZ)
    assert joined.shape == expected.shape
    assert np.abs(joined - expected).max() <= ROUNDED


def test_a_detector_hears_two_seconds_of_lead_near_full_scale_and_its_answers_to_them_are_dropped(work: Work) -> None:
    samples = noise(1, BLOCK + 3 * RATE_HZ) * np.float32(0.01)
    meter = Meter()
    first, second = detected(work, samples, meter)
    assert [a.samples.shape[1] - b.frames for a, b in zip(meter.given, (first, second), strict=True)] == [0, 62 * VAD_FRAME]
    assert 0.85 < np.abs(meter.given[0].samples).max() <= 1, "a quiet film is judged at its own level"
    assert [len(b.probabilities) for b in (first, second)] == [-(-b.frames // VAD_FRAME) for b in (first, second)]


def test_digital_silence_is_not_blown_up(work: Work) -> None:
    meter = Meter()
    (only,) = detected(work, np.zeros((2, RATE_HZ), np.float32), meter)
    assert not np.abs(meter.given[0].samples).any()
    assert set(only.probabilities) == {0.0}


def test_speech_that_goes_on_into_the_next_block_is_one_span(work: Work) -> None:
    samples = np.zeros((1, 2 * BLOCK + RATE_HZ), np.float32)
    for start, end in ((5.0, 6.5), (29.0, 31.0), (59.8, 60.9)):
        samples[:, round(start * RATE_HZ) : round(end * RATE_HZ)] = 0.5 * np.sign(noise(1, round((end - start) * RATE_HZ)))
    heard = listen.speech(work, detected(work, samples, Meter()), 0.5)
    found = [(s.start, s.end) for s in heard.spans]
    assert np.allclose(found, [(4.9, 6.6), (28.9, 31.1), (59.7, 60.99)], atol=0.05)
    assert heard.frames == -(-samples.shape[1] // DOWN)
    assert all(a.end <= b.start for a, b in pairwise(heard.spans))
    assert heard.spans[-1].end <= heard.duration


def test_no_speech_gives_no_spans(work: Work) -> None:
    assert listen.speech(work, detected(work, np.zeros((1, BLOCK + 1), np.float32), Meter()), 0.3).spans == ()


@pytest.fixture(scope="module")
def ramp(store: Store) -> tuple[Speech, Samples]:
    """A Speech of 2.5 blocks in which every sample is another, and all of it in one piece."""
    whole = (np.arange(-(-5 * BLOCK // 2 // DOWN)) / 2**23).astype(np.float32)[np.newaxis]
    kept = []
    edges = [-(-n * BLOCK // DOWN) for n in range(3)] + [whole.shape[1]]
    with store.scratch() as scratch:
        for low, high in pairwise(edges):
            write_flac(scratch / "b.flac", whole[:, low:high], HEAR_HZ)
            kept.append(store.keep(scratch / "b.flac"))
    return Speech(tuple(kept), whole.shape[1], ()), whole


NEAR = st.builds(lambda n, off: n * BLOCK / RATE_HZ + off / 1000, st.integers(0, 3), st.integers(-40, 40))
ANYWHERE = st.integers(-1000, 80_000).map(lambda ms: ms / 1000)


@given(start=NEAR | ANYWHERE, length=st.integers(0, 500).map(lambda ms: ms / 1000) | st.sampled_from([29.995, 30.0, 61.0]))
def test_an_excerpt_holds_exactly_the_samples_asked_for(
    ramp: tuple[Speech, Samples], store: Store, start: float, length: float
) -> None:
    heard, whole = ramp
    part = excerpt(heard, start, start + length)
    with store.scratch() as scratch:
        found = sound_of(Work(store, scratch, 1, lambda share: None), part)
    assert found.rate_hz == HEAR_HZ
    assert np.array_equal(found.samples, whole[:, round(part.start * HEAR_HZ) : round(part.end * HEAR_HZ)])
    assert 0 <= part.start <= part.end <= heard.duration + 0.0005
    if start >= 0 and start + length <= heard.duration:
        assert (part.start, part.end) == (round(start, 3), round(start + length, 3))


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Speech with pauses for more than two blocks, mono at RATE_HZ."""
    from polydub.engines.tts.espeak import ENGINE

    text = "We walked along the river until the evening came. Nobody said a word, and then all of us began to laugh."
    with ENGINE.load(ENGINE.options(), {}, "cpu") as tts:
        said = tts.synthesize(Part(text, "en", Voice("espeak-ng", "en-us+m3", "en")))
    once = signal.resample(said.samples, said.rate_hz, RATE_HZ)[:, : 7 * RATE_HZ]
    return 0.8 * np.tile(np.pad(once, ((0, 0), (0, RATE_HZ // 3))), (1, 11))[:, : 2 * BLOCK + BLOCK // 4]


def test_silero_says_at_a_blocks_begin_what_it_says_when_it_heard_all_before(work: Work, talk: Samples) -> None:
    with SILERO.load(SILERO.options(), {}, "cpu") as vad:
        blocks = detected(work, talk, vad)
        whole = signal.resample(talk, RATE_HZ, HEAR_HZ) * np.float32(0.9 / np.abs(talk).max())
        apart, decided = [], []
        for number in (1, 2):
            start = -(-number * BLOCK // DOWN)
            skipped = start % VAD_FRAME  # so that the frames of both begin at the same samples
            expected = vad.probabilities(Audio(np.ascontiguousarray(whole[:, skipped:]), HEAR_HZ))[start // VAD_FRAME :]
            found = blocks[number].probabilities
            apart.append(np.abs(np.array(found[:150]) - np.array(expected[: len(found)][:150])))
            decided.append((np.array(found[:150]) > 0.5) != (np.array(expected[: len(found)][:150]) > 0.5))
    assert np.mean(apart) < 0.03, "its memory is longer than any lead, but what differs is little"
    assert np.mean(decided) < 0.03
    assert max(blocks[1].probabilities) > 0.9


LEVELS = {"FL": 0.1, "FR": 0.15, "FC": 0.2, "LFE": 0.25, "BL": 0.3, "BR": 0.35, "SL": 0.4, "SR": 0.45}


@dataclass(frozen=True)
class Clip:
    """A film of which only the sound matters."""

    source: Source
    track: Track


def clip(work: Work, folder: Path, layout: str, names: Sequence[str], name: str = "film.mov") -> Clip:
    """Two seconds in which every channel has its own loudness."""
    steady = np.repeat(np.array([[LEVELS.get(name, 0.05) for name in names]], np.float32), 2 * RATE_HZ, axis=0)
    soundfile.write(folder / "steady.wav", steady, RATE_HZ, subtype="FLOAT")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-channel_layout", layout, "-i", folder / "steady.wav"]
    subprocess.run([*command, "-c:a", "pcm_s24le", folder / name], check=True)
    source = listen.probe.function(work, work.keep(folder / name))
    return Clip(source, source.of("audio")[0])


@pytest.mark.parametrize("layout", ["5.1", "5.1(side)", "7.1", "stereo"])
def test_a_film_keeps_its_layout(work: Work, tmp_path: Path, layout: str) -> None:
    names = layouts.channels(layout)
    film = clip(work, tmp_path, layout, names)
    sound = listen.extract.function(work, film.source, film.track).sound
    assert (sound.channels, sound.layout) == (len(names), "" if layout == "stereo" else layout)
    heard = read_flac(work.path(sound.blocks[0]), RATE_HZ, 1)[:, 0]
    assert np.allclose(heard, [LEVELS[name] for name in names], atol=1e-5)
    assert not work.notices


@pytest.mark.parametrize(
    ("layout", "code", "becomes"),
    [("quad", "layout-changed", "5.0"), ("6.1", "layout-changed", "7.1"), ("5.1.2", "layout-downmixed", "")],
)
def test_a_layout_that_cannot_be_kept_is_told(work: Work, tmp_path: Path, layout: str, code: str, becomes: str) -> None:
    names = layouts.channels(layout) if layout != "5.1.2" else ("FL", "FR", "FC", "LFE", "SL", "SR", "TFL", "TFR")
    film = clip(work, tmp_path, layout, names)
    assert film.track.layout == layout
    sound = listen.extract.function(work, film.source, film.track).sound
    assert (sound.layout, sound.channels) == (becomes, len(layouts.channels(becomes, 2)))
    assert [notice.code for notice in work.notices] == [code]


def test_six_channels_without_a_layout_are_taken_for_surround_sound(work: Work, tmp_path: Path) -> None:
    names = layouts.channels("5.1")
    film = clip(work, tmp_path, "5.1", names, "film.mkv")
    assert film.track.layout == "6 channels"
    sound = listen.extract.function(work, film.source, film.track).sound
    assert sound.layout == "5.1"
    assert np.allclose(read_flac(work.path(sound.blocks[0]), RATE_HZ, 1)[:, 0], [LEVELS[name] for name in names], atol=1e-5)
    assert [notice.code for notice in work.notices] == ["layout-changed"]


def test_the_centre_is_what_is_listened_to_most(work: Work) -> None:
    names = layouts.channels("5.1")
    loud = {}
    for name in names:
        samples = np.zeros((6, RATE_HZ), np.float32)
        samples[names.index(name)] = 0.4 * np.sin(np.arange(RATE_HZ) / 20)
        sound = replace(in_blocks(work, samples), layout="5.1")
        (found,) = (listen.detect.function(work, Meter(), near, 0.4) for near in listen.nearby(sound))
        loud[name] = float(np.abs(read_flac(work.path(found.sound), 1000, 10_000)).max())
    assert loud["FC"] == pytest.approx(0.2, abs=0.01)
    assert loud["FL"] == loud["FR"] == pytest.approx(0.1, abs=0.01)
    assert loud["LFE"] == loud["BL"] == loud["BR"] == 0
