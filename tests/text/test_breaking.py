"""Where lines and cues are broken."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.text.break_words import break_words
from polydub.text.breaking import HELD, Text, cost_of_break
from polydub.text.cue_rules import width
from polydub.text.cues import split_into_cues
from polydub.text.tokens import Token, joined, tokens
from polydub.types import Span


def lines(text: str, language: str) -> list[str]:
    """All lines of the text in six seconds."""
    return [row for cue in split_into_cues(text, Span(0, 6), language=language) for row in cue.text.split("\n")]


def cost(before: str, after: str, language: str) -> float:
    return cost_of_break(Token(before, True, len(before)), Token(after, True, len(after)), language)


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [
        ("en", "the", "house"),
        ("en", "Mary", "Jones"),
        ("en", "25", "kilometres"),
        ("en", "Dr.", "Smith"),
        ("en", "J.", "Smith"),
        ("en", "of", "wine"),
        ("en", "have", "seen"),
        ("en", "she", "left"),
        ("es", "la", "casa"),
        ("es", "no", "quiero"),
        ("es", "han", "llegado"),
        ("fr", "les", "enfants"),
        ("de", "einen", "Hund"),
        ("de", "hat", "gesagt"),
        ("it", "della", "casa"),
        ("pt", "uma", "casa"),
        ("nl", "het", "huis"),
        ("ru", "в", "доме"),
        ("pl", "nie", "wiem"),
    ],
)
def test_no_break_between_words_that_belong_together_costs_less_than_a_plain_one(
    language: str, before: str, after: str
) -> None:
    assert cost(before, after, language) > cost("houses", "burned", language)


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [
        ("en", "houses", "and"),
        ("en", "houses", "with"),
        ("en", "houses,", "burned"),
        ("en", "houses.", "They"),
        ("en", '"houses."', "They"),
        ("en", "she", "and"),
        ("es", "casas", "porque"),
        ("fr", "maisons", "avec"),
        ("de", "Häuser", "und"),
        ("ru", "дома", "который"),
        ("pl", "domy", "które"),
        ("und", "houses;", "burned"),
    ],
)
def test_a_break_at_syntax_costs_less_than_a_plain_one(language: str, before: str, after: str) -> None:
    assert cost(before, after, language) < cost("houses", "burned", language)


def test_the_full_stop_of_a_title_ends_no_sentence_and_that_of_a_sentence_does() -> None:
    assert cost("Mr.", "Brown", "en") == HELD
    assert cost("home.", "Brown", "en") == 0


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "en",
            "I told you that the old house on the hill belonged to my grandmother Mary Jones.",
            ["I told you that the old house on the hill", "belonged to my grandmother Mary Jones."],
        ),
        (
            "pt",
            "Não sei se vamos conseguir chegar a tempo para a reunião com o diretor da empresa.",
            ["Não sei se vamos conseguir chegar a tempo", "para a reunião com o diretor da empresa."],
        ),
        (
            "ja",
            "今日は新しい映画の撮影について皆さんにお話ししたいと思います。",
            ["今日は新しい映画の撮影について", "皆さんにお話ししたいと思います。"],
        ),
        (
            "zh",
            "我们今天要讨论的是如何在不改变原有结构的情况下提高系统的性能。",
            ["我们今天要讨论的是如何在不改变", "原有结构的情况下提高系统的性能。"],
        ),
    ],
)
def test_sentences_are_broken_as_a_reader_would(language: str, text: str, expected: list[str]) -> None:
    assert lines(text, language) == expected


def test_a_unit_that_the_lines_of_one_cue_would_part_makes_two_cues() -> None:
    found = lines("The train leaves at 25 kilometres from the city, so we should have been there by now.", "en")
    assert "the" not in [row.split()[-1] for row in found]


def test_of_two_equal_breaks_the_lower_line_is_the_longer() -> None:
    upper, lower = lines("houses burned houses burned houses burned houses", "und")
    assert len(upper) < len(lower)


def test_thai_is_broken_between_words() -> None:
    text = "วันนี้เราจะมาพูดคุยกันเกี่ยวกับการเดินทางไปต่างประเทศในช่วงวันหยุดยาวที่กำลังจะมาถึง"
    upper, lower = lines(text, "th")
    assert upper + lower == text
    assert upper.endswith(("เดินทาง", "ทางไป", "เดินทางไป"))


UNSPACED = {
    "th": "กขคเแโไะาำิีุู่้ๆฯ1",
    "lo": "ກຂຄເແໂະາຳິີຸູ່້ໆ2",
    "km": "កខគាិីុូេែ្រំះៗ។",
    "my": "ကခဂာိီုူေ့်း္ရ၊။",
    "ja": "今日はー、。「」きゃっカ゛",
    "zh": "我们，今天。（好）",
}


@given(st.sampled_from(sorted(UNSPACED)), st.data())
def test_no_line_of_a_script_without_blanks_begins_inside_a_letter_cluster(language: str, data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet=UNSPACED[language], min_size=1, max_size=150))
    pieces = tokens(text, language)
    assert joined(pieces) == text
    for before, after in pairwise(pieces):
        first, last = after.text[0], before.text[-1]
        assert unicodedata.category(first) not in ("Mn", "Mc", "Me")
        assert last not in "\u17d2\u1039เแโไເແໂ「（"
        assert first not in "ะาำະາ、。，）」ーゃっๆฯໆ។၊"


@settings(max_examples=25)
@given(st.text(alphabet="กขคงจ", min_size=60, max_size=120), st.sampled_from(["th", "lo"]))
def test_lines_of_a_script_without_blanks_keep_to_42_columns(text: str, language: str) -> None:
    assert all(width(row) <= 42 for row in lines(text, language))


def test_a_blank_of_no_width_marks_a_place_to_break() -> None:
    words = ["ដំណើរ", "ទៅក្រៅ", "ប្រទេស", "ក្នុង", "អំឡុង", "ពេល", "វិស្សមកាល", "ថ្ងៃនេះ", "យើងនឹង", "និយាយ", "អំពី", "ការធ្វើ", "ល្អណាស់"]
    upper, lower = lines("\u200b".join(words), "km")
    assert upper.strip("\u200b").split("\u200b") + lower.strip("\u200b").split("\u200b") == words


def test_a_blank_of_no_width_parts_also_words_that_have_blanks() -> None:
    assert [token.text for token in tokens("long\u200bword next")] == ["long\u200b", "word", "next"]


def test_an_emoji_of_several_characters_stays_whole() -> None:
    family = "👩\u200d👩\u200d👧"
    assert [token.text for token in tokens(f"漢字{family}漢字", "ja") if family in token.text]


@given(st.lists(st.text(alphabet="abcde.,", min_size=1, max_size=12), min_size=1, max_size=40), st.integers(1, 12))
def test_a_text_is_cut_into_as_many_cues_as_asked_for(words: list[str], more: int) -> None:
    text = Text(" ".join(words), "en")
    count = len(text.cues(1.0)) + more
    pieces = text.exactly(count)
    assert len(pieces) == min(count, len(text))
    assert [i for i, _ in pieces] == [0, *(j for _, j in pieces[:-1])]
    assert pieces[-1][1] == len(text)


def test_no_word_is_in_the_lists_twice_where_it_would_not_be_seen() -> None:
    for language in ("en", "es", "fr", "de", "it", "pt", "nl", "ru", "pl"):
        lists = break_words(language)
        assert lists.articles and lists.join and lists.prepositions and lists.leaning
        assert not lists.join & lists.leaning, language
    assert break_words("sw") == break_words("und")
