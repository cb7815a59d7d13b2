"""sherpa-onnx, loaded for real with tiny models of each family in its own process; what they say is nonsense."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines.asr.sherpa import ENGINE, SherpaOptions
from polydub.errors import EngineFailed, UnsupportedLanguage
from polydub.types import HEAR_HZ, Audio, Segment

pytestmark = [pytest.mark.neural, pytest.mark.slow]
Load = Callable[..., Any]
FAMILIES = ("nemo-ctc", "nemo-transducer", "tdt", "transducer", "sense-voice", "moonshine")


@pytest.fixture
def root(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("sherpa-onnx", "sherpa_asr")


@pytest.fixture
def load(open_engine: Callable[..., Any]) -> Iterator[Load]:
    """`load(folder)`: the engine in its own process."""
    with ExitStack() as stack:
        yield lambda folder, **values: stack.enter_context(
            open_engine(ENGINE, SherpaOptions(**{"model": str(folder), "threads": 1, **values}), {})
        )


def hum(seconds: float) -> Audio:
    """Notes with pauses between them."""
    at = np.arange(round(seconds * HEAR_HZ)) / HEAR_HZ
    notes = np.sin(2 * np.pi * (200 + 150 * (np.floor(at * 3) % 7)) * at) * (at % 2 < 1.3)
    return Audio((0.5 * notes).astype(np.float32)[None], HEAR_HZ)


def check(segments: list[Segment], sound: Audio) -> None:
    words = [word for segment in segments for word in segment.words]
    assert all(a.start <= b.start for a, b in pairwise(words))
    for segment in segments:
        assert segment.words and segment.text.encode("utf-8").strip()
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end <= sound.duration
            assert word.confidence is None or 0 <= word.confidence <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_writes_down_sound_of_any_length(root: Path, load: Load, family: str) -> None:
    engine = load(root / family)
    for seconds in (0, 0.001, 0.05, 0.1, 0.5, 6, 61):
        sound = hum(seconds)
        found = list(engine.transcribe(sound, "en"))
        check(found, sound)
        assert bool(found) == (seconds >= 6) or seconds in (0.1, 0.5)
    assert found[-1].end > 50, "the last stretch is heard, too"
    rng = np.random.default_rng(0)
    noise = Audio(rng.normal(0, 0.2, (1, 3 * HEAR_HZ)).astype(np.float32), HEAR_HZ)
    quiet = Audio(np.zeros((1, 3 * HEAR_HZ), np.float32), HEAR_HZ)
    for sound in (noise, quiet):
        check(list(engine.transcribe(sound, None)), sound)


@pytest.mark.parametrize("family", ["tdt", "nemo-ctc", "transducer", "sense-voice"])
def test_word_times_come_from_the_tokens(root: Path, load: Load, family: str) -> None:
    words = [word for segment in load(root / family).transcribe(hum(6), "en") for word in segment.words]
    assert len(words) > 5 and not any(word.estimated for word in words)
    assert len({word.start for word in words}) > 5


def test_a_model_without_times_has_estimated_ones(root: Path, load: Load) -> None:
    (found,) = load(root / "moonshine").transcribe(hum(6), "en")
    assert found.text == "Hello world." and all(word.estimated for word in found.words)


def test_sense_voice_tells_the_language(root: Path, load: Load) -> None:
    engine = load(root / "sense-voice")
    assert engine.identify(hum(3)) == ("en", 0.5)
    assert engine.identify(hum(0)) == ("und", 0.0)
    check(list(engine.transcribe(hum(3), "ja")), hum(3))
    with pytest.raises(UnsupportedLanguage, match="Korean"):
        list(engine.transcribe(hum(1), "de"))


def test_a_listener_may_leave_early_and_the_engine_goes_on(root: Path, load: Load) -> None:
    engine, sound = load(root / "nemo-ctc", languages="en"), hum(40)
    whole = list(engine.transcribe(sound, "en"))
    begun = engine.transcribe(sound, "en")
    assert next(begun) == whole[0]
    begun.close()
    assert list(engine.transcribe(sound, "en")) == whole
    assert engine.identify(sound) == ("en", 0.0)


def test_a_model_that_ends_its_process_is_an_engine_failure(root: Path, tmp_path: Path, load: Load) -> None:
    folder = shutil.copytree(root / "nemo-transducer", tmp_path / "odd")
    shutil.copy(root / "tdt/joiner.onnx", folder / "joiner.onnx")  # says more than the vocabulary has; no metadata tells
    with pytest.raises(EngineFailed) as caught:
        list(load(folder).transcribe(hum(1), "en"))
    assert caught.value.message and caught.value.hint
