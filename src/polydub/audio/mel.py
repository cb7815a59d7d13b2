"""Mel spectra of speech at HEAR_HZ."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from polydub.types import HEAR_HZ, Samples

WINDOW, HOP = 400, 160  # samples: 25 ms every 10 ms
BANDS = 40
_LINEAR_HZ, _STEP = 1000.0, math.log(6.4) / 27  # Slaney's scale: 3 mels in 200 Hz up to 1 kHz, then 27 mels per factor 6.4


def _to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, _LINEAR_HZ * np.exp(_STEP * (mels - 15)))


@cache
def bank() -> Samples:
    """Triangles of equal area on Slaney's mel scale, 0 to 8 kHz: (WINDOW // 2 + 1, BANDS), to multiply power spectra with."""
    highest = 15 + math.log(HEAR_HZ / 2 / _LINEAR_HZ) / _STEP
    edges = _to_hz(np.linspace(0, highest, BANDS + 2))
    hz = np.linspace(0, HEAR_HZ / 2, WINDOW // 2 + 1)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return (np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


@cache
def _window() -> Samples:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def spectra(sound: Samples) -> Samples:
    """Mel power of sounds float32 (..., n) at HEAR_HZ: (..., 1 + n // HOP, BANDS), one row every 10 ms, centred on it.

    The same numbers as librosa's default melspectrogram. Silence gives zeros; no samples give one row of zeros.
    """
    around = [(0, 0)] * (sound.ndim - 1) + [(WINDOW // 2, WINDOW // 2)]
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, around), WINDOW, axis=-1)[..., ::HOP, :]
    spectrum = np.fft.rfft(frames * _window(), axis=-1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return power.astype(np.float32) @ bank()
