"""Words and their times from the tokens of Kyutai STT, one a frame; and the language from the words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import exp, log

from polydub.engines.asr.hearing import probability, readable, spoken_s
from polydub.types import Word

FRAME_S = 0.08  # of sound for one token
BEGINS = "▁"  # of a piece that begins a word
SURE = 5  # words of one language before it is told without reserve
_COMMON = {
    "en": "the and of to is that it was for you he she are with this have not they at but we what his her",
    "fr": "le la les de des et est que qui une un pas pour dans ce je vous nous il elle sur avec au du ne",
}
WORDS = {tag: frozenset(text.split()) for tag, text in _COMMON.items()}


@dataclass
class Frame:
    """What the model says in one frame: the number of the token, from 1, its text and how sure it is."""

    index: int
    id: int
    probability: float


@dataclass
class Spelling:
    """How tokens are read. Attributes: pad: the highest token that is no text. last: the highest that is."""

    pad: int
    last: int
    piece: Callable[[int], str]
    decode: Callable[[list[int]], str]


@dataclass
class _Pending:
    """A word of which more may come."""

    begun: int
    ids: list[int] = field(default_factory=list[int])
    doubt: float = 0.0


def words_of(frames: Iterable[Frame], spelling: Spelling, delay_s: float) -> Iterator[Word]:
    """Words as soon as they end: with the next word, or when nothing follows for as long as they take to say.

    A word begins with its first piece, `delay_s` (the model's delay and the silence put before the sound) before that piece
    comes out: the rule of Moshi, Defossez et al. 2024, section 3.4. When it ends no token says; that is taken from its
    length, and is never after the next word begins. Times before the sound are negative.
    """

    def at(index: int) -> float:
        return (index - 1) * FRAME_S - delay_s

    def made(word: _Pending, before: float) -> Iterator[Word]:
        text = readable(spelling.decode(word.ids))
        end = min(before, max(at(word.begun + len(word.ids)), at(word.begun) + spoken_s(text)))
        if text:
            yield Word(at(word.begun), end, text, probability(exp(word.doubt / len(word.ids))))

    pending: _Pending | None = None
    for frame in frames:
        if spelling.pad < frame.id <= spelling.last:
            if pending and spelling.piece(frame.id).startswith(BEGINS):
                yield from made(pending, at(frame.index))
                pending = None
            pending = pending or _Pending(frame.index)
            pending.ids.append(frame.id)
            pending.doubt += log(max(frame.probability, 1e-6))
        elif pending and at(frame.index) >= at(pending.begun) + spoken_s(spelling.decode(pending.ids)):
            yield from made(pending, at(frame.index))
            pending = None
    if pending:
        yield from made(pending, float("inf"))


def likelier(texts: Iterable[str]) -> tuple[str, float]:
    """Which of the two languages the words are of, and its share of what speaks for either; "und" when nothing does."""
    counts = dict.fromkeys(WORDS, 0)
    for text in texts:
        for part in re.split(r"[^\w]+", text.lower()):
            for tag, common in WORDS.items():
                counts[tag] += part in common
    tag = max(counts, key=lambda tag: counts[tag])
    if not counts[tag]:
        return "und", 0.0
    return tag, round(counts[tag] / sum(counts.values()) * min(1.0, counts[tag] / SURE), 3)
