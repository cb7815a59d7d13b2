"""Where each line starts and how fast it is spoken: one sparse quadratic programme over all lines of a film.

Unknown per line: its start t and its spoken length x (rate = natural length d / x). Minimise

    sum  rate_weight (x/d - 1)^2 + fast_weight max(0, 1/comfortable_rate - x/d)^2
       + shift_weight (t - s)^2 + step_weight (x/d - x'/d')^2      (x', d': the same speaker's line just before)

so that no line runs into a following one (t + x + gap <= t'), rates stay within limits, nobody starts more than `early_s`
before the source, and all ends inside the film. Only when no such plan exists may lines talk over each other, as little as
possible. Outside the solver times are whole milliseconds, and its answer is settled on them by a pass that cannot break a
constraint: the guarantees do not rest on the solver's accuracy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Term = tuple[Ints, Floats | float]  # columns and factors

SAME_TIME_S = 0.001001  # source spans that share no more than 1 ms do not overlap
WINDOW, MARGIN, STILL_MS = 8, 2, 2  # an edit solves WINDOW lines each way, more if one of the outer MARGIN moves further
USABLE = {"Solved", "AlmostSolved", "InsufficientProgress", "MaxIterations"}  # the settling pass mends the rest
ROOM_S = 1e-6  # room given to the solver where a plan fits exactly; far below the millisecond that is settled on
GAP_COST, TALK_COST, SPREAD_COST = 1e3, 1e4, 1e2  # per second; above every multiplier of the other terms in a usable film


@dataclass(frozen=True, slots=True)
class Slot:
    """A line to place: its span in the source and the trimmed length of its take at the engine's default rate, seconds.

    Attributes: natural_s: 0 = nothing to say. locked_start: where a person put the line; kept whatever it costs.
    """

    id: str
    speaker: str
    start: float
    end: float
    natural_s: float
    locked_start: float | None = None


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


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed (`min_rate` to `early_s`) and what is liked.

    Measured on 160 dense lines (583 s of speech in 529 s): a shift_weight of 1 or more leaves 64 to 73 lines above 1.25;
    0.1 leaves 46 with the start shift still at p95 0.86 s, max 1.1 s; below that, shifts pass 0.9 s. step_weight 1 then
    evens the rates (mean step 0.119 -> 0.094), and fast_weight spends silence and late starts before rates above the
    comfortable one (40 lines above 1.25, mean step 0.090, same shifts).
    """

    min_rate: float = 0.85
    max_rate: float = 1.30
    early_s: float = 0.3
    gap_s: float = 0.05
    comfortable_rate: float = 1.15
    rate_weight: float = 1.0
    fast_weight: float = 1.0
    shift_weight: float = 0.1
    step_weight: float = 1.0
    step_s: float = 3.0  # lines of a speaker that follow later than this are not drawn to one rate


DEFAULT = Limits()
Previous = Mapping[str, Fitted]  # by line id


@dataclass(frozen=True, slots=True)
class _Task:
    """Lines in order of time, in milliseconds: the whole film, or a part of it between lines that stay.

    Attributes: low: earliest start (the start itself where locked). last: latest end. pairs: rows (i, j), i < j, where i
    may not run into j. steps: rows (i, j) of one speaker, drawn to one rate. pulls: the same towards a line that stays,
    as (line, x/d - 1 of the other).
    """

    start: Ints
    natural: Ints
    shortest: Ints
    longest: Ints
    low: Ints
    last: Ints
    locked: Mask
    pairs: Ints
    steps: Ints
    gap: int
    pulls: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])

    def following(self) -> list[list[int]]:
        """For each line those it may not run into."""
        lists, pairs = [list[int]() for _ in range(len(self.start))], list[list[int]](self.pairs.tolist())
        for i, j in pairs:
            lists[i].append(j)
        return lists


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
            rate, shift = _rate(_ms(slot.natural_s), length, limits), at - _ms(slot.start)
            done[slot.id] = Fitted(slot.id, at / 1000, length / 1000, rate, shift / 1000, talk / 1000)
    silent = {s.id: Fitted(s.id, _place(s) / 1000, 0.0, 1.0, (_place(s) - _ms(s.start)) / 1000, 0.0) for s in slots}
    return [done.get(slot.id, silent[slot.id]) for slot in slots]


def _ms(value_s: float) -> int:
    return round(value_s * 1000)


def _place(slot: Slot) -> int:
    return _ms(slot.start) if slot.locked_start is None else max(0, _ms(slot.locked_start))


def _rate(natural: int, length: int, limits: Limits) -> float:
    return max(min(round(natural / length, 4), limits.max_rate), limits.min_rate)


def _free(a: Slot, b: Slot) -> bool:
    """May these two be heard together?"""
    return a.speaker != b.speaker and min(a.end, b.end) - max(a.start, b.start) > SAME_TIME_S


def _pairs(slots: Sequence[Slot]) -> list[tuple[int, int]]:
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


def _steps(slots: Sequence[Slot], within_s: float) -> Ints:
    """Rows (i, j): lines of one speaker that follow each other within that time."""
    speaker = np.unique([s.speaker for s in slots], return_inverse=True)[1]
    order = np.argsort(speaker, kind="stable")
    i, j = order[:-1], order[1:]
    wait = np.array([s.start for s in slots])[j] - np.array([s.end for s in slots])[i]
    return np.stack([i, j], axis=1)[(speaker[i] == speaker[j]) & (wait <= within_s)]


def _film(slots: Sequence[Slot], film: int, limits: Limits) -> _Task:
    """The whole film as a task. The end of the film beats the bound on early starts, and is itself beaten by a lock."""
    start, place, natural = np.array([(_ms(s.start), _place(s), _ms(s.natural_s)) for s in slots], np.int64).T
    # 1e-9: a quotient that is whole but for floating point must not be rounded away
    shortest = np.array([max(1, ceil(d / limits.max_rate - 1e-9)) for d in natural.tolist()], np.int64)
    longest = np.maximum(shortest, [floor(d / limits.min_rate + 1e-9) for d in natural.tolist()])
    locked = np.array([s.locked_start is not None for s in slots])
    pairs = np.array(_pairs(slots), np.int64).reshape(-1, 2)
    late: list[int] = np.where(locked, place, np.maximum(0, film - shortest)).tolist()
    for i, j in reversed(pairs.tolist()):
        if not locked[i]:
            late[i] = min(late[i], late[j])
    low = np.where(locked, place, np.minimum(np.maximum(0, start - _ms(limits.early_s)), late))
    last, steps = np.maximum(film, low + shortest), _steps(slots, limits.step_s)
    return _Task(start, natural, shortest, longest, low, last, locked, pairs, steps, _ms(limits.gap_s))


def _latest(task: _Task, breach: Ints | None = None) -> tuple[list[int], bool]:
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


def _plan(task: _Task, limits: Limits, late: list[int], possible: bool) -> tuple[Ints, Ints]:
    """Start and end of every line."""
    answer = _solve(task, limits, soft=not possible)
    start = np.rint(task.start + 1000 * answer[0]).astype(np.int64)
    end = np.rint(task.start + task.natural + 1000 * answer[0] + task.natural * answer[1]).astype(np.int64)
    breach = np.zeros_like(start)
    if not possible:
        i, j = task.pairs.T
        np.maximum.at(breach, i, end[i] + task.gap - start[j])
        late, _ = _latest(task, breach)
    return _settle(task, start, end, breach, late)


def _settle(task: _Task, start: Ints, end: Ints, breach: Ints, late: list[int]) -> tuple[Ints, Ints]:
    """The nearest whole plan, line after line: each leaves enough room for all that follow."""
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
    return np.array(starts, np.int64), np.array(ends, np.int64)


def _solve(task: _Task, limits: Limits, soft: bool) -> tuple[Floats, Floats]:
    """Start - source start in seconds, and x/d - 1, of every line; the natural plan where the solver gives up."""
    clarabel: Any = import_module("clarabel")  # no type information in the package
    quadratic, linear, rows, bounds, equal = _programme(task, limits, soft)
    settings: Any = clarabel.DefaultSettings()
    settings.verbose = False
    settings.direct_solve_method = "qdldl"  # one thread, so that every run takes the same steps
    # at the usual 1e-8 an edit ripples through the whole film as noise of more than a millisecond
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    cones: list[Any] = [clarabel.ZeroConeT(equal), clarabel.NonnegativeConeT(len(bounds) - equal)]
    answer: Any = clarabel.DefaultSolver(quadratic, linear, rows, bounds, cones, settings).solve()
    n, found = len(task.start), np.clip(answer.x, -1e9, 1e9)
    usable = str(answer.status) in USABLE and bool(np.isfinite(found).all())
    return (found[:n], found[n : 2 * n]) if usable else (np.zeros(n), np.zeros(n))


def _programme(task: _Task, limits: Limits, soft: bool) -> tuple[Any, Floats, Any, Floats, int]:
    """Minimise z'Pz/2 + q'z, Az <= b; the first of the returned count of rows are equations.

    z = start - source start, x/d - 1, seconds per second below 1/comfortable_rate; if soft, also gap given up and talk-over.
    """
    from scipy.sparse import coo_matrix

    n = len(task.start)
    shift, length, fast, gap, talk = (k * n + np.arange(n) for k in range(5))
    size = (5 if soft else 3) * n
    diagonal, linear = np.zeros(size), np.zeros(size)
    diagonal[shift], diagonal[length], diagonal[fast] = limits.shift_weight, limits.rate_weight, limits.fast_weight
    a, b = length[task.steps].T
    np.add.at(diagonal, np.concatenate([a, b]), limits.step_weight)
    for line, towards in task.pulls:
        diagonal[length[line]] += limits.step_weight
        linear[length[line]] -= 2 * limits.step_weight * towards
    if soft:
        linear[gap], linear[talk], diagonal[talk] = GAP_COST, TALK_COST, SPREAD_COST
    entries = np.concatenate([2 * diagonal, np.full(len(a), -2 * limits.step_weight)])
    every = np.arange(size)
    upper = coo_matrix((entries, (np.concatenate([every, a]), np.concatenate([every, b]))), shape=(size, size))

    natural, s = task.natural / 1000, task.start / 1000
    locked, unlocked = np.flatnonzero(task.locked), np.flatnonzero(~task.locked)
    i, j = task.pairs.T
    idle = i[task.last[j] <= task.last[i]]  # ending in time follows from the next line's ending in time
    ends = every[:n] if soft else np.setdiff1d(every[:n], idle)
    apart: list[_Term] = [(shift[i], 1.0), (length[i], natural[i]), (shift[j], -1.0)]
    rows: list[tuple[Floats, list[_Term]]] = [
        (task.low[locked] / 1000 - s[locked], [(shift[locked], 1.0)]),
        (s[j] - s[i] - natural[i] - task.gap / 1000, [*apart, (gap[i], -1.0), (talk[i], -1.0)] if soft else apart),
        ((task.last / 1000 - s - natural)[ends], [(shift[ends], 1.0), (length[ends], natural[ends])]),
        (s[unlocked] - task.low[unlocked] / 1000, [(shift[unlocked], -1.0)]),
        (1 - task.shortest / task.natural, [(length, -1.0)]),
        (np.full(n, 1 - 1 / limits.comfortable_rate), [(length, -1.0), (fast, -1.0)]),
    ]
    if soft:
        i, j = task.pairs[~task.locked[i]].T  # a lock may leave no room for order; what does is settled afterwards
        rows.append((s[j] - s[i], [(shift[i], 1.0), (shift[j], -1.0)]))
        rows.append((np.full(n, task.gap / 1000), [(gap, 1.0)]))
        rows.append((np.zeros(2 * n), [(np.concatenate([gap, talk]), -1.0)]))
    matrix, bounds = _matrix(rows, size)
    bounds[len(locked) :] += ROOM_S
    return upper.tocsc(), linear, matrix, bounds, len(locked)


def _matrix(blocks: Sequence[tuple[Floats, list[_Term]]], columns: int) -> tuple[Any, Floats]:
    """Blocks of rows, sum(factor * z[column]) <= bound, as one sparse matrix and its bounds."""
    from scipy.sparse import csc_matrix

    bounds = np.concatenate([bound for bound, _ in blocks])
    ends: list[int] = np.cumsum([len(bound) for bound, _ in blocks]).tolist()
    terms = [(end, *term) for end, (_, terms) in zip(ends, blocks, strict=True) for term in terms]
    row = np.concatenate([np.arange(end - len(column), end) for end, column, _ in terms])
    column = np.concatenate([column for _, column, _ in terms])
    factor = np.concatenate([np.broadcast_to(np.asarray(factor, np.float64), column.shape) for _, column, factor in terms])
    return csc_matrix((factor, (row, column)), shape=(len(bounds), columns)), bounds


def _edited(task: _Task, slots: Sequence[Slot], limits: Limits, previous: Previous) -> tuple[Ints, Ints]:
    """Start and end of every line, those far from a change as they were."""
    start, end, seeds = _before(task, slots, limits, previous)
    reach = WINDOW
    while seeds.any():
        mask = _near(seeds, reach)
        if mask.all():
            return _plan(task, limits, *_latest(task))
        part = _part(task, mask, start, end)
        late, possible = _latest(part)
        if possible:
            new = np.stack([start, end])
            new[:, mask] = _plan(part, limits, late, possible)
            if np.abs(new - [start, end])[:, mask & _near(~mask, MARGIN)].max() <= STILL_MS:
                return new[0], new[1]
        reach *= 2
    return start, end


def _near(mask: Mask, reach: int) -> Mask:
    """Lines no further than `reach` from one of the mask."""
    count = np.concatenate([[0], np.cumsum(mask)])
    return count[np.minimum(np.arange(len(mask)) + reach + 1, len(mask))] > count[np.maximum(np.arange(len(mask)) - reach, 0)]


def _before(task: _Task, slots: Sequence[Slot], limits: Limits, previous: Previous) -> tuple[Ints, Ints, Mask]:
    """Where the lines were, and which cannot stay there: changed, new, or beside one that is gone."""
    start, end, over, seeds = task.low.copy(), task.low.copy(), np.zeros_like(task.low), np.ones(len(slots), bool)
    for k, slot in enumerate(slots):
        old = previous.get(slot.id)
        length = _ms(old.duration) if old else 0
        if old and task.shortest[k] <= length <= task.longest[k] and old.rate == _rate(int(task.natural[k]), length, limits):
            start[k], end[k], over[k] = _ms(old.start), _ms(old.start) + length, _ms(old.overflow)
            seeds[k] = _ms(old.shift) != start[k] - task.start[k]
    seeds |= (start < task.low) | (end > task.last) | (task.locked & (start != task.low))
    i, j = task.pairs[~seeds[task.pairs].any(axis=1)].T
    worse = end[i] - start[j] > over[i]
    seeds[i[worse]] = seeds[j[worse]] = True
    gone = [_ms(previous[key].start) for key in previous.keys() - {s.id for s in slots} if previous[key].duration > 0]
    beside = np.searchsorted(np.maximum.accumulate(start), np.array(gone, np.int64))
    seeds[np.minimum(beside, len(slots) - 1)] = seeds[np.maximum(beside - 1, 0)] = True
    return start, end, seeds


def _part(task: _Task, mask: Mask, start: Ints, end: Ints) -> _Task:
    """The masked lines as a task of their own, between the others where they are."""
    low, last, position = task.low.copy(), task.last.copy(), np.cumsum(mask) - 1
    i, j = task.pairs.T
    enters, leaves, within = ~mask[i] & mask[j], mask[i] & ~mask[j], mask[i] & mask[j]
    np.maximum.at(low, j[enters], end[i[enters]] + task.gap)
    np.minimum.at(last, i[leaves], start[j[leaves]] - task.gap)
    moved = task.locked & (low != task.low)  # no plan: a lock cannot give way
    low, last = np.where(moved, task.low, low), np.where(moved, task.low, last)
    inside, slower = mask[task.steps], (end - start) / task.natural - 1
    across = task.steps[inside.any(axis=1) & ~inside.all(axis=1)].tolist()
    pulls = [(int(position[a]), float(slower[b])) if mask[a] else (int(position[b]), float(slower[a])) for a, b in across]
    cut = {name: getattr(task, name)[mask] for name in ("start", "natural", "shortest", "longest", "locked")}
    pairs, steps = position[task.pairs[within]], position[task.steps[inside.all(axis=1)]]
    return replace(task, low=low[mask], last=last[mask], pairs=pairs, steps=steps, pulls=pulls, **cut)


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
