"""Metrics of what is said: T1 (is it understood), T3 (is it as long as the source)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from polydub.errors import MissingExtra
from polydub.evaluate.card import Score, interval

if TYPE_CHECKING:
    from jiwer import AlignmentChunk

# Written without blanks, or with blanks where no word ends: their characters are compared.
BY_CHARACTER = frozenset({"ja", "zh", "yue", "th", "ko", "lo", "km", "my"})
SHORT = 10  # a source of so many characters or fewer is compliant whatever its translation
COMPLIANT = 10  # per cent
_EDITS = "jiwer 4: (S + D + I) / N"
_ISOMETRIC = "Lakew and others 2021, arXiv 2112.08682; isometric_slt_stat.py of IWSLT 2022"


def normalised(text: str) -> str:
    """`text` for comparing words: NFKC, case folded, punctuation and symbols turned into blanks, apostrophes dropped.

    Combining marks stay, which writing such as Devanagari needs. Numbers stay as they are written. "" gives "".
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    kept = (" " if unicodedata.category(c)[0] in "PSZC" else c for c in folded)
    return " ".join("".join(kept).split())


def by_character(language: str) -> bool:
    """Whether the error rate of a language is that of characters (CER) rather than of words (WER)."""
    return language.partition("-")[0] in BY_CHARACTER


def tokens(text: str, language: str) -> list[str]:
    """What is compared: normalised words, or characters without blanks."""
    plain = normalised(text)
    return list(plain.replace(" ", "")) if by_character(language) else plain.split()


@dataclass(frozen=True, slots=True)
class Errors:
    """Edits of one line of the reference: `hits` of `length` tokens were found, `wrong` counts S + D + I."""

    hits: int
    wrong: int
    length: int


def errors(reference: Sequence[str], heard: str, language: str) -> tuple[Errors, ...]:
    """The errors of `heard`, recognised from a whole film, in each line of `reference`.

    Both are normalised; the film is aligned as one text, so that no recogniser's times matter. Insertions belong to the
    line they stand in or before, after the last line to the last. Without any reference token: ().
    """
    try:
        import jiwer  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtra("word error rates need the package jiwer", "pip install 'polydub[eval]'") from error

    lines = [tokens(line, language) for line in reference]
    words = [word for line in lines for word in line]
    if not words:
        return ()
    found = jiwer.process_words(" ".join(words), " ".join(tokens(heard, language)))
    bounds = list(accumulate(len(line) for line in lines))
    line_of = [n for n, line in enumerate(lines) for _ in line]
    hits, wrong = [0] * len(bounds), [0] * len(bounds)
    for chunk in cast("list[AlignmentChunk]", cast("Any", found).alignments[0]):
        if chunk.type == "insert":
            wrong[line_of[min(chunk.ref_start_idx, len(words) - 1)]] += chunk.hyp_end_idx - chunk.hyp_start_idx
            continue
        counts = hits if chunk.type == "equal" else wrong
        for at in range(chunk.ref_start_idx, chunk.ref_end_idx):
            counts[line_of[at]] += 1
    return tuple(Errors(h, w, len(line)) for h, w, line in zip(hits, wrong, lines, strict=True))


def error_rate(reference: Sequence[str], heard: str, language: str) -> Score | None:
    """T1: (S + D + I) / N in per cent between what the dub was to say and what a recogniser understood.

    Words, or characters for Chinese, Japanese, Thai, Korean and other writing without reliable blanks. May pass 100 %.
    None without a reference.
    """
    found = errors(reference, heard, language)
    if not found:
        return None
    total = sum(e.length for e in found)
    unit = "character" if by_character(language) else "word"
    return Score(
        id="T1.error",
        name=f"round-trip {unit} error rate",
        value=round(100 * sum(e.wrong for e in found) / total, 2),
        unit="%",
        n=total,
        ci=interval([(100 * e.wrong, e.length) for e in found]),
        higher_is_better=False,
        source=_EDITS,
    )


def recovered(source: Sequence[str], heard: str, language: str) -> Score | None:
    """B2: share of the source's words, in per cent, that a recogniser of the source's language still finds in the dub.

    Names that are the same in both languages count too: compare dubs with each other rather than with 0. None without words.
    """
    found = errors(source, heard, language)
    if not found:
        return None
    total = sum(e.length for e in found)
    return Score(
        id="B2.words",
        name="source words still heard",
        value=round(100 * sum(e.hits for e in found) / total, 2),
        unit="%",
        n=total,
        ci=interval([(100 * e.hits, e.length) for e in found]),
        higher_is_better=False,
        source="metrics of polydub, B2",
    )


@dataclass(frozen=True, slots=True)
class Compliance:
    """LR, the mean of target length / source length, and LC, the per cent of pairs within +-10 %; None without pairs."""

    ratio: float | None
    compliant: float | None


def compliance(pairs: Sequence[tuple[str, str]]) -> Compliance:
    """T3 over (source, target) texts: lengths are characters without spaces.

    A source of at most 10 characters counts as compliant: this, and no other reading of the task's rule, gives the published
    figures of the human references. A source without characters has no ratio and is left out of LR.
    """
    lengths = [(_length(source), _length(target)) for source, target in pairs]
    ratios = [target / source for source, target in lengths if source]
    within = [_compliant(source, target) for source, target in lengths]
    return Compliance(sum(ratios) / len(ratios) if ratios else None, 100 * sum(within) / len(within) if within else None)


def _length(text: str) -> int:
    return len(text.strip().replace(" ", ""))


def _compliant(source: int, target: int) -> bool:
    return source <= SHORT or abs((target - source) * 100 / source) <= COMPLIANT


def length_scores(pairs: Sequence[tuple[str, str]]) -> tuple[Score, ...]:
    """T3 as scores. Human dubs reach 62 to 72 %: more is no merit."""
    found = compliance(pairs)
    if found.ratio is None or found.compliant is None:
        return ()
    lengths = [(_length(source), _length(target)) for source, target in pairs]
    ratio_ci = interval([(target / source, 1.0) for source, target in lengths if source])
    within_ci = interval([(100.0 * _compliant(source, target), 1.0) for source, target in lengths])
    return (
        Score(id="T3.compliant", name="texts within 10 % of the source's length", value=round(found.compliant, 2), unit="%",
              n=len(pairs), ci=within_ci, higher_is_better=True, source=_ISOMETRIC),
        Score(id="T3.ratio", name="text length / source text length, mean", value=round(found.ratio, 4),
              n=len(pairs), ci=ratio_ci, source=_ISOMETRIC),
    )  # fmt: skip
