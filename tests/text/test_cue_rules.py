"""The timed-text rules as shares of compliant cues."""

from __future__ import annotations

import pytest

from polydub.text.cue_rules import gap_s, line_limit, rule_report, width
from polydub.types import Cue

GOOD = [Cue(1.0, 3.0, "Hello there,\nhow are you?"), Cue(3.08, 5.0, "Very well."), Cue(6.0, 7.0, "Good.")]


def broken(rule: str, cues: list[Cue], fps: float = 25.0) -> float:
    """The share for one rule, after making sure that a good file keeps to it."""
    assert rule_report(GOOD, fps)[rule] == 1.0
    return rule_report(cues, fps)[rule]


def test_a_good_file_keeps_to_every_rule_and_so_does_an_empty_one() -> None:
    assert set(rule_report(GOOD, 25).values()) == {1.0}
    assert set(rule_report([], 25).values()) == {1.0}


@pytest.mark.parametrize(
    ("rule", "cue"),
    [
        ("chars_per_line", Cue(8, 14, "x" * 43)),
        ("lines", Cue(8, 14, "a\nb\nc")),
        ("cps_17", Cue(8, 10, "x" * 35)),
        ("cps_20", Cue(8, 10, "x" * 41)),
        ("min_s", Cue(8, 8.8, "ab")),
        ("max_s", Cue(8, 15.1, "ab")),
    ],
)
def test_one_of_four_cues_that_breaks_a_rule_leaves_three_quarters(rule: str, cue: Cue) -> None:
    assert broken(rule, [*GOOD, cue]) == 0.75


@pytest.mark.parametrize(
    ("rule", "cue"),
    [
        ("gap", Cue(7.04, 9, "ab")),
        ("small_gaps_closed", Cue(7.3, 9, "ab")),
        ("ordered", Cue(5.0, 9, "ab")),
        ("non_overlapping", Cue(6.9, 9, "ab")),
    ],
)
def test_one_of_three_neighbours_that_breaks_a_rule_leaves_two_thirds(rule: str, cue: Cue) -> None:
    assert broken(rule, [*GOOD, cue]) == pytest.approx(2 / 3)


def test_the_limits_themselves_are_allowed() -> None:
    cues = [Cue(0, 7, "x" * 42), Cue(7.08, 7.08 + 0.8334, "x" * 14), Cue(8.5, 10.5, "x" * 34)]
    assert rule_report(cues, 25) == dict.fromkeys(rule_report(cues, 25), 1.0)


def test_a_full_width_character_counts_as_two_and_a_combining_one_as_none() -> None:
    assert width("漢字ab") == 6
    assert width("e\u0301\u200f") == 1
    assert line_limit("漢字かな") == 32
    assert line_limit("漢字 in an English sentence") == 42
    assert rule_report([Cue(0, 2, "漢" * 16)], 25)["chars_per_line"] == 1.0
    assert rule_report([Cue(0, 2, "漢" * 17)], 25)["chars_per_line"] == 0.0
    assert rule_report([Cue(0, 2, "漢" * 18)], 25)["cps_17"] == 0.0


def test_two_frames_depend_on_the_picture_and_are_those_of_25_without_one() -> None:
    assert gap_s(25) == gap_s(0) == gap_s(2) == 0.08
    assert gap_s(24000 / 1001) == 0.084
    assert rule_report([Cue(0, 1, "a"), Cue(1.05, 2.5, "b")], 50)["gap"] == 1.0
    assert rule_report([Cue(0, 1, "a"), Cue(1.05, 2.5, "b")], 0)["gap"] == 0.0
