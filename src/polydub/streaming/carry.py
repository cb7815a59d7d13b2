"""What one piece of a film tells the next: who speaks and how they sound, what was said last, where it was put, how loud."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from polydub.text.words import blanks
from polydub.types import Line, Placement, Segment, Span, Take, Voice, Word, seconds

LITTLE_S = 2.0  # of speech: too little to tell a new voice by
TRUSTED_S = 60.0  # of a speaker; more changes nothing about what is known of them
RESCUED_S = 0.3  # before a piece, in which words that the piece before did not hear still count
SAID = 3  # lines that the translator is told of again


@dataclass(frozen=True)
class Known:
    """A speaker of the pieces so far: a voiceprint of unit length, from so many seconds."""

    print: tuple[float, ...]
    heard_s: float


@dataclass(frozen=True)
class Held:
    """What was placed in pieces before and is still heard in this one, seconds of the film."""

    line: Line
    placed: Placement
    take: Take


@dataclass(frozen=True)
class Heard:
    """What listening hands on. `language`: "und" until it was told. `until`: end of the last word, seconds of the film."""

    language: str = "und"
    speakers: Mapping[str, Known] = field(default_factory=dict[str, Known])
    until: float = 0.0
    lines: int = 0
    said: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Spoken:
    """What speaking hands on: the voices so far, by speaker, and what runs over the end of the piece."""

    voices: Mapping[str, Voice] = field(default_factory=dict[str, Voice])
    held: tuple[Held, ...] = ()


def recognised(
    known: Mapping[str, Known], prints: Mapping[str, Sequence[float]], heard_s: Mapping[str, float], same: float, most: int = 0
) -> tuple[dict[str, str], dict[str, Known]]:
    """Who the speakers of a piece are: their names in it -> names in the film, and who is known now.

    A voice nearer than `same` (cosine distance) to somebody is them; another one is new, unless it said next to nothing or
    there are `most` speakers already: then it is the nearest. Those who spoke longest are told first. Names once given stay.
    """
    names: dict[str, str] = {}
    found = dict(known)
    for local in sorted(prints, key=lambda name: (-heard_s.get(name, 0.0), name)):
        print_, length = tuple(prints[local]), heard_s.get(local, 0.0)
        near = min(found, key=lambda name: distance(found[name].print, print_), default=None)
        forced = length < LITTLE_S or (most and len(found) >= most)
        if near is not None and (forced or distance(found[near].print, print_) <= same):
            names[local] = near
            if distance(found[near].print, print_) <= same:
                found[near] = _merged(found[near], Known(print_, length))
        else:
            names[local] = f"SPEAKER_{len(found):02d}"
            found[names[local]] = Known(print_, length)
    return names, found


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine distance; 1.0 where the voiceprints are of different encoders."""
    if len(a) != len(b):
        return 1.0
    size = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return 1.0 - sum(x * y for x, y in zip(a, b, strict=True)) / size if size else 1.0


def _merged(old: Known, new: Known) -> Known:
    weight = min(old.heard_s, TRUSTED_S)
    mean = [weight * a + new.heard_s * b for a, b in zip(old.print, new.print, strict=True)]
    size = math.sqrt(sum(x * x for x in mean)) or 1.0
    return Known(tuple(round(x / size, 4) for x in mean), seconds(old.heard_s + new.heard_s))


def own_words(segments: Sequence[Segment], piece: Span, until: float) -> tuple[Segment, ...]:
    """What of `segments` belongs to a piece: words whose middle lies in it; each word of a film is in one piece only.

    `until`: end of the last word of the piece before, which may lie in this one. Words shortly before the piece count if
    they come after that one: recognition of the piece before missed them, since they lay at its edge.
    """
    since = max(until, piece.start - RESCUED_S) if until < piece.start else until
    made: list[Segment] = []
    for segment in segments:
        if not segment.words:
            middle = (segment.start + segment.end) / 2
            if max(piece.start, until) <= middle < piece.end:
                made.append(segment)
            continue
        kept = [n for n, word in enumerate(segment.words) if since <= _middle(word) < piece.end]
        if kept:
            made.append(segment if len(kept) == len(segment.words) else _part(segment, kept))
    return tuple(made)


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _part(segment: Segment, kept: Sequence[int]) -> Segment:
    """The segment with some of its words only."""
    spaced = blanks(segment)
    words = tuple(segment.words[n] for n in kept)
    text = "".join(" " * (spaced[n] and n != kept[0]) + segment.words[n].text for n in kept)
    return replace(segment, start=words[0].start, end=words[-1].end, text=text.strip(), words=words)


def moved(line: Line, by_s: float) -> Line:
    """The line at another clock."""
    return replace(line, start=seconds(line.start + by_s), end=seconds(line.end + by_s))


def shifted(held: Held, by_s: float) -> Held:
    """What is held, at another clock."""
    placed = replace(held.placed, start=seconds(held.placed.start + by_s))
    return Held(moved(held.line, by_s), placed, held.take)


def after(lines: Sequence[Line], barrier: float) -> tuple[Line, ...]:
    """The lines, none of which begins before `barrier`, where something is heard that has been played already."""
    return tuple(
        line if line.start >= barrier else replace(line, start=barrier, end=max(line.end, seconds(barrier + 0.1)))
        for line in lines
    )
