"""When each word of a given text is spoken. Cue times stay as they are; only word times are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from polydub.engines.base import Aligner
from polydub.errors import BadEngineOutput
from polydub.stages import listen
from polydub.types import Audio, Excerpt, Notice, Segment, Span, Speech, Word, seconds
from polydub.work import Work, engine_stage

LONGEST_S = 20.0  # of an excerpt, about: a longer cue is an excerpt of its own
APART_S = 1.5  # cues further apart are never aligned together
PAD_S = (0.15, 0.5)  # heard before and after the cues, for their times may be off; as much as half the pause next to them
DOUBTFUL = 0.5  # median confidence of a cue's words below which its text is not what is said


@dataclass(frozen=True, slots=True)
class Alignment:
    """Consecutive cues to be aligned together: `segments` in film seconds, the `part` of the film that holds them.

    Attributes: spoken: where somebody speaks in `part`, film seconds. language: BCP-47, of the text.
    """

    part: Excerpt
    segments: tuple[Segment, ...]
    spoken: tuple[Span, ...]
    language: str


def align_pieces(segments: Sequence[Segment], speech: Speech, language: str) -> tuple[Alignment, ...]:
    """`segments` that are speech and have a text, by start, in excerpts of about 20 s at most, cut where cues are apart.

    Cues that overlap by more than 0.3 s go into different excerpts. Together the pieces hold each such segment once;
    songs, sounds and empty cues are in none.
    """
    wanted = sorted((s for s in segments if s.kind == "speech" and s.text.split()), key=lambda s: (s.start, s.end))
    groups = [part for run in _runs(wanted) for part in _cut(run)]
    pieces: list[Alignment] = []
    for n, group in enumerate(groups):
        before = max((s.end for s in groups[n - 1]), default=0.0) if n else 0.0
        after = groups[n + 1][0].start if n + 1 < len(groups) else speech.duration
        end = max(s.end for s in group)
        part = listen.excerpt(speech, group[0].start - _pad(group[0].start - before), end + _pad(after - end))
        spoken = tuple(Span(max(s.start, part.start), min(s.end, part.end)) for s in speech.spans if s.overlap(part) > 0)
        pieces.append(Alignment(part, tuple(group), spoken, language))
    return tuple(pieces)


def _runs(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Cues that follow each other closely and do not talk over each other."""
    runs: list[list[Segment]] = []
    for segment in segments:
        gap = segment.start - max((s.end for s in runs[-1]), default=0.0) if runs else 0.0
        if runs and -2 * PAD_S[0] <= gap <= APART_S:
            runs[-1].append(segment)
        else:
            runs.append([segment])
    return runs


def _cut(run: list[Segment]) -> list[list[Segment]]:
    """`run` in parts of LONGEST_S at most, each cut at the widest gap of its second half."""
    start = run[0].start
    fitting = next((n for n, s in enumerate(run) if n and s.end - start > LONGEST_S), len(run))
    if fitting == len(run):
        return [run]
    late = [n for n in range(1, fitting + 1) if run[n].start - start >= LONGEST_S / 2] or [fitting]
    at = max(late, key=lambda n: (run[n].start - run[n - 1].end, n))
    return [run[:at], *_cut(run[at:])]


def _pad(gap: float) -> float:
    least, most = PAD_S
    return min(most, max(least, gap / 2))


@engine_stage("align", "align")
def align(work: Work, aligner: Aligner, piece: Alignment) -> tuple[Segment, ...]:
    """The piece's segments with their words filled, in film seconds, one for each whitespace-separated word of the text.

    A cue that is not found with the others is tried alone; where its text does not match the sound either, its words are
    spread by syllables, marked estimated, and a notice says so.
    """
    sound = listen.sound_of(work, piece.part)
    found = _together(aligner, sound, piece)
    done: list[Segment] = []
    lost: list[Segment] = []
    for segment, first in zip(piece.segments, found, strict=True):
        alone = first is None and len(piece.segments) > 1
        words = _alone(aligner, sound, piece, segment) if alone else first
        if words is None:
            lost.append(segment)
        done.append(replace(segment, words=_estimated(segment, piece) if words is None else words))
    if lost:
        work.notice(_mismatch(lost))
    return tuple(done)


def _together(aligner: Aligner, sound: Audio, piece: Alignment) -> list[tuple[Word, ...] | None]:
    """The words of each segment, None for those that are not what is said."""
    counts = [len(s.text.split()) for s in piece.segments]
    words = _words(aligner, sound, " ".join(s.text for s in piece.segments), piece)
    if words is None:
        return [None] * len(counts)
    rest = iter(words)
    cues = [tuple(next(rest) for _ in range(count)) for count in counts]
    return [cue if _sure(cue) else None for cue in cues]


def _alone(aligner: Aligner, sound: Audio, piece: Alignment, segment: Segment) -> tuple[Word, ...] | None:
    """One cue with the sound around it."""
    part = piece.part
    start, end = max(part.start, segment.start - PAD_S[1]), min(part.end, segment.end + PAD_S[1])
    low, high = (round((t - part.start) * sound.rate_hz) for t in (start, end))
    near = replace(part, start=seconds(start), end=seconds(end))
    words = _words(aligner, Audio(sound.samples[:, low:high], sound.rate_hz), segment.text, replace(piece, part=near))
    return words if words is not None and _sure(words) else None


def _words(aligner: Aligner, sound: Audio, text: str, piece: Alignment) -> tuple[Word, ...] | None:
    """What the aligner says, in film seconds. Raises: BadEngineOutput."""
    found = aligner.align(sound, text, piece.language)
    if found is None:
        return None
    if len(found) != len(text.split()):
        raise BadEngineOutput(f"{len(text.split())} words went out for alignment and {len(found)} came back")
    offset, end = piece.part.start, piece.part.end
    return tuple(replace(w, start=seconds(min(end, offset + w.start)), end=seconds(min(end, offset + w.end))) for w in found)


def _sure(words: Sequence[Word]) -> bool:
    known = [word.confidence for word in words if word.confidence is not None]
    return not known or median(known) >= DOUBTFUL


def _estimated(segment: Segment, piece: Alignment) -> tuple[Word, ...]:
    """Words spread over where somebody speaks within the cue, or else over the whole cue."""
    from polydub.text.syllables import spread

    spans = [Span(max(s.start, segment.start), min(s.end, segment.end)) for s in piece.spoken if s.overlap(segment) > 0]
    return spread(segment.text, spans or [Span(segment.start, segment.end)], piece.language)


def _mismatch(lost: Sequence[Segment]) -> Notice:
    first = lost[0]
    at = f"{int(first.start) // 60}:{int(first.start) % 60:02d}"
    lines = "" if len(lost) == 1 else f" ({len(lost)} lines)"
    text = f"the given text does not match the sound near {at}{lines}; its word times are estimated"
    return Notice("text-mismatch", text, line=first.id)
