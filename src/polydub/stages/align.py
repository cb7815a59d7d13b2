"""When each word of a given text is spoken; the times of its cues stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from polydub.engines.base import Aligner
from polydub.errors import BadEngineOutput
from polydub.stages.listen import excerpt, sound_of
from polydub.types import Audio, Excerpt, Notice, Segment, Span, Speech, Word, seconds
from polydub.work import Work, engine_stage

LONGEST_S = 20.0  # more at once costs memory and lets one wrong cue spoil its neighbours
APART_S = 1.5  # cues this far apart are never aligned together
OVERLAP_S = 0.3  # cues that overlap by more are two voices at once, which are no text
PAD_S = (0.15, 0.5)  # heard around cues, whose times may be off: half the pause next to them within these limits
FOUND_S = 1200.0  # of sound in which a text without times is looked for; more takes too much memory
LEAST_S = 0.2  # no text is aligned to less sound
DOUBTFUL = 0.5  # median confidence of a cue's words below which its text is not what is said
FEW, DOUBTFUL_OF_FEW = 4, 0.1  # one word in twenty has so low a confidence although it is said


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive cues that are aligned at once: the sound around them, and where in it somebody speaks (film seconds)."""

    sound: Excerpt
    speech: tuple[Span, ...]
    segments: tuple[Segment, ...]


def align_pieces(segments: Sequence[Segment], speech: Speech) -> tuple[Passage, ...]:
    """The spoken segments with a text but without words, by start, in passages of up to LONGEST_S.

    Passages are cut where cues are furthest apart. Each segment is in one passage; a longer one makes a longer passage.
    """
    wanted = [s for s in segments if s.kind == "speech" and s.text.strip() and not s.words]
    groups = [part for run in _runs(sorted(wanted, key=lambda s: (s.start, s.end))) for part in _cut(run)]
    ends = [max(s.end for s in group) for group in groups]
    befores = [0.0, *ends][: len(groups)]
    afters = [*(group[0].start for group in groups[1:]), speech.duration][: len(groups)]
    rows = zip(groups, befores, ends, afters, strict=True)
    return tuple(_passage(group, speech, (before, end, after)) for group, before, end, after in rows)


def _runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Neighbours in time that do not talk over each other."""
    run: list[Segment] = []
    for segment in segments:
        if run and not -OVERLAP_S <= segment.start - max(s.end for s in run) <= APART_S:
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def _cut(run: list[Segment]) -> Iterator[list[Segment]]:
    """`run` in parts of up to LONGEST_S, each cut at the widest gap of its second half."""
    while run:
        begin = run[0].start
        at = next((n for n, s in enumerate(run) if n and s.end - begin > LONGEST_S), len(run))
        if at < len(run):
            late = [n for n in range(1, at + 1) if run[n].start - begin >= LONGEST_S / 2] or [at]
            at = max(late, key=lambda n: (run[n].start - run[n - 1].end, n))
        yield run[:at]
        run = run[at:]


def _passage(group: list[Segment], speech: Speech, times: tuple[float, float, float]) -> Passage:
    """`times`: the end of the cue before, of this group, and the start of the cue after it."""
    before, end, after = times
    start = group[0].start
    sound = excerpt(speech, start - _pad(start - before), end + _pad(after - end))
    inside = (Span(max(s.start, sound.start), min(s.end, sound.end)) for s in speech.spans if s.overlap(sound) > 0)
    return Passage(sound, tuple(inside), tuple(group))


def _pad(gap: float) -> float:
    least, most = PAD_S
    return min(most, max(least, gap / 2))


@engine_stage("align", "align")
def align(work: Work, aligner: Aligner, passage: Passage, language: str) -> tuple[Segment, ...]:
    """The segments with their words, one for each whitespace-separated word of the text.

    A cue that is not found among the others is tried alone, so that one wrong cue does not spoil its neighbours. A text that
    is not what is said gets times estimated by syllables, and a notice.
    """
    sound = sound_of(work, passage.sound)
    found = _together(aligner, sound, passage, language)
    made: list[Segment] = []
    lost: list[Segment] = []
    for segment, first in zip(passage.segments, found, strict=True):
        alone = first is None and len(passage.segments) > 1
        words = _alone(aligner, sound, (passage, segment), language) if alone else first
        if words is None:
            lost.append(segment)
            words = _estimated(segment, passage, language)
        made.append(replace(segment, words=words))
    if lost:
        work.notice(_mismatch(lost))
    return tuple(made)


def _together(aligner: Aligner, sound: Audio, passage: Passage, language: str) -> list[tuple[Word, ...] | None]:
    """The words of each segment; None for those that are not what is said."""
    words = _words(aligner, sound, " ".join(s.text for s in passage.segments), language)
    if words is None:
        return [None] * len(passage.segments)
    rest = iter(_moved(words, passage.sound.start))
    cues = [tuple(next(rest) for _ in segment.text.split()) for segment in passage.segments]
    return [cue if _sure(cue) else None for cue in cues]


def _alone(aligner: Aligner, sound: Audio, one: tuple[Passage, Segment], language: str) -> tuple[Word, ...] | None:
    """The words of one segment of a passage, from the sound around it."""
    passage, segment = one
    begin = max(0.0, segment.start - PAD_S[1] - passage.sound.start)
    end = segment.end + PAD_S[1] - passage.sound.start
    own = Audio(sound.samples[:, round(begin * sound.rate_hz) : round(end * sound.rate_hz)], sound.rate_hz)
    words = _words(aligner, own, segment.text, language)
    return None if words is None or not _sure(words) else _moved(words, passage.sound.start + begin)


@engine_stage("locate", "align")
def locate(work: Work, aligner: Aligner, whole: Passage, language: str) -> tuple[Segment, ...]:
    """Segments that nobody timed, at the times at which their words are heard in the whole of the sound.

    What is longer than FOUND_S, or does not match, is spread over the speech by syllables, with a notice.
    """
    from polydub.text.syllables import spread

    text = " ".join(s.text for s in whole.segments)
    words = _words(aligner, sound_of(work, whole.sound), text, language) if whole.sound.duration <= FOUND_S else None
    if words is None or any(word.estimated for word in words):
        count = len(whole.segments)
        why = "nobody told when the text is said" if words or whole.sound.duration > FOUND_S else "the text is not what is said"
        work.notice(Notice("times-estimated", f"{why}: its {count} lines lie over the speech by their syllables"))
        words = words or spread(text, whole.speech or [whole.sound], language)
    rest = iter(_moved(words, whole.sound.start))
    made: list[Segment] = []
    for segment in whole.segments:
        own = tuple(next(rest) for _ in segment.text.split())
        made.append(replace(segment, start=own[0].start, end=max(own[-1].end, own[0].start), words=own) if own else segment)
    return tuple(made)


def _words(aligner: Aligner, sound: Audio, text: str, language: str) -> tuple[Word, ...] | None:
    """What the aligner says. Raises: BadEngineOutput."""
    found = aligner.align(sound, text, language) if sound.duration >= LEAST_S else None
    if found is not None and len(found) != len(text.split()):
        raise BadEngineOutput(f"{len(text.split())} words went out for alignment and {len(found)} came back")
    return found


def _sure(words: Sequence[Word]) -> bool:
    known = [word.confidence for word in words if word.confidence is not None]
    return not known or median(known) >= (DOUBTFUL if len(known) >= FEW else DOUBTFUL_OF_FEW)


def _moved(words: Sequence[Word], by_s: float) -> tuple[Word, ...]:
    """`words` in film time."""
    return tuple(replace(w, start=seconds(w.start + by_s), end=seconds(w.end + by_s)) for w in words)


def _estimated(segment: Segment, passage: Passage, language: str) -> tuple[Word, ...]:
    """Words by syllables over what is spoken in the cue, or else over the whole cue."""
    from polydub.text.syllables import spread

    spoken = [Span(max(s.start, segment.start), min(s.end, segment.end)) for s in passage.speech if s.overlap(segment) > 0]
    return spread(segment.text, spoken or [Span(segment.start, segment.end)], language)


def _mismatch(lost: Sequence[Segment]) -> Notice:
    first = lost[0]
    at = f"{int(first.start) // 60}:{int(first.start) % 60:02d}"
    lines = f" ({len(lost)} lines)" if len(lost) > 1 else ""
    text = f"the given text does not match the sound near {at}{lines}; the times of its words are estimated"
    return Notice("text-mismatch", text, line=first.id)
