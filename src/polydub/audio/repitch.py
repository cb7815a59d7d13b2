"""Another pitch, or more or less movement of it, at the same timbre and length: pitch-synchronous overlap-add (TD-PSOLA).

Moulines and Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech synthesis using diphones",
Speech Communication 9, 1990. Grains of two periods are set closer together or farther apart, so that the formants stay where
they are. In numpy rather than by a library: the stretchers at hand move formants with the pitch and know no movement of it,
and what is done here is small (2 semitones) and on clean takes.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from polydub.audio import pitch
from polydub.types import Samples

UNVOICED_S = 0.008  # between two grains where there is no pitch
SEARCH = 0.2  # of a period in which the next mark is sought
LOWEST_HZ, HIGHEST_HZ = 50.0, 500.0  # of what comes out
BRIDGE = 3  # frames of 10 ms without pitch inside a voiced stretch are taken as voiced

Floats = NDArray[np.float64]


def repitched(samples: Samples, rate_hz: int, semitones: float, movement: float) -> Samples:
    """`samples`, float32 (1, n), `semitones` higher and with the pitch's distance from its median times `movement`.

    Length stays; where there is no pitch the sound stays. 0 semitones and movement 1 return the input itself, and so do
    silence, noise, and sound too short to have a pitch (60 ms).
    """
    if semitones == 0 and movement == 1:
        return samples
    mono = samples[0].astype(np.float64)
    period = _periods(mono, rate_hz)
    if period is None:
        return samples
    voiced = period > 0
    usual = float(np.median(period[voiced]))
    wanted = period.copy()
    moved = usual * (period[voiced] / usual) ** movement * 2 ** (-semitones / 12)
    wanted[voiced] = np.clip(moved, rate_hz / HIGHEST_HZ, rate_hz / LOWEST_HZ)
    marks = _marks(mono, period, rate_hz)
    return _laid(mono, marks, (period, wanted), rate_hz)


def _periods(mono: Floats, rate_hz: int) -> Floats | None:
    """The period at each sample, in samples, 0.0 where there is none; None without any."""
    times, f0 = pitch.track(mono.astype(np.float32), rate_hz)
    at = np.flatnonzero(f0 > 0)
    if len(at) < 5:
        return None
    filled = f0.copy()
    for first, last in pairwise(at):
        if 1 < last - first <= BRIDGE:
            filled[first:last] = np.linspace(f0[first], f0[last], last - first, endpoint=False)
    places = np.arange(len(mono)) / rate_hz
    nearest = np.clip(np.searchsorted(times + pitch.STEP_S / 2, places), 0, len(times) - 1)
    known = np.flatnonzero(filled > 0)
    smooth = np.interp(places, times[known], rate_hz / filled[known])
    return np.where(filled[nearest] > 0, smooth, 0.0)


def _marks(mono: Floats, period: Floats, rate_hz: int) -> NDArray[np.int64]:
    """Where the grains are taken: one a period, at its highest peak of the side that has higher ones; else evenly."""
    sign = 1.0 if (mono**3).sum() >= 0 else -1.0
    even = round(UNVOICED_S * rate_hz)
    marks: list[int] = []
    at = 0
    while at < len(mono):
        own = float(period[at])
        if own > 0:
            fresh = not marks or period[marks[-1]] <= 0
            reach = own / 2 if fresh else SEARCH * own
            low, high = max(marks[-1] + 1 if marks else 0, int(at - reach)), min(len(mono), int(at + reach) + 1)
            at = low + int(np.argmax(sign * mono[low:high])) if high > low else at
        marks.append(at)
        at += max(1, round(own)) if own > 0 else even
    return np.array(marks, np.int64)


def _laid(mono: Floats, marks: NDArray[np.int64], periods: tuple[Floats, Floats], rate_hz: int) -> Samples:
    """The grains at `marks` laid at the wanted periods; periods: (as it is, as it shall be)."""
    own, wanted = periods
    even = UNVOICED_S * rate_hz
    made, weight = np.zeros(len(mono)), np.zeros(len(mono))
    place = float(marks[0])
    while place < len(mono):
        here = int(place)
        following = int(np.searchsorted(marks, here))
        nearest = min((n for n in (following - 1, following) if 0 <= n < len(marks)), key=lambda n: abs(int(marks[n]) - here))
        mark = int(marks[nearest])
        voiced = own[mark] > 0
        if not voiced:
            here = mark if abs(mark - here) < even else here  # noise is copied from where it is, so that it stays itself
        half = max(8, round(own[mark] if voiced else even))
        _add(mono, (mark, here, half), made, weight)
        step = wanted[here] if wanted[here] > 0 else even
        place = max(place, here if voiced else place) + max(8.0, step)
    quiet = weight < 0.05
    return np.where(quiet, mono, made / np.maximum(weight, 0.05)).astype(np.float32)[np.newaxis]


def _add(mono: Floats, grain: tuple[int, int, int], made: Floats, weight: Floats) -> None:
    """Adds what is `half` around `mark` around `place`, in a Hann window; grain: (mark, place, half)."""
    mark, place, half = grain
    low = max(-half, -mark, -place)
    high = min(half, len(mono) - mark, len(mono) - place)
    if high <= low:
        return
    window = 0.5 + 0.5 * np.cos(np.pi * np.arange(low, high) / half)
    made[place + low : place + high] += window * mono[mark + low : mark + high]
    weight[place + low : place + high] += window
