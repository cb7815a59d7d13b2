"""Where text is broken into lines and cues: at syntax as far as word lists know it, in even lengths, the lower line longer."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, pairwise

from polydub import languages
from polydub.text.break_words import break_words
from polydub.text.cue_rules import STANDARD, CueLimits, line_limit
from polydub.text.tokens import Token, joined, tokens

_ENDS = ".?!…。？！‽؟۔।။។"
_CLAUSES = ",;:、，；：،؛—–၊"
_MARKS = "\"'“”‘’«»([{¿¡.,;:!?…)]}"
_WRAPPED = "\"'”’»」』)）]"
_NUMBER = re.compile(r"[-+$€£¥]?\d[\d.,:/]*")
_TITLES = re.compile("mrs?|ms|dr|prof|st|sra?|srta|d|m|mme|mlle|hr|fr|sig|dott|gen|col|capt|sgt|dhr|mevr|ul|св|г|им")
_SELDOM_HELD = 4  # letters from which on a word of an unknown language is no article

# What a break costs; a line of twice or none of its ideal length costs 1.2.
AFTER_SENTENCE, AFTER_CLAUSE, BEFORE_JOIN, BEFORE_PREPOSITION = 0.0, 0.08, 0.15, 0.25
LOOSE, PLAIN, LEANING, HELD = 0.4, 0.5, 1.2, 3.0


class Text:
    """A text to be cut: its tokens, how wide each stretch of them is and what a break between two of them costs.

    Lines wider than `limit` columns occur only where one token is. Every method takes token numbers.
    """

    def __init__(self, text: str, language: str = "und", limits: CueLimits = STANDARD) -> None:
        self.limits, self.limit = limits, line_limit(text, limits)
        self._language = languages.base(language)
        self.tokens = tokens(text, language)
        self._ends = [0, *accumulate(token.width + token.spaced for token in self.tokens)]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _costs(self) -> list[float]:
        """Of a break after each token; none after the last."""
        return [*(cost_of_break(a, b, self._language) for a, b in pairwise(self.tokens)), 0.0]

    def width(self, i: int, j: int) -> int:
        """Columns of tokens i to j - 1 on one line."""
        return self._ends[j] - self._ends[i] - self.tokens[i].spaced if j > i else 0

    def line_count(self, i: int, j: int) -> int:
        """Lines that tokens i to j - 1 need."""
        count, begin = 1, self._line_ends[i]
        while begin < j:
            count, begin = count + 1, self._line_ends[begin]
        return count

    @cached_property
    def _line_ends(self) -> list[int]:
        """For each token, and what is after them, the one that begins the next line when it begins one as full as it can be."""
        full = (bisect_right(self._ends, self._ends[i] + token.spaced + self.limit) - 1 for i, token in enumerate(self.tokens))
        return [*(max(i + 1, end) for i, end in enumerate(full)), len(self) + 1]

    def lines(self, i: int, j: int) -> tuple[float, tuple[str, ...]]:
        """Tokens i to j - 1 in as few lines as they need, at most those allowed, and what their breaks cost."""
        cost, cuts = self._cut(i, j, min(self.line_count(i, j), self.limits.lines))
        edges = [i, *cuts, j]
        return cost, tuple(joined(self.tokens[a:b]) for a, b in pairwise(edges))

    def _cut(self, i: int, j: int, count: int) -> tuple[float, tuple[int, ...]]:
        """The cheapest places at which tokens i to j - 1 become `count` lines."""
        if count <= 1 or j - i <= 1:
            return 0.0, ()
        ends, costs, limit, begin = self._ends, self._costs, self.limit, self._ends[i] + self.tokens[i].spaced
        ideal = (ends[j] - begin - count + 1) / count  # the blanks at the breaks are not shown
        best: tuple[float, tuple[int, ...]] = (float("inf"), (i + 1,))
        least = bisect_left(ends, ends[j] - (count - 1) * (limit + 1))  # before it the rest is too long
        for k in range(max(i + 1, min(least, j - 1)), j):
            first = ends[k] - begin
            if first > limit and k > i + 1:
                break
            if count == 2 and k < j - 1 and self.width(k, j) > limit:
                continue
            if count > 2 and self.line_count(k, j) >= count:
                continue
            cost = 1.2 * abs(first - ideal) / max(1.0, ideal) + costs[k - 1]
            if cost <= best[0]:  # what follows costs nothing or more; of equal ones the one whose lower line is longer
                further, cuts = self._cut(k, j, count - 1)
                best = min(best, (cost + further, (k, *cuts)))
        return best

    def _reach(self, i: int, ideal: float) -> Iterator[tuple[int, int, float]]:
        """Every j such that tokens i to j - 1 may be one cue, the lines it needs, and what it costs but for their breaks."""
        count, end, most = 1, self._line_ends[i], len(self)
        for j in range(i + 1, most + 1):
            while end < j:
                count, end = count + 1, self._line_ends[end]
            if count > self.limits.lines:
                return
            yield j, count, (self.width(i, j) / ideal - 1) ** 2 + 0.7 * (self._costs[j - 1] if j < most else 0.0)

    def _inside(self, i: int, j: int, count: int) -> float:
        """What the breaks between the lines of a cue cost."""
        return 0.25 * min(self._cut(i, j, count)[0], 10.0) if count > 1 else 0.0

    def natural_count(self, duration: float) -> float:
        """Cues that the text needs for its length and, where it has enough of it, for its time."""
        by_room = -(-self.line_count(0, len(self)) // self.limits.lines)
        by_time = min(-(-duration // (self.limits.max_s - 0.5)), self.width(0, len(self)) // (self.limit / 2))
        return max(1.0, by_room, by_time)

    def cues(self, duration: float) -> list[tuple[int, int]]:
        """The text as cues that last `duration` seconds together: token numbers of each."""
        if len(self) == 0:
            return []
        count = self.natural_count(duration)
        if count == 1 and (duration < 4 * self.limits.min_s or self.lines(0, len(self))[0] < HELD):
            return [(0, len(self))]  # else two cues may spare a unit that its lines would part
        ideal = max(1.0, self.width(0, len(self)) / count)
        best = [0.0] + [float("inf")] * len(self)
        came = [0] * (len(self) + 1)
        for i in range(len(self)):
            if best[i] >= best[-1]:
                continue
            for j, count, cost in self._reach(i, ideal):
                if best[i] + cost < best[j] and (whole := best[i] + (cost + self._inside(i, j, count))) < best[j]:
                    best[j], came[j] = whole, i
        return _back(came, len(self))

    def exactly(self, count: int) -> list[tuple[int, int]]:
        """The text as `count` cues, or as near to that as its tokens allow."""
        ideal = max(1.0, self.width(0, len(self)) / count)
        pieces = [[(j, cost + self._inside(i, j, n)) for j, n, cost in self._reach(i, ideal)] for i in range(len(self))]
        best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
        for _ in range(min(count, len(self))):
            after: dict[int, tuple[float, tuple[int, ...]]] = {}
            for i, (cost, path) in best.items():
                for j, more in pieces[i] if i < len(self) else ():
                    after[j] = min(after.get(j, (float("inf"), ())), (cost + more, (*path, j)))
            best = after
        _, ends = best[len(self)]
        return list(pairwise((0, *ends)))


def _back(came: list[int], end: int) -> list[tuple[int, int]]:
    cuts: list[tuple[int, int]] = []
    while end:
        cuts.append((came[end], end))
        end = came[end]
    return cuts[::-1]


def cost_of_break(before: Token, after: Token, base: str) -> float:
    """How badly a line break between two tokens of a base language reads: 0 after a sentence to HELD inside a unit."""
    bare = before.text.rstrip(_WRAPPED)
    if _is_title(bare):
        return HELD
    if bare[-1:] and bare[-1:] in _ENDS:
        return AFTER_SENTENCE
    if bare[-1:] and bare[-1:] in _CLAUSES:
        return AFTER_CLAUSE
    if not after.spaced:
        return PLAIN if after.border is None else LOOSE if after.border else 2.0
    if after.border is not None:
        return BEFORE_JOIN  # a blank in a script that has few
    return _cost_by_words(before.text, after.text, base)


def _is_title(word: str) -> bool:
    """An abbreviation before a name, or an initial: its full stop ends no sentence."""
    stem = word[:-1]
    return word[-1:] == "." and (_TITLES.fullmatch(stem.lower()) is not None or (len(stem) == 1 and stem.isupper()))


def _cost_by_words(before: str, after: str, base: str) -> float:
    lists = break_words(base)
    last, first = before.lower().strip(_MARKS), after.lower().strip(_MARKS)
    clause = BEFORE_JOIN if first in lists.join else BEFORE_PREPOSITION if first in lists.prepositions else None
    held = HELD
    if last in lists.articles:
        return HELD
    if last in lists.join or last in lists.prepositions:
        clause = PLAIN if clause == BEFORE_JOIN else None  # "turn it on | because"
    elif last in lists.leaning:
        held, clause = LEANING, clause and LOOSE
    elif clause is None:
        held = _cost_of_parting(before, after, base)
    return held if clause is None else clause


def _cost_of_parting(before: str, after: str, base: str) -> float:
    """Of two words that no list knows: a number and its unit, the parts of a name, short words of an unknown language."""
    if _NUMBER.fullmatch(before) and after[:1].isalpha():
        return HELD
    if _is_name(before) and _is_name(after):
        return LEANING if base == "de" else HELD  # German nouns have capitals too
    if not break_words(base).articles and before.isalpha() and len(before) < _SELDOM_HELD:
        return 0.8
    return LEANING if _NUMBER.fullmatch(after.strip(_MARKS)) and before[-1:].isalpha() else PLAIN


def _is_name(word: str) -> bool:
    letters = word.strip(_MARKS)
    return len(letters) > 1 and letters[:1].isupper() and letters[1:].islower()
