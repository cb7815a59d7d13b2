"""A film whose picture is slowed down where the speech cannot fit: from then on the slower copy is the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from polydub import listening
from polydub.audio.timemap import TimeMap
from polydub.engines.base import Usage
from polydub.listening import Listened
from polydub.runner import Run
from polydub.speaking import Said
from polydub.stages import listen, retiming, timing
from polydub.types import Line, Notice, Script, Source, Span, Track, seconds
from polydub.wants import Wanted


@dataclass(frozen=True)
class Footage:
    """What is to be dubbed: the film, its audio track, what was heard in it, the lines at their times.

    Attributes: clock: by which it runs slower than the film that was given; without points it does not. usage: what a
    service took for the translation.
    """

    source: Source
    track: Track
    listened: Listened
    lines: tuple[Line, ...]
    clock: TimeMap = field(default_factory=TimeMap)
    usage: Usage = field(default_factory=Usage)


def slowed(run: Run, film: Footage, said: Said, want: Wanted) -> Footage:
    """`film` with as much more time as what is `said` in it needs; the same film when it fits, or may not be slowed down."""
    room = retiming.Room(film.source.duration, want.picture.max_slowdown)
    spoken = timing.spoken(said.phrases, said.natural)
    clock = run.step(retiming.slow_down, spoken, room, want.timing, run.previous("clock"))
    if not clock.points:
        return film
    text = f"the picture is slowed down by up to {clock.slowest:.2f} in places; the film becomes {clock.added_s:.1f} s longer"
    run.note(Notice("picture-slowed", text, "info"))
    tracks = film.source.of("audio")
    sounds = tuple(run.step(listen.extract, film.source, track).sound for track in tracks)
    source = run.step(listen.probe, run.step(retiming.retime, film.source, sounds, clock))
    track = source.of("audio")[tracks.index(film.track)]
    extracted = run.start(listen.extract, source, track)
    listened = _heard_again(run, film.listened, extracted.result(), clock, want)
    return Footage(source, track, listened, retiming.on_clock(film.lines, clock), clock, film.usage)


def _heard_again(run: Run, before: Listened, heard: listen.Heard, clock: TimeMap, want: Wanted) -> Listened:
    """What was heard, by the new clock; speech is detected and the sound separated anew, since both go by samples."""

    def moved(span: Span) -> tuple[float, float]:
        return seconds(clock.to(span.start)), seconds(clock.to(span.end))

    given = replace(before.given, script=_moved(before.given.script, moved))
    turns = tuple(replace(turn, start=moved(turn)[0], end=moved(turn)[1]) for turn in before.turns)
    if before.ear is None:
        return Listened(heard, given, None, turns)
    ear = listening.detect(run, heard)
    return Listened(heard, given, ear, turns, listening.start_separation(run, ear) if want.listening.separate else None)


def _moved(script: Script, moved: Callable[[Span], tuple[float, float]]) -> Script:
    segments = tuple(
        replace(
            s,
            start=moved(s)[0],
            end=moved(s)[1],
            words=tuple(replace(w, start=moved(w)[0], end=moved(w)[1]) for w in s.words),
        )
        for s in script.segments
    )
    return replace(script, segments=segments)
