"""Measured figures, their medians and their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing measured several times.

    Attributes: limits: the target of each repeat (they differ where a target follows the yardstick of that repeat); empty
    when there is no target. target: the same in words. yardsticks: Y of each repeat in seconds; empty when it has none.
    more: whether more is better, and limits are lower ones.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    limits: tuple[float, ...] = ()
    target: str = ""
    yardsticks: tuple[float, ...] = ()
    note: str = ""
    more: bool = False

    @property
    def median(self) -> float:
        """The figure to quote."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median repeat keeps its target; None without one."""
        if not self.limits:
            return None
        share = median(value / limit for value, limit in zip(self.values, self.limits, strict=True))
        return share >= 1 if self.more else share <= 1

    @property
    def ratio(self) -> float | None:
        """Median of value / Y, pair by pair."""
        if not self.yardsticks:
            return None
        return median(value / y for value, y in zip(self.values, self.yardsticks, strict=True))

    def json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {**asdict(self), "median": self.median, "met": self.met, "ratio": self.ratio}


def fixed(name: str, unit: str, values: Sequence[float], limit: float, note: str = "") -> Figure:
    """A figure whose target is a number."""
    return Figure(name, unit, tuple(values), (limit,) * len(values), f"<= {limit:g} {unit}", note=note)


def least(name: str, unit: str, values: Sequence[float], limit: float, note: str = "") -> Figure:
    """A figure that shall be no less than a number."""
    return Figure(name, unit, tuple(values), (limit,) * len(values), f">= {limit:g} {unit}", note=note, more=True)


def table(figures: Sequence[Figure]) -> list[str]:
    """A Markdown table."""
    lines = ["| what | median (min .. max) | in Y | target | kept |", "|---|---:|---:|---|---|"]
    for f in figures:
        spread = f"{number(f.median)} {f.unit}"
        if len(f.values) > 1:
            spread += f" ({number(min(f.values))} .. {number(max(f.values))})"
        ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
        target = f"{f.target} = {number(median(f.limits))} {f.unit}" if f.limits and f.yardsticks else f.target
        kept = {None: "", True: "yes", False: "**no**"}[f.met]
        name = f"{f.name}<br>{f.note}" if f.note else f.name
        lines.append(f"| {name} | {spread} | {ratio} | {target} | {kept} |")
    return lines


def number(value: float) -> str:
    """Three digits are all that such a measurement is worth."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
