from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text import chunks

TEXTS = st.text(st.sampled_from("ab cdé.!?,;: \n中文。，、こ\u0301\u200d🙂क्षि5"), max_size=200)
ENGLISH = "The train is late, as it often is. Nobody minds. " * 30


def bare(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, st.integers(1, 60))
def test_nothing_but_blanks_is_lost_and_no_piece_is_longer_than_asked_for(text: str, most: int) -> None:
    pieces = chunks.split(text, most, 0)
    assert bare("".join(pieces)) == bare(text)
    assert all(piece and piece == piece.strip() and len(piece) <= most for piece in pieces)


@given(TEXTS, st.integers(10, 60), st.integers(1, 10))
def test_no_last_piece_is_shorter_than_asked_for_unless_it_is_the_only_one(text: str, most: int, least: int) -> None:
    pieces = chunks.split(text, most, least)
    assert bare("".join(pieces)) == bare(text)
    assert len(pieces) < 2 or len(pieces[-1]) >= least
    assert all(len(piece) <= most for piece in pieces[:-1])


@given(TEXTS)
def test_a_text_that_fits_is_one_piece(text: str) -> None:
    assert chunks.split(text, 1000, 150) == ((text.strip(),) if text.strip() else ())


def test_a_letter_keeps_its_accents_and_an_emoji_its_parts() -> None:
    assert chunks.split("abe\u0301d", 3, 0) == ("ab", "e\u0301d")
    assert chunks.split("ab👩\u200d🚀", 4, 0) == ("ab", "👩\u200d🚀")
    assert chunks.split("e" + "\u0301" * 9, 4, 0) == ("e" + "\u0301" * 3, "\u0301" * 4, "\u0301" * 2)


def test_sentences_are_kept_whole_where_they_fit() -> None:
    pieces = chunks.split(ENGLISH, 120, 0)
    assert all(piece.endswith((".", "!")) for piece in pieces)
    assert all(len(piece) > 60 for piece in pieces)


def test_a_long_sentence_is_cut_at_clauses_and_a_long_clause_at_words() -> None:
    assert chunks.split("One two three, four five six seven. Eight.", 24, 0) == (
        "One two three,",
        "four five six seven.",
        "Eight.",
    )
    assert chunks.split("one two three four", 9, 0) == ("one two", "three", "four")


def test_a_long_word_is_cut_where_it_must_be() -> None:
    assert chunks.split("a" * 25, 10, 0) == ("a" * 10, "a" * 10, "a" * 5)


def test_an_abbreviation_and_a_decimal_number_are_no_ends_of_sentences() -> None:
    assert chunks.split("He met Mr. Smith there. He paid 3.5 euro.", 30, 0) == ("He met Mr. Smith there.", "He paid 3.5 euro.")
    assert chunks.split("他付了3.5欧元。然后走了。", 9, 0) == ("他付了3.5欧元。", "然后走了。")


def test_scripts_without_blanks_are_cut_at_their_punctuation_and_joined_without_blanks() -> None:
    assert chunks.split("今天天气很好，我们去公园。明天会下雨。", 10, 0) == ("今天天气很好，", "我们去公园。", "明天会下雨。")
    assert chunks.split("我们去公园。明天会下雨。", 8, 7) == ("我们去公园。明天会下雨。",)


def test_a_short_last_piece_joins_the_one_before() -> None:
    assert chunks.split("One two three four. Five.", 20, 6) == ("One two three four. Five.",)
    assert chunks.split("One two three four. Five.", 20, 5) == ("One two three four.", "Five.")


def test_a_piece_of_no_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        chunks.split("a", 0)
