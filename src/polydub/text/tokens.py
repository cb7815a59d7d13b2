"""Text as pieces that are never broken: words, and in scripts without blanks letters with what clings to them.

Line breaks inside such scripts: Chinese, Japanese and Thai at phrase borders that BudouX finds, Lao, Khmer, Burmese and
Tibetan between letter clusters, Korean and everything else at blanks.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from polydub import languages
from polydub.text.cue_rules import width

if TYPE_CHECKING:
    from budoux.parser import Parser

_BLANK = re.compile(r"[ \t\r\n\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
CLOSING = "、。，．・：；？！）］｝」』】〉》ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ…,.:;?!)]}%'\"”’ฯๆໆ។៕ៗ၊။།༎"
OPENING = "（［｛「『【〈《([{“‘$"
_EAST_ASIAN = (
    ("\u2e80", "\u30ff"),
    ("\u3400", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\uff00", "\uffef"),
    ("\U00020000", "\U0003ffff"),
)
_SOUTH_EAST_ASIAN = (
    *(("\u0e01", "\u0e5b"), ("\u0e80", "\u0edf"), ("\u1000", "\u109f"), ("\u1780", "\u17ff")),  # Thai Lao Burmese Khmer
    *(("\ua9e0", "\ua9ff"), ("\uaa60", "\uaa7f")),  # Burmese again
)
_WHOLE = re.compile(r"[\u0000-\u052f]+")  # Latin, Greek, Cyrillic: no line is broken inside a word
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_THAI = re.compile(r"[\u0e01-\u0e5b]")
_BEFORE_CONSONANT = "เแโใไເແໂໃໄ"  # vowels written before the consonant after which they are said
_AFTER_CONSONANT = "ะาำๅະາຳຽ"  # letters by Unicode, vowels of what stands before them by use
_STACKS_NEXT = "\u17d2\u1039\u200d\u2060"  # Khmer coeng, Burmese virama, joiners
_KILLS_VOWEL = "\u103a"  # Burmese asat: the consonant before it ends the syllable before


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text. `spaced`: a blank stands before it; `border`: of two without a blank, whether a phrase ends before
    this one (None: nobody knows); `width` in columns."""

    text: str
    spaced: bool
    width: int
    border: bool | None = None


def tokens(text: str, language: str = "und") -> list[Token]:
    """The pieces of `text` in order; put together, with a blank before each that is `spaced`, they are all of it."""
    parser = _parser(text, language)
    found: list[Token] = []
    for word in _BLANK.split(text):
        pieces = _clusters(word)
        borders = _borders(parser, word) if len(pieces) > 1 else frozenset[int]()
        at = 0
        for i, piece in enumerate(pieces):
            border = None if parser is None and "\u200b" not in word else at in borders or pieces[i - 1].endswith("\u200b")
            found.append(Token(piece, i == 0 and bool(found), width(piece), border))
            at += len(piece)
    return found


def joined(pieces: list[Token]) -> str:
    """The text of some tokens in a row, without a blank at its beginning."""
    return "".join((" " if token.spaced and i else "") + token.text for i, token in enumerate(pieces))


@cache
def is_unspaced(c: str) -> bool:
    """Whether the character is of a script that writes words without blanks between them."""
    return _within(c, _EAST_ASIAN) or (_within(c, _SOUTH_EAST_ASIAN) and unicodedata.category(c) != "Nd")


def _within(c: str, ranges: tuple[tuple[str, str], ...]) -> bool:
    return any(low <= c <= high for low, high in ranges)


def _clusters(word: str) -> list[str]:
    if _WHOLE.fullmatch(word):
        return [word]
    pieces: list[str] = []
    for i, c in enumerate(word):
        if pieces and _clings(pieces[-1], c, word[i + 1 : i + 2]):
            pieces[-1] += c
        else:
            pieces.append(c)
    return pieces


def _clings(piece: str, c: str, following: str) -> bool:
    """Whether no line may be broken between `piece` and `c`."""
    last = piece[-1]
    if unicodedata.category(c)[0] == "M" or unicodedata.category(c) == "Cf" or c in CLOSING or c in _AFTER_CONSONANT:
        return True
    if last in OPENING or last in _STACKS_NEXT or last in _BEFORE_CONSONANT:
        return True
    if following and following in _KILLS_VOWEL and "\u1000" <= c <= "\u109f":
        return True
    if last in "\u200b\u0f0b":  # a blank of no width, the Tibetan mark between syllables
        return False
    return not (is_unspaced(c) or is_unspaced(last))


def _parser(text: str, language: str) -> Parser | None:
    """BudouX for the script of `text`; None where it has nothing to say."""
    if _KANA.search(text):
        return _budoux("ja")
    if _HAN.search(text):
        if languages.base(language) == "ja":
            return _budoux("ja")
        parts = language.lower().replace("_", "-").split("-")
        return _budoux("zh-hant" if {"hant", "tw", "hk", "mo"} & {*parts} or parts[0] == "yue" else "zh-hans")
    return _budoux("th") if _THAI.search(text) else None


@cache
def _budoux(model: str) -> Parser:
    import budoux

    load = {
        "ja": budoux.load_default_japanese_parser,
        "zh-hans": budoux.load_default_simplified_chinese_parser,
        "zh-hant": budoux.load_default_traditional_chinese_parser,
        "th": budoux.load_default_thai_parser,
    }
    return load[model]()


def _borders(parser: Parser | None, word: str) -> frozenset[int]:
    """Places in `word` before which a phrase begins."""
    if parser is None:
        return frozenset()
    at, found = 0, set[int]()
    for phrase in parser.parse(word):
        found.add(at)
        at += len(phrase)
    return frozenset(found)
