"""Kyutai STT with tiny random weights: the real code of transformers in its own process; what it says is nonsense."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines.asr.kyutai import ENGINE, KyutaiOptions
from polydub.errors import EngineFailed, UnsupportedLanguage
from polydub.types import HEAR_HZ, Audio, Segment

pytestmark = [pytest.mark.neural, pytest.mark.slow]
Load = Callable[..., Any]


@pytest.fixture
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("transformers", "kyutai")


@pytest.fixture
def load(folder: Path, open_engine: Callable[..., Any]) -> Iterator[Load]:
    """`load(stretch_s=5)`: the engine in its own process."""
    with ExitStack() as stack:
        yield lambda **values: stack.enter_context(
            open_engine(ENGINE, KyutaiOptions(**{"model": str(folder), "threads": 1, **values}), {})
        )


def hum(seconds: float) -> Audio:
    """Notes with pauses between them, other ones each time."""
    at = np.arange(round(seconds * HEAR_HZ)) / HEAR_HZ
    notes = np.sin(2 * np.pi * (200 + 150 * (np.floor(at * 3) % 7)) * at) * (at % 2 < 1.3)
    return Audio((0.5 * notes).astype(np.float32)[None], HEAR_HZ)


def check(segments: list[Segment], sound: Audio) -> None:
    words = [word for segment in segments for word in segment.words]
    assert all(a.start <= b.start for a, b in pairwise(words))
    for segment in segments:
        assert segment.words and segment.text == " ".join(word.text for word in segment.words)
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end <= sound.duration
            assert word.confidence is not None and 0 < word.confidence <= 1 and not word.estimated


def test_sound_becomes_words_in_order_inside_it(load: Load) -> None:
    engine, sound = load(), hum(30)
    segments = list(engine.transcribe(sound, "en"))
    check(segments, sound)
    assert len(segments) > 1 and len({word.text for s in segments for word in s.words}) > 3
    assert list(engine.transcribe(sound, None)) == segments


def test_long_sound_is_heard_in_stretches(load: Load) -> None:
    engine, sound = load(stretch_s=5), hum(21)
    segments = list(engine.transcribe(sound, "en"))
    check(segments, sound)
    assert segments[0].start < 2 and segments[-1].end > 19
    assert any(word.start > 15 for segment in segments for word in segment.words)


def test_silence_noise_and_sounds_without_room_for_a_word_are_no_error(load: Load) -> None:
    engine = load()
    for frames in (0, 1, 159, 1599, 1600, 1601, 24_000):
        quiet = Audio(np.zeros((1, frames), np.float32), HEAR_HZ)
        loud = Audio(np.random.default_rng(1).normal(0, 0.2, (1, frames)).astype(np.float32), HEAR_HZ)
        for sound in (quiet, loud):
            found = list(engine.transcribe(sound, "en"))
            check(found, sound)
            assert not found or frames >= 1600


def test_a_listener_may_leave_early_and_the_engine_goes_on(load: Load) -> None:
    engine, sound = load(), hum(30)
    whole = list(engine.transcribe(sound, "en"))
    begun = engine.transcribe(sound, "en")
    assert next(begun) == whole[0]
    begun.close()
    assert list(engine.transcribe(sound, "en")) == whole


def test_other_languages_are_refused_and_its_own_is_told(load: Load) -> None:
    engine = load()
    assert engine.identify(hum(3)) == ("en", 0.0)
    with pytest.raises(UnsupportedLanguage, match="English"):
        list(engine.transcribe(hum(1), "de"))
    assert list(engine.transcribe(hum(2), "en-GB")) == list(engine.transcribe(hum(2), "en"))


@pytest.mark.parametrize("damage", ["cut", "config", "tokenizer"])
def test_damaged_weights_are_an_engine_failure_with_a_hint(
    folder: Path, tmp_path: Path, open_engine: Callable[..., Any], damage: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    if damage == "cut":
        whole = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    elif damage == "config":
        config = json.loads((copy / "config.json").read_bytes())
        (copy / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    else:
        (copy / "tokenizer.json").write_text("{}")
    with (
        pytest.raises(EngineFailed) as caught,
        open_engine(ENGINE, KyutaiOptions(model=str(copy), threads=1), {}) as engine,
    ):
        list(engine.transcribe(hum(1), "en"))
    assert "copy" in caught.value.message and caught.value.hint
