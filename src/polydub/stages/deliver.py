"""The files a user gets: subtitles, stems, the dubbed film. Big files go straight to their place in the project folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from polydub import languages
from polydub.stages.subtitling import SubtitleFile
from polydub.types import BLOCK, Artifact, Source, Track
from polydub.work import Work, stage

if TYPE_CHECKING:
    from polydub.media.ffmpeg import DubTrack, Original, SubTrack


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


@stage("stem", version=2)
def stem(work: Work, parts: tuple[Artifact, ...]) -> str:
    """One full-length FLAC from its blocks."""
    from polydub.media.splice import join_flac

    join_flac([work.path(part) for part in parts], work.scratch / "stem.flac")
    return "stem.flac"


@dataclass(frozen=True, slots=True)
class Voiceover:
    """One dub as it is muxed: its language, and its sound as consecutive blocks of ADTS packets."""

    language: str
    packets: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Film:
    """What becomes one file.

    Attributes: track: the dubbed audio track of the source; None: it has no sound. dubs: in order; a player starts with the
    first. spoken: language of that track, "und" when nobody told; labels it where the source does not. picture: a file whose
    only video, on the film's clock, replaces the source's first one.
    """

    source: Source
    track: Track | None
    dubs: tuple[Voiceover, ...]
    container: Literal["mkv", "mp4"]
    spoken: str = "und"
    picture: Artifact | None = None


@stage("mux", version=3)
def mux(work: Work, film: Film, subs: tuple[SubtitleFile, ...]) -> str:
    """The film with its dubs, the first as default sound; the original sound kept, soft subtitles (SRT), the picture copied."""
    from polydub.media import ffmpeg

    dubs = tuple(_dub(work, film, number) for number in range(len(film.dubs)))
    tracks = tuple(_track(work, film, sub) for sub in subs)
    link = ffmpeg.safe_link(work.path(film.source.media), work.scratch)
    picture = ffmpeg.safe_link(work.path(film.picture), work.scratch) if film.picture else None
    plan = ffmpeg.MuxPlan(link, film.source, film.container, dubs, tracks, _original(film), picture)
    name = f"film.{film.container}"
    for notice in ffmpeg.mux(plan, work.scratch / name, work.progress):
        work.notice(notice)
    return name


def _dub(work: Work, film: Film, number: int) -> DubTrack:
    from polydub.media import ffmpeg

    dub = film.dubs[number]
    joined = work.scratch / f"dub-{number}.aac"
    with joined.open("wb") as out:
        for part in dub.packets:
            with work.path(part).open("rb") as block:
                shutil.copyfileobj(block, out, 1 << 20)
    title = f"{languages.title(dub.language)} dub"
    return ffmpeg.DubTrack(joined, dub.language, _code(film, dub.language), title, default=number == 0)


def _track(work: Work, film: Film, sub: SubtitleFile) -> SubTrack:
    from polydub.media import ffmpeg

    title = " and ".join(languages.title(language) for language in (sub.language, sub.other) if language)
    return ffmpeg.SubTrack(work.path(sub.file), sub.language, _code(film, sub.language), title)


def _original(film: Film) -> Original | None:
    """The dubbed track, with a language and a title where the source gives none."""
    from polydub.media import ffmpeg

    if film.track is None:
        return None
    if film.spoken == "und":
        return ffmpeg.Original(film.track)
    untold = languages.or_und(film.track.language) == "und"
    agreed = untold or languages.matches(film.track.language, film.spoken)
    title = "" if film.track.title else f"{languages.title(film.spoken)} original"
    return ffmpeg.Original(film.track, film.spoken if agreed else "", _code(film, film.spoken) if untold else "", title)


def _code(film: Film, language: str) -> str:
    """Each container wants another of the two codes that ISO 639-2 has for some languages."""
    return languages.iso639_2b(language) if film.container == "mkv" else languages.iso639_2(language)
