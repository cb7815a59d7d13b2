"""What is said as cues, and cues in time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polydub.text.cue_rules import line_limit, rule_report, width
from polydub.text.cues import Clock, close_gaps, split_both, split_into_cues, timed
from polydub.text.subtitle_files import Bilingual, Exchange
from polydub.types import Cue, Span, Word

words = st.lists(st.text(alphabet="abcdefghijABC.,?!éñ'-", min_size=1, max_size=14), min_size=1, max_size=80)
spans = st.tuples(st.integers(0, 10**6), st.integers(1, 60_000)).map(lambda t: Span(t[0] / 1000, (t[0] + t[1]) / 1000))


@given(words, spans)
def test_splitting_keeps_every_word_once_and_in_order(said: list[str], span: Span) -> None:
    cues = split_into_cues(" ".join(said), span, speaker="Ann")
    assert " ".join(cue.text for cue in cues).split() == said
    for cue in cues:
        assert cue.speaker == "Ann"
        lines = cue.text.split("\n")
        assert len(lines) <= 2
        assert all(len(line) <= 42 or " " not in line for line in lines)


@given(words, spans)
def test_split_cues_follow_each_other_inside_the_span(said: list[str], span: Span) -> None:
    cues = split_into_cues(" ".join(said), span)
    assert cues[0].start == span.start
    assert cues[-1].end <= span.end + 0.001 or len(cues) == 1
    assert all(a.end <= b.start for a, b in pairwise(cues))
    assert all(0 <= cue.duration <= 7.0 for cue in cues)
    if span.duration >= 5 / 6 * len(cues):
        assert all(cue.duration >= 0.832 for cue in cues)


@given(st.text(max_size=300), spans)
def test_any_text_is_split_without_loss(text: str, span: Span) -> None:
    cues = split_into_cues(text, span)
    assert "".join("".join(cue.text for cue in cues).split()) == "".join(text.split())


@given(st.lists(st.sampled_from(["漢字", "かな。", "「本」", "ABC", "、カー", "語", "!"]), min_size=20, max_size=99))
def test_full_width_text_has_at_most_sixteen_characters_a_line(parts: list[str]) -> None:
    text = "語" + "".join(parts)
    cues = split_into_cues(text, Span(0, 20))
    assert "".join(cue.text for cue in cues).replace("\n", "") == text
    for line in (line for cue in cues for line in cue.text.split("\n")):
        assert line[0] not in "、。」ー!"
        assert sum(1 if c.isascii() else 2 for c in line) <= 32 or line.isascii()  # one long word


def test_lines_are_balanced_and_break_where_it_reads_best() -> None:
    (cue,) = split_into_cues("Today we are going to talk about trains, and you will see why they run late.", Span(0, 5))
    assert cue.text == "Today we are going to talk about trains,\nand you will see why they run late."


def test_a_short_text_in_a_long_span_is_one_cue_of_seven_seconds_and_a_short_span_is_held() -> None:
    assert split_into_cues("Hello there", Span(1, 31)) == (Cue(1, 8, "Hello there"),)
    assert split_into_cues("No.", Span(1, 1.2)) == (Cue(1, 1.833, "No."),)
    assert split_into_cues(" \n ", Span(1, 2)) == ()


def test_right_to_left_text_is_left_as_it_is() -> None:
    text = "مرحبا \u200fبكم 123 (abc)"
    assert [cue.text for cue in split_into_cues(text, Span(0, 3))] == [text]


cue_times = st.tuples(st.integers(0, 20_000), st.integers(0, 5000), st.sampled_from(["", "A", "B"]))
cue_lists = st.lists(cue_times.map(lambda t: Cue(t[0] / 1000, (t[0] + t[1]) / 1000, "text", t[2])), max_size=12)
clocks = st.builds(Clock, st.sampled_from([0.0, 24000 / 1001, 25.0, 30000 / 1001, 50.0, 60.0]))


@given(cue_lists, clocks)
def test_cues_in_time_are_in_order_never_overlap_and_are_two_frames_apart(cues: list[Cue], clock: Clock) -> None:
    done = close_gaps(cues, clock)
    found = rule_report(done, clock.fps)
    assert found["ordered"] == found["non_overlapping"] == found["gap"] == found["max_s"] == found["lines"] == 1.0
    assert all(cue.end > cue.start for cue in done)


@given(cue_lists, clocks)
def test_every_word_is_shown_once_whatever_is_joined(cues: list[Cue], clock: Clock) -> None:
    words = " ".join(cue.text for cue in close_gaps(cues, clock)).replace("- ", "").split()
    assert words == ["text"] * len(cues)


@given(cue_lists, st.sampled_from([24000 / 1001, 25.0, 30000 / 1001, 50.0]))
def test_cues_begin_and_end_on_frames(cues: list[Cue], fps: float) -> None:
    for time in (time for cue in close_gaps(cues, Clock(fps)) for time in (cue.start, cue.end)):
        frame = round(time * fps)
        assert -1e-9 < frame / fps - time < 0.001 + 1e-9


@st.composite
def talks(draw: st.DrawFn) -> list[Cue]:
    """What one speaker says: short and long, slow and fast, with pauses of all lengths."""
    at, said = draw(st.integers(0, 5000)), list[Cue]()
    for _ in range(draw(st.integers(1, 25))):
        text = " ".join(
            draw(st.lists(st.sampled_from(["so", "what", "remember,", "tomorrow", "I", "really."]), min_size=1, max_size=30))
        )
        length = max(100, round(1000 * len(text) / draw(st.integers(8, 25))))
        said += split_into_cues(text, Span(at / 1000, (at + length) / 1000), language="en")
        at += length + draw(st.sampled_from([50, 100, 300, 499, 500, 501, 900, 3000]))
    return said


@given(talks(), clocks)
def test_a_talk_keeps_to_the_timed_text_rules(said: list[Cue], clock: Clock) -> None:
    done = close_gaps(said, Clock(clock.fps, said[-1].end + 2), language="en")
    found = rule_report(done, clock.fps)
    assert {found[rule] for rule in ("chars_per_line", "lines", "max_s", "gap", "small_gaps_closed", "ordered")} == {1.0}
    too_short = [cue for cue in done if cue.duration < 5 / 6 - 0.002]
    assert len(too_short) <= 0.1 * len(said)  # only where the next cue has no room for half a second's delay


@given(talks(), clocks)
def test_no_cue_comes_before_its_speech_or_half_a_second_late_and_none_outstays_it(said: list[Cue], clock: Clock) -> None:
    done = close_gaps(said, Clock(clock.fps, said[-1].end + 2), language="en")
    starts = [cue.start for cue in said]
    frame = 1 / clock.fps if clock.fps else 0.001
    for cue in done:
        due = max(start for start in starts if start <= cue.start + frame)
        assert cue.start - due < 0.5 + 2 * frame or due == starts[-1]
        spoken = max(one.end for one in said if one.start < cue.end)
        assert cue.end <= max(spoken + 0.5, cue.start + 5 / 6) + 2 * frame


def test_small_gaps_close_wide_ones_stay_and_short_cues_linger() -> None:
    done = close_gaps([Cue(0, 2, "a"), Cue(2.3, 4, "b"), Cue(6, 6.2, "c"), Cue(9, 9.12, "d")], Clock(25))
    assert [(c.start, c.end) for c in done] == [(0, 2.2), (2.28, 4), (6, 6.84), (9, 9.12)]


def test_the_last_cue_is_held_to_be_read_but_not_beyond_the_end_of_the_film() -> None:
    assert [c.end for c in close_gaps([Cue(9, 9.12, "d")], Clock(25, 20))] == [9.84]
    assert [c.end for c in close_gaps([Cue(9, 9.12, "d")], Clock(25, 9.48))] == [9.48]
    late = close_gaps([Cue(9, 10.4, "c"), Cue(10.5, 11.3, "d")], Clock(25, 10.0))
    assert late[-1].end <= 10.0
    assert rule_report(late, 25)["gap"] == 1.0


def test_two_people_at_once_share_a_cue_with_dashes() -> None:
    (both,) = close_gaps([Cue(1, 3, "Are you coming?", "A"), Cue(2, 4, "Not\ntoday.", "B")], Clock(25))
    assert both == Exchange(1, 4, "- Are you coming?\n- Not today.", "", (), ("A", "B"))


def test_two_people_at_once_with_long_texts_follow_each_other_and_both_can_be_read() -> None:
    text = "This is a line that is far too long\nto stand beside another one."
    a, b = close_gaps([Cue(1, 5, text, "A"), Cue(1.5, 5.5, text, "B"), Cue(9, 10, "Next", "A")], Clock(25))[:2]
    assert (a.speaker, b.speaker) == ("A", "B")
    assert b.start - a.end == pytest.approx(0.08)
    assert a.start == 1
    assert min(a.duration, b.duration) > 2


def test_a_cue_too_short_to_be_seen_joins_the_next_one_of_its_speaker() -> None:
    (one,) = close_gaps([Cue(1, 1.3, "No.", "A"), Cue(1.4, 4, "I will not do that.", "A")], Clock(25))
    assert (one.start, one.end, one.text, one.speaker) == (1, 4, "No. I will not do that.", "A")
    first, second = close_gaps([Cue(1, 1.3, "No.", "A"), Cue(3, 4, "I will not do that.", "A")], Clock(25))
    assert (first.text, second.text) == ("No.", "I will not do that.")


def test_a_cue_too_short_to_be_seen_delays_a_next_one_that_has_no_room_for_it() -> None:
    full = "This cue has two lines that are full up,\nand nobody could put a word more into it"
    short, long = close_gaps([Cue(1, 1.3, "Nonsense, rubbish.", "A"), Cue(1.5, 6, full, "A")], Clock(25))
    assert short.duration >= 5 / 6
    assert long.start == pytest.approx(short.end + 0.08)


def test_a_slide_show_has_no_frame_grid() -> None:
    assert close_gaps([Cue(1.111, 3.333, "a")], Clock(2)) == (Cue(1.111, 3.333, "a"),)


@given(words, words, spans)
@example(["one"], [""], Span(0, 1))
def test_bilingual_cues_show_every_word_of_both_texts(ours: list[str], theirs: list[str], span: Span) -> None:
    cues = split_both(Cue(span.start, span.end, " ".join(ours), "Ann"), " ".join(theirs), ("es", "en"))
    assert " ".join(cue.text for cue in cues).split() == ours
    assert " ".join(cue.other for cue in cues).split() == " ".join(theirs).split()
    for cue in cues:
        for text in (cue.text, cue.other):
            rows = text.split("\n")
            assert len(rows) <= 2
            assert all(width(row) <= line_limit(row) or " " not in row for row in rows)


def test_both_texts_of_a_bilingual_cue_are_cut_at_like_places() -> None:
    text = "Hoy vamos a hablar de los trenes, y van a ver ustedes por qué llegan tarde tan a menudo en este país nuestro."
    other = "Today we are going to talk about trains, and you will see why they are late so often in this country of ours."
    cues = split_both(Cue(0, 7, text), other, ("es", "en"))
    assert [cue.text.split()[0] for cue in cues] == ["Hoy", "y"]
    assert [cue.other.split()[0] for cue in cues] == ["Today", "and"]
    assert all(isinstance(cue, Bilingual) for cue in close_gaps(cues, Clock(25)))


def test_cues_of_a_cut_text_begin_with_their_words() -> None:
    text = " ".join(f"word{n} and then some more text that fills a line," for n in range(6))
    span = Span(0.0, 24.0)
    times = [Word(n * 0.3, n * 0.3 + 0.25, word) for n, word in enumerate(text.split())]
    plain = split_into_cues(text, span)
    cut = timed(plain, times)
    assert len(cut) > 2 and [c.text for c in cut] == [c.text for c in plain]
    starts = {word.start for word in times}
    assert all(cue.start in starts and cue.words[0].start == cue.start for cue in cut[1:])
    assert timed(plain, times[1:]) == plain


def test_words_without_blanks_time_the_cues_that_they_are_cut_into() -> None:
    text = (
        "今日は新しい映画の撮影について皆さんにお話ししたいと思います。長い話になるので、どうぞお茶を飲みながら聞いてください。"
    )
    parts = ["今日は", "新しい", "映画の", "撮影に", "ついて", "皆さんに", "お話しし", "たいと", "思います。"]
    parts += ["長い", "話に", "なるので、", "どうぞ", "お茶を", "飲みながら", "聞いて", "ください。"]
    heard = [Word(n * 0.5, n * 0.5 + 0.4, part) for n, part in enumerate(parts)]
    cues = timed(split_into_cues(text, Span(0, 9), language="ja"), heard)
    assert len(cues) == 2
    assert [cue.words[0].text for cue in cues] == ["今日は", "長い"]
    assert cues[1].start == heard[9].start
