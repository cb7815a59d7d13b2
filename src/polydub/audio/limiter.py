"""A look-ahead limiter without memory: the gain at a moment depends on 40 ms around it and on nothing else.

Therefore a film can be limited in blocks, in any order and by many cores, and the same curve can be applied to every
stem, so that stems sum to the mix. The gain never lets a true peak pass: it is an average, over a window, of minima over
a window at least as wide, so each averaged value already allows the peak in the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polydub.audio import IMPORTING
from polydub.audio.loudness import OVER, STRETCH, inter_sample_peaks
from polydub.audio.signal import drawn
from polydub.types import RATE_HZ, Samples

REACH = RATE_HZ // 50  # samples that the limiter looks ahead and back: 20 ms
_STEP = 16  # samples that share one wished gain: 1/3 ms


def limit(samples: Samples, ceiling: float, between: bool = True) -> NDArray[np.float32] | None:
    """Gain curve (frames,), at most 1, that keeps the true peak of (channels, frames) at or below `ceiling` (linear).

    None when nothing is above the ceiling. Without `between` only the samples themselves are held, not what lies between
    them: half the work, and near enough to know how loud the limited sound will be.
    """
    wished = _wished(samples, ceiling, between)
    if wished is None:
        return None
    with IMPORTING:
        from scipy.ndimage import minimum_filter1d

    half = REACH // _STEP // 2
    lowest = minimum_filter1d(wished, 2 * half + 1, mode="nearest")
    window = np.hanning(2 * half + 3)[1:-1]
    kernel = np.asarray(window / window.sum(), np.float64)
    smooth = np.convolve(np.asarray(np.pad(lowest, half, mode="edge"), np.float64), kernel, "valid")
    return drawn(smooth, _STEP, _STEP / 2, samples.shape[1])


def _wished(samples: Samples, ceiling: float, between: bool) -> NDArray[np.float64] | None:
    """The gain each step of _STEP samples needs alone; inter-sample peaks count. None when none is needed."""
    if samples.size == 0:
        return None
    loudest = np.maximum(samples.max(axis=0), -samples.min(axis=0))
    level = np.maximum.reduceat(loudest, np.arange(0, len(loudest), _STEP)).astype(np.float64)
    if between:
        hot, peaks = inter_sample_peaks(samples, ceiling * OVER)
        fine = np.zeros(-(-len(loudest) // STRETCH) * peaks.shape[1])
        fine.reshape(-1, peaks.shape[1])[hot] = peaks
        level = np.maximum(level, fine[: len(level)])
    # a peak between two steps is seen by one of them only
    level = np.maximum(level, np.maximum(np.append(level[1:], 0), np.append(0, level[:-1])))
    if level.max() <= ceiling:
        return None
    return np.minimum(1.0, ceiling / np.maximum(level, 1e-9))
