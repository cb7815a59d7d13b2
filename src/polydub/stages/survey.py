"""What is heard in the source while nobody speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polydub.audio.roomtone import Quiet
from polydub.types import BLOCK, RATE_HZ, Artifact, Sound, Span, bridged, seconds
from polydub.work import Work, stage

APART_S = 0.3  # so far from speech nothing of it is heard any more
SHORTEST_S = 0.5  # shorter pauses are not worth a look


@dataclass(frozen=True, slots=True)
class Pauses:
    """A block of the source's sound, and where nobody speaks in it: seconds from its begin."""

    file: Artifact
    spans: tuple[Span, ...]


def pauses(sound: Sound, speech: Sequence[Span]) -> tuple[Pauses, ...]:
    """Each block in which there is a pause; `speech` is what was detected in the source (not lines, which people move)."""
    spoken = bridged([Span(max(0.0, s.start - APART_S), s.end + APART_S) for s in speech], SHORTEST_S)
    edges = [0.0, *(edge for span in spoken for edge in (span.start, span.end)), sound.duration]
    made: list[Pauses] = []
    for number, file in enumerate(sound.blocks):
        begin, end = number * BLOCK / RATE_HZ, min((number + 1) * BLOCK, sound.frames) / RATE_HZ
        cut = [(max(low, begin), min(high, end)) for low, high in zip(edges[::2], edges[1::2], strict=True)]
        inside = tuple(Span(seconds(a - begin), seconds(b - begin)) for a, b in cut if b - a >= SHORTEST_S)
        if inside:
            made.append(Pauses(file, inside))
    return tuple(made)


@stage("survey")
def survey(work: Work, block: Pauses) -> Quiet:
    """Level and spectrum of the quiet part of a block's pauses."""
    from polydub.audio import roomtone
    from polydub.media.flac import read_flac

    return roomtone.quiet(read_flac(work.path(block.file), 0, BLOCK), block.spans)
