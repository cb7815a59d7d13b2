"""What `polydub eval` says of a dub: scores, gates, axes. All of it goes into JSON; `schema()` describes that."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from polydub.report.model import COMFORTABLE_RATE, LoudnessFacts, Report, Text

DRAWS = 1000  # resamplings behind a confidence interval
BEST_DB = 120.0  # what is written for an infinite ratio, which JSON cannot hold
HASTY_RATE = 1.30  # the hard limit of the fit

Interval = tuple[float, float]


class _Block(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class Score(_Block):
    """One figure."""

    id: str = Field(description='row of the metrics and a name, such as "D1.mae"')
    name: str = Field(description="what it is, in words")
    value: float | None = Field(description="the figure; null when there was nothing to measure; 120 dB stands for infinity")
    unit: str = Field(default="", description='"s", "ms", "dB", "LU", "LUFS", "dBTP", "%", or "" for plain numbers')
    n: int = Field(default=0, ge=0, description="how many lines, words, frames or seconds it was measured over")
    ci: Interval | None = Field(default=None, description="95 % confidence interval, by bootstrap over the lines")
    higher_is_better: bool | None = Field(default=None, description="null: neither is, such as for loudness")
    source: str = Field(default="", description="where the definition comes from")
    basis: Text = Field(default="", description="what it was measured on and with; two runs compare only where this is equal")


class Gate(_Block):
    """Something that must hold, whatever the scores are."""

    name: str = Field(description="what is asked")
    passed: bool | None = Field(description="null: it could not be judged; the reason is in `value`")
    value: Text = Field(description="what was found")
    limit: str = Field(description="what is allowed")


class Axis(_Block):
    """One sub-score: the mean of its parts, each linear between a bad value (0) and a human one (100)."""

    name: str = Field(description="intelligibility, meaning, voice, timing, naturalness or mix")
    weight: float = Field(ge=0, le=1, description="its weight when all axes are there")
    value: Annotated[float, Field(ge=0, le=100)] | None = Field(description="null: it was not measured")
    parts: tuple[tuple[str, float], ...] = Field(default=(), description="id of a score, and its points from 0 to 100")


class Missing(_Block):
    """A metric that was not measured; nothing stands in for it."""

    id: str = Field(description="row of the metrics")
    reason: Text = Field(description="why, and what would measure it")


class Card(_Block):
    """Everything that one run of the evaluation found."""

    schema_version: Literal[1] = Field(default=1, description="version of this format")
    polydub_version: str = Field(description="version of polydub that measured")
    dub: Text = Field(description="name of the dub's file")
    reference: Text = Field(default="", description='name of the source film; "" when none was given')
    language: str = Field(description="language of the dub, BCP-47")
    passed: bool = Field(description="no gate failed")
    total: Annotated[float, Field(ge=0, le=100)] | None = Field(
        description="weighted geometric mean of the axes that are there"
    )
    axes: tuple[Axis, ...] = Field(description="six sub-scores")
    gates: tuple[Gate, ...] = Field(description="what must hold")
    scores: tuple[Score, ...] = Field(description="figures in the order of the metrics")
    missing: tuple[Missing, ...] = Field(default=(), description="metrics that were not measured")
    models: tuple[Text, ...] = Field(default=(), description="every model that was used, with its version or revision")

    def score(self, name: str) -> Score | None:
        """The score of that id; None when it was not measured."""
        return next((s for s in self.scores if s.id == name), None)


def dump(card: Card) -> str:
    """The card as the text of a JSON file."""
    return json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a card."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Card.model_json_schema(mode="serialization")


def interval(parts: Sequence[tuple[float, float]], of: Callable[[float], float] = lambda ratio: ratio) -> Interval | None:
    """95 % confidence interval of `of`(sum of numerators / sum of denominators), by percentile bootstrap over the parts.

    Each part is (numerator, denominator) of one line. 1,000 draws with a fixed seed, so that it repeats; None for fewer
    than two parts or where all denominators are 0.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    import numpy as np

    values = np.asarray(parts, np.float64).reshape(-1, 2)
    if len(values) < 2 or values[:, 1].sum() <= 0:
        return None
    random = np.random.default_rng(0)
    ratios: list[float] = []
    for _ in range(DRAWS):
        top, bottom = values[random.integers(0, len(values), len(values))].sum(axis=0)
        if bottom > 0:
            ratios.append(of(float(top / bottom)))
    low, high = np.percentile(ratios, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def decibels(ratio: float) -> float:
    """A ratio of powers in dB, kept within +-BEST_DB; BEST_DB for infinity."""
    if ratio <= 0:
        return -BEST_DB
    return BEST_DB if math.isinf(ratio) else max(-BEST_DB, min(BEST_DB, 10 * math.log10(ratio)))


def key_figures(report: Report) -> tuple[tuple[str, str], ...]:
    """What to print after a dub, from its report alone: at most eight pairs of a name and a value."""
    timing, loud = report.timing, report.loudness
    rates = [line.rate for line in report.lines if line.duration > 0]
    hasty = sum(round(rate, 3) > HASTY_RATE for rate in rates)
    figures = [
        ("lines", f"{timing.lines} of {len(report.lines)} audible"),
        ("highest rate", _told(timing.max_rate, "{:.2f}")),
        ("hurried lines", f"{timing.lines_over_comfortable} above {COMFORTABLE_RATE:.2f}, {hasty} above {HASTY_RATE:.2f}"),
        ("onset shift", f"median {_told(timing.shift_p50_s, '{:.2f} s')}, 95 % within {_told(timing.shift_p95_s, '{:.2f} s')}"),
        ("talk-over", f"{timing.talk_over_s:.2f} s"),
        ("evenness of pace", _told(timing.smoothness, "{:.3f}")),
        ("loudness", _loudness(loud)),
        ("true peak", f"{loud.after_true_peak_dbtp:.1f} dBTP, limit {loud.true_peak_limit_dbtp:.1f}"),
    ]
    return tuple(figures if rates else figures[:1] + figures[-2:])


def _loudness(loud: LoudnessFacts) -> str:
    """What is compared with the target: the programme, or the dialogue in it."""
    spoken = loud.dialogue_gated_lufs
    if loud.goal == "dialogue" and spoken is not None:
        return f"dialogue {spoken:.1f} LUFS, target {loud.target_lufs:.1f}"
    return f"{loud.after_lufs:.1f} LUFS, target {loud.target_lufs:.1f}"


def _told(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value)
