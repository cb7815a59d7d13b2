"""D1 to D6: against the report's own scores, Amazon's formulas by hand, and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyannote.core import Segment, Timeline

from eval_projects import line, lines
from polydub.evaluate import timing
from polydub.report.model import timing_scores
from polydub.types import Span

MS = st.integers(0, 20_000).map(lambda n: n / 1000)
SPANS = st.lists(st.tuples(MS, MS).map(lambda ab: Span(*sorted(ab))), max_size=8)


def value(scores: tuple[timing.Score, ...], name: str) -> float:
    return next(s.value for s in scores if s.id == name and s.value is not None)


def test_the_figures_are_those_of_the_dubs_own_report() -> None:
    said = [line(1, (0, 2), duration=2.5, rate=1.2), line(2, (3, 4), duration=0.9, rate=1.3), line(3, (5, 7), duration=2.0)]
    whole, scores = timing_scores(said), timing.line_scores(said, "placements")
    assert value(scores, "D1.mae") == whole.duration_mae_s
    assert value(scores, "D2.m1") == whole.overlap_m1
    assert value(scores, "D4.20") == pytest.approx(100 * (whole.slc_20 or 0), abs=1e-6)
    assert value(scores, "D5.above125") == pytest.approx(100 / 3, abs=0.01)
    assert value(scores, "D6.smoothness") == whole.smoothness
    assert value(scores, "D1.near") == pytest.approx(200 / 3, abs=0.01)
    assert all(
        s.ci is not None and s.ci[0] <= (s.value or 0) <= s.ci[1] for s in scores if s.id in ("D1.mae", "D2.m1", "D4.20")
    )


def test_unknown_rates_give_no_pace() -> None:
    ids = {s.id for s in timing.line_scores([line(1, (0, 2), rate=0.0)], "")}
    assert "D1.mae" in ids
    assert not any(i.startswith(("D5", "D6")) for i in ids)


def test_silent_lines_count_for_nothing() -> None:
    assert timing.line_scores([line(1, (0, 2), duration=0.0)], "") == ()


def test_overlap_follows_amazons_formulas() -> None:
    found = timing.overlap([([1.0, 2.0], [1.1, 1.5]), ([1.0], [0.5, 0.5])])
    assert found is not None
    assert found.m1 == pytest.approx(1 - (0.1 + 0.25 + 1.0) / 3)
    assert found.m2 == pytest.approx((1 / 1.1 + 0.75 + 0) / 3)
    assert found.m3_s == pytest.approx((0.1 + 0.5 + 35 * 256 / 22050) / 3)
    assert found.large == pytest.approx(2 / 3)
    assert found.wrong == 1


def test_chunks_are_looked_for_around_each_line() -> None:
    dub = [Span(0.6, 1.7), Span(2.7, 3.1), Span(3.3, 3.8), Span(4.2, 5.4)]
    scores = timing.chunk_scores(lines(), [Span(*s) for s in ((0.5, 1.8), (2.6, 3.8), (4.2, 5.4))], dub, "x")
    assert value(scores, "D2.chunks.wrong") == pytest.approx(100 / 3, abs=0.01)
    assert value(scores, "D2.chunks.m3") == pytest.approx((0.2 + 35 * 256 / 22050 + 0.0) / 3, abs=1e-3)


@given(SPANS, SPANS)
def test_isochrony_is_the_ratio_of_shared_to_joint_time(source: list[Span], dub: list[Span]) -> None:
    scores = timing.isochrony_scores(source, dub, [Span(0, 5), Span(6, 9)], "")
    ours, theirs = (Timeline([Segment(s.start, s.end) for s in spans if s.end > s.start]).support() for spans in (source, dub))
    joint = ours.union(theirs).support().duration()
    shared = ours.duration() + theirs.duration() - joint
    told = {s.id: s.value for s in scores}
    if joint > 1e-3:
        assert told["D3.iou"] == pytest.approx(shared / joint, abs=2e-4)
    if theirs.duration() > 1e-3:
        assert told["D3.leak"] == pytest.approx(100 * (1 - shared / theirs.duration()), abs=2e-2)


@given(SPANS.filter(lambda spans: sum(s.duration for s in spans) > 0))
def test_a_dub_that_speaks_exactly_when_the_source_does_is_isochronous(spans: list[Span]) -> None:
    told = {s.id: s.value for s in timing.isochrony_scores(spans, spans, spans, "")}
    assert told == {"D3.iou": 1.0, "D3.leak": 0.0}


@given(SPANS)
def test_windows_of_lines_cover_all_time_once(slots: list[Span]) -> None:
    found = sorted(timing.windows(slots), key=lambda w: (w.start, w.end))
    assert len(found) == len(slots)
    for a, b in itertools.pairwise(found):
        assert a.start <= b.start
    ordered = sorted(slots, key=lambda s: (s.start, s.end))
    if all(a.end <= b.start for a, b in itertools.pairwise(ordered)) and slots:
        assert found[0].start == 0.0
        assert np.isinf(found[-1].end)
        assert all(a.end == b.start for a, b in itertools.pairwise(found))


def test_a_line_at_the_languages_pace_is_compliant_and_one_at_twice_the_pace_is_not() -> None:
    text = "lalalala " * 4  # 16 syllables
    norm = timing.NORMS["es"]
    calm, fast = (line(n, (0, 9), text=text, duration=16 / norm / pace) for n, pace in ((1, 1.0), (2, 2.0)))
    score = timing.syllable_score([calm, fast], "es-MX", "")
    assert score is not None
    assert score.value == 50.0
    assert timing.syllable_score([calm], "sw", "") is None
