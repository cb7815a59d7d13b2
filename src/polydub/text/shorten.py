"""A line made shorter by leaving out words that say little. It only deletes; what stays is what was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from polydub.text import durations
from polydub.text.removable import REMOVABLE, Removable
from polydub.text.words import ENDS

_WORD = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
_VOWELS = "aeiouáéíóúàèìòùâêîôûäëïöüœæ"
_ELIDED = frozenset(
    ["je", "me", "te", "se", "le", "la", "ne", "de", "que", "jusque", "lorsque", "puisque"]
)  # before a vowel they lose their own
_ARTICLES = frozenset(
    [
        "il",
        "lo",
        "la",
        "i",
        "gli",
        "le",
        "un",
        "uno",
        "una",
        "del",
        "dello",
        "al",
        "allo",
        "nel",
        "nello",
        "dal",
        "dallo",
        "sul",
        "sullo",
        "bel",
        "quel",
    ]
)
_QUOTES = "\"'“”„«»‘’"


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text, with the punctuation that touches it; `name`: with a capital that begins no sentence."""

    before: str
    core: str
    after: str
    name: bool = False

    @property
    def key(self) -> str:
        return self.core.casefold().replace("’", "'")

    @property
    def ends(self) -> bool:
        """A sentence ends behind it."""
        return any(c in ENDS for c in self.after)

    @property
    def whole(self) -> str:
        return self.before + self.core + self.after


_Found = tuple[int, int, int]  # rank, first word, word behind the last


def shortened(text: str, language: str, target_share: float) -> tuple[str, tuple[str, ...]] | None:
    """`text` without words that say little, and these words as they stood; None where none can go.

    Goes as far as `target_share` of the text's predicted duration, not further, or as far as it can; the emptiest words go
    first. Only words and phrases of the `language`'s list (REMOVABLE) go: no number, name, negation or word that is
    capitalised inside a sentence, no adverb beside a negation, and never all words. Punctuation and the capital at the start
    of a sentence are set right.
    """
    known = REMOVABLE.get(language.partition("-")[0].casefold())
    if known is None or target_share >= 1:
        return None
    family = language.partition("-")[0].casefold()
    pace = durations.prior(language)
    goal = target_share * durations.predict(pace, text, language)
    words = _words(text)
    removed: list[str] = []
    while durations.predict(pace, _joined(words), language) > goal:
        best = min(_removable(words, known, family), default=None)
        if best is None:
            break
        _, start, stop = best
        removed.append(" ".join(w.core for w in words[start:stop]))
        words = _without(words, start, stop)
    return (_joined(words), tuple(removed)) if removed else None


def _words(text: str) -> list[_Word]:
    words = [_Word(m[1], m[2], m[3]) for token in text.split() if (m := _WORD.fullmatch(token))]
    inside = [w.core if n and not words[n - 1].ends else w.core[1:] for n, w in enumerate(words)]
    return [replace(w, name=part != part.lower()) for w, part in zip(words, inside, strict=True)]


def _joined(words: list[_Word]) -> str:
    return " ".join(w.whole for w in words)


@cache
def _ranks(entries: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    return {tuple(entry.split()): rank for rank, entry in enumerate(entries)}


def _removable(words: list[_Word], known: Removable, family: str) -> Iterator[_Found]:
    """What may go from `words`, with its rank: markers before adverbs."""
    markers, adverbs = _ranks(known.markers), _ranks(known.adverbs)
    longest = max(len(entry) for entry in (*markers, *adverbs))
    for start in range(len(words)):
        for stop in range(start + 1, min(len(words), start + longest) + 1):
            phrase = tuple(w.key for w in words[start:stop])
            if not (_says(words[:start]) or _says(words[stop:])) or not _plain(words, start, stop):
                continue
            if phrase in markers and _set_off(words, start, stop):
                yield markers[phrase], start, stop
            elif phrase in adverbs and _loose(words, start, stop, known) and _meets(words, start, stop, family):
                yield len(markers) + adverbs[phrase], start, stop


def _says(words: list[_Word]) -> bool:
    """Something remains to be said."""
    return any(c.isalnum() for w in words for c in w.core)


def _plain(words: list[_Word], start: int, stop: int) -> bool:
    """Nothing stands between the words of a phrase, and none is a name."""
    inside = words[start:stop]
    touching = any(w.after for w in inside[:-1]) or any(w.before for w in inside[1:])
    return not (touching or any(w.name for w in inside))


def _opens(words: list[_Word], at: int) -> bool:
    """A sentence begins with this word."""
    return at == 0 or words[at - 1].ends


def _set_off(words: list[_Word], start: int, stop: int) -> bool:
    """The words stand between the start or a comma on one side, and a comma or the end on the other; no question ends there."""
    left = _opens(words, start) or words[start - 1].after == ","
    last = words[stop - 1].after
    closed = last in (",", "...", "…") or (not _opens(words, start) and last in (".", "!", "..."))
    quoted = any(c in _QUOTES for c in words[start].before + last)
    return left and closed and not quoted and (stop < len(words) or not _opens(words, start))


def _loose(words: list[_Word], start: int, stop: int, known: Removable) -> bool:
    """The words stand before another word of their clause, away from negations and joints, in no fixed phrase."""
    if stop >= len(words) or words[stop - 1].after or words[stop].before or any(c in _QUOTES for c in words[start].before):
        return False
    following = words[stop].key
    first = start
    while first > 0 and not words[first - 1].after:
        first -= 1
    clause = {w.key for w in words[first:start]}
    denied = clause & known.negations or any("n't" in key or key.startswith("n'") for key in clause)
    beside = following in known.negations or following in known.joints or following.startswith("n'")
    fixed = any(_covers(words, entry, start, stop) for entry in _ranks(known.stay))
    return not (denied or beside or fixed) and any(c.isalpha() for c in following)


def _covers(words: list[_Word], entry: tuple[str, ...], start: int, stop: int) -> bool:
    """The fixed phrase stands here and holds one of these words."""
    spots = range(max(0, start - len(entry) + 1), stop)
    return any(tuple(w.key for w in words[at : at + len(entry)]) == entry for at in spots)


def _meets(words: list[_Word], start: int, stop: int, family: str) -> bool:
    """What comes to stand side by side is spelt as it should be, and the verb keeps its place."""
    if start == 0 or words[start - 1].after:
        return family != "de"  # what begins a German clause stands before its verb
    left, gone, right = words[start - 1].key, words[start].key, words[stop].key
    vowel = right[0] in _VOWELS + "hy"
    if family == "en":
        return left not in ("a", "an") or (right[0] not in "huoe" and (right[0] in _VOWELS) == (gone[0] in _VOWELS))
    if family == "es":
        return left not in ("y", "e", "o", "u") or not re.match("h?[io]", right)
    if family == "fr":
        return not (vowel and left in _ELIDED)
    return family != "it" or left not in _ARTICLES


def _without(words: list[_Word], start: int, stop: int) -> list[_Word]:
    """`words` without those from `start` to `stop`, with punctuation and capital handed on."""
    head, tail = list(words[:start]), list(words[stop:])
    gone, last = words[start], words[stop - 1]
    if tail and gone.core[:1].isupper():
        tail[0] = replace(tail[0], core=tail[0].core[:1].upper() + tail[0].core[1:])
    if tail and gone.before:
        tail[0] = replace(tail[0], before=gone.before + tail[0].before)
    if head and not _opens(words, start):
        since = next((n for n, w in enumerate(reversed(head)) if w.ends), len(head))
        if last.ends:  # "..., of course." hands its full stop back
            head[-1] = replace(head[-1], after=last.after)
        elif last.after == "," and head[-1].after == "," and since > 1:
            head[-1] = replace(head[-1], after="")
    return head + tail
