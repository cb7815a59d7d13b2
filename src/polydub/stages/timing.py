"""Timing: where each line starts and how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polydub.types import Line, Notice, Phrase, Placement, Take
from polydub.wants import Timing
from polydub.work import Work, stage

FEW_NOTICES = 5  # told line by line; more become one sentence


@dataclass(frozen=True, slots=True)
class Spoken:
    """What fit needs to know of one line: its source span and how long it naturally takes."""

    id: str
    speaker: str
    start: float
    end: float
    natural_s: float


def spoken(phrases: Sequence[Line | Phrase], takes: Mapping[str, Take]) -> tuple[Spoken, ...]:
    """The phrases, or whole lines, that have a take, for fit."""
    return tuple(Spoken(x.id, x.speaker, x.start, x.end, takes[x.id].duration) for x in phrases if x.id in takes)


@stage("fit", version=2)
def fit(
    work: Work, lines: tuple[Spoken, ...], film_s: float, timing: Timing, previous: tuple[Placement, ...] | None
) -> tuple[Placement, ...]:
    """Where each line starts and how long it lasts; `previous` placements keep lines far from a change where they were."""
    placed = _fitted(lines, film_s, timing, previous or ())
    for notice in _overflow(placed):
        work.notice(notice)
    return placed


@stage("draft-fit")
def draft_fit(work: Work, lines: tuple[Spoken, ...], film_s: float, timing: Timing) -> tuple[Placement, ...]:
    """As `fit`, of a film that may yet change: what cannot fit is not told."""
    return _fitted(lines, film_s, timing, ())


def _fitted(lines: Sequence[Spoken], film_s: float, timing: Timing, previous: Sequence[Placement]) -> tuple[Placement, ...]:
    from polydub.audio import fit as solver

    slots = [solver.Slot(x.id, x.speaker, x.start, x.end, x.natural_s) for x in lines]
    limits = solver.Limits(timing.min_rate, timing.max_rate, timing.early_s, timing.gap_s)
    before = {p.id: solver.Fitted(p.id, p.start, p.duration, p.rate, p.shift, p.overflow) for p in previous}
    by_id = {x.id: x for x in lines}
    return tuple(
        Placement(f.id, by_id[f.id].speaker, f.start, f.duration, f.rate, f.shift, f.overflow, by_id[f.id].natural_s)
        for f in solver.fit(slots, film_s, limits, before)
    )


def _overflow(placed: Sequence[Placement]) -> list[Notice]:
    """What could not be avoided: line by line, or in one sentence where there is much of it."""
    over: dict[str, float] = {}
    for p in placed:
        if p.overflow > 0:
            over[p.line] = over.get(p.line, 0.0) + p.overflow
    if len(over) > FEW_NOTICES:
        worst = max(over, key=lambda line: over[line])
        text = f"{len(over)} lines cannot fit: they run {sum(over.values()):.1f} s into what follows, line {worst} most"
        return [Notice("overflow", f"{text} ({over[worst]:.2f} s); shorter texts would help")]
    text = "line {} cannot fit: it runs {:.2f} s into what follows; a shorter text would help"
    return [Notice("overflow", text.format(line, talk), line=line) for line, talk in over.items()]
