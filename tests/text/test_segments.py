"""Recognised words: what is invented goes, what remains becomes sentences of one speaker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.segments import checked, sentences
from polydub.types import Segment, Span, Turn, Word

EVERYWHERE = [Span(0.0, 100.0)]


def words(text: str, start: float = 0.0, pace: float = 0.4, confidence: float | None = 0.9) -> tuple[Word, ...]:
    """Words of `pace` seconds, one after another; "/" is a pause of one second, "'" at the end of a word one of 0.35 s."""
    made: list[Word] = []
    at = start
    for piece in text.split():
        if piece == "/":
            at += 1.0
            continue
        bare = piece.removesuffix("'")
        made.append(Word(round(at, 3), round(at + pace, 3), bare, confidence))
        at += pace + (0.35 if bare != piece else 0.0)
    return tuple(made)


def said(text: str, start: float = 0.0, pace: float = 0.4, confidence: float | None = 0.9) -> Segment:
    heard = words(text, start, pace, confidence)
    return Segment(heard[0].start, heard[-1].end, text=" ".join(w.text for w in heard), words=heard)


def signs(text: str, pace: float = 0.2) -> Segment:
    """Text without blanks, recognised sign by sign; marks belong to the sign before them."""
    pieces: list[str] = []
    for c in text:
        if c in "。、？！" and pieces:
            pieces[-1] += c
        else:
            pieces.append(c)
    heard = tuple(Word(round(n * pace, 3), round((n + 1) * pace, 3), piece) for n, piece in enumerate(pieces))
    return Segment(0.0, heard[-1].end, text=text, words=heard)


def texts(segments: Sequence[Segment]) -> list[str]:
    return [segment.text for segment in segments]


def fate(*segments: Segment, speech: Sequence[Span] = EVERYWHERE) -> list[str]:
    """The reasons why segments were dropped."""
    return [reason for _, reason in checked(segments, Span(0.0, 100.0), speech).dropped]


# ---- checked


def test_ordinary_speech_stays_as_it_is() -> None:
    segments = (said("And so, my fellow Americans, ask not"), said("what your country can do for you.", 4.0))
    result = checked(segments, Span(0, 100), EVERYWHERE)
    assert result.segments == segments and not result.dropped and not result.shortened


@pytest.mark.parametrize(
    ("speech", "dropped"),
    [
        ([Span(0, 100)], []),
        ([], ["silent"]),
        ([Span(20, 30)], ["silent"]),
        ([Span(0, 10.05)], ["silent"]),
        ([Span(0, 10.6)], []),
        ([Span(10.1, 10.3), Span(10.5, 10.7)], []),
    ],
)
def test_words_where_nobody_speaks_are_dropped(speech: list[Span], dropped: list[str]) -> None:
    assert fate(said("Some words that nobody said here.", 10.0), speech=speech) == dropped


def test_a_very_short_word_inside_speech_is_believed() -> None:
    assert fate(said("I", 5.0, pace=0.04), said("go", 6.0, pace=0.0)) == []


def test_a_segment_without_letters_is_dropped() -> None:
    assert fate(Segment(1, 2, text=" ... "), Segment(2, 3, text="♪")) == ["empty", "empty"]


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [(5, 3, "reversed"), (5, 5, "reversed"), (math.nan, 3, "reversed"), (200, 210, "out-of-range"), (-5, -1, "out-of-range")],
)
def test_impossible_times_without_words_are_dropped(start: float, end: float, reason: str) -> None:
    assert fate(Segment(start, end, text="Good morning.")) == [reason]


def test_times_partly_outside_are_brought_inside() -> None:
    (segment,) = checked([Segment(8, 13, text="Good morning to you.")], Span(9, 12), EVERYWHERE).segments
    assert (segment.start, segment.end) == (9, 12)


def test_words_mend_the_times_of_their_segment() -> None:
    heard = words("Good morning to you.", 3.0)
    (segment,) = checked([Segment(9, 2, text="Good morning to you.", words=heard)], Span(0, 100), EVERYWHERE).segments
    assert (segment.start, segment.end, segment.words) == (3.0, 4.6, heard)


def test_a_word_out_of_order_is_put_between_its_neighbours_and_marked() -> None:
    one, two, three, four = words("one two three four", 3.0)
    for wrong in (90.0, 1.0, math.nan):
        heard = (one, Word(wrong, wrong + 0.2, "two", 0.9), three, four)
        (segment,) = checked([Segment(3, 5, text="one two three four", words=heard)], Span(0, 100), EVERYWHERE).segments
        assert segment.words == (one, Word(two.start, two.end, "two", 0.9, estimated=True), three, four)


def test_words_that_are_mostly_wrong_are_given_up_for_the_segment() -> None:
    wrong = tuple(Word(200 - n, 201 - n, f"w{n}") for n in range(4))
    (segment,) = checked([Segment(1, 4, text="w0 w1 w2 w3", words=wrong)], Span(0, 100), EVERYWHERE).segments
    assert (segment.start, segment.end, segment.words) == (1, 4, ())


def test_a_phrase_over_and_over_is_said_once() -> None:
    loop = said("Well, I do not know. I do not know. I do not know. I do not know. I do not")
    result = checked([loop], Span(0, 100), EVERYWHERE)
    (segment,) = result.segments
    assert segment.text == "Well, I do not know."
    assert (segment.start, segment.end) == (0.0, 2.0) and segment.words == loop.words[:5]
    assert result.shortened == (loop,) and not result.dropped


def test_a_phrase_said_three_times_is_meant() -> None:
    assert fate(said("Location, location, location! No, no, no.")) == []


def test_a_loop_in_text_without_words_is_shortened_too() -> None:
    (segment,) = checked([Segment(0, 8, text="Thank you. " * 8)], Span(0, 100), EVERYWHERE).segments
    assert (segment.text, segment.start, segment.end) == ("Thank you.", 0, 1)
    (segment,) = checked([Segment(0, 8, text="そうですね" * 8)], Span(0, 100), EVERYWHERE).segments
    assert segment.text == "そうですね"


def test_a_loop_without_time_for_one_repetition_is_dropped() -> None:
    assert fate(said("I really do not know. " * 9, pace=0.01)) == ["repeated"]


def test_figures_are_no_loop() -> None:
    assert fate(signs("价格是100000000元"), said("Call 5 5 5 5 now")) == []


def test_text_that_compresses_like_a_loop_is_dropped() -> None:
    long = "one and two and three and four and five and six and seven"  # a phrase too long to be found as a loop
    assert fate(said(f"{long} / {long} / {long} / {long} / {long} / {long}")) == ["repeated"]


def test_a_sentence_that_follows_itself_is_an_echo_but_a_short_answer_may() -> None:
    again = [said("I will see you there.", 3.0 * n) for n in range(4)]
    assert fate(*again) == ["repeated"] * 3
    assert fate(said("Yes.", 1.0), said("Yes.", 2.0)) == []
    assert fate(*(said("Yes.", float(n)) for n in range(5))) == ["repeated"] * 3
    assert fate(said("I will see you there.", 1.0), said("I will see you there.", 60.0)) == []


@pytest.mark.parametrize(
    "segment",
    [
        said("this is spoken far too quickly by anyone", pace=0.05),
        Segment(0, 1, text="unpronounceable" * 4),
        Segment(0, 1, text="我们今天要去北京看很多很多的朋友和老师"),
    ],
)
def test_nobody_speaks_that_fast(segment: Segment) -> None:
    assert fate(segment) == ["impossible-rate"]


@pytest.mark.parametrize(
    "segment",
    [said("this is spoken quickly", pace=0.15), Segment(0, 2, text="我们今天要去北京看朋友"), said("Yeah.", 3, pace=0.02)],
)
def test_some_speak_fast(segment: Segment) -> None:
    assert fate(segment) == []


CREDITS = [
    "Thanks for watching!",
    "Subtitles by the Amara.org community",
    "¡Gracias por ver el video!",
    "Untertitel der Amara.org-Community",
    "ご視聴ありがとうございました",
    "Субтитры сделал DimaTorzok",
]


@pytest.mark.parametrize("text", CREDITS)
def test_well_known_credits_are_dropped_only_in_doubt(text: str) -> None:
    sure = Segment(0, 4, text=text, words=(Word(0, 4, text, 0.9),))
    unsure = Segment(0, 4, text=text, words=(Word(0, 4, text, 0.3),))
    assert fate(sure) == []
    assert fate(unsure) == ["credits"]
    assert fate(sure, speech=[Span(0, 1)]) == ["credits"]
    assert fate(said("I said thanks for watching over me.", confidence=0.3)) == []


times = st.one_of(st.floats(-5, 40), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 30.0]))
raw_words = st.builds(Word, times, times, st.sampled_from(["a", "hello", "no", "", "好", "x."]), st.none() | st.floats(0, 1))
raw_segments = st.builds(
    Segment, times, times, text=st.text("ab. 好", max_size=30), words=st.lists(raw_words, max_size=8).map(tuple)
)


@given(st.lists(raw_segments, max_size=6))
def test_whatever_comes_in_is_in_order_inside_and_accounted_for(segments: list[Segment]) -> None:
    result = checked(segments, Span(0, 30), [Span(0, 30)])
    assert len(result.segments) + len(result.dropped) == len(segments)
    assert all(a.start <= b.start for a, b in pairwise(result.segments))
    for segment in result.segments:
        assert 0 <= segment.start <= segment.end <= 30
        edges = [edge for word in segment.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert not edges or (edges[0], edges[-1]) == (segment.start, segment.end)


# ---- sentences


def test_sentences_are_cut_at_their_ends_and_numbered() -> None:
    cut = sentences([said("Hello there. How are you today? Fine, thank you!")], [])
    assert texts(cut) == ["Hello there.", "How are you today?", "Fine, thank you!"]
    assert [(s.id, s.speaker, s.start, s.end) for s in cut] == [("1", "", 0.0, 0.8), ("2", "", 0.8, 2.4), ("3", "", 2.4, 3.6)]


def test_a_sentence_over_two_segments_is_one() -> None:
    heard = [said("ask not what your country"), said("can do for you.", 2.1)]
    assert texts(sentences(heard, [])) == ["ask not what your country can do for you."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I met Mr. Smith and Dr. Who today.", ["I met Mr. Smith and Dr. Who today."]),
        ("He is from the U.S. Army base.", ["He is from the U.S. Army base."]),
        ("He is from the U.S.' She is not.", ["He is from the U.S.", "She is not."]),
        ("John F. Kennedy said 3.5 percent.", ["John F. Kennedy said 3.5 percent."]),
        ("Am 3. Mai kommt er nach Hause.", ["Am 3. Mai kommt er nach Hause."]),
        ("Well... I think so, yes.", ["Well...", "I think so, yes."]),
        ("So it was… maybe too late.", ["So it was… maybe too late."]),
        ('"Come over here!" she said to him.', ['"Come over here!" she said to him.']),
        ('"Come over here!" She left him.', ['"Come over here!"', "She left him."]),
        ("bread, milk, etc. for the week", ["bread, milk, etc. for the week"]),
        ("كيف حالك اليوم؟ أنا بخير اليوم", ["كيف حالك اليوم؟", "أنا بخير اليوم"]),
        ("आप कैसे हैं। मैं ठीक हूँ।", ["आप कैसे हैं।", "मैं ठीक हूँ।"]),
    ],
)
def test_not_every_full_stop_ends_a_sentence(text: str, expected: list[str]) -> None:
    assert texts(sentences([said(text)], [])) == expected


def test_text_without_punctuation_is_cut_at_pauses() -> None:
    heard = said("so we went home / and nobody was there at all / not even the dog")
    assert texts(sentences([heard], [])) == ["so we went home", "and nobody was there at all", "not even the dog"]


def test_scripts_without_blanks_are_joined_without() -> None:
    assert texts(sentences([signs("你好吗？我很好。再见")], [])) == ["你好吗？", "我很好。", "再见"]
    mixed = (Word(0, 1, "我"), Word(1, 2, "用"), Word(2, 3, "Python"), Word(3, 4, "写"), Word(4, 5, "。"))
    assert texts(sentences([Segment(0, 5, text="我用 Python 写。", words=mixed)], [])) == ["我用 Python 写。"]
    assert texts(sentences([signs("สวัสดี")], [])) == ["สวัสดี"]


def test_over_a_seam_blanks_follow_the_script() -> None:
    second = Segment(1.0, 1.4, words=words("二 三", 1.0, 0.2), text="二三")
    first = Segment(0.0, 1.0, words=words("一", 0.0, 1.0), text="一")
    assert texts(sentences([first, second], [])) == ["一二三"]


def test_each_speaker_has_segments_of_their_own() -> None:
    turns = [Turn(0, 1.6, "A"), Turn(1.6, 4, "B")]
    cut = sentences([said("are you coming home not before nine tonight")], turns)
    assert [(s.speaker, s.text) for s in cut] == [("A", "are you coming home"), ("B", "not before nine tonight")]


def test_a_word_outside_all_turns_goes_to_the_nearest() -> None:
    turns = [Turn(0, 0.4, "A"), Turn(10, 12, "B")]
    assert [s.speaker for s in sentences([said("one / / / / / / / / two three / four", 0.0)], turns)] == ["A", "B", "B"]
    assert [s.speaker for s in sentences([said("before", 0.0), said("later", 90.0)], [Turn(5, 6, "C")])] == ["C", "C"]


def test_a_stray_word_makes_no_turn_but_an_answer_does() -> None:
    turns = [Turn(0, 0.8, "A"), Turn(0.8, 1.2, "B"), Turn(1.2, 3, "A")]
    assert [(s.speaker, s.text) for s in sentences([said("one two three four five")], turns)] == [
        ("A", "one two three four five")
    ]
    cut = sentences([said("Coming tonight? Sure. Good to know.", pace=0.4)], turns)
    assert [(s.speaker, s.text) for s in cut] == [("A", "Coming tonight?"), ("B", "Sure."), ("A", "Good to know.")]


def test_an_inexact_turn_does_not_tear_off_the_end_or_beginning_of_a_sentence() -> None:
    heard = said("Where are you going? Over there now.")
    for change in (1.1, 2.1):
        cut = sentences([heard], [Turn(0, change, "A"), Turn(change, 9, "B")])
        assert [(s.speaker, s.text) for s in cut] == [("A", "Where are you going?"), ("B", "Over there now.")]


def test_where_two_speak_at_once_the_one_who_was_speaking_goes_on() -> None:
    turns = [Turn(0, 4, "B"), Turn(0.8, 4, "A")]
    assert [s.speaker for s in sentences([said("one two three four five six seven")], turns)] == ["B"]


def test_what_is_too_long_is_cut_at_its_longest_pause_or_a_comma() -> None:
    cut = sentences([said("one two three four five six seven eight' nine ten eleven twelve", pace=1.1)], [])
    assert texts(cut) == ["one two three four five six seven eight", "nine ten eleven twelve"]
    cut = sentences([said("one two three four five, six seven eight nine ten eleven twelve", pace=1.1)], [])
    assert texts(cut) == ["one two three four five,", "six seven eight nine ten eleven twelve"]
    cut = sentences([said("conversation " * 24, pace=0.3)], [])
    assert len(cut) > 1 and all(len(text) <= 200 for text in texts(cut))


def test_a_fragment_joins_the_nearer_neighbour_of_its_speaker() -> None:
    heard = [said("We go now."), said("Yes.", 1.5, 0.2), said("It is late.", 1.8)]
    assert texts(sentences(heard, [])) == ["We go now.", "Yes. It is late."]
    assert texts(sentences([heard[0], said("Yes.", 1.3, 0.2), heard[2]], [])) == ["We go now. Yes.", "It is late."]
    turns = [Turn(0, 1.4, "A"), Turn(1.4, 1.75, "B"), Turn(1.75, 3, "A")]
    assert texts(sentences(heard, turns)) == ["We go now.", "Yes.", "It is late."]
    assert texts(sentences([heard[0], said("Yes.", 4.0, 0.2)], [])) == ["We go now.", "Yes."]


def test_segments_without_words_stay_whole_with_their_main_speaker() -> None:
    given_ = Segment(0, 5, text="Hello. And goodbye.", kind="song")
    (segment,) = sentences([given_], [Turn(0, 2, "A"), Turn(2, 5, "B")])
    assert (segment.text, segment.speaker, segment.start, segment.end, segment.kind) == (given_.text, "B", 0, 5, "song")


def test_a_long_segment_without_words_is_shared_among_its_speakers() -> None:
    text = " ".join(f"w{n}" for n in range(20))
    one, two = sentences([Segment(0, 20, text=text)], [Turn(0, 5, "A"), Turn(5, 20, "B")])
    assert (one.speaker, one.text, one.start, one.end) == ("A", "w0 w1 w2 w3 w4", 0, 5)
    assert (two.speaker, two.start, two.end) == ("B", 5, 20)
    assert f"{one.text} {two.text}" == text and one.words == two.words == ()
    assert texts(sentences([Segment(0, 20, text=text)], [Turn(0, 20, "A")])) == [text]


spoken = st.lists(
    st.tuples(
        st.sampled_from(["one", "Two,", "three.", "Mr.", "好", "吗？", "five", "...", "no!", "«six»"]),
        st.integers(0, 1500),
        st.integers(0, 900),
    ),
    min_size=1,
    max_size=60,
)
turn_lists = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(0, 9_000), st.sampled_from("ABC")).map(
        lambda t: Turn(t[0] / 1000, (t[0] + t[1]) / 1000, t[2])
    ),
    max_size=12,
)


def heard_as(pieces: list[tuple[str, int, int]], sizes: list[int]) -> list[Segment]:
    """Words after one another (text, pause before, length in ms), in segments of so many words."""
    made: list[Word] = []
    at = 0
    for n, (text, pause, length) in enumerate(pieces):
        made.append(Word((at + pause) / 1000, (at + pause + length) / 1000, f"{text}", n / 100))
        at += pause + length
    segments: list[Segment] = []
    while made:
        size = sizes[len(segments) % len(sizes)]
        part, made = made[:size], made[size:]
        segments.append(Segment(part[0].start, part[-1].end, text=" ".join(w.text for w in part), words=tuple(part)))
    return segments


@given(spoken, st.lists(st.integers(1, 9), min_size=1, max_size=5), turn_lists)
def test_no_word_is_lost_doubled_or_moved(pieces: list[tuple[str, int, int]], sizes: list[int], turns: list[Turn]) -> None:
    heard = heard_as(pieces, sizes)
    cut = sentences(heard, turns)
    assert [word for segment in cut for word in segment.words] == [word for segment in heard for word in segment.words]
    assert "".join("".join(s.text.split()) for s in cut) == "".join(text for text, _, _ in pieces)
    assert [s.id for s in cut] == [str(n) for n in range(1, len(cut) + 1)]
    known = {turn.speaker for turn in turns} or {""}
    for segment in cut:
        assert (segment.words[0].start, segment.words[-1].end) == (segment.start, segment.end)
        assert segment.speaker in known
        assert segment.end - segment.start <= 12 or len(segment.words) == 1
        assert all(b.start - a.end < 0.6 for a, b in pairwise(segment.words))


@given(
    st.lists(raw_segments.filter(lambda s: all(math.isfinite(t) for w in (s, *s.words) for t in (w.start, w.end))), max_size=6)
)
def test_even_unchecked_words_come_out_once_and_in_order_of_time(segments: list[Segment]) -> None:
    cut = sentences(segments, [Turn(0, 9, "A"), Turn(8, 20, "B")])
    assert sorted(w.text for s in cut for w in s.words) == sorted(w.text for s in segments for w in s.words)
    starts = [word.start for segment in cut for word in segment.words]
    assert starts == sorted(starts)
    assert [s.start for s in cut] == sorted(s.start for s in cut)


def test_nothing_heard_is_nothing_said() -> None:
    assert sentences([], [Turn(0, 1, "A")]) == ()
    assert checked([], Span(0, 1), EVERYWHERE).segments == ()


def test_words_of_which_none_is_believed_are_not_said() -> None:
    doubted = Segment(1.0, 2.0, text="with that", words=(Word(1.0, 1.4, "with", 0.02), Word(1.5, 2.0, "that", 0.07)))
    believed = Segment(3.0, 4.0, text="good day", words=(Word(3.0, 3.4, "good", 0.02), Word(3.5, 4.0, "day", 0.4)))
    found = checked([doubted, believed], Span(0, 5), [Span(0.5, 4.5)])
    assert [s.text for s in found.segments] == ["good day"]
    assert [reason for _, reason in found.dropped] == ["unsure"]
