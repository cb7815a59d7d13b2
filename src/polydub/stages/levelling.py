"""How loud the film is and shall be: levels of the source, the gain of the programme, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from polydub.audio.roomtone import Quiet, RoomTone
from polydub.audio.scenes import SceneLevel
from polydub.spans import bridged
from polydub.stages.listen import Heard
from polydub.types import Artifact, Energies, Notice, Samples, Span, seconds
from polydub.wants import Mixing
from polydub.work import Work, stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEEP_LU = 0.15  # an edit that moves the programme by less keeps the old gain, and so the other blocks
CODED_LU = 0.03  # AAC takes away 0.00 to 0.06 LU of talk and music (96 kbit/s a channel), of rain and applause up to 2 LU
TRIED_DB = (-6.0, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.0, 9.0, 12.0)  # more gain, of which the limited loudness is told
LIMITED_DB = 6.0  # of gain that the limiter may take away again; more would raise what is quiet and hardly anything else
NEAR_LU = 0.2  # what is delivered is no farther from its target (EBU R 128 in quality control), or a notice says so
SPARSE = 0.15  # part of a programme; with less dialogue the whole of it is measured
SPARSE_LU = 3.0  # and is to be so much louder


@dataclass(frozen=True, slots=True)
class Levels:
    """Loudness of a whole film, LUFS and LU; `true_peak` in dBTP.

    Attributes: curve: short-term loudness, one a second. dialogue_gated: loudness while somebody speaks; None when nobody
    told where that is.
    """

    integrated: float
    range_lu: float
    true_peak: float
    curve: tuple[float, ...]
    dialogue_gated: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """How loud a programme shall be, in LUFS: the whole of it, or what is heard in `dialogue` when there is any."""

    lufs: float
    dialogue: tuple[Span, ...] = ()

    def reached(self, levels: Levels) -> float:
        """What of `levels` is to be at `lufs`."""
        return levels.dialogue_gated if self.dialogue and levels.dialogue_gated is not None else levels.integrated


def goal(want: Mixing, speech: Sequence[Span], film_s: float) -> Goal:
    """The goal for a film of `film_s` seconds in which somebody speaks in `speech`.

    Netflix Sound Mix Specifications: the dialogue counts, ungated (BS.1770-1); where less than 15 % of a programme is
    dialogue its gated programme loudness, which is then to be 3 LU higher (-24 instead of -27).
    """
    spans = bridged(speech, 0.0)
    if not want.dialogue_gated:
        return Goal(want.target_lufs)
    if sum(span.duration for span in spans) < SPARSE * film_s:
        return Goal(want.target_lufs + SPARSE_LU)
    return Goal(want.target_lufs, spans)


@dataclass(frozen=True, slots=True)
class SourceLevels:
    """What the source's sound measured.

    Attributes: before: the whole of it. dialogue: the talk in it, LUFS. scenes: the talk scene by scene, in order of
    time; one for the whole film when there is no talk. room: None when nobody looked, or there is no pause to look at.
    separated: `dialogue` was measured on the separated dialogue.
    """

    before: Levels
    dialogue: float
    scenes: tuple[SceneLevel, ...]
    room: RoomTone | None
    separated: bool


@stage("source-levels", version=3)
def source_levels(
    work: Work, heard: Heard, talk: tuple[Span, ...], dialogue: tuple[Energies, ...] = (), quiet: tuple[Quiet, ...] = ()
) -> SourceLevels:
    """Loudness of the source's sound, of the talk in it, and its room tone; `dialogue` is measured if it was separated.

    Separated dialogue whose level cannot be true beside that of the whole sound does not count, with a notice.
    """
    from polydub.audio import loudness, roomtone, scenes

    alone = loudness.join(dialogue)
    found = scenes.talk_levels(loudness.join(heard.energies), talk, alone if alone.any() else None)
    if alone.any() and not found.separated and found.film > scenes.SILENT_LUFS:
        text = "the separated dialogue is nothing like the film's sound, so its level is not believed"
        work.notice(Notice("separation-doubtful", text))
    whole = SceneLevel(0.0, seconds(heard.sound.duration), round(found.film, 1))
    before = _levels(heard.energies, heard.true_peak)
    return SourceLevels(before, found.film, found.scenes or (whole,), roomtone.room_tone(quiet), found.separated)


def _levels(energies: Sequence[Energies], true_peak: float, speech: Sequence[Span] = ()) -> Levels:
    from polydub.audio import loudness
    from polydub.audio.signal import decibels

    cells = loudness.join(energies)
    curve = tuple(round(float(value), 1) for value in loudness.short_term(cells))
    whole = round(loudness.integrated(cells), 2)
    spoken = round(loudness.spoken(cells, speech), 2) if speech else None
    return Levels(whole, round(loudness.loudness_range(cells), 1), round(decibels(true_peak), 2), curve, spoken)


@dataclass(frozen=True, slots=True)
class Aim:
    """A gain of the programme in dB, and the loudness that it is to reach, LUFS.

    Attributes: tried_db: the gain that was measured with, from which this one was reckoned; an edit measures with the same,
    so that nothing but what was edited is measured again. bound: the peaks allow no more.
    """

    gain_db: float
    lufs: float
    tried_db: float
    bound: bool = False


@stage("first-gain", version=3)
def first_gain(work: Work, laid: tuple[object, ...], talk_lufs: float, lufs: float, previous: Aim | None) -> Aim:
    """Programme gain to begin with: the last run's if it had the same goal, else what the dialogue alone would need.

    `laid` is not looked at: it makes an edit another call, which is what gets the previous gain.
    """
    if previous is not None and previous.lufs == lufs:
        return previous
    first_db = 0.0 if talk_lufs <= -70 else round(min(lufs + CODED_LU - talk_lufs, 40.0), 2)
    return Aim(first_db, lufs, first_db)


@stage("coding-loss")
def coding_loss(work: Work, laid: tuple[object, ...], previous: float | None) -> float:
    """By how many LU encoding lowers the programme: what the last run measured, else what is usual; `laid` as in first_gain."""
    return CODED_LU if previous is None else previous


@dataclass(frozen=True, slots=True)
class Measured:
    """Loudness of one block before it is encoded: a `Tried` as .npy."""

    first: int
    sums: Artifact


@dataclass(frozen=True, eq=False)
class Tried:
    """Sums of K-weighted squares per cell of 100 ms, of which the first is number `first` of the film.

    Attributes: sums: float32 (1 + len(TRIED_DB), cells): not limited, and with each of TRIED_DB more gain, limited.
    """

    first: int
    sums: NDArray[np.float32]


def tried(mix: Samples, first: int, settle: int, layout: str, ceiling: float) -> Tried:
    """What `mix` (channels, frames) measures from its frame `settle` on, which is sample `first` of the film.

    `ceiling`: of the limiter, linear. Its gains are laid over sums of 1/3 ms, so that the sound is filtered once.
    """
    import numpy as np

    from polydub.audio import limiter, loudness
    from polydub.audio.signal import gain

    fine, levels = loudness.fine(mix, first, settle, layout), limiter.levels(mix)
    rows = [fine.cells()]
    for more in TRIED_DB:
        curve = limiter.allowed(levels, ceiling / gain(more))
        rows.append(rows[0] * gain(more) ** 2 if curve is None else fine.cells(curve[settle // loudness.FINE :] * gain(more)))
    return Tried(first // loudness.CELL, np.array(rows, np.float32))


@stage("set-gain")
def set_gain(work: Work, measured: tuple[Measured, ...], aim: Aim, lufs: float, dialogue: tuple[Span, ...] = ()) -> Aim:
    """`aimed` for the blocks of a film, measured with aim.tried_db."""
    import numpy as np

    return aimed([Tried(m.first, np.load(work.path(m.sums), allow_pickle=False)) for m in measured], aim, lufs, dialogue)


def aimed(blocks: Sequence[Tried], aim: Aim, lufs: float, dialogue: tuple[Span, ...] = ()) -> Aim:
    """The gain that brings the limited programme, or what is heard in `dialogue` if given, to `lufs`.

    `lufs` is wanted before encoding: the goal and what coding takes away. The gain that was aimed at is kept for silence,
    within KEEP_LU, and where the peaks allowed no more already in the last run.
    """
    free, *heard = (_heard(blocks, row, dialogue) for row in range(1 + len(TRIED_DB)))
    rows = [(aim.tried_db + more, loud) for more, loud in zip(TRIED_DB, heard, strict=True)]
    missing = lufs - _between(aim.gain_db, rows)
    if free <= -70 or abs(missing) <= KEEP_LU:
        return replace(aim, bound=False)
    if aim.bound and missing > 0:
        return aim
    alone_db = aim.tried_db + lufs - free
    if not rows[0][0] <= alone_db <= rows[-1][0]:
        return replace(aim, gain_db=round(alone_db, 2), bound=False)
    reaching_db = _between(lufs, [(loud, gain_db) for gain_db, loud in rows])
    highest_db = alone_db + LIMITED_DB
    return replace(aim, gain_db=round(min(reaching_db, highest_db), 2), bound=reaching_db > highest_db)


def _heard(blocks: Sequence[Tried], row: int, dialogue: Sequence[Span]) -> float:
    """Loudness by one row of the sums."""
    import numpy as np

    from polydub.audio import loudness

    cells = np.zeros(max((block.first + block.sums.shape[1] for block in blocks), default=0))
    for block in blocks:
        cells[block.first : block.first + block.sums.shape[1]] += block.sums[row]
    return loudness.spoken(cells, dialogue) if dialogue else loudness.integrated(cells)


def _between(x: float, rows: Sequence[tuple[float, float]]) -> float:
    """The y of `x` along the lines through these (x, y), and along the first and the last beyond them."""
    (x0, y0), (x1, y1) = next((pair for pair in pairwise(rows) if x <= pair[1][0]), rows[-2:])
    return y0 + (y1 - y0) * (x - x0) / max(x1 - x0, 1e-6)


@stage("programme", version=2)
def programme(work: Work, energies: tuple[Energies, ...], true_peak: float, speech: tuple[Span, ...] = ()) -> Levels:
    """Loudness and true peak of the finished dub, and how loud it is in `speech`, where the dub speaks."""
    return _levels(energies, true_peak, speech)
