"""Timing: where each line starts and how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from polydub.types import Line, Notice, Phrase, Placement, Span, Take, seconds
from polydub.wants import Timing
from polydub.work import Work, stage

FEW_NOTICES = 5  # told line by line; more become one sentence


@dataclass(frozen=True, slots=True)
class Spoken:
    """What fit needs to know of one line: its source span and how long it naturally takes.

    Attributes: at: where a person put it; it stays there. lasts: how long it then is, whatever its rate; None = as it fits.
    """

    id: str
    speaker: str
    start: float
    end: float
    natural_s: float
    at: float | None = None
    lasts: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What a person has fixed of a line that would otherwise be the machine's.

    Attributes: span: of the line when `phrases` were spoken in it, on the clock of that film; None = nothing is recorded.
    takes: by id of phrase, the one at the voice's own rate first. shaped, placed: as they are heard, and where; empty where
    only the recording is fixed. ends: the end of a line with a set time counts too, as far as the limits of the rate allow.
    """

    span: Span | None = None
    phrases: tuple[Phrase, ...] = ()
    takes: Mapping[str, tuple[Take, ...]] = field(default_factory=dict[str, "tuple[Take, ...]"])
    shaped: Mapping[str, Take] = field(default_factory=dict[str, Take])
    placed: tuple[Placement, ...] = ()
    ends: bool = False

    def within(self, line: Line) -> Held:
        """The same in a line that lies elsewhere, or is longer or shorter: moved along; phrases fill it as they did."""
        if self.span is None or (self.span.start, self.span.end) == (line.start, line.end):
            return self
        by_s = line.start - self.span.start
        factor = 1.0 if self.placed or not self.span.duration else (line.end - line.start) / self.span.duration

        def to(at: float) -> float:
            return seconds(line.start + (at - self.span.start) * factor) if self.span else at

        phrases = tuple(replace(p, start=to(p.start), end=to(p.end)) for p in self.phrases)
        placed = tuple(replace(p, start=seconds(p.start + by_s)) for p in self.placed)
        return replace(self, span=Span(line.start, line.end), phrases=phrases, placed=placed)


def spoken(phrases: Sequence[Line | Phrase], takes: Mapping[str, Take]) -> tuple[Spoken, ...]:
    """The phrases, or whole lines, that have a take, for fit."""
    return tuple(Spoken(x.id, x.speaker, x.start, x.end, takes[x.id].duration) for x in phrases if x.id in takes)


def pinned(spoken: Sequence[Spoken], lines: Sequence[Line], held: Mapping[str, Held], timing: Timing) -> tuple[Spoken, ...]:
    """`spoken`, of which those that a person has put somewhere stay there: all of a locked line, the begin of a set time.

    A set end is kept by speaking faster, up to the limit; never by speaking slower.
    """
    by_id = {x.id: x for x in lines}
    where = {p.id: p for one in held.values() for p in one.placed}
    made: list[Spoken] = []
    for x in spoken:
        line, place = by_id[x.id.partition(".")[0]], where.get(x.id)
        own = held.get(line.id)
        if place is not None:
            made.append(replace(x, at=place.start, lasts=place.duration))
        elif line.pinned and x.id in (line.id, f"{line.id}.1"):
            wished = max(min(x.natural_s, line.end - line.start), x.natural_s / timing.max_rate)
            ends = own is not None and own.ends and x.id == line.id
            made.append(replace(x, at=line.start, lasts=seconds(wished + 0.0004) if ends else None))
        else:
            made.append(x)
    return tuple(made)


@stage("fit", version=3)
def fit(
    work: Work, lines: tuple[Spoken, ...], film_s: float, timing: Timing, previous: tuple[Placement, ...] | None
) -> tuple[Placement, ...]:
    """Where each line starts and how long it lasts; `previous` placements keep lines far from a change where they were."""
    placed = _fitted(lines, film_s, timing, previous or ())
    for notice in _overflow(placed):
        work.notice(notice)
    return placed


@stage("draft-fit", version=2)
def draft_fit(work: Work, lines: tuple[Spoken, ...], film_s: float, timing: Timing) -> tuple[Placement, ...]:
    """As `fit`, of a film that may yet change: what cannot fit is not told."""
    return _fitted(lines, film_s, timing, ())


def _fitted(lines: Sequence[Spoken], film_s: float, timing: Timing, previous: Sequence[Placement]) -> tuple[Placement, ...]:
    from polydub.audio import fit as solver

    slots = [solver.Slot(x.id, x.speaker, x.start, x.end, x.natural_s, x.at, x.lasts) for x in lines]
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
