"""Two dubs side by side, and the pages of both."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from polydub.errors import BadSettings
from polydub.evaluate.card import Axis, Card, Gate, Missing, Score
from polydub.evaluate.compare import Comparison, compare, dump
from polydub.evaluate.page import render


def score(name: str, value: float | None, **changed: object) -> Score:
    values: dict[str, object] = {"id": name, "name": f"figure {name}", "value": value, "n": 9}
    return Score.model_validate(values | changed)


def card(*scores: Score, **changed: object) -> Card:
    values: dict[str, object] = {"polydub_version": "1", "dub": "a.mkv", "language": "es", "passed": True, "total": None}
    return Card.model_validate(values | {"axes": (), "gates": (), "scores": scores} | changed)


def axes(*values: float | None) -> tuple[Axis, ...]:
    return tuple(Axis(name=f"axis {n}", weight=0.2, value=v) for n, v in enumerate(values))


@pytest.mark.parametrize(
    ("higher", "ours", "theirs", "better"),
    [
        (True, 0.7, 0.6, "ours"),
        (True, 0.5, 0.6, "theirs"),
        (False, 0.5, 0.6, "ours"),
        (None, 1.0, 2.0, ""),
        (True, 1.0, 1.0, "equal"),
    ],
)
def test_what_is_better_depends_on_the_figure(higher: bool | None, ours: float, theirs: float, better: str) -> None:
    a, b = (card(score("X", v, higher_is_better=higher)) for v in (ours, theirs))
    (row,) = compare(a, b).rows
    assert row.better == better
    assert row.difference == pytest.approx(ours - theirs)


@pytest.mark.parametrize(
    ("ours", "theirs", "certain"),
    [((0, 1), (2, 3), True), ((4, 5), (2, 3), True), ((0, 2), (1, 3), False), (None, (1, 3), None)],
)
def test_a_difference_is_certain_where_the_intervals_are_apart(
    ours: tuple[float, float] | None, theirs: tuple[float, float], certain: bool | None
) -> None:
    (row,) = compare(card(score("X", 1.0, ci=ours)), card(score("X", 2.0, ci=theirs))).rows
    assert row.certain is certain


def test_figures_that_were_measured_in_another_way_are_not_compared() -> None:
    a, b = (card(score("D3.iou", 0.7, basis=basis)) for basis in ("silero 6 on stems", "line spans"))
    with pytest.raises(BadSettings, match=r"D3\.iou.*'silero 6 on stems' here, 'line spans' there") as refused:
        compare(a, b)
    assert refused.value.hint


def test_languages_are_not_compared() -> None:
    with pytest.raises(BadSettings, match="es and fr"):
        compare(card(), card(language="fr"))


def test_a_figure_of_one_alone_has_no_difference() -> None:
    rows = {row.id: row for row in compare(card(score("A", 1.0)), card(score("B", 2.0))).rows}
    assert (rows["A"].ours, rows["A"].theirs, rows["A"].difference) == (1.0, None, None)
    assert (rows["B"].ours, rows["B"].better) == (None, "")


def test_totals_over_other_axes_are_not_subtracted() -> None:
    a, b, c = (card(axes=axes(*v), total=t) for v, t in (((80, None), 80), ((60, None), 60), ((60, 60), 60)))
    assert compare(a, b).total_difference == 20
    assert compare(a, c).total_difference is None


def test_a_comparison_comes_back_from_its_json() -> None:
    found = compare(card(score("A", 1.0)), card(score("A", 3.0)))
    assert Comparison.model_validate_json(dump(found)) == found


NASTY = '<script>alert("x")</script>'
FULL = card(
    score("D3.iou", 0.7, ci=(0.6, 0.8), basis=NASTY),
    score("D4.20", 55.5, unit="%"),
    score("D9", None),
    dub=NASTY,
    reference="film.mkv",
    gates=(
        Gate(name="loudness", passed=False, value="-20 LUFS", limit="-16 LUFS"),
        Gate(name="subtitles", passed=None, value=NASTY, limit=""),
    ),
    missing=(Missing(id="T1", reason=NASTY),),
    models=(NASTY,),
    axes=axes(70.0, None),
    total=70.0,
    passed=False,
)


class Tags(HTMLParser):
    """Which elements a page has, and whether they are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("page", [render(FULL), render(compare(FULL, FULL))], ids=["card", "comparison"])
def test_a_page_is_whole_and_runs_and_fetches_nothing(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert "img" not in tags.seen
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "default-src 'none'" in page
    assert "&lt;script&gt;" in page


def test_a_page_tells_gates_figures_and_what_is_missing() -> None:
    page = render(FULL)
    for told in ("FAIL: loudness", "-20 LUFS", "0.6 to 0.8", "55.5 %", "T1", "70"):
        assert told in page


def test_a_comparison_page_tells_who_is_better() -> None:
    a, b = (card(score("X", v, higher_is_better=True, ci=(v, v)), dub=f"{v}.mkv") for v in (1.0, 2.0))
    page = render(compare(a, b))
    assert "second surely" in page
    assert "The first is better in 0 figures, the second in 1." in page
