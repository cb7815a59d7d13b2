"""Metrics of sound: L1 loudness, L2 balance, B1 background kept, B2 voice left over, and how late the sound is (A1).

Sounds come as blocks one after the other and are only summed up, so that memory does not know the length of the film.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydub.audio import activity, loudness, signal
from polydub.evaluate.card import BEST_DB, Score, decibels
from polydub.types import HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Energies, Samples, Span

FULL = 1 - 2.0**-15  # from here on a sample is at full scale
RUN = 3  # so many in a row are a clipped wave, one or two may be a peak that just fits
_BS1770 = "ITU-R BS.1770-4, EBU R 128"
_SI_SDR = "Le Roux and others 2019, arXiv 1811.02508"
_OWN = "metrics of polydub"

Detector = Callable[[Audio], Sequence[float]]  # mono at HEAR_HZ -> probability of speech for each VAD_FRAME


@dataclass(frozen=True, slots=True)
class Levels:
    """A whole sound: LUFS, LU, linear true peak and sample peak, clipped samples, energies of 100 ms for more."""

    integrated: float
    range_lu: float
    true_peak: float
    peak: float
    clipped: int
    cells: NDArray[np.float64]


class Meter:
    """Measures a sound at RATE_HZ that comes in blocks of shape (channels, frames), of any length; layout by ffmpeg's name."""

    def __init__(self, layout: str = "") -> None:
        self._layout = layout
        self._parts: list[Energies] = []
        self._tail: Samples = np.zeros((0, 0), np.float32)
        self._at = 0
        self._true_peak = self._peak = 0.0
        self._clipped = 0
        self._run: NDArray[np.intp] = np.zeros(0, np.intp)

    def add(self, block: Samples) -> None:
        """The next block."""
        channels, frames = block.shape
        if self._tail.shape[0] != channels:
            self._tail, self._run = np.zeros((channels, 0), np.float32), np.zeros(channels, np.intp)
        lead = np.concatenate([self._tail, block], axis=1)
        settle = self._tail.shape[1]
        self._parts.append(loudness.energies(lead, self._at, settle, self._layout))
        self._true_peak = max(self._true_peak, loudness.true_peak(lead, self._true_peak * loudness.OVER))
        self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
        self._clipped += sum(self._clips(channel, samples) for channel, samples in enumerate(block))
        self._at += frames
        self._tail = lead[:, -loudness.SETTLE :].copy()

    def _clips(self, channel: int, samples: NDArray[np.float32]) -> int:
        """Samples in runs of RUN or more at full scale; a run may have begun in the block before."""
        full = np.abs(samples) >= FULL
        if not full.any():
            self._run[channel] = 0
            return 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]])))
        counted = 0
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            before = int(self._run[channel]) if start == 0 else 0
            length = before + int(stop - start)
            counted += length - (before if before >= RUN else 0) if length >= RUN else 0
        self._run[channel] = (edges[-1] - edges[-2] + (self._run[channel] if edges[-2] == 0 else 0)) if full[-1] else 0
        return counted

    def levels(self) -> Levels:
        """What the blocks measure so far; silence is -120 LUFS."""
        cells = loudness.join(self._parts)
        return Levels(
            loudness.integrated(cells), loudness.loudness_range(cells), self._true_peak, self._peak, self._clipped, cells
        )


def measured(blocks: Iterable[Samples], layout: str = "") -> Levels:
    """L1: programme loudness in LUFS, loudness range in LU (EBU Tech 3342), true peak, clipped samples."""
    meter = Meter(layout)
    for block in blocks:
        meter.add(block)
    return meter.levels()


def loudness_scores(levels: Levels, target_lufs: float, spoken: Sequence[Span], dialogue_gated: bool) -> tuple[Score, ...]:
    """L1 as scores. With `dialogue_gated` the loudness that counts is that of the time in `spoken`, ungated."""
    lufs = loudness.spoken(levels.cells, spoken) if dialogue_gated else levels.integrated
    n = round(len(levels.cells) / 10)
    rows = (
        ("L1.integrated", "programme loudness", levels.integrated, "LUFS", None),
        ("L1.error", "distance from the wanted loudness", abs(lufs - target_lufs), "LU", False),
        ("L1.truepeak", "true peak", signal.decibels(levels.true_peak), "dBTP", None),
        ("L1.range", "loudness range", levels.range_lu, "LU", None),
    )
    basis = "dialogue" if dialogue_gated else "programme"
    return tuple(
        Score(id=i, name=name, value=round(value, 2), unit=unit, n=n, higher_is_better=up, source=_BS1770,
              basis=basis if i == "L1.error" else "")
        for i, name, value, unit, up in rows
    )  # fmt: skip


def balance(source: tuple[float, float], dub: tuple[float, float]) -> Score | None:
    """L2: how many LU the dub's speech stands otherwise above its background than the source's did.

    Both are (LUFS of the speech, LUFS of the background), each measured alone. None where one of the four is silent.
    """
    if min(*source, *dub) <= loudness.SILENT_LUFS:
        return None
    change = abs((dub[0] - dub[1]) - (source[0] - source[1]))
    return Score(id="L2.balance", name="change of the balance of speech and background", value=round(change, 2), unit="LU",
                 n=1, higher_is_better=False, source=_OWN, basis="stems")  # fmt: skip


class Kept:
    """B1, summed up over blocks: SI-SDR of what the dub makes of the source's sound where nobody speaks.

    10 log10(sum (a s)^2 / sum (a s - o)^2) with a = <o, s> / |s|^2: a change of level alone costs nothing.
    """

    def __init__(self) -> None:
        self._ss = self._so = self._ee = 0.0
        self._frames = 0

    def add(self, source: Samples, dub: Samples, where: NDArray[np.bool_]) -> None:
        """The next block of both, (channels, frames), and the frames that count."""
        s, o = source[:, where].astype(np.float64), dub[:, where].astype(np.float64)
        self._ss += float((s * s).sum())
        self._so += float((s * o).sum())
        self._ee += float(((o - s) ** 2).sum())
        self._frames += int(where.sum())

    @property
    def seconds(self) -> float:
        """How much was summed up."""
        return self._frames / RATE_HZ

    def ratio_db(self) -> float | None:
        """SI-SDR in dB, infinite for an untouched background; None where the source is silent there."""
        if self._ss <= 0:
            return None
        factor = self._so / self._ss
        # (o - s) + (1 - a) s written out: exact for equal sounds, where differences of large sums are not
        left = self._ee + 2 * (1 - factor) * (self._so - self._ss) + (1 - factor) ** 2 * self._ss
        wanted = factor * factor * self._ss
        if left <= wanted * 1e-12:
            return math.inf if wanted > 0 else -BEST_DB
        return decibels(wanted / left)

    def score(self) -> Score | None:
        """The figure, measured over at least half a second."""
        value = self.ratio_db()
        if value is None or self.seconds < 0.5:
            return None
        return Score(id="B1.sisdr", name="background kept, where nobody speaks", value=round(min(value, BEST_DB), 2), unit="dB",
                     n=round(self.seconds), higher_is_better=True, source=_SI_SDR)  # fmt: skip


class Residue:
    """B2, summed up over blocks: the source's voice that is left where the source speaks and the dub is silent.

    The dub's sound is explained as a voice + b background by least squares over all these frames, both taken from the
    source: so music does not count as voice. The figure is 20 log10 |a / b|: 0 dB = the voice is all there.
    """

    def __init__(self) -> None:
        self._gram = np.zeros((2, 2))
        self._right = np.zeros(2)
        self._frames = 0

    def add(self, voice: Samples, background: Samples, dub: Samples, where: NDArray[np.bool_]) -> None:
        """The next block of all three, (channels, frames), and the frames that count."""
        known = np.stack([voice[:, where], background[:, where]]).reshape(2, -1).astype(np.float64)
        self._gram += known @ known.T
        self._right += known @ dub[:, where].reshape(-1).astype(np.float64)
        self._frames += int(where.sum())

    @property
    def seconds(self) -> float:
        """How much was summed up."""
        return self._frames / RATE_HZ

    def ratio_db(self) -> float | None:
        """dB within +-120; against the source's own level where there is no background. None where the source is silent."""
        voice, background = self._gram[0, 0], self._gram[1, 1]
        if voice <= 0:
            return None
        if background <= voice * 1e-9:
            return decibels(float(self._right[0] / voice) ** 2)
        a, b = np.linalg.lstsq(self._gram, self._right, rcond=1e-9)[0]
        return decibels(float(a * a / (b * b))) if b else BEST_DB

    def score(self) -> Score | None:
        """The figure, measured over at least half a second."""
        value = self.ratio_db()
        if value is None or self.seconds < 0.5:
            return None
        return Score(id="B2.energy", name="source voice left, where the dub is silent", value=round(value, 2), unit="dB",
                     n=round(self.seconds), higher_is_better=False, source=_OWN, basis="source dialogue stem")  # fmt: skip


def frames_in(spans: Sequence[Span], start: int, frames: int) -> NDArray[np.bool_]:
    """Which of `frames` samples at RATE_HZ, the first of them number `start` of the film, lie inside `spans`."""
    inside = np.zeros(frames, bool)
    for span in spans:
        low, high = round(span.start * RATE_HZ) - start, round(span.end * RATE_HZ) - start
        if high > 0 and low < frames:
            inside[max(0, low) : high] = True
    return inside


class Delay:
    """A1: how much later the dub's sound is than the source's, from what both have in common (music, noise, effects).

    Generalised cross-correlation with phase transform (Knapp and Carter 1976) over blocks at 8 kHz, lags up to 1 s.
    """

    HZ, LAG_S, TIMES = 8000, 1.0, 8.0  # TIMES: peaks below so many times the deviation of the rest prove nothing

    def __init__(self) -> None:
        self._cross: NDArray[np.complex128] | None = None
        self._size = 0

    def add(self, source: Samples, dub: Samples) -> None:
        """The next block of both, mono (1, frames) at RATE_HZ; blocks after the longest one are as long or shorter."""
        a, b = (signal.resample(x, RATE_HZ, self.HZ)[0].astype(np.float64) for x in (source, dub))
        if self._cross is None:
            self._size = 1 << max(2 * self.HZ, len(a) + self.HZ).bit_length()
            self._cross = np.zeros(self._size // 2 + 1, np.complex128)
        cross = np.conj(np.fft.rfft(a, self._size)) * np.fft.rfft(b, self._size)
        strength = np.abs(cross)
        self._cross += np.where(strength > strength.max(initial=0.0) * 1e-8, cross / np.maximum(strength, 1e-30), 0)

    def seconds(self) -> float | None:
        """Positive = the dub is late; None when the two have nothing in common."""
        if self._cross is None:
            return None
        curve = np.fft.irfft(self._cross)
        reach = int(self.LAG_S * self.HZ)
        near = np.concatenate([curve[-reach:], curve[: reach + 1]])
        at = int(near.argmax())
        rest = np.delete(near, slice(max(0, at - 40), at + 41))
        if near[at] <= self.TIMES * rest.std():
            return None
        return round((at - reach + _between(near, at)) / self.HZ * RATE_HZ) / RATE_HZ


def _between(curve: NDArray[np.float64], at: int) -> float:
    """How far beside sample `at` the peak of a sinc lies, -1/2 to 1/2 samples: its larger neighbour tells."""
    if not 0 < at < len(curve) - 1:
        return 0.0
    before, peak, after = curve[at - 1 : at + 2]
    side = max(before, after, 0.0)
    return float(side / (peak + side)) * (1 if after > before else -1)


class Listener:
    """Where somebody speaks in a sound that comes in mono blocks at RATE_HZ, by a detector that is given 2 s of lead."""

    def __init__(self, detector: Detector, peak: float) -> None:
        self._detect, self._gain = detector, 0.9 / max(peak, 1e-4)
        self._tail: Samples = np.zeros((1, 0), np.float32)
        self._chances: list[float] = []
        self._times: list[float] = []
        self._at = 0

    def add(self, block: Samples) -> None:
        """The next block, (1, frames)."""
        lead = np.concatenate([self._tail, block], axis=1)
        first = (self._at - self._tail.shape[1]) / RATE_HZ
        heard = np.clip(signal.resample(lead, RATE_HZ, HEAR_HZ) * np.float32(self._gain), -1, 1)
        for n, chance in enumerate(self._detect(Audio(np.ascontiguousarray(heard, np.float32), HEAR_HZ))):
            time = first + n * VAD_FRAME / HEAR_HZ
            if time >= self._at / RATE_HZ - 1e-9:
                self._times.append(time)
                self._chances.append(chance)
        self._at += block.shape[1]
        self._tail = lead[:, -2 * RATE_HZ :].copy()

    def spans(self) -> tuple[Span, ...]:
        """Speech in order, tight (not padded): what lasts 0.1 s or more, pauses of 0.2 s or more are pauses."""
        rules = activity.Rules(pad_s=0.0, min_speech_s=0.1, min_silence_s=0.2, longest_s=math.inf)
        return activity.spans(self._chances, self._times, self._at / RATE_HZ, rules)
