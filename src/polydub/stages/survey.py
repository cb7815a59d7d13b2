"""What is heard in the source while nobody speaks, and what is left of the dialogue where it was taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polydub.audio.roomtone import LocalTone, Quiet
from polydub.spans import bridged
from polydub.types import BLOCK, RATE_HZ, Artifact, Samples, Sound, Span, seconds
from polydub.work import Work, stage

APART_S = 0.3  # so far from speech nothing of it is heard any more
SHORTEST_S = 0.5  # shorter pauses are not worth a look
SILENT_DB = -120.0  # nothing at all


@dataclass(frozen=True, slots=True)
class Pauses:
    """A block of the source's sound, where nobody speaks in it (seconds from its begin), and the film second of that."""

    file: Artifact
    spans: tuple[Span, ...]
    begin: float = 0.0
    layout: str = ""


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
            made.append(Pauses(file, inside, seconds(begin), sound.layout))
    return tuple(made)


@stage("survey", version=2)
def survey(work: Work, block: Pauses) -> Quiet:
    """Level and spectrum of the quiet part of a block's pauses, in the channels that carry dialogue."""
    from polydub.audio import roomtone

    return roomtone.quiet(_speaking(work, block.file, (0, BLOCK), block.layout), block.spans, block.begin)


def tones(surveyed: Sequence[Quiet]) -> tuple[LocalTone, ...]:
    """The room tones of all pauses, in order of time."""
    return tuple(sorted((tone for quiet in surveyed for tone in quiet.tones), key=lambda tone: tone.time))


@dataclass(frozen=True, slots=True)
class Taken:
    """A block of the source's sound, and the dialogue that was separated from it; None where there is none."""

    file: Artifact
    dialogue: Artifact | None
    layout: str = ""


def taken(sound: Sound, dialogue: Sequence[Artifact | None]) -> tuple[Taken, ...]:
    """One for each block of `sound`, in order."""
    return tuple(Taken(file, voice, sound.layout) for file, voice in zip(sound.blocks, dialogue, strict=True))


@stage("residue")
def residue(work: Work, block: Taken) -> float:
    """How loud what is left of the dialogue is in the rest of the block, in dB beside the dialogue; see `residue.left_over`."""
    from polydub.audio.residue import left_over

    if block.dialogue is None:
        return SILENT_DB
    sound, dialogue = (_parts(work, file, block.layout) for file in (block.file, block.dialogue))
    return left_over((whole - voice, voice) for whole, voice in zip(sound, dialogue, strict=True))


@stage("room-decay")
def room_decay(work: Work, block: Taken) -> float:
    """Seconds in which the block's separated dialogue decays by 60 dB; 0.0 when not known. See `perspective.decay`."""
    from polydub.audio.perspective import decay

    if block.dialogue is None:
        return 0.0
    return decay(_speaking(work, block.dialogue, (0, BLOCK), block.layout))


def _parts(work: Work, file: Artifact, layout: str) -> Iterator[Samples]:
    """A block's channels that carry dialogue, ten seconds at a time."""
    for start in range(0, BLOCK, 10 * RATE_HZ):
        samples = _speaking(work, file, (start, 10 * RATE_HZ), layout)
        if samples.shape[1]:
            yield samples


def _speaking(work: Work, file: Artifact, part: tuple[int, int], layout: str) -> Samples:
    """`part[1]` samples of a block from sample part[0] on, of the channels that carry dialogue."""
    from polydub.audio.layouts import dialogue_gains
    from polydub.media.flac import read_flac

    samples = read_flac(work.path(file), *part)
    return samples[dialogue_gains(layout, samples.shape[0]) > 0]
