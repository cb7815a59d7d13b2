"""The subtitles of a dub: as files, in the film, and drawn into its picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polydub.runner import Handle, Run
from polydub.slowing import Footage
from polydub.speaking import Said
from polydub.stages import subtitling
from polydub.stages.subtitling import Captions
from polydub.types import Artifact, Notice, Source
from polydub.wants import Wanted

Subtitles = tuple[subtitling.SubtitleFile, ...]


@dataclass(frozen=True)
class Captioning:
    """Subtitles that are being made, and the picture with some of them drawn into it, if that is wanted."""

    files: tuple[Handle[Subtitles], ...]
    picture: Handle[Artifact] | None

    def subtitles(self) -> Subtitles:
        """The wanted subtitles as artifacts, the target's first."""
        return tuple(file for files in self.files for file in files.result())


def check_drawing(run: Run, film: Footage, want: Wanted) -> None:
    """Raises what would keep subtitles from being drawn, and tells of wishes that come to nothing, before the work begins."""
    if want.delivery.word_times and "vtt" not in want.delivery.subs_formats:
        run.note(Notice("idle-setting", "words are timed in WebVTT files only: add --subs-format vtt", "info"))
    if want.picture.font and want.picture.burn_in == "none":
        run.note(Notice("idle-setting", "--font is for subtitles in the picture: add --burn-in", "info"))
    if want.picture.burn_in == "none" or not film.source.of("video"):
        return
    texts = {"target": [x.text + x.short + x.long for x in film.lines], "source": [x.source_text for x in film.lines]}
    languages = {"target": want.target, "source": film.listened.given.script.language}
    wished = [name for name in texts if want.picture.burn_in in (name, "both")]
    letters = tuple((languages[name], "".join(sorted(set("".join(texts[name]))))) for name in wished)
    run.step(subtitling.drawable, film.source, letters, want.picture.font)


def start_captions(run: Run, film: Footage, said: Said, want: Wanted, picture_of: Source | None = None) -> Captioning:
    """Begins to write the wanted subtitles, and to draw them: into the film's picture, or that of `picture_of`."""
    script, delivery = film.listened.given.script, want.delivery
    texts, sources = {p.id: p.text for p in said.phrases}, {line.id: line.source_text for line in film.lines}
    kinds = {
        "target": (subtitling.said_in_dub(said.placed, texts), _for(film, "target", want.target, want)),
        "source": (subtitling.said_in_source(script.segments), _for(film, "source", script.language, want)),
        "both": (
            subtitling.said_in_both(said.placed, texts, sources),
            replace(_for(film, "bilingual", want.target, want), other=script.language),
        ),
    }
    wished = [name for name in ("target", "source") if delivery.subs in (name, "both")] + ["both"] * delivery.bilingual
    files = [run.start(subtitling.subtitle, *kinds[name], delivery.subs_formats) for name in wished if kinds[name][0]]
    picture = None
    if want.picture.burn_in != "none" and film.source.of("video"):
        picture = run.start(subtitling.burn, picture_of or film.source, *kinds[want.picture.burn_in], want.picture.font)
    elif want.picture.burn_in != "none":
        run.note(Notice("no-picture", "there is no picture to draw subtitles into"))
    return Captioning(tuple(files), picture)


def _for(film: Footage, role: str, language: str, want: Wanted) -> Captions:
    picture = next(iter(film.source.of("video")), None)
    size = (picture.width, picture.height) if picture else (0, 0)
    times = want.delivery.word_times
    return Captions(role, language, picture.fps if picture else 0.0, "", times, *size, film.source.duration)
