"""How many syllables a word has, about, and from that when the words of a text are said, about."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate

from polydub.types import Span, Word, seconds

_LATIN = "aeiouyæøœıə"
_GREEK = "αεηιουω"
_CYRILLIC = "аеиоуыэюяёіїєўө"
_VOWELS = frozenset(_LATIN + _GREEK + _CYRILLIC)
_RUN = re.compile(f"[{_LATIN}{_GREEK}]+")
_HIATUS = re.compile("[íúìù]")  # a stressed close vowel next to another one is a syllable of its own: "día", "baúl"
_SMALL_KANA = frozenset("ぁぃぅぇぉゃゅょゎァィゥェォャュョヮ")
_GLIDES = {
    "es": re.compile("[iuy](?=[aeo])|(?<=[aeo])[iuy]|(?<=i)u|(?<=u)i"),
    "it": re.compile("[iu](?=[aeo])|(?<=[aeo])[iu]"),
    "pt": re.compile("[iu](?=[aeo])|(?<=[aeo])[iu]"),
}
_SILENT_E = re.compile(r"(?<=[^aeiouy])e$|(?<=[^aeiouytd])ed$|(?<=[^aeiouyszxcg])(?<![cs]h)es$")
_APOSTROPHE = re.compile("['’]")
_SPOKEN_LE = re.compile(r"[^aeiouylr]les?$")
_DIGIT = 1.5  # syllables of a digit inside a number
_SCRIPTS = {
    **dict.fromkeys(("latin", "greek", "cyrillic"), 0.0),
    **dict.fromkeys(("cjk", "hiragana", "katakana", "hangul"), 1.0),
    **dict.fromkeys(("thai", "lao", "khmer", "myanmar"), 0.4),
}  # syllables of a letter; elsewhere, as in Arabic or Hindi, 0.5
_KANJI = 1.8  # morae of a Chinese character read in Japanese


def syllables(word: str, language: str = "") -> int:
    """Syllables of one written word in `language` (BCP-47; "" = judge by its letters): at least 1 if it has a letter or digit.

    Vowel groups in Latin, Greek and Cyrillic writing (with the silent e of English, the diphthongs of Spanish, Italian and
    Portuguese, and every Cyrillic vowel by itself), kana and Hangul characters, 1.8 for a Chinese character in Japanese and
    1 elsewhere, 1.5 a digit, letters in capitals without a vowel each by name, and rules of thumb for other scripts.
    """
    text = unicodedata.normalize("NFC", word)
    if not any(c.isalnum() for c in text):
        return 0
    family = language.partition("-")[0].casefold()
    letters = "".join(c for c in text if c.isalpha())
    if letters.isupper() and 1 < len(letters) <= 5 and not any(_bare(c) in _VOWELS for c in letters.casefold()):
        return len(letters) + _round(_DIGIT * sum(c.isdigit() for c in text))
    total = sum(_weight(c, family) for c in text)
    return max(
        1,
        _round(total)
        + sum(_vowel_groups(run, family) for run in re.split(r"[\W\d_]+", _APOSTROPHE.sub("", text.casefold())) if run),
    )


def _round(value: float) -> int:
    return int(value + 0.5)


def _bare(c: str) -> str:
    """The letter without its accents."""
    return unicodedata.normalize("NFD", c)[0]


def _weight(c: str, family: str) -> float:
    """Syllables of a character that counts by itself; 0 for letters of alphabets, which count in groups."""
    if c.isdigit():
        return _DIGIT
    if c == "ー":
        return 1.0
    if c in _SMALL_KANA or not (c.isalpha() or unicodedata.category(c) == "Mc"):
        return 0.0
    script = unicodedata.name(c, "").partition(" ")[0].casefold()
    if script == "cjk" and family == "ja":
        return _KANJI
    return _SCRIPTS.get(script, 0.5)


def _vowel_groups(run: str, family: str) -> int:
    """Vowel groups of letters in lower case; 1 at least where there are Latin, Greek or Cyrillic letters."""
    text = _HIATUS.sub(lambda m: f"-{_bare(m[0])}-", run) if family in ("es", "pt", "it", "ca", "gl") else run
    text = "".join(c if c == "-" else _bare(c) for c in text)
    cyrillic = sum(c in _CYRILLIC for c in text)
    if family == "en":
        silent = 0 if _SPOKEN_LE.search(text) else len(_SILENT_E.findall(text))
        return max(len(_RUN.findall(text)) - silent, int(text.isalpha() and _is_alphabetic(text)))
    glides = _GLIDES.get(family)
    groups = sum(len(group) if glides else 1 for group in _RUN.findall(text))
    if glides:
        groups -= len(glides.findall(text))
    return max(groups + cyrillic, int(_is_alphabetic(text)))


def _is_alphabetic(text: str) -> bool:
    return any(unicodedata.name(c, "").partition(" ")[0] in ("LATIN", "GREEK", "CYRILLIC") for c in text)


def spread(text: str, spans: Sequence[Span], language: str = "") -> tuple[Word, ...]:
    """The whitespace-separated words of `text`, laid over `spans` by their syllables; every one is marked estimated.

    `spans` are where somebody speaks, in order. A word that comes to lie across a pause is put on that side of it where most
    of it would be. Words without letters or digits take no time. Without spans every word is at 0.
    """
    words = text.split()
    total = sum(max(0.0, span.end - span.start) for span in spans)
    counts = [syllables(word, language) for word in words]
    whole = sum(counts)
    if not whole or total <= 0:
        at = spans[0].start if spans else 0.0
        return tuple(Word(at, at, word, None, True) for word in words)
    edges = [total * done / whole for done in accumulate(counts, initial=0)]
    made: list[Word] = []
    for word, low, high in zip(words, edges, edges[1:], strict=False):
        start, end = _within(low, high, spans)
        made.append(Word(seconds(start), seconds(end), word, None, True))
    return tuple(made)


def _within(low: float, high: float, spans: Sequence[Span]) -> tuple[float, float]:
    """The moments at which `low` and `high` seconds of speech have passed, in the span that holds most of the time between."""
    passed, best = 0.0, (-1.0, spans[0].start, spans[0].start)
    for span in spans:
        length = max(0.0, span.end - span.start)
        a, b = max(low, passed), min(high, passed + length)
        if b - a > best[0]:
            best = (b - a, span.start + a - passed, span.start + b - passed)
        passed += length
    return best[1], max(best[1], best[2])
