"""From scores to a verdict: gates that must hold, and six axes between a bad value and a human one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polydub.evaluate.card import Axis, Card, Gate, Missing, Score
from polydub.evaluate.picture import Clock, Same
from polydub.evaluate.timing import inside
from polydub.report.model import ReportLine
from polydub.spans import bridged
from polydub.types import Span

TOGETHER_MS = 45.0  # ITU-R BT.1359-1: sound this early is noticed
LOUDNESS_LU = 1.0  # EBU R 128 in production
READING_DB = 0.05  # two meters may differ by as much
AUDIBLE = 0.5  # share of lines in which speech must be heard


@dataclass(frozen=True, slots=True)
class Part:
    """How a score becomes points: linear from `bad` (0) to `human` (100), nothing above."""

    score: str
    bad: float
    human: float


# Weights and ends: reference values of human dubs where there are any (D3: 70 %), else a proposal; see the documentation.
AXES: Mapping[str, tuple[float, tuple[Part, ...]]] = {
    "intelligibility": (0.20, (Part("T1.error", 15.0, 0.0),)),
    "meaning": (0.20, (Part("T2.comet", 0.70, 0.88),)),
    "voice": (0.15, (Part("S1.similarity", 0.0, 1.0),)),
    "timing": (0.20, (Part("D3.iou", 0.30, 0.70), Part("D5.above125", 50.0, 2.0), Part("D1.near", 30.0, 95.0))),
    "naturalness": (0.15, (Part("Q1.difference", -1.5, 0.0),)),
    "mix": (0.10, (Part("B1.sisdr", 0.0, 15.0), Part("B2.energy", -10.0, -40.0), Part("L2.balance", 6.0, 1.0))),
}


def points(value: float, part: Part) -> float:
    """0 to 100, linear between the ends of `part`, capped at both."""
    return round(100 * min(1.0, max(0.0, (value - part.bad) / (part.human - part.bad))), 1)


def axes(scores: Sequence[Score], floor: float | None) -> tuple[Axis, ...]:
    """The six axes. One is measured only where all its scores are: nothing stands in for a missing one.

    `floor` is the error rate in per cent of the recogniser on human speech, taken off T1; without it the axis is missing.
    """
    values = {s.id: s.value for s in scores if s.value is not None}
    if floor is None:
        values.pop("T1.error", None)
    elif "T1.error" in values:
        values["T1.error"] -= floor
    found: list[Axis] = []
    for name, (weight, parts) in AXES.items():
        told = tuple((p.score, points(values[p.score], p)) for p in parts if p.score in values)
        whole = len(told) == len(parts)
        mean = round(sum(value for _, value in told) / len(told), 1) if whole else None
        found.append(Axis(name=name, weight=weight, value=mean, parts=told))
    return tuple(found)


def total(found: Sequence[Axis]) -> float | None:
    """Weighted geometric mean of the axes that were measured; 0 where one of them is 0; None without any."""
    there = [(axis.weight, axis.value) for axis in found if axis.value is not None]
    if not there:
        return None
    if any(value == 0 for _, value in there):
        return 0.0
    return round(math.exp(sum(w * math.log(v) for w, v in there) / sum(w for w, _ in there)), 1)


def unmeasured(found: Sequence[Axis]) -> tuple[Missing, ...]:
    """The axes that are not there."""
    lost = {
        a.name: ", ".join(p.score for p in AXES[a.name][1] if p.score not in dict(a.parts)) for a in found if a.value is None
    }
    return tuple(Missing(id=name, reason=f"needs {ids}; the total is without this axis") for name, ids in lost.items())


def passes(gates: Sequence[Gate]) -> bool:
    """Whether no gate failed; what could not be judged does not fail."""
    return all(gate.passed is not False for gate in gates)


def decoding_gate(complaint: str, missing_s: float, picture: str) -> Gate:
    """`complaint` of the sound's decoder, seconds of sound that are missing, what decoding the picture told ("" = nothing)."""
    said = "; ".join(part for part in (complaint, f"{missing_s:.2f} s of sound missing" if missing_s else "", picture) if part)
    return Gate(name="decodes cleanly", passed=not said, value=said or "no complaint", limit="no complaint")


def picture_gate(found: Same | None, why: str) -> Gate:
    """Frames counted and compared; None with the reason where there was nothing to compare with."""
    limit = "as many pictures as the source, all equal"
    if found is None:
        return Gate(name="picture unchanged", passed=None, value=why, limit=limit)
    told = f"{found.dub} pictures, {found.source} in the source, {found.different} different"
    return Gate(name="picture unchanged", passed=found.untouched, value=told, limit=limit)


def clock_gate(found: Clock | None, delay_s: float | None) -> Gate:
    """Sound and picture together: offset, drift, and the delay of the background where it can be heard."""
    limit = f"each within {TOGETHER_MS:.0f} ms"
    if found is None:
        return Gate(name="sound and picture together", passed=None, value="there is no picture", limit=limit)
    figures = [("offset", found.offset_ms), ("drift", found.drift_ms)]
    figures += [("delay", 1000 * delay_s)] if delay_s is not None else []
    told = ", ".join(f"{name} {value:+.0f} ms" for name, value in figures)
    passed = all(abs(value) <= TOGETHER_MS + 0.5 for _, value in figures)
    return Gate(name="sound and picture together", passed=passed, value=told, limit=limit)


def level_gates(scores: Sequence[Score], target_lufs: float, limit_dbtp: float, clipped: int) -> tuple[Gate, ...]:
    """True peak, loudness, clipping, from the L1 scores."""
    value = {s.id: s.value or 0.0 for s in scores}
    peak, off = value["L1.truepeak"], value["L1.error"]
    return (
        Gate(name="true peak", passed=peak <= limit_dbtp + READING_DB, value=f"{peak:.2f} dBTP", limit=f"{limit_dbtp:g} dBTP"),
        Gate(name="loudness", passed=off <= LOUDNESS_LU, value=f"{value['L1.integrated']:.1f} LUFS, {off:.2f} LU off",
             limit=f"{target_lufs:g} LUFS within {LOUDNESS_LU:g} LU"),
        Gate(name="no clipping", passed=clipped == 0, value=f"{clipped} samples in clipped waves", limit="none"),
    )  # fmt: skip


def subtitle_gate(faults: tuple[int, int] | None, why: str, readable: bool | None) -> Gate:
    """Cues out of order and overlapping ones; `readable` False: the file cannot be parsed, None: there is none to judge."""
    limit = "readable, in order, not overlapping"
    if faults is None:
        return Gate(name="subtitles", passed=readable, value=why, limit=limit)
    told = f"{faults[0]} out of order, {faults[1]} overlapping"
    return Gate(name="subtitles", passed=not any(faults), value=told, limit=limit)


def accounted_gate(lines: Sequence[ReportLine], segments: Sequence[Span], explained: frozenset[str]) -> Gate:
    """Every segment of the source lies in a line, and every line is heard, says nothing on purpose, or has a notice.

    A segment is accounted for where lines cover half of it; `explained` are ids of lines with a notice.
    """
    slots = bridged([Span(line.source_start, line.source_end) for line in lines], 0.0)
    lost = sum(sum(part.duration for part in inside(slots, s)) < 0.5 * s.duration for s in segments)
    silent = [x.id for x in lines if x.duration <= 0 and x.text.strip() and x.id not in explained]
    told = f"{len(segments)} segments, {lost} without a line; {len(lines)} lines, {len(silent)} silent without a reason"
    return Gate(
        name="nothing lost", passed=not lost and not silent, value=told, limit="every segment in a line, every line heard"
    )


def audible_gate(lines: Sequence[ReportLine], heard: Sequence[Span] | None) -> Gate:
    """Speech must be heard where lines are said to be spoken; None where nobody could listen."""
    limit = f"speech in {100 * AUDIBLE:.0f} % of the lines"
    said = [Span(x.start, x.start + x.duration) for x in lines if x.duration > 0]
    if heard is None or not lines:
        why = "no speech detector" if heard is None else "no script is known"
        return Gate(name="dub audible", passed=None, value=why, limit=limit)
    found = sum(bool(inside(heard, s)) for s in said)
    return Gate(name="dub audible", passed=bool(said) and found >= AUDIBLE * len(said), limit=limit,
                value=f"speech in {found} of {len(said)} lines")  # fmt: skip


def verdict(card: Card) -> str:
    """One sentence for people."""
    failed = [gate.name for gate in card.gates if gate.passed is False]
    points_told = "no points" if card.total is None else f"{card.total:.0f} of 100 points"
    there = sum(axis.value is not None for axis in card.axes)
    return f"{'FAIL: ' + ', '.join(failed) + '; ' if failed else 'PASS, '}{points_told} from {there} of {len(card.axes)} axes"
