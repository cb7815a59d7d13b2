"""Small pure operations on samples: decibels, resampling, peaks for pictures."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

from polydub.audio import IMPORTING
from polydub.audio.filters import LARGEST, polyphase
from polydub.types import RATE_HZ, Samples


def gain(db: float) -> float:
    """Linear factor of a level change in dB."""
    return float(10 ** (db / 20))


def scaled(samples: Samples, factor: float | NDArray[np.float32]) -> Samples:
    """`samples` (channels, frames) times one factor, or times a curve (frames,), in float32."""
    return np.multiply(samples, factor, dtype=np.float32)


def decibels(factor: float) -> float:
    """Level change in dB of a linear factor; -120 for zero and below."""
    return float(20 * np.log10(max(factor, 1e-6)))


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """(channels, frames) at another rate by a linear-phase polyphase filter; frames * to_hz / from_hz, rounded up."""
    if from_hz == to_hz or samples.shape[1] == 0:
        return samples
    common = gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    if up * down > LARGEST:  # 44101 Hz, say
        with IMPORTING:
            from scipy.signal import resample_poly

        return resample_poly(samples, up, down, axis=1).astype(np.float32)
    return polyphase(samples, up, down, 10 * max(up, down), 5.0)  # the filter of scipy.signal.resample_poly


def peaks(samples: Samples, per_column: int) -> NDArray[np.float32]:
    """Highest absolute sample of each column of `per_column` frames (the last may be shorter), over all channels."""
    if samples.shape[1] == 0:
        return np.zeros(0, np.float32)
    loudest = np.abs(samples).max(axis=0)
    return np.maximum.reduceat(loudest, np.arange(0, len(loudest), per_column))


def drawn(values: NDArray[np.float64], step: int, first: float, frames: int) -> NDArray[np.float32]:
    """Straight lines between `values`, which lie at samples `first`, `first + step`, ...: a curve of `frames` samples.

    Before the first and after the last value the curve is level. Drawn piece by piece, to need little memory.
    """
    places = first + np.arange(len(values)) * float(step)
    curve = np.empty(frames, np.float32)
    for start in range(0, frames, RATE_HZ):
        moments = np.arange(start, min(start + RATE_HZ, frames), dtype=np.float64)
        low = max(0, int((start - first) // step) - 1)
        near = slice(low, low + RATE_HZ // step + 4)
        curve[start : start + RATE_HZ] = np.interp(moments, places[near], values[near])
    return curve
