"""Engines that go wrong on purpose, for tests of what stands around engines. They are not registered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from polydub.engines.base import Batch, Engine, Options, Weights
from polydub.engines.mt import fake as fake_mt
from polydub.engines.tts import fake as fake_tts
from polydub.types import Audio, Part, Voice

if TYPE_CHECKING:
    from polydub.types import Samples

SpeechFault = Literal["crash", "memory", "hang", "nan", "silence", "dtype", "stereo", "long", "empty"]
TranslationFault = Literal["crash", "hang", "few", "many", "empty", "not-text"]
Sound = Callable[[Audio], Audio]


def _with(samples: Samples, rate_hz: int) -> Audio:
    """An Audio that nobody checked, as an engine that builds its own objects could return it."""
    audio = object.__new__(Audio)
    object.__setattr__(audio, "samples", samples)
    object.__setattr__(audio, "rate_hz", rate_hz)
    return audio


SOUNDS: dict[str, Sound] = {
    "nan": lambda a: _with(np.full_like(a.samples, np.nan), a.rate_hz),
    "silence": lambda a: _with(np.zeros_like(a.samples), a.rate_hz),
    "dtype": lambda a: _with(a.samples.astype(np.float64), a.rate_hz),  # pyright: ignore[reportArgumentType]
    "stereo": lambda a: _with(np.repeat(a.samples, 2, axis=0), a.rate_hz),
    "long": lambda a: _with(np.tile(a.samples, (1, 10)), a.rate_hz),
    "empty": lambda a: _with(a.samples[:, :0], a.rate_hz),
}
ANSWERS: dict[str, Callable[[Sequence[str]], Sequence[object]]] = {
    "few": lambda texts: texts[:-1],
    "many": lambda texts: (*texts, "one too many"),
    "empty": lambda texts: ("",) * len(texts),
    "not-text": lambda texts: (None,) * len(texts),
}


class _Fuse:
    """Lets the first `good` calls pass; then crashes, runs out of memory or hangs when that is the fault."""

    def __init__(self, fault: str, good: int) -> None:
        self._fault = fault
        self._left = good
        self._lock = threading.Lock()
        self.closed = threading.Event()

    def blown(self) -> bool:
        """Whether this call shall go wrong."""
        with self._lock:
            self._left -= 1
            blown = self._left < 0
        if blown and self._fault == "crash":
            raise RuntimeError("an engine crashed on purpose")
        if blown and self._fault == "memory":
            raise MemoryError("an engine ran out of memory on purpose")
        if blown and self._fault == "hang":
            self.closed.wait()
        return blown


class _BadSpeech(fake_tts.FakeSpeech):
    def __init__(self, fault: SpeechFault, fuse: _Fuse) -> None:
        self._spoil = SOUNDS.get(fault, lambda a: a)
        self._fuse = fuse

    def voices(self, language: str) -> Sequence[Voice]:
        return tuple(replace(v, engine="fault") for v in super().voices(language))

    def synthesize(self, part: Part) -> Audio:
        blown = self._fuse.blown()
        sound = super().synthesize(part)
        return self._spoil(sound) if blown else sound


class _BadTranslation(fake_mt.FakeTranslation):
    def __init__(self, fault: TranslationFault, fuse: _Fuse) -> None:
        self._spoil = ANSWERS.get(fault, lambda texts: texts)
        self._fuse = fuse

    def translate(self, batch: Batch) -> Sequence[str]:
        blown = self._fuse.blown()
        texts = super().translate(batch)
        return self._spoil(texts) if blown else texts  # pyright: ignore[reportReturnType]


def _engine(like: Engine, fault: str, load: Callable[[_Fuse], object], good: int) -> Engine:
    @contextmanager
    def opened(_options: Options, _weights: Weights, _device: str) -> Generator[object]:
        fuse = _Fuse(fault, good)
        try:
            yield load(fuse)
        finally:
            fuse.closed.set()  # lets a hanging call end

    info = replace(like.info, name=f"fault-{fault}", summary=f"goes wrong on purpose: {fault}")
    return replace(like, info=info, load=opened)


def speech(fault: SpeechFault, *, good: int = 0) -> Engine:
    """A speech engine like the fake one whose calls go wrong after the first `good` ones.

    crash: RuntimeError. memory: MemoryError. hang: until the engine is closed. nan, silence, stereo, empty: sound of the
    right length otherwise. dtype: float64. long: ten times too long.
    """
    return _engine(fake_tts.ENGINE, fault, lambda fuse: _BadSpeech(fault, fuse), good)


def translation(fault: TranslationFault, *, good: int = 0) -> Engine:
    """A translation engine like the fake one whose calls go wrong after the first `good` ones.

    crash: RuntimeError. hang: until the engine is closed. few, many: a wrong count. empty: empty texts. not-text: None.
    """
    return _engine(fake_mt.ENGINE, fault, lambda fuse: _BadTranslation(fault, fuse), good)
