"""Piper 1.8 for real, on tiny voices of sines, in its own environment and process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines.tts.piper import ENGINE, PiperOptions
from polydub.errors import BadSettings, MissingWeights, UnsupportedLanguage
from polydub.types import Part

pytestmark = [pytest.mark.neural, pytest.mark.slow]
Open = Callable[..., AbstractContextManager[Any]]
TEXT = "Hello there my friend. How are you today?"


@pytest.fixture
def voices(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("piper", "piper_voices")


def opened(open_engine: Open, folder: Path, **more: Any) -> AbstractContextManager[Any]:
    return open_engine(ENGINE, PiperOptions(model=str(folder), threads=1, **more), {})


def test_every_model_of_a_folder_and_every_speaker_of_a_model_is_a_voice(open_engine: Open, voices: Path) -> None:
    assert ENGINE.languages(PiperOptions(model=str(voices))) == {"en-US", "es-ES"}
    with opened(open_engine, voices) as piper:
        assert [v.name for v in piper.voices("en")] == ["en_US-tiny-x_low"]
        two = piper.voices("es-MX")
        assert [v.name for v in two] == ["es_ES-duo-x_low/ana", "es_ES-duo-x_low/luis"]
        assert all((v.engine, v.language) == ("piper", "es-MX") for v in two)
        lengths = [piper.synthesize(Part("Hola, buenos días.", "es", v)).samples.shape[1] for v in two]
        assert lengths[0] < lengths[1], "the second speaker of the tiny voice is slower"
        with pytest.raises(UnsupportedLanguage):
            piper.voices("fr")


def test_speech_is_finite_mono_at_the_rate_of_the_voice_and_not_levelled(open_engine: Open, voices: Path) -> None:
    with opened(open_engine, voices) as piper:
        audio = piper.synthesize(Part(TEXT, "en", piper.voices("en")[0]))
    assert audio.rate_hz == 22_050 and audio.samples.shape[0] == 1 and audio.samples.dtype == np.float32
    assert np.isfinite(audio.samples).all()
    assert 0.29 < np.abs(audio.samples).max() < 0.31, "the tiny voice peaks at 0.3"


def test_the_rate_is_the_pace(open_engine: Open, voices: Path) -> None:
    with opened(open_engine, voices) as piper:
        voice = piper.voices("en")[0]
        slow, normal, fast = (piper.synthesize(Part(TEXT, "en", voice, rate)).duration for rate in (0.8, 1.0, 1.3))
    assert slow > 1.1 * normal > 1.2 * fast


def test_a_stream_gives_sentence_by_sentence_what_is_otherwise_given_at_once(open_engine: Open, voices: Path) -> None:
    with opened(open_engine, voices) as piper:
        part = Part(TEXT, "en", piper.voices("en")[0])
        pieces = list(piper.stream(part))
        whole = piper.synthesize(part)
    assert len(pieces) == 2
    assert np.array_equal(np.concatenate([p.samples for p in pieces], axis=1), whole.samples)


@pytest.mark.parametrize("text", ["", "  \n", "..."])
def test_text_without_a_sound_gives_no_frames(open_engine: Open, voices: Path, text: str) -> None:
    with opened(open_engine, voices) as piper:
        assert piper.synthesize(Part(text, "en", piper.voices("en")[0])).samples.shape == (1, 0)


def test_text_is_no_command_to_piper_or_espeak(open_engine: Open, voices: Path) -> None:
    with opened(open_engine, voices) as piper:
        voice = piper.voices("en")[0]
        raw = piper.synthesize(Part("[[hɛloʊ]]", "en", voice)).samples.shape[1]
        spelt = piper.synthesize(Part("[ [hɛloʊ]]", "en", voice)).samples.shape[1]
        assert raw == spelt
        assert piper.synthesize(Part("one \x01\x0050P two", "en", voice)).samples.shape[1] > 0


def test_an_unknown_voice_names_the_nearest(open_engine: Open, voices: Path) -> None:
    with opened(open_engine, voices) as piper:
        voice = piper.voices("es")[0]
        from dataclasses import replace

        with pytest.raises(BadSettings) as raised:
            piper.synthesize(Part("Hola", "es", replace(voice, name="es_ES-duo-x_low/anna")))
        assert "es_ES-duo-x_low/ana" in raised.value.hint


def test_weights_that_are_no_piper_voice_are_refused_before_anything_is_loaded(open_engine: Open, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    with pytest.raises(MissingWeights, match=r"x\.onnx lacks x\.onnx\.json"), opened(open_engine, tmp_path):
        pass
