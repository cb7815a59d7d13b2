"""How a line is said beside what is usual for its speaker: pace, loudness, height and movement of the pitch.

Everything is told against the median of the speaker's own lines in the film, so that neither a voice nor a recording level
counts as expression. Few syllables or little voice tell little: what they tell is drawn towards the usual. Importing this
costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, log2
from statistics import median
from typing import TYPE_CHECKING

from polydub.audio import scenes
from polydub.types import HEAR_HZ, PLAIN, RATE_HZ, Expression, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAME_S = 0.01
BELOW_LOUD_DB = -25.0  # quieter frames are no speech; loud is their 95th percentile
FLOOR_DBFS = -60.0  # nor are these
BRIDGE_S = 0.2  # shorter gaps belong to the words: stops last up to 0.15 s
DYNAMIC_DB = 10.0  # from the 10th to the 95th percentile: what moves less is noise, or speech that noise covers
LEAST_VOICED_S = 0.25
LEAST_VOICED = 0.2  # of the spoken time; read speech has 0.5 to 0.8, a whisper next to nothing
LEAST_SYLLABLES = 3
LEAST_LINES = 3  # of a speaker, to know what is usual
SHRINK_SYLLABLES = 12.0  # a line of so many counts half: how long a text takes is known to about 10 %
SHRINK_VOICED_S = 0.5  # likewise for the pitch
# How far the original's own way of speaking may take a line, at any strength; see docs/how-to. Half of these (the default)
# is about what listeners just notice: 5 % of rate (Quene 2007), 1.5 semitones of movement ('t Hart 1981), 2 dB.
RATE = (0.90, 1.12)
PITCH = 2.0
ENERGY_DB = 6.0
PITCH_RANGE = (0.70, 1.40)
# Steps in which it is told, so that a small change elsewhere in the film does not have every line spoken anew.
STEPS = Expression(0.02, 0.25, 0.5, 0.05)


@dataclass(frozen=True, slots=True)
class Prosody:
    """What the sound of one line measures.

    Attributes: spoken_s: seconds of speech without pauses. voiced_s: of them with a pitch. median_hz: of the pitch.
    spread_semitones: its 10th to 90th percentile. lufs: while spoken. All 0 (lufs -120) where no speech stands out.
    """

    spoken_s: float = 0.0
    voiced_s: float = 0.0
    median_hz: float = 0.0
    spread_semitones: float = 0.0
    lufs: float = -120.0

    @property
    def sure(self) -> bool:
        """Whether it is the sound of a voice: enough of it has a pitch."""
        return self.voiced_s >= LEAST_VOICED_S and self.voiced_s >= LEAST_VOICED * self.spoken_s and self.median_hz > 0


def measure(mono: Samples) -> Prosody:
    """What `mono`, float32 (n,) at HEAR_HZ, measures. Silence, steady noise and less than 0.1 s give zeros."""
    import numpy as np

    from polydub.audio import loudness, pitch, signal

    size = round(FRAME_S * HEAR_HZ)
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    if len(frames) < 10:
        return Prosody()
    levels = 10 * np.log10(np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size + 1e-12)
    quiet, loud = (float(x) for x in np.percentile(levels, (10, 95)))
    if loud < FLOOR_DBFS or loud - quiet < DYNAMIC_DB:
        return Prosody()
    spoken = _closed(levels > max(loud + BELOW_LOUD_DB, FLOOR_DBFS), round(BRIDGE_S / FRAME_S))
    times, f0 = pitch.track(mono, HEAR_HZ)
    at = np.minimum((times / FRAME_S).astype(np.int64), len(spoken) - 1)
    f0 = np.where(spoken[at], f0, 0.0)
    heard = frames[spoken].reshape(1, -1)
    lufs = loudness.whole(signal.resample(heard, HEAR_HZ, RATE_HZ))
    return Prosody(
        round(float(spoken.sum()) * FRAME_S, 2),
        round(float((f0 > 0).sum()) * pitch.STEP_S, 2),
        round(pitch.median_hz(f0), 1),
        round(pitch.spread_semitones(f0), 2),
        round(lufs, 1),
    )


def _closed(spoken: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """`spoken` with its gaps of up to `most` frames, but not what is before the first and after the last."""
    import numpy as np

    at = np.flatnonzero(spoken)
    closed = spoken.copy()
    for first, next_ in pairwise(at):
        if next_ - first <= most:
            closed[first:next_] = True
    return closed


@dataclass(frozen=True, slots=True)
class Told(Span):
    """A line of the original and what it measures.

    Attributes: syllables: of its text. expected_s: seconds that its text takes an average voice. covered: share of it in which
    others speak, too.
    """

    id: str = ""
    speaker: str = ""
    syllables: int = 0
    expected_s: float = 0.0
    prosody: Prosody = Prosody()
    covered: float = 0.0

    @property
    def pace(self) -> float:
        """How fast it is said, 1.0 = as expected of an average voice."""
        return self.expected_s / self.prosody.spoken_s

    @property
    def sure(self) -> bool:
        """Whether it says how its speaker speaks: a voice, alone, with enough to say."""
        return self.prosody.sure and self.syllables >= LEAST_SYLLABLES and self.expected_s > 0 and self.covered <= 0.25


@dataclass(frozen=True, slots=True)
class Usual:
    """How a speaker usually speaks: medians of `lines` lines. Units as in Prosody; pace as in Told."""

    lines: int
    pace: float
    median_hz: float
    spread_semitones: float
    lufs: float


def usual(told: Iterable[Told]) -> dict[str, Usual]:
    """By speaker; those with fewer than LEAST_LINES sure lines are left out."""
    lines: dict[str, list[Told]] = {}
    for one in told:
        if one.sure:
            lines.setdefault(one.speaker, []).append(one)
    return {
        name: Usual(
            len(own),
            round(median(x.pace for x in own), 3),
            round(median(x.prosody.median_hz for x in own), 1),
            round(median(x.prosody.spread_semitones for x in own), 2),
            round(median(x.prosody.lufs for x in own), 1),
        )
        for name, own in lines.items()
        if len(own) >= LEAST_LINES
    }


def deviations(told: Sequence[Told], ways: Mapping[str, Usual]) -> dict[str, Expression]:
    """How each sure line departs from what is usual for its speaker, by id; what is not sure is left out.

    The loudness of a whole scene is left to the mix, which follows it anyway (`audio.scenes`): here is what a line is louder
    than its scene.
    """
    sure = [one for one in told if one.sure and one.speaker in ways]
    louder = {one.id: one.prosody.lufs - ways[one.speaker].lufs for one in sure}
    found: dict[str, Expression] = {}
    for scene in scenes.scenes([Span(one.start, one.end) for one in sure]):
        inside = [one for one in sure if scene.start <= one.start < scene.end]
        weight = sum(one.prosody.spoken_s for one in inside)
        level = sum(louder[one.id] * one.prosody.spoken_s for one in inside) / weight if weight else 0.0
        for one in inside:
            own = _departure(one, ways[one.speaker])
            found[one.id] = Expression(own.rate, own.pitch, round(louder[one.id] - level, 2), own.pitch_range)
    return found


def _departure(one: Told, way: Usual) -> Expression:
    """Without the loudness; as far as the line has enough to tell it."""
    said = one.syllables / (one.syllables + SHRINK_SYLLABLES)
    voiced = one.prosody.voiced_s / (one.prosody.voiced_s + SHRINK_VOICED_S)
    rate = exp(said * log(one.pace / way.pace))
    pitch = voiced * 12 * log2(one.prosody.median_hz / way.median_hz)
    moved = max(one.prosody.spread_semitones, 0.5) / max(way.spread_semitones, 0.5)
    return Expression(round(rate, 3), round(pitch, 2), 0.0, round(exp(voiced * log(moved)), 3))


def taken_over(departure: Expression, strength: float) -> Expression:
    """That share (0 to 1) of a departure, within the limits and in STEPS; 0 gives PLAIN."""
    if strength <= 0:
        return PLAIN
    return Expression(
        _held(departure.rate**strength, RATE, STEPS.rate),
        _held(departure.pitch * strength, (-PITCH, PITCH), STEPS.pitch),
        _held(departure.energy_db * strength, (-ENERGY_DB, ENERGY_DB), STEPS.energy_db),
        _held(departure.pitch_range**strength, PITCH_RANGE, STEPS.pitch_range),
    )


def _held(value: float, limits: tuple[float, float], step: float) -> float:
    return round(round(min(max(value, limits[0]), limits[1]) / step) * step, 3)
