"""Which translated cue belongs to which source cue: by number when the counts agree, else by time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from polydub.errors import BadInput, NoSpeech
from polydub.text.subtitles import Parsed
from polydub.types import Notice, Segment, seconds

LEAST_SHARE = 0.1  # of the shorter cue: less in common is two neighbours that touch, not a pair
MOST_RIVALS = 200  # cues of the other side that one cue is compared with, the latest to start


@dataclass(frozen=True, slots=True)
class Paired:
    """The lines of a film from given texts.

    Attributes: segments: the source side by time, ids "1", "2", ...; text "" where only a translation was given.
    texts: id -> target text; ids without a translation are missing. notices: of the pairing alone, not of the parsing.
    """

    segments: tuple[Segment, ...]
    texts: Mapping[str, str]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    segment: Segment
    text: str | None
    doubt: str = ""  # why it has no partner


def pair(source: Parsed | None, target: Parsed | None, duration: float) -> Paired:
    """Pairs two given texts, or takes one alone, and fits them into a film of `duration` seconds.

    Counts that agree pair by number; else one to one, in order, with the greatest overlap of time. An untimed side
    takes the times of the other by number; where no side has times they are spread over the film by length of text.
    Without any side the result is empty. Raises: BadInput when an untimed side has another count than the other;
    NoSpeech when every cue starts after the film's end.
    """
    if source is None or target is None:
        one = source or target
        if one is None:
            return Paired((), {}, ())
        cues, notices = (one.segments, ()) if one.timed else _spread(one.segments, duration)
        rows = [_Row(cue, None) for cue in cues] if source else [_Row(_bare(cue), cue.text) for cue in cues]
    else:
        rows, notices = _two(source, target, duration)
    return _finish(rows, notices, duration)


def _two(source: Parsed, target: Parsed, duration: float) -> tuple[list[_Row], tuple[Notice, ...]]:
    ours, theirs = source.segments, target.segments
    if len(ours) == len(theirs):
        notices: tuple[Notice, ...] = ()
        if not source.timed and not target.timed:
            ours, notices = _spread(ours, duration)
        elif not source.timed:
            ours = tuple(replace(cue, start=t.start, end=t.end) for cue, t in zip(ours, theirs, strict=True))
        return [_joined(cue, other) for cue, other in zip(ours, theirs, strict=True)], notices
    if not source.timed or not target.timed:
        raise BadInput(
            f"the transcript has {len(ours)} lines and the translation {len(theirs)}, and one of them has no times to pair by",
            "give both the same number of lines, or give both as subtitles with times",
        )
    return _by_time(ours, theirs), ()


def _joined(cue: Segment, other: Segment) -> _Row:
    return _Row(replace(cue, speaker=cue.speaker or other.speaker), other.text)


def _bare(cue: Segment) -> Segment:
    return replace(cue, text="", words=())


def _by_time(ours: Sequence[Segment], theirs: Sequence[Segment]) -> list[_Row]:
    partner = _heaviest(list(_candidates(ours, theirs)))
    rows = [
        _joined(cue, theirs[partner[i]]) if i in partner else _Row(cue, None, "has no translation beside it")
        for i, cue in enumerate(ours)
    ]
    taken = set(partner.values())
    rows += [_Row(_bare(cue), cue.text, "has no source cue") for j, cue in enumerate(theirs) if j not in taken]
    return rows


def _candidates(ours: Sequence[Segment], theirs: Sequence[Segment]) -> Iterator[tuple[int, int, float]]:
    """(i, j, seconds in common) of all pairs that overlap enough, by i, then by falling j."""
    reach, ends = 0.0, list[float]()
    for cue in theirs:
        reach = max(reach, cue.end)
        ends.append(reach)
    starts = [cue.start for cue in theirs]
    for i, cue in enumerate(ours):
        last = bisect_left(starts, cue.end) - 1
        for j in range(last, max(bisect_left(ends, cue.start), last - MOST_RIVALS) - 1, -1):
            common = cue.overlap(theirs[j])
            if common > LEAST_SHARE * min(cue.duration, theirs[j].duration):
                yield i, j, common


def _heaviest(candidates: Sequence[tuple[int, int, float]]) -> dict[int, int]:
    """The one-to-one, order-keeping choice of candidates with the greatest sum: a heaviest rising subsequence.

    `best` holds at each (j + 1) the best chain that ends at or before j, as a Fenwick tree of maxima.
    """
    size = max((j for _, j, _ in candidates), default=0) + 1
    best: list[tuple[float, int]] = [(0.0, -1)] * (size + 1)
    before: list[int] = []
    for n, (_, j, weight) in enumerate(candidates):
        chain = (0.0, -1)
        at = j
        while at > 0:
            chain = max(chain, best[at])
            at &= at - 1
        before.append(chain[1])
        grown = (chain[0] + weight, n)
        at = j + 1
        while at <= size:
            if grown[0] > best[at][0] + 1e-9:
                best[at] = grown
            at += at & -at
    last, found = max(best, key=lambda chain: chain[0])[1], dict[int, int]()
    while last >= 0:
        i, j, _ = candidates[last]
        found[i] = j
        last = before[last]
    return found


def _spread(cues: Sequence[Segment], duration: float) -> tuple[tuple[Segment, ...], tuple[Notice, ...]]:
    total = sum(len(cue.text) for cue in cues)
    done, spread = 0, list[Segment]()
    for cue in cues:
        start, done = seconds(duration * done / total), done + len(cue.text)
        spread.append(replace(cue, start=start, end=seconds(duration * done / total)))
    said = f"The text has no times; its {len(cues)} lines were spread over the film by their length"
    return tuple(spread), (Notice("times-estimated", said),)


def _finish(rows: Sequence[_Row], notices: tuple[Notice, ...], duration: float) -> Paired:
    """Rows by time inside the film, numbered, with a notice for each that is odd."""
    inside = sorted((row for row in rows if row.segment.start < duration), key=lambda row: row.segment.start)
    if rows and not inside:
        hint = "check that the subtitles belong to this film"
        raise NoSpeech(f"all {len(rows)} cues start after the end of the film ({duration:.3f} s)", hint)
    if len(inside) < len(rows):
        first = min(row.segment.start for row in rows if row.segment.start >= duration)
        said = f"{len(rows) - len(inside)} cue(s) from {first:.3f} s on start after the end of the film and were left out"
        notices += (Notice("cue-after-end", said),)
    segments: list[Segment] = []
    texts: dict[str, str] = {}
    for number, row in enumerate(inside, 1):
        id, cue = str(number), row.segment
        segments.append(replace(cue, id=id, end=seconds(min(cue.end, duration))))
        if row.text is not None:
            texts[id] = row.text
        if row.doubt:
            said = f"The cue at {cue.start:.3f} s {row.doubt}"
            notices += (Notice("unpaired-cue", said, line=id),)
    return Paired(tuple(segments), texts, notices)
