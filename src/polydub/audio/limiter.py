"""A look-ahead limiter without memory: the gain at a moment depends on 40 ms around it and on nothing else.

Therefore a film can be limited in blocks, in any order and by many cores, and the same curve can be applied to every
stem, so that stems sum to the mix. The gain never lets a true peak pass: it is an average, over a window, of minima over
a window at least as wide, so each averaged value already allows the peak in the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polydub.types import RATE_HZ, Samples

REACH = RATE_HZ // 50  # samples that the limiter looks ahead and back: 20 ms
_STEP = 16  # samples that share one wished gain: 1/3 ms


def limit(samples: Samples, ceiling: float) -> NDArray[np.float32] | None:
    """Gain curve (frames,), at most 1, that keeps the true peak of (channels, frames) at or below `ceiling` (linear).

    None when nothing is above the ceiling.
    """
    wished = _wished(samples, ceiling)
    if wished is None:
        return None
    from scipy.ndimage import minimum_filter1d

    half = REACH // _STEP // 2
    lowest = minimum_filter1d(wished, 2 * half + 1, mode="nearest")
    window = np.hanning(2 * half + 3)[1:-1]
    smooth = np.convolve(np.pad(lowest, half, mode="edge"), window / window.sum(), "valid")
    middles = np.arange(len(smooth)) * float(_STEP) + _STEP / 2
    curve: NDArray[np.float64] = np.interp(np.arange(samples.shape[1], dtype=np.float64), middles, smooth)
    return curve.astype(np.float32)


def _wished(samples: Samples, ceiling: float) -> NDArray[np.float64] | None:
    """The gain each step of _STEP samples needs alone; inter-sample peaks count."""
    from scipy.signal import resample_poly

    loudest = np.abs(samples).max(axis=0) if samples.size else np.zeros(0, np.float32)
    starts = np.arange(0, len(loudest), _STEP)
    if len(starts) == 0:
        return None
    level = np.maximum.reduceat(loudest, starts).astype(np.float64)
    size, pad = 2048, 32
    coarse = np.arange(0, len(loudest), size)
    for start in coarse[np.maximum.reduceat(loudest, coarse) > ceiling * 0.7]:
        low, high = max(0, start - pad), min(start + size + pad, len(loudest))
        fine = np.abs(resample_poly(samples[:, low:high], 4, 1, axis=1)).max(axis=0)[4 * (start - low) :][: 4 * size]
        steps = np.maximum.reduceat(fine, np.arange(0, len(fine), 4 * _STEP))
        first = start // _STEP
        steps = steps[: len(level) - first]
        level[first : first + len(steps)] = np.maximum(level[first : first + len(steps)], steps)
    # a peak between two steps is seen by one of them only
    level = np.maximum(level, np.maximum(np.append(level[1:], 0), np.append(0, level[:-1])))
    if level.max() <= ceiling:
        return None
    return np.minimum(1.0, ceiling / np.maximum(level, 1e-9))
