"""Loudness after ITU-R BS.1770-4 and EBU Tech 3342, computed from energies of 100 ms that can be stored and added.

A long sound is measured block by block: each block gives the sums of its K-weighted squares on a grid of 100 ms that
is the same for all blocks, a grid cell cut by a block border is the sum of both parts, and every programme figure
follows from these sums. So an edit measures one block again and the film's loudness is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from polydub.audio import filters, layouts
from polydub.types import RATE_HZ, Energies, Samples, Span

CELL = RATE_HZ // 10  # samples of one cell: 100 ms
FINE = 16  # samples, of which a cell and a block hold a whole number
SETTLE = RATE_HZ // 5  # samples before a block that the K filter needs to settle (error < 1e-4 dB)
_FADED = 4800  # samples after which the K filter's impulse response is below 1e-10
SILENT_LUFS = -120.0  # what is written for digital silence
_OFFSET_DB = -0.691
# BS.1770-4 table 1 and 2: pre-filter (head) and RLB high-pass, at 48 kHz
_SOS = [
    [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
    [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
]


def energies(samples: Samples, start: int, settle: int = 0, layout: str = "") -> Energies:
    """Measure `samples` (channels, frames) at 48 kHz, which begin at sample `start - settle` of the film.

    The first `settle` frames only let the filter settle. Zero frames give no cells. `layout` is ffmpeg's name: surrounds
    count more and LFE not at all (`layouts.weights`); empty = mono or stereo.
    """
    first = start // CELL
    frames = samples.shape[1] - settle
    if frames <= 0:
        return Energies(first, ())
    sums = np.zeros((start + frames - 1) // CELL - first + 1)
    for at, power in _powers(samples, settle, layout):
        cells = (start + at + np.arange(len(power))) // CELL - first
        sums += np.bincount(cells, power, len(sums))
    return Energies(first, _written(sums))


def _powers(samples: Samples, settle: int, layout: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """K-weighted squares, summed over the channels, and the frame after `settle` at which they begin.

    Piece by piece: in float64 a whole block would take four times the memory of the sound.
    """
    weights = layouts.weights(layout, samples.shape[0])
    heard = samples if weights.all() else samples[weights > 0]
    at = 0
    for piece in filters.filtered(heard, _k_response(), _FADED, settle):
        yield at, weights[weights > 0] @ np.square(piece)
        at += piece.shape[1]


@cache
def _k_response() -> NDArray[np.complex128]:
    """The K filter's response at the frequencies of `filters.filtered`."""
    sections = np.fft.rfft(np.array(_SOS).reshape(2, 2, 3), filters.SIZE)
    return (sections[:, 0] / sections[:, 1]).prod(axis=0)


def _written(sums: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in sums)


@dataclass(frozen=True, eq=False)
class Fine:
    """Sums of K-weighted squares over every FINE samples of a sound that begins at sample `start` of the film."""

    start: int
    sums: NDArray[np.float64]

    def cells(self, gains: NDArray[np.float64] | float = 1.0) -> NDArray[np.float64]:
        """Sums for each CELL of the film from number start // CELL on, with these gains, one for all or one for each sum.

        Near enough where the gain changes slowly: the K filter is not run again.
        """
        cells = (self.start + FINE * np.arange(len(self.sums))) // CELL - self.start // CELL
        return np.bincount(cells, self.sums * np.square(gains)).astype(np.float64)


def fine(samples: Samples, start: int, settle: int = 0, layout: str = "") -> Fine:
    """As `energies`, finer; `start` is a multiple of FINE."""
    sums = [np.add.reduceat(power, np.arange(0, len(power), FINE)) for _, power in _powers(samples, settle, layout)]
    return Fine(start, np.concatenate(sums) if sums else np.zeros(0))


def join(parts: Sequence[Energies]) -> NDArray[np.float64]:
    """The cells of a whole film from the cells of its blocks."""
    cells = np.zeros(max((p.first + len(p.sums) for p in parts), default=0))
    for part in parts:
        cells[part.first : part.first + len(part.sums)] += part.sums
    return cells


def integrated(cells: NDArray[np.float64]) -> float:
    """Gated programme loudness in LUFS (windows of 400 ms, gates at -70 LUFS and -10 LU); SILENT_LUFS if all is gated."""
    window = _windows(cells, 4)
    kept = window[_lufs(window) > -70]
    if len(kept) == 0:
        return SILENT_LUFS
    kept = kept[_lufs(kept) > _lufs(kept.mean()) - 10]
    return float(_lufs(kept.mean()))


def spoken(cells: NDArray[np.float64], spans: Sequence[Span]) -> float:
    """Loudness in LUFS of all that is heard in `spans`, without a gate (ITU-R BS.1770-1); SILENT_LUFS without any.

    This is what "dialogue-gated" means, with speech known instead of detected. Spans are rounded to cells.
    """
    inside = np.zeros(len(cells), bool)
    for span in spans:
        inside[max(0, round(span.start * 10)) : max(0, round(span.end * 10))] = True
    return float(_lufs(cells[inside].mean() / CELL)) if inside.any() else SILENT_LUFS


def short_term(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """LUFS of 3 s windows, one per second, for curves; films under 3 s give one value."""
    window = _windows(cells, 30)
    return _lufs(window[::10])


def loudness_range(cells: NDArray[np.float64]) -> float:
    """LRA in LU (EBU Tech 3342: 3 s windows, gates -70 LUFS and -20 LU, 10th to 95th percentile); 0.0 for short films."""
    window = _windows(cells, 30)
    levels = _lufs(window[_lufs(window) > -70])
    if len(levels) == 0:
        return 0.0
    gate = _lufs(np.mean(10 ** ((levels - _OFFSET_DB) / 10))) - 20
    low, high = np.percentile(levels[levels > gate], [10, 95])
    return float(high - low)


def whole(samples: Samples) -> float:
    """Ungated loudness in LUFS of a short sound such as a take."""
    frames = samples.shape[1]
    return float(_lufs(np.array(sum(energies(samples, 0).sums) / frames))) if frames else SILENT_LUFS


@dataclass(frozen=True, slots=True)
class DialogueLevel:
    """Loudness of the talk itself and of what is around it, LUFS."""

    dialogue: float
    bed: float


def dialogue_level(cells: NDArray[np.float64], spans: Sequence[Span]) -> DialogueLevel:
    """How loud people talk: power inside `spans` less the power of the quiet half outside them.

    Cells 20 dB under the mean of the spans (pauses) do not count. Without spans or sound both are SILENT_LUFS.
    """
    inside = np.zeros(len(cells), bool)
    for span in spans:
        inside[int(span.start * 10) : int(np.ceil(span.end * 10))] = True
    power = cells / CELL
    talk, rest = power[inside], power[~inside]
    bed = float(np.median(rest)) if len(rest) else 0.0
    if len(talk) == 0 or talk.max() <= 0:
        return DialogueLevel(SILENT_LUFS, float(_lufs(np.array(bed))))
    talk = talk[talk > talk.mean() / 100]
    speech = max(float(talk.mean()) - bed, float(talk.mean()) / 4)  # a bed louder than the talk must not erase it
    return DialogueLevel(float(_lufs(np.array(speech))), float(_lufs(np.array(bed))))


def true_peak(samples: Samples, floor: float = 0.0) -> float:
    """Highest inter-sample level of (channels, frames), linear, by 4-fold oversampling (BS.1770-4 annex 2).

    Only stretches whose sample peak is within 3 dB of the highest sample (and above `floor`) are oversampled: recorded
    sound does not rise by more between two samples. 0.0 for silence and for zero frames.
    """
    if samples.shape[1] == 0:
        return 0.0
    highest = float(np.abs(samples).max())
    _, peaks = inter_sample_peaks(samples, max(floor, highest * OVER))
    return max(highest, float(peaks.max(initial=0.0)))


OVER = 0.7  # what lies between two samples is at most 3 dB above them
STRETCH = 2048  # samples that are oversampled together
_STEPS = 128  # peaks told for one stretch: one for each 16 samples
_EDGE = 32  # samples the interpolation filter needs on both sides


def inter_sample_peaks(samples: Samples, above: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Where samples pass `above`: numbers of the stretches of STRETCH samples, and per stretch the 4-fold oversampled
    peak of each 16 samples over all channels, shape (stretches, 128). Quiet stretches are not looked at.
    """
    count = max(1, -(-samples.shape[1] // STRETCH))
    padded = np.pad(samples, ((0, 0), (_EDGE, count * STRETCH - samples.shape[1] + _EDGE)))
    loudest = np.abs(padded[:, _EDGE:-_EDGE]).reshape(samples.shape[0], count, STRETCH).max(axis=(0, 2))
    hot = np.flatnonzero(loudest > above)
    found = np.zeros((len(hot), _STEPS), np.float32)
    view = np.lib.stride_tricks.sliding_window_view(padded, STRETCH + 2 * _EDGE, axis=1)[:, ::STRETCH]
    for at in range(0, len(hot), 64):  # bounded memory
        rows = view[:, hot[at : at + 64]].reshape(-1, STRETCH + 2 * _EDGE)
        fine = np.abs(filters.polyphase(rows, 4, 1, 48, 7.0)[:, 4 * _EDGE : 4 * (_EDGE + STRETCH)])
        found[at : at + 64] = fine.reshape(samples.shape[0], -1, _STEPS, 4 * STRETCH // _STEPS).max(axis=(0, 3))
    return hot, found


def _windows(cells: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Mean squares of all windows of `count` cells; shorter films are one window."""
    count = max(1, min(count, len(cells)))
    total = np.concatenate([[0.0], np.cumsum(cells)])
    return np.maximum(total[count:] - total[:-count], 0) / (count * CELL)


def _lufs(power: NDArray[np.float64] | np.float64 | np.floating) -> NDArray[np.float64]:
    return np.maximum(_OFFSET_DB + 10 * np.log10(np.maximum(power, 1e-13)), SILENT_LUFS)
