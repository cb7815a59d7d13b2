"""Linear filters that every dub needs, on numpy alone.

`scipy.signal` has them, too, and the tests compare with it. But it takes 0.5 s to import, a quarter of the time in which a
stream shows its first segment; and its polyphase filter takes three times as long as the matrix product here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polydub.types import Samples

LARGEST = 1 << 20  # numbers of a polyphase matrix, which has about up * down
_PRODUCT = 1 << 20  # numbers that go into one matrix product
SIZE = 1 << 15  # of Fourier transforms


def polyphase(samples: Samples, up: int, down: int, half: int, beta: float) -> Samples:
    """(channels, frames) raised `up` times, low-passed without delay, and every `down`-th; frames * up / down, rounded up.

    The filter has 2 * half + 1 taps under a Kaiser window of `beta`, and halves at the lower of both Nyquist rates.
    `up` * `down` is LARGEST at most.
    """
    if not samples.shape[1]:
        return samples
    matrix, before, step = _matrix(up, down, half, beta)
    width, many = matrix.shape
    frames = samples.shape[1]
    wanted = -(-frames * up // down)
    rounds = -(-wanted // many)
    padded = np.pad(samples, ((0, 0), (before, max(0, rounds * step + width - before - frames))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)[:, ::step][:, :rounds]
    made = np.empty((len(samples), rounds, many), np.float32)
    for at in range(0, rounds, max(1, _PRODUCT // width)):
        part = slice(at, at + max(1, _PRODUCT // width))
        np.matmul(windows[:, part], matrix, out=made[:, part])
    return made.reshape(len(samples), -1)[:, :wanted]


@lru_cache(32)
def _matrix(up: int, down: int, half: int, beta: float) -> tuple[NDArray[np.float32], int, int]:
    """What makes of a window of samples as many new ones as it has columns; how many samples lie before the first new one;
    and how many later the next window begins. Windows are so long that they overlap by half at most.
    """
    offsets = np.arange(-half, half + 1)
    taps = np.sinc(offsets / max(up, down)) * np.kaiser(2 * half + 1, beta)
    taps *= up / taps.sum()
    rounds, before = max(1, -(-2 * half // (up * down))), -(-half // up)
    places = np.arange(-before, (rounds * up * down + half) // up + 1)[:, np.newaxis]
    taken = half + np.arange(rounds * up) * down - places * up
    inside = (taken >= 0) & (taken < len(taps))
    return np.where(inside, taps[np.clip(taken, 0, 2 * half)], 0).astype(np.float32), before, rounds * down


def filtered(samples: Samples, response: NDArray[np.complex128], back: int, begin: int = 0) -> Iterator[NDArray[np.float64]]:
    """(channels, frames) through a filter, piece by piece, from frame `begin` on.

    `response` is the filter's at the frequencies of `numpy.fft.rfftfreq(SIZE)`; it must have died away after `back` samples.
    """
    for at in range(begin, samples.shape[1], SIZE - back):
        low, stop = max(0, at - back), min(at + SIZE - back, samples.shape[1])
        spectra = np.fft.rfft(samples[:, low:stop].astype(np.float64), SIZE, axis=1)
        spectra *= response
        yield np.fft.irfft(spectra, SIZE, axis=1)[:, at - low : stop - low]


def running(extreme: np.ufunc, values: NDArray[np.float64], size: int, outside: float) -> NDArray[np.float64]:
    """The `extreme` (numpy.minimum or numpy.maximum) of `size` values, an odd number, around each; as many as there are.

    What lies before and after them is `outside`. In steps of doubled width, so that a wide window costs little more.
    """
    found = np.pad(values, size // 2, constant_values=outside)
    width = 1
    while 2 * width <= size:
        found = extreme(found[:-width], found[width:])
        width *= 2
    rest = size - width
    return extreme(found[: len(found) - rest], found[rest:])
