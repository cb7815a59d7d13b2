"""Metrics of time: D1 to D6, how the dub keeps the source's lengths, moments and pace.

The formulas are those of `report.model`, so that a dub's own report and its evaluation cannot disagree; here they get
confidence intervals, and what needs sound or text: D3 over detected speech, D2 over chunks between pauses, D5 in syllables.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import mean
from types import MappingProxyType
from typing import NamedTuple

from polydub.evaluate.card import Interval, Score, interval
from polydub.report.model import ReportLine, Timing, smoothness, timing_scores
from polydub.spans import bridged
from polydub.text.syllables import syllables
from polydub.types import Span

# Syllables a second without pauses, read aloud: Pellegrino, Coupe and Marsico 2011, Language 87(3), table 1
NORMS: Mapping[str, float] = MappingProxyType(
    {"de": 5.97, "en": 6.19, "es": 7.82, "fr": 7.18, "it": 6.99, "ja": 7.84, "vi": 5.22, "zh": 5.18}
)
LARGE_S = 0.3  # a difference in length that counts as large
NEAR_S = 0.3  # D1: lines whose length is as near as that
_WRONG_S = 35 * 256 / 22050  # what Amazon's script takes for the difference of a chunk in a line with wrong pauses: 35 frames
_AMAZON = "Chronopoulou and others 2023, arXiv 2302.12979; count_durations.py of IWSLT 2023"
_OVERLAP = "Brannon, Virkar and Thompson 2023, arXiv 2212.12137"
_VIDEODUBBER = "Wu and others 2022, arXiv 2211.16934"
_OWN = "metrics of polydub"


class _Row(NamedTuple):
    """A field of `Timing` as a score; `factor` turns shares into per cent."""

    field: str
    id: str
    name: str
    unit: str
    higher: bool | None
    source: str
    factor: float = 1.0


_PERCENT = 100.0
_ROWS = (
    _Row("duration_mae_s", "D1.mae", "difference in length, mean", "s", False, _OWN),
    _Row("duration_ratio", "D1.ratio", "length / source length, mean", "", None, _OWN),
    _Row("overlap_m1", "D2.m1", "overlap M1, a line as one chunk", "", True, _AMAZON),
    _Row("overlap_m2", "D2.m2", "overlap M2, a line as one chunk", "", True, _AMAZON),
    _Row("overlap_m3_s", "D2.m3", "overlap M3, a line as one chunk", "s", False, _AMAZON),
    _Row("drift_share", "D2.large", "lines off by more than 0.3 s", "%", False, _AMAZON, _PERCENT),
    _Row("slc_20", "D4.20", "lines within 20 % of the source's length", "%", True, _VIDEODUBBER, _PERCENT),
    _Row("slc_40", "D4.40", "lines within 40 % of the source's length", "%", True, _VIDEODUBBER, _PERCENT),
)
_PACE = (
    _Row("faster_than_125", "D5.above125", "lines stretched to more than 1.25 times their pace", "%", False, _OWN, _PERCENT),
    _Row("faster_than_115", "D5.above115", "lines stretched to more than 1.15 times their pace", "%", False, _OWN, _PERCENT),
)


def line_scores(lines: Sequence[ReportLine], basis: str) -> tuple[Score, ...]:
    """D1, D2, D4 and, where rates are known (above 0), D5's stretch and D6; from line spans alone.

    Lines without sound count for nothing. `basis` says how the dub's spans were found. Without lines: ().
    """
    heard = [line for line in lines if line.duration > 0]
    if not heard:
        return ()
    whole, singles = timing_scores(heard), [timing_scores([line]) for line in heard]
    rows = [*_ROWS, *(_PACE if all(line.rate > 0 for line in heard) else ())]
    scores = [score for row in rows if (score := _score(row, whole, singles, basis)) is not None]
    near = [(100.0 * (s.duration_mae_s <= NEAR_S), 1.0) for s in singles if s.duration_mae_s is not None]
    if near:
        share = round(mean(value for value, _ in near), 2)
        scores.append(
            Score(id="D1.near", name="lines whose length is within 0.3 s of the source's", value=share, unit="%",
                  n=len(near), ci=interval(near), higher_is_better=True, source=_OWN, basis=basis)
        )  # fmt: skip
    return (*scores, *_pace(heard, whole, basis)) if len(rows) > len(_ROWS) else tuple(scores)


def _score(row: _Row, whole: Timing, singles: Sequence[Timing], basis: str) -> Score | None:
    value: float | None = getattr(whole, row.field)
    if value is None:
        return None
    each = [row.factor * v for one in singles if (v := getattr(one, row.field)) is not None]
    return Score(
        id=row.id,
        name=row.name,
        value=round(row.factor * value, 4),
        unit=row.unit,
        n=len(each),
        ci=interval([(v, 1.0) for v in each]),
        higher_is_better=row.higher,
        source=row.source,
        basis=basis,
    )


def _pace(heard: Sequence[ReportLine], whole: Timing, basis: str) -> tuple[Score, ...]:
    """D5's extremes and percentiles of the applied stretch, D6."""
    rates = sorted(line.rate for line in heard)
    scores = [
        Score(id=f"D5.{name}", name=text, value=round(value, 3), n=len(rates), higher_is_better=None, source=_OWN, basis=basis)
        for name, text, value in (
            ("max", "highest rate", rates[-1]),
            ("p95", "95th percentile of the rates", rates[min(len(rates) - 1, int(0.95 * len(rates)))]),
            ("median", "median rate", rates[len(rates) // 2]),
            ("min", "lowest rate", rates[0]),
        )
    ]
    if whole.smoothness is not None:
        lanes: dict[str, list[ReportLine]] = {}
        for line in sorted(heard, key=lambda line: line.start):
            lanes.setdefault(line.speaker, []).append(line)
        steps = [smoothness(pair) for lane in lanes.values() for pair in pairwise(lane)]
        parts = [(step, 1.0) for step in steps if step is not None]
        scores.append(
            Score(id="D6.smoothness", name="evenness of pace from line to line", value=whole.smoothness, n=len(parts),
                  ci=interval(parts), higher_is_better=True, source="metrics of polydub, D6", basis=basis)
        )  # fmt: skip
    return tuple(scores)


class Overlap(NamedTuple):
    """D2 over chunks; `wrong` counts lines with another number of chunks than the source."""

    m1: float
    m2: float
    m3_s: float
    large: float
    wrong: int


def overlap(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Overlap | None:
    """D2: for each line the seconds of its chunks of speech in source and dub.

    M1 = 1 - mean(|h - r| / r), M2 = mean(min / max), M3 = mean |h - r|, and the share of chunks off by 0.3 s or more. All
    chunks of a line with a wrong number of them score 0 in M1 and M2, and 0.406 s in M3, as in Amazon's script. Empty chunks
    of the source are left out. None without chunks.
    """
    errors: list[float] = []
    scores: list[float] = []
    off: list[float] = []
    wrong = 0
    for source, dub in pairs:
        chunks = [r for r in source if r > 0]
        right = len(chunks) == len(dub)
        wrong += not right
        for n, r in enumerate(chunks):
            h = dub[n] if right else 0.0
            errors.append(abs(h - r) / r)
            scores.append(min(h, r) / max(h, r))
            off.append(abs(h - r) if right else _WRONG_S)
    if not errors:
        return None
    return Overlap(1 - mean(errors), mean(scores), mean(off), mean(d >= LARGE_S for d in off), wrong)


def chunk_scores(lines: Sequence[ReportLine], source: Sequence[Span], dub: Sequence[Span], basis: str) -> tuple[Score, ...]:
    """D2 over detected speech: the chunks of a line are the detected speech between the middles of the pauses around it."""
    pairs: list[tuple[Sequence[float], Sequence[float]]] = []
    for window in windows([Span(line.source_start, line.source_end) for line in lines]):
        pairs.append(([s.duration for s in inside(source, window)], [s.duration for s in inside(dub, window)]))
    found = overlap(pairs)
    if found is None:
        return ()
    rows = (
        ("D2.chunks.m1", "overlap M1 over detected chunks", found.m1, "", True),
        ("D2.chunks.m2", "overlap M2 over detected chunks", found.m2, "", True),
        ("D2.chunks.m3", "overlap M3 over detected chunks", found.m3_s, "s", False),
        ("D2.chunks.large", "chunks off by 0.3 s or more", 100 * found.large, "%", False),
        ("D2.chunks.wrong", "lines with another number of pauses", 100 * found.wrong / len(pairs), "%", False),
    )
    return tuple(
        Score(id=i, name=name, value=round(value, 4), unit=unit, n=len(pairs), higher_is_better=up, source=_AMAZON, basis=basis)
        for i, name, value, unit, up in rows
    )


def windows(slots: Sequence[Span]) -> tuple[Span, ...]:
    """For each slot, in any order, the time from the middle of the pause before it to the middle of the pause after it.

    The first reaches back to 0, the last for ever; slots that overlap meet in the middle of what they share.
    """
    order = sorted(range(len(slots)), key=lambda n: (slots[n].start, slots[n].end))
    edges = [0.0, *((slots[a].end + slots[b].start) / 2 for a, b in pairwise(order)), float("inf")]
    found = list(slots)
    for place, n in enumerate(order):
        low = min(edges[place], slots[n].end)
        found[n] = Span(low, max(low, edges[place + 1]))
    return tuple(found)


def inside(spans: Sequence[Span], window: Span) -> tuple[Span, ...]:
    """The parts of `spans`, which are in order and do not overlap, in `window`; empty ones are left out."""
    first = bisect_right(spans, window.start, key=lambda s: s.end)
    last = bisect_left(spans, window.end, key=lambda s: s.start)
    return tuple(Span(max(s.start, window.start), min(s.end, window.end)) for s in spans[first:last] if s.end > s.start)


def isochrony_scores(source: Sequence[Span], dub: Sequence[Span], slots: Sequence[Span], basis: str) -> tuple[Score, ...]:
    """D3: time both speak / time either speaks, and the share of the dub's speech where the source is silent.

    `source` and `dub` are spans in any order that may overlap; the confidence interval is drawn over the windows of the
    source lines `slots`. Where nobody speaks there is no score.
    """
    a, b = bridged(source, 0.0), bridged(dub, 0.0)
    both, either, spoken = _shared(a, b), _total(bridged([*a, *b], 0.0)), _total(b)
    parts = windows(slots)
    shares: list[Interval] = []
    leaks: list[Interval] = []
    for window in parts:
        ours, theirs = inside(a, window), inside(b, window)
        common, dubbed = _shared(ours, theirs), _total(theirs)
        shares.append((common, _total(ours) + dubbed - common))
        leaks.append((100 * (dubbed - common), dubbed))
    scores: list[Score] = []
    if either > 0:
        scores.append(
            Score(id="D3.iou", name="time both speak / time either speaks", value=round(both / either, 4), n=len(parts),
                  ci=interval(shares), higher_is_better=True, source=_OVERLAP, basis=basis)
        )  # fmt: skip
    if spoken > 0:
        leak = round(100 * max(0.0, 1 - both / spoken), 2)
        scores.append(
            Score(id="D3.leak", name="dub heard where the source is silent", value=leak, unit="%", n=len(parts),
                  ci=interval(leaks), higher_is_better=False, source=_OWN, basis=basis)
        )  # fmt: skip
    return tuple(scores)


def _total(spans: Iterable[Span]) -> float:
    return sum(s.end - s.start for s in spans)


def _shared(a: Sequence[Span], b: Sequence[Span]) -> float:
    """Seconds in both, each of them in order and without overlap."""
    total, n = 0.0, 0
    for span in a:
        while n < len(b) and b[n].end <= span.start:
            n += 1
        at = n
        while at < len(b) and b[at].start < span.end:
            total += min(span.end, b[at].end) - max(span.start, b[at].start)
            at += 1
    return total


def syllable_score(lines: Sequence[ReportLine], language: str, basis: str) -> Score | None:
    """D5: share of lines, in per cent, whose syllables a second lie within 0.8 to 1.25 times the language's norm.

    Syllables are counted by rule (`text.syllables`), so that the figure compares dubs rather than languages. None for
    languages without a published norm, and without lines.
    """
    norm = NORMS.get(language.partition("-")[0])
    heard = [line for line in lines if line.duration > 0 and line.text.strip()]
    if norm is None or not heard:
        return None
    paces = [sum(syllables(word, language) for word in line.text.split()) / line.duration / norm for line in heard]
    kept = [(100.0 * (0.8 <= pace <= 1.25), 1.0) for pace in paces]
    return Score(
        id="D5.syllables",
        name=f"lines spoken at 0.8 to 1.25 times {norm} syllables a second",
        value=round(mean(value for value, _ in kept), 2),
        unit="%",
        n=len(kept),
        ci=interval(kept),
        higher_is_better=True,
        source="Pellegrino, Coupe and Marsico 2011, Language 87(3)",
        basis=basis,
    )
