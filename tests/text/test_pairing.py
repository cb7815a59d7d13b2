"""Pairing given texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import BadInput, NoSpeech
from polydub.text.pairing import Paired, pair
from polydub.text.subtitles import Parsed
from polydub.types import Segment


def parsed(*cues: tuple[float, float, str], speaker: str = "") -> Parsed:
    made = tuple(Segment(a, b, id=str(i), text=t, speaker=speaker) for i, (a, b, t) in enumerate(cues, 1))
    return Parsed(made, True, None, ())


def untimed(*lines: str) -> Parsed:
    return Parsed(tuple(Segment(0.0, 0.0, id=str(i), text=t) for i, t in enumerate(lines, 1)), False, None, ())


def rows(paired: Paired) -> list[tuple[str, float, float, str, str | None]]:
    return [(s.id, s.start, s.end, s.text, paired.texts.get(s.id)) for s in paired.segments]


def doubts(paired: Paired) -> list[tuple[str, str | None]]:
    return [(notice.code, notice.line) for notice in paired.notices]


def test_equal_counts_pair_by_number_and_keep_the_times_of_the_source() -> None:
    paired = pair(parsed((0, 1, "a"), (2, 3, "b")), parsed((0.4, 1.4, "A"), (5, 6, "B"), speaker="Ann"), 10)
    assert rows(paired) == [("1", 0, 1, "a", "A"), ("2", 2, 3, "b", "B")]
    assert [s.speaker for s in paired.segments] == ["Ann", "Ann"]
    assert paired.notices == ()


def test_the_speaker_of_the_source_goes_before_that_of_the_target() -> None:
    assert pair(parsed((0, 1, "a"), speaker="S"), parsed((0, 1, "A"), speaker="T"), 10).segments[0].speaker == "S"


def test_unequal_counts_pair_by_overlap_and_tell_what_is_left() -> None:
    source = parsed((0, 2, "a"), (2, 4, "b"), (8, 9, "d"))
    target = parsed((0.1, 1.9, "A"), (5, 6, "C"), (8, 9, "D"), (1.95, 2.0, "touches"))
    paired = pair(source, Parsed(tuple(sorted(target.segments, key=lambda s: s.start)), True, None, ()), 10)
    assert rows(paired) == [
        ("1", 0, 2, "a", "A"),
        ("2", 1.95, 2.0, "", "touches"),
        ("3", 2, 4, "b", None),
        ("4", 5, 6, "", "C"),
        ("5", 8, 9, "d", "D"),
    ]
    assert sorted(doubts(paired)) == [("unpaired-cue", "2"), ("unpaired-cue", "3"), ("unpaired-cue", "4")]


def test_the_greatest_overlap_wins_over_the_first() -> None:
    paired = pair(parsed((0, 5, "a")), parsed((0, 1, "short"), (1, 5, "long")), 10)
    assert rows(paired) == [("1", 0, 5, "a", "long"), ("2", 0, 1, "", "short")]


def test_neighbours_that_barely_touch_are_no_pair() -> None:
    paired = pair(parsed((0, 2, "a"), (6, 7, "c")), parsed((1.95, 4, "B")), 10)
    assert rows(paired) == [("1", 0, 2, "a", None), ("2", 1.95, 4, "", "B"), ("3", 6, 7, "c", None)]


def test_a_lone_side_is_taken_as_it_is() -> None:
    assert rows(pair(parsed((0, 1, "a")), None, 10)) == [("1", 0, 1, "a", None)]
    assert rows(pair(None, parsed((0, 1, "A"), speaker="Ann"), 10)) == [("1", 0, 1, "", "A")]
    assert pair(None, None, 10) == Paired((), {}, ())


def test_an_untimed_side_takes_the_times_of_the_other() -> None:
    assert rows(pair(untimed("a", "b"), parsed((1, 2, "A"), (3, 4, "B")), 10)) == [("1", 1, 2, "a", "A"), ("2", 3, 4, "b", "B")]
    assert rows(pair(parsed((1, 2, "a"), (3, 4, "b")), untimed("A", "B"), 10)) == [("1", 1, 2, "a", "A"), ("2", 3, 4, "b", "B")]


@pytest.mark.parametrize("timed", [True, False])
def test_an_untimed_side_of_another_length_is_refused_with_both_counts(timed: bool) -> None:
    source = parsed((1, 2, "a"), (3, 4, "b")) if timed else untimed("a", "b")
    with pytest.raises(BadInput, match=r"2 lines .* 3"):
        pair(source, untimed("A", "B", "C"), 10)


def test_text_without_times_is_spread_over_the_film_by_length() -> None:
    for paired in (pair(untimed("aa", "bbbbbb"), None, 8), pair(untimed("aa", "bbbbbb"), untimed("A", "B"), 8)):
        assert [(s.start, s.end) for s in paired.segments] == [(0, 2), (2, 8)]
        assert doubts(paired) == [("times-estimated", None)]


def test_cues_beyond_the_end_are_dropped_and_those_across_it_clamped() -> None:
    paired = pair(parsed((1, 2, "a"), (9, 12, "b"), (10, 11, "c")), parsed((1, 2, "A"), (9, 12, "B"), (10, 11, "C")), 10)
    assert rows(paired) == [("1", 1, 2, "a", "A"), ("2", 9, 10, "b", "B")]
    assert doubts(paired) == [("cue-after-end", None)]


def test_subtitles_wholly_beyond_the_end_are_an_error() -> None:
    with pytest.raises(NoSpeech, match="after the end"):
        pair(parsed((100, 101, "a")), None, 10)


def cue_lists(min_size: int = 1) -> st.SearchStrategy[Parsed]:
    cues = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=min_size, max_size=9)
    return cues.map(lambda found: parsed(*((float(a), float(a + d), f"t{i}") for i, (a, d) in enumerate(sorted(found)))))


@given(cue_lists(), cue_lists())
def test_no_text_is_lost_or_doubled_and_ids_go_by_time(source: Parsed, target: Parsed) -> None:
    paired = pair(source, target, 100.0)
    assert sorted(s.text for s in paired.segments if s.text) == sorted(s.text for s in source.segments)
    assert sorted(paired.texts.values()) == sorted(s.text for s in target.segments)
    assert [s.id for s in paired.segments] == [str(i + 1) for i in range(len(paired.segments))]
    assert [s.start for s in paired.segments] == sorted(s.start for s in paired.segments)


@given(cue_lists(), cue_lists())
def test_pairing_by_time_keeps_order_and_no_choice_overlaps_more(source: Parsed, target: Parsed) -> None:
    if len(source.segments) == len(target.segments):
        return
    paired = pair(source, target, 100.0)
    theirs = {s.text: i for i, s in enumerate(target.segments)}
    ours = {s.text: i for i, s in enumerate(source.segments)}
    pairs = [(ours[s.text], theirs[paired.texts[s.id]]) for s in paired.segments if s.text and s.id in paired.texts]
    assert pairs == sorted(pairs)
    assert [j for _, j in pairs] == sorted({j for _, j in pairs})
    got = sum(source.segments[i].overlap(target.segments[j]) for i, j in pairs)
    best = [[0.0] * (len(target.segments) + 1) for _ in range(len(source.segments) + 1)]
    for i, a in enumerate(source.segments):
        for j, b in enumerate(target.segments):
            common = a.overlap(b)
            common = common if common > 0.1 * min(a.duration, b.duration) else 0.0
            best[i + 1][j + 1] = max(best[i][j] + common, best[i][j + 1], best[i + 1][j])
    assert got == pytest.approx(best[-1][-1])


def test_many_cues_that_all_overlap_do_not_take_for_ever() -> None:
    source = parsed(*((0.0, 9.0, f"a{i}") for i in range(1000)))
    target = parsed(*((0.0, 9.0, f"b{i}") for i in range(999)))
    assert len(pair(source, target, 10).texts) == 999
