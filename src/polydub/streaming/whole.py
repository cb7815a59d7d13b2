"""The whole film that a stream leaves: its own picture and tracks, and the dub as one stream of sound."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from polydub import captioning
from polydub.listening import Listened
from polydub.runner import Handle
from polydub.slowing import Footage
from polydub.speaking import Said
from polydub.stages import deliver, listen, streamed
from polydub.streaming.pieces import Piece
from polydub.streaming.segments import Reel
from polydub.streaming.work import Performance, Task
from polydub.types import Artifact, Line, Phrase, Placement, Segment, seconds


@dataclass
class Whole:
    """What is remembered of all pieces, on the film's clock: texts and times, and the names of the sound's files."""

    language: str = "und"
    aac: list[Artifact] = field(default_factory=list[Artifact])
    lines: list[Line] = field(default_factory=list[Line])
    segments: list[Segment] = field(default_factory=list[Segment])
    phrases: list[Phrase] = field(default_factory=list[Phrase])
    placed: list[Placement] = field(default_factory=list[Placement])

    def add(self, piece: Piece, said: Performance, aac: tuple[Artifact, ...], language: str) -> None:
        """One more piece."""
        by, self.language = piece.at, language
        self.aac += aac
        self.lines += [replace(x, start=seconds(x.start + by), end=seconds(x.end + by)) for x in said.film.lines]
        self.phrases += [replace(x, start=seconds(x.start + by), end=seconds(x.end + by)) for x in said.said.phrases]
        self.placed += [replace(p, start=seconds(p.start + by)) for p in said.said.placed]
        own = said.film.listened.given.script.segments
        self.segments += [replace(s, start=seconds(s.start + by), end=seconds(s.end + by), words=()) for s in own]


def start_film(task: Task, last: Footage, whole: Whole, reel: Reel, media: Path | None) -> Handle[Path]:
    """`stream.final` in the stream's folder; `media` None = the source came through a pipe and is gone."""
    container = task.want.delivery.container
    target = reel.folder / f"stream.final.{container}"
    if media is None:
        files = tuple(task.run.adopt(reel.folder / s.file) for s in reel.manifest.segments)
        return task.run.deliver(streamed.whole, target, task.run.adopt(reel.folder / "init.mp4"), files, container)
    run, want = task.run, task.want
    source = run.step(listen.probe, run.adopt(media))
    track = listen.audio_track(source, want.audio_track)
    given = last.listened.given
    script = replace(given.script, segments=tuple(whole.segments), language=whole.language)
    film = Footage(source, track, Listened(last.listened.heard, replace(given, script=script)), tuple(whole.lines))
    said = Said(tuple(whole.phrases), {}, {}, {}, tuple(whole.placed), {}, {})
    want = replace(want, delivery=replace(want.delivery, subs_formats=("srt",)))
    subtitles = captioning.start_captions(run, film, said, want).subtitles() if whole.placed else ()
    dub = deliver.Voiceover(want.target, tuple(whole.aac))
    return run.deliver(deliver.mux, target, deliver.Film(source, track, (dub,), container, script.language), subtitles)
