"""Subtitles as files: what is said becomes cues, cues become SRT, WebVTT and ASS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polydub.types import Artifact, Cue, Placement, Segment, Span, Word, seconds
from polydub.work import Work, stage


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
