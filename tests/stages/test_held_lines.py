"""What a person has fixed of lines, on its way to the solver: locked recordings, set times."""

from __future__ import annotations

import pytest

from polydub.stages.timing import Held, Spoken, pinned
from polydub.types import Artifact, Line, Phrase, Placement, Span, Take
from polydub.wants import Timing

LINE = Line(10.0, 12.0, "3", "A", "", "text", "es", pinned=True)
SPOKEN = Spoken("3", "A", 10.0, 12.0, 2.4)


def test_a_set_start_fixes_the_begin_and_not_the_length() -> None:
    assert pinned([SPOKEN], [LINE], {}, Timing()) == (Spoken("3", "A", 10.0, 12.0, 2.4, at=10.0),)


@pytest.mark.parametrize(
    ("natural_s", "lasts"),
    [(2.4, 2.0), (1.5, 1.5), (5.2, 4.0)],
    ids=["hurried to the end", "never slower than natural", "never beyond the fastest rate"],
)
def test_a_set_end_is_kept_as_far_as_the_rate_allows(natural_s: float, lasts: float) -> None:
    (made,) = pinned([Spoken("3", "A", 10.0, 12.0, natural_s)], [LINE], {"3": Held(ends=True)}, Timing())
    assert made.at == 10.0
    assert made.lasts == pytest.approx(lasts, abs=0.001)
    assert natural_s / made.lasts <= 1.3


def test_a_locked_line_lies_where_it_lay_and_other_lines_are_free() -> None:
    held = Held(placed=(Placement("3", "A", 10.3, 2.2, 1.09, 0.3, 0.0, 2.4),))
    other = Spoken("4", "A", 13.0, 14.0, 1.0)
    lines = [LINE, Line(13.0, 14.0, "4", "A", "", "text", "es")]
    assert pinned([SPOKEN, other], lines, {"3": held}, Timing()) == (Spoken("3", "A", 10.0, 12.0, 2.4, 10.3, 2.2), other)


def recording(placed: bool) -> Held:
    take = Take(Artifact("ab" * 32, ".flac", 3), 0.8, 1.0, -20.0)
    phrases = (Phrase(10.0, 10.8, "3.1", "A", "one"), Phrase(11.2, 12.0, "3.2", "A", "two"))
    places = tuple(Placement(p.id, "A", p.start, 0.8, 1.0, 0.0, 0.0, 0.8) for p in phrases) if placed else ()
    return Held(Span(10.0, 12.0), phrases, {p.id: (take,) for p in phrases}, {}, places)


def test_a_recording_moves_along_with_its_line() -> None:
    moved = recording(placed=True).within(Line(20.0, 22.0, "3"))
    assert [(p.start, p.end) for p in moved.phrases] == [(20.0, 20.8), (21.2, 22.0)]
    assert [p.start for p in moved.placed] == [20.0, 21.2]


def test_phrases_of_a_chosen_take_fill_a_line_of_another_length_as_they_did() -> None:
    longer = recording(placed=False).within(Line(20.0, 24.0, "3"))
    assert [(p.start, p.end) for p in longer.phrases] == [(20.0, 21.6), (22.4, 24.0)]
    assert recording(placed=False).within(Line(10.0, 12.0, "3")) == recording(placed=False)
