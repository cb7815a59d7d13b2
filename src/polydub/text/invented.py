"""Removes what recognisers invent: words in silence, loops, impossible times, the credits of other people's subtitles."""

from __future__ import annotations

import math
import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from polydub.spans import bridged
from polydub.text.words import SIGN, blanks, key, length, pieces, unspaced
from polydub.types import Segment, Span, Word, seconds

Reason = Literal["empty", "reversed", "out-of-range", "silent", "repeated", "impossible-rate", "credits", "unsure"]

SPEECH_SHARE, SPEECH_S = 0.1, 0.1  # a segment with less voice activity in it than this was invented
REPEATS = 4  # times that a phrase may not follow itself
PHRASE_WORDS, PHRASE_SIGNS = 6, 24  # longest such phrase; signs of scripts without blanks
COMPRESSION = 2.4  # bytes per compressed byte: Whisper's own limit for repetitions
ECHO_S = 5.0  # within this time the same segment again is an echo
CHARS_PER_S, WORDS_PER_S, SLACK_S = 30.0, 8.0, 0.25  # nobody speaks faster; times are this inexact
DOUBTED = 0.15  # confidence that at least one word must have: laughter and noise become words of less
UNSURE = 0.5  # mean confidence below which, and share of voice activity below which, well-known credits are not believed

# What Whisper learnt from subtitles and says in silence and music. Whole texts, and parts that nobody says in a film.
_CREDITS = """
thanks for watching|thank you for watching|thank you so much for watching|thanks for watching and see you next time
please subscribe|please subscribe to my channel|subscribe to my channel|like and subscribe|see you in the next video
gracias por ver|gracias por ver el video|suscribete al canal|suscribete|obrigado por assistir|obrigada por assistir
merci d'avoir regardé|merci d'avoir regardé cette vidéo|abonnez-vous|vielen dank fürs zuschauen|danke fürs zuschauen
grazie per la visione|grazie per aver guardato il video|bedankt voor het kijken|dziękuję za oglądanie|dzięki za oglądanie
спасибо за просмотр|продолжение следует|подписывайтесь на канал|izlediğiniz için teşekkür ederim|tack för att ni tittade
ご視聴ありがとうございました|最後までご視聴ありがとうございました|チャンネル登録お願いします|谢谢观看|谢谢收看|感谢观看
시청해주셔서 감사합니다|구독과 좋아요 부탁드립니다|شكرا للمشاهدة|اشتركوا في القناة
"""
_CREDIT_PARTS = """
amara.org|subtitles by|subtitled by|captioned by|transcribed by|sous-titrage|sous-titres réalisés|untertitel im auftrag
untertitelung|untertitel von|sottotitoli creati|sottotitoli a cura|subtítulos realizados|subtítulos por|legendas pela
ondertiteling|napisy stworzone
редактор субтитров|субтитры сделал|субтитры создавал|字幕志愿者|字幕由|点赞订阅转发|ترجمة نانسي قنقر
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is left, in order of time; what was `dropped` and why; what was `shortened`, as it was before."""

    segments: tuple[Segment, ...]
    dropped: tuple[tuple[Segment, Reason], ...] = ()
    shortened: tuple[Segment, ...] = ()


def checked(segments: Iterable[Segment], inside: Span, speech: Sequence[Span]) -> Checked:
    """`segments` without what a recogniser invented. No speech: nothing is left.

    Times are those of the words where there are any; words out of order or outside `inside` are put between their
    neighbours and marked estimated while they are the minority, else the words are given up. `speech` is where voice
    activity was found, on the same clock.
    """
    voiced, echo = _Spans(speech), _Echo()
    kept: list[Segment] = []
    dropped: list[tuple[Segment, Reason]] = []
    shortened: list[Segment] = []
    for segment in segments:
        fate = _timed(segment, inside) if key(segment.text) else "empty"
        if isinstance(fate, Segment):
            once = _once(fate)
            reason = _why_not(once, voiced, echo)
            if once is not fate:
                shortened += [segment] if reason is None else []
                reason = "repeated" if reason == "impossible-rate" else reason
            fate = reason or once
        if isinstance(fate, Segment):
            kept.append(fate)
        else:
            dropped.append((segment, fate))
    return Checked(tuple(sorted(kept, key=lambda s: (s.start, s.end))), tuple(dropped), tuple(shortened))


def _why_not(segment: Segment, voiced: _Spans, echo: _Echo) -> Reason | None:
    probe = Span(segment.start - SPEECH_S / 2, segment.end + SPEECH_S / 2)
    share = voiced.overlap(probe) / probe.duration
    if share < max(SPEECH_SHARE, SPEECH_S / probe.duration):
        return "silent"
    text = segment.text.encode("utf-8", "replace")
    if echo.heard(segment) or len(text) > COMPRESSION * len(zlib.compress(text)):
        return "repeated"
    if _credit(segment.text) and (share < UNSURE or _confidence(segment) < UNSURE):
        return "credits"
    if all(word.confidence is not None and word.confidence < DOUBTED for word in segment.words) and segment.words:
        return "unsure"
    room = segment.duration + SLACK_S
    fast = length(segment.text) > CHARS_PER_S * room or len(segment.text.split()) > WORDS_PER_S * room
    return "impossible-rate" if fast else None


_WHOLE_CREDITS = frozenset(key(text) for text in re.split(r"[|\n]", _CREDITS)) - {""}
_PARTS_OF_CREDITS = tuple(key(text) for text in re.split(r"[|\n]", _CREDIT_PARTS) if text)


def _credit(text: str) -> bool:
    bare = key(text)
    return bare in _WHOLE_CREDITS or any(part in bare for part in _PARTS_OF_CREDITS)


def _confidence(segment: Segment) -> float:
    """Mean of the words' confidences; 1.0 where none is known."""
    known = [word.confidence for word in segment.words if word.confidence is not None]
    return sum(known) / len(known) if known else 1.0


class _Spans:
    """Spans, to be asked quickly how much of another span they cover."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = bridged(spans, 0.0)
        self._starts = [span.start for span in self._spans]

    def overlap(self, span: Span) -> float:
        first = max(0, bisect_right(self._starts, span.start) - 1)
        return sum(other.overlap(span) for other in self._spans[first : bisect_left(self._starts, span.end)])


class _Echo:
    """Notices that one segment follows itself: at the second time, or at the third where it is as short as "Yes."."""

    def __init__(self) -> None:
        self._key, self._count, self._end = "", 0, -math.inf

    def heard(self, segment: Segment) -> bool:
        bare = key(segment.text)
        again = bare == self._key and segment.start - self._end < ECHO_S
        self._key, self._count, self._end = bare, self._count + 1 if again else 1, segment.end
        return self._count >= (2 if len(segment.text.split()) >= 3 or length(bare) >= 6 * SIGN else 3)


def _timed(segment: Segment, inside: Span) -> Segment | Reason:
    """The segment with times in order and inside `inside`, or why that cannot be."""
    words = _repaired([word for word in segment.words if word.text.strip()], inside)
    if words:
        return replace(segment, start=words[0].start, end=words[-1].end, words=words)
    if not segment.start < segment.end:
        return "reversed"
    start, end = max(segment.start, inside.start), min(segment.end, inside.end)
    return replace(segment, start=seconds(start), end=seconds(end), words=()) if start < end else "out-of-range"


def _repaired(words: Sequence[Word], inside: Span) -> tuple[Word, ...]:
    """Words in order, none overlapping the next; empty when most of them have no plausible time."""
    usable = [n for n, word in enumerate(words) if inside.start <= word.start <= word.end and word.start <= inside.end]
    trusted = [usable[n] for n in _rising([words[n].start for n in usable])]
    if not trusted or 2 * len(trusted) < len(words):
        return ()
    made = [replace(word, start=words[trusted[0]].start, end=words[trusted[0]].start) for word in words[: trusted[0]]]
    for number, following in pairwise([*trusted, len(words)]):
        word, strays = words[number], words[number + 1 : following]
        end = min(word.end, inside.end)
        until = words[following].start if following < len(words) else end
        made.append(replace(word, end=min(end, until)))
        width = (until - made[-1].end) / max(1, len(strays))
        edges = [made[-1].end + n * width for n in range(len(strays) + 1)]
        made += [replace(w, start=edges[n], end=edges[n + 1]) for n, w in enumerate(strays)]
    sure = set(trusted)
    return tuple(
        replace(w, start=seconds(w.start), end=seconds(w.end), estimated=w.estimated or n not in sure)
        for n, w in enumerate(made)
    )


def _rising(values: Sequence[float]) -> list[int]:
    """Positions of a longest subsequence that never falls; of several, one that keeps the earlier values."""
    lengths: list[int] = []
    before: list[int] = []
    for n, value in enumerate(values):
        best = max((m for m in range(n) if values[m] <= value), key=lengths.__getitem__, default=-1)
        before.append(best)
        lengths.append(lengths[best] + 1 if best >= 0 else 1)
    chain: list[int] = []
    n = max(range(len(values)), key=lengths.__getitem__, default=-1)
    while n >= 0:
        chain.append(n)
        n = before[n]
    return chain[::-1]


def _once(segment: Segment) -> Segment:
    """The segment with phrases that follow themselves REPEATS times said once; the segment itself when there are none."""
    signs = unspaced(segment.text)
    texts = [word.text for word in segment.words] or pieces(segment.text)
    kept = _said_once([key(text) for text in texts], PHRASE_SIGNS if signs else PHRASE_WORDS)
    if len(kept) == len(texts):
        return segment
    if not segment.words:
        end = seconds(segment.start + segment.duration * len(kept) / len(texts))
        return replace(segment, end=end, text=("" if signs else " ").join(texts[n] for n in kept))
    words, spaced = tuple(segment.words[n] for n in kept), blanks(segment)
    text = "".join(" " * spaced[n] + texts[n] for n in kept).strip()
    return replace(segment, start=words[0].start, end=words[-1].end, text=text, words=words)


def _said_once(keys: Sequence[str], longest: int) -> list[int]:
    """Positions that remain."""
    kept: list[int] = []
    at = 0
    while at < len(keys):
        size, times = next(_loops(keys, at, longest), (1, 1))
        kept += range(at, at + size)
        at += size * times
        if times > 1 and list(keys[at:]) == list(keys[at - size : at])[: len(keys) - at]:
            break  # the loop was cut off in the middle
    return kept


def _loops(keys: Sequence[str], at: int, longest: int) -> Iterator[tuple[int, int]]:
    """Length and number of phrases that begin at `at` and follow themselves; figures alone are numbers, not loops."""
    for size in range(1, min(longest, (len(keys) - at) // REPEATS) + 1):
        phrase, times = keys[at : at + size], 1
        while keys[at + times * size : at + (times + 1) * size] == phrase:
            times += 1
        if times >= REPEATS and not "".join(phrase).isdigit():
            yield size, times
