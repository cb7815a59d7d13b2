"""How far what a recogniser heard is from what should have been said."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from polydub.text.words import unspaced

NUMBER_WORDS = 4  # words that one number may be heard as: "1984" as "nineteen hundred eighty four"


def word_error(text: str, heard: str, language: str) -> float:
    """Edits between the words of both, by the number of words in `text`; characters where words are not parted by blanks.

    Case, punctuation, apostrophes and width do not count. Numbers may be heard as up to four words each. 0.0 for a text
    without a word; more than 1.0 where much more was heard.
    """
    wanted, got = _tokens(text, language), _tokens(heard, language)
    if not wanted:
        return 0.0
    forgiven = NUMBER_WORDS * sum(any(c.isdigit() for c in token) for token in wanted)
    return max(0, _edits(wanted, got) - forgiven) / len(wanted)


def _tokens(text: str, language: str) -> Sequence[str]:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    plain = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in folded)
    by_character = unspaced(folded) or language.partition("-")[0].casefold() in ("zh", "ja", "th", "lo", "km", "my", "yue")
    return "".join(plain.split()) if by_character else plain.split()


def _edits(wanted: Sequence[str], got: Sequence[str]) -> int:
    """Insertions, deletions and substitutions (Levenshtein)."""
    row = list(range(len(got) + 1))
    for i, a in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
