"""From given texts to lines that can be spoken: read, pair, translate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from polydub import languages
from polydub.engines.base import Answered, Batch, Info, Options, Rephraser, Request, Translator, Usage
from polydub.errors import BadEngineOutput, BadInput
from polydub.text import tags
from polydub.text.glossary import Entry
from polydub.types import Artifact, Line, Notice, Script, Segment, Source, Span, Speaker, Track, Wordings
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
    is said; the segments lie over the film by the length of their texts. written: a person wrote the script, nobody heard it.
    wordings: other lengths of the target texts, by id, where they were given too. marks: how it is said (`text.tags`), by id.
    """

    script: Script
    texts: Mapping[str, str]
    timed: bool = True
    written: bool = False
    wordings: Mapping[str, Wordings] = field(default_factory=dict[str, Wordings])
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])


@stage("read-script", version=7)
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
    known = translation.wordings if translation else dict[str, Wordings]()
    wordings = {id_: known[text] for id_, text in paired.texts.items() if text in known}
    script = Script(language or "und", segments, who(segments))
    return unmarked(Given(script, dict(paired.texts), timed, transcript is not None, wordings))


def unmarked(given: Given) -> Given:
    """`given` without marks such as [angry] in its texts: `marks` tells them, those of a target text before the source's."""
    said = {s.id: tags.read(s.text) for s in given.script.segments if s.kind == "speech"}
    texts = {id_: tags.read(text) for id_, text in given.texts.items()}
    found = {id_: marks for id_, one in said.items() if (marks := texts.get(id_, one).marks or one.marks)}
    segments = tuple(replace(s, text=said[s.id].text) if s.id in said else s for s in given.script.segments)
    wordings = {
        id_: replace(w, normal=tags.read(w.normal).text, short=tags.read(w.short).text, long=tags.read(w.long).text)
        for id_, w in given.wordings.items()
    }
    plain = {id_: one.text for id_, one in texts.items()}
    return replace(given, script=replace(given.script, segments=segments), texts=plain, wordings=wordings, marks=found)


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
    wordings = {new[id_]: several for id_, several in given.wordings.items()}
    marks = {new[id_]: names for id_, names in given.marks.items()}
    return replace(given, script=replace(given.script, segments=segments), texts=texts, wordings=wordings, marks=marks)


@dataclass(frozen=True, slots=True)
class Told:
    """What a translator is told besides the lines: what the film is about, and how terms are to be translated."""

    summary: str = ""
    entries: tuple[Entry, ...] = ()


@stage("read-glossary")
def read_glossary(work: Work, glossary: Artifact) -> tuple[Entry, ...]:
    """The terms in a CSV file. Raises BadInput, with the number of the line."""
    from polydub.text.glossary import parse_glossary

    return parse_glossary(work.path(glossary).read_bytes())


def batches(given: Given, target: str, info: Info, told: Told | None = None) -> tuple[Batch, ...]:
    """The lines without a translation, in batches as the engine likes them, each with the terms that occur in it.

    Neighbours, speakers, times, ids and what the film is about go along only if the engine looks at them, as does what the
    glossary notes about its terms.
    """
    told, context, size = told or Told(), "context" in info.features, info.batch
    source = given.script.language
    wanting = [s for s in given.script.segments if _is_open(s, given)]
    made: list[Batch] = []
    for at in range(0, len(wanting), size):
        requests = tuple(
            Request(s.id, s.text, s.speaker if context else "", s.duration if context else 0.0) for s in wanting[at : at + size]
        )
        before = tuple(s.text for s in wanting[max(0, at - CONTEXT) : at]) if context else ()
        after = tuple(s.text for s in wanting[at + size : at + size + CONTEXT]) if context else ()
        if not context:  # a line's number must not enter its key
            requests = tuple(replace(r, id=str(n)) for n, r in enumerate(requests))
        entries = _occurring(told.entries, requests, source)
        notes = [f'"{entry.term}": {entry.note}' for entry in entries if entry.note]
        summary = "\n".join([told.summary.strip(), *notes]).strip() if context else ""
        terms = {entry.term: entry.translation for entry in entries}
        made.append(Batch(source, target, requests, before, after, summary, terms))
    return tuple(made)


def _occurring(entries: Sequence[Entry], requests: Sequence[Request], source: str) -> tuple[Entry, ...]:
    from polydub.text.glossary import occurring

    return occurring(entries, "\n".join(request.text for request in requests), source) if entries else ()


@engine_stage("translate", "mt", version=2)
def translate(work: Work, mt: Translator, batch: Batch) -> Answered:
    """Target texts of one batch, in order; a glossary's term that one lacks is a doubt.

    Raises BadEngineOutput when the engine answers with another count.
    """
    return _checked(batch, Answered(tuple(Wordings(text) for text in mt.translate(batch))))


def answers_fully(info: Info, options: Options) -> bool:
    """Whether a translator is to be asked by its method `candidates`: it has one, and lengths or its usage are wanted."""
    return "candidates" in info.features and (info.network or bool(getattr(options, "candidates", True)))


@engine_stage("wordings", "mt", version=2)
def wordings(work: Work, mt: Rephraser, batch: Batch) -> Answered:
    """As `translate`, each text in up to three lengths; one that says nothing new is left out."""
    return _checked(batch, mt.candidates(batch))


def _checked(batch: Batch, answered: Answered) -> Answered:
    """Texts on one line, each said once, with doubts about terms where the engine has none."""
    count = len(answered.wordings)
    if count != len(batch.requests):
        raise BadEngineOutput(f"{len(batch.requests)} lines went out for translation and {count} came back")
    return replace(
        answered, wordings=tuple(_distinct(w, r, batch) for w, r in zip(answered.wordings, batch.requests, strict=True))
    )


def _distinct(answer: Wordings, request: Request, batch: Batch) -> Wordings:
    normal, short, long = (" ".join(text.split()) for text in (answer.normal, answer.short, answer.long))
    doubt = answer.doubt or _lacks(batch, request, normal)
    return Wordings(normal, "" if short == normal else short, "" if long in (normal, short) else long, doubt)


def _lacks(batch: Batch, request: Request, text: str) -> str:
    from polydub.text.glossary import complaint

    found = complaint(batch.terms, request.text, text, batch.source)
    return f"the translation {found}" if found else ""


def joined(answers: Sequence[Answered]) -> tuple[Wordings, ...]:
    """The answers to `batches`, line by line."""
    return tuple(wordings for answer in answers for wordings in answer.wordings)


def taken(answers: Sequence[Answered]) -> Usage:
    """What all answers took together, also those that are remembered from an earlier run."""
    each = [answer.usage for answer in answers]
    return Usage(
        sum(u.calls for u in each),
        sum(u.prompt_tokens for u in each),
        sum(u.answer_tokens for u in each),
        round(sum(u.cost for u in each), 6),
    )


def doubtful(given: Given, translated: Sequence[Wordings]) -> tuple[Notice, ...]:
    """A notice for each line whose translation a person should check; `translated` as for `write_lines`."""
    answers = iter(translated)
    said = [(s.id, next(answers, Wordings(""))) for s in given.script.segments if _is_open(s, given)]
    return tuple(Notice("doubtful-translation", w.doubt, stage="translate", line=id_) for id_, w in said if w.doubt)


def _is_open(segment: Segment, given: Given) -> bool:
    return segment.kind == "speech" and bool(segment.text) and segment.id not in given.texts


def write_lines(given: Given, translated: Sequence[Wordings | str], target: str) -> tuple[Line, ...]:
    """One line per segment that is spoken; `translated` are the answers to `batches`, joined."""
    answers = iter(translated)
    lines: list[Line] = []
    for s in given.script.segments:
        if s.kind != "speech":
            continue
        text = given.texts.get(s.id)
        said: Wordings | str = given.wordings.get(s.id, text) if text is not None else next(answers) if s.text else ""
        several = said if isinstance(said, Wordings) else Wordings(said)
        own = text is not None or (given.written and several.normal == s.text)  # spoken as it was written for the source
        line = Line(s.start, s.end, s.id, s.speaker, s.text, several.normal, target)
        lines.append(replace(line, short=several.short, long=several.long, given=own))
    return tuple(lines)
