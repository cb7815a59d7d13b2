"""XTTS through coqui-tts on random weights, in its own environment and process, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines.sidecar.host import opened
from polydub.engines.tts import xtts
from polydub.engines.tts.xtts import ENGINE, XttsOptions
from polydub.errors import BadEngineOutput, BadInput, BadSettings, MissingExtra, UnsupportedLanguage
from polydub.types import Artifact, Audio, Part, Voice

pytestmark = [pytest.mark.neural, pytest.mark.slow]
TEXT = "Good morning, my friend."
Tiny = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def folder(tiny: Tiny) -> Path:
    return tiny("xtts", "xtts")


@pytest.fixture(scope="module")
def speech(folder: Path, python_of: Callable[[str], Path]) -> Iterator[Any]:
    options = XttsOptions(model=str(folder), agree_terms=True, threads=1)
    with opened(ENGINE, options, {}, "cpu", python_of("xtts")) as engine:
        yield engine


@pytest.fixture(scope="module")
def long_seed(speech: Any) -> int:
    """A seed with which random weights speak for more than two pieces of a stream."""
    return next(seed for seed in range(50) if speech.synthesize(part(seed=seed)).duration > 2)


def part(text: str = TEXT, language: str = "en", rate: float = 1.0, seed: int = 1, voice: str = "Ana Florence") -> Part:
    return Part(text, language, Voice("xtts", voice, language), rate, seed)


def hum(pitch_hz: float, seconds: float = 3.0, rate_hz: int = 48_000) -> Audio:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = sum(np.sin(2 * np.pi * pitch_hz * n * t) / n for n in range(1, 20)) * (1 + np.sin(2 * np.pi * 3 * t))
    return Audio((0.1 * wave).astype(np.float32)[None], rate_hz)


def person(name: str) -> Part:
    artifact = Artifact(sha256(name.encode()).hexdigest(), ".flac", 1)
    return Part(TEXT, "en", Voice("xtts", name, "en", references=(artifact,)), 1.0, 1)


def same(one: Audio, other: Audio) -> bool:
    return one.rate_hz == other.rate_hz and np.array_equal(one.samples, other.samples)


def check(sound: Audio) -> None:
    assert sound.rate_hz == 24_000 and sound.samples.shape[0] == 1
    assert np.isfinite(sound.samples).all() and 1e-3 < np.abs(sound.samples).max() <= 1
    assert sound.duration > 0.1


def test_its_own_speakers_are_voices_of_every_language(speech: Any) -> None:
    for language in xtts.TAGS:
        voices = speech.voices(language)
        assert [voice.name for voice in voices] == ["Ana Florence", "Viktor Eka", "Claribel Dervla"]
        assert {voice.language for voice in voices} == {language}
    with pytest.raises(UnsupportedLanguage):
        speech.voices("fi")


def test_the_seed_decides_what_is_said_and_nothing_else(speech: Any) -> None:
    first, again, other = (speech.synthesize(part(seed=seed)) for seed in (1, 1, 2))
    check(first)
    assert same(first, again) and not same(first, other)
    assert not same(first, speech.synthesize(part(voice="Viktor Eka")))


def test_a_rate_shortens_what_is_said(speech: Any, long_seed: int) -> None:
    slow, plain, fast = (speech.synthesize(part(rate=rate, seed=long_seed)).duration for rate in (0.5, 1.0, 2.0))
    assert slow == pytest.approx(2 * plain, rel=0.05) and fast == pytest.approx(plain / 2, rel=0.05)


def test_a_stream_comes_in_pieces_as_long_as_the_whole(speech: Any, long_seed: int) -> None:
    pieces = list(speech.stream(part(seed=long_seed)))
    assert len(pieces) > 2
    for piece in pieces:
        assert piece.rate_hz == 24_000 and np.isfinite(piece.samples).all() and np.abs(piece.samples).max() <= 1
    whole = speech.synthesize(part(seed=long_seed))
    assert sum(piece.duration for piece in pieces) == pytest.approx(whole.duration, abs=0.05)


def test_a_stream_may_be_left(speech: Any, long_seed: int) -> None:
    stream = speech.stream(part(seed=long_seed))
    assert next(stream).duration > 0
    stream.close()
    check(speech.synthesize(part()))


def test_a_person_is_heard_once_and_then_known_by_the_recordings(speech: Any) -> None:
    with pytest.raises(BadSettings, match="not heard"):
        list(speech.stream(person("nobody")))
    low, high = hum(110), hum(230)
    first = speech.clone(person("low"), [low, high])
    check(first)
    assert same(first, speech.clone(person("low"), [hum(50)]))
    assert not same(first, speech.clone(person("high"), [high]))
    pieces = list(speech.stream(person("low")))
    assert sum(piece.duration for piece in pieces) == pytest.approx(first.duration, abs=0.05)


def test_recordings_of_any_rate_do_and_short_ones_are_left_out_or_refused(speech: Any) -> None:
    check(speech.clone(person("telephone"), [hum(120, 2, 8_000), hum(120, 0.1)]))
    with pytest.raises(BadInput, match=r"at least 0\.33 s.*0\.30 s"):
        speech.clone(person("hurried"), [hum(120, 0.3), hum(120, 0.1)])


def test_blank_text_gives_no_sound(speech: Any) -> None:
    for text in ("", "  \n", "...", "¿?"):
        assert speech.synthesize(part(text)).samples.shape == (1, 0)
        assert list(speech.stream(part(text))) == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        *[("hi", "मेरे पास 5 किताबें और 12.5 रुपये हैं, 1,00,000 लोग।"), ("cs", "Bylo to v roce 1999."), ("zh", "今天有5只猫。")],
        *[
            ("ko", "안녕하세요 5"),
            ("ar", "مرحبا 5"),
            ("ru", "Ему 5 лет."),
            ("en-GB", "It costs £5.20, 3rd time."),
            ("pt-BR", "São 7."),
        ],
    ],
)
def test_numbers_are_spoken_in_every_script(speech: Any, language: str, text: str) -> None:
    check(speech.synthesize(part(text, language)))


def test_japanese_is_spoken_or_the_missing_dictionary_is_named(speech: Any) -> None:
    try:
        check(speech.synthesize(part("今日は晴れです。", "ja")))
    except MissingExtra as error:
        assert "unidic-lite" in error.hint


def test_a_text_longer_than_the_model_takes_is_spoken_in_pieces(speech: Any) -> None:
    sentence = "The train is late and nobody minds, because the sun shines. "
    once, often = (speech.synthesize(part(sentence * times)) for times in (1, 12))
    check(often)
    assert often.duration > once.duration
    check(speech.synthesize(part("7" * 90)))


def test_an_unknown_voice_is_refused_with_the_nearest(speech: Any) -> None:
    with pytest.raises(BadSettings, match="no voice 'Anna'") as refused:
        speech.synthesize(part(voice="Anna"))
    assert "Ana Florence" in refused.value.hint


def test_speech_without_an_end_is_an_error_and_the_weights_stay_as_they_are(
    folder: Path, python_of: Callable[[str], Path]
) -> None:
    before = sha256((folder / "model.pth").read_bytes()).hexdigest()
    options = XttsOptions(model=str(folder), agree_terms=True, threads=1, top_k=1, repetition_penalty=1)
    with opened(ENGINE, options, {}, "cpu", python_of("xtts")) as engine:
        for speak in (lambda: engine.synthesize(part()), lambda: list(engine.stream(part()))):
            with pytest.raises(BadEngineOutput, match="still speaking"):
                speak()
    assert sha256((folder / "model.pth").read_bytes()).hexdigest() == before
