"""When each word of a given text is spoken; the times of its cues stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from polydub.engines.base import Aligner
from polydub.stages.listen import excerpt, sound_of
from polydub.types import Audio, Excerpt, Notice, Segment, Span, Speech, Word, seconds
from polydub.work import Work, engine_stage

LONGEST_S = 20.0  # more at once costs memory and lets one wrong cue spoil its neighbours
APART_S = 1.0  # cues this far apart are never aligned together
PAD_S = 0.3  # cue times may be a little off
LEAST_S = 0.2  # no text is aligned to less sound


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive cues that are aligned at once: the sound around them, and where in it somebody speaks (film seconds)."""

    sound: Excerpt
    speech: tuple[Span, ...]
    segments: tuple[Segment, ...]


def align_pieces(segments: Sequence[Segment], speech: Speech) -> tuple[Passage, ...]:
    """The spoken segments that have no words yet, in passages of up to LONGEST_S."""
    return tuple(_passage(group, speech) for group in _groups([s for s in segments if s.text.strip() and not s.words]))


def _groups(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    """Neighbours in time; cues that overlap another's are alone, since two voices at once are no text."""
    group: list[Segment] = []
    for segment in segments:
        near = group and 0 <= segment.start - group[-1].end <= APART_S and segment.end - group[0].start <= LONGEST_S
        if group and not near:
            yield tuple(group)
            group = []
        group.append(segment)
    if group:
        yield tuple(group)


def _passage(group: tuple[Segment, ...], speech: Speech) -> Passage:
    sound = excerpt(speech, group[0].start - PAD_S, max(s.end for s in group) + PAD_S)
    inside = (Span(max(s.start, sound.start), min(s.end, sound.end)) for s in speech.spans if s.overlap(sound) > 0)
    return Passage(sound, tuple(inside), group)


@engine_stage("align", "align")
def align(work: Work, aligner: Aligner, passage: Passage, language: str) -> tuple[Segment, ...]:
    """The segments with their words. A text that is not what is said gets estimated times and a notice."""
    sound = sound_of(work, passage.sound)
    text = " ".join(s.text for s in passage.segments)
    words = _words(aligner, sound, text, language)
    if words is not None:
        return tuple(_dealt(passage.segments, words, passage.sound.start))
    made: list[Segment] = []
    for segment in passage.segments:  # one wrong cue does not spoil its neighbours
        begin = max(0.0, segment.start - PAD_S - passage.sound.start)
        end = segment.end + PAD_S - passage.sound.start
        own = Audio(sound.samples[:, round(begin * sound.rate_hz) : round(end * sound.rate_hz)], sound.rate_hz)
        words = _words(aligner, own, segment.text, language) if len(passage.segments) > 1 else None
        if words is None:
            made.append(_estimated(segment, passage, language))
            text = f"the text at {segment.start:.1f} s does not match the sound; the times of its words are estimated"
            work.notice(Notice("text-mismatch", text, line=segment.id))
        else:
            made.extend(_dealt((segment,), words, passage.sound.start + begin))
    return tuple(made)


def _words(aligner: Aligner, sound: Audio, text: str, language: str) -> tuple[Word, ...] | None:
    return aligner.align(sound, text, language) if sound.duration >= LEAST_S else None


def _dealt(segments: Sequence[Segment], words: Sequence[Word], by_s: float) -> Iterator[Segment]:
    """The segments with their shares of the words, moved to film time."""
    rest = [replace(w, start=seconds(w.start + by_s), end=seconds(w.end + by_s)) for w in words]
    for segment in segments:
        count = len(segment.text.split())
        yield replace(segment, words=tuple(rest[:count]))
        rest = rest[count:]


def _estimated(segment: Segment, passage: Passage, language: str) -> Segment:
    """The segment with words by syllables over what is spoken in it."""
    from polydub.text.syllables import spread

    spoken = [Span(max(s.start, segment.start), min(s.end, segment.end)) for s in passage.speech if s.overlap(segment) > 0]
    return replace(segment, words=spread(segment.text, spoken or [segment], language))
