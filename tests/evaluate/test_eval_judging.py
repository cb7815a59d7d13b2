"""Gates and axes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_projects import line, lines
from polydub.evaluate import judging
from polydub.evaluate.card import Axis, Score
from polydub.evaluate.picture import Clock, Same
from polydub.types import Span


def score(name: str, value: float) -> Score:
    return Score(id=name, name=name, value=value)


TIMING = [score("D3.iou", 0.5), score("D5.above125", 2.0), score("D1.near", 95.0)]


@pytest.mark.parametrize(("value", "wanted"), [(0.3, 0.0), (0.5, 50.0), (0.7, 100.0), (0.95, 100.0), (0.1, 0.0)])
def test_points_are_linear_and_end_at_the_human_value(value: float, wanted: float) -> None:
    assert judging.points(value, judging.Part("D3.iou", 0.3, 0.7)) == wanted


def test_points_fall_where_less_is_better() -> None:
    assert judging.points(-25.0, judging.Part("B2.energy", -10.0, -40.0)) == 50.0


def test_an_axis_is_the_mean_of_its_parts() -> None:
    axis = next(a for a in judging.axes(TIMING, None) if a.name == "timing")
    assert axis.value == pytest.approx((50 + 100 + 100) / 3, abs=0.1)


def test_an_axis_with_a_missing_part_is_missing_and_says_so() -> None:
    found = judging.axes(TIMING[:2], None)
    assert next(a for a in found if a.name == "timing").value is None
    lack = {m.id: m.reason for m in judging.unmeasured(found)}
    assert "D1.near" in lack["timing"]
    assert "D3.iou" not in lack["timing"]
    assert judging.total(found) is None


def test_errors_count_above_the_floor_of_the_recogniser_only() -> None:
    errors = [score("T1.error", 12.0)]
    assert next(a for a in judging.axes(errors, 4.5) if a.name == "intelligibility").value == 50.0
    assert next(a for a in judging.axes(errors, None) if a.name == "intelligibility").value is None


def test_the_weights_are_those_of_a_whole() -> None:
    assert sum(weight for weight, _ in judging.AXES.values()) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(1, 100)), min_size=1, max_size=6))
def test_the_total_is_the_weighted_geometric_mean(parts: list[tuple[float, float]]) -> None:
    axes = [Axis(name=str(n), weight=w, value=v) for n, (w, v) in enumerate(parts)]
    wanted = math.prod(v**w for w, v in parts) ** (1 / sum(w for w, _ in parts))
    assert judging.total([*axes, Axis(name="x", weight=0.5, value=None)]) == pytest.approx(wanted, abs=0.06)


def test_one_axis_at_nothing_leaves_nothing() -> None:
    assert judging.total([Axis(name="a", weight=0.5, value=0.0), Axis(name="b", weight=0.5, value=100.0)]) == 0.0


LEVELS = {"L1.truepeak": -1.2, "L1.error": 0.4, "L1.integrated": -16.4}


@pytest.mark.parametrize(
    ("changed", "clipped", "failed"),
    [({}, 0, []), ({"L1.truepeak": -0.9}, 0, ["true peak"]), ({"L1.error": 1.2}, 0, ["loudness"]), ({}, 3, ["no clipping"])],
)
def test_levels_must_keep_to_the_profile(changed: dict[str, float], clipped: int, failed: list[str]) -> None:
    gates = judging.level_gates([score(i, v) for i, v in (LEVELS | changed).items()], -16.0, -1.0, clipped)
    assert [g.name for g in gates if not g.passed] == failed
    assert judging.passes(gates) is not bool(failed)


@pytest.mark.parametrize(
    ("clock", "delay", "passed"),
    [
        (Clock(0, 26), None, True),
        (Clock(46, 0), None, False),
        (Clock(0, -60), None, False),
        (Clock(0, 0), 0.08, False),
        (None, None, None),
    ],
)
def test_sound_and_picture_must_be_together(clock: Clock | None, delay: float | None, passed: bool | None) -> None:
    assert judging.clock_gate(clock, delay).passed is passed


def test_the_picture_must_be_the_same_where_it_can_be_compared() -> None:
    assert judging.picture_gate(Same(10, 10, 0), "").passed
    assert judging.picture_gate(Same(10, 10, 1), "").passed is False
    assert judging.picture_gate(Same(9, 10, 0), "").passed is False
    assert judging.picture_gate(None, "why").passed is None
    assert judging.passes([judging.picture_gate(None, "why")])


def test_damage_is_told() -> None:
    assert judging.decoding_gate("", 0.0, "").passed
    gate = judging.decoding_gate("invalid data", 1.5, "")
    assert not gate.passed
    assert gate.value == "invalid data; 1.50 s of sound missing"


def test_every_segment_needs_a_line_and_every_line_a_voice_or_a_reason() -> None:
    segments = [Span(a, b) for a, b in ((0.5, 1.8), (2.6, 3.8), (4.2, 5.4))]
    none = frozenset[str]()
    assert judging.accounted_gate(lines(), segments, none).passed
    assert not judging.accounted_gate(lines()[:2], segments, none).passed
    silent = [*lines()[:2], line(3, (4.2, 5.4), duration=0.0)]
    assert not judging.accounted_gate(silent, segments, none).passed
    assert judging.accounted_gate(silent, segments, frozenset({"3"})).passed
    empty = [*lines()[:2], line(3, (4.2, 5.4), duration=0.0, text="")]
    assert judging.accounted_gate(empty, segments, none).passed


def test_a_dub_must_be_heard_where_it_is_said_to_speak() -> None:
    heard = [Span(0.6, 1.5), Span(2.7, 3.0)]
    assert judging.audible_gate(lines(), heard).passed
    assert not judging.audible_gate(lines(), heard[:1]).passed
    assert judging.audible_gate(lines(), None).passed is None
    assert judging.audible_gate((), heard).passed is None
