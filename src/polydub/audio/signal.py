"""Small pure operations on samples: decibels, resampling, peaks for pictures."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

from polydub.types import Samples


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
    from scipy.signal import resample_poly

    common = gcd(from_hz, to_hz)
    return resample_poly(samples, to_hz // common, from_hz // common, axis=1).astype(np.float32)


def peaks(samples: Samples, per_column: int) -> NDArray[np.float32]:
    """Highest absolute sample of each column of `per_column` frames (the last may be shorter), over all channels."""
    if samples.shape[1] == 0:
        return np.zeros(0, np.float32)
    loudest = np.abs(samples).max(axis=0)
    return np.maximum.reduceat(loudest, np.arange(0, len(loudest), per_column))
