"""Subtitles to be read, and the files they are written to."""

from __future__ import annotations

from itertools import pairwise

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.cues import close_gaps, split_into_cues, timed, write_ass, write_srt, write_vtt
from polydub.text.subtitles import parse_subtitles
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


@given(cue_lists, st.sampled_from([0.0, 23.976, 25.0, 60.0]))
def test_closed_gaps_leave_two_frames_between_the_cues_of_one_speaker(cues: list[Cue], fps: float) -> None:
    gap = 2 / fps if fps else 0.08
    done = close_gaps(cues, fps)
    assert sorted(cue.text for cue in done) == sorted(cue.text for cue in cues)
    assert [cue.start for cue in done] == sorted(cue.start for cue in done)
    assert all(cue.end > cue.start for cue in done)
    for speaker in ("", "A", "B"):
        own = [cue for cue in done if cue.speaker == speaker]
        assert all(b.start - a.end >= gap - 1e-6 for a, b in pairwise(own))


def test_small_gaps_close_wide_ones_stay_and_short_cues_linger() -> None:
    done = close_gaps([Cue(0, 2, "a"), Cue(2.3, 4, "b"), Cue(6, 6.2, "c"), Cue(9, 9.1, "d")], 25)
    assert [(c.start, c.end) for c in done] == [(0, 2.22), (2.3, 4), (6, 6.833), (9, 9.1)]


def test_overlapping_speech_of_two_speakers_stays_and_adjoining_cues_part() -> None:
    done = close_gaps([Cue(0, 3, "a", "A"), Cue(1, 4, "b", "B"), Cue(4, 6, "c", "A")], 25)
    assert [(c.start, c.end) for c in done] == [(0, 3), (1, 3.92), (4, 6)]


plain_rows = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zs", "Zl", "Zp", "Co", "Cn")), min_size=1, max_size=30
)
rows = plain_rows.filter(lambda row: any(c.isalpha() for c in row) and ":" not in row and "[" not in row)
texts = st.lists(rows, min_size=1, max_size=2).map("\n".join)


@st.composite
def timed_cues(draw: st.DrawFn, text: st.SearchStrategy[str] = texts) -> list[Cue]:
    at, cues = 0, list[Cue]()
    for _ in range(draw(st.integers(1, 6))):
        at += draw(st.integers(0, 5_000_000))
        cues.append(
            Cue(at / 1000, (at + draw(st.integers(1, 9000))) / 1000, draw(text), draw(st.sampled_from(["", "Ann", "R&D <x>"])))
        )
        at += 1
    return cues


def flat(cue: Cue) -> tuple[float, float, str]:
    return (cue.start, cue.end, cue.text.replace("\n", " "))


@given(timed_cues())
def test_srt_comes_back_as_it_was_written(cues: list[Cue]) -> None:
    found = parse_subtitles(write_srt(cues).encode(), ".srt")
    assert [(s.start, s.end, s.text) for s in found.segments] == [flat(cue) for cue in cues]
    assert found.notices == ()


@given(timed_cues())
def test_vtt_comes_back_as_it_was_written_with_its_speakers(cues: list[Cue]) -> None:
    found = parse_subtitles(write_vtt(cues).encode(), ".vtt")
    assert [(s.start, s.end, s.text) for s in found.segments] == [flat(cue) for cue in cues]
    assert [s.speaker for s in found.segments] == [cue.speaker for cue in cues]
    assert found.notices == ()


@pytest.mark.parametrize(
    "text",
    [
        "<i>no tag</i>",
        "{\\an8}up",
        "&amp; &#60;",
        "00:00:01,000 --> 00:00:02,000",
        "<v Bob>hm",
        "<00:01.000>",
        "NOTE\nSTYLE",
        "a\n42",
    ],
)
def test_text_that_looks_like_markup_stays_text(text: str) -> None:
    cues = [Cue(1, 2, text), Cue(3, 4, "next")]
    for suffix, written in ((".srt", write_srt(cues)), (".vtt", write_vtt(cues))):
        assert [s.text for s in parse_subtitles(written.encode(), suffix).segments] == [text.replace("\n", " "), "next"]


def squeezed(text: str) -> str:
    return " ".join(text.split())


simple = st.lists(st.text(alphabet="abc éñ漢,.!?{}\\N", min_size=3, max_size=30).map(squeezed), min_size=1, max_size=2)
lettered = simple.map(lambda rows: "\n".join(f"x{row}" for row in rows))


@given(timed_cues(lettered))
def test_pysubs2_reads_our_ass_with_the_same_times_and_texts(cues: list[Cue]) -> None:
    cues = [cue for cue in cues if cue.end < 35_000]
    found = pysubs2.SSAFile.from_string(write_ass(cues, "A film\n[Events]"), format_="ass")
    wide = str.maketrans("{}\\", "｛｝＼")
    assert [e.plaintext for e in found] == [cue.text.translate(wide) for cue in cues]
    assert [e.name for e in found] == [cue.speaker for cue in cues]
    for event, cue in zip(found, cues, strict=True):
        assert abs(event.start / 1000 - cue.start) <= 0.0051
        assert abs(event.end / 1000 - cue.end) <= 0.0051


tame = st.lists(
    st.text(alphabet="abc éñ漢,.!?", min_size=1, max_size=30).map(lambda t: "x" + squeezed(t)), min_size=1, max_size=2
)


@given(timed_cues(tame.map("\n".join)))
def test_pysubs2_reads_our_srt_and_vtt_with_the_same_times_and_texts(cues: list[Cue]) -> None:
    cues = [Cue(c.start, c.end, c.text) for c in cues]
    for kind, written in (("srt", write_srt(cues)), ("vtt", write_vtt(cues))):
        found = pysubs2.SSAFile.from_string(written, format_=kind)
        assert [(e.start / 1000, e.end / 1000, e.plaintext) for e in found] == [(c.start, c.end, c.text) for c in cues]


def test_cues_without_text_are_not_written_and_no_cues_make_an_empty_file() -> None:
    assert write_srt([Cue(0, 1, " \n"), Cue(1, 2, "a\n\nb")]) == "1\n00:00:01,000 --> 00:00:02,000\na\nb\n\n"
    assert write_srt([]) == ""
    assert write_vtt([]) == "WEBVTT\n"
    assert "Dialogue" not in write_ass([Cue(0, 1, "")], "")


def test_ass_has_no_live_braces_and_keeps_its_columns() -> None:
    written = write_ass([Cue(1, 2, "{\\pos(1,1)}a, b\nc", "Ann, Bob")], "t")
    assert written.endswith("Dialogue: 0,0:00:01.00,0:00:02.00,Default,Ann Bob,0,0,0,,｛＼pos(1,1)｝a, b\\Nc\n")


def test_word_times_show_in_vtt_where_they_rise_inside_the_cue() -> None:
    words = (Word(1.0, 1.2, "Tea"), Word(1.4, 1.6, "&"), Word(1.4, 1.9, "milk"), Word(4.0, 4.1, "late"))
    cue = Cue(1.0, 3.0, "Tea &\nmilk late", "", words)
    assert "Tea <00:00:01.400>&amp;\nmilk late\n" in write_vtt([cue])


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
