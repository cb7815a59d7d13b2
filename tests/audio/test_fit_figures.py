"""What the timing solver likes, by figures on a dense film, and how little an edit moves there."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.audio.fit import Fitted, Limits, Slot, fit

GAP_MS, EARLY_MS, MAX_RATE = 50, 300, 1.30
SOURCE_MS = (1539, 3904, 3128, 3204, 2509, 1536, 2930, 2607)  # eight English lines by espeak-ng, and the Spanish for them
NATURAL_MS = (1612, 6197, 3821, 4950, 3443, 1530, 5326, 1968)


def dense(lines: int = 160) -> list[Slot]:
    """One speaker, hardly a pause: two lines in five would have to be spoken faster than 1.3 to keep all onsets."""
    chance, at, slots = random.Random(7), 1000, list[Slot]()
    for k in range(lines):
        end = at + SOURCE_MS[k % 8]
        slots.append(Slot(str(k + 1), "A", at / 1000, end / 1000, NATURAL_MS[k % 8] / 1000))
        at = end + chance.choice([100, 300, 600, 1500])
    return slots


FILM = dense()
LENGTH_S = FILM[-1].end + 3.5
PLACED = fit(FILM, LENGTH_S)
BEFORE = {line.id: line for line in PLACED}


def ms(value: float) -> int:
    return round(value * 1000)


def end(line: Fitted) -> int:
    return ms(line.start) + ms(line.duration)


def shortest(slot: Slot) -> int:
    return int(np.ceil(round(ms(slot.natural_s) / MAX_RATE, 6)))


def step(lines: Iterable[Fitted]) -> float:
    return float(np.mean([abs(a.rate - b.rate) for a, b in pairwise(lines)]))


def test_on_a_dense_film_half_the_lines_start_with_the_mouth_and_none_is_hurried_beyond_the_limit() -> None:
    shifts = np.abs([line.shift for line in PLACED])
    assert max(line.rate for line in PLACED) <= MAX_RATE
    assert sum(line.overflow for line in PLACED) == 0
    assert np.median(shifts) <= 0.15
    assert np.percentile(shifts, 95) <= 0.90
    assert sum(line.rate > 1.25 for line in PLACED) <= 60
    assert step(PLACED) < 0.09


def test_a_film_with_a_little_too_little_room_has_few_late_lines_rather_than_all() -> None:
    easier = [replace(slot, natural_s=round(slot.natural_s * 0.85, 3)) for slot in FILM]
    shifts = np.abs([line.shift for line in fit(easier, LENGTH_S)])
    assert np.mean(shifts < 0.1) > 0.7
    assert shifts.max() < 0.9


def test_being_far_too_late_costs_more_than_being_late() -> None:
    mild, strong = (fit(FILM, LENGTH_S, Limits(late_weight=weight)) for weight in (0.0, 3.0))
    late = [sum(line.shift > 0.9 for line in lines) for lines in (mild, strong)]
    assert late[1] < late[0]


@st.composite
def roomy(draw: st.DrawFn) -> list[Slot]:
    """Any lines, with locks; all may overlap or be silent."""
    slots, at = list[Slot](), 0
    for k in range(draw(st.integers(1, 15))):
        length = draw(st.integers(0, 5000))
        natural = draw(st.integers(0, 7000))
        lock = draw(st.none() | st.integers(0, 40_000))
        locked = None if lock is None else lock / 1000
        slots.append(Slot(str(k), draw(st.sampled_from("AB")), at / 1000, (at + length) / 1000, natural / 1000, locked))
        at += length + draw(st.integers(-1000, 3000))
        at = max(0, at)
    return slots


@given(roomy())
@settings(max_examples=100, deadline=None)
def test_no_line_is_dragged(slots: list[Slot]) -> None:
    for slot, line in zip(slots, fit(slots, 60.0), strict=True):
        assert ms(line.duration) <= ms(slot.natural_s)


def test_a_line_with_room_beside_hurried_ones_keeps_its_own_rate_or_is_drawn_to_theirs() -> None:
    slots = [Slot("1", "A", 0.0, 2.0, 2.6), Slot("2", "A", 2.0, 9.0, 2.0), Slot("3", "A", 9.0, 11.0, 2.6)]
    assert all(line.rate >= 0.999 for line in fit(slots, 11.0))


def test_parts_of_one_line_are_drawn_to_one_rate_more_than_lines_are() -> None:
    apart = [Slot("7", "A", 0.0, 2.0, 2.5), Slot("8", "A", 2.5, 6.0, 2.0), Slot("9", "A", 10.0, 12.0, 2.0)]
    parts = [replace(slot, id=id_) for slot, id_ in zip(apart, ("7.1", "7.2", "9"), strict=True)]
    lines, phrases = fit(apart, 20.0), fit(parts, 20.0)
    assert abs(phrases[0].rate - phrases[1].rate) < 0.5 * abs(lines[0].rate - lines[1].rate)


def moved(before: Mapping[str, Fitted], after: Iterable[Fitted], but: str) -> list[Fitted]:
    """Lines whose start or end went further than 20 ms, without the edited one."""
    far = lambda a, b: max(abs(ms(a.start) - ms(b.start)), abs(end(a) - end(b))) > 20  # noqa: E731
    return [line for line in after if line.id != but and far(before[line.id], line)]


def fits_between(slots: list[Slot], window: range) -> bool:
    """Whether the lines of the window have room at full speed while all others stay: a simple forward pass."""
    at = end(PLACED[window.start - 1]) + GAP_MS if window.start else 0
    for k in window:
        at = max(at, ms(slots[k].start) - EARLY_MS, 0) + shortest(slots[k]) + GAP_MS
    wall = ms(PLACED[window.stop].start) if window.stop < len(slots) else ms(LENGTH_S) + GAP_MS
    return at <= wall


def least_moved(slots: list[Slot], k: int) -> int:
    """The fewest neighbours with which line k has room."""
    for count in range(len(slots)):
        starts = range(max(0, k - count), min(k, len(slots) - 1 - count) + 1)
        if any(fits_between(slots, range(first, first + count + 1)) for first in starts):
            return count
    return len(slots)


def edit(k: int, factor: float) -> tuple[list[Slot], list[Fitted]]:
    changed = list(FILM)
    changed[k] = replace(FILM[k], natural_s=round(FILM[k].natural_s * factor, 3))
    return changed, fit(changed, LENGTH_S, previous=BEFORE)


def check_edit(k: int, factor: float) -> None:
    changed, after = edit(k, factor)
    assert len(moved(BEFORE, after, FILM[k].id)) <= max(8, least_moved(changed, k))
    assert sum(line.overflow for line in after) == 0
    assert all(PLACED[i] == after[i] for i in range(len(FILM)) if abs(i - k) > 40)


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_an_edit_moves_eight_neighbours_at_most_where_that_leaves_room(factor: float) -> None:
    for k in range(0, len(FILM), 7):
        check_edit(k, factor)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_every_edit_moves_eight_neighbours_at_most_where_that_leaves_room(factor: float) -> None:
    for k in range(len(FILM)):
        check_edit(k, factor)


def test_an_edit_that_needs_more_than_eight_neighbours_moves_as_few_as_there_must_be() -> None:
    needs = {k: least_moved(edit(k, 1.3)[0], k) for k in range(len(FILM))}
    hard = [k for k, count in needs.items() if count > 8]
    assert hard
    assert all(len(moved(BEFORE, edit(k, 1.3)[1], FILM[k].id)) <= needs[k] for k in hard)
