"""What was heard, cut anew for dubbing: sentences or breath groups of one speaker each."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from polydub.text.invented import Checked, checked
from polydub.text.words import CLAUSES, CLOSERS, ENDS, blanks, length, parted, pieces
from polydub.types import Segment, Span, Turn, Word, seconds

__all__ = ["Checked", "checked", "sentences"]

PAUSE_S = 0.6  # ends a breath group
SMALL_PAUSE_S = 0.3  # ends a sentence after a full stop that may belong to an abbreviation
LONGEST_S, LONGEST_CHARS = 12.0, 200.0
FRAGMENT_S = 0.4  # a single shorter word is joined to its neighbour
COMMA_S = 0.3  # a comma is worth as long a pause when something too long is cut

_LETTER = "[A-Za-zÀ-ɏͰ-ӿ]"
_TITLES = "mr|mrs|ms|dr|prof|sr|jr|st|vs|gen|col|lt|sgt|capt|rev|gov|sen|sra|srta|dra|ud|uds|mme|mlle|hr|sig|dott|nr|bzw"
_NO_END = re.compile(rf"(?:{_TITLES}|(?:{_LETTER}\.)*{_LETTER}|\d{{1,2}})\.", re.IGNORECASE)
_MAYBE_END = re.compile(r"(?:.*(?:\.\.|…)|etc\.|usw\.|ecc\.)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Atom:
    """A word in the stream: whether a blank stands before it, who says it, and what ends after it, if anything."""

    word: Word
    spaced: bool
    speaker: str
    end: Literal["", "pause", "sentence"] = ""


def sentences(segments: Sequence[Segment], turns: Sequence[Turn]) -> tuple[Segment, ...]:
    """The words of `segments` cut anew into segments of one speaker and one sentence or breath group, ids "1", "2", ...

    Cuts are at ends of sentences, pauses of PAUSE_S and changes of speaker, then at the best places of what is longer
    than LONGEST_S or LONGEST_CHARS. A word belongs to the turn that covers it most, else to the nearest; without turns the
    speaker is "". Every word is kept once and in order; where words overlap, the earlier one ends sooner. Segments without
    words stay whole, unless they are too long and several people speak in them: then their text is cut in proportion.
    """
    voices = _Voices(turns)
    made: list[Segment] = []
    ordered = _in_order(sorted(segments, key=lambda s: (s.start, s.end)))
    for (worded, kind), group in groupby(ordered, key=lambda s: (bool(s.words), s.kind)):
        if worded:
            pieces = (piece for part in _groups(_atoms(group, voices)) for piece in _cut(part))
            made += [_segment(part, kind) for part in _without_fragments(list(pieces))]
        else:
            made += [piece for segment in group for piece in _wordless(segment, voices)]
    made.sort(key=lambda s: s.start)
    return tuple(replace(segment, id=str(n)) for n, segment in enumerate(made, 1))


def _in_order(segments: Sequence[Segment]) -> list[Segment]:
    """The same words, with starts that never fall and ends that do not pass the next start."""
    words = [word for segment in segments for word in segment.words]
    at, ordered = -math.inf, list[Word]()
    for n, word in enumerate(words):
        at = max(at, word.start)
        following = words[n + 1].start if n + 1 < len(words) else math.inf
        ordered.append(replace(word, start=at, end=max(at, min(word.end, following))))
    remaining = iter(ordered)
    return [replace(segment, words=tuple(next(remaining) for _ in segment.words)) for segment in segments]


class _Voices:
    """Who speaks when, to be asked quickly."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda t: (t.start, t.end))
        self._starts = [turn.start for turn in self._turns]
        self._latest: list[int] = []  # of the turns up to here, the one that ends last
        for n, turn in enumerate(self._turns):
            best = self._latest[-1] if n else 0
            self._latest.append(n if turn.end >= self._turns[best].end else best)

    def shares(self, span: Span) -> dict[str, float]:
        """Seconds of each speaker in `span`."""
        found: dict[str, float] = {}
        n = bisect_left(self._starts, span.end) - 1
        while n >= 0 and self._turns[self._latest[n]].end > span.start:
            turn = self._turns[n]
            shared = turn.overlap(span)
            if shared:
                found[turn.speaker] = found.get(turn.speaker, 0.0) + shared
            n -= 1
        return found

    def of(self, span: Span, previous: str = "") -> str:
        """Who says `span`; of two who say it equally long the `previous` speaker."""
        span = Span(span.start, max(span.end, span.start + 0.01))
        shares = self.shares(span)
        if shares:
            return max(sorted(shares), key=lambda speaker: (shares[speaker], speaker == previous))
        after = bisect_left(self._starts, span.end)
        near = [self._turns[self._latest[after - 1]]] if after else []
        near += self._turns[after : after + 1]
        return min(near, key=lambda t: max(span.start - t.end, t.start - span.end)).speaker if near else ""


def _atoms(segments: Iterable[Segment], voices: _Voices) -> list[_Atom]:
    found: list[_Atom] = []
    for segment in segments:
        for word, spaced in zip(segment.words, blanks(segment), strict=True):
            before = found[-1] if found else None
            first = before is not None and word is segment.words[0]
            blank = parted(before.word.text, word.text) if before and first else spaced
            found.append(_Atom(word, blank, voices.of(word, before.speaker if before else "")))
    following = [*(atom.word for atom in found[1:]), Word(math.inf, math.inf)]
    return _without_strays([replace(atom, end=_end(atom.word, after)) for atom, after in zip(found, following, strict=True)])


def _end(word: Word, following: Word) -> Literal["", "pause", "sentence"]:
    """What ends between two words."""
    pause = following.start - word.end
    otherwise = "pause" if pause >= PAUSE_S else ""
    bare = word.text.rstrip(CLOSERS)
    if not bare or bare[-1] not in ENDS:
        return otherwise
    if pause >= SMALL_PAUSE_S:
        return "sentence"
    goes_on = next((c for c in following.text if c.isalpha()), "").islower()
    doubtful = _NO_END.fullmatch(bare) or (goes_on and (bare != word.text or _MAYBE_END.fullmatch(bare)))
    return "" if doubtful else "sentence"


def _without_strays(atoms: Sequence[_Atom]) -> list[_Atom]:
    """A lone word of another speaker is a slip of diarization, unless it is a breath group of its own.

    So is one that only begins or ends the sentence of someone else.
    """
    found = list(atoms)
    for n in range(len(found)):
        found[n] = replace(found[n], speaker=_rightful(found, n))
    return found


def _rightful(atoms: Sequence[_Atom], n: int) -> str:
    own, left, right = atoms[n], atoms[n - 1] if n else None, atoms[n + 1] if n + 1 < len(atoms) else None
    before = left if left and not left.end else None  # in the same breath group
    after = right if right and not own.end else None
    beside = {other.speaker for other in (before, after) if other}
    if not beside or own.speaker in beside:
        return own.speaker
    if left and right and left.speaker == right.speaker:
        return left.speaker
    if before and own.end == "sentence" and _together(atoms, n - 2):
        return before.speaker
    if after and left and left.end == "sentence" and _together(atoms, n + 1):
        return after.speaker
    return own.speaker


def _together(atoms: Sequence[_Atom], n: int) -> bool:
    """Whether word `n` and the next are of one speaker and one breath group."""
    return 0 <= n < len(atoms) - 1 and atoms[n].speaker == atoms[n + 1].speaker and not atoms[n].end


def _groups(atoms: Sequence[_Atom]) -> Iterator[list[_Atom]]:
    group: list[_Atom] = []
    for atom in atoms:
        if group and (group[-1].end or group[-1].speaker != atom.speaker):
            yield group
            group = []
        group.append(atom)
    if group:
        yield group


def _fits(atoms: Sequence[_Atom]) -> bool:
    short = atoms[-1].word.end - atoms[0].word.start <= LONGEST_S
    return short and sum(length(a.word.text) + a.spaced for a in atoms) <= LONGEST_CHARS


def _cut(atoms: Sequence[_Atom]) -> list[Sequence[_Atom]]:
    """`atoms` in pieces that fit, cut at the longest pause or a comma, not near the ends."""
    count = len(atoms)
    if count < 2 or _fits(atoms):
        return [atoms]

    def worth(n: int) -> tuple[float, int]:
        before, after = atoms[n - 1].word, atoms[n].word
        comma = COMMA_S if before.text.rstrip(CLOSERS)[-1:] in tuple(CLAUSES) else 0.0
        return seconds(after.start - before.end + comma), -abs(2 * n - count)

    best = max(range(max(1, count // 5), min(count - 1, count - count // 5) + 1), key=worth)
    return _cut(atoms[:best]) + _cut(atoms[best:])


def _without_fragments(groups: Sequence[Sequence[_Atom]]) -> list[Sequence[_Atom]]:
    """Lone words shorter than FRAGMENT_S are joined to the nearer neighbour of the same speaker."""

    def gap(left: Sequence[_Atom], right: Sequence[_Atom]) -> float:
        joinable = left and right and left[0].speaker == right[0].speaker and _fits([*left, *right])
        return right[0].word.start - left[-1].word.end if joinable else math.inf

    made: list[Sequence[_Atom]] = []
    waiting: Sequence[_Atom] = ()
    for n, group in enumerate(groups):
        own = [*waiting, *group]
        waiting = ()
        if len(own) == 1 and own[0].word.duration < FRAGMENT_S:
            before = gap(made[-1] if made else (), own)
            after = gap(own, groups[n + 1] if n + 1 < len(groups) else ())
            if before < PAUSE_S and before <= after:
                made[-1] = [*made[-1], *own]
                continue
            if after < PAUSE_S:
                waiting = own
                continue
        made.append(own)
    return made


def _segment(atoms: Sequence[_Atom], kind: Literal["speech", "song", "nonverbal"]) -> Segment:
    words = tuple(atom.word for atom in atoms)
    text = "".join(" " * (atom.spaced and n > 0) + atom.word.text for n, atom in enumerate(atoms))
    return Segment(words[0].start, words[-1].end, speaker=atoms[0].speaker, text=text, words=words, kind=kind)


def _wordless(segment: Segment, voices: _Voices) -> Iterator[Segment]:
    whole = replace(segment, speaker=voices.of(segment))
    long = segment.duration > LONGEST_S or length(segment.text) > LONGEST_CHARS
    texts = pieces(segment.text)
    if not long or len(voices.shares(segment)) < 2 or len(texts) < 2:
        yield whole
        return
    width = segment.duration / len(texts)
    edges = [seconds(segment.start + n * width) for n in range(len(texts))] + [segment.end]
    words = tuple(Word(edges[n], edges[n + 1], text) for n, text in enumerate(texts))
    for _, group in groupby(_atoms([replace(segment, words=words)], voices), key=lambda atom: atom.speaker):
        yield replace(_segment(list(group), segment.kind), words=())
