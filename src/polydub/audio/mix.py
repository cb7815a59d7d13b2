"""Speech over a bed: where the bed steps back, where takes lie. Pure, and local in time, so blocks agree at borders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydub.audio.signal import drawn, gain
from polydub.types import RATE_HZ, Samples, Span

_GRID = RATE_HZ // 1000  # the curve is computed every millisecond


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
    points = np.arange(frames // _GRID + 2) * _GRID / RATE_HZ + start / RATE_HZ
    depth = np.zeros(len(points))
    for span in spans:
        rise = np.clip((points - (span.start - how.attack_s)) / how.attack_s, 0, 1)
        fall = np.clip(((span.end + how.release_s) - points) / how.release_s, 0, 1)
        depth = np.maximum(depth, np.minimum(rise, fall))
    curve = 10 ** (-how.depth_db * (0.5 - 0.5 * np.cos(np.pi * depth)) / 20)
    return drawn(curve, _GRID, 0.0, frames)


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
