"""Words and blanks in all scripts: how long a text is, what makes two texts the same, where a blank belongs."""

from __future__ import annotations

import re
import unicodedata

from polydub.types import Segment

SIGN = 2.5  # Latin letters that one Chinese, Japanese or Korean sign takes the time and the room of
ENDS = ".?!…‽。？！｡．؟۔।॥։።။។"
CLAUSES = ",;:—–،؛、，；：・"
CLOSERS = "\"'”’»›)]}」』）】》〉"
# Scripts without blanks between words: CJK, Thai and Lao, Tibetan, Burmese, Khmer.
_UNSPACED = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")


def speakable(text: str) -> bool:
    """Whether there is anything to say in `text`: a letter or a digit."""
    return any(c.isalnum() for c in text)


def unspaced(text: str) -> bool:
    """Whether `text` holds signs of a script that puts no blanks between words."""
    return _UNSPACED.search(text) is not None


def pieces(text: str) -> list[str]:
    """`text` in words, or in signs where its script has no blanks."""
    return list("".join(text.split())) if unspaced(text) else text.split()


def length(text: str) -> float:
    """Characters of `text`, a wide sign counted as SIGN."""
    return sum(SIGN if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)


def key(text: str) -> str:
    """`text` without case, blanks and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum() or unicodedata.combining(c))


def blanks(segment: Segment) -> list[bool]:
    """For each word whether a blank stands before it in the segment's text; by script where the text lacks the word."""
    found: list[bool] = []
    at, previous = 0, ""
    for word in segment.words:
        place = segment.text.find(word.text, at) if word.text else -1
        if place < 0 or not previous:
            found.append(parted(previous, word.text))
        else:
            found.append(any(c.isspace() for c in segment.text[at:place]))
        at, previous = max(at, place + len(word.text)) if place >= 0 else at, word.text
    return found


def parted(left: str, right: str) -> bool:
    """Whether a blank belongs between two words."""
    if not left or not right or not key(right):
        return bool(left) and bool(right) and right[0] not in ENDS + CLAUSES + CLOSERS
    return not (unspaced(left[-1]) and unspaced(right[0]))
