"""Room tone: what is heard while nobody speaks, and a noise like it for holes that separation leaves behind.

The noise is made of overlapping frames that know only their number in the film. So blocks agree at their borders, and
an edit does not change it. Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from polydub.types import RATE_HZ, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUIETEST_DBFS = -75.0  # a film that is more silent than this between its lines must stay so
LOUDEST_DBFS = -45.0  # what is louder is music or an effect, which noise cannot stand in for
ENOUGH_S = 2.0  # with less to measure there is no room tone
HOLE_DB = 6.0  # from so far below the room tone a hole is filled up to it, from half of that partly
_FRAME = 4096  # samples
_HOP = _FRAME // 2
_WINDOW = 5  # frames that are judged together: 0.43 s
_SHARE = 20  # percentile: the lower fifth of what is measured
_NEAR_DB = 3.0  # what is so near to the percentile tells the spectrum
_LOWEST, _HIGHEST = -13, 12  # third octaves from 1 kHz: 50 Hz to 16 kHz
_SEED = 7_919


@dataclass(frozen=True, slots=True)
class Quiet:
    """The quiet part of some seconds in which nobody speaks.

    Attributes: seconds: how much there was to measure. level_dbfs: 10 lg of the mean square, full scale +-1.
    bands_db: the same in third octaves from 50 Hz to 16 kHz (26; the outer ones take all down to 20 Hz and up to 24 kHz).
    """

    seconds: float
    level_dbfs: float
    bands_db: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RoomTone:
    """Level and spectrum of what is heard while nobody speaks, mean of all channels; see Quiet."""

    level_dbfs: float
    bands_db: tuple[float, ...]

    @property
    def fills(self) -> bool:
        """Whether holes are to be filled with it: neither silence nor loud."""
        return QUIETEST_DBFS <= self.level_dbfs <= LOUDEST_DBFS


def quiet(samples: Samples, pauses: Sequence[Span]) -> Quiet:
    """Measures (channels, frames) at RATE_HZ in `pauses` (seconds from its begin), in windows of 0.43 s.

    Level and bands are those of the lower fifth of the windows. Pauses too short for a window give 0 seconds.
    """
    import numpy as np

    windows = [
        _bands(samples[:, begin : begin + _WINDOW * _FRAME])
        for pause in pauses
        for begin in range(round(pause.start * RATE_HZ), round(pause.end * RATE_HZ) - _WINDOW * _FRAME + 1, _WINDOW * _FRAME)
        if begin + _WINDOW * _FRAME <= samples.shape[1]
    ]
    if not windows:
        return Quiet(0.0, -120.0, ())
    powers = np.array(windows)
    levels = _decibels(powers.sum(axis=1))
    near = np.abs(levels - np.sort(levels)[len(levels) * _SHARE // 100]) <= _NEAR_DB
    tone = _tone(powers[near].mean(axis=0))
    return Quiet(round(len(windows) * _WINDOW * _FRAME / RATE_HZ, 2), tone.level_dbfs, tone.bands_db)


def room_tone(parts: Sequence[Quiet]) -> RoomTone | None:
    """The room tone of a film from its parts: the lower fifth of them, by time. None with less than ENOUGH_S measured."""
    import numpy as np

    heard = sorted((part for part in parts if part.seconds > 0), key=lambda part: part.level_dbfs)
    times = list(accumulate(part.seconds for part in heard))
    if not times or times[-1] < ENOUGH_S:
        return None
    level = heard[bisect_left(times, times[-1] * _SHARE / 100)].level_dbfs
    near = [part for part in heard if abs(part.level_dbfs - level) <= _NEAR_DB]
    powers = 10 ** (np.array([part.bands_db for part in near]) / 10)
    return _tone(np.average(powers, axis=0, weights=[part.seconds for part in near]))


def filling(bed: Samples, start: int, share: NDArray[np.float32], room: RoomTone) -> NDArray[np.float32]:
    """Noise (frames,) that lifts `bed` (channels, frames), which begins at film sample `start`, up to the room tone.

    It is 0 where the bed is near the room tone and where `share` is 0; with `share` 1 bed and noise together have its level.
    """
    import numpy as np

    frames = bed.shape[1]
    noise = np.zeros(frames, np.float32)
    if frames == 0 or not share.any():
        return noise
    shape, window = _shape(room.bands_db), np.sin(np.pi * (np.arange(_FRAME) + 0.5) / _FRAME)
    first = start // _HOP - 1
    for number, missing in enumerate(_missing(bed, start, room), first):
        at = number * _HOP - start
        low, high = max(at, 0), min(at + _FRAME, frames)
        if missing > 0 and share[low:high].any():
            phases = np.random.default_rng((_SEED, number + 1)).random(len(shape)) * (2 * np.pi)
            frame = np.fft.irfft(shape * np.exp(1j * phases), _FRAME) * window
            noise[low:high] += (np.sqrt(missing) * frame[low - at : high - at]).astype(np.float32)
    return noise * share


def _missing(bed: Samples, start: int, room: RoomTone) -> NDArray[np.float64]:
    """Power to add in each frame that reaches into the bed; frame n is samples n * _HOP to n * _HOP + _FRAME of the film."""
    import numpy as np

    power = np.einsum("cn,cn->n", bed, bed, dtype=np.float64) / bed.shape[0]
    edges = np.arange(-(start % _HOP), len(power), _HOP)  # of the half frames in the bed
    sums = np.add.reduceat(power, np.maximum(edges, 0))
    counts = np.diff(np.append(np.maximum(edges, 0), len(power)))
    sums, counts = np.pad(sums, 1), np.pad(counts, 1)
    found = (sums[:-1] + sums[1:]) / np.maximum(counts[:-1] + counts[1:], 1)
    below = room.level_dbfs - _decibels(found)
    weight = np.clip((below - HOLE_DB / 2) / (HOLE_DB / 2), 0, 1)
    return weight * np.maximum(10 ** (room.level_dbfs / 10) - found, 0)


@cache
def _bands_of_bins() -> NDArray[np.intp]:
    """The band, from 0, of each bin of a frame's spectrum; -1 below 20 Hz."""
    import numpy as np

    hz = np.fft.rfftfreq(_FRAME, 1 / RATE_HZ)
    band = np.clip(np.rint(3 * np.log2(np.maximum(hz, 1) / 1000)), _LOWEST, _HIGHEST) - _LOWEST
    return np.where(hz < 20, -1, band).astype(np.intp)


def _bands(samples: Samples) -> NDArray[np.float64]:
    """Mean square in each band, mean of channels; frames side by side under Hann windows."""
    import numpy as np

    window = np.hanning(_FRAME + 1)[:-1]
    pieces = samples[:, : samples.shape[1] // _FRAME * _FRAME].reshape(-1, _FRAME) * window
    power = (np.abs(np.fft.rfft(pieces, axis=1)) ** 2).mean(axis=0) * 2 / (_FRAME * np.square(window).sum())
    band = _bands_of_bins()
    return np.bincount(band[band >= 0], power[band >= 0], _HIGHEST - _LOWEST + 1).astype(np.float64)


def _shape(bands_db: tuple[float, ...]) -> NDArray[np.float64]:
    """Magnitudes of a frame's spectrum with these bands, level inside each, for a mean square of 1."""
    import numpy as np

    band = _bands_of_bins()
    power = 10 ** ((np.array(bands_db) - max(bands_db)) / 10) / np.bincount(band[band >= 0], minlength=len(bands_db))
    density = np.where(band >= 0, power[band], 0.0)
    density[-1] = 0.0  # the bin at half the rate has no phase
    return np.sqrt(density * _FRAME**2 / (2 * density.sum()))


def _tone(powers: NDArray[np.float64]) -> RoomTone:
    bands = tuple(round(float(value), 1) for value in _decibels(powers))
    return RoomTone(round(float(_decibels(powers.sum())), 1), bands)


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return 10 * np.log10(np.maximum(power, 1e-12))
