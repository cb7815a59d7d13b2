"""When a line is audible: its first and its last sound, and the pauses inside it, in sound that may hold music and noise.

Speech detection tells where to look, the sound itself when exactly: at the moment at which it rises from what is heard
there anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from polydub.audio.activity import Rules
from polydub.types import HEAR_HZ, Samples, Span, seconds

VOICED = Rules(off=0.35, min_speech_s=0.1, min_silence_s=0.1, pad_s=0.0, longest_s=math.inf)  # of what `audible` is given

STEP_S = 0.01  # resolution
AROUND_S = 1.5  # heard around a line to know what is heard there anyway
LATE_S = 0.6  # how much later than it is said to be, a line may begin
SKIPPED_S = 0.3  # of speech inside the given span may belong to a neighbour; more is the line's own
PAUSE_S = 0.3  # shorter silences inside a line are part of speaking
DETECTED_LATE_S = (0.015, 0.06)  # Silero's onsets and ends against clean recordings (benchmarks/onsets.py): medians
AFTER_SILENCE = 0.5  # a second of silence beside it makes up for so many seconds that a moment is off

_STEP = round(STEP_S * HEAR_HZ)
_WINDOW = 2 * _STEP
_EDGES = np.array([2, 4, 6, 8, 11, 14, 18, 23, 29, 37, 46, 58, 72, 90, 120])  # of the bands, in bins of 50 Hz: 0.1 to 6 kHz
_RANGE_DB, _NOISE_DB = 50.0, 3.0  # what is 50 dB below the loud is silence; noise goes 3 dB above its floor
_LEAST_DB, _OVER_DB, _OVER = 3.0, 2.0, 0.2  # evidence: speech so much clearer than before; a sound: over so much of that
_BACK, _ON, _QUIET = 25, 10, 4  # steps looked at before and after what was detected; steps that make a silence

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Audible(Span):
    """From the first sound of a line to its last, and the pauses of PAUSE_S or more inside it, in order."""

    pauses: tuple[Span, ...] = ()


def bands(samples: Samples) -> Numbers:
    """Levels of speech's bands, (steps of STEP_S, bands), dB of power; `samples` are float32 (n,) at HEAR_HZ.

    Each step is heard for 20 ms around it. Less than a step gives none.
    """
    count = len(samples) // _STEP
    padded = np.pad(np.asarray(samples, np.float32), (_STEP // 2, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP][:count]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)))
    sums = np.concatenate([np.zeros((count, 1)), np.cumsum(power, axis=1)], axis=1)
    return 10 * np.log10((sums[:, _EDGES[1:]] - sums[:, _EDGES[:-1]]) / np.diff(_EDGES) + 1e-9)


def audible(levels: Numbers, voiced: Sequence[Span], given: Span, reach: Span) -> Audible:
    """When a line is heard that is said to be at `given`; all times are seconds from the first of `levels`, see `bands`.

    `voiced`: where speech was detected, by the rules VOICED, in order. `reach`: the earliest onset and the latest end; it
    holds `given`. The onset is the beginning of speech nearest to the given one, not later than LATE_S after it nor than the
    middle of the line; a longer silence before it makes up for some distance. The end likewise, and before the middle too
    where only silence follows. No more than SKIPPED_S of speech is left out of the given span. Where no speech begins or
    ends there, what was given stays. Where the sound does not show the edge of speech, what was detected counts, and no
    pause is believed. Without levels there, or where nothing would be left, the answer is `given`.
    """
    low = max(0, int((given.start - AROUND_S) / STEP_S))
    around = levels[low : int((given.end + AROUND_S) / STEP_S)]
    if not len(around):
        return Audible(given.start, given.end)
    middle = (given.start + given.end) / 2
    edges = _Edges(_clearness(around), low)
    silences = [math.inf, *(after.start - before.end for before, after in pairwise(voiced)), math.inf]
    starts = [
        (s.start, silence)
        for s, silence in zip(voiced, silences, strict=False)
        if _speech(voiced, given.start, s.start) <= SKIPPED_S
    ]
    ends = [
        (s.end, silence)
        for s, silence in zip(voiced, silences[1:], strict=False)
        if s.end >= min(max(middle, given.end - LATE_S), given.end - silence) and _speech(voiced, s.end, given.end) <= SKIPPED_S
    ]
    begin = _nearest(starts, given.start, Span(reach.start, min(given.start + LATE_S, middle)))
    start = given.start if begin is None else max(reach.start, edges.onset(begin)[0])
    finish = _nearest(ends, given.end, Span(start, reach.end))
    end = given.end if finish is None else min(reach.end, edges.end(finish)[0])
    start, end = seconds(start), seconds(end)
    if end - start < STEP_S:
        return Audible(given.start, given.end)
    return Audible(start, end, _pauses(voiced, edges, Span(start, end)))


def _speech(voiced: Sequence[Span], start: float, end: float) -> float:
    """Seconds of speech between two moments; 0.0 when `end` is not after `start`."""
    return sum(max(0.0, min(s.end, end) - max(s.start, start)) for s in voiced)


def _clearness(levels: Numbers) -> Numbers:
    """How far each step stands out of what is heard anyway, in dB, mean over the bands; 0 = not at all."""
    floor = np.percentile(levels, 10, axis=0)
    floor = np.maximum(floor, np.percentile(levels.max(axis=1), 95) - _RANGE_DB)
    return np.clip(levels - floor - _NOISE_DB, 0, None).mean(axis=1)


def _nearest(moments: Sequence[tuple[float, float]], wanted: float, within: Span) -> float | None:
    """Of moments with the silence beside them, the one nearest to `wanted`, except that silence is worth something."""
    found = [(abs(t - wanted) - AFTER_SILENCE * min(gap, 0.5), t) for t, gap in moments if within.start <= t <= within.end]
    return min(found)[1] if found else None


@dataclass(frozen=True)
class _Edges:
    """Where sound begins and ends; `first` is the number of the first step of `clear`."""

    clear: Numbers
    first: int

    def onset(self, detected: float) -> tuple[float, bool]:
        """When sound begins near a detected onset, in seconds, and whether the sound shows it."""
        at = _rise(self.clear, round(detected / STEP_S) - self.first, (_BACK, _ON))
        return (detected - DETECTED_LATE_S[0], False) if at is None else ((self.first + at) * STEP_S, True)

    def end(self, detected: float) -> tuple[float, bool]:
        """When sound ends near a detected end, in seconds, and whether the sound shows it."""
        late = round(DETECTED_LATE_S[1] / STEP_S)
        last = self.first + len(self.clear)
        at = _rise(self.clear[::-1], last - round(detected / STEP_S) + late, (_BACK - 9, _BACK - 3))
        return (detected - DETECTED_LATE_S[1], False) if at is None else ((last - at) * STEP_S, True)


def _rise(clear: Numbers, near: int, reach: tuple[int, int]) -> int | None:
    """The step at which `clear` rises near step `near`, up to `reach` steps before and after it; None if it hardly does."""
    before, after = clear[max(0, near - 50) : max(0, near - 3)], clear[max(0, near + 4) : max(0, near + 34)]
    if len(before) < 10 or len(after) < 5:
        return None
    low, high = float(np.percentile(before, 25)), float(np.median(after))
    if high - low < _LEAST_DB:
        return None
    loud = clear > low + max(_OVER_DB, _OVER * (high - low))
    first = max(_QUIET, near - reach[0])
    sounds = np.flatnonzero(loud[max(first, near - 3) : near + reach[1]])
    if not sounds.size:
        return None
    for at in range(max(first, near - 3) + int(sounds[0]), first - 1, -1):
        if not loud[at - _QUIET : at].any():
            return at
    return None


def _pauses(voiced: Sequence[Span], edges: _Edges, line: Span) -> tuple[Span, ...]:
    """The pauses of a line that speech detection finds and the sound shows."""
    found: list[Span] = []
    for before, after in pairwise(voiced):
        if before.end > line.start and after.start < line.end and after.start - before.end >= PAUSE_S / 2:
            (start, ends), (end, begins) = edges.end(before.end), edges.onset(after.start)
            if ends and begins and end - start >= PAUSE_S and line.start < start and end < line.end:
                found.append(Span(seconds(start), seconds(end)))
    return tuple(p for n, p in enumerate(found) if n == 0 or p.start > found[n - 1].end)
