"""Written words become tokens of the dictionary, numbers become words, and IPA becomes ARPAbet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.arpabet import PHONES, arpabet, readings, tokens


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("ɡjˈuːtənbˌɜːɡ", "G Y UW T AH N B ER G"),
        ("tʃˈɜːtʃ dʒˈʌdʒ", "CH ER CH JH AH JH"),
        ("fˈaɪɚ", "F AY ER"),
        ("bˈʌʔn̩", "B AH T AH N"),
        ("zˈiəɹoʊ", "Z IY AH R OW"),
        ("nˈaʊ bˈɔɪ", "N AW B OY"),
        ("", ""),
        ("ˈˌː|", ""),
    ],
)
def test_ipa_becomes_arpabet(ipa: str, phones: str) -> None:
    assert " ".join(arpabet(ipa)) == phones


@given(st.text())
def test_whatever_comes_only_phones_come_out(text: str) -> None:
    assert set(arpabet(text)) <= PHONES


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("Hello,", ["hello"]),
        ("“Hello”", ["hello"]),
        ("don’t", ["don't"]),
        ("'tis", ["'tis"]),
        ("'quoted'", ["quoted"]),
        ("U.S.", ["u.s."]),
        ("a.m.,", ["a.m."]),
        ("end.", ["end"]),
        ("Mr.", ["mr"]),
        ("Dr.", ["doctor"]),
        ("forty-two", ["forty", "two"]),
        ("word—word", ["word", "word"]),
        ("wait...what?!", ["wait", "what"]),
        ("1,455", ["1,455"]),
        ("10:30.", ["10:30"]),
        ("$5", ["$5"]),
        ("50%", ["50%"]),
        ("&", ["and"]),
        ("—", []),
        ("...", []),
        ("♪", []),
        ("café", ["café"]),
    ],
)
def test_a_written_word_becomes_what_is_looked_up(word: str, found: list[str]) -> None:
    assert list(tokens(word)) == found


@given(st.text(max_size=20))
def test_tokens_are_plain_and_never_empty(word: str) -> None:
    for token in tokens(word):
        assert token == "".join(token.split()) != ""
        assert not set(token) & set("()<>[]"), "these mean something to the decoder"
        assert all(readings(token))


@pytest.mark.parametrize(
    ("token", "read"),
    [
        ("1939", ("19 39", "1939")),
        ("1905", ("19 oh 5", "1905")),
        ("1900", ("19 hundred", "1900")),
        ("2000", ("2000",)),
        ("1960s", ("19 60s", "1960s")),
        ("1066", ("1066",)),
        ("$5", ("5 dollars",)),
        ("£3.50m", ("3.50 million pounds",)),
        ("word", ("word",)),
    ],
)
def test_numbers_are_read_as_people_say_them(token: str, read: tuple[str, ...]) -> None:
    assert readings(token) == read
