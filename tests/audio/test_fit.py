"""The timing solver, against its own guarantees, an independent linear programme and brute force."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from polydub.audio.fit import Fitted, Limits, Slot, fit

GAP_MS, EARLY_MS, MIN_RATE, MAX_RATE = 50, 300, 0.85, 1.30
Film = tuple[list[Slot], float]


def ms(value: float) -> int:
    return round(value * 1000)


def by_id(fitted: list[Fitted]) -> dict[str, Fitted]:
    return {line.id: line for line in fitted}


def end(line: Fitted) -> int:
    return ms(line.start) + ms(line.duration)


def place(slot: Slot) -> int:
    return ms(slot.start) if slot.locked_start is None else max(0, ms(slot.locked_start))


def may_overlap(a: Slot, b: Slot) -> bool:
    return a.speaker != b.speaker and min(ms(a.end), ms(b.end)) - max(ms(a.start), ms(b.start)) > 1


def spoken(slots: list[Slot]) -> list[Slot]:
    return sorted((s for s in slots if ms(s.natural_s) > 0), key=lambda s: (place(s), s.end, s.speaker, s.id))


def rivals(slots: list[Slot]) -> list[tuple[int, int]]:
    return [(i, j) for j in range(len(slots)) for i in range(j) if not may_overlap(slots[i], slots[j])]


def shortest(slot: Slot) -> int:
    return int(np.ceil(round(ms(slot.natural_s) / MAX_RATE, 6)))


@dataclass
class Bounds:
    """Independent reckoning of what must hold: earliest and latest starts that order, early bound and film's end leave."""

    low: list[int]
    high: list[int]


def bounds(slots: list[Slot], film: int) -> Bounds:
    high = [max(0, film - shortest(s)) for s in slots]
    for i, j in sorted(rivals(slots), reverse=True):
        high[i] = min(high[i], high[j])
    low = [min(max(0, ms(s.start) - EARLY_MS), h) for s, h in zip(slots, high, strict=True)]
    return Bounds(low, high)


def least_overlap_ms(slots: list[Slot], film: int, gap: int) -> float:
    """Least possible sum of talk-over, every line at full speed: a linear programme over starts and one slack per line."""
    n, limit = len(slots), bounds(slots, film)
    rows, right = [], []
    for i, j in rivals(slots):
        row = np.zeros(2 * n)
        row[i], row[j], row[n + i] = 1, -1, -1
        rows.append(row)
        right.append(-shortest(slots[i]) - gap)
        order = np.zeros(2 * n)
        order[i], order[j] = 1, -1
        rows.append(order)
        right.append(0)
    box = [(low, max(low, film - shortest(s))) for s, low in zip(slots, limit.low, strict=True)] + [(0, None)] * n
    cost = np.concatenate([np.zeros(n), np.ones(n)])
    found = linprog(cost, A_ub=np.array(rows) if rows else None, b_ub=right or None, bounds=box, method="highs")
    assert found.status == 0
    return found.fun


@st.composite
def films(draw: st.DrawFn, most: int = 40, locks: bool = False) -> Film:
    """Random films: overlaps, long and short lines, zero-length slots, silent lines, a film end that is tight or worse."""
    count = draw(st.integers(1, most))
    speakers = draw(st.integers(1, 4))
    density = draw(st.floats(0.3, 2.5))
    at, slots = draw(st.integers(0, 3000)), []
    for k in range(count):
        length = draw(st.sampled_from([0, 1, 300, 1500, 4000, 9000]) | st.integers(0, 6000))
        natural = draw(st.sampled_from([0, 1, 2]) | st.just(int(length * density)) | st.integers(0, 8000))
        lock = draw(st.none() | st.integers(0, 60_000)) if locks else None
        speaker = f"S{draw(st.integers(1, speakers))}"
        slots.append(
            Slot(str(k + 1), speaker, at / 1000, (at + length) / 1000, natural / 1000, None if lock is None else lock / 1000)
        )
        at = max(0, at + draw(st.sampled_from([length, length, length + 100, length // 2, 0, length + 3000])))
    tail = draw(st.sampled_from([0, 0, 500, 3000, 60_000, -2000]))
    return slots, max(0, max(ms(s.end) for s in slots) + tail) / 1000


@given(films())
@settings(max_examples=150, deadline=None)
def test_every_line_keeps_the_limits(film: Film) -> None:
    slots, length = film
    fitted = by_id(fit(slots, length))
    lines = spoken(slots)
    limit = bounds(lines, ms(length))
    for slot, low, high in zip(lines, limit.low, limit.high, strict=True):
        line = fitted[slot.id]
        natural, duration = ms(slot.natural_s), ms(line.duration)
        assert natural <= duration * MAX_RATE + 1e-6
        assert duration == shortest(slot) or natural >= duration * MIN_RATE - 1e-6
        assert MIN_RATE <= line.rate <= MAX_RATE
        assert duration == shortest(slot) or line.rate == pytest.approx(natural / duration, abs=6e-5)
        assert low <= ms(line.start) <= max(low, high)
        assert end(line) <= max(ms(length), shortest(slot))
        assert ms(line.shift) == ms(line.start) - ms(slot.start)
    for slot in slots:
        if ms(slot.natural_s) == 0:
            assert fitted[slot.id] == Fitted(slot.id, slot.start, 0.0, 1.0, 0.0, 0.0)


@given(films(locks=True))
@settings(max_examples=100, deadline=None)
def test_overflow_is_the_talk_over_that_is_heard(film: Film) -> None:
    slots, length = film
    fitted = by_id(fit(slots, length))
    lines = spoken(slots)
    for i, slot in enumerate(lines):
        line = fitted[slot.id]
        heard = np.zeros(end(line) - ms(line.start), bool)
        for other in lines[i + 1 :]:
            if not may_overlap(slot, other):
                later = fitted[other.id]
                heard[max(0, ms(later.start) - ms(line.start)) : max(0, end(later) - ms(line.start))] = True
        outside = max(0, end(line) - max(ms(length), ms(line.start)))
        assert ms(line.overflow) == heard.sum() + outside


@given(films(most=25))
@settings(max_examples=150, deadline=None)
def test_nobody_talks_over_the_next_line_when_a_plan_exists(film: Film) -> None:
    slots, length = film
    lines = spoken(slots)
    fitted = by_id(fit(slots, length))
    assume(lines and all(shortest(s) <= ms(length) for s in lines))
    if least_overlap_ms(lines, ms(length), GAP_MS) < 1e-3:
        assert all(line.overflow == 0 for line in fitted.values())
        assert all(end(fitted[lines[i].id]) + GAP_MS <= ms(fitted[lines[j].id].start) for i, j in rivals(lines))
    else:
        total = sum(ms(line.overflow) for line in fitted.values())
        assert total <= least_overlap_ms(lines, ms(length), 0) + 2 * len(lines)


def forward(slots: list[Slot]) -> int | None:
    """Where the last line ends if each starts as early as those before it let it; None if a lock is in the way."""
    ends = list[int]()
    for i, slot in enumerate(slots):
        before = [ends[k] + GAP_MS for k in range(i) if not may_overlap(slots[k], slot)]
        at = max([0, ms(slot.start) - EARLY_MS, *before])
        if slot.locked_start is not None:
            if max(before, default=0) > place(slot):
                return None
            at = place(slot)
        ends.append(at + shortest(slot))
    return max(ends, default=0)


@given(films(locks=True), st.sampled_from([0, 0, 1, 500]))
@settings(max_examples=80, deadline=None)
def test_where_a_forward_pass_finds_a_plan_nobody_talks_over_anybody_even_with_locks(film: Film, more: int) -> None:
    slots, _ = film
    if forward(spoken(slots)) is None:
        slots = [replace(slot, locked_start=None) for slot in slots]
    lines = spoken(slots)
    fitted = by_id(fit(slots, ((forward(lines) or 0) + more) / 1000))
    assert all(line.overflow == 0 for line in fitted.values())
    assert all(end(fitted[lines[i].id]) + GAP_MS <= ms(fitted[lines[j].id].start) for i, j in rivals(lines))


@given(films())
@settings(max_examples=60, deadline=None)
def test_lines_keep_their_order(film: Film) -> None:
    slots, length = film
    lines = spoken(slots)
    fitted = by_id(fit(slots, length))
    assert all(fitted[lines[i].id].start <= fitted[lines[j].id].start for i, j in rivals(lines))


@given(films(locks=True), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_answer_depends_on_neither_the_order_of_input_nor_the_call(film: Film, chance: random.Random) -> None:
    slots, length = film
    shuffled = chance.sample(slots, len(slots))
    first = fit(slots, length)
    assert by_id(fit(shuffled, length)) == by_id(first)
    assert [line.id for line in first] == [slot.id for slot in slots]


@given(films(locks=True))
@settings(max_examples=60, deadline=None)
def test_locked_lines_stay_where_a_person_put_them(film: Film) -> None:
    slots, length = film
    fitted = by_id(fit(slots, length))
    assert all(fitted[s.id].start == s.locked_start for s in slots if s.locked_start is not None)


@given(films(locks=True))
@settings(max_examples=60, deadline=None)
def test_nothing_moves_when_nothing_changed(film: Film) -> None:
    slots, length = film
    first = fit(slots, length)
    assert fit(slots, length, previous=by_id(first)) == first


@given(films(most=30, locks=True), st.data())
@settings(max_examples=100, deadline=None)
def test_an_edited_film_keeps_the_same_guarantees(film: Film, data: st.DataObject) -> None:
    slots, length = film
    before = by_id(fit(slots, length))
    k = data.draw(st.integers(0, len(slots) - 1))
    changed = list(slots)
    match data.draw(st.sampled_from(["longer", "moved", "gone", "locked"])):
        case "longer":
            changed[k] = replace(slots[k], natural_s=data.draw(st.integers(0, 9000)) / 1000)
        case "moved":
            changed[k] = replace(slots[k], speaker="S1", start=slots[k].end)
        case "locked":
            changed[k] = replace(slots[k], locked_start=data.draw(st.integers(0, 9000)) / 1000)
        case _:
            del changed[k]
    edited, fresh = fit(changed, length, previous=before), fit(changed, length)
    if sum(line.overflow for line in fresh) == 0:
        assert sum(line.overflow for line in edited) == 0
    for line, slot in zip(edited, changed, strict=True):
        assert line.duration == 0 or MIN_RATE <= line.rate <= MAX_RATE
        assert slot.locked_start is None or line.start == slot.locked_start


def talk(count: int, stretch: float, speakers: int = 2) -> list[Slot]:
    """A dense conversation; `stretch` is natural length over source length."""
    chance, at, slots = random.Random(7), 1000, []
    lengths = [1539, 3904, 3128, 2921, 2440, 1416, 2985, 2450]
    for k in range(count):
        length = lengths[k % 8]
        natural = int(length * stretch * chance.uniform(0.7, 1.3))
        slots.append(Slot(str(k + 1), f"S{k // 3 % speakers}", at / 1000, (at + length) / 1000, natural / 1000))
        at += length + chance.choice([100, 300, 600, 1500])
    return slots


def test_a_line_with_room_starts_with_the_mouth_at_its_natural_rate() -> None:
    assert fit([Slot("1", "A", 5.0, 8.0, 2.5)], 20.0) == [Fitted("1", 5.0, 2.5, 1.0, 0.0, 0.0)]


def test_silence_is_borrowed_before_anyone_hurries() -> None:
    (line, _) = fit([Slot("1", "A", 5.0, 7.0, 3.0), Slot("2", "A", 9.0, 10.0, 1.0)], 20.0)
    assert (line.start, line.rate) == (5.0, 1.0)


def test_a_line_longer_than_the_film_starts_at_zero_and_says_what_does_not_fit() -> None:
    (line,) = fit([Slot("1", "A", 1.0, 2.0, 5.2)], 3.0)
    assert line == Fitted("1", 0.0, 4.0, 1.3, -1.0, 1.0)


def test_a_line_at_the_end_starts_early_rather_than_being_cut() -> None:
    (line,) = fit([Slot("1", "A", 9.5, 10.0, 1.3)], 10.0)
    assert (line.start, line.duration, line.rate, line.overflow) == (9.0, 1.0, 1.3, 0.0)


def test_two_speakers_may_overlap_only_where_the_source_did() -> None:
    together = fit([Slot("1", "A", 1.0, 3.0, 2.0), Slot("2", "B", 2.0, 4.0, 2.0)], 10.0)
    assert [(line.start, line.rate, line.overflow) for line in together] == [(1.0, 1.0, 0.0), (2.0, 1.0, 0.0)]
    apart = fit([Slot("1", "A", 1.0, 2.0, 2.0), Slot("2", "B", 2.0, 4.0, 2.0)], 10.0)
    assert ms(apart[1].start) >= end(apart[0]) + GAP_MS


def test_one_speaker_has_one_mouth() -> None:
    first, second = fit([Slot("1", "A", 1.0, 3.0, 2.0), Slot("2", "A", 2.0, 4.0, 2.0)], 10.0)
    assert ms(second.start) >= end(first) + GAP_MS


def test_a_line_does_not_run_into_the_second_next_one_when_the_next_may_overlap() -> None:
    slots = [Slot("1", "A", 0.0, 4.0, 5.0), Slot("2", "B", 1.0, 2.0, 1.0), Slot("3", "C", 4.0, 6.0, 2.0)]
    fitted = fit(slots, 6.0)
    assert all(line.overflow == 0 for line in fitted)
    assert ms(fitted[2].start) >= end(fitted[0]) + GAP_MS


def test_what_cannot_fit_is_spread_and_reported_line_by_line() -> None:
    slots = [Slot(str(k), "A", float(k), k + 1.0, 2.6) for k in range(5)]
    fitted = fit(slots, 5.0)
    least = least_overlap_ms(spoken(slots), 5000, 0)
    assert sum(ms(line.overflow) for line in fitted) == pytest.approx(least, abs=10)
    assert all(line.rate == 1.3 for line in fitted)
    shares = [line.overflow for line in fitted[:3]]  # the last two have the film's end before them
    assert max(shares) < 1.1 * min(shares)


def test_a_lock_that_hides_under_another_line_is_kept_and_the_talk_over_reported() -> None:
    slots = [Slot("1", "A", 0.0, 2.0, 2.6, locked_start=0.0), Slot("2", "A", 3.0, 4.0, 2.0, locked_start=1.0)]
    first, second = fit(slots, 10.0)
    assert (first.start, second.start) == (0.0, 1.0)
    assert first.overflow == pytest.approx(1.0, abs=0.001)


def test_a_lower_cap_is_kept() -> None:
    slots = talk(60, 1.3)
    fitted = fit(slots, slots[-1].end + 30, Limits(max_rate=1.2))
    assert max(line.rate for line in fitted) <= 1.2
    assert sum(line.overflow for line in fitted) == 0


def test_rates_of_neighbours_are_more_even_than_each_line_alone_would_need() -> None:
    slots = talk(160, 1.15)
    length = slots[-1].end + 2
    even, alone = fit(slots, length), fit(slots, length, Limits(step_weight=0.0))
    step = [np.mean([abs(a.rate - b.rate) for a, b in pairwise(lines)]) for lines in (even, alone)]
    assert step[0] < 0.9 * step[1]


def test_a_removed_line_gives_its_room_to_the_neighbours() -> None:
    slots = [Slot(str(k), "A", 2.0 * k, 2.0 * k + 2, 2.4) for k in range(5)]
    before = fit(slots, 10.2)
    left = [slot for slot in slots if slot.id != "2"]
    after = fit(left, 10.2, previous=by_id(before))
    assert by_id(after)["1"].rate < by_id(before)["1"].rate


def test_no_lines_give_no_placements() -> None:
    assert fit([], 10.0) == []


@pytest.mark.slow
@pytest.mark.parametrize("stretch", [1.1, 2.0])
def test_ten_thousand_lines_keep_the_limits(stretch: float) -> None:
    slots = talk(10_000, stretch)
    fitted = fit(slots, slots[-1].end + 2)
    assert max(line.rate for line in fitted) <= MAX_RATE
    assert (sum(line.overflow for line in fitted) == 0) == (stretch < 1.3)
    assert end(fitted[-1]) <= ms(slots[-1].end + 2)
