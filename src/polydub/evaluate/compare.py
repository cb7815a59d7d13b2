"""Two dubs side by side: what is better, and whether that can be chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from polydub.errors import BadSettings
from polydub.evaluate.card import Card, Interval, Score


class Row(BaseModel):
    """One score of both; `difference` is ours less theirs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(description="id of the score")
    name: str = Field(description="what it is, in words")
    unit: str = Field(description="unit of all figures of this row")
    ours: float | None = Field(description="figure of the first dub; null: not measured")
    theirs: float | None = Field(description="figure of the second dub; null: not measured")
    difference: float | None = Field(description="first less second")
    better: Literal["ours", "theirs", "equal", ""] = Field(description='which is better; "" where neither can be')
    certain: bool | None = Field(description="the confidence intervals do not overlap; null where there are none")


class Comparison(BaseModel):
    """Two cards that were measured the same way."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ours: Card
    theirs: Card
    rows: tuple[Row, ...] = Field(description="every score that one of the two has")
    total_difference: float | None = Field(description="null where the totals are not over the same axes")


def signature(card: Card) -> dict[str, str]:
    """How each score was measured: by which engine, on which sound."""
    return {score.id: score.basis for score in card.scores if score.basis}


def compare(ours: Card, theirs: Card) -> Comparison:
    """Both side by side. Raises BadSettings where they are in different languages or a score was measured in different ways.

    A score that only one of them has is shown without a difference, and totals over different axes are not subtracted.
    """
    if ours.language != theirs.language:
        raise BadSettings(
            f"dubs into {ours.language} and {theirs.language} cannot be compared", "compare dubs into one language"
        )
    mine, other = signature(ours), signature(theirs)
    unlike = [name for name in mine if name in other and mine[name] != other[name]]
    if unlike or ours.schema_version != theirs.schema_version:
        name = unlike[0] if unlike else "the format"
        told = f": {mine[name]!r} here, {other[name]!r} there" if unlike else ""
        raise BadSettings(
            f"the two runs were not measured the same way ({', '.join(unlike) or name}){told}",
            "evaluate both with the same options and the same polydub; give both as projects, or both as files with --script",
        )
    ids = dict.fromkeys([*(s.id for s in ours.scores), *(s.id for s in theirs.scores)])
    rows = tuple(_row(ours.score(name), theirs.score(name)) for name in ids)
    axes = [[axis.name for axis in card.axes if axis.value is not None] for card in (ours, theirs)]
    change = None
    if axes[0] == axes[1] and ours.total is not None and theirs.total is not None:
        change = round(ours.total - theirs.total, 1)
    return Comparison(ours=ours, theirs=theirs, rows=rows, total_difference=change)


def _row(ours: Score | None, theirs: Score | None) -> Row:
    known = ours or theirs
    assert known is not None  # noqa: S101 - the id came from one of them
    a, b = (score.value if score else None for score in (ours, theirs))
    difference = None if a is None or b is None else round(a - b, 4)
    better: Literal["ours", "theirs", "equal", ""] = ""
    if difference is not None and known.higher_is_better is not None:
        better = "equal" if difference == 0 else "ours" if (difference > 0) == known.higher_is_better else "theirs"
    intervals = [score.ci for score in (ours, theirs) if score and score.ci]
    return Row(id=known.id, name=known.name, unit=known.unit, ours=a, theirs=b, difference=difference, better=better,
               certain=_apart(intervals))  # fmt: skip


def _apart(intervals: Sequence[Interval]) -> bool | None:
    if len(intervals) < 2:
        return None
    (low, high), (other_low, other_high) = intervals
    return high < other_low or other_high < low


def dump(comparison: Comparison) -> str:
    """The comparison as the text of a JSON file."""
    return json.dumps(plain(comparison), indent=1, ensure_ascii=False) + "\n"


def plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    return comparison.model_dump(mode="json")
