"""What is surely in another language, and what may be right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text.foreign import foreign


@pytest.mark.parametrize(
    ("text", "language", "sure"),
    [
        ("I do not know where the train is going.", "es", True),
        ("No sé adónde va el tren de la mañana.", "es", False),
        ("No sé adónde va el tren de la mañana.", "en", False),  # "no" is English as well: in doubt it may be right
        ("Ich weiß nicht, wohin der Zug heute fährt.", "fr", True),
        ("Je ne sais pas où va le train du matin.", "pt-BR", True),
        ("Não sei para onde vai o comboio da manhã.", "es", False),
        ("The Lord of the Rings", "es", False),
        ("Star Wars: The Last Jedi", "de", False),
        ("Это совсем другой язык", "es", True),
        ("Это совсем другой язык", "ru", False),
        ("Это совсем другой язык", "sr", False),
        ("Это совсем другой язык", "xx", False),
        ("これは日本語です。とても長い", "es", True),
        ("これはとてもながいです", "zh", True),
        ("我不知道火车去哪里", "ja", False),
        ("I do not know where it goes", "ja", True),
        ("NASA と ESA", "ja", False),
        ("Москва", "es", False),
        ("I do not know", "zh-Latn", False),
        ("", "es", False),
        ("12 345 678 90", "es", False),
    ],
)
def test_only_what_is_sure_is_called_foreign(text: str, language: str, sure: bool) -> None:
    assert foreign(text, language) is sure


@given(st.text(max_size=60), st.sampled_from(["es", "en", "ja", "zh-Hant", "und", "xx", ""]))
def test_no_text_breaks_it(text: str, language: str) -> None:
    assert foreign(text, language) in (True, False)
