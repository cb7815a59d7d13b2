"""The fit as a stage: placements, and what is told of speech that has no room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from polydub.stages.timing import Spoken, fit
from polydub.store import Store
from polydub.wants import Timing
from polydub.work import Work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(Store(tmp_path / "store"), tmp_path, 1, lambda share: None)


def crowd(lines: int) -> tuple[Spoken, ...]:
    """Lines of 1 s that take 2 s at full speed."""
    return tuple(Spoken(str(k + 1), "A", float(k), k + 1.0, 2.6) for k in range(lines))


def test_placements_tell_where_a_line_is_and_how_long_it_would_take(work: Work) -> None:
    (placed,) = fit(work, (Spoken("7.1", "A", 1.0, 3.0, 1.5),), 10.0, Timing(), None)
    assert (placed.id, placed.line, placed.speaker) == ("7.1", "7", "A")
    assert (placed.start, placed.duration, placed.rate, placed.natural_duration) == (1.0, 1.5, 1.0, 1.5)
    assert work.notices == []


def test_a_few_lines_without_room_are_told_one_by_one(work: Work) -> None:
    placed = fit(work, crowd(4), 4.0, Timing(), None)
    told = {notice.line: notice.text for notice in work.notices}
    assert list(told) == [p.id for p in placed if p.overflow > 0]
    assert f"{placed[0].overflow:.2f} s" in told["1"]


def test_many_lines_without_room_are_told_in_one_sentence(work: Work) -> None:
    placed = fit(work, crowd(20), 20.0, Timing(), None)
    (notice,) = work.notices
    over = [p for p in placed if p.overflow > 0]
    assert len(over) > 5
    assert (notice.code, notice.line) == ("overflow", None)
    assert notice.text.startswith(f"{len(over)} lines cannot fit")
    assert f"{sum(p.overflow for p in over):.1f} s" in notice.text


def test_parts_of_one_line_count_as_one(work: Work) -> None:
    lines = tuple(replace(x, id=f"1.{n}") for n, x in enumerate(crowd(8), 1))
    fit(work, lines, 8.0, Timing(), None)
    assert [notice.line for notice in work.notices] == ["1"]


def test_previous_placements_stay_where_nothing_changed(work: Work) -> None:
    lines = tuple(Spoken(str(k), "A", 3.0 * k, 3.0 * k + 2, 2.4) for k in range(60))
    fresh = fit(work, lines, 200.0, Timing(), None)
    before = tuple(replace(p, start=round(p.start + 0.1, 3), shift=round(p.shift + 0.1, 3)) for p in fresh)
    after = fit(work, (replace(lines[0], natural_s=3.5), *lines[1:]), 200.0, Timing(), before)
    assert after[0] != before[0]
    assert after[20:] == before[20:]
