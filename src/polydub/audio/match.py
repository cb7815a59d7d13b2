"""The long-term spectrum of a voice, and the equaliser that brings one voice towards another within natural limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from polydub.audio.filters import SIZE, filtered
from polydub.types import Samples

# Third-octave centres: what lies between them is timbre, what lies closer is single harmonics.
BANDS_HZ = (80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300)
LEVEL_HZ = (200, 4000)  # bands whose mean is the level that is taken away
FRAME_S = 0.064
BELOW_LOUD_DB = -25.0  # quieter frames are pauses; loud is the 95th percentile
FLOOR_DB = -60.0  # a band is never lower than this below the loudest
TAPS_S = 0.0225  # length of the equaliser: it resolves its lowest bands and rings no longer than a room

Floats = NDArray[np.float64]


def spectrum(mono: Samples, rate_hz: int) -> tuple[float, ...]:
    """Long-term spectrum of the speech in `mono`, float32 (n,): dB per Hz at BANDS_HZ, to 0.01 dB, the level taken away.

    Pauses do not count. `rate_hz` is at least 16 kHz. Silence and sound under 64 ms give ().
    """
    size = round(FRAME_S * rate_hz)
    if len(mono) < size:
        return ()
    window = np.hanning(size).astype(np.float32)
    frames = sliding_window_view(mono, size)[:: size // 2] * window
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    energy = power[:, (hz > BANDS_HZ[0]) & (hz < BANDS_HZ[-1])].sum(axis=1)
    loud = float(np.percentile(energy, 95))
    if loud <= 1e-9:
        return ()
    mean = power[energy > loud * 10 ** (BELOW_LOUD_DB / 10)].mean(axis=0)
    width = 2 ** (1 / 3)  # a triangle over two bands, so that a harmonic never falls between them
    weights = np.maximum(0, 1 - np.abs(np.log2(np.maximum(hz, 1) / np.array(BANDS_HZ)[:, np.newaxis])) / np.log2(width))
    bands = weights @ mean / weights.sum(axis=1)
    levels = 10 * np.log10(np.maximum(bands, bands.max() * 10 ** (FLOOR_DB / 10)))
    return tuple(round(float(x), 2) for x in levels - levels[_level_bands()].mean())


def distance_db(one: Sequence[float], other: Sequence[float]) -> float:
    """Root mean square of the difference of two spectra, in dB; 0.0 when one of them is ()."""
    if not len(one) or not len(other):
        return 0.0
    return float(np.sqrt(np.mean(np.square(np.array(one) - np.array(other))[_level_bands()])))


def tone(spoken: Sequence[float], wanted: Sequence[float], limit_db: float = 6.0) -> tuple[float, ...]:
    """Gains in dB at BANDS_HZ that bring the spectrum `spoken` towards `wanted`, to 0.1 dB; () when one of them is ().

    Smoothed over neighbouring bands and within +-`limit_db`. Bands below 100 Hz, where speech has little but rooms and
    machines have much, are never raised.
    """
    if not len(spoken) or not len(wanted):
        return ()
    gap = np.array(wanted, np.float64) - np.array(spoken, np.float64)
    smooth = np.convolve(np.pad(gap, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    gains = np.clip(smooth - smooth[_level_bands()].mean(), -limit_db, limit_db)
    low = np.array(BANDS_HZ) < 100
    gains[low] = np.minimum(gains[low], 0)
    return tuple(round(float(x), 1) for x in gains)


def toned(samples: Samples, rate_hz: int, gains_db: Sequence[float]) -> Samples:
    """`samples`, float32 (channels, n), through a linear-phase equaliser without delay: same length, same RMS level.

    `gains_db` are those at BANDS_HZ, level beyond; () returns the input. The peak stays within +-0.99 or the input's own
    peak, whichever is higher; for that alone the level falls.
    """
    if not len(gains_db) or not samples.shape[1]:
        return samples
    taps = _filter(rate_hz, tuple(gains_db))
    half = len(taps) // 2
    padded = np.pad(samples, ((0, 0), (0, half)))
    heard = np.hstack(list(filtered(padded, np.fft.rfft(taps, SIZE), 2 * half, begin=half)))
    before, after = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), float(np.sqrt(np.mean(np.square(heard))))
    if after <= 1e-12:
        return samples
    peak, limit = float(np.abs(heard).max()), max(0.99, float(np.abs(samples).max()))
    return (heard * min(before / after, limit / peak)).astype(np.float32)


def _filter(rate_hz: int, gains_db: Sequence[float]) -> Floats:
    """Impulse response, odd length, symmetric: by frequency sampling under a Hann window."""
    half = round(TAPS_S * rate_hz / 2)
    size = 8 * 2 ** int(np.ceil(np.log2(2 * half)))
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    gains = np.interp(np.log2(np.maximum(hz, 1)), np.log2(BANDS_HZ), gains_db)
    response = np.fft.irfft(10 ** (gains / 20), size)
    return np.concatenate([response[-half:], response[: half + 1]]) * np.hanning(2 * half + 3)[1:-1]


def _level_bands() -> NDArray[np.bool_]:
    hz = np.array(BANDS_HZ)
    return (hz >= LEVEL_HZ[0]) & (hz <= LEVEL_HZ[1])
