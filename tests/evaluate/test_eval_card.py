"""The card: confidence intervals, key figures, JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from eval_projects import line, lines, report
from polydub.evaluate import key_figures
from polydub.evaluate.card import BEST_DB, Card, Score, decibels, dump, interval, schema


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = interval([(float(v), 1.0) for v in values]) or (0.0, 0.0)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_the_interval_repeats() -> None:
    parts = [(float(n % 7), 1.0 + n % 3) for n in range(50)]
    assert interval(parts) == interval(parts)


def test_equal_parts_have_an_interval_without_width() -> None:
    assert interval([(3.0, 2.0)] * 5) == (1.5, 1.5)


@pytest.mark.parametrize("parts", [[], [(1.0, 1.0)], [(0.0, 0.0), (0.0, 0.0)]])
def test_too_little_has_no_interval(parts: list[tuple[float, float]]) -> None:
    assert interval(parts) is None


def test_decibels_stay_within_what_json_can_hold() -> None:
    assert decibels(math.inf) == BEST_DB
    assert decibels(0.0) == -BEST_DB
    assert decibels(100.0) == pytest.approx(20.0)


def test_key_figures_name_what_a_person_asks_first() -> None:
    said = [*lines()[:2], line(3, (4.2, 5.4), rate=1.31, shift=0.5, start=4.7, overflow=0.25)]
    figures = dict(key_figures(report(said)))
    assert figures["highest rate"] == "1.31"
    assert figures["hurried lines"] == "1 above 1.15, 1 above 1.30"
    assert figures["onset shift"] == "median 0.00 s, 95 % within 0.45 s"
    assert figures["talk-over"] == "0.25 s"
    assert figures["loudness"] == "-16.1 LUFS, target -16.0"
    assert figures["true peak"] == "-1.4 dBTP, limit -1.0"
    assert len(figures) <= 8


def test_a_dub_without_a_voice_has_key_figures_of_its_sound_only() -> None:
    names = [name for name, _ in key_figures(report([line(1, (0.0, 1.0), duration=0.0)]))]
    assert names == ["lines", "loudness", "true peak"]


def test_a_rate_of_exactly_the_limit_is_not_above_it() -> None:
    assert "0 above 1.30" in dict(key_figures(report([line(1, (0.0, 1.0), rate=1.30004)])))["hurried lines"]


def card(**changed: object) -> Card:
    values: dict[str, object] = {"polydub_version": "1", "dub": "a.mkv", "language": "es", "passed": True, "total": None}
    return Card.model_validate(values | {"axes": (), "gates": (), "scores": ()} | changed)


def test_a_card_comes_back_from_its_json() -> None:
    made = card(scores=(Score(id="D3.iou", name="overlap", value=0.7, n=3, ci=(0.5, 0.9)),))
    assert Card.model_validate_json(dump(made)) == made
    assert made.score("D3.iou") == made.scores[0]
    assert made.score("D9") is None


def test_infinity_is_refused_rather_than_written() -> None:
    with pytest.raises(ValidationError):
        Score(id="B1.sisdr", name="", value=math.inf)


def test_the_schema_describes_every_field() -> None:
    definitions = schema()["$defs"] | {"Card": schema()}
    fields = [field for block in definitions.values() for field in block["properties"].values()]
    assert all("description" in field or "const" in field for field in fields)
    json.dumps(schema())
