"""A look-ahead limiter without memory: the gain at a moment depends on 40 ms around it and on nothing else.

Therefore a film can be limited in blocks, in any order and by many cores, and the same curve can be applied to every
stem, so that stems sum to the mix. The gain never lets a true peak pass: it is an average, over a window, of minima over
a window at least as wide, so each averaged value already allows the peak in the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polydub.audio.filters import running
from polydub.audio.loudness import FINE, OVER, STRETCH, inter_sample_peaks
from polydub.audio.signal import drawn
from polydub.types import RATE_HZ, Samples

REACH = RATE_HZ // 50  # samples that the limiter looks ahead and back: 20 ms


def limit(samples: Samples, ceiling: float) -> NDArray[np.float32] | None:
    """Gain curve (frames,), at most 1, that keeps the true peak of (channels, frames) at or below `ceiling` (linear).

    None when nothing is above the ceiling.
    """
    level = levels(samples)
    if samples.size:
        hot, peaks = inter_sample_peaks(samples, ceiling * OVER)
        between = np.zeros(-(-samples.shape[1] // STRETCH) * peaks.shape[1])
        between.reshape(-1, peaks.shape[1])[hot] = peaks
        level = np.maximum(level, between[: len(level)])
    gains = allowed(level, ceiling)
    return None if gains is None else drawn(gains, FINE, FINE / 2, samples.shape[1])


def levels(samples: Samples) -> NDArray[np.float64]:
    """The highest absolute sample of each FINE samples, of any channel; what lies between samples does not count."""
    if samples.size == 0:
        return np.zeros(0)
    loudest = np.maximum(samples.max(axis=0), -samples.min(axis=0))
    return np.maximum.reduceat(loudest, np.arange(0, len(loudest), FINE)).astype(np.float64)


def allowed(level: NDArray[np.float64], ceiling: float) -> NDArray[np.float64] | None:
    """The gain that every FINE samples of these levels may have; None when nothing is above the ceiling.

    With the levels of the samples alone it is not quite what `limit` gives, and near enough to know how loud the limited
    sound will be.
    """
    if level.max(initial=0) <= ceiling:
        return None
    # a peak between two steps is seen by one of them only
    level = np.maximum(level, np.maximum(np.append(level[1:], 0), np.append(0, level[:-1])))
    wished = np.minimum(1.0, ceiling / np.maximum(level, 1e-9))
    half = REACH // FINE // 2
    lowest = running(np.minimum, wished, 2 * half + 1, 1.0)
    window = np.hanning(2 * half + 3)[1:-1]
    kernel = np.asarray(window / window.sum(), np.float64)
    return np.convolve(np.asarray(np.pad(lowest, half, mode="edge"), np.float64), kernel, "valid")
