"""Syllables are counted, and words are laid over speech by them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.syllables import spread, syllables
from polydub.types import Span


@pytest.mark.parametrize(
    ("language", "counts"),
    [
        ("en", {"the": 1, "house": 1, "houses": 2, "table": 2, "makes": 1, "wanted": 2, "walked": 1, "dishes": 2, "little": 2}),
        ("en", {"don't": 1, "self-made": 2, "beautiful": 3, "nth": 1, "TV": 2, "BBC": 3, "1939": 6}),
        ("es", {"hola": 2, "día": 2, "baúl": 2, "ciudad": 2, "bien": 1, "guerra": 2, "poeta": 3, "León": 2}),
        ("fr", {"maison": 2, "eau": 1, "l'amour": 2}),
        ("de", {"Straße": 2, "heute": 2}),
        ("el", {"καλημέρα": 4}),
        ("ru", {"привет": 2, "воскресенье": 4, "я": 1}),
        ("ja", {"ありがとう": 5, "きょう": 2, "スーパー": 4, "日本": 4}),
        ("zh", {"你好": 2}),
        ("ko", {"안녕하세요": 5}),
        ("", {"...": 0, "♪": 0, "": 0, "&": 0}),
    ],
)
def test_common_words_have_the_syllables_one_hears(language: str, counts: dict[str, int]) -> None:
    assert {word: syllables(word, language) for word in counts} == counts


@given(st.text(max_size=12), st.sampled_from(["", "en", "es-MX", "ja", "ru", "ar"]))
def test_a_word_with_a_letter_or_digit_has_a_syllable_and_others_have_none(word: str, language: str) -> None:
    assert (syllables(word, language) > 0) == any(c.isalnum() for c in word)


def test_words_share_the_time_by_their_syllables() -> None:
    words = spread("a banana — I", [Span(10.0, 12.0), Span(13.0, 14.0)], "en")
    assert [(w.text, w.start, w.end) for w in words] == [
        ("a", 10.0, 10.6),
        ("banana", 10.6, 12.0),
        ("—", 13.4, 13.4),
        ("I", 13.4, 14.0),
    ]
    assert all(w.estimated and w.confidence is None for w in words)


def test_without_speech_or_without_words_nothing_takes_time() -> None:
    assert spread("", [Span(1.0, 2.0)]) == ()
    assert [(w.start, w.end) for w in spread("one two", [])] == [(0.0, 0.0)] * 2
    assert [(w.start, w.end) for w in spread("... ♪", [Span(3.0, 4.0)])] == [(3.0, 3.0)] * 2


@given(
    st.lists(st.text("aeibc-1 …日", min_size=1, max_size=6), max_size=12),
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 4000)), min_size=1, max_size=5),
)
def test_every_word_is_there_once_in_order_and_inside_a_span(texts: list[str], lengths: list[tuple[int, int]]) -> None:
    at, spans = 0, list[Span]()
    for pause, length in lengths:
        spans.append(Span((at + pause) / 1000, (at + pause + length) / 1000))
        at += pause + length
    words = spread(" ".join(texts), spans, "en")
    assert [w.text for w in words] == " ".join(texts).split()
    assert all(a.start <= b.start and a.end <= b.end for a, b in pairwise(words))
    assert all(any(s.start - 0.001 <= w.start <= w.end <= s.end + 0.001 for s in spans) for w in words)
