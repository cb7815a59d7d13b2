"""A long text in pieces that a voice can speak one by one: cut after sentences, else clauses, else words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from polydub.text import phrases
from polydub.text.words import CLAUSES, CLOSERS, ENDS, unspaced

MOST, LEAST = 1000, 150  # characters of a piece; the last one, if shorter than LEAST, joins the one before
PAUSE_S = 0.04  # of silence between two pieces
_SENTENCE, _CLAUSE, _WORD, _SIGN = 3, 2, 1, 0
_WIDE_END = re.compile(rf"[{re.escape(ENDS)}]+[{re.escape(CLOSERS)}]*")
_WIDE_CLAUSE = re.compile(rf"[{re.escape(CLAUSES)}]+[{re.escape(CLOSERS)}]*")
_JOINERS = "\u200d\u200c"  # emoji and Indic letters hang together at these


def split(text: str, most: int = MOST, least: int = LEAST, language: str = "und") -> tuple[str, ...]:
    """`text` in pieces of at most `most` characters, without blanks around them; blank text has none.

    Each piece ends with the last sentence that fits, or else the last clause, the last word, the last letter with its
    accents. A last piece shorter than `least` joins the one before, which then may be longer than `most`; 0 = never.
    Nothing but blanks at the cuts is lost. Raises: ValueError when `most` is below 1.
    """
    if most < 1:
        raise ValueError("a piece wants at least one character")
    text = text.strip()
    ends = [0]
    while len(text) - ends[-1] > most:
        rest = text[ends[-1] :]
        cut = _cut(rest, most, language)
        ends.append(ends[-1] + cut + len(rest[cut:]) - len(rest[cut:].lstrip()))
    if len(ends) > 1 and len(text) - ends[-1] < least:
        ends.pop()
    pieces = (text[a:b].rstrip() for a, b in pairwise((*ends, len(text))))
    return tuple(piece for piece in pieces if piece)


def _cut(text: str, most: int, language: str) -> int:
    """Where the first piece of `text`, which is longer than `most`, ends."""
    window = text[: most + 1]  # a blank right behind the piece is a place to cut, too
    best = max(_places(window, text, language), default=None)
    if best is not None:
        return best[1]
    at = most
    while at > 1 and _hangs(text, at):
        at -= 1
    return at if at > 1 or not _hangs(text, 1) else most


def _places(window: str, text: str, language: str) -> Iterator[tuple[int, int]]:
    """(how good, where) of each place within `window`, the beginning of `text`; the later of two equals is the better."""
    most = len(window) - 1
    for at, strength in _borders(text[: most + 40], language):
        if at > 0 and len(text[:at].rstrip()) <= most:
            yield _SENTENCE if strength >= phrases.SENTENCE else _CLAUSE, at
    for blank in re.finditer(r"\s+", window):
        if 0 < blank.start() <= most:
            yield _WORD, blank.start()


def _borders(text: str, language: str) -> Iterator[tuple[int, float]]:
    """Ends of sentences and clauses. Scripts without blanks are cut at their punctuation: their words need a dictionary."""
    if not unspaced(text):
        yield from ((b.at, b.strength) for b in phrases.borders(text, language) if b.strength >= phrases.COMMA)
        return
    for pattern, strength in ((_WIDE_END, phrases.SENTENCE), (_WIDE_CLAUSE, phrases.CLAUSE)):
        for mark in pattern.finditer(text):
            inside = text[mark.end() : mark.end() + 1].isdigit() and text[: mark.start()][-1:].isdigit()  # "3.5"
            if not inside:
                yield mark.end(), strength


def _hangs(text: str, at: int) -> bool:
    """Whether the letter at `at` belongs to the one before it: an accent, a joiner, a mark of emoji."""
    after, before = text[at], text[at - 1]
    return (
        unicodedata.category(after).startswith("M")
        or after in _JOINERS
        or before in _JOINERS
        or "\U0001f3fb" <= after <= "\U0001f3ff"
    )
