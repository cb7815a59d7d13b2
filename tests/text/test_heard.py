"""Word errors between what should have been said and what was heard."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.heard import word_error

WORDS = st.lists(st.sampled_from(["el", "tren", "llega", "tarde", "otra", "vez"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "heard", "language", "error"),
    [
        ("Hello, WORLD!", "hello world", "en", 0.0),
        ("I don\u2019t know.", "I dont know", "en", 0.0),
        ("The train is late.", "the brain is late", "en", 0.25),
        ("The train is late.", "", "en", 1.0),
        ("Yes.", "yes yes yes", "en", 2.0),
        ("In 1984 it rained.", "in nineteen hundred eighty four it rained", "en", 0.0),
        ("今天天气很好。", "今天天气好", "zh", 1 / 6),
        ("...", "anything", "en", 0.0),
        ("Ｆｕｌｌ width", "full width", "en", 0.0),
    ],
)
def test_errors_by_words_or_characters(text: str, heard: str, language: str, error: float) -> None:
    assert word_error(text, heard, language) == pytest.approx(error)


@given(WORDS, WORDS)
def test_it_is_the_word_error_rate_of_jiwer(wanted: list[str], got: list[str]) -> None:
    assert word_error(" ".join(wanted), " ".join(got), "es") == pytest.approx(jiwer.wer(" ".join(wanted), " ".join(got)))
