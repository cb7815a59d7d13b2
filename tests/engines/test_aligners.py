"""Known words are found in the sound; a text that is not what is said is noticed; counting syllables always answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from checks import part, recorded

from polydub.engines.align.syllables import loud_parts
from polydub.engines.base import Aligner
from polydub.engines.registry import get
from polydub.types import HEAR_HZ, Audio, Span, Word

ENGINE, COUNTING = get("align", "pocketsphinx"), get("align", "syllables")
JFK = "And so, my fellow Americans -- ask not what your country can do for you, ask what you can do for your country."
LJ = {
    "LJ001-0007": 'the earliest book printed with movable types, the Gutenberg, or "forty-two line Bible" of about 1455,',
    "LJ001-0004": "produced the block books, which were the immediate predecessors of the true printed book,",
    "LJ001-0006": "And it is worth mention in passing that, as an example of fine typography,",
}


@pytest.fixture(scope="module")
def aligner() -> Iterator[Aligner]:
    with ENGINE.load(ENGINE.options(), {}, "cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def counting() -> Iterator[Aligner]:
    with COUNTING.load(COUNTING.options(), {}, "cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def jfk(shared_data: Path) -> Audio:
    return recorded(shared_data / "media/whisper-jfk/jfk.flac")


@pytest.fixture(scope="module")
def read(shared_data: Path) -> dict[str, Audio]:
    return {name: recorded(shared_data / f"media/ljspeech/{name}.wav") for name in LJ}


def found(aligner: Aligner, sound: Audio, text: str) -> tuple[Word, ...]:
    words = aligner.align(sound, text, "en")
    assert words is not None
    return words


def test_words_are_found_where_they_are_spoken(aligner: Aligner, jfk: Audio) -> None:
    words = found(aligner, jfk, JFK)
    assert [w.text for w in words] == JFK.split()
    at = {w.text: w for w in words}
    assert at["ask"].start == pytest.approx(8.2, abs=0.1), "the second time, after a pause"
    assert at["you,"].end == pytest.approx(7.7, abs=0.15)
    assert (at["--"].start, at["--"].end, at["--"].confidence) == (at["Americans"].end, at["Americans"].end, None)
    assert not any(w.estimated for w in words)


def test_words_move_with_the_sound(aligner: Aligner, jfk: Audio) -> None:
    said = part(jfk, 8.0, 10.8)
    later = Audio(np.pad(said.samples, ((0, 0), (HEAR_HZ, 0))), HEAR_HZ)
    text = "ask what you can do for your country."
    for a, b in zip(found(aligner, said, text), found(aligner, later, text), strict=True):
        assert b.start == pytest.approx(a.start + 1, abs=0.06)


def test_numbers_names_and_compounds_are_pronounced(aligner: Aligner, read: dict[str, Audio]) -> None:
    words = {w.text: w for w in found(aligner, read["LJ001-0007"], LJ["LJ001-0007"])}
    assert words["Gutenberg,"].end - words["Gutenberg,"].start > 0.4
    assert words["1455,"].end - words["1455,"].start > 1.0
    assert (words["1455,"].confidence or 0) > 0.8
    assert (words['"forty-two'].confidence or 0) > 0.8


def test_another_text_is_not_what_is_said(aligner: Aligner, read: dict[str, Audio]) -> None:
    for name in ("LJ001-0004", "LJ001-0006"):
        for other, text in LJ.items():
            assert (aligner.align(read[name], text, "en") is not None) == (name == other)


def test_noise_as_loud_as_a_film_s_does_not_hide_the_words(aligner: Aligner, read: dict[str, Audio]) -> None:
    clean = read["LJ001-0004"]
    power = float(np.mean(np.square(clean.samples)))
    hiss = np.random.default_rng(5).normal(0, (power / 10) ** 0.5, clean.samples.shape)
    noisy = Audio((clean.samples + hiss).astype(np.float32), HEAR_HZ)
    times = [[w.start for w in found(aligner, sound, LJ["LJ001-0004"])] for sound in (clean, noisy)]
    assert np.median(np.abs(np.subtract(*times))) <= 0.03


def test_the_answer_is_the_same_whatever_was_asked_before_and_beside_it(aligner: Aligner, read: dict[str, Audio]) -> None:
    asked = [(read["LJ001-0004"], text) for text in LJ.values()] + [(read["LJ001-0006"], LJ["LJ001-0006"])]
    first = [aligner.align(sound, text, "en") for sound, text in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda q: aligner.align(*q, "en"), asked[::-1])) == first[::-1]


def test_silence_matches_no_text(aligner: Aligner) -> None:
    assert aligner.align(Audio(np.zeros((1, HEAR_HZ), np.float32), HEAR_HZ), "hello there", "en") is None


@pytest.mark.parametrize("text", ["...", "♪ ♪", "—"])
def test_text_without_words_takes_no_time(aligner: Aligner, jfk: Audio, text: str) -> None:
    assert [(w.text, w.start, w.end) for w in found(aligner, jfk, text)] == [(mark, 0.0, 0.0) for mark in text.split()]


def test_words_nobody_can_pronounce_take_no_time(aligner: Aligner, jfk: Audio) -> None:
    words = found(aligner, part(jfk, 8.0, 10.8), "ask what ⅷ̃̃ you can do for your country")
    assert [w.text for w in words][2] == "ⅷ̃̃"


def test_counting_lays_words_over_the_loud_parts(counting: Aligner) -> None:
    samples = np.random.default_rng(2).normal(0, 1e-4, (1, 4 * HEAR_HZ))
    for start in (0.5, 2.5):
        samples[0, round(start * HEAR_HZ) : round((start + 1) * HEAR_HZ)] += 0.3 * np.sin(np.arange(HEAR_HZ) / 9)
    sound = Audio(samples.astype(np.float32), HEAR_HZ)
    assert loud_parts(sound) == (Span(0.5, 1.5), Span(2.5, 3.5))
    words = counting.align(sound, "Buenos días, señoras", "es")
    assert words is not None
    assert [(w.start, w.end) for w in words] == [(0.5, 1.071), (1.071, 1.5), (2.643, 3.5)]
    assert all(w.estimated and w.confidence is None for w in words)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_counting_answers_for_silence_and_for_steady_noise(counting: Aligner, level: float) -> None:
    samples = np.random.default_rng(2).normal(0, level, (1, 2 * HEAR_HZ)).astype(np.float32)
    words = found(counting, Audio(samples, HEAR_HZ), "one two")
    assert words[0].start < 0.1 and words[1].end > 1.9
    assert counting.align(Audio(samples[:, :0], HEAR_HZ), "one", "en") == (Word(0.0, 0.0, "one", None, True),)
