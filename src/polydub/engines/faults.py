"""Engines that go wrong on purpose, for tests of what stands around engines. They are not registered."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from polydub.engines.asr import fake as fake_asr
from polydub.engines.base import Batch, Engine, Kind, Options, Weights
from polydub.engines.embedding import fingerprint
from polydub.engines.mt import fake as fake_mt
from polydub.engines.tts import fake as fake_tts
from polydub.types import VAD_FRAME, Audio, Part, Segment, Span, Voice, Word, seconds

if TYPE_CHECKING:
    from polydub.types import Samples

SpeechFault = Literal["crash", "memory", "hang", "nan", "silence", "dtype", "stereo", "long", "empty"]
TranslationFault = Literal["crash", "hang", "few", "many", "empty", "not-text"]
DetectionFault = Literal["crash", "short", "nan"]
RecognitionFault = Literal["crash", "hang", "reversed", "outside", "nan", "hallucinate", "repeat", "surrogate"]
EncodingFault = Literal["crash", "nan", "not-unit"]
SeparationFault = Literal["crash", "nan", "shape", "none"]
LOUD = 0.01  # RMS of what counts as speech for a detector without a fault: -40 dB
LOOPS = 4  # times that a recogniser in a loop says what it heard once
CREDITS = "Thank you for watching."
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
ROWS: dict[str, Callable[[Samples], Samples]] = {
    "nan": lambda rows: np.full_like(rows, np.nan),
    "not-unit": lambda rows: 3 * rows,
}
DIALOGUES: dict[str, Callable[[Samples], Samples | None]] = {
    "nan": lambda samples: np.full_like(samples, np.nan),
    "shape": lambda samples: samples[:, : samples.shape[1] // 2],
    "none": lambda samples: None,
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


def _timed(segment: Segment, change: Callable[[float, float], tuple[float, float]]) -> Segment:
    """The segment and its words with other times."""
    words: list[Word] = []
    for word in segment.words:
        start, end = change(word.start, word.end)
        words.append(replace(word, start=start, end=end))
    start, end = change(segment.start, segment.end)
    return replace(segment, start=start, end=end, words=tuple(words))


def _repeated(segments: Sequence[Segment], duration: float) -> Iterator[Segment]:
    """The beginning of each segment as often as it takes to fill it."""
    del duration
    for segment in segments:
        texts = segment.text.split()
        beginning = " ".join(texts[: max(1, len(texts) // LOOPS)])
        step = segment.duration / LOOPS
        edges = [seconds(segment.start + n * step) for n in range(LOOPS)] + [segment.end]
        for n in range(LOOPS):
            yield Segment(edges[n], edges[n + 1], text=beginning)


def _invented(segments: Sequence[Segment], duration: float) -> Iterator[Segment]:
    """Credits wherever nothing was heard."""
    at = 0.0
    for segment in (*segments, None):
        until = segment.start if segment else math.floor(duration * 1000) / 1000
        if until > at:
            texts = CREDITS.split()
            edges = [seconds(at + n * (until - at) / len(texts)) for n in range(len(texts))] + [until]
            words = tuple(Word(edges[n], edges[n + 1], text, 0.2) for n, text in enumerate(texts))
            yield Segment(at, until, text=CREDITS, words=words)
        if segment:
            yield segment
            at = segment.end


HEARD: dict[str, Callable[[Sequence[Segment], float], Iterable[Segment]]] = {
    "reversed": lambda found, _: (_timed(s, lambda start, end: (end, start)) for s in found),
    "outside": lambda found, length: (_timed(s, lambda start, end: (start + length, end + length)) for s in found),
    "nan": lambda found, _: (_timed(s, lambda start, end: (math.nan, math.nan)) for s in found),
    "surrogate": lambda found, _: (replace(s, text=f"{s.text} \ud83d") for s in found),
    "repeat": _repeated,
    "hallucinate": _invented,
}


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


class _BadDetection:
    """A SpeechDetector that takes whatever is loud for speech."""

    def __init__(self, fault: DetectionFault, fuse: _Fuse) -> None:
        self._fault = fault
        self._fuse = fuse

    def probabilities(self, speech: Audio) -> Sequence[float]:
        blown = self._fuse.blown()
        samples = speech.samples[0]
        frames = np.pad(samples, (0, -len(samples) % VAD_FRAME)).reshape(-1, VAD_FRAME)
        loud = np.sqrt(np.mean(np.square(frames), axis=1)) > LOUD
        found = np.where(loud, 0.95, 0.02).tolist()
        if not blown:
            return tuple(found)
        return tuple(found[:-1]) if self._fault == "short" else (math.nan,) * len(found)


class _BadRecognition(fake_asr.FakeRecognition):
    def __init__(self, fault: RecognitionFault, fuse: _Fuse) -> None:
        super().__init__("")
        self._spoil = HEARD.get(fault)
        self._fuse = fuse

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        blown = self._fuse.blown()
        found = super().transcribe(speech, language)
        yield from self._spoil(tuple(found), speech.duration) if blown and self._spoil else found


class _BadEncoding(fingerprint.Fingerprint):
    def __init__(self, fault: EncodingFault, fuse: _Fuse) -> None:
        self._spoil = ROWS.get(fault, lambda rows: rows)
        self._fuse = fuse

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        blown = self._fuse.blown()
        rows = super().embed(speech, windows)
        return self._spoil(rows) if blown else rows


class _BadSeparation:
    """A Separator that takes everything for dialogue while somebody speaks."""

    def __init__(self, fault: SeparationFault, fuse: _Fuse) -> None:
        self._spoil = DIALOGUES.get(fault, lambda samples: samples)
        self._fuse = fuse

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        blown = self._fuse.blown()
        dialogue = np.zeros_like(sound.samples)
        for span in speech:
            start, end = (max(0, round(time * sound.rate_hz)) for time in (span.start, span.end))
            dialogue[:, start:end] = sound.samples[:, start:end]
        return self._spoil(dialogue) if blown else dialogue


def _plain(kind: Kind) -> Engine:
    """The facts of an engine that needs nothing."""
    info = replace(fake_asr.ENGINE.info, kind=kind, features=frozenset[str]())
    return replace(fake_asr.ENGINE, info=info, options=Options)


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


def detection(fault: DetectionFault, *, good: int = 0) -> Engine:
    """A speech detector that takes what is louder than -40 dB for speech, until after the first `good` calls.

    crash: RuntimeError. short: a probability too few. nan: no numbers.
    """
    return _engine(_plain("vad"), fault, lambda fuse: _BadDetection(fault, fuse), good)


def recognition(fault: RecognitionFault, *, good: int = 0) -> Engine:
    """A recogniser like the fake one whose calls go wrong after the first `good` ones; `identify` stays well.

    crash: RuntimeError at the first segment. hang: until the engine is closed. reversed, outside, nan: times of segments
    and words. hallucinate: CREDITS in every silence, unsure. repeat: the beginning of every segment LOOPS times.
    surrogate: half a character.
    """
    return _engine(fake_asr.ENGINE, fault, lambda fuse: _BadRecognition(fault, fuse), good)


def encoding(fault: EncodingFault, *, good: int = 0) -> Engine:
    """A speaker encoder like the fingerprint whose calls go wrong after the first `good` ones.

    crash: RuntimeError. nan: no numbers. not-unit: rows of length 3.
    """
    return _engine(fingerprint.ENGINE, fault, lambda fuse: _BadEncoding(fault, fuse), good)


def separation(fault: SeparationFault, *, good: int = 0) -> Engine:
    """A separator that takes all sound for dialogue while somebody speaks, until after the first `good` calls.

    crash: RuntimeError. nan: no numbers. shape: half as long. none: it cannot.
    """
    return _engine(_plain("separation"), fault, lambda fuse: _BadSeparation(fault, fuse), good)
