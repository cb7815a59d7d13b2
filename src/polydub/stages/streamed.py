"""Stages that only a stream has: where a piece may end, and the media segments that a browser plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from polydub.engines.base import SpeechDetector
from polydub.types import HEAR_HZ, VAD_FRAME, Artifact, Audio, Span, seconds
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    from polydub.media.fragments import Fragment

HALF_S = 0.15  # of silence on either side makes a pause
GOOD = 0.35  # probability of speech below which a pause is one
FAR = 0.2  # what the whole distance to the wished place costs, against a probability
INSIDE = 2.0  # what a place inside a known line costs
_EDGE_S = 0.02


@dataclass(frozen=True, slots=True)
class Wish:
    """Where a piece shall end, in seconds of its sound: not before `least`, about at `ideal`, not after `most`.

    Attributes: lines: what is known to be said there. level: highest absolute sample, to which speech is judged.
    """

    least: float
    ideal: float
    most: float
    lines: tuple[Span, ...] = ()
    level: float = 1.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Where a piece ends. `good`: nobody speaks there."""

    at: float
    good: bool


@engine_stage("find-pause", "vad")
def find_pause(work: Work, vad: SpeechDetector, sound: Artifact, wish: Wish) -> Pause:
    """The best place to end a piece at; `sound` is mono at HEAR_HZ, from the begin of the piece on."""
    import numpy as np

    from polydub.media.flac import read_flac

    samples = read_flac(work.path(sound), 0, round((wish.most + 60) * HEAR_HZ))
    louder = np.float32(0.9 / max(wish.level, 1e-4))
    found = vad.probabilities(Audio(np.clip(samples * louder, -1, 1), HEAR_HZ))
    return best_pause([float(p) for p in found], wish)


def best_pause(probabilities: Sequence[float], wish: Wish) -> Pause:
    """The same from the probability of speech in each VAD_FRAME."""
    step = VAD_FRAME / HEAR_HZ
    reach = max(1, round(HALF_S / step))
    best: tuple[float, float, bool] | None = None
    for n in range(len(probabilities)):
        at = (n + 0.5) * step
        if not wish.least <= at <= wish.most:
            continue
        speech = max(probabilities[max(0, n - reach) : n + reach + 1])
        known = any(line.start + _EDGE_S < at < line.end - _EDGE_S for line in wish.lines)
        quiet = min(probabilities[max(0, n - 1) : n + 2])  # where somebody speaks all the time, the least likely place
        cost = speech + 0.2 * quiet + INSIDE * known + FAR * abs(at - wish.ideal) / max(wish.ideal, step)
        if best is None or cost < best[0]:
            best = (cost, at, speech < GOOD and not known)
    if best is None:
        return Pause(seconds(wish.most), good=False)
    return Pause(seconds(best[1]), best[2])


@dataclass(frozen=True, slots=True)
class Shown:
    """A part of the picture: its file, and when it is shown, seconds of the film."""

    file: Artifact
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Shot:
    """What a media segment is made of: parts of the picture, and the sound from AAC frame `first` of the film on (ADTS).

    Attributes: start: of the segment, seconds of the film. delay: of the init segment that it is played with; None = its own.
    """

    start: float
    parts: tuple[Shown, ...]
    sound: Artifact
    first: int
    delay: int | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """An init segment. `format`: the same for all media segments that it does for; `delay`: ticks, see `media.fragments`."""

    init: Artifact
    format: str
    delay: int


@stage("stream-init")
def init_segment(work: Work, shot: Shot) -> Opening:
    """What a player must know before it gets a media segment."""
    made = _fragment(work, shot)
    file = work.scratch / "init.mp4"
    file.write_bytes(made.init)
    return Opening(work.keep(file), made.format, made.delay)


@stage("stream-media")
def media_segment(work: Work, shot: Shot) -> str:
    """A media segment of HLS on the film's clock."""
    made = _fragment(work, shot)
    (work.scratch / "segment.m4s").write_bytes(made.media if shot.delay is None else made.after(shot.delay))
    return "segment.m4s"


@stage("stream-chunk", version=2)
def chunk(work: Work, shot: Shot) -> str:
    """The same as a film of its own, which begins at 0."""
    from polydub.media import fragments

    made = _fragment(work, shot)
    fragments.stand_alone(made.init + fragments.moved(made.media, made.init, shot.start), work.scratch / "chunk.mp4")
    return "chunk.mp4"


_newest: dict[Shot, Fragment] = {}  # the three stages of a shot follow each other, and all are made of its fragment


def _fragment(work: Work, shot: Shot) -> Fragment:
    from polydub.media import fragments
    from polydub.media.intake import PicturePart

    bare = replace(shot, delay=None)
    made = _newest.get(bare)
    if made is None:
        parts = tuple(PicturePart(work.path(p.file), p.start, p.end) for p in shot.parts)
        made = fragments.fragment(fragments.Cut(parts, work.path(shot.sound).read_bytes(), shot.first), work.scratch)
        _newest.clear()
        _newest[bare] = made
    return made


@stage("stream-whole")
def whole(work: Work, init: Artifact, segments: tuple[Artifact, ...], form: Literal["mkv", "mp4"]) -> str:
    """One film from all media segments, for a source that came through a pipe and is gone."""
    import shutil

    from polydub.media import ffmpeg

    file = work.scratch / "all.mp4"
    with file.open("wb") as out:
        for part in (init, *segments):
            with work.path(part).open("rb") as one:
                shutil.copyfileobj(one, out, 1 << 20)
    bits = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    kind = ["-movflags", "+faststart", "-f", "mp4"] if form == "mp4" else ["-f", "matroska"]
    name = f"film.{form}"
    ffmpeg.run(
        [*ffmpeg.SAFE_INPUT, "-i", f"file:{file}", "-map", "0", "-c", "copy", *bits, *kind, f"file:{work.scratch / name}"],
        stage="mux",
    )
    return name
