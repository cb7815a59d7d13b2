"""Kokoro-onnx 0.6 for real, on a tiny model of sines, in its own environment and process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines.tts.kokoro import ENGINE, KokoroOptions
from polydub.errors import BadSettings, UnsupportedLanguage
from polydub.types import Part

pytestmark = [pytest.mark.neural, pytest.mark.slow]
Open = Callable[..., AbstractContextManager[Any]]
TEXT = "Hello there my friend. How are you today?"


@pytest.fixture
def model(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("kokoro", "kokoro")


def opened(open_engine: Open, folder: Path) -> AbstractContextManager[Any]:
    return open_engine(ENGINE, KokoroOptions(model=str(folder), threads=1), {})


def test_voices_come_by_language_the_nearest_region_first(open_engine: Open, model: Path) -> None:
    assert ENGINE.languages(KokoroOptions(model=str(model))) == {"en-US", "en-GB", "es"}
    with opened(open_engine, model) as kokoro:
        assert [v.name for v in kokoro.voices("en")] == ["af_x", "am_y", "bf_z"]
        assert [v.name for v in kokoro.voices("en-GB")] == ["bf_z", "af_x", "am_y"]
        assert [(v.name, v.label, v.language) for v in kokoro.voices("es-MX")] == [("ef_dora", "Dora, woman", "es-MX")]


@pytest.mark.parametrize(
    ("language", "says"), [("ja", "misaki"), ("zh", "misaki"), ("cmn", "misaki"), ("de", "does not speak")]
)
def test_languages_that_would_come_out_as_nonsense_are_refused(
    open_engine: Open, model: Path, language: str, says: str
) -> None:
    with opened(open_engine, model) as kokoro, pytest.raises(UnsupportedLanguage, match=says):
        kokoro.voices(language)


def test_speech_is_finite_and_voices_and_rates_differ(open_engine: Open, model: Path) -> None:
    with opened(open_engine, model) as kokoro:
        one, two = kokoro.voices("en")[:2]
        audio = kokoro.synthesize(Part(TEXT, "en", one))
        assert audio.rate_hz == 24_000 and audio.samples.shape[0] == 1 and np.isfinite(audio.samples).all()
        assert kokoro.synthesize(Part(TEXT, "en", two)).duration > audio.duration, "the second tiny voice is slower"
        slow, fast = (kokoro.synthesize(Part(TEXT, "en", one, rate)).duration for rate in (0.8, 1.3))
        assert slow > 1.1 * audio.duration > 1.2 * fast
        slowest = [kokoro.synthesize(Part(TEXT, "en", one, rate)).duration for rate in (0.5, 0.1)]
        assert slowest[0] == slowest[1], "beyond its limits it speaks at the limit"


def test_a_stream_is_sentence_by_sentence_with_a_pause_between(open_engine: Open, model: Path) -> None:
    with opened(open_engine, model) as kokoro:
        pieces = list(kokoro.stream(Part(TEXT, "en", kokoro.voices("en")[0])))
    assert len(pieces) == 2 and not pieces[1].samples[0, :6000].any() and pieces[0].samples[0, 1:100].any()


def test_text_of_more_than_one_batch_is_spoken_whole(open_engine: Open, model: Path) -> None:
    with opened(open_engine, model) as kokoro:
        voice = kokoro.voices("en")[0]
        one = kokoro.synthesize(Part("word, " * 20, "en", voice)).duration
        many = kokoro.synthesize(Part("word, " * 200, "en", voice)).duration
    assert 9 < many / one < 11


@pytest.mark.parametrize("text", ["", "  \n"])
def test_blank_text_gives_no_frames(open_engine: Open, model: Path, text: str) -> None:
    with opened(open_engine, model) as kokoro:
        assert kokoro.synthesize(Part(text, "en", kokoro.voices("en")[0])).samples.shape == (1, 0)


def test_an_unknown_voice_names_the_nearest_and_japanese_ones_are_unknown(open_engine: Open, model: Path) -> None:
    with opened(open_engine, model) as kokoro:
        voice = kokoro.voices("es")[0]
        for name in ("ef_dorra", "jf_alpha"):
            with pytest.raises(BadSettings, match="no voice"):
                kokoro.synthesize(Part("Hola", "es", replace(voice, name=name)))
