"""Subtitles as files and in the picture: what is said becomes cues, cues become SRT, WebVTT, ASS and drawn letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polydub.types import Artifact, Cue, Notice, Placement, Segment, Source, Span, Word, seconds
from polydub.work import Work, stage

if TYPE_CHECKING:
    from polydub.text.subtitle_files import Look


@dataclass(frozen=True, slots=True)
class Said:
    """One thing said, for subtitles: when it is heard, by whom, its text, and when its words are heard where that is known.

    `other`: the same in a second language, for bilingual subtitles; "" = none.
    """

    start: float
    end: float
    speaker: str
    text: str
    words: tuple[Word, ...] = ()
    other: str = ""


@dataclass(frozen=True, slots=True)
class SubtitleFile:
    """One subtitle file. `role` is source, target or bilingual, `format` srt, vtt or ass.

    `other`: the second language of a bilingual file; "" = none.
    """

    role: str
    language: str
    format: str
    file: Artifact
    other: str = ""

    @property
    def tag(self) -> str:
        """What the file's name says of its languages: "es", or "es+en" where it holds both."""
        return f"{self.language}+{self.other}" if self.other else self.language


def said_in_source(segments: Sequence[Segment]) -> tuple[Said, ...]:
    """The source's own text at its own times."""
    return tuple(Said(s.start, s.end, s.speaker, s.text, s.words) for s in segments if s.text)


def said_in_dub(placed: Sequence[Placement], texts: Mapping[str, str]) -> tuple[Said, ...]:
    """The target text at the times at which it is spoken in the dub; `texts` by the ids of the placements."""
    ordered = sorted(placed, key=lambda p: p.start)
    return tuple(Said(p.start, seconds(p.start + p.duration), p.speaker, texts[p.id]) for p in ordered if texts[p.id])


def said_in_both(placed: Sequence[Placement], texts: Mapping[str, str], sources: Mapping[str, str]) -> tuple[Said, ...]:
    """Each line once, from its first to its last phrase in the dub, with the source's text beside it.

    Args: texts: by the ids of the placements. sources: by the ids of the lines.
    """
    lines: dict[str, Said] = {}
    for p in sorted(placed, key=lambda p: p.start):
        if not texts[p.id]:
            continue
        end, before = seconds(p.start + p.duration), lines.get(p.line)
        if before is None:
            lines[p.line] = Said(p.start, end, p.speaker, texts[p.id], other=sources.get(p.line, ""))
        else:
            lines[p.line] = replace(before, end=max(end, before.end), text=f"{before.text} {texts[p.id]}")
    return tuple(lines.values())


@dataclass(frozen=True, slots=True)
class Captions:
    """What a set of subtitles is for.

    Attributes: fps: frames per second of the picture, 0 without one. other: second language of bilingual subtitles.
    word_times: WebVTT tells when each word is said. width, height: of the picture, 0 without one. ends: the film's
    length in seconds, beyond which no cue goes; 0 = unknown.
    """

    role: str
    language: str
    fps: float
    other: str = ""
    word_times: bool = False
    width: int = 0
    height: int = 0
    ends: float = 0.0


@stage("subtitle", version=3)
def subtitle(work: Work, said: tuple[Said, ...], what: Captions, formats: tuple[str, ...]) -> tuple[SubtitleFile, ...]:
    """Cues by the timed-text rules, as SRT (always, for the container) and in the wanted formats."""
    from polydub.text.subtitle_files import Look

    cues = captions_of(said, what)
    look = Look(what.width, what.height, other=what.other, word_times=what.word_times)
    made: list[SubtitleFile] = []
    for form in dict.fromkeys(("srt", *formats)):
        file = work.scratch / f"cues.{form}"
        file.write_text(write_cues(cues, form, look), encoding="utf-8", newline="\n")
        made.append(SubtitleFile(what.role, what.language, form, work.keep(file), what.other))
    return tuple(made)


@stage("drawable")
def drawable(work: Work, source: Source, letters: tuple[tuple[str, str], ...], font: Artifact | None) -> bool:
    """True if `letters`, those of each language (BCP-47), can be drawn into the film's picture. Raises what `burn` raises."""
    from polydub import languages
    from polydub.media import ffmpeg, fonts
    from polydub.media.burn import pixel_format

    given = work.path(font) if font else None
    for language, some in letters:
        fonts.find_font(some, languages.base(language), given)
    pixel_format(ffmpeg.safe_link(work.path(source.media), work.scratch), source.of("video")[0])
    return True


@stage("burn", version=1)
def burn(work: Work, source: Source, said: tuple[Said, ...], what: Captions, font: Artifact | None) -> Artifact:
    """The film's first picture track with subtitles drawn into it: a NUT file without sound, on the film's clock.

    Args: font: file to draw with; None = one of the system's that has every character.
    Raises: BadSettings without a picture, for an HDR one and for a font without the characters, Missing when no font of the
    system has them.
    """
    from polydub import languages
    from polydub.media import ffmpeg, fonts
    from polydub.media.burn import Drawing, burn_in, shown_size
    from polydub.text.subtitle_files import Look

    cues = captions_of(said, what)
    given = work.path(font) if font else None
    texts = [(written, languages.base(tag)) for written, tag in ((_text(cues), what.language), (_others(cues), what.other))]
    chosen = [fonts.find_font(text, tag, given) for text, tag in texts if text] or [fonts.find_font("", "und", given)]
    lost = "".join(sorted({c for choice in chosen for c in choice.without}))
    if lost:
        told = f"no font has {lost}: the subtitles in the picture are without"
        work.notice(Notice("characters-not-drawn", told))
    link = ffmpeg.safe_link(work.path(source.media), work.scratch)
    look = Look(*shown_size(link, source), (chosen[0].face.family, chosen[-1].face.family), what.other, libass=True)
    drawing = Drawing(write_cues(_without(cues, lost), "ass", look), tuple(choice.face.path for choice in chosen))
    out = work.scratch / "picture.nut"
    burn_in(link, source, drawing, out, work.progress)
    return work.keep(out)


def _text(cues: Sequence[Cue]) -> str:
    return "".join(cue.text for cue in cues)


def _others(cues: Sequence[Cue]) -> str:
    from polydub.text.subtitle_files import Bilingual

    return "".join(cue.other for cue in cues if isinstance(cue, Bilingual))


def _without(cues: Sequence[Cue], lost: str) -> list[Cue]:
    """The cues without some characters."""
    from polydub.text.subtitle_files import Bilingual

    gone = {ord(c): None for c in lost}
    bare = (replace(cue, text=cue.text.translate(gone)) for cue in cues)
    return [replace(cue, other=cue.other.translate(gone)) if isinstance(cue, Bilingual) else cue for cue in bare]


def captions_of(said: Sequence[Said], what: Captions) -> tuple[Cue, ...]:
    """What is said as the cues of a set of subtitles; bilingual ones show both texts."""
    from polydub.text import cues as rules

    if not what.other:
        return cues_of(said, what.fps, what.language, what.ends)
    cues: list[Cue] = []
    for speaker, s in _named(said):
        cues += rules.split_both(Cue(s.start, s.end, s.text, speaker), s.other, (what.language, what.other))
    return rules.close_gaps(cues, rules.Clock(what.fps, what.ends), language=what.language)


def cues_of(said: Sequence[Said], fps: float, language: str = "und", ends: float = 0.0) -> tuple[Cue, ...]:
    """What is said as cues by the timed-text rules; speakers are named where there are several.

    Args: fps: of the picture, 0 without one. language: whose syntax the lines are broken by. ends: the film's, 0 = unknown.
    """
    from polydub.text import cues as rules

    cues: list[Cue] = []
    for speaker, s in _named(said):
        cues += rules.timed(rules.split_into_cues(s.text, Span(s.start, s.end), speaker=speaker, language=language), s.words)
    return rules.close_gaps(cues, rules.Clock(fps, ends), language=language)


def _named(said: Sequence[Said]) -> list[tuple[str, Said]]:
    """What is said with its speaker's name, which is "" where one person speaks all."""
    many = len({s.speaker for s in said}) > 1
    return [(s.speaker if many else "", s) for s in said]


def write_cues(cues: Sequence[Cue], form: str, look: Look | None = None) -> str:
    """Cues as the text of a subtitle file: srt, vtt or ass."""
    from polydub.text import subtitle_files as files

    wanted = look or files.Look()
    if form == "ass":
        return files.write_ass(cues, "polydub", wanted)
    return files.write_vtt(cues, wanted) if form == "vtt" else files.write_srt(cues)
