"""From the probability that somebody speaks to the spans in which somebody does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from polydub.types import Span, seconds

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as speech. Probabilities are 0 to 1, lengths are seconds.

    Attributes: on: speech begins at this probability. off: and may end below this one; None = `on` - 0.15, at least 0.05.
    min_speech_s: shorter speech is dropped. min_silence_s: shorter pauses are bridged. pad_s: added at both ends.
    longest_s: longer spans are cut where speech is least probable.
    """

    on: float = 0.5
    off: float | None = None
    min_speech_s: float = 0.25
    min_silence_s: float = 0.3
    pad_s: float = 0.1
    longest_s: float = 28.0

    @property
    def floor(self) -> float:
        """`off`, or what stands for it."""
        return max(0.05, self.on - 0.15) if self.off is None else self.off


def spans(
    probabilities: Sequence[float] | Numbers, times: Sequence[float] | Numbers, total_s: float, rules: Rules
) -> tuple[Span, ...]:
    """Where somebody speaks: padded, in order, inside [0, `total_s`], on whole milliseconds.

    `probabilities` and `times` are (frames,): the chance of speech in a frame and the second at which it begins; a frame
    lasts until the next one begins, the last one until `total_s`. Frames need not be equally long. Spans never overlap;
    those that were cut for being longer than `rules.longest_s` touch. No frames, or silence, give none.
    """
    chances, starts = np.asarray(probabilities, np.float64), np.asarray(times, np.float64)
    end = np.floor(total_s * 1000 + 1e-6) / 1000  # so that rounding never leads out of the film
    padded: list[tuple[float, float]] = []
    for start, stop in _heard(chances.tolist(), starts.tolist(), total_s, rules):
        low, high = max(0.0, start - rules.pad_s), min(end, stop + rules.pad_s)
        if padded and low < padded[-1][1]:
            padded[-1] = (padded[-1][0], high)
        elif low < high:
            padded.append((low, high))
    found: list[Span] = []
    for low, high in padded:
        edges = [low, *_cuts(chances, starts, (low, high), rules), high]
        found.extend(Span(seconds(a), seconds(b)) for a, b in pairwise(edges))
    return tuple(span for span in found if span.end > span.start)


def _heard(chances: list[float], starts: list[float], total_s: float, rules: Rules) -> list[tuple[float, float]]:
    """Speech with hysteresis, without padding: it begins at `on` and ends where it was below `off` for `min_silence_s`."""
    found: list[tuple[float, float]] = []
    began: float | None = None
    quiet: float | None = None
    for chance, start, stop in zip(chances, starts, [*starts, total_s][1:], strict=True):
        if chance >= rules.on:
            began, quiet = start if began is None else began, None
        elif began is not None and chance < rules.floor:
            quiet = start if quiet is None else quiet
        if began is not None and quiet is not None and stop - quiet >= rules.min_silence_s:
            found.append((began, quiet))
            began = quiet = None
    if began is not None:
        found.append((began, total_s if quiet is None else quiet))
    return [(start, stop) for start, stop in found if stop - start >= rules.min_speech_s]


def _cuts(chances: Numbers, starts: Numbers, span: tuple[float, float], rules: Rules) -> list[float]:
    """Where to cut a span so that no piece is longer than `longest_s`: always in the latter half of what a piece may last."""
    low, high = span
    cuts: list[float] = []
    while high - low > rules.longest_s:
        latest = min(low + rules.longest_s, high - min(rules.min_speech_s, rules.longest_s / 2))
        first, last = np.searchsorted(starts, [low + rules.longest_s / 2, latest], side="right")
        low = float(starts[first + np.argmin(chances[first:last])]) if first < last else latest
        cuts.append(low)
    return cuts
