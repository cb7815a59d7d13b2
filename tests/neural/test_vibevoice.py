"""VibeVoice through transformers on random weights, in its own environment and process, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines.sidecar.host import opened
from polydub.engines.tts.vibevoice import ENGINE, VibeVoiceOptions
from polydub.errors import BadEngineOutput, BadInput, BadSettings, UnsupportedLanguage
from polydub.types import Artifact, Audio, Part, Voice

pytestmark = [pytest.mark.neural, pytest.mark.slow]
TEXT = "Good morning, my friend."


@pytest.fixture(scope="module")
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("transformers", "vibevoice")


@pytest.fixture(scope="module")
def speech(folder: Path, python_of: Callable[[str], Path]) -> Iterator[Any]:
    options = VibeVoiceOptions(model=str(folder / "ends"), threads=1, num_steps=4, max_chunk_chars=100)
    with opened(ENGINE, options, {}, "cpu", python_of("transformers")) as engine:
        yield engine


def part(text: str = TEXT, language: str = "en", seed: int = 1, voice: str = "1") -> Part:
    return Part(text, language, Voice("vibevoice", voice, language), 1.0, seed)


def person(name: str) -> Part:
    artifact = Artifact(sha256(name.encode()).hexdigest(), ".flac", 1)
    return Part(TEXT, "en", Voice("vibevoice", name, "en", references=(artifact,)), 1.0, 1)


def hum(pitch_hz: float, seconds: float = 2.0) -> Audio:
    t = np.arange(round(seconds * 48_000)) / 48_000
    return Audio((0.2 * np.sin(2 * np.pi * pitch_hz * t) * np.sin(3 * t)).astype(np.float32)[None], 48_000)


def check(sound: Audio) -> None:
    assert sound.rate_hz == 24_000 and sound.samples.shape[0] == 1 and sound.duration > 0.1
    assert np.isfinite(sound.samples).all() and 1e-3 < np.abs(sound.samples).max() <= 1


def test_the_seed_and_the_voice_decide_what_is_said_and_nothing_else(speech: Any) -> None:
    first = speech.synthesize(part())
    check(first)
    assert np.array_equal(first.samples, speech.synthesize(part()).samples)
    for other in (part(seed=2), part(voice="2"), part("Good evening.")):
        assert not np.array_equal(first.samples, speech.synthesize(other).samples)


def test_english_and_chinese_are_spoken_and_nothing_else_unasked(speech: Any) -> None:
    check(speech.synthesize(part("早上好，我的朋友。", "zh")))
    assert [voice.name for voice in speech.voices("en-GB")] == ["1", "2", "3", "4"]
    for ask in (lambda: speech.voices("es"), lambda: speech.synthesize(part(language="es"))):
        with pytest.raises(UnsupportedLanguage):
            ask()


def test_a_stream_is_the_whole_in_pieces(speech: Any) -> None:
    pieces = list(speech.stream(part()))
    assert len(pieces) > 5
    streamed = np.concatenate([piece.samples for piece in pieces], axis=1)
    np.testing.assert_allclose(streamed, speech.synthesize(part()).samples, atol=1e-6)


def test_a_stream_may_be_left(speech: Any) -> None:
    stream = speech.stream(part())
    assert next(stream).duration > 0
    stream.close()
    check(speech.synthesize(part()))


def test_a_person_is_heard_once_and_then_known_by_the_recordings(speech: Any) -> None:
    with pytest.raises(BadSettings, match="not heard"):
        list(speech.stream(person("nobody")))
    first = speech.clone(person("low"), [hum(110), hum(130)])
    check(first)
    assert np.array_equal(first.samples, speech.clone(person("low"), [hum(50)]).samples)
    assert not np.array_equal(first.samples, speech.clone(person("high"), [hum(230)]).samples)
    assert sum(piece.duration for piece in speech.stream(person("low"))) == pytest.approx(first.duration)


def test_a_recording_shorter_than_a_second_is_refused(speech: Any) -> None:
    with pytest.raises(BadInput, match="at least 1 s"):
        speech.clone(person("hurried"), [hum(120, 0.5)])


def test_a_long_text_is_spoken_in_pieces_with_pauses_between(speech: Any) -> None:
    sentence = "The train is late and nobody minds, because the sun shines on all of us. "
    once, thrice = (speech.synthesize(part(sentence * times)).duration for times in (1, 4))
    assert thrice == pytest.approx(3 * once + 2 * 0.04, abs=1e-3)


def test_blank_text_gives_no_sound(speech: Any) -> None:
    for text in ("", " \n", "…"):
        assert speech.synthesize(part(text)).samples.shape == (1, 0)
        assert list(speech.stream(part(text))) == []


def test_speech_without_an_end_is_an_error_and_a_stream_of_it_can_be_left(
    folder: Path, python_of: Callable[[str], Path]
) -> None:
    options = VibeVoiceOptions(
        model=str(folder / "endless"), threads=1, num_steps=1, disable_prefill=True, any_language=True, precision="bfloat16"
    )
    with opened(ENGINE, options, {}, "cpu", python_of("transformers")) as engine:
        with pytest.raises(BadEngineOutput, match="still speaking"):
            engine.synthesize(part("¡Hola!", "es"))
        stream = engine.stream(part("¡Hola!", "es"))
        assert next(stream).duration > 0
        stream.close()
