"""Texts that are to be spoken: the language that their script tells, and the pieces in which an engine gets them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

LEAST, MOST = 20, 400  # characters that are spoken at once, but for long sentences: 20 are about a second
# First word of the Unicode names of a script's letters -> the language that is most written in it
_SCRIPTS = {
    **{"CYRILLIC": "ru", "GREEK": "el", "ARABIC": "ar", "HEBREW": "he", "DEVANAGARI": "hi", "THAI": "th", "HANGUL": "ko"},
    **{"HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te", "GEORGIAN": "ka"},
    **{"ARMENIAN": "hy", "GUJARATI": "gu", "KANNADA": "kn", "MALAYALAM": "ml", "ETHIOPIC": "am", "GURMUKHI": "pa"},
}


def script_language(text: str) -> str:
    """The language most written in the script of most letters of `text`; "" for Latin letters, which tell nothing."""
    counts: dict[str, int] = {}
    for letter in text[:1000]:
        if ord(letter) > 0x370 and letter.isalpha():
            script = unicodedata.name(letter, "").partition(" ")[0]
            counts[_SCRIPTS.get(script, "")] = counts.get(_SCRIPTS.get(script, ""), 0) + 1
    if "ja" in counts:  # Japanese is written in Chinese signs, too
        return "ja"
    letters = sum(map(str.isalpha, text[:1000]))
    best = max(counts, key=lambda tag: counts[tag], default="")
    return best if best and 2 * counts[best] > letters else ""


def sentences(text: str, language: str) -> Iterator[str]:
    """`text` in pieces to be spoken one after the other: the first sentence, then as many at once as stay below 400 characters.

    So the first is heard soon and the engine is free for others soon. A sentence of more than 1,000 characters is cut.
    """
    from polydub.text import chunks, phrases

    words = " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).split())
    ends = [border.at for border in phrases.borders(words, language) if border.strength >= phrases.SENTENCE]
    start, given = 0, False
    for at, following in zip([*ends, len(words)], [*ends[1:], len(words), len(words)], strict=False):
        full = given and following - start <= MOST
        if at < len(words) and (full or at - start < LEAST):
            continue
        yield from chunks.split(words[start:at], language=language)
        start, given = at, True
