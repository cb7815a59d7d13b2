"""Dialogue by what is heard in its pauses: a mask in time and frequency, without a trained model, always there."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from polydub.engines.base import READY, Engine, Info, Options, Weights
from polydub.types import Audio, Samples, Span


class MaskOptions(Options):
    """The mask has no options."""


class PauseMask:
    """A Separator. Keeps nothing between calls, so that any number of threads may share it."""

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        """The dialogue in `sound` (RATE_HZ), float32 of its shape; silent outside `speech`.

        None where somebody speaks nearly all the time, so that the background is never heard alone. Steady backgrounds
        come out best; what changes with the words, such as a melody, goes partly with the dialogue.
        """
        import numpy as np

        from polydub.audio import stems

        frames = sound.samples.shape[1]
        curve = stems.gate(speech, frames)
        if not curve.any():
            return np.zeros_like(sound.samples)
        mask = stems.pause_mask(stems.middle(sound.samples)[0], speech)
        if mask is None:
            return None
        return stems.masked(sound.samples, mask) * curve


@contextmanager
def _load(_options: MaskOptions, _weights: Weights, _device: str) -> Generator[PauseMask]:
    yield PauseMask()


ENGINE = Engine(
    info=Info(
        kind="separation",
        name="mask",
        summary="takes dialogue out of what is heard in its pauses; best on steady backgrounds",
        licence="Apache-2.0",
        homepage="https://en.wikipedia.org/wiki/Wiener_filter",
        memory_mib=(300, 0),
        parallel=0,
    ),
    options=MaskOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
