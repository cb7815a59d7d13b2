"""Room tone: what is heard while nobody speaks, and a noise like it for holes that separation leaves behind.

Each hole is filled with the tone of the pauses next to it, and octave by octave: separation often leaves the rumble of
a room and takes its hiss. The noise is made of overlapping frames that know only their number in the film. So blocks
agree at their borders, and an edit does not change it. Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from polydub.types import RATE_HZ, Samples, Span, seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUIETEST_DBFS = -75.0  # a film that is more silent than this between its lines must stay so
LOUDEST_DBFS = -45.0  # what is louder is music or an effect, which noise cannot stand in for
ENOUGH_S = 2.0  # with less to measure there is no room tone
HOLE_DB = 6.0  # from so far below the room tone an octave is filled up to it, from half of that partly
RISE_DB = 6.0  # between two pauses the tone is taken to be no more than this above the quieter one
LOCAL_S = 5.0  # of one pause are one tone
_FRAME = 4096  # samples
_HOP = _FRAME // 2
_WINDOW = 5  # frames that are judged together: 0.43 s
_SHARE = 20  # percentile: the lower fifth of what is measured
_NEAR_DB = 3.0  # what is so near to the percentile tells the spectrum
_LOWEST, _HIGHEST = -13, 12  # third octaves from 1 kHz: 50 Hz to 16 kHz
_SEED = 7_919


@dataclass(frozen=True, slots=True)
class RoomTone:
    """Level and spectrum of what is heard while nobody speaks, mean of the measured channels.

    Attributes: level_dbfs: 10 lg of the mean square, full scale +-1. bands_db: the same in third octaves from 50 Hz to
    16 kHz (26; the outer ones take all down to 20 Hz and up to 24 kHz).
    """

    level_dbfs: float
    bands_db: tuple[float, ...]

    @property
    def fills(self) -> bool:
        """Whether holes are to be filled with it: neither silence nor loud."""
        return QUIETEST_DBFS <= self.level_dbfs <= LOUDEST_DBFS


@dataclass(frozen=True, slots=True)
class LocalTone(RoomTone):
    """The room tone of one pause, around film second `time`."""

    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Quiet:
    """The quiet part of some seconds in which nobody speaks.

    Attributes: seconds: how much there was to measure. level_dbfs, bands_db: as in RoomTone. tones: pause by pause.
    """

    seconds: float
    level_dbfs: float
    bands_db: tuple[float, ...]
    tones: tuple[LocalTone, ...] = ()


def quiet(samples: Samples, pauses: Sequence[Span], begin: float = 0.0) -> Quiet:
    """Measures (channels, frames) at RATE_HZ in `pauses` (seconds from its begin), in windows of 0.43 s.

    Level and bands are those of the lower fifth of the windows, of all and of each LOCAL_S of a pause. `begin`: film
    second of the first sample. Pauses too short for a window give 0 seconds.
    """
    import numpy as np

    length = _WINDOW * _FRAME
    powers: list[NDArray[np.float64]] = []
    tones: list[LocalTone] = []
    for pause in pauses:
        last = min(round(pause.end * RATE_HZ), samples.shape[1]) - length
        starts = range(round(pause.start * RATE_HZ), last + 1, length)
        together = int(LOCAL_S * RATE_HZ / length)
        for group in (starts[n : n + together] for n in range(0, len(starts), together)):
            found = [_bands(samples[:, at : at + length]) for at in group]
            tone = _lower(np.array(found))
            time = begin + (group[0] + group[-1] + length) / 2 / RATE_HZ
            tones.append(LocalTone(tone.level_dbfs, tone.bands_db, seconds(time)))
            powers += found
    if not powers:
        return Quiet(0.0, -120.0, ())
    tone = _lower(np.array(powers))
    return Quiet(seconds(len(powers) * length / RATE_HZ), tone.level_dbfs, tone.bands_db, tuple(tones))


def _lower(powers: NDArray[np.float64]) -> RoomTone:
    """The tone of the lower fifth of windows whose bands have these powers, (windows, bands)."""
    import numpy as np

    levels = _decibels(powers.sum(axis=1))
    near = np.abs(levels - np.sort(levels)[len(levels) * _SHARE // 100]) <= _NEAR_DB
    return _tone(powers[near].mean(axis=0))


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


def filling(bed: Samples, start: int, share: NDArray[np.float32], tones: Sequence[LocalTone]) -> NDArray[np.float32]:
    """Noise (frames,) that lifts each octave of `bed` (channels, frames), which begins at film sample `start`, up to `tones`.

    `tones`, at least one, are in order of time; between two of them the tone changes gradually. The noise is 0 where the
    bed is near its tone, where that is silent or loud, and where `share` is 0. It is another sound than what was taken
    out, so that `share` rises with equal power.
    """
    import numpy as np

    frames = bed.shape[1]
    noise = np.zeros(frames, np.float32)
    if frames == 0 or not share.any():
        return noise
    window, first = np.sin(np.pi * (np.arange(_FRAME) + 0.5) / _FRAME), start // _HOP - 1
    numbers = range(first, (start + frames) // _HOP + 1)
    aims = _aims(tones, (np.array(numbers) + 1) * (_HOP / RATE_HZ))
    for number, aim in zip(numbers, aims, strict=True):
        at = number * _HOP - start
        low, high = max(at, 0), min(at + _FRAME, frames)
        if low >= high or not share[low:high].any():
            continue
        missing = _missing(bed[:, low:high], window[low - at : high - at], aim)
        if missing.any():
            phases = np.random.default_rng((_SEED, number + 1)).random(len(missing)) * (2 * np.pi)
            frame = np.fft.irfft(np.sqrt(missing / 2) * _FRAME * np.exp(1j * phases), _FRAME) * window
            noise[low:high] += frame[low - at : high - at].astype(np.float32)
    return noise * np.sqrt(share * (2 - share))


def _aims(tones: Sequence[LocalTone], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power in each band (moments, bands) up to which the bed is filled at these film seconds; 0 where it is not."""
    import numpy as np

    times, bands = np.array([tone.time for tone in tones]), np.array([tone.bands_db for tone in tones])
    after = np.searchsorted(times, moments).clip(0, len(times) - 1)
    before = (np.searchsorted(times, moments) - 1).clip(0)
    gap = times[after] - times[before]
    passed = np.clip((moments - times[before]) / np.where(gap > 0, gap, 1), 0, 1)[:, np.newaxis]
    between = bands[before] + passed * (bands[after] - bands[before])
    powers = 10 ** (np.minimum(between, np.minimum(bands[before], bands[after]) + RISE_DB) / 10)
    level = _decibels(powers.sum(axis=1))
    return powers * ((level >= QUIETEST_DBFS) & (level <= LOUDEST_DBFS))[:, np.newaxis]


def _missing(bed: Samples, window: NDArray[np.float64], aim: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power to add in each bin of a frame so that the octaves of `bed` (channels, up to a frame) come up to `aim`."""
    import numpy as np

    spectrum = np.fft.rfft(bed * window, _FRAME)
    power = (np.abs(spectrum) ** 2).mean(axis=0) * (2 / (_FRAME * np.square(window).sum()))
    band = _bands_of_bins()
    octave = band // 3  # -1 stays -1
    there, wanted = _sums(octave, power), _sums(np.arange(len(aim)) // 3, aim)
    below = _decibels(wanted) - _decibels(there)
    lack = np.clip((below - HOLE_DB / 2) / (HOLE_DB / 2), 0, 1) * np.maximum(wanted - there, 0) / np.maximum(wanted, 1e-30)
    each = aim / _sums(band, np.ones(len(band)))  # power of a bin in each band
    added = np.where(band >= 0, each[band] * lack[octave], 0.0)
    added[-1] = 0.0  # the bin at half the rate has no phase
    return added


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
    return _sums(band, power)


def _sums(groups: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the values of each group; group -1 is left out."""
    import numpy as np

    return np.bincount(groups[groups >= 0], values[groups >= 0]).astype(np.float64)


def _tone(powers: NDArray[np.float64]) -> RoomTone:
    bands = tuple(round(float(value), 1) for value in _decibels(powers))
    return RoomTone(round(float(_decibels(powers.sum())), 1), bands)


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return 10 * np.log10(np.maximum(power, 1e-12))
