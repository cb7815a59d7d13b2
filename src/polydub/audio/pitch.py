"""The pitch of a voice: its fundamental frequency by normalised cross-correlation, and what is usual for the speaker.

The correlation is Talkin's, "A robust algorithm for pitch tracking (RAPT)", 1995; the second look within the speaker's own
range is De Looze and Hirst's, "Detecting changes in key and range", Speech Prosody 2008.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from polydub.audio import signal
from polydub.types import Samples

FLOOR_HZ, CEILING_HZ = 60.0, 400.0
STEP_S = 0.01  # between two frames
WORK_HZ = 8000
FRAME = 320  # 40 ms at WORK_HZ: more than two periods of FLOOR_HZ
SHORT_LAG, LONG_LAG = round(WORK_HZ / CEILING_HZ), round(WORK_HZ / FLOOR_HZ)
SPAN = FRAME + LONG_LAG + 1  # samples one frame looks at
CENTRE = FRAME // 2 + 27  # and their middle for a voice of 150 Hz
SOFT = np.hanning(14)[1:-1]  # low-pass, -6 dB at 650 Hz: upper harmonics make the peaks narrower than a lag
VOICED = 0.6  # least correlation with the next period
BELOW_LOUD_DB = -30.0  # quieter frames are not voiced; loud is the 95th percentile
OCTAVE_COST = 0.06  # what a period must be better by, to be taken for one half as long
USUAL = (0.7, 1.6)  # times the lower and the upper quartile: the speaker's range in the second look
AT_ONCE = 2000  # frames worked on together, so that memory does not grow with the length

Floats = NDArray[np.float64]


def track(mono: Samples, rate_hz: int) -> tuple[Floats, Floats]:
    """(times in seconds, fundamental in Hz) of `mono`, float32 (n,), every 10 ms; 0.0 Hz where it is not voiced.

    Between FLOOR_HZ and CEILING_HZ. Sound under 60 ms gives no frames; silence, noise and a constant are not voiced.
    """
    sound = signal.resample(mono[np.newaxis], rate_hz, WORK_HZ)[0].astype(np.float64)
    step = round(STEP_S * WORK_HZ)
    if len(sound) < SPAN:
        return np.zeros(0), np.zeros(0)
    sound = np.convolve(sound, SOFT / SOFT.sum(), "same")
    frames = sliding_window_view(sound, SPAN)[::step]
    parts = [_correlated(frames[at : at + AT_ONCE]) for at in range(0, len(frames), AT_ONCE)]
    likeness, power = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    heard = power > max(1e-10, float(np.percentile(power, 95)) * 10 ** (BELOW_LOUD_DB / 10))
    f0 = _best(likeness, heard, (FLOOR_HZ, CEILING_HZ))
    if (f0 > 0).any():
        low, high = np.percentile(f0[f0 > 0], (25, 75))
        f0 = _best(likeness, heard, (max(FLOOR_HZ, USUAL[0] * low), min(CEILING_HZ, USUAL[1] * high)))
    return (np.arange(len(f0)) * step + CENTRE) / WORK_HZ, f0


def median_hz(f0: Floats) -> float:
    """The median of the voiced frames in Hz; 0.0 when fewer than five are voiced."""
    voiced = f0[f0 > 0]
    return float(np.median(voiced)) if len(voiced) >= 5 else 0.0


def spread_semitones(f0: Floats) -> float:
    """How far the voice moves: semitones from the 10th to the 90th percentile of voiced frames; 0.0 with fewer than five."""
    voiced = f0[f0 > 0]
    if len(voiced) < 5:
        return 0.0
    low, high = np.percentile(voiced, (10, 90))
    return float(12 * np.log2(high / low))


def _correlated(frames: Floats) -> tuple[NDArray[np.float32], Floats]:
    """For frames (m, SPAN): likeness of the first FRAME samples to those `lag` later, lags 0 to LONG_LAG, and their power."""
    level = frames - frames.mean(axis=1, keepdims=True)
    start = level.copy()
    start[:, FRAME:] = 0
    size = 512  # no lag wraps round, since SPAN is shorter
    product = np.fft.irfft(np.fft.rfft(level, size) * np.conj(np.fft.rfft(start, size)), size)[:, : LONG_LAG + 1]
    energy = np.cumsum(np.pad(level**2, ((0, 0), (1, 0))), axis=1)
    window = np.maximum(energy[:, FRAME : FRAME + LONG_LAG + 1] - energy[:, : LONG_LAG + 1], 1e-12)
    return (product / np.sqrt(window * window[:, :1])).astype(np.float32), window[:, 0] / FRAME


def _best(likeness: NDArray[np.float32], heard: NDArray[np.bool_], limits: tuple[float, float]) -> Floats:
    """The fundamental of each frame between `limits` in Hz, 0.0 where it is not voiced."""
    first = max(SHORT_LAG, int(WORK_HZ / limits[1]))
    last = min(LONG_LAG - 1, int(np.ceil(WORK_HZ / limits[0])))
    lags = np.arange(first, last + 1)
    middle = likeness[:, first : last + 1]
    before, after = likeness[:, first - 1 : last], likeness[:, first + 1 : last + 2]
    peak = (middle >= before) & (middle > after)
    score = np.where(peak, middle - OCTAVE_COST * np.log2(lags / first), -1.0)
    chosen = score.argmax(axis=1)[:, np.newaxis]
    at, left, right = (np.take_along_axis(x, chosen, axis=1)[:, 0].astype(np.float64) for x in (middle, before, after))
    bend = left - 2 * at + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0.0)
    found = np.take_along_axis(peak, chosen, axis=1)[:, 0]
    return np.where(heard & found & (at > VOICED), WORK_HZ / (lags[chosen[:, 0]] + np.clip(shift, -0.5, 0.5)), 0.0)
