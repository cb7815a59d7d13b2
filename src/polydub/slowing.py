"""A film whose picture is slowed down where the speech cannot fit: from then on the slower copy is the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from polydub import listening
from polydub.audio.timemap import TimeMap
from polydub.engines.base import Usage
from polydub.listening import Listened
from polydub.overlay import Laid
from polydub.runner import Run
from polydub.speaking import Said
from polydub.stages import listen, retiming, timing
from polydub.stages.acting import Acted
from polydub.stages.translate import Given
from polydub.types import Line, Notice, Script, Source, Span, Track, seconds
from polydub.wants import Wanted


@dataclass(frozen=True)
class Footage:
    """What is to be dubbed: the film, its audio track, what was heard in it, the lines at their times.

    Attributes: clock: by which it runs slower than the film that was given; without points it does not. usage: what a
    service took for the translation. laid: what a person has set; its `lines` have the times of the film that was given.
    acted: why lines are said as they are, by id.
    """

    source: Source
    track: Track
    listened: Listened
    lines: tuple[Line, ...]
    clock: TimeMap = field(default_factory=TimeMap)
    usage: Usage = field(default_factory=Usage)
    laid: Laid | None = None
    acted: Mapping[str, Acted] = field(default_factory=dict[str, Acted])

    @property
    def as_heard(self) -> tuple[Listened, tuple[Line, ...]]:
        """What was heard and its lines, without corrections: these change what is said, and not where there is speech."""
        given = self.laid.heard if self.laid else self.listened.given
        said = (s for s in given.script.segments if s.kind == "speech")
        return replace(self.listened, given=given), tuple(Line(s.start, s.end, s.id, s.speaker) for s in said)

    @property
    def sources(self) -> tuple[Line, ...]:
        """The lines at the times at which the source says them, wherever a person wants them in the dub."""
        return self.laid.sources if self.laid else self.lines


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
    lines = retiming.on_clock(film.lines, clock)
    laid = film.laid and replace(
        film.laid, sources=retiming.on_clock(film.laid.sources, clock), heard=_given(film.laid.heard, clock)
    )
    return replace(film, source=source, track=track, listened=listened, lines=lines, clock=clock, laid=laid)


def _heard_again(run: Run, before: Listened, heard: listen.Heard, clock: TimeMap, want: Wanted) -> Listened:
    """What was heard, by the new clock; speech is detected and the sound separated anew, since both go by samples."""
    given = _given(before.given, clock)
    turns = tuple(replace(t, start=seconds(clock.to(t.start)), end=seconds(clock.to(t.end))) for t in before.turns)
    if before.ear is None:
        return Listened(heard, given, None, turns)
    ear = listening.detect(run, heard)
    return Listened(heard, given, ear, turns, listening.start_separation(run, ear) if want.listening.separate else None)


def _given(given: Given, clock: TimeMap) -> Given:
    def moved(span: Span) -> tuple[float, float]:
        return seconds(clock.to(span.start)), seconds(clock.to(span.end))

    return replace(given, script=_moved(given.script, moved))


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
