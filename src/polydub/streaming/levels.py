"""The programme's gain while nobody knows yet how loud the rest is: found in the first pieces, then moved slowly.

EBU R 128 allows live programmes 1 LU where exact normalisation cannot be had; the gain is the one that the whole of what
was heard so far would have got, approached by STEP_DB from piece to piece, so that nothing jumps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from polydub.types import RATE_HZ, Energies, Notice
from polydub.wants import Mixing

STEP_DB = 0.5  # from one piece to the next; less than is noticed in speech
SETTLED_S = 20.0  # of dubbed sound; until then the gain is still being found, and may move by more
FINDING_DB = 1.0
SCENE_S = 30.0  # of talk, by which the dub's level goes: a piece alone is too short to tell how loud a scene is
TOLERANCE_LU = 1.0  # EBU R 128 (2020), of programmes whose loudness cannot be normalised exactly
_CELL = RATE_HZ // 10
_OFFSET_DB = -0.691  # ITU-R BS.1770


@dataclass(frozen=True)
class Tally:
    """Loudness of a programme that goes on: sums of the power of blocks of 400 ms by whole LUFS, so that it needs no history.

    Attributes: first: number of the first cell in `tail`, which waits for what follows. bins: LUFS -> (blocks, power).
    """

    first: int = 0
    tail: tuple[float, ...] = ()
    bins: Mapping[int, tuple[int, float]] = field(default_factory=dict[int, tuple[int, float]])

    def with_cells(self, more: Energies, offset: int = 0, gain_db: float = 0.0) -> Tally:
        """With the cells of a stretch that begins `offset` cells later than they say, as they are without `gain_db`."""
        factor, first = 10 ** (-gain_db / 10), more.first + offset
        cells = dict(enumerate(self.tail, self.first)) if self.tail else {}
        for number, power in enumerate(more.sums, first):
            cells[number] = cells.get(number, 0.0) + power * factor
        start, last = min(cells, default=first), max(cells, default=first)
        bins = dict(self.bins)
        while start + 4 <= last:  # the last cell may not be complete
            power = sum(cells.get(n, 0.0) for n in range(start, start + 4)) / (4 * _CELL)
            lufs = _OFFSET_DB + 10 * math.log10(power) if power > 0 else -math.inf
            if lufs >= -70:
                count, total = bins.get(math.floor(lufs), (0, 0.0))
                bins[math.floor(lufs)] = (count + 1, total + power)
            start += 1
        return Tally(start, tuple(cells.get(n, 0.0) for n in range(start, last + 1)), bins)

    @property
    def seconds(self) -> float:
        """Of sound that is not silence."""
        return sum(count for count, _ in self.bins.values()) / 10

    @property
    def lufs(self) -> float:
        """Integrated loudness, gated as in BS.1770-4 (the relative gate to within 1 LU); -inf for silence."""
        everything = _mean(self.bins.values())
        if everything <= 0:
            return -math.inf
        gate = _OFFSET_DB + 10 * math.log10(everything) - 10
        loud = _mean([row for lufs, row in self.bins.items() if lufs + 0.5 >= gate])
        return _OFFSET_DB + 10 * math.log10(loud) if loud > 0 else -math.inf


def _mean(rows: Iterable[tuple[int, float]]) -> float:
    counted = list(rows)
    blocks = sum(count for count, _ in counted)
    return sum(power for _, power in counted) / blocks if blocks else 0.0


@dataclass(frozen=True)
class Level:
    """The gain of the programme, dB: None = not found yet. `natural`: the programme without it. `made`: as delivered.

    Attributes: dubbed_s: so much was dubbed. talk_lufs: how loud the original talks, from `talk_s` of it.
    """

    gain_db: float | None = None
    natural: Tally = field(default_factory=Tally)
    made: Tally = field(default_factory=Tally)
    dubbed_s: float = 0.0
    talk_lufs: float = 0.0
    talk_s: float = 0.0

    def with_talk(self, lufs: float, length_s: float) -> Level:
        """With how loud the original talks in the next piece, as `talk_lufs` after it: a mean of the last SCENE_S of talk."""
        if length_s <= 0 or lufs <= -70:
            return self
        old = min(self.talk_s, SCENE_S)
        mean = (self.talk_lufs * old + lufs * length_s) / (old + length_s)
        return replace(self, talk_lufs=round(mean, 2), talk_s=self.talk_s + length_s)

    def gain_for(self, own_db: float, *, dubbed: bool, target: float) -> float:
        """The gain of the next piece; `own_db` is what it would get alone, `dubbed`: somebody speaks in it.

        A film that begins without speech is not raised, since nobody knows yet how loud its speech is.
        """
        if self.gain_db is None:
            return own_db if dubbed else min(own_db, 0.0)
        wished = target - self.natural.lufs if self.natural.bins else own_db
        step = FINDING_DB if self.dubbed_s < SETTLED_S else STEP_DB
        return round(self.gain_db + min(max(wished - self.gain_db, -step), step), 2)

    def after(self, energies: Energies, offset: int, gain_db: float, dubbed_s: float) -> Level:
        """With one more block that was rendered with `gain_db`."""
        natural = self.natural.with_cells(energies, offset, gain_db)
        made = self.made.with_cells(energies, offset)
        found = self.gain_db is not None or dubbed_s > 0
        return replace(self, gain_db=gain_db if found else None, natural=natural, made=made, dubbed_s=self.dubbed_s + dubbed_s)

    def missed(self, want: Mixing) -> tuple[Notice, ...]:
        """Tells where the stream ends at another loudness than was wanted."""
        made = self.made.lufs
        if made <= -70 or want.dialogue_gated or abs(made - want.target_lufs) <= TOLERANCE_LU:
            return ()
        text = f"the stream ends at {made:.1f} LUFS, not {want.target_lufs:.1f}: its gain was set before all of it was heard"
        return (Notice("loudness-missed", text),)
