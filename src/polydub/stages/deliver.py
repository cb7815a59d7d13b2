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
    from polydub.media.ffmpeg import SubTrack


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
