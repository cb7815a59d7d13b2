"""Text cut for translation models, which know one sentence at a time, and put together again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from polydub.text.words import CLAUSES, CLOSERS, ENDS, parted

# A full stop after these ends no sentence: titles, single letters and groups of them (U.S.), ordinals.
_TITLES = "mr|mrs|ms|dr|prof|sr|jr|st|vs|gen|col|lt|sgt|capt|rev|gov|sen|sra|srta|dra|ud|uds|mme|mlle|hr|sig|dott|nr|bzw"
_NO_END = re.compile(rf"(?:^|[\s(])(?:{_TITLES}|(?:\w\.)*[^\W\d_]|\d{{1,2}})\.$", re.IGNORECASE)
_WIDE = "。！？｡"
_AFTER = re.compile(rf"[{re.escape(ENDS)}]+[{re.escape(CLOSERS)}]*(?=\s+\S)|[{_WIDE}]+[{re.escape(CLOSERS)}]*(?=\S)")
_CLAUSE = re.compile(rf"[{re.escape(CLAUSES)}]+[{re.escape(CLOSERS)}]*")


def sentences(text: str) -> list[str]:
    """The sentences of `text` without the blanks between them; none of blank text."""
    found: list[str] = []
    begin = 0
    for end in _AFTER.finditer(text):
        so_far = text[begin : end.end()]
        if _NO_END.search(so_far):
            continue
        found.append(so_far.strip())
        begin = end.end()
    return [sentence for sentence in (*found, text[begin:].strip()) if sentence]


def cut(sentence: str, count: Callable[[str], int], limit: int) -> list[str]:
    """`sentence` in parts of at most `limit` pieces as `count` counts them, each ending at a clause, a blank, or anywhere."""
    if count(sentence) <= limit or len(sentence) < 2:
        return [sentence]
    at = _middle(sentence)
    return [part for half in (sentence[:at].strip(), sentence[at:].strip()) if half for part in cut(half, count, limit)]


def _middle(sentence: str) -> int:
    """The best place to part it: nearest to the middle half, clauses before blanks."""
    middle = len(sentence) / 2
    for places in ([m.end() for m in _CLAUSE.finditer(sentence)], [m.end() for m in re.finditer(r"\s+", sentence)]):
        inner = [place for place in places if 0.25 < place / len(sentence) < 0.75]
        if inner:
            return min(inner, key=lambda place: abs(place - middle))
    return max(1, round(middle))


def joined(parts: Sequence[str]) -> str:
    """Translated parts as one text, with blanks where the script has them."""
    text = ""
    for part in parts:
        text += (" " if parted(text, part) else "") + part
    return text
