"""From given texts to lines that can be spoken: read, pair, translate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polydub import languages
from polydub.engines.base import Batch, Request, Translator
from polydub.errors import BadEngineOutput, BadInput
from polydub.types import Artifact, Line, Notice, Script, Segment, Source, Span, Speaker, Track
from polydub.wants import Texts
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    from polydub.text.subtitles import Parsed

CONTEXT = 3  # neighbouring lines shown to an engine on both sides of a batch
_NEAR = 8  # cues that are looked at on both sides of a moment; more do not overlap
ONE_SPEAKER = "SPEAKER_00"  # who speaks when nobody told


@dataclass(frozen=True, slots=True)
class Given:
    """What the given texts say.

    Attributes: texts: target texts by segment id; ids without one are to be translated. timed: False = nobody told when it
    is said; the segments lie over the film by the length of their texts.
    """

    script: Script
    texts: Mapping[str, str]
    timed: bool = True


@stage("read-script", version=3)
def read_script(work: Work, source: Source, texts: Texts, source_language: str, target: str) -> Given:
    """The script and the translations that were given as files or lie in the container as subtitle tracks."""
    from polydub.text.pairing import pair

    transcript, translation = _file(work, texts.transcript, "transcript"), _file(work, texts.translation, "translation")
    language = (
        source_language if source_language != "auto" else texts.transcript_language or (transcript and transcript.language)
    )
    if texts.own_tracks and transcript is None:
        track = _own_track(source, language or None, target)
        if track:
            transcript = _read_track(work, source, track)
            language = language or _language(track)
            work.notice(_track_notice(track, "the transcript"))
    if texts.own_tracks and translation is None and transcript is not None and texts.transcript is None:
        track = next((t for t in _text_tracks(source) if languages.matches(_language(t) or "und", target)), None)
        if track:
            translation = _read_track(work, source, track)
            work.notice(_track_notice(track, "the translation"))
    for parsed in (transcript, translation):
        for notice in parsed.notices if parsed else ():
            work.notice(notice)
    paired = pair(transcript, translation, source.duration)
    guessed = [notice for notice in paired.notices if notice.code == "times-estimated"]
    for notice in paired.notices:
        if notice not in guessed or transcript is None:  # a transcript without times may still be found in the sound
            work.notice(notice)
    segments = tuple(replace(s, speaker=s.speaker or ONE_SPEAKER) for s in paired.segments)
    timed = not guessed or transcript is None
    return Given(Script(language or "und", segments, who(segments)), dict(paired.texts), timed)


def _file(work: Work, artifact: Artifact | None, role: str) -> Parsed | None:
    from polydub.text.subtitles import parse_subtitles

    if artifact is None:
        return None
    try:
        return parse_subtitles(work.path(artifact).read_bytes(), artifact.suffix)
    except BadInput as error:
        raise BadInput(f"{role}: {error.message}", error.hint) from error


def who(segments: Sequence[Segment]) -> tuple[Speaker, ...]:
    """Everybody who speaks, in order of first appearance."""
    return tuple(Speaker(name, name) for name in dict.fromkeys(s.speaker for s in segments if s.kind == "speech"))


def _text_tracks(source: Source) -> tuple[Track, ...]:
    return tuple(t for t in source.of("subtitle") if t.text)


def _language(track: Track) -> str | None:
    tag = languages.or_und(track.language)
    return None if tag == "und" else tag


def _own_track(source: Source, language: str | None, target: str) -> Track | None:
    """The container's track that can serve as transcript: in the source language, or in any but the target's."""
    tracks = _text_tracks(source)
    if language:
        return next((t for t in tracks if languages.matches(_language(t) or language, language)), None)
    others = [t for t in tracks if not languages.matches(_language(t) or "und", target)]
    return next((t for t in others if t.default), others[0] if others else None)


def _read_track(work: Work, source: Source, track: Track) -> Parsed:
    from polydub.media import ffmpeg
    from polydub.text.subtitles import parse_subtitles

    link = ffmpeg.safe_link(work.path(source.media), work.scratch)
    return parse_subtitles(ffmpeg.extract_subtitles(link, track), "")


def _track_notice(track: Track, role: str) -> Notice:
    name = languages.name(_language(track) or "und")
    return Notice("own-subtitles", f"the file's own {name} subtitle track serves as {role}", "info")


def in_language_of(given: Given, track: Track | None) -> Given:
    """`given`; where nobody told its language, that of the audio track."""
    if given.script.language != "und" or track is None:
        return given
    return replace(given, script=replace(given.script, language=_language(track) or "und"))


@dataclass(frozen=True, slots=True)
class Numbering:
    """Ids that were given: when each one's cue was (start and end, seconds), and the next free number."""

    ids: tuple[str, ...]
    spans: tuple[Span, ...]
    next: int


@stage("number")
def number(work: Work, spans: tuple[Span, ...], previous: Numbering | None) -> Numbering:
    """Ids for the cues at `spans`: "1", "2", ... by time at first sight, never used again for another cue.

    A cue of the last run that shares at least half of the time keeps its id, so that a cue put in between moves no other.
    """
    old = previous or Numbering((), (), 1)
    taken: set[int] = set()
    free = itertools.count(old.next)
    ids: list[str] = []
    first = 0
    for span in spans:
        while first < len(old.ids) and old.spans[first].end <= span.start:  # both are in order of time
            first += 1
        near = [n for n in range(max(0, first - _NEAR), min(len(old.ids), first + _NEAR)) if n not in taken]
        best = max(near, key=lambda n: span.overlap(old.spans[n]), default=None)
        if best is not None and _same_cue(span, old.spans[best]):
            taken.add(best)
            ids.append(old.ids[best])
        else:
            ids.append(str(next(free)))
    return Numbering(tuple(ids), spans, next(free))


def _same_cue(a: Span, b: Span) -> bool:
    return 2 * a.overlap(b) >= max(a.duration, b.duration) > 0


def renumbered(given: Given, ids: Sequence[str]) -> Given:
    """`given` with other ids, in order of its segments."""
    new = dict(zip((s.id for s in given.script.segments), ids, strict=True))
    segments = tuple(replace(s, id=new[s.id]) for s in given.script.segments)
    texts = {new[id_]: text for id_, text in given.texts.items()}
    return replace(given, script=replace(given.script, segments=segments), texts=texts)


def batches(given: Given, source: str, target: str, size: int, context: bool) -> tuple[Batch, ...]:
    """The lines without a translation, in batches of `size`; neighbours go along only if the engine looks at them."""
    wanting = [s for s in given.script.segments if s.id not in given.texts and s.kind == "speech" and s.text]
    made: list[Batch] = []
    for at in range(0, len(wanting), size):
        requests = tuple(
            Request(s.id, s.text, s.speaker if context else "", s.duration if context else 0.0) for s in wanting[at : at + size]
        )
        before = tuple(s.text for s in wanting[max(0, at - CONTEXT) : at]) if context else ()
        after = tuple(s.text for s in wanting[at + size : at + size + CONTEXT]) if context else ()
        if not context:  # a line's number must not enter its key
            requests = tuple(replace(r, id=str(n)) for n, r in enumerate(requests))
        made.append(Batch(source, target, requests, before, after))
    return tuple(made)


@engine_stage("translate", "mt")
def translate(work: Work, mt: Translator, batch: Batch) -> tuple[str, ...]:
    """Target texts of one batch, in order. Raises BadEngineOutput when the engine answers with another count."""
    texts = tuple(" ".join(text.split()) for text in mt.translate(batch))
    if len(texts) != len(batch.requests):
        raise BadEngineOutput(f"{len(batch.requests)} lines went out for translation and {len(texts)} came back")
    return texts


def write_lines(given: Given, translated: Sequence[str], target: str) -> tuple[Line, ...]:
    """One line per segment that is spoken; `translated` are the answers to `batches`, joined."""
    answers = iter(translated)
    lines: list[Line] = []
    for s in given.script.segments:
        if s.kind != "speech":
            continue
        text = given.texts.get(s.id)
        if text is None:
            text = next(answers) if s.text else ""
        lines.append(Line(s.start, s.end, s.id, s.speaker, s.text, text, target))
    return tuple(lines)
