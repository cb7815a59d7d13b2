"""Subtitles to be read: what is said cut into cues, and cues put in time so that they keep to the timed-text rules.

The limits are those of common timed-text guides: 42 characters (16 full-width) a line, 2 lines, 17 characters a second,
5/6 to 7 seconds, 2 frames between cues, smaller gaps than half a second closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TypeVar

from polydub.text.breaking import Text
from polydub.text.cue_rules import FALLBACK_FPS, SMALL_GAP_S, STANDARD, CueLimits, known_fps, line_limit, width
from polydub.text.subtitle_files import Bilingual, Exchange
from polydub.types import Cue, Span, Word, seconds

LINGER_S = 0.5  # a cue that is hard to read in its time may stay this much longer
FASTEST_CPS = 20.0  # when two people speak at once, time is dealt out so that neither cue reads faster, if it can be
C = TypeVar("C", bound=Cue)


def split_into_cues(
    text: str, span: Span, limits: CueLimits = STANDARD, speaker: str = "", language: str = "und"
) -> tuple[Cue, ...]:
    """`text` as cues inside `span`, balanced, in order, every word once; none for a text without words.

    A line is longer than the limit only where one word is. Times go by the length of the text; a lone cue in a shorter
    span is held for `min_s`, no cue stays longer than `max_s`. A cue reads faster than `cps` where the span leaves no
    more time. Right-to-left text is broken at blanks and otherwise untouched, in logical order.
    """
    whole = Text(text, language, limits)
    pieces = whole.cues(span.duration)
    bodies = ["\n".join(whole.lines(i, j)[1]) for i, j in pieces]
    times = _dealt(span, [whole.width(i, j) for i, j in pieces], limits)
    return tuple(Cue(start, end, body, speaker) for (start, end), body in zip(times, bodies, strict=True))


def split_both(said: Cue, other: str, languages: tuple[str, str], limits: CueLimits = STANDARD) -> tuple[Bilingual, ...]:
    """A text and its translation as cues that show both, each in at most the lines allowed.

    Args: said: the text, its span and its speaker. other: the same in the other language; "" = none. languages: of both.
    Times and cuts go by the longer of the two, measured in cues. Without `other` each cue shows the text alone.
    """
    span = Span(said.start, said.end)
    texts = (Text(said.text, languages[0], limits), Text(other, languages[1], limits))
    count = max(len(text.cues(span.duration)) for text in texts)
    if count == 0:
        return ()
    rows = [["\n".join(text.lines(i, j)[1]) for i, j in text.exactly(count)] for text in texts]
    ours, theirs = ([*own, *[""] * (count - len(own))] for own in rows)
    shown = list(zip(ours, theirs, strict=True))
    times = _dealt(span, [max(width(a), width(b)) for a, b in shown], limits)
    return tuple(Bilingual(s, e, a, said.speaker, (), b) for (s, e), (a, b) in zip(times, shown, strict=True))


def _dealt(span: Span, widths: Sequence[int], limits: CueLimits) -> list[tuple[float, float]]:
    """Start and end of cues of these widths that fill `span`."""
    if not widths:
        return []
    shares = _shares([max(1, columns) for columns in widths], span.duration, limits.min_s)
    edges = [seconds(span.start + before) for before in accumulate(shares, initial=0.0)]
    if len(widths) == 1:
        edges[1] = max(edges[1], seconds(span.start + limits.min_s))
    return [(start, seconds(min(end, start + limits.max_s))) for start, end in pairwise(edges)]


def _shares(widths: Sequence[int], duration: float, least: float) -> list[float]:
    """`duration` dealt out by width, at least `least` seconds each where there is enough."""
    shares = [duration * columns / sum(widths) for columns in widths]
    if duration < least * len(widths):
        return shares
    wanted = [max(share, least) for share in shares]
    spare = sum(wanted) - least * len(widths)
    scale = (duration - least * len(widths)) / spare if spare > 0 else 0.0
    return [least + (share - least) * scale for share in wanted]


def timed(cues: Sequence[C], words: Sequence[Word]) -> tuple[C, ...]:
    """The cues of one text with its words' times: where the text was cut, a cue begins and ends with its words.

    Words and text are compared without their blanks, so that it also works where words are written without any. Cues are
    left as they are when they do not say the same, or where a word would be in two of them.
    """
    letters = ["".join(cue.text.split()) for cue in cues]
    bare = ["".join(word.text.split()) for word in words]
    begins = list(accumulate(map(len, bare), initial=0))
    edges = list(accumulate(map(len, letters), initial=0))
    if not words or "".join(letters) != "".join(bare) or not set(edges) <= set(begins):
        return tuple(cues)
    made: list[C] = []
    for number, (cue, (low, high)) in enumerate(zip(cues, pairwise(edges), strict=True)):
        own = tuple(words[begins.index(low) : begins.index(high)])
        start = cue.start if number == 0 else max(own[0].start, made[-1].start)
        end = cue.end if number == len(cues) - 1 else max(start, own[-1].end)
        made.append(replace(cue, start=start, end=end, words=own))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class Clock:
    """The film's: frames a second (0 = none: times are kept to 1 ms and two frames are 80 ms), and its end in seconds
    (0 = unknown: the last cue is not held for reading)."""

    fps: float = 0.0
    ends: float = 0.0


@dataclass(frozen=True, slots=True)
class _Grid:
    """All times as whole frames; without frames as milliseconds."""

    rate: float
    gap: int
    small: int
    least: int
    most: int

    def at(self, number: int) -> float:
        """When a frame begins, rounded down to 1 ms: a player that shows the frame then shows the cue with it."""
        return math.floor(number * 1000 / self.rate + 1e-6) / 1000

    def reading(self, cue: Cue, cps: float) -> int:
        """Frames that reading the cue takes at `cps` columns a second."""
        own, other = (sum(map(width, text.split("\n"))) for text in (cue.text, cue.other if isinstance(cue, Bilingual) else ""))
        return math.ceil(max(own, other) / cps * self.rate)


def _grid(clock: Clock, limits: CueLimits) -> _Grid:
    rate = known_fps(clock.fps)
    gap = 2 if rate else round(2000 / FALLBACK_FPS)
    rate = rate or 1000.0
    least, most = math.ceil(limits.min_s * rate - 1e-6), math.floor(limits.max_s * rate + 1e-6)
    return _Grid(rate, gap, math.floor(SMALL_GAP_S * rate + 1e-6), least, most)


@dataclass(slots=True)
class _Shown:
    """A cue on the grid while it is moved: the first frame that shows it, and the first that does not."""

    cue: Cue
    start: int
    end: int


def close_gaps(cues: Sequence[Cue], clock: Clock, limits: CueLimits = STANDARD, language: str = "und") -> tuple[Cue, ...]:
    """Cues in order of time on frame borders, two frames or more apart: none overlaps another.

    Gaps of up to half a second are closed to two frames; a cue too short to be read stays up to half a second longer than
    its speech, or for `min_s`, where nothing follows at once. Where two people speak at once, one cue shows both, a line
    each behind a dash, if it can; else the cues follow each other and the later one comes later. A cue that would be
    shorter than `min_s` joins the next one of its speaker, or makes that one up to half a second late. The first start of a
    cue is the nearest frame. A cue that would begin at the film's end or later is shown in its last frames.
    """
    grid = _grid(clock, limits)
    ends = math.floor(clock.ends * grid.rate) if clock.ends > 0 else None
    shown = [_Shown(cue, round(cue.start * grid.rate), math.ceil(cue.end * grid.rate - 1e-3)) for cue in cues]
    shown = _together(sorted(shown, key=lambda s: s.start), grid, limits, language)
    _one_after_another(shown, grid)
    _last_ends(shown, grid, ends)
    for i, here in enumerate(shown):
        following = shown[i + 1].start - grid.gap if i + 1 < len(shown) else ends
        _let_stand(here, following, grid, limits)
    return tuple(_held(s.cue, grid.at(s.start), grid.at(s.end)) for s in shown)


def _held(cue: Cue, start: float, end: float) -> Cue:
    """The cue at other times, and its words inside them."""
    words = tuple(replace(w, start=min(max(w.start, start), end), end=min(max(w.end, start), end)) for w in cue.words)
    return replace(cue, start=start, end=end, words=words)


def _together(cues: list[_Shown], grid: _Grid, limits: CueLimits, language: str) -> list[_Shown]:
    """Cues that cannot stand alone made one with a neighbour, where that one has room."""
    done: list[_Shown] = []
    for i, here in enumerate(cues):
        last = done[-1] if done else None
        following = cues[i + 1].start if i + 1 < len(cues) else None
        if last is None or not _must_join(last, here, following, grid):
            done.append(here)
            continue
        one = _joined(last.cue, here.cue, limits, language)
        span = max(last.end, here.end) - last.start
        if one is None or span > grid.most:
            done.append(here)
        else:
            done[-1] = _Shown(one, last.start, last.start + span)
    return done


def _must_join(last: _Shown, here: _Shown, following: int | None, grid: _Grid) -> bool:
    if here.start - last.end >= grid.small:
        return False
    both_at_once = last.cue.speaker != here.cue.speaker and min(last.end, here.end) - here.start > grid.small // 2
    last_cut_short = here.start - grid.gap - last.start < grid.least
    here_cut_short = following is not None and following - grid.gap - here.start < grid.least
    return both_at_once or last_cut_short or here_cut_short


def _joined(a: Cue, b: Cue, limits: CueLimits, language: str) -> Cue | None:
    """Both in one cue: a line each behind a dash for two people, one text for the same; None where there is no room."""
    if isinstance(a, Bilingual | Exchange) or isinstance(b, Bilingual | Exchange):
        return None
    texts = [" ".join(cue.text.split()) for cue in (a, b)]
    if a.speaker == b.speaker:
        whole = Text(" ".join(texts), language, limits)
        if whole.line_count(0, len(whole)) > limits.lines:
            return None
        words = (*a.words, *b.words) if a.words and b.words else ()
        return replace(a, end=max(a.end, b.end), text="\n".join(whole.lines(0, len(whole))[1]), words=words)
    rows = [f"- {text}" for text in texts]
    if limits.lines < 2 or any(width(row) > line_limit(row, limits) for row in rows):
        return None
    return Exchange(a.start, max(a.end, b.end), "\n".join(rows), "", (), (a.speaker, b.speaker))


def _one_after_another(cues: list[_Shown], grid: _Grid) -> None:
    """No cue before the last one has ended: that one is cut, and this one late where the cut would leave too little."""
    for last, here in pairwise(cues):
        room = here.start - grid.gap - last.start
        if last.end - last.start > room or room < grid.least:
            if last.cue.speaker != here.cue.speaker and last.end > here.start:
                least = max(grid.least, _share(last, here, grid))
            else:
                least = min(grid.least, room + grid.small)
            held = max(least, grid.gap)
            last.end = last.start + held if held > room else min(last.end, last.start + room)
        here.start = max(here.start, last.end + grid.gap)
        here.end = max(here.end, here.start + grid.gap)


def _share(last: _Shown, here: _Shown, grid: _Grid) -> int:
    """Frames for the first of two cues that are said at once, by what there is to read of each."""
    needs = [grid.reading(shown.cue, FASTEST_CPS) for shown in (last, here)]
    whole = max(last.end, here.end) + round(LINGER_S * grid.rate) - last.start - grid.gap
    return min(needs[0], whole * needs[0] // max(1, sum(needs)))


def _last_ends(cues: list[_Shown], grid: _Grid, ends: int | None) -> None:
    """Everything inside the film, from its end backwards."""
    if ends is None:
        return
    room = ends
    for here in reversed(cues):
        if here.end <= room:
            break
        here.end = max(room, grid.gap)
        here.start = max(0, min(here.start, here.end - grid.gap))
        room = here.start - grid.gap


def _let_stand(here: _Shown, room: int | None, grid: _Grid, limits: CueLimits) -> None:
    """The end of a cue before `room`, the last frame it may have: long enough to read, and no small gap behind it."""
    most = here.start + grid.most
    end = min(here.end, most)
    if room is not None:
        linger = round(LINGER_S * grid.rate)
        held = max(end, min(here.start + grid.least, most))
        wish = max(held, min(here.start + grid.reading(here.cue, limits.cps), end + linger, most))
        free = room + grid.gap - grid.small - 1  # the last end that leaves no small gap
        if wish > free:  # closed where that is due to the speech, else cut to leave a wide one
            closes = room <= most and (held > free or room - end <= linger)
            wish = room if closes else free
        end = min(wish, room)
    here.end = max(end, here.start + 1)
