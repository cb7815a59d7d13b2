"""Where a text may be parted so that a pause fits in, and the best way to part it to the rhythm of the source.

After Federico et al. 2020 and Virkar et al. 2021 on prosodic alignment: parts last as long, in proportion, as those of the
source, and begin where a speaker would take a breath.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import Protocol, cast

from polydub import languages
from polydub.text.words import CLOSERS, unspaced

MOST = 4  # parts of one text
WORDS, SIGNS = 2, 4  # least of a part, the latter in scripts without blanks
SENTENCE, CLAUSE, COMMA, JOINER, BARE = 1.0, 0.8, 0.6, 0.35, 0.1  # strengths of borders
BORDER_COST = 0.12  # of a border of strength 0; in the unit of squared logarithms of lengths
HURRY_COST = 0.5  # of a part whose rate must be 1 above the comfortable one, less in proportion

_STRENGTHS = {
    **dict.fromkeys(".?!…‽。？！｡．؟۔।॥።", SENTENCE),
    **dict.fromkeys(";:；：؛—–", CLAUSE),
    **dict.fromkeys(",、，､،・", COMMA),
}
_WIDE = frozenset("。？！｡．；：、，､")  # after these no blank is needed
_OPENERS = "\"'“‘«‹([{「『【《〈（¿¡"
_NO_END = re.compile(
    r"(?:mr|mrs|ms|dr|prof|sr|jr|st|vs|gen|col|lt|sgt|capt|rev|gov|sen|sra|srta|dra|ud|uds|mme|mlle|hr|fr|sig|dott|nr|bzw|"
    r"etc|usw|ecc|ca|approx|e\.g|i\.e|(?:[^\W\d_]\.)*[^\W\d_]|\d{1,2})\.",
    re.IGNORECASE,
)
_BEFORE_NUMBER = re.compile(r"[^\W\d_]{1,3}\.")  # "No. 5", "p. 12"
_WORD = re.compile(r"\S*[^\W_]\S*")
_QUOTED = re.compile('“[^”]*”|„[^“]*“|«[^»]*»|「[^」]*」|『[^』]*』|"[^"]*"')
# Conjunctions first, then prepositions before which a breath is likely.
_JOINERS = {
    "en": "and or but nor so yet that which who whose when where while because if as than unless until although though since "
    "with for from of in on at by into about after before without through between during against under over",
    "es": "y e o u ni pero sino que cuando donde porque si como aunque mientras pues "
    "con para por de del en sin sobre desde hasta entre hacia según",
    "fr": "et ou mais ni donc car que qui quand où parce si comme lorsque puisque tandis "
    "avec pour par de du des dans en sur sans chez vers entre depuis pendant après avant",
    "de": "und oder aber denn sondern dass weil wenn wie als ob obwohl während damit bevor nachdem "
    "mit für von zu zum zur im in an am auf aus bei nach über unter ohne durch um gegen zwischen",
    "it": "e ed o ma né però che chi quando dove perché se come mentre anche "
    "con per di del della in nel nella da dal su senza tra fra verso dopo prima",
    "pt": "e ou mas nem que quem quando onde porque se como enquanto embora "
    "com para por de do da em no na sem sobre desde até entre",
    "nl": "en of maar want dat die als wanneer omdat terwijl hoewel met voor van in op aan bij naar uit over zonder door",
    "ru": "и а но или что который которая которые когда где потому если как чтобы хотя "
    "с в на для от из по без через между после перед",
    "pl": "i a ale lub albo że który która które kiedy gdzie ponieważ jeśli jak żeby choć z w na do dla od po bez przez przed",
}


class _Parser(Protocol):
    def parse(self, sentence: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Border:
    """A place where a text may be parted: the character with which the latter part begins, and how natural that is, 0 to 1."""

    at: int
    strength: float


@dataclass(frozen=True, slots=True)
class Parting:
    """A text in parts that, joined by blanks where it had them, are the text; how long they take, in seconds; what it costs."""

    parts: tuple[str, ...]
    seconds: tuple[float, ...]
    cost: float


@lru_cache(maxsize=256)
def borders(text: str, language: str) -> tuple[Border, ...]:
    """Where `text` may be parted, in order: after sentences, clauses and commas, and before words that join.

    Never inside a number, after an abbreviation, or so that one word of a quotation stands alone. Where a script has no
    blanks, borders are after punctuation, at blanks, and (Japanese, Chinese, Thai) between phrases by BudouX.
    """
    found: dict[int, float] = {}
    for at, strength in (*_at_blanks(text, language), *_after_wide(text), *_between_phrases(text, language)):
        found[at] = max(found.get(at, 0.0), strength)
    quotes = [(m.start(), m.end()) for m in _QUOTED.finditer(text)]
    kept = (Border(at, found[at]) for at in sorted(found) if 0 < at < len(text) and not _lone_in_quote(text, at, quotes))
    return tuple(kept)


def _at_blanks(text: str, language: str) -> Iterator[tuple[int, float]]:
    """Borders at blanks, which all stand between words."""
    joiners = _joiners(languages.base(language))
    for before, after in pairwise(re.finditer(r"\S+", text)):
        strength = _ending(before[0], after[0])
        bare = after[0].lstrip(_OPENERS).casefold()
        if strength is None:
            continue
        if not strength and bare.strip(CLOSERS + ",.;:!?") in joiners and before[0].casefold() not in joiners:
            strength = JOINER
        if not strength and after[0] in ("—", "–", "-"):
            continue  # it belongs to what stands before it
        if not strength and unspaced(before[0][-1]) and unspaced(after[0][0]):
            strength = COMMA  # such scripts put blanks between clauses only
        if strength:
            yield after.start(), strength


def _ending(before: str, after: str) -> float | None:
    """What ends with a word: 0.0 nothing, None an abbreviation."""
    bare = before.rstrip(CLOSERS)
    mark = "…" if bare.endswith("..") else bare[-1:]
    if mark == "-" and bare in ("-", "--"):
        return CLAUSE
    strength = _STRENGTHS.get(mark, 0.0)
    word = bare.lstrip(_OPENERS)
    if bare == before and (_NO_END.fullmatch(word) or (after[:1].isdigit() and _BEFORE_NUMBER.fullmatch(word))):
        return None
    if strength == SENTENCE and next((c for c in after if c.isalpha()), "").islower():
        return COMMA  # the sentence goes on: "etc.", "…", "¡hola!"
    return strength


def _after_wide(text: str) -> Iterator[tuple[int, float]]:
    """Borders after the punctuation of scripts without blanks."""
    for n, c in enumerate(text):
        at = n + 1
        while at < len(text) and (text[at] in CLOSERS or text[at] in _STRENGTHS):
            at += 1
        inside = n > 0 and at < len(text) and text[n - 1].isdigit() and text[at].isdigit()
        if c in _WIDE and not inside and text[at : at + 1].strip():
            yield at, _STRENGTHS[c]


def _between_phrases(text: str, language: str) -> Iterator[tuple[int, float]]:
    if not unspaced(text):
        return
    parser = _parser(languages.base(language), languages.nearest(language, ("zh-Hant", "zh-Hans")) or "")
    if parser is None:
        return
    at = 0
    for phrase in parser.parse(text)[:-1]:
        at += len(phrase)
        left, right = text[at - 1], text[at]
        if unspaced(left) and unspaced(right) and left not in _OPENERS and right not in CLOSERS and right not in _STRENGTHS:
            yield at, BARE


@cache
def _parser(language: str, script: str) -> _Parser | None:
    import budoux  # pyright: ignore[reportMissingTypeStubs]

    made: object = None
    if language == "ja":
        made = budoux.load_default_japanese_parser()
    elif language == "th":
        made = budoux.load_default_thai_parser()
    elif language == "zh" and script == "zh-Hant":
        made = budoux.load_default_traditional_chinese_parser()
    elif language == "zh":
        made = budoux.load_default_simplified_chinese_parser()
    return cast("_Parser | None", made)


@cache
def _joiners(language: str) -> frozenset[str]:
    return frozenset(_JOINERS.get(language, "").split())


def _lone_in_quote(text: str, at: int, quotes: Sequence[tuple[int, int]]) -> bool:
    """Whether a border would leave one word of a quotation alone."""
    for start, end in quotes:
        if start < at < end - 1:
            return min(words(text[start:at]), words(text[at:end])) < WORDS
    return False


def words(text: str) -> float:
    """Words of `text`; in scripts without blanks so many signs as make WORDS words count as these."""
    if not unspaced(text):
        return len(_WORD.findall(text))
    signs = sum(c.isalnum() and unspaced(c) for c in text)
    spaced = sum(any(c.isalnum() and not unspaced(c) for c in word) for word in text.split())
    return spaced + signs * WORDS / SIGNS


def split(
    text: str, rooms: Sequence[float], language: str, predict: Callable[[str], float], comfortable_rate: float = 1.15
) -> Parting | None:
    """The best way to say `text` in as many parts as there are `rooms`: seconds in which the source is heard, 2 to MOST.

    The cost is that of lengths out of proportion to the rooms, of parts that must be spoken faster than `comfortable_rate`,
    and of weak borders. `predict` tells how long a text takes. None when there are not so many parts of WORDS words, or
    SIGNS signs. Of equals the earliest borders.
    """
    count = len(rooms)
    text = text.strip()
    found = borders(text, language)
    places = [0, *(b.at for b in found), len(text)]
    said = list(accumulate((words(text[a:b]) for a, b in pairwise(places)), initial=0.0))
    useful = [n for n in range(1, len(places) - 1) if WORDS <= said[n] <= said[-1] - WORDS]
    if not 2 <= count <= MOST or len(useful) < count - 1 or min(rooms) <= 0:
        return None
    strengths = [0.0, *(found[n - 1].strength for n in useful), 0.0]
    places = [0, *(places[n] for n in useful), len(text)]
    said = [0.0, *(said[n] for n in useful), said[-1]]
    times = _times(text, places, predict)
    pace = times[-1] / sum(rooms)

    def cost(part: int, low: int, high: int) -> float:
        if said[high] - said[low] < WORDS - 1e-9:
            return math.inf
        rate = (times[high] - times[low]) / rooms[part]
        hurry = max(0.0, rate - max(comfortable_rate, pace)) * HURRY_COST
        border = BORDER_COST * (1 - strengths[high]) if part < count - 1 else 0.0
        return math.log(max(rate, 1e-3) / max(pace, 1e-3)) ** 2 * rooms[part] / sum(rooms) + hurry + border

    total, chosen = _cheapest(cost, count, len(places))
    if math.isinf(total):
        return None
    edges = [places[n] for n in chosen]
    parts = tuple(text[a:b].strip() for a, b in pairwise(edges))
    lengths = tuple(times[b] - times[a] for a, b in pairwise(chosen))
    return Parting(parts, lengths, total)


def _times(text: str, places: Sequence[int], predict: Callable[[str], float]) -> list[float]:
    """Seconds from the begin of `text` to each of its `places`: of the pieces between them, brought to that of the whole."""
    pieces = [max(0.0, predict(text[a:b].strip())) for a, b in pairwise(places)]
    scale = max(0.0, predict(text)) / sum(pieces) if sum(pieces) > 0 else 0.0
    return [scale * passed for passed in accumulate(pieces, initial=0.0)]


def _cheapest(cost: Callable[[int, int, int], float], count: int, places: int) -> tuple[float, tuple[int, ...]]:
    """The cheapest way from place 0 to the last one in `count` steps; of equals the one with the earliest places."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, (0,))] + [(math.inf, ())] * (places - 1)
    for part in range(count):
        last = part == count - 1
        reached: list[tuple[float, tuple[int, ...]]] = [(math.inf, ())] * places
        for high in range(part + 1, places) if not last else (places - 1,):
            ways = ((best[low][0] + cost(part, low, high), (*best[low][1], high)) for low in range(part, high) if best[low][1])
            reached[high] = min(ways, default=(math.inf, ()))
        best = [(c, way if c < math.inf else ()) for c, way in reached]
    return best[-1]
