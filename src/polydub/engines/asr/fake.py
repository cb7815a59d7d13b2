"""A recogniser for tests and trials: instant, the same every time, any language; it hears where there is sound, not what."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from zlib import crc32

from pydantic import Field

from polydub.engines.base import READY, Engine, Info, Options, Weights
from polydub.spans import bridged
from polydub.types import HEAR_HZ, Audio, Segment, Span, Word, seconds

WORDS = ("one", "river", "under", "the", "bridge", "runs", "quietly", "home")
FRAME_S = 0.02
LOUD = 0.01  # RMS of a frame that counts as sound, full scale 1: -40 dB
PAUSE_S = 0.3  # a shorter pause is inside a segment
LEAST_S = 0.1  # a shorter sound is a click
WORD_S = 0.4  # length that words have, about
CONFIDENCE = 0.9


class FakeOptions(Options):
    """Options of the fake recogniser."""

    text: str = Field("", description="what every stretch of sound is taken for; empty = words that depend on its time")


class FakeRecognition:
    """A Transcriber that takes each stretch of sound for a sentence."""

    def __init__(self, text: str) -> None:
        self._text = text

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """One segment for each stretch louder than -40 dB, its words evenly placed; silence has none."""
        for span in _stretches(speech):
            texts = self._text.split() or _sentence(span)
            width = (span.end - span.start) / len(texts)
            edges = [seconds(span.start + n * width) for n in range(len(texts))] + [span.end]
            words = tuple(Word(edges[n], edges[n + 1], text, CONFIDENCE) for n, text in enumerate(texts))
            yield Segment(span.start, span.end, text=" ".join(texts), words=words)

    def identify(self, speech: Audio) -> tuple[str, float]:
        """Always English."""
        return "en", 0.9


def _stretches(speech: Audio) -> tuple[Span, ...]:
    import numpy as np

    frame = round(FRAME_S * HEAR_HZ)
    samples = speech.samples[0]
    whole = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
    loud = np.flatnonzero(np.sqrt(np.mean(np.square(whole), axis=1)) > LOUD)
    frames = [Span(seconds(n * FRAME_S), seconds(min((n + 1) * FRAME_S, speech.duration))) for n in loud.tolist()]
    return tuple(span for span in bridged(frames, PAUSE_S) if span.duration >= LEAST_S)


def _sentence(span: Span) -> list[str]:
    number = crc32(f"{span.start:.1f} {span.duration:.1f}".encode())
    count = max(1, round(span.duration / WORD_S))
    texts = [WORDS[(number + n) % len(WORDS)] for n in range(count)]
    return [texts[0].capitalize(), *texts[1:-1], f"{texts[-1]}."] if count > 1 else [f"{texts[0].capitalize()}."]


@contextmanager
def _load(options: FakeOptions, _weights: Weights, _device: str) -> Generator[FakeRecognition]:
    yield FakeRecognition(options.text)


ENGINE = Engine(
    info=Info(
        kind="asr",
        name="fake",
        summary="words by the clock wherever there is sound, for tests and trials",
        licence="Apache-2.0",
        homepage="",
        memory_mib=(5, 0),
        parallel=0,
        features=frozenset({"word_times"}),
    ),
    options=FakeOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
