"""Speech over a bed: where the bed steps back, where takes lie. Pure, and local in time, so blocks agree at borders.

Curves are computed every millisecond of the film from what lies within a fixed reach of it. A compressor's detector
would remember the whole film before; here the bed goes down so early and comes back so late as attack and release say,
in raised cosines, by what is called a dilation of the presence of speech.

Fades. Where the same sound goes on at another level (the background while its dialogue goes, the source between removed
and ducked), both sides are alike to the sample and amplitudes add up: the gains of the two sides sum to 1 (equal gain),
or there would be a bump of 3 dB. Where one sound takes the place of another (room tone that of a hole), powers add up:
the squares of the gains sum to 1 (equal power), or there would be a dip. Takes begin and end in fades of their own
(`trim.shape`), and two takes that meet are two sounds that are both wanted: they are summed.

Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

from polydub.types import RATE_HZ, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAD_S = 0.15  # cue times are this far off: the original's dialogue is taken out so much before and after the talk
RAMP_S = 0.05  # in which it goes
BRIDGE_S = 0.8  # in shorter pauses the bed does not come up
SOFT_DBFS, LOUD_DBFS = -50.0, -40.0  # speech in the finished programme that lowers the bed not at all, and wholly
CELL = RATE_HZ // 100  # samples in which the level of the dub is measured
_GRID = RATE_HZ // 1000  # curves are computed every millisecond of the film, so that blocks agree


@dataclass(frozen=True, slots=True)
class Ducking:
    """How the bed steps back under speech.

    Attributes: depth_db: by how much. attack_s, release_s: length of the ramps before and after the speech.
    """

    depth_db: float = 12.0
    attack_s: float = 0.12
    release_s: float = 0.35

    @property
    def reach_s(self) -> float:
        """Speech farther away than this matters to no sample."""
        return BRIDGE_S + max(self.attack_s, self.release_s) + 0.1


@dataclass(frozen=True, slots=True)
class Held(Span):
    """Where the bed is kept down by so much whether the dub speaks or pauses: the original would be heard."""

    depth_db: float = 0.0


@dataclass(frozen=True, slots=True)
class Voice:
    """How much the dub lowers the bed, from 0 to 1, for each CELL; the first is number `first` of the film."""

    first: int
    presence: NDArray[np.float64]


def voice(dub: Samples, start: int, where: Sequence[Span] | None = None) -> Voice:
    """The presence of `dub` (channels, frames), which begins at film sample `start`, a multiple of CELL.

    Levels between SOFT_DBFS and LOUD_DBFS count partly; pauses under BRIDGE_S are closed. Only what is farther than that
    from both ends is right. Outside of `where` it is 0. Silence and zero frames give zeros.
    """
    import numpy as np

    from polydub.audio.filters import running

    cells = dub[:, : dub.shape[1] // CELL * CELL].reshape(dub.shape[0], -1, CELL)
    power = np.einsum("cnk,cnk->cn", cells, cells, dtype=np.float64).max(axis=0, initial=0) / CELL
    level = 10 * np.log10(np.maximum(power, 1e-12))
    presence = np.clip((level - SOFT_DBFS) / (LOUD_DBFS - SOFT_DBFS), 0, 1)
    size = round(BRIDGE_S * RATE_HZ / CELL) | 1
    closed = running(np.minimum, running(np.maximum, presence, size, 0.0), size, 0.0)
    if where is not None:
        moments = (start // CELL + np.arange(len(closed))) * (CELL / RATE_HZ)
        closed *= np.any([(moments >= s.start) & (moments < s.end) for s in where] or [moments < 0], axis=0)
    return Voice(start // CELL, closed)


def duck(held: Sequence[Held], speech: Voice | None, place: tuple[int, int], how: Ducking) -> NDArray[np.float32]:
    """Gain of the bed for the film's samples place[0] to place[1]: 1 in the open, ramps as `how` tells.

    Each of `held` lowers it by its own depth and `speech` by that of `how`; where several do, the deepest counts. `held`
    must be bridged, and may be clipped at how.reach_s around these samples; `speech` must reach so far.
    """
    import numpy as np

    ramps = (how.attack_s, how.release_s)
    first, points = _points(place, ramps)
    lowered = np.zeros(len(points))
    for depth, spans in groupby(sorted(held, key=lambda h: h.depth_db), key=lambda h: h.depth_db):
        lowered = np.maximum(lowered, depth * _eased(_inside(points, list(spans)), points, ramps))
    if speech is not None and len(speech.presence):
        cells = points * _GRID // CELL - speech.first
        known = (cells >= 0) & (cells < len(speech.presence))
        presence = np.where(known, speech.presence[np.clip(cells, 0, len(speech.presence) - 1)], 0.0)
        lowered = np.maximum(lowered, how.depth_db * _eased(presence, points, ramps))
    return _drawn(10 ** (-lowered / 20), first, place)


def taken(spans: Sequence[Span], could_not: Sequence[Span], place: tuple[int, int]) -> NDArray[np.float32]:
    """How much of its dialogue is taken out of the source at the film's samples place[0] to place[1].

    1 under `spans` widened by PAD_S, 0 elsewhere and in `could_not`, where there is none to take out.
    """
    ramps = (RAMP_S, RAMP_S)
    first, points = _points(place, ramps)
    wide = [Span(span.start - PAD_S, span.end + PAD_S) for span in spans]
    share = _eased(_inside(points, wide), points, ramps)
    return _drawn(share * (1 - _eased(_inside(points, could_not), points, ramps)), first, place)


def _points(place: tuple[int, int], ramps: tuple[float, float]) -> tuple[int, NDArray[np.int64]]:
    """Milliseconds of the film around `place` whose values matter to it, and the number of the first one inside it."""
    import numpy as np

    before, after = (ceil(ramp * 1000) + 1 for ramp in reversed(ramps))
    first, last = place[0] // _GRID, -(-place[1] // _GRID)
    return before, np.arange(first - before, last + after + 1)


def _inside(points: NDArray[np.int64], spans: Sequence[Span]) -> NDArray[np.float64]:
    """1 in `spans` (both ends included), 0 outside."""
    import numpy as np

    inside = np.zeros(len(points))
    for span in spans:
        low, high = np.searchsorted(points, [round(span.start * 1000), round(span.end * 1000) + 1])
        inside[low:high] = 1
    return inside


def _eased(presence: NDArray[np.float64], points: NDArray[np.int64], ramps: tuple[float, float]) -> NDArray[np.float64]:
    """`presence` with ramps before and after it, as raised cosines.

    Exactly the same wherever the points begin: a running maximum along a slope, in which what is out of reach drops below 0.
    """
    import numpy as np

    if not presence.any():
        return presence
    rise, fall = points / (ramps[0] * 1000), points / (ramps[1] * 1000)
    after = np.maximum.accumulate(presence + fall) - fall
    before = np.maximum.accumulate((presence - rise)[::-1])[::-1] + rise
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(np.maximum(before, after), 0, 1))


def _drawn(values: NDArray[np.float64], before: int, place: tuple[int, int]) -> NDArray[np.float32]:
    from polydub.audio.signal import drawn

    return drawn(values[before:], _GRID, float(place[0] // _GRID * _GRID - place[0]), place[1] - place[0])


@dataclass(frozen=True, slots=True)
class Laid:
    """A take laid on the film: (channels, frames), the film sample where it begins, and its gain in dB."""

    samples: Samples
    start: int
    gain_db: float


def lay(takes: Iterable[Laid], start: int, frames: int, channels: int = 1) -> Samples:
    """The sum of `takes` over samples `start` to `start + frames`, (channels, frames).

    Mono goes to all channels; what has more channels than are asked for becomes mono.
    """
    import numpy as np

    from polydub.audio.signal import gain

    track = np.zeros((channels, frames), np.float32)
    for take in takes:
        low, high = max(take.start, start), min(take.start + take.samples.shape[1], start + frames)
        if low < high:
            piece = take.samples[:, low - take.start : high - take.start]
            if piece.shape[0] > channels:
                piece = piece.mean(axis=0, keepdims=True)
            track[:, low - start : high - start] += piece * np.float32(gain(take.gain_db))
    return track


def spread(dub: Samples, gains: NDArray[np.float32]) -> Samples:
    """`dub` (channels, frames) for a film whose channels get mono speech by `gains`, see `layouts.dialogue_gains`.

    Speech in as many channels stays as it is; of other speech the first channel counts. What needs no memory takes none:
    the result must not be written to.
    """
    import numpy as np

    if dub.shape[0] == len(gains):
        return dub
    if np.all(gains == 1):
        return np.broadcast_to(dub[:1], (len(gains), dub.shape[1]))
    return dub[:1] * gains[:, np.newaxis]
