"""References are cut of clean speech of the right person, from several places, and never because a text has changed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import loudness
from polydub.audio import reference as rules
from polydub.audio.signal import resample
from polydub.media.flac import read_flac, write_flac
from polydub.runner import Run
from polydub.stages import references
from polydub.stages.references import Film, Reference
from polydub.stages.separate import Separated
from polydub.store import Store
from polydub.types import BLOCK, RATE_HZ, Artifact, Energies, Samples, Sound, Span, Turn, seconds

FILM = Film(Sound(tuple(Artifact(f"{n:064}", ".flac", 1) for n in range(4)), 1, 4 * BLOCK))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    store = Store(tmp_path / "store")
    with Run(store, tmp_path) as made:
        yield made
    store.close()


# what is looked at


def spans(stretches: Sequence[Span]) -> list[tuple[float, float]]:
    return [(s.start, s.end) for s in stretches]


def test_only_what_is_said_alone_and_away_from_others_is_looked_at() -> None:
    turns = [Turn(0, 6, "A"), Turn(5, 8, "B"), Turn(8, 12, "A"), Turn(12.2, 20, "B")]
    found = references.sitter(turns, (), "A", FILM)
    assert spans(found.best) == [(0, 4.7), (8.3, 11.9)]
    assert spans(found.first) == [(0, 5), (8, 9)]


def test_pauses_are_left_out_and_long_speech_is_cut() -> None:
    found = references.sitter([Turn(0, 30, "A")], (Span(1, 4), Span(10, 20)), "A", FILM)
    assert spans(found.best) == [(1, 4), (10, 15), (15, 20)]
    assert spans(found.first) == [(1, 4), (10, 13)]


def test_nobody_and_somebody_who_is_never_alone_have_nothing() -> None:
    turns = [Turn(0, 5, "A"), Turn(0, 5, "B")]
    for who in "AZ":
        assert references.sitter(turns, (), who, FILM) == references.Sitter((), ())


def test_a_minute_from_all_over_the_film_is_looked_at() -> None:
    film = Film(Sound(tuple(Artifact(f"{n:064}", ".flac", 1) for n in range(21)), 1, 20 * BLOCK + 5))
    found = references.sitter([Turn(n * 10, n * 10 + 7, "A") for n in range(59)], (), "A", film).best
    assert references.LOOKED_S <= sum(s.duration for s in found) < references.LOOKED_S + references.PART_S
    assert found[0].start < 100 and found[-1].start > 490
    assert list(found) == sorted(found, key=lambda s: s.start)


def test_a_stretch_knows_its_blocks_and_nothing_of_others() -> None:
    edge = BLOCK / RATE_HZ
    stretch = FILM.stretch(Span(seconds(edge) - 1, seconds(edge) + 1))
    assert (stretch.first, stretch.sound) == (0, FILM.sound.blocks[:2])
    assert stretch.dialogue == (None, None)
    assert FILM.stretch(Span(edge + 1, edge + 2)).sound == FILM.sound.blocks[1:2]


TURNS = st.lists(st.tuples(st.floats(0, 95), st.floats(0.1, 20), st.sampled_from("AB")), max_size=12)


@given(TURNS)
def test_what_is_looked_at_lies_in_own_turns_and_away_from_others(drawn: list[tuple[float, float, str]]) -> None:
    turns = [Turn(round(s, 3), round(min(100, s + d), 3), who) for s, d, who in drawn]
    sitter = references.sitter(turns, (), "A", FILM)
    for found, edge in [(s, references.EDGE_S) for s in sitter.best] + [(s, 0.0) for s in sitter.first]:
        assert sum(t.overlap(found) for t in turns if t.speaker == "A") >= found.duration - 0.01
        wide = Span(found.start - edge + 0.002, found.end + edge - 0.002)
        assert all(t.overlap(wide) <= 0.002 for t in turns if t.speaker == "B")
    assert sum(s.duration for s in sitter.first) <= references.FIRST_S + 0.01


# what is cut


def syllables(length: float, hz: float = 150.0, level: float = 0.2) -> Samples:
    """(n,), a quarter of a second long, with pauses between."""
    t = np.arange(round(length * RATE_HZ)) / RATE_HZ
    wave = sum((np.sin(2 * np.pi * hz * n * t) / n for n in range(1, 9)), np.zeros(len(t)))
    heights = 0.9 ** ((2 * t).astype(int) % 7)  # peaks differ
    syllables = np.clip(np.sin(4 * np.pi * t), 0, 1) * heights
    return (level * wave / np.abs(wave).max() * syllables).astype(np.float32)


def kept(run: Run, folder: Path, sound: Samples) -> tuple[Artifact, ...]:
    """The blocks of a film (n,)."""
    blocks: list[Artifact] = []
    for at in range(0, len(sound), BLOCK):
        write_flac(folder / "block.flac", sound[np.newaxis, at : at + BLOCK])
        blocks.append(run.store.keep(folder / "block.flac"))
    return tuple(blocks)


def heard(run: Run, made: Reference) -> Samples:
    assert made.sound is not None
    return read_flac(run.store.path(made.sound), 0, 100 * RATE_HZ)


def cut(run: Run, turns: Sequence[Turn], film: Film, who: str = "A", layout: str = "") -> Reference:
    return run.step(references.reference, references.sitter(turns, (), who, film), layout)


def test_the_dialogue_is_used_where_it_was_taken_out(run: Run, tmp_path: Path) -> None:
    talk = syllables(20.0)
    music = (0.1 * np.sin(2 * np.pi * 70 * np.arange(len(talk)) / RATE_HZ)).astype(np.float32)
    blocks, dialogue = kept(run, tmp_path, talk + music), kept(run, tmp_path, talk)
    sound = Sound(blocks, 1, len(talk))
    turns = [Turn(0, 20, "A")]
    alone = cut(run, turns, Film(sound, tuple(Separated(d, Energies(0, ())) for d in dialogue)))
    whole = cut(run, turns, Film(sound, tuple(Separated(None, Energies(0, ()), worked=False) for _ in blocks)))
    assert alone.separated and not whole.separated
    assert alone.picked and 6 <= alone.duration <= 15
    quiet = [np.sort(np.square(heard(run, one)[0]).reshape(-1, 480).mean(axis=1))[20] for one in (alone, whole)]
    assert quiet[0] < quiet[1] / 100


def test_speech_under_music_is_passed_over_where_there_is_other(run: Run, tmp_path: Path) -> None:
    talk = syllables(50.0)
    talk[: 25 * RATE_HZ] += (0.1 * np.sin(2 * np.pi * 70 * np.arange(25 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    made = cut(run, [Turn(0, 50, "A")], Film(Sound(kept(run, tmp_path, talk), 1, len(talk))))
    assert len(made.parts) >= 3 and min(part.start for part in made.parts) >= 25
    assert made.snr_db > 30


def test_a_reference_has_one_loudness_and_channel_whatever_the_film(run: Run, tmp_path: Path) -> None:
    talk = np.stack([syllables(12.0, level=0.02)] * 2)
    write_flac(tmp_path / "stereo.flac", talk)
    film = Film(Sound((run.store.keep(tmp_path / "stereo.flac"),), 2, talk.shape[1]))
    sound = heard(run, cut(run, [Turn(0, 12, "A")], film))
    assert sound.shape[0] == 1
    assert loudness.whole(sound) == pytest.approx(rules.LOUDNESS_LUFS, abs=1)


def test_the_voice_is_found_in_the_centre_of_surround_sound(run: Run, tmp_path: Path) -> None:
    talk = np.zeros((6, 12 * RATE_HZ), np.float32)
    talk[2] = syllables(12.0)
    talk[4:] = 0.2 * np.random.default_rng(2).standard_normal((2, talk.shape[1])).astype(np.float32)
    write_flac(tmp_path / "5.1.flac", talk)
    film = Film(Sound((run.store.keep(tmp_path / "5.1.flac"),), 6, talk.shape[1], "5.1"))
    assert cut(run, [Turn(0, 12, "A")], film, layout="5.1").snr_db > 30


def test_what_little_there_is_comes_from_the_beginning_and_too_little_is_nothing(run: Run, tmp_path: Path) -> None:
    talk = syllables(20.0)
    film = Film(Sound(kept(run, tmp_path, talk), 1, len(talk)))
    short = cut(run, [Turn(1, 3.5, "A"), Turn(3.5, 9, "B"), Turn(9, 10.5, "A")], film)
    assert not short.picked and 2.5 < short.duration < 4.2
    assert cut(run, [Turn(1, 2.5, "A")], film).sound is None
    assert cut(run, [], film).sound is None
    silent = Film(Sound(kept(run, tmp_path, np.zeros(20 * RATE_HZ, np.float32)), 1, 20 * RATE_HZ))
    assert cut(run, [Turn(0, 20, "A")], silent).sound is None


def test_the_same_turns_give_the_same_bytes_and_are_cut_once(run: Run, tmp_path: Path) -> None:
    talk = syllables(25.0)
    film = Film(Sound(kept(run, tmp_path, talk), 1, len(talk)))
    turns = [Turn(0, 12, "A"), Turn(13, 24, "B")]
    first = cut(run, turns, film)
    again = cut(run, [*turns[:1], Turn(16, 22, "B")], film)  # somebody else's turn, far away
    assert again == first and run.counts["reference"].ran == 1


# real people


@dataclass(frozen=True)
class Conversation:
    """Two people in turn, who speaks when, and for each sample who really speaks."""

    sound: Samples
    turns: tuple[Turn, ...]


@pytest.fixture(scope="module")
def conversation(shared_data: Path) -> Conversation:
    """Ten utterances of each of two speakers of LibriSpeech, close together; music as loud as they are lies under one half."""
    people = {who: sorted((shared_data / "media/librispeech-speakers" / who).glob("*.flac")) for who in ("1688", "1998")}
    parts, turns, at = list[Samples](), list[Turn](), 0
    for files in zip(*people.values(), strict=True):
        for file in files:
            told, rate_hz = soundfile.read(file, dtype="float32")
            spoken = resample(told[np.newaxis], rate_hz, RATE_HZ)[0]
            parts += [np.zeros(RATE_HZ // 10, np.float32), spoken]
            start = at + RATE_HZ // 10
            at = start + len(spoken)
            turns.append(Turn(seconds(start / RATE_HZ), seconds(at / RATE_HZ), file.parent.name))
    sound = np.concatenate(parts)
    music = shared_data / "media/demucs/test.mp3"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", music, "-ac", "1", "-ar", str(RATE_HZ), "-f", "f32le", "-"]
    bed = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
    bed = np.tile(bed, -(-len(sound) // len(bed)))[: len(sound) // 2]
    sound[: len(bed)] += bed * np.float32(np.sqrt(np.mean(sound**2) / np.mean(bed**2)))
    return Conversation(sound / np.float32(1.2 * np.abs(sound).max()), tuple(turns))


@pytest.mark.parametrize("who", ["1688", "1998"])
@pytest.mark.parametrize("late_s", [0.0, 0.2, -0.2])
def test_the_reference_of_a_real_speaker_holds_nobody_else_and_no_music(
    run: Run, tmp_path: Path, conversation: Conversation, who: str, late_s: float
) -> None:
    sound = conversation.sound
    film = Film(Sound(kept(run, tmp_path, sound), 1, len(sound)))
    told = [Turn(max(0.0, seconds(t.start + late_s)), seconds(t.end + late_s), t.speaker) for t in conversation.turns]
    made = cut(run, told, film, who)
    assert made.picked and 6 <= made.duration <= 15 and len(made.parts) >= 3
    for part in made.parts:
        assert part.start > len(sound) / 2 / RATE_HZ - 0.1
        assert any(t.start <= part.start + 0.01 and part.end <= t.end + 0.01 for t in conversation.turns if t.speaker == who)
    assert made.parts[-1].start - made.parts[0].start > 20
    sample = heard(run, made)
    assert sample.shape[1] == round(made.duration * RATE_HZ)
    assert np.abs(sample).max() <= rules.PEAK + 1e-3
