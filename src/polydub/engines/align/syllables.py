"""Word times by counting syllables: any language, estimated, never wrong about the text because it does not look."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from polydub.engines.base import READY, Engine, Info, Options, Weights
from polydub.spans import bridged
from polydub.text.syllables import spread
from polydub.types import HEAR_HZ, Audio, Span, Word, seconds

FRAME_S = 0.02
BELOW_LOUDEST_DB = 35.0  # speech is nearer than this to its loudest moments
ABOVE_NOISE_DB = 6.0  # and at least this far above the quietest
PAUSE_S = 0.15  # a shorter pause is inside a word
LEAST_S = 0.04  # a shorter sound is a click


class SyllableOptions(Options):
    """It has no options."""


class SyllableAligner:
    """The Aligner that counts."""

    def align(self, speech: Audio, text: str, language: str) -> tuple[Word, ...] | None:
        """Words in proportion to their syllables over the loud parts of `speech`, all marked estimated.

        Sound without loud parts counts as a whole. Never None: whether the text matches is not looked at.
        """
        spans = loud_parts(speech) or (Span(0.0, int(speech.duration * 1000) / 1000),)
        return spread(text, spans, language)


def loud_parts(speech: Audio) -> tuple[Span, ...]:
    """Where `speech` is energetic: nearer than 35 dB to its loud moments and 6 dB above its quiet ones; none in silence."""
    import numpy as np

    frame = round(FRAME_S * HEAR_HZ)
    count = speech.samples.shape[1] // frame
    if not count:
        return ()
    power = np.square(speech.samples[0, : count * frame].astype(np.float64)).reshape(count, frame).mean(axis=1)
    level = 10 * np.log10(power + 1e-12)
    loudest, quietest = (float(v) for v in np.percentile(level, (95, 5)))
    if loudest < -80:
        return ()
    threshold = min(max(loudest - BELOW_LOUDEST_DB, quietest + ABOVE_NOISE_DB), loudest - ABOVE_NOISE_DB)
    frames = [Span(seconds(n * FRAME_S), seconds((n + 1) * FRAME_S)) for n in np.flatnonzero(level >= threshold).tolist()]
    return tuple(span for span in bridged(frames, PAUSE_S) if span.duration >= LEAST_S)


@contextmanager
def _load(_options: SyllableOptions, _weights: Weights, _device: str) -> Generator[SyllableAligner]:
    yield SyllableAligner()


ENGINE = Engine(
    info=Info(
        kind="align",
        name="syllables",
        summary="any language: words spread over the sound by their syllables, estimated",
        licence="Apache-2.0",
        homepage="https://en.wikipedia.org/wiki/Isochrony",
        memory_mib=(5, 0),
        parallel=0,
    ),
    options=SyllableOptions,
    load=_load,
    check=lambda options: READY,
    languages=lambda options: None,
)
