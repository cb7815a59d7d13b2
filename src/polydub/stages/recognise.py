"""From speech to segments: pieces cut at pauses, the language, words, sentences of one speaker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from polydub import languages
from polydub.engines.base import Transcriber
from polydub.errors import BadSettings
from polydub.stages.listen import excerpt, sound_of
from polydub.types import Excerpt, Notice, Segment, Span, Speech, Turn, seconds
from polydub.work import Work, engine_stage, stage

PAD_S = 0.15  # more than speech detection pads: words at the edges are understood better
PAUSE_S = 2.0  # a longer pause is never inside a piece
SURE = 0.5  # probability from which a language found in the sound is believed without a word
LISTENED = 3  # pieces from which the language is told


@dataclass(frozen=True, slots=True)
class Piece:
    """What one call of a recogniser hears, and where in it somebody speaks (film seconds)."""

    sound: Excerpt
    speech: tuple[Span, ...]


def pieces(speech: Speech, longest_s: float) -> tuple[Piece, ...]:
    """The speech in stretches of up to `longest_s`, cut at pauses; only a span that is longer itself makes a longer one."""
    groups: list[list[Span]] = []
    for span in speech.spans:
        last = groups[-1] if groups else None
        if last and span.end - last[0].start <= longest_s and span.start - last[-1].end <= PAUSE_S:
            last.append(span)
        else:
            groups.append([span])
    befores = [0.0, *(group[-1].end for group in groups)]
    afters = [*(group[0].start for group in groups[1:]), speech.duration]
    return tuple(
        Piece(excerpt(speech, start - _pad(start - before), end + _pad(after - end)), tuple(group))
        for group, before, after in zip(groups, befores, afters, strict=False)
        for start, end in [(group[0].start, group[-1].end)]
    )


def _pad(gap: float) -> float:
    """How much of the silence next to speech is heard with it."""
    return min(PAD_S, max(0.0, gap / 2))


def longest(found: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces from which the language is told: the longest, in order of time."""
    best = sorted(found, key=lambda piece: -piece.sound.duration)[:LISTENED]
    return tuple(sorted(best, key=lambda piece: piece.sound.start))


@engine_stage("identify", "asr")
def identify(work: Work, asr: Transcriber, heard: tuple[Piece, ...]) -> str:
    """The language that is spoken, BCP-47: of all that the pieces sound like, the likeliest."""
    votes: dict[str, float] = defaultdict(float)
    for piece in heard:
        tag, probability = asr.identify(sound_of(work, piece.sound))
        votes[tag] += probability / len(heard)
    tag, share = max(votes.items(), key=lambda vote: vote[1])
    if tag == "und":
        raise BadSettings("the language that is spoken could not be told", "say so with --from, for example --from en")
    name = languages.name(tag)
    if share < SURE:
        text = f"nobody said which language is spoken; it is taken for {name}: correct it with --from"
        work.notice(Notice("language-assumed", text))
    else:
        work.notice(Notice("language-found", f"the language sounds like {name}", "info"))
    return tag


@engine_stage("transcribe", "asr")
def transcribe(work: Work, asr: Transcriber, piece: Piece, language: str) -> tuple[Segment, ...]:
    """What is said in one piece, with film times; what a recogniser makes up is left out and told."""
    from polydub.text import segments

    found = tuple(moved(s, piece.sound.start) for s in asr.transcribe(sound_of(work, piece.sound), language))
    checked = segments.checked(found, piece.sound, piece.speech)
    for segment, reason in checked.dropped:
        why = reason.replace("-", " ")
        work.notice(Notice("not-believed", f"what was recognised at {_where(segment)} was left out: {why}", "info"))
    for segment in checked.shortened:
        work.notice(Notice("not-believed", f"what was recognised at {_where(segment)} went round in circles: once is kept"))
    return checked.segments


def _where(span: Span) -> str:
    return f"{span.start:.1f} to {span.end:.1f} s"


def moved(segment: Segment, by_s: float) -> Segment:
    """The segment and its words, `by_s` seconds later, their texts without half characters."""
    words = tuple(
        replace(w, start=seconds(w.start + by_s), end=seconds(w.end + by_s), text=_whole(w.text)) for w in segment.words
    )
    start, end = seconds(segment.start + by_s), seconds(segment.end + by_s)
    return replace(segment, start=start, end=end, text=_whole(segment.text), words=words)


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@stage("sentences")
def sentences(work: Work, said: tuple[tuple[Segment, ...], ...], turns: tuple[Turn, ...]) -> tuple[Segment, ...]:
    """Segments of one speaker and one sentence or breath group; without turns everybody is one speaker."""
    from polydub.stages.translate import ONE_SPEAKER
    from polydub.text import segments

    cut = segments.sentences([s for piece in said for s in piece], turns)
    return tuple(replace(s, speaker=s.speaker or ONE_SPEAKER) for s in cut)
