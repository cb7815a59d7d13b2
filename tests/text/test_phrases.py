"""Borders at which a text may be parted, and the best way to part it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.phrases import MOST, SIGNS, WORDS, borders, split, words


def parted(text: str, language: str, least: float = 0.0) -> list[str]:
    """The pieces between borders of at least this strength."""
    edges = [0, *(b.at for b in borders(text, language) if b.strength >= least), len(text)]
    return [text[a:b].strip() for a, b in pairwise(edges)]


def letters(text: str) -> float:
    """A voice that takes 60 ms for each letter and digit."""
    return 0.06 * sum(c.isalnum() for c in text)


def slow(text: str) -> float:
    """The same voice, which takes a breath before each text."""
    return 0.2 + letters(text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "We waited.|Nobody came;|it was late,|and cold|in the house."),
        ("en", "He said no.|That was 1999.|We left."),
        ("es", "Te lo dije,|Ana.|¿Y qué hiciste|cuando llegó…?"),
        ("de", "Er sagte,|dass es regnet|und ging|nach Hause."),
        ("fr", "Il pleut,|dit-elle:|attendons|avec les autres."),
        ("ru", "Он сказал,|что идёт дождь.|И ушёл."),
        ("ar", "قال لي:|لن آتي،|ما المشكلة؟"),
        ("hi", "वह आया।|फिर चला गया।"),
        ("ko", "날씨가 좋으니까,|산책하러 갑시다."),
        ("zh", "他说：|“好的。”|我走了，|再见。"),
        ("xx", "ma bu,|no ti!|Sa."),
    ],
)
def test_borders_are_after_punctuation_and_before_joining_words(language: str, text: str) -> None:
    marked = text.replace("|", "" if language == "zh" else " ")
    assert parted(marked, language, 0.3) == text.split("|")


def test_a_sentence_is_a_better_border_than_a_clause_and_that_better_than_a_comma_or_a_word() -> None:
    found = borders("One two. Three four; five six, seven eight and nine ten.", "en")
    strengths = [b.strength for b in found]
    assert len(found) == 4
    assert strengths == sorted(set(strengths), reverse=True)


@pytest.mark.parametrize(
    "text",
    [
        "It cost 1,000 dollars",
        "Pi is 3.5 here",
        "We met Dr. Smith there",
        "The U.S. Army came",
        "No. 5 came",
        "see p. 12 there",
        "J. R. R. Tolkien wrote",
        "Just 10 000 people",
        'He cried "Never, ever" twice',
        "it said «Oh, no» again",
        "花了1,000元",
        "花了１，０００元",
    ],
)
def test_numbers_abbreviations_and_short_quotations_are_kept_whole(text: str) -> None:
    assert [b for b in borders(text, "en") if b.strength > 0.35] == []


def test_a_full_stop_before_a_small_letter_ends_no_sentence() -> None:
    (border,) = borders("Milk, eggs".replace(",", "...") + " etc", "en")
    assert border.strength < 0.8


def test_two_joining_words_in_a_row_are_not_parted() -> None:
    assert parted("He ran out of the house", "en") == ["He ran out", "of the house"]
    assert parted("He stood up and with that left", "en") == ["He stood up", "and with that left"]


def test_japanese_is_parted_between_phrases_never_inside_one() -> None:
    text = "今日は天気がいいから、散歩に行きましょう。"
    assert parted(text, "ja") == ["今日は", "天気が", "いいから、", "散歩に", "行きましょう。"]
    assert parted(text, "ja", 0.5) == ["今日は天気がいいから、", "散歩に行きましょう。"]


@pytest.mark.parametrize("language", ["zh", "zh-Hant", "zh-TW", "th"])
def test_other_scripts_without_blanks_are_parted_too(language: str) -> None:
    text = "วันนี้อากาศดีมากเราไปเดินเล่น" if language == "th" else "我昨天下午去了公园散步看到很多人"
    assert len(borders(text, language)) >= 2


def test_the_text_is_parted_where_the_source_pauses() -> None:
    text = "When it rains, we stay at home, and when the sun shines, we go out."
    early = split(text, [0.7, 2.4], "en", letters)
    late = split(text, [2.4, 0.7], "en", letters)
    assert early and early.parts == ("When it rains,", "we stay at home, and when the sun shines, we go out.")
    assert late and late.parts == ("When it rains, we stay at home, and when the sun shines,", "we go out.")
    assert early.seconds == pytest.approx((0.66, 2.28))


def test_a_better_border_is_worth_some_time() -> None:
    text = "She came home. Now with my friends she sang"
    near, far = (split(text, rooms, "en", letters) for rooms in ([0.78, 1.26], [1.2, 0.84]))
    assert near and near.parts == ("She came home.", "Now with my friends she sang")
    assert far and far.parts == ("She came home. Now", "with my friends she sang")


def test_four_parts_are_the_most() -> None:
    text = "one two, one two, one two, one two, one two"
    four = split(text, [1, 1, 1, 2], "en", letters)
    assert four and four.parts == ("one two,", "one two,", "one two,", "one two, one two")
    assert split(text, [1] * (MOST + 1), "en", letters) is None
    assert split(text, [1], "en", letters) is None


def test_nothing_is_parted_that_has_no_border_or_too_few_words() -> None:
    assert split("one two three four", [1, 1], "en", letters) is None
    assert split("Yes, indeed I do", [1, 3], "en", letters) is None
    assert split("one two, three, four five", [1, 1, 1], "en", letters) is None
    assert split("はい、そう", [1, 1], "ja", letters) is None
    assert split("", [1, 1], "en", letters) is None
    assert split("One two. One two.", [1, 0.0], "en", letters) is None


def test_a_part_that_must_be_hurried_costs_much() -> None:
    text = "one two, one two"
    calm, hurried = (split(text, rooms, "en", letters) for rooms in ([0.4, 0.4], [0.2, 0.6]))
    assert calm and hurried
    assert hurried.cost > calm.cost + 0.5


WORDS_OF = st.sampled_from(
    ["one", "and", "of,", "so.", "«no»", "1,000", "Dr.", "—", '"yes,', 'sir"', "今日は、", "行く。", "ที่", "?"]
)


@given(
    st.lists(WORDS_OF, max_size=30), st.lists(st.floats(0.1, 9), min_size=1, max_size=5), st.sampled_from(["en", "ja", "th"])
)
def test_words_are_neither_lost_nor_doubled_nor_moved(texts: list[str], rooms: list[float], language: str) -> None:
    text = " ".join(texts)
    found = split(text, rooms, language, slow)
    if found is None:
        return
    assert "".join("".join(found.parts).split()) == "".join(text.split())
    assert len(found.parts) == len(found.seconds) == len(rooms)
    assert all(words(part) >= WORDS for part in found.parts)
    assert sum(found.seconds) == pytest.approx(slow(text))
    assert found == split(text, rooms, language, slow)
    assert all(part == part.strip() for part in found.parts)


@given(st.text(alphabet='ab ,.;"”“«» 1今日。、…', max_size=60), st.sampled_from(["en", "ja", "zh", "ar"]))
def test_borders_are_inside_the_text_in_order_and_before_something(text: str, language: str) -> None:
    found = borders(text, language)
    places = [b.at for b in found]
    assert places == sorted(set(places))
    assert all(0 < b.at < len(text) and not text[b.at].isspace() and 0 < b.strength <= 1 for b in found)


def test_signs_count_as_parts_of_words() -> None:
    assert words("今日は天") == WORDS
    assert words("one two 3") == 3
    assert words("... — ?") == 0
    assert SIGNS == 4
