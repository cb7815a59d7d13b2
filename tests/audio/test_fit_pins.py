"""Lines that a person fixed: where and how long. They never move, and the others are placed around them as well as can be."""

from __future__ import annotations

import random
from dataclasses import replace
from math import ceil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.audio.fit import Fitted, Limits, Slot, _film, fit
from polydub.audio.fit_programme import cost

GAP_MS = 50
Film = tuple[list[Slot], float]


def ms(value: float) -> int:
    return round(value * 1000)


def end(line: Fitted) -> int:
    return ms(line.start) + ms(line.duration)


@st.composite
def films(draw: st.DrawFn) -> Film:
    """Two speakers in turn, sometimes dense; some lines are fixed somewhere near, at some length."""
    at, slots = 500, list[Slot]()
    for k in range(draw(st.integers(2, 14))):
        length = draw(st.integers(400, 3000))
        natural = int(length * draw(st.sampled_from([0.5, 0.9, 1.1, 1.5])))
        slot = Slot(str(k), draw(st.sampled_from("AB")), at / 1000, (at + length) / 1000, natural / 1000)
        if draw(st.integers(0, 3)) == 0:
            where = max(0, at + draw(st.integers(-800, 800)))
            lasts = draw(st.one_of(st.none(), st.integers(200, 4000)))
            slot = replace(slot, locked_start=where / 1000, locked_s=None if lasts is None else lasts / 1000)
        slots.append(slot)
        at += length + draw(st.integers(20, 1500))
    return slots, (at + 3000) / 1000


def may_overlap(a: Slot, b: Slot) -> bool:
    return a.speaker != b.speaker and min(ms(a.end), ms(b.end)) - max(ms(a.start), ms(b.start)) > 1


@given(films(), st.randoms(use_true_random=False))
@settings(max_examples=120)
def test_a_fixed_line_never_moves_whatever_is_around_it(film: Film, chance: random.Random) -> None:
    slots, length = film
    before = {x.id: x for x in fit(slots, length)}
    changed = [replace(s, natural_s=s.natural_s * chance.choice([1, 1, 1.4])) for s in slots]
    for made in (before, {x.id: x for x in fit(changed, length, previous=before)}):
        for slot in (s for s in slots if s.locked_start is not None):
            assert made[slot.id].start == slot.locked_start
            assert slot.locked_s is None or made[slot.id].duration == slot.locked_s


@given(films())
@settings(max_examples=120)
def test_nobody_talks_over_a_fixed_line_where_there_is_a_plan(film: Film) -> None:
    slots, length = film
    made = {x.id: x for x in fit(slots, length)}
    if any(x.overflow for x in made.values()):  # then there was none: with the fixed lines free there may be
        return
    order = sorted(slots, key=lambda s: (made[s.id].start, s.id))
    for k, a in enumerate(order):
        for b in order[k + 1 :]:
            if a.locked_start is None and b.locked_start is None:
                continue
            if may_overlap(a, b):
                continue
            fastest = a.length_ms or ceil(ms(a.natural_s) / Limits().max_rate - 1e-9)
            between = ms(made[b.id].start) - end(made[a.id])
            assert between >= GAP_MS or (between >= 0 and ms(made[a.id].duration) == fastest), (a, b)


def forward(slots: list[Slot]) -> int | None:
    """Where the last line ends if each starts as early as those before it let it; None if a fixed one is in the way."""
    order = sorted(slots, key=lambda s: (ms(s.start if s.locked_start is None else s.locked_start), s.end, s.speaker, s.id))
    ends = list[int]()
    for k, slot in enumerate(order):
        before = [ends[n] + GAP_MS for n in range(k) if not may_overlap(order[n], slot)]
        at = max([0, ms(slot.start) - 300, *before])
        if slot.locked_start is not None:
            if max(before, default=0) > ms(slot.locked_start):
                return None
            at = ms(slot.locked_start)
        ends.append(at + (int(np.ceil(ms(slot.natural_s) / 1.3)) if slot.locked_s is None else ms(slot.locked_s)))
    return max(ends)


@given(films())
@settings(max_examples=150)
def test_where_a_forward_pass_finds_a_plan_around_fixed_lines_nobody_talks_over_anybody(film: Film) -> None:
    slots, _ = film
    needed = forward(slots)
    if needed is not None:
        assert all(x.overflow == 0 for x in fit(slots, (needed + 10) / 1000))


@given(films(), st.data())
@settings(max_examples=80)
def test_a_line_fixed_where_it_lies_best_changes_nothing(film: Film, data: st.DataObject) -> None:
    slots, length = film
    free = [replace(s, locked_start=None, locked_s=None) for s in slots]
    best = {x.id: x for x in fit(free, length)}
    if any(x.overflow for x in best.values()):
        return
    some = data.draw(st.sets(st.sampled_from([s.id for s in free]), min_size=1))
    fixed = [replace(s, locked_start=best[s.id].start, locked_s=best[s.id].duration) if s.id in some else s for s in free]
    made = fit(fixed, length)
    assert all(x.overflow == 0 for x in made)
    assert all(x == best[x.id] for x in made if x.id in some)
    assert worth(free, made, length) <= worth(free, list(best.values()), length) + 0.002


def worth(slots: list[Slot], made: list[Fitted], length: float) -> float:
    """What the solver minimises, of a plan for `slots`."""
    ordered = sorted(slots, key=lambda s: (ms(s.start), s.end, s.speaker, s.id))
    by_id = {x.id: x for x in made}
    start = np.array([ms(by_id[s.id].start) for s in ordered])
    lasts = np.array([ms(by_id[s.id].duration) for s in ordered])
    return cost(_film(ordered, ms(length), Limits()), Limits(), start, start + lasts)


def test_the_neighbours_of_a_fixed_line_are_drawn_to_its_rate() -> None:
    free = [Slot("1", "A", 1.0, 3.0, 2.6), Slot("2", "A", 3.5, 5.5, 2.6), Slot("3", "A", 6.0, 8.0, 2.6)]
    hurried = [replace(x, locked_start=3.5, locked_s=2.0) if x.id == "2" else x for x in free]
    slack = [*free[:2], replace(free[2], end=12.0)]
    assert fit(hurried, 30.0)[1].rate == 1.3
    slow = [replace(x, locked_start=3.5, locked_s=2.6) if x.id == "2" else x for x in slack]
    assert fit(slow, 30.0)[2].rate <= fit([*hurried[:2], slack[2]], 30.0)[2].rate


def test_a_fixed_length_beyond_the_limits_is_kept_and_told_as_it_is() -> None:
    (made,) = fit([Slot("1", "A", 1.0, 3.0, 3.0, locked_start=1.0, locked_s=1.5)], 10.0)
    assert (made.duration, made.rate) == (1.5, 2.0)
    (made,) = fit([Slot("1", "A", 1.0, 3.0, 1.0, locked_start=1.0, locked_s=2.0)], 10.0)
    assert (made.duration, made.rate) == (2.0, 0.5)


def test_nothing_moves_around_a_fixed_line_when_nothing_changed() -> None:
    slots = [Slot(str(k), "A", 3.0 * k, 3.0 * k + 2.5, 2.9) for k in range(12)]
    slots[5] = replace(slots[5], locked_start=15.4, locked_s=2.3)
    first = fit(slots, 40.0)
    assert fit(slots, 40.0, previous={x.id: x for x in first}) == first


def test_a_line_that_becomes_fixed_moves_only_its_neighbours() -> None:
    slots = [Slot(str(k), "A", 4.0 * k, 4.0 * k + 2.5, 2.7) for k in range(60)]
    first = {x.id: x for x in fit(slots, 250.0)}
    slots[30] = replace(slots[30], locked_start=120.8, locked_s=2.5)
    moved = [x.id for x in fit(slots, 250.0, previous=first) if x != first[x.id]]
    assert "30" in moved
    assert {int(id_) for id_ in moved} <= set(range(22, 39))
