"""Hurried lines get a shorter wording, lines with room a longer one, all others stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from polydub.text.lengths import Choice, Option, Standing, choose, excess

COMFORTABLE = 1.15
Kind = Literal["normal", "short", "long", "shortened"]


def option(seconds: float, kind: Kind = "normal", text: str = "") -> Option:
    return Option(Choice("1", text or f"{kind} {seconds}", kind), seconds)


def line(id_: str, seconds: float, placed_s: float, *others: Option, room_s: float | None = None) -> Standing:
    return Standing(id_, placed_s, placed_s if room_s is None else room_s, option(seconds), others)


def test_a_hurried_line_gets_the_longest_wording_that_is_comfortable() -> None:
    hurried = line("1", 2.6, 2.0, option(2.5, "short"), option(2.2, "short"), option(1.6, "short"))
    assert choose([hurried], COMFORTABLE)["1"].seconds == 2.2


def test_the_shortest_is_taken_where_none_is_comfortable() -> None:
    hurried = line("1", 2.6, 2.0, option(2.5, "short"), option(2.4, "short"))
    assert choose([hurried], COMFORTABLE)["1"].seconds == 2.4


def test_a_comfortable_line_keeps_its_wording() -> None:
    assert choose([line("1", 2.2, 2.0, option(1.8, "short"), option(2.6, "long"))], COMFORTABLE) == {}


def test_a_wording_that_leaves_the_line_farther_from_comfortable_is_not_taken() -> None:
    barely = line("1", 2.32, 2.0, option(0.5, "short"))
    assert choose([barely], COMFORTABLE) == {}
    assert choose([replace(barely, others=(option(1.7, "short"),))], COMFORTABLE)["1"].seconds == 1.7


def test_a_pause_is_better_than_hurry() -> None:
    assert choose([line("1", 2.6, 2.0, option(1.2, "short"))], COMFORTABLE)["1"].seconds == 1.2


def test_a_line_with_room_gets_the_longest_wording_that_its_room_holds() -> None:
    lonely = line("1", 1.0, 1.0, option(1.6, "long"), option(1.9, "long"), option(2.1, "long"), room_s=2.0)
    assert choose([lonely], COMFORTABLE)["1"].seconds == 1.9
    assert choose([replace(lonely, room_s=1.2)], COMFORTABLE) == {}


def test_nobody_is_made_longer_while_another_is_hurried() -> None:
    hurried = line("2", 2.6, 2.0, option(2.0, "short"))
    lonely = line("1", 1.0, 1.0, option(1.6, "long"), room_s=2.0)
    assert set(choose([lonely, hurried], COMFORTABLE)) == {"2"}


def test_no_two_neighbours_change_at_once_and_the_faster_goes_first() -> None:
    row = [line(str(n), rate, 1.0, option(1.0, "short")) for n, rate in enumerate([1.2, 1.3, 1.22, 1.25, 1.2])]
    assert set(choose(row, COMFORTABLE)) == {"1", "3"}
    alike = [line(str(n), 1.3, 1.0, option(1.0, "short")) for n in range(4)]
    assert set(choose(alike, COMFORTABLE)) == {"0", "2"}


seconds = st.floats(0.1, 10)


@given(st.lists(st.tuples(seconds, seconds, seconds, st.lists(seconds, max_size=3)), max_size=8))
def test_whatever_changes_comes_nearer_to_comfortable(raw: list[tuple[float, float, float, list[float]]]) -> None:
    lines = [
        line(str(n), now, placed, *(option(s, "short") for s in others), room_s=room)
        for n, (now, placed, room, others) in enumerate(raw)
    ]
    changes = choose(lines, COMFORTABLE)
    for x in lines:
        if x.id in changes:
            assert changes[x.id] in x.others
            if x.rate > COMFORTABLE:
                assert excess(replace(x, now=changes[x.id]), COMFORTABLE) < excess(x, COMFORTABLE)
            else:
                assert x.now.seconds < changes[x.id].seconds <= x.room_s
    able = [x for x in lines if x.rate > COMFORTABLE and any(o.seconds < x.now.seconds for o in x.others)]
    if not able:
        assert all(changes[id_].seconds > x.now.seconds for x in lines for id_ in [x.id] if id_ in changes)
