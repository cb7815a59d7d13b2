"""The files a user gets: subtitles, stems, the dubbed film. Big files go straight to their place in the project folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from polydub import languages
from polydub.types import BLOCK, Artifact, Cue, Placement, Segment, Source, Span, Track, Word, seconds
from polydub.work import Work, stage

if TYPE_CHECKING:
    from polydub.media.ffmpeg import SubTrack


@dataclass(frozen=True, slots=True)
class Said:
    """One thing said, for subtitles: when it is heard, by whom, its text, and when its words are heard where that is known."""

    start: float
    end: float
    speaker: str
    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class SubtitleFile:
    """One subtitle file. `role` is source or target, `format` srt, vtt or ass."""

    role: str
    language: str
    format: str
    file: Artifact


def said_in_source(segments: Sequence[Segment]) -> tuple[Said, ...]:
    """The source's own text at its own times."""
    return tuple(Said(s.start, s.end, s.speaker, s.text, s.words) for s in segments if s.text)


def said_in_dub(placed: Sequence[Placement], texts: dict[str, str]) -> tuple[Said, ...]:
    """The target text at the times at which it is spoken in the dub."""
    ordered = sorted(placed, key=lambda p: p.start)
    return tuple(Said(p.start, seconds(p.start + p.duration), p.speaker, texts[p.id]) for p in ordered if texts[p.id])


@dataclass(frozen=True, slots=True)
class Captions:
    """What a set of subtitles is for. `fps`: frames per second of the picture, 0 without one."""

    role: str
    language: str
    fps: float


@stage("subtitle", version=2)
def subtitle(work: Work, said: tuple[Said, ...], what: Captions, formats: tuple[str, ...]) -> tuple[SubtitleFile, ...]:
    """Cues by the timed-text rules, as SRT (always, for the container) and in the wanted formats."""
    closed = cues_of(said, what.fps)
    made: list[SubtitleFile] = []
    for form in dict.fromkeys(("srt", *formats)):
        text = write_cues(closed, form)
        file = work.scratch / f"cues.{form}"
        file.write_text(text, encoding="utf-8", newline="\n")
        made.append(SubtitleFile(what.role, what.language, form, work.keep(file)))
    return tuple(made)


def cues_of(said: Sequence[Said], fps: float) -> tuple[Cue, ...]:
    """What is said as cues by the timed-text rules; speakers are named where there are several."""
    from polydub.text import cues as rules

    cues: list[Cue] = []
    many = len({s.speaker for s in said}) > 1
    for s in said:
        cut = rules.split_into_cues(s.text, Span(s.start, s.end), speaker=s.speaker if many else "")
        cues.extend(rules.timed(cut, s.words))
    return rules.close_gaps(cues, fps or 25.0)


def write_cues(cues: Sequence[Cue], form: str) -> str:
    """Cues as the text of a subtitle file: srt, vtt or ass."""
    from polydub.text import cues as rules

    if form == "ass":
        return rules.write_ass(cues, "polydub")
    return rules.write_vtt(cues) if form == "vtt" else rules.write_srt(cues)


@dataclass(frozen=True, slots=True)
class Parts:
    """The two parts of one block of the source's sound; they sum to it."""

    dialogue: Artifact
    background: Artifact


@stage("part")
def part(work: Work, block: tuple[Artifact, Artifact | None]) -> Parts:
    """Dialogue and background of a block of the sound, of which the dialogue is known (None = it has none)."""
    import numpy as np

    from polydub.media.flac import read_flac, write_flac

    sound, dialogue = block
    if dialogue is not None:
        whole = read_flac(work.path(sound), 0, BLOCK)
        file = work.scratch / "background.flac"
        write_flac(file, whole - read_flac(work.path(dialogue), 0, BLOCK))
        return Parts(dialogue, work.keep(file))
    file = work.scratch / "silence.flac"
    write_flac(file, np.zeros_like(read_flac(work.path(sound), 0, BLOCK)))
    return Parts(work.keep(file), sound)


@stage("silence")
def silence(work: Work, channels: int, frames: int) -> Artifact:
    """A block without sound."""
    import numpy as np

    from polydub.media.flac import write_flac

    file = work.scratch / "silence.flac"
    write_flac(file, np.zeros((channels, frames), np.float32))
    return work.keep(file)


@stage("stem")
def stem(work: Work, parts: tuple[Artifact, ...]) -> str:
    """One full-length FLAC from its blocks."""
    from polydub.media.flac import join_flac

    join_flac([work.path(part) for part in parts], work.scratch / "stem.flac")
    return "stem.flac"


@dataclass(frozen=True, slots=True)
class Film:
    """What is muxed around a dub: the source, its dubbed audio track, the dub's language, the container.

    Attributes: spoken: language of the dubbed track, "und" when nobody told; labels it where the source does not.
    """

    source: Source
    track: Track
    language: str
    container: Literal["mkv", "mp4"]
    spoken: str = "und"


@stage("mux")
def mux(work: Work, film: Film, speech: tuple[Artifact, ...], subs: tuple[SubtitleFile, ...]) -> str:
    """The film with the dub as default sound, the original sound kept, soft subtitles, the picture copied."""
    from polydub.media import ffmpeg

    joined = work.scratch / "dub.aac"
    with joined.open("wb") as out:
        for part in speech:
            with work.path(part).open("rb") as block:
                shutil.copyfileobj(block, out, 1 << 20)
    title = f"{languages.title(film.language)} dub"
    dub = ffmpeg.DubTrack(joined, film.language, languages.iso639_2(film.language), title)
    tracks = tuple(_track(work, sub) for sub in subs)
    link = ffmpeg.safe_link(work.path(film.source.media), work.scratch)
    code = languages.iso639_2(film.spoken) if languages.or_und(film.track.language) == "und" else ""
    title = f"{languages.title(film.spoken)} original" if film.spoken != "und" and not film.track.title else ""
    plan = ffmpeg.MuxPlan(link, film.source, film.container, (dub,), tracks, film.track, code, title)
    name = f"film.{film.container}"
    for notice in ffmpeg.mux(plan, work.scratch / name, work.progress):
        work.notice(notice)
    return name


def _track(work: Work, sub: SubtitleFile) -> SubTrack:
    from polydub.media import ffmpeg

    return ffmpeg.SubTrack(work.path(sub.file), sub.language, languages.iso639_2(sub.language), languages.title(sub.language))
