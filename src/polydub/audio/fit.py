"""Where each line starts and how fast it is spoken: one sparse quadratic programme over all lines of a film.

The programme and what it likes are in `fit_programme`. Only when no plan exists may lines talk over each other: then a first
programme finds the least talk-over there is, and the usual one is solved with that allowed. Outside the solver times are
whole milliseconds, and its answer is settled on them by a pass that cannot break a constraint: the guarantees do not rest on
the solver's accuracy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np

from polydub.audio.fit_programme import Floats, Ints, Limits, Mask, Task, cost, least_breach, plan

__all__ = ["Fitted", "Limits", "Slot", "fit"]

SAME_TIME_S = 0.001001  # source spans that share no more than 1 ms do not overlap
WINDOW, MARGIN, STILL_MS = 8, 2, 2  # an edit solves WINDOW lines each way, more if one of the outer MARGIN moves further
FEW, STIR_MS = 8, 20  # and moves no more than FEW others by more than STIR_MS where there is such a plan
MOST = 2 * WINDOW  # beyond which no fewer are looked for


@dataclass(frozen=True, slots=True)
class Slot:
    """A line to place: its span in the source and the trimmed length of its take at the engine's default rate, seconds.

    Attributes: natural_s: 0 = nothing to say. locked_start: where a person put the line; kept whatever it costs. locked_s: how
    long it then is, seconds, at whatever rate; None = as is best.
    """

    id: str
    speaker: str
    start: float
    end: float
    natural_s: float
    locked_start: float | None = None
    locked_s: float | None = None

    @property
    def length_ms(self) -> int | None:
        """The length that a person has fixed, in whole milliseconds; None = the solver's to choose."""
        return None if self.locked_start is None or self.locked_s is None else max(1, _ms(self.locked_s))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A placed line, times in seconds on whole milliseconds.

    Attributes: rate: natural length / duration. shift: start - source start. overflow: seconds in which it talks over
    following lines that it may not overlap, plus seconds beyond the end of the film; 0.0 whenever a plan exists.
    """

    id: str
    start: float
    duration: float
    rate: float
    shift: float
    overflow: float


DEFAULT = Limits()
Previous = Mapping[str, Fitted]  # by line id


def fit(slots: Sequence[Slot], film_s: float, limits: Limits = DEFAULT, previous: Previous | None = None) -> list[Fitted]:
    """Place all lines of a film; the answer is in the order of `slots`, and the same for any order.

    Lines of one speaker never overlap; lines of two may where their source spans do. With `previous`, only changed lines
    and as many neighbours as they need are moved, all others keep their start and duration exactly. A line that fits
    nowhere starts early rather than being cut by the film's end; one longer than the film starts at 0 and reports the
    rest as overflow. Nothing to say: duration 0, rate 1, at its source start. Ids must be unique.
    """
    spoken = sorted((s for s in slots if _ms(s.natural_s) > 0), key=lambda s: (_place(s), s.end, s.speaker, s.id))
    film = floor(film_s * 1000 + 1e-6)
    done: dict[str, Fitted] = {}
    if spoken:
        task = _film(spoken, film, limits)
        start, end = _edited(task, spoken, limits, previous) if previous else _plan(task, limits, *_latest(task))
        over = _overflow(spoken, start, end, film)
        for slot, at, length, talk in zip(spoken, start.tolist(), (end - start).tolist(), over, strict=True):
            rate, shift = _rate(slot, length, limits), at - _ms(slot.start)
            done[slot.id] = Fitted(slot.id, at / 1000, length / 1000, rate, shift / 1000, talk / 1000)
    silent = {s.id: Fitted(s.id, _place(s) / 1000, 0.0, 1.0, (_place(s) - _ms(s.start)) / 1000, 0.0) for s in slots}
    return [done.get(slot.id, silent[slot.id]) for slot in slots]


def _ms(value_s: float) -> int:
    return round(value_s * 1000)


def _place(slot: Slot) -> int:
    return _ms(slot.start) if slot.locked_start is None else max(0, _ms(slot.locked_start))


def _rate(slot: Slot, length: int, limits: Limits) -> float:
    """Natural length / length; within the limits but for a length that a person fixed."""
    rate = round(_ms(slot.natural_s) / length, 4)
    return rate if slot.length_ms is not None else max(min(rate, limits.max_rate), limits.min_rate)


def _free(a: Slot, b: Slot) -> bool:
    """May these two be heard together?"""
    return a.speaker != b.speaker and min(a.end, b.end) - max(a.start, b.start) > SAME_TIME_S


def following(slots: Sequence[Slot]) -> list[tuple[int, int]]:
    """Which lines each may not run into, leaving out those that follow from the others."""
    pairs: list[tuple[int, int]] = []
    for i, slot in enumerate(slots):
        after: list[Slot] = []
        for j in range(i + 1, len(slots)):
            other = slots[j]
            if _free(slot, other):
                continue
            if all(_free(a, other) for a in after):
                pairs.append((i, j))
                after.append(other)
            elif other.locked_start is None and any(a.end <= other.start and a.locked_start is None for a in after):
                break  # every later line comes after that one as well
    return pairs


def _steps(slots: Sequence[Slot], limits: Limits) -> tuple[Ints, Floats]:
    """Rows (i, j): lines of one speaker that follow each other soon; and how strongly they are drawn to one rate."""
    speaker = np.unique([s.speaker for s in slots], return_inverse=True)[1]
    order = np.argsort(speaker, kind="stable")
    i, j = order[:-1], order[1:]
    wait = np.array([s.start for s in slots])[j] - np.array([s.end for s in slots])[i]
    near = (speaker[i] == speaker[j]) & (wait <= limits.step_s)
    line = np.array([s.id.partition(".")[0] for s in slots])
    ties = np.where(line[i] == line[j], limits.phrase_weight, limits.step_weight)
    return np.stack([i, j], axis=1)[near], ties[near]


def _film(slots: Sequence[Slot], film: int, limits: Limits) -> Task:
    """The whole film as a task. The end of the film beats the bound on early starts, and is itself beaten by a lock."""
    start, place, natural = np.array([(_ms(s.start), _place(s), _ms(s.natural_s)) for s in slots], np.int64).T
    # 1e-9: a quotient that is whole but for floating point must not be rounded away
    shortest = np.array([max(1, ceil(d / limits.max_rate - 1e-9)) for d in natural.tolist()], np.int64)
    fixed = np.array([s.length_ms or 0 for s in slots], np.int64)
    shortest, longest = np.where(fixed > 0, fixed, shortest), np.where(fixed > 0, fixed, natural)
    locked = np.array([s.locked_start is not None for s in slots])
    pairs = np.array(following(slots), np.int64).reshape(-1, 2)
    late: list[int] = np.where(locked, place, np.maximum(0, film - shortest)).tolist()
    for i, j in reversed(pairs.tolist()):
        if not locked[i]:
            late[i] = min(late[i], late[j])
    low = np.where(locked, place, np.minimum(np.maximum(0, start - _ms(limits.early_s)), late))
    last = np.maximum(film, low + shortest)
    return Task(start, natural, shortest, longest, low, last, locked, pairs, *_steps(slots, limits), _ms(limits.gap_s))


def _latest(task: Task, breach: Ints | None = None) -> tuple[list[int], bool]:
    """The latest start of each line that leaves room for all that follow, and whether that is possible for all."""
    low, locked, possible = task.low.tolist(), task.locked.tolist(), True
    late: list[int] = (task.last - task.shortest).tolist()
    need: list[int] = (task.shortest + task.gap - (0 if breach is None else breach)).tolist()
    following = task.following()
    for i in range(len(late) - 1, -1, -1):
        for j in following[i]:
            late[i] = min(late[i], late[j], late[j] - need[i])
        possible = possible and late[i] >= low[i]
        late[i] = low[i] if locked[i] else max(low[i], late[i])
    return late, possible


def _plan(task: Task, limits: Limits, late: list[int], possible: bool) -> Ints:
    """Starts and ends of all lines, shape (2, n)."""
    breach = np.zeros_like(task.start) if possible else least_breach(task)
    start, end = plan(task, limits, breach)
    return _settle(task, start, end, breach, late if possible else _latest(task, breach)[0])


def _settle(task: Task, start: Ints, end: Ints, breach: Ints, late: list[int]) -> Ints:
    """The nearest whole plan, line after line: each leaves enough room for all that follow, and none is drawn out."""
    starts, ends, following = start.tolist(), end.tolist(), task.following()
    floors, shortest, longest, last = task.low.tolist(), task.shortest.tolist(), task.longest.tolist(), task.last.tolist()
    spare: list[int] = (breach - task.gap).tolist()
    for i in range(len(starts)):
        at = min(max(starts[i], floors[i]), late[i])
        room = min((late[j] + spare[i] for j in following[i]), default=last[i])
        until = max(min(ends[i], at + longest[i], last[i], room), at + shortest[i])
        for j in following[i]:
            floors[j] = max(floors[j], at, until - spare[i])
        starts[i], ends[i] = at, until
    return np.array([starts, ends], np.int64)


def _edited(task: Task, slots: Sequence[Slot], limits: Limits, previous: Previous) -> Ints:
    """Starts and ends of all lines, those far from a change as they were."""
    old, seeds = _before(task, slots, limits, previous)
    if not seeds.any():
        return old
    return _fewer(task, limits, old, seeds, _around(task, limits, old, seeds))


def _around(task: Task, limits: Limits, old: Ints, seeds: Mask) -> Ints:
    """The plan in which as many lines around the changed ones are free as would move by themselves."""
    reach = WINDOW
    while True:
        mask = _near(seeds, reach)
        if mask.all():
            return _plan(task, limits, *_latest(task))
        new = _within(task, limits, old, mask)
        if new is not None and np.abs(new - old)[:, mask & _near(~mask, MARGIN)].max() <= STILL_MS:
            return new
        reach *= 2


def _within(task: Task, limits: Limits, old: Ints, mask: Mask) -> Ints | None:
    """The plan that moves nothing outside the mask; None where there is none."""
    part = _part(task, mask, *old)
    late, possible = _latest(part)
    if not possible:
        return None
    new = old.copy()
    new[:, mask] = _plan(part, limits, late, possible)
    return new


def _fewer(task: Task, limits: Limits, old: Ints, seeds: Mask, new: Ints) -> Ints:
    """The best plan that moves only FEW lines beside the changed ones, or as few more as there must be; at worst `new`."""
    stirred = int(((np.abs(new - old).max(axis=0) > STIR_MS) & ~seeds).sum())
    first, last = np.flatnonzero(seeds)[[0, -1]].tolist()
    place, span = np.arange(len(seeds)), last - first + 1
    for count in range(span + FEW, span + min(stirred, MOST)) if span <= FEW else ():
        masks = [(place >= k) & (place < k + count) for k in range(max(0, last + 1 - count), first + 1)]
        plans = [it for mask in masks if (it := _within(task, limits, old, mask)) is not None]
        if plans:
            return min(plans, key=lambda it: cost(task, limits, *it))
    return new


def _near(mask: Mask, reach: int) -> Mask:
    """Lines no further than `reach` from one of the mask."""
    count = np.concatenate([[0], np.cumsum(mask)])
    return count[np.minimum(np.arange(len(mask)) + reach + 1, len(mask))] > count[np.maximum(np.arange(len(mask)) - reach, 0)]


def _before(task: Task, slots: Sequence[Slot], limits: Limits, previous: Previous) -> tuple[Ints, Mask]:
    """Starts and ends as they were, and which cannot stay there: changed, new, or beside one that is gone."""
    start, end, over, seeds = task.low.copy(), task.low.copy(), np.zeros_like(task.low), np.ones(len(slots), bool)
    for k, slot in enumerate(slots):
        old = previous.get(slot.id)
        length = _ms(old.duration) if old else 0
        if old and task.shortest[k] <= length <= task.longest[k] and old.rate == _rate(slot, length, limits):
            start[k], end[k], over[k] = _ms(old.start), _ms(old.start) + length, _ms(old.overflow)
            seeds[k] = _ms(old.shift) != start[k] - task.start[k]
    seeds |= (start < task.low) | (end > task.last) | (task.locked & (start != task.low))
    i, j = task.pairs[~seeds[task.pairs].any(axis=1)].T
    worse = end[i] - start[j] > over[i]
    seeds[i[worse]] = seeds[j[worse]] = True
    gone = [_ms(previous[key].start) for key in previous.keys() - {s.id for s in slots} if previous[key].duration > 0]
    beside = np.searchsorted(np.maximum.accumulate(start), np.array(gone, np.int64))
    seeds[np.minimum(beside, len(slots) - 1)] = seeds[np.maximum(beside - 1, 0)] = True
    return np.stack([start, end]), seeds


def _part(task: Task, mask: Mask, start: Ints, end: Ints) -> Task:
    """The masked lines as a task of their own, between the others where they are."""
    low, last, position = task.low.copy(), task.last.copy(), np.cumsum(mask) - 1
    i, j = task.pairs.T
    enters, leaves, within = ~mask[i] & mask[j], mask[i] & ~mask[j], mask[i] & mask[j]
    np.maximum.at(low, j[enters], end[i[enters]] + task.gap)
    np.minimum.at(last, i[leaves], start[j[leaves]] - task.gap)
    moved = task.locked & (low != task.low)  # no plan: a lock cannot give way
    low, last = np.where(moved, task.low, low), np.where(moved, task.low, last)
    inside, slower = mask[task.steps], (end - start) / task.natural - 1
    across = np.flatnonzero(inside.any(axis=1) & ~inside.all(axis=1))
    pulls = [
        (int(position[a]), float(slower[b]), tie) if mask[a] else (int(position[b]), float(slower[a]), tie)
        for (a, b), tie in zip(task.steps[across].tolist(), task.ties[across].tolist(), strict=True)
    ]
    cut = {name: getattr(task, name)[mask] for name in ("start", "natural", "shortest", "longest", "locked")}
    both, pairs = inside.all(axis=1), position[task.pairs[within]]
    cut |= {"steps": position[task.steps[both]], "ties": task.ties[both]}
    return replace(task, low=low[mask], last=last[mask], pairs=pairs, pulls=pulls, **cut)


def _overflow(slots: Sequence[Slot], start: Ints, end: Ints, film: int) -> list[int]:
    """Milliseconds each line talks over following lines it may not overlap, and past the end of the film."""
    over: list[int] = np.maximum(0, end - np.maximum(film, start)).tolist()
    order = np.argsort(start, kind="stable")
    starts, ends, lines = start[order].tolist(), end[order].tolist(), list[int](order.tolist())
    shared: dict[int, list[tuple[int, int]]] = {}
    for k, line in enumerate(lines):
        for m in range(k + 1, bisect_left(starts, ends[k])):
            if not _free(slots[line], slots[lines[m]]):
                shared.setdefault(min(line, lines[m]), []).append((starts[m], min(ends[k], ends[m])))
    for line, spans in shared.items():
        reached = 0
        for a, b in sorted(spans):
            over[line] += max(0, b - max(a, reached))
            reached = max(reached, b)
    return over
