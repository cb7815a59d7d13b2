"""Dialogue comes out block by block, and nothing is heard where blocks meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import loudness, stems
from polydub.engines.separation.mask import PauseMask
from polydub.errors import BadEngineOutput
from polydub.media.flac import read_flac, write_flac
from polydub.stages import separate
from polydub.stages.separate import CONTEXT, CUT_S, Separated, Separating
from polydub.store import Store
from polydub.types import BLOCK, RATE_HZ, Artifact, Audio, Energies, Samples, Sound, Span, Speech
from polydub.work import Work

BLOCK_S = BLOCK / RATE_HZ


def no_file(number: int) -> Artifact:
    return Artifact(f"{number:064x}", ".flac", 1)


def film(seconds: float, spans: Sequence[Span]) -> tuple[Separating, ...]:
    frames = round(seconds * RATE_HZ)
    blocks = tuple(no_file(n) for n in range(-(-frames // BLOCK)))
    return separate.pieces(Sound(blocks, 2, frames), Speech((), frames // 3, tuple(spans)))


def test_there_is_a_piece_for_each_block_with_the_speech_around_it() -> None:
    made = film(100, [Span(2, 4), Span(34, 36), Span(45, 46), Span(80, 81)])
    assert [piece.near.number for piece in made] == [0, 1, 2, 3]
    assert made[0].spans == (Span(2, 4), Span(34, 36))
    assert made[1].spans == (Span(34, 36), Span(45, 46))
    assert made[3].spans == ()
    assert film(0, []) == ()


def test_a_change_far_away_is_no_change_for_a_block() -> None:
    before, after = film(120, [Span(2, 4), Span(100, 109)]), film(120, [Span(2, 4), Span(70, 71), Span(100, 108)])
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, False, True]


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 60)), max_size=8))
def test_speech_is_cut_into_short_parts_and_alike_for_all_blocks(lengths: list[tuple[float, float]]) -> None:
    spans, at = list[Span](), 0.0
    for pause, length in lengths:
        spans.append(Span(round(at + pause, 3), round(at + pause + length, 3)))
        at = spans[-1].end
    made = film(at + 10, spans)
    for piece in made:
        assert all(0 < span.duration <= CUT_S + 0.002 for span in piece.spans)
        begin, end = piece.near.number * BLOCK_S, (piece.near.number + 1) * BLOCK_S
        touching = [s for s in piece.spans if s.end > begin and s.start < end]
        covered = sum(s.overlap(Span(begin, end)) for s in touching)
        assert covered == pytest.approx(sum(s.overlap(Span(begin, end)) for s in spans), abs=0.02)
    for one, two in pairwise(made):  # what crosses a join is the same for both
        join = two.near.number * BLOCK_S
        assert [s for s in one.spans if s.start < join < s.end] == [s for s in two.spans if s.start < join < s.end]


def test_blocks_that_could_not_be_separated_are_told_as_spans() -> None:
    blocks = [Separated(None, Energies(0, ()), worked) for worked in (True, False, False, True, False)]
    frames = 4 * BLOCK + RATE_HZ
    assert separate.unseparated(blocks, frames) == (Span(29.995, 89.984), Span(119.979, 120.979))
    assert separate.unseparated(blocks[:1], BLOCK) == () == separate.unseparated([], 0)


def test_everywhere_is_asked_where_songs_are_wanted() -> None:
    frames = round(100 * RATE_HZ)
    blocks = tuple(no_file(n) for n in range(-(-frames // BLOCK)))
    made = separate.pieces(Sound(blocks, 2, frames), Speech((), 0, ()), everywhere=True)
    for piece in made:
        begin, end = piece.near.number * BLOCK_S, min(100.0, (piece.near.number + 1) * BLOCK_S)
        assert sum(span.overlap(Span(begin, end)) for span in piece.spans) == pytest.approx(end - begin, abs=0.01)
        assert all(span.duration <= CUT_S + 0.002 for span in piece.spans)
    for one, two in pairwise(made):
        join = two.near.number * BLOCK_S
        assert [s for s in one.spans if s.start < join < s.end] == [s for s in two.spans if s.start < join < s.end]


class Thirds:
    """Says of each sound that a third is vocals, a third drums."""

    def __init__(self, fault: Callable[[Samples], Samples] = lambda found: found) -> None:
        self.fault = fault

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        raise AssertionError("nobody wants only the dialogue")

    def stems(self, sound: Audio, spans: Sequence[Span]) -> Mapping[str, Samples]:
        third = sound.samples / np.float32(3)
        return {"vocals": self.fault(third), "drums": third, "other": sound.samples - 2 * third}


class Half:
    """Takes half of the sound for dialogue, and remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Audio, tuple[Span, ...]]] = []

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        self.calls.append((sound, tuple(speech)))
        return sound.samples * np.float32(0.5)


class Answer:
    """Answers with what `make` makes of the sound."""

    def __init__(self, make: Callable[[Samples], Samples | None]) -> None:
        self.make = make

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        return self.make(sound.samples)


@pytest.fixture
def new_work(tmp_path: Path) -> Callable[[], Work]:
    store = Store(tmp_path / "store")
    numbers = iter(range(1000))

    def make() -> Work:
        scratch = tmp_path / f"scratch{next(numbers)}"
        scratch.mkdir()
        return Work(store, scratch, 1, lambda _: None)

    return make


def kept(new_work: Callable[[], Work], samples: Samples) -> Sound:
    """`samples` as a Sound in the store."""
    files: list[Artifact] = []
    for at in range(0, samples.shape[1], BLOCK):
        work = new_work()
        write_flac(work.scratch / "block.flac", samples[:, at : at + BLOCK])
        files.append(work.keep(work.scratch / "block.flac"))
    return Sound(tuple(files), samples.shape[0], samples.shape[1])


def hiss(frames: int, channels: int = 1) -> Samples:
    return (0.02 * np.random.default_rng(5).normal(size=(channels, frames))).astype(np.float32)


def pieces(sound: Sound, *spans: Span) -> tuple[Separating, ...]:
    return separate.pieces(sound, Speech((), -(-sound.frames // 3), spans))


def test_a_block_of_dialogue_is_as_long_as_the_block_and_measured_alone(new_work: Callable[[], Work]) -> None:
    samples = hiss(BLOCK + 3 * RATE_HZ, 2)
    _, last = pieces(kept(new_work, samples), Span(29, 32))
    work, engine = new_work(), Half()
    done = separate.separate(work, engine, last)
    assert done.dialogue is not None and done.worked
    dialogue = read_flac(work.path(done.dialogue), 0, BLOCK)
    assert dialogue.shape == (2, 3 * RATE_HZ)
    assert np.abs(dialogue - samples[:, BLOCK:] / 2).max() < 2e-7
    settle = loudness.SETTLE
    assert done.energies.first == BLOCK // loudness.CELL
    expected = loudness.energies(samples[:, BLOCK - settle :] / 2, BLOCK, settle)
    assert np.allclose(done.energies.sums, expected.sums, rtol=1e-4)


def test_the_engine_hears_what_is_around_and_times_from_there(new_work: Callable[[], Work]) -> None:
    samples = hiss(BLOCK + 3 * RATE_HZ)
    _, last = pieces(kept(new_work, samples), Span(10, 11), Span(29, 32))
    engine = Half()
    separate.separate(new_work(), engine, last)
    ((sound, speech),) = engine.calls
    assert np.abs(sound.samples - samples[:, BLOCK - CONTEXT :]).max() < 2e-7
    low = (BLOCK - CONTEXT) / RATE_HZ
    assert [(s.start, s.end) for s in speech] == [(pytest.approx(29 - low), pytest.approx(32 - low))]


def test_where_nobody_speaks_the_engine_is_not_asked(new_work: Callable[[], Work]) -> None:
    first, last = pieces(kept(new_work, hiss(BLOCK + 10)), Span(1, 2))
    engine = Half()
    work = new_work()
    done = separate.separate(work, engine, last)
    assert (done.dialogue, done.worked, engine.calls) == (None, True, [])
    assert done.energies.first == BLOCK // loudness.CELL and done.energies.sums == (0.0,)
    assert separate.separate(work, engine, first).dialogue is not None
    assert len(engine.calls) == 1


def test_an_engine_that_cannot_is_not_silence(new_work: Callable[[], Work]) -> None:
    (piece,) = pieces(kept(new_work, hiss(RATE_HZ)), Span(0, 1))
    done = separate.separate(new_work(), Answer(lambda _: None), piece)
    assert (done.dialogue, done.worked) == (None, False)
    assert done.energies == Energies(0, (0.0,) * 10)


@pytest.mark.parametrize("fault", [lambda x: x[:, 1:], lambda x: x[0], lambda x: x * np.float32(np.nan)])
def test_what_is_no_sound_of_that_length_is_refused(new_work: Callable[[], Work], fault: Callable[[Samples], Samples]) -> None:
    (piece,) = pieces(kept(new_work, hiss(RATE_HZ)), Span(0, 1))
    with pytest.raises(BadEngineOutput):
        separate.separate(new_work(), Answer(fault), piece)


def test_blocks_join_as_if_the_film_had_been_separated_at_once(new_work: Callable[[], Work]) -> None:
    frames = BLOCK + 8 * RATE_HZ
    spans = (Span(28.0, 33.0), Span(34.0, 36.5))
    t = np.arange(frames) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 9)) * stems.gate(spans, frames)
    voice *= np.sin(4 * np.pi * t) ** 2  # syllables
    samples = (hiss(frames) * (1 + np.sin(t)) + 0.1 * voice).astype(np.float32)
    low = BLOCK - 12 * CONTEXT // 8
    at_once = PauseMask().separate(
        Audio(samples[:, low:]), [Span(s.start - low / RATE_HZ, s.end - low / RATE_HZ) for s in spans]
    )
    assert at_once is not None
    blocks: list[Samples] = []
    for piece in pieces(kept(new_work, samples), *spans):
        work = new_work()
        done = separate.separate(work, PauseMask(), piece)
        assert done.dialogue is not None
        blocks.append(read_flac(work.path(done.dialogue), 0, BLOCK))
    near = slice(BLOCK - low - RATE_HZ, BLOCK - low + RATE_HZ)
    assert np.abs(at_once[:, near]).max() > 0.05
    assert np.abs(np.concatenate(blocks, axis=1)[:, low:] - at_once)[:, near].max() < 1e-6


def surround(new_work: Callable[[], Work], samples: Samples, layout: str) -> Sound:
    return replace(kept(new_work, samples), layout=layout)


def test_in_surround_sound_centre_and_front_are_separated_apart_and_the_rest_has_no_dialogue(
    new_work: Callable[[], Work],
) -> None:
    samples = hiss(2 * RATE_HZ, 6)
    (piece,) = pieces(surround(new_work, samples, "5.1"), Span(0, 2))
    engine, work = Half(), new_work()
    done = separate.separate(work, engine, piece)
    assert [sound.samples.shape[0] for sound, _ in engine.calls] == [1, 2]
    assert done.dialogue is not None
    dialogue = read_flac(work.path(done.dialogue), 0, BLOCK)
    assert np.abs(dialogue[:3] - samples[:3] / 2).max() < 2e-7
    assert dialogue.shape[0] == 6 and not dialogue[3:].any()
    expected = loudness.energies(samples[:3] / 2, 0, 0, "3.0")
    assert np.allclose(done.energies.sums, expected.sums, rtol=1e-4)


@pytest.mark.parametrize(("silent", "asked"), [([0, 1], [1]), ([2], [2]), ([0, 1, 2], [])])
def test_channels_in_which_nothing_is_heard_are_not_separated(
    new_work: Callable[[], Work], silent: list[int], asked: list[int]
) -> None:
    samples = hiss(RATE_HZ, 8)
    samples[silent] = 0
    (piece,) = pieces(surround(new_work, samples, "7.1"), Span(0, 1))
    engine = Half()
    done = separate.separate(new_work(), engine, piece)
    assert [sound.samples.shape[0] for sound, _ in engine.calls] == asked
    assert done.worked


def test_music_beside_the_centre_stays_where_the_centre_speaks(new_work: Callable[[], Work]) -> None:
    frames = 12 * RATE_HZ
    t = np.arange(frames) / RATE_HZ
    samples = np.zeros((6, frames), np.float32)
    spans = [Span(2, 4), Span(6, 8)]
    talking = np.zeros(frames, bool)
    for span in spans:
        talking[int(span.start * RATE_HZ) : int(span.end * RATE_HZ)] = True
    syllables = talking * np.clip(3 * np.sin(2 * np.pi * 2.5 * t), 0, 1)
    samples[2] = 0.2 * syllables * sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 9)) + hiss(frames)[0] * 0.05
    samples[:2] = 0.1 * np.sin(2 * np.pi * 300 * t) + hiss(frames, 2) * 0.05
    (piece,) = pieces(surround(new_work, samples, "5.1"), *spans)
    work = new_work()
    done = separate.separate(work, PauseMask(), piece)
    assert done.dialogue is not None
    rest = samples - read_flac(work.path(done.dialogue), 0, BLOCK)
    inside = slice(int(2.5 * RATE_HZ), int(3.5 * RATE_HZ))

    def power(x: Samples, channel: int) -> float:
        return float(10 * np.log10(np.mean(np.square(x[channel, inside]))))

    assert power(rest, 2) < power(samples, 2) - 10, "the words are gone"
    assert power(rest, 0) > power(samples, 0) - 1.5, "the music, in the same third of the spectrum, is not"


def test_stems_of_a_block_sum_to_it_exactly(new_work: Callable[[], Work]) -> None:
    samples = hiss(BLOCK + 2 * RATE_HZ, 2)
    sound = kept(new_work, samples)
    made = separate.pieces(sound, Speech((), 0, ()), everywhere=True)
    for piece, block in zip(made, sound.blocks, strict=True):
        work = new_work()
        done = separate.stems(work, Thirds(), piece)
        assert list(done.files) == ["vocals", "drums", "other"]
        parts = {name: read_flac(work.path(file), 0, BLOCK) for name, file in done.files.items()}
        assert np.array_equal(sum(parts.values(), np.zeros_like(parts["other"])), read_flac(work.path(block), 0, BLOCK))
        assert np.abs(parts["vocals"] - parts["other"]).max() < 3e-7


def test_stems_of_surround_sound_leave_the_rear_in_other(new_work: Callable[[], Work]) -> None:
    samples = hiss(RATE_HZ, 6)
    samples[2] = 0
    (piece,) = separate.pieces(surround(new_work, samples, "5.1"), Speech((), 0, ()), everywhere=True)
    work = new_work()
    done = separate.stems(work, Thirds(), piece)
    vocals, other = (read_flac(work.path(done.files[name]), 0, BLOCK) for name in ("vocals", "other"))
    assert not vocals[2:].any() and np.abs(vocals[:2] - samples[:2] / 3).max() < 2e-7
    assert np.abs(other[3:] - samples[3:]).max() < 2e-7


def test_a_silent_song_has_silent_stems(new_work: Callable[[], Work]) -> None:
    (piece,) = separate.pieces(surround(new_work, np.zeros((6, 9000), np.float32), "5.1"), Speech((), 0, ()), everywhere=True)
    work = new_work()
    done = separate.stems(work, Thirds(), piece)
    assert {name: read_flac(work.path(file), 0, BLOCK).shape for name, file in done.files.items()} == {
        "vocals": (6, 9000),
        "other": (6, 9000),
    }


def test_stems_that_are_no_sound_are_refused(new_work: Callable[[], Work]) -> None:
    (piece,) = separate.pieces(kept(new_work, hiss(RATE_HZ)), Speech((), 0, ()), everywhere=True)
    with pytest.raises(BadEngineOutput):
        separate.stems(new_work(), Thirds(lambda found: found * np.float32(np.inf)), piece)
