"""A film whose picture is slowed down where the speech cannot fit: its clock, and a copy of the source that runs by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polydub.audio.timemap import TimeMap
from polydub.stages.timing import Spoken
from polydub.types import BLOCK, RATE_HZ, Artifact, Line, Samples, Sound, Source, seconds
from polydub.wants import Timing
from polydub.work import Work, stage

KBIT_PER_CHANNEL = 160  # of the copy's sound: it is decoded and encoded once more


@dataclass(frozen=True, slots=True)
class Room:
    """A film of that many seconds, and the largest factor by which it may be slowed down."""

    film_s: float
    most: float


@stage("slow-down")
def slow_down(work: Work, lines: tuple[Spoken, ...], room: Room, timing: Timing, previous: TimeMap | None) -> TimeMap:
    """The clock by which all lines fit; the previous one as long as it serves."""
    from polydub.audio import fit, slowdown

    slots = [fit.Slot(x.id, x.speaker, x.start, x.end, x.natural_s) for x in lines]
    limits = fit.Limits(timing.min_rate, timing.max_rate, timing.early_s, timing.gap_s)
    if previous is not None and previous.slowest <= room.most + 1e-3:
        by_it = [fit.Slot(s.id, s.speaker, previous.to(s.start), previous.to(s.end), s.natural_s) for s in slots]
        if not slowdown.slow_down(by_it, previous.to(room.film_s), limits, slowdown.Slowing(2.0)).points:
            return previous
    return slowdown.slow_down(slots, room.film_s, limits, slowdown.Slowing(room.most))


def on_clock(lines: Sequence[Line], clock: TimeMap) -> tuple[Line, ...]:
    """The lines at the times they have by that clock."""
    return tuple(replace(x, start=seconds(clock.to(x.start)), end=seconds(clock.to(x.end))) for x in lines)


@stage("retime")
def retime(work: Work, source: Source, sounds: tuple[Sound, ...], clock: TimeMap) -> Artifact:
    """A copy of the film that runs by `clock`: the picture's packets with new times, the sound stretched at its pitch.

    `sounds` are those of the source's audio tracks, in order; the copy has them as AAC.
    """
    from polydub.media import retime as retiming
    from polydub.media.program import safe_link

    link = safe_link(work.path(source.media), work.scratch)
    files = dict[int, Path]()
    for number, (track, sound) in enumerate(zip(source.of("audio"), sounds, strict=True)):
        files[track.index] = work.scratch / f"{number}.mka"
        how = retiming.Coding(sound.channels, sound.layout, KBIT_PER_CHANNEL)
        retiming.encode_sound(_stretched(work, sound, clock), how, files[track.index])
        work.progress((number + 1) / (len(sounds) + 1))
    film = work.scratch / "film.mkv"
    retiming.retime(retiming.Retiming(link, source, clock.to, files), film)
    return work.keep(film)


def _stretched(work: Work, sound: Sound, clock: TimeMap) -> Iterator[Samples]:
    """The whole sound by the new clock, part by part; parts meet at the same sample of the source."""
    from polydub.audio.stretch import stretch

    written = 0
    for (start, end), (_, until) in clock.stretches(sound.frames / RATE_HZ):
        first, last = round(start * RATE_HZ), min(round(end * RATE_HZ), sound.frames)
        wanted = round(until * RATE_HZ) - written
        if wanted == last - first:
            yield from _pieces(work, sound, first, last)
        else:
            yield stretch(_joined(_pieces(work, sound, first, last), sound.channels), wanted)
        written += wanted


def _pieces(work: Work, sound: Sound, first: int, last: int) -> Iterator[Samples]:
    """Samples `first` to `last` of a sound, no more than a block at once."""
    from polydub.media.flac import read_flac

    at = first
    while at < last:
        number, inside = divmod(at, BLOCK)
        piece = read_flac(work.path(sound.blocks[number]), inside, min(BLOCK - inside, last - at))
        yield piece
        at += piece.shape[1]


def _joined(pieces: Iterator[Samples], channels: int) -> Samples:
    import numpy as np

    return np.concatenate([np.zeros((channels, 0), np.float32), *pieces], axis=1)
