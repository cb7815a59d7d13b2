"""Speech over a bed: where the bed steps back, where takes lie. Pure, and local in time, so blocks agree at borders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydub.audio.signal import drawn, gain
from polydub.types import RATE_HZ, Samples, Span

PAD_S = 0.15  # cue times are this far off: the original's dialogue is taken out so much before and after the talk
RAMP_S = 0.05  # in which it goes, and in which ducking follows on removal
_GRID = RATE_HZ // 1000  # curves are computed every millisecond of the film, so that blocks agree


@dataclass(frozen=True, slots=True)
class Ducking:
    """How the bed steps back under speech.

    Attributes: depth_db: by how much. attack_s, release_s: length of the ramps before and after the speech.
    """

    depth_db: float = 15.0
    attack_s: float = 0.12
    release_s: float = 0.35


def duck(spans: Sequence[Span], start: int, frames: int, how: Ducking) -> NDArray[np.float32]:
    """Gain of the bed for samples `start` to `start + frames`: 1 in the open, the depth under speech, cosine ramps in dB.

    `spans` must be the bridged speech of the film around these samples; they need not be clipped.
    """
    first, covered = _covered(spans, start, frames, (how.attack_s, how.release_s))
    return drawn(10 ** (-how.depth_db * covered / 20), _GRID, first, frames)


def part(
    spans: Sequence[Span], ducked: Sequence[Span], start: int, frames: int, how: Ducking
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gains (source, dialogue) for samples `start` to `start + frames`; the bed is source * first - dialogue * second.

    In the open they are exactly 1 and 0. Under `spans` (see `duck`), which are widened by PAD_S, they are 1 and 1: the
    dialogue goes, all else stays. In `ducked`, where there is no dialogue to take away, they are as `duck` says and 0.
    """
    wide = [Span(span.start - PAD_S, span.end + PAD_S) for span in spans]
    first, taken = _covered(wide, start, frames, (RAMP_S, RAMP_S))
    if not ducked:
        return np.ones(frames, np.float32), drawn(taken, _GRID, first, frames)
    _, apart = _covered(ducked, start, frames, (RAMP_S, RAMP_S))
    kept = 1 - drawn(apart, _GRID, first, frames) * (1 - duck(spans, start, frames, how))
    return kept, drawn(taken * (1 - apart), _GRID, first, frames)


def _covered(spans: Sequence[Span], start: int, frames: int, ramps: tuple[float, float]) -> tuple[float, NDArray[np.float64]]:
    """1 inside `spans`, 0 beyond the ramps (seconds before and after), a raised cosine between, on the film's grid.

    The first value belongs to the sample that is told, counted from `start`; the values reach beyond the last sample.
    """
    first = start // _GRID * _GRID
    points = (first + np.arange(frames // _GRID + 3) * _GRID) / RATE_HZ
    covered = np.zeros(len(points))
    for span in spans:
        rise = np.clip((points - (span.start - ramps[0])) / ramps[0], 0, 1)
        fall = np.clip(((span.end + ramps[1]) - points) / ramps[1], 0, 1)
        covered = np.maximum(covered, np.minimum(rise, fall))
    return float(first - start), 0.5 - 0.5 * np.cos(np.pi * covered)


@dataclass(frozen=True, slots=True)
class Laid:
    """A take laid on the film: (channels, frames), the film sample where it begins, and its gain in dB."""

    samples: Samples
    start: int
    gain_db: float


def lay(takes: Iterable[Laid], start: int, frames: int, channels: int) -> Samples:
    """The sum of `takes` over samples `start` to `start + frames`, (channels, frames); mono goes to all channels."""
    track = np.zeros((channels, frames), np.float32)
    for take in takes:
        low, high = max(take.start, start), min(take.start + take.samples.shape[1], start + frames)
        if low < high:
            piece = take.samples[:, low - take.start : high - take.start]
            if piece.shape[0] > channels:
                piece = piece.mean(axis=0, keepdims=True)
            track[:, low - start : high - start] += piece * np.float32(gain(take.gain_db))
    return track
