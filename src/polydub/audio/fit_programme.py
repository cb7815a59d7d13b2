"""The sparse quadratic programmes behind `audio.fit`, solved by Clarabel.

Unknown per line: its shift u = start - source start, its spoken length x (natural length d, rate = d / x), and two helpers
that measure how far it is from the mouth. Minimise

    sum  rate_weight (x/d - 1)^2 + step_weight (x/d - x'/d')^2        x', d': the same speaker's line just before
       + shift_weight (u + max(0, near_s - u)^2 / (2 near_s))         one-sided Huber: flat bowl around 0, then a line
       + late_weight max(0, u - late_s)^2

so that no line runs into a following one, rates stay below the limit, nobody starts earlier than allowed, and all ends inside
the film. Nothing gains by speaking more slowly than naturally, so no lower limit of the rate is needed. The helpers take one
column and one row each; with them 10,000 lines are solved in 12 to 14 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polydub.audio.sparse import Columns, columns

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Term = tuple[Ints, Floats | float]  # columns and factors
Rows = tuple[Floats, list[_Term]]  # sum(factor * z[column]) <= bound, one per bound

USABLE = {"Solved", "AlmostSolved", "InsufficientProgress", "MaxIterations"}  # settling mends the rest
ROOM_S = 1e-6  # room given to the solver where a plan fits exactly; far below the millisecond that is settled on
TOLERANCE = 1e-10  # 0.07 ms at worst on 10,000 lines; 1e-8 gives 0.2 ms, 1e-12 up to six times as many steps
TALK_COST, GAP_COST, SPREAD_COST, STRAY_COST = 1e3, 30.0, 0.1, 1e-3  # each too small to buy what stands before it


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed (`min_rate` to `gap_s`) and what is liked.

    The weights were chosen by `benchmarks/timing.py`, on films of 160 and 1,600 dense lines (577 s of speech in 530 s), and on
    the same with natural lengths 10 % shorter and varied by 7 %. On the 160 lines, number of lines above 1.15 / above 1.25,
    shift p50 / p95 in seconds, mean step of the rate:

    - what stands here: 85 / 49, 0.11 / 0.82, 0.079; and on the easy film, which has a choice of wordings, p95 0.05
    - squares of the shift instead, weight 0.1: 72 / 29, 0.30 / 0.90, 0.069; weight 1: 95 / 54, 0.14 / 0.82, 0.089
    - shift_weight 0.06: 78 / 42, p50 0.14, 0.15 on 1,600 lines; 0.07: 83 / 48, p50 0.12, but 0.30 as p95 of the easy film;
      0.10: 92 / 49, p50 0.09
    - near_s 0.03: 90 / 51, p50 0.07; 0.07: 84 / 48, p50 0.14
    - late_s 0.7: 86 / 50, p95 the same; 0.8: p95 0.86; late_weight 1: p95 0.89
    - step_weight 0.7: 82 / 49, steps of 0.090; 1.4: 99 / 46, steps of 0.068
    - a cost of rates above 1.15 on top: at the same p50 it leaves the counts as they are, and doubles the solver's time

    The trade-off: half of all lines start within 0.11 s of the mouth and some are spoken faster for it (49 above 1.25 where
    squares had 29). Where a film is dense a few lines are late, by up to about 0.8 s, rather than all a little.

    Attributes: step_s: lines of a speaker that follow later than this are not drawn to one rate. phrase_weight: takes the
    place of step_weight between parts of one line (ids "7.1", "7.2"), which are heard as one sentence.
    """

    min_rate: float = 0.85
    max_rate: float = 1.30
    early_s: float = 0.3
    gap_s: float = 0.05
    rate_weight: float = 1.0
    shift_weight: float = 0.08
    near_s: float = 0.05
    late_weight: float = 3.0
    late_s: float = 0.75
    step_weight: float = 1.0
    step_s: float = 3.0
    phrase_weight: float = 4.0


@dataclass(frozen=True, slots=True)
class Task:
    """Lines in order of time, in milliseconds: the whole film, or a part of it between lines that stay.

    Attributes: shortest, longest: how long each may be; equal where a person fixed it. low: earliest start (the start itself
    where locked). last: latest end. pairs: rows (i, j), i < j, where i may not run into j. steps: rows (i, j) of one speaker,
    drawn to one rate; ties: how strongly. pulls: the same towards a line that stays, as (line, x/d - 1 of the other, how
    strongly).
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
    ties: Floats
    gap: int
    pulls: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])

    def following(self) -> list[list[int]]:
        """For each line those it may not run into."""
        lists, pairs = [list[int]() for _ in range(len(self.start))], list[list[int]](self.pairs.tolist())
        for i, j in pairs:
            lists[i].append(j)
        return lists


def plan(task: Task, limits: Limits, breach: Ints) -> tuple[Ints, Ints]:
    """Start and end of every line, in ms; `breach`: how far each may run into those after it, gap included.

    Whole milliseconds near the optimum; constraints may be missed by a few. The natural plan where the solver gives up.
    """
    n, natural, s = len(task.start), task.natural / 1000, task.start / 1000
    shift, length, near, late = (k * n + np.arange(n) for k in range(4))
    i, j = task.pairs.T
    idle = i[task.last[j] <= task.last[i] - breach[i]]  # ending in time follows from the next line's ending in time
    ends = np.setdiff1d(np.arange(n), idle)
    apart: list[_Term] = [(shift[i], 1.0), (length[i], natural[i]), (shift[j], -1.0)]
    fixed = np.flatnonzero(task.locked & (task.shortest == task.longest))
    known: list[Rows] = [((task.longest / task.natural - 1)[fixed], [(length[fixed], 1.0)])]
    rows: list[Rows] = [
        (s[j] - s[i] - natural[i] - (task.gap - breach[i]) / 1000, apart),
        ((task.last / 1000 - s - natural)[ends], [(shift[ends], 1.0), (length[ends], natural[ends])]),
        (1 - task.shortest / task.natural, [(length, -1.0)]),
        (np.full(n, -limits.near_s), [(shift, -1.0), (near, -1.0)]),
        (np.full(n, limits.late_s), [(shift, 1.0), (late, -1.0)]),
    ]
    diagonal, linear = np.zeros(4 * n), np.zeros(4 * n)
    diagonal[length], linear[shift], diagonal[late] = limits.rate_weight, limits.shift_weight, limits.late_weight
    diagonal[near] = limits.shift_weight / (2 * limits.near_s)
    a, b = length[task.steps].T
    np.add.at(diagonal, np.concatenate([a, b]), np.tile(task.ties, 2))
    for line, towards, tie in task.pulls:
        diagonal[length[line]] += tie
        linear[length[line]] -= 2 * tie * towards
    quadratic = _quadratic(diagonal, np.stack([a, b]), -2 * task.ties)
    starts, equal = _starts(task, shift), int(task.locked.sum()) + len(fixed)
    found = minimum(quadratic, linear, [starts[0], *known, starts[1], *rows, *_order(task, shift, breach)], equal)
    start = np.rint(task.start + 1000 * found[shift]).astype(np.int64)
    end = np.rint(task.start + task.natural + 1000 * found[shift] + task.natural * found[length]).astype(np.int64)
    return start, end


def cost(task: Task, limits: Limits, start: Ints, end: Ints) -> float:
    """What `plan` minimises (without `pulls`), of this plan in ms."""
    shift, slower = (start - task.start) / 1000, (end - start) / task.natural - 1
    i, j = task.steps.T
    return float(
        limits.rate_weight * (slower**2).sum()
        + limits.shift_weight * (shift + np.maximum(0, limits.near_s - shift) ** 2 / (2 * limits.near_s)).sum()
        + limits.late_weight * (np.maximum(0, shift - limits.late_s) ** 2).sum()
        + (task.ties * (slower[i] - slower[j]) ** 2).sum()
    )


def least_breach(task: Task) -> Ints:
    """How far each line must run into those after it, in ms with the gap, where no plan exists: all at full speed.

    The sum of the talk-over is the least there is; where that leaves a choice, it is shared in proportion to the lengths.
    """
    n, shortest, s, gap_s = len(task.start), task.shortest / 1000, task.start / 1000, task.gap / 1000
    shift, gap, talk = (k * n + np.arange(n) for k in range(3))
    i, j = task.pairs.T
    rows: list[Rows] = [
        (s[j] - s[i] - shortest[i] - gap_s, [(shift[i], 1.0), (shift[j], -1.0), (gap[i], -1.0), (talk[i], -1.0)]),
        (task.last / 1000 - s - shortest, [(shift, 1.0)]),
        (np.full(n, gap_s), [(gap, 1.0)]),
        (np.zeros(2 * n), [(np.concatenate([gap, talk]), -1.0)]),
    ]
    diagonal, linear = np.zeros(3 * n), np.zeros(3 * n)
    linear[gap], linear[talk], diagonal[talk] = GAP_COST, TALK_COST, SPREAD_COST / shortest
    diagonal[shift] = STRAY_COST
    quadratic = _quadratic(diagonal, np.zeros((2, 0), np.int64), np.zeros(0))
    every = _order(task, shift, np.ones_like(task.start))
    found = minimum(quadratic, linear, [*_starts(task, shift), *rows, *every], int(task.locked.sum()))
    start, breach = np.rint(task.start + 1000 * found[shift]).astype(np.int64), np.zeros_like(task.start)
    np.maximum.at(breach, i, start[i] + task.shortest[i] + task.gap - start[j])
    return breach


def _starts(task: Task, shift: Ints) -> list[Rows]:
    """Locked lines where they are (equations), the others not too early."""
    locked, unlocked, s = np.flatnonzero(task.locked), np.flatnonzero(~task.locked), task.start / 1000
    return [
        (task.low[locked] / 1000 - s[locked], [(shift[locked], 1.0)]),
        (s[unlocked] - task.low[unlocked] / 1000, [(shift[unlocked], -1.0)]),
    ]


def _order(task: Task, shift: Ints, breach: Ints) -> list[Rows]:
    """Lines that may run into others still begin before them; a lock may leave no room for that."""
    i, j = task.pairs[(breach[task.pairs[:, 0]] > 0) & ~task.locked[task.pairs[:, 0]]].T
    return [((task.start[j] - task.start[i]) / 1000, [(shift[i], 1.0), (shift[j], -1.0)])]


def _quadratic(diagonal: Floats, cells: Ints, values: Floats) -> Columns:
    """The upper triangle of 2 * (diagonal), with these cells beside it."""
    every = np.arange(len(diagonal))
    entries = (np.concatenate([every, cells[0]]), np.concatenate([every, cells[1]]))
    return columns(np.concatenate([2 * diagonal, values]), entries, (len(every), len(every)))


def minimum(quadratic: Columns, linear: Floats, rows: Sequence[Rows], equal: int) -> Floats:
    """Minimises z'Pz/2 + q'z under these rows, the first `equal` of them equations; zeros where the solver gives up."""
    clarabel: Any = import_module("clarabel")  # no type information in the package
    matrix, bounds = _matrix(rows, len(linear))
    bounds[equal:] += ROOM_S
    settings: Any = clarabel.DefaultSettings()
    settings.verbose = False
    settings.direct_solve_method = "qdldl"  # one thread, so that every run takes the same steps
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    cones: list[Any] = [clarabel.ZeroConeT(equal), clarabel.NonnegativeConeT(len(bounds) - equal)]
    answer: Any = clarabel.DefaultSolver(quadratic, linear, matrix, bounds, cones, settings).solve()
    found = np.clip(answer.x, -1e9, 1e9)
    return found if str(answer.status) in USABLE and bool(np.isfinite(found).all()) else np.zeros_like(linear)


def _matrix(blocks: Sequence[Rows], width: int) -> tuple[Columns, Floats]:
    """Blocks of rows as one sparse matrix, and its bounds."""
    bounds = np.concatenate([bound for bound, _ in blocks])
    ends: list[int] = np.cumsum([len(bound) for bound, _ in blocks]).tolist()
    terms = [(end, *term) for end, (_, terms) in zip(ends, blocks, strict=True) for term in terms]
    row = np.concatenate([np.arange(end - len(column), end) for end, column, _ in terms])
    column = np.concatenate([column for _, column, _ in terms])
    factor = np.concatenate([np.broadcast_to(np.asarray(factor, np.float64), column.shape) for _, column, factor in terms])
    return columns(factor, (row, column), (len(bounds), width)), bounds
