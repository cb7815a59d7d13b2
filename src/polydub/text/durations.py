"""How long a text takes to say in one voice, learnt from what that voice has said: syllables, words, pauses, a constant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from polydub.text.syllables import syllables
from polydub.text.words import CLAUSES, CLOSERS, ENDS

# Syllables a second in read speech: Pellegrino, Coupe, Marsico 2011, "A cross-language perspective on speech information rate".
SYLLABLES_PER_S = {"de": 5.97, "en": 6.19, "es": 7.82, "fr": 7.18, "it": 6.99, "ja": 7.84, "vi": 5.22, "zh": 5.18}
OTHER = 6.5  # their mean, for languages they did not measure
WORD_S, PAUSE_S, CONSTANT_S = 0.03, 0.3, 0.09  # of the prior; about what 60 English and Spanish takes of espeak-ng teach
SPEED_WEIGHT = 0.5  # how many examples the prior counts for where the voice's speed is concerned
SHAPE_WEIGHT = 0.005  # and for what a syllable, a word, a pause takes; a dozen examples teach most of that
SWEEPS = 200  # of coordinate descent over four numbers; it stands still after some forty
_SIGNS = {"%": 3, "€": 2, "$": 2, "£": 1, "&": 1, "+": 1, "=": 2, "°": 2, "@": 2}  # syllables, about
_DIGIT_MORE = 0.8  # syllables of a digit beyond those of `syllables`: "mil novecientos ochenta y cuatro"
_MARK = re.compile(
    f"[{re.escape(ENDS + CLAUSES)}]+[{re.escape(CLOSERS)}]*(?=\\s+\\S)|(?<=\\s)[-–](?=\\s)|(?<=\\S)[—。！？、，；：](?=\\S)"
)

_Numbers = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a voice speaks: seconds for each syllable, word and pause mark inside a text, and a constant; none negative.

    Attributes: error: mean of |predicted - real| / real over the examples it was learnt from, 0.0 without any. examples:
    how many these were.
    """

    syllable_s: float
    word_s: float
    pause_s: float
    constant_s: float
    error: float = 0.0
    examples: int = 0


def prior(language: str) -> Pace:
    """What is believed of a voice of `language` (BCP-47) that has not been heard yet."""
    return Pace(1 / SYLLABLES_PER_S.get(language.partition("-")[0].casefold(), OTHER), WORD_S, PAUSE_S, CONSTANT_S)


def learn(examples: Sequence[tuple[str, float]], language: str) -> Pace:
    """The pace of a voice from texts and the seconds that they took; those without a word or of 0 s are passed over.

    Least squares of relative errors over numbers that may not be negative, drawn towards the prior of `language` at the
    speed that the examples show: one example tells the speed, a dozen tell the rest. Without any it is the prior.
    The same examples in the same order give the same pace.
    """
    told = [(_counts(text, language), took) for text, took in examples if took > 0 and _counts(text, language)[0] > 0]
    start = prior(language)
    believed = (start.syllable_s, start.word_s, start.pause_s, start.constant_s)
    if not told:
        return start
    ratios = [_dot(believed, counts) / took for counts, took in told]
    speed = (sum(ratios) + SPEED_WEIGHT) / (sum(r * r for r in ratios) + SPEED_WEIGHT)
    first = tuple(speed * b for b in believed)
    found = _descend([tuple(c / took for c in counts) for counts, took in told], first)
    error = sum(abs(_dot(found, counts) - took) / took for counts, took in told) / len(told)
    syllable, word, pause, constant = (round(value, 6) for value in found)
    return Pace(syllable, word, pause, constant, round(error, 4), len(told))


def predict(pace: Pace, text: str, language: str) -> float:
    """Seconds that `text` takes, trimmed at both ends; 0.0 for a text without a word. Fewer words never take longer."""
    counts = _counts(text, language)
    if counts[0] <= 0:
        return 0.0
    return _dot((pace.syllable_s, pace.word_s, pace.pause_s, pace.constant_s), counts)


def rescaled(pace: Pace, text: str, known: tuple[str, float], language: str) -> float:
    """As `predict`, where it is `known` how many seconds another wording of the text took."""
    said, took = known
    expected = predict(pace, said, language)
    return predict(pace, text, language) * (took / expected if expected > 0 and took > 0 else 1.0)


def _counts(text: str, language: str) -> _Numbers:
    """Syllables, words, pause marks inside the text, 1."""
    words = text.split()
    spoken = [syllables(word, language) for word in words]
    more = _DIGIT_MORE * sum(c.isdigit() for c in text) + sum(_SIGNS.get(c, 0) for c in text)
    return (sum(spoken) + more, float(sum(n > 0 for n in spoken)), float(len(_MARK.findall(text.strip()))), 1.0)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _descend(rows: Sequence[Sequence[float]], towards: Sequence[float]) -> Sequence[float]:
    """The w >= 0 with the least sum of (row . w - 1)^2 + SHAPE_WEIGHT * (w / towards - 1)^2."""
    n = len(towards)
    gram = [[sum(row[a] * row[b] for row in rows) for b in range(n)] for a in range(n)]
    right = [sum(row[a] for row in rows) for a in range(n)]
    held = [SHAPE_WEIGHT / t**2 for t in towards]
    w = list(towards)
    for _ in range(SWEEPS):
        for a in range(n):
            rest = right[a] + held[a] * towards[a] - sum(gram[a][b] * w[b] for b in range(n) if b != a)
            w[a] = max(0.0, rest / (gram[a][a] + held[a]))
    return w
