"""Words that say little go, and nothing else does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.text.durations import predict, prior
from polydub.text.removable import REMOVABLE
from polydub.text.shorten import shortened


@pytest.mark.parametrize(
    ("language", "text", "becomes"),
    [
        ("es", "Bueno, vamos.", "Vamos."),
        ("es", "¡Bueno, vamos!", "¡Vamos!"),
        ("es", "¿Pues qué quieres?", "¿Qué quieres?"),
        ("es", "La casa, en realidad, es muy grande, por supuesto.", "La casa es grande."),
        ("es", "No lo sé, la verdad. Bueno, vamos.", "No lo sé. Vamos."),
        ("en", "Well, it was a very long day, you know.", "It was a long day."),
        ("en", "Of course, he really likes it.", "He likes it."),
        ("en", "Um... I think so.", "I think so."),
        ("en", "Yes, of course, we go.", "Yes, we go."),
        ("fr", "C'est vraiment très bien, tu sais.", "C'est bien."),
        ("fr", "Eh bien, je viens.", "Je viens."),
        ("de", "Also, das ist ja wirklich sehr schön.", "Das ist schön."),
        ("it", "Allora, è davvero un bel giorno.", "È un bel giorno."),
        ("pt", "Bem, na verdade isto é absolutamente lindo.", "Isto é lindo."),
        ("es-MX", "Bueno, vamos.", "Vamos."),
    ],
)
def test_what_says_little_goes_and_the_rest_is_set_right(language: str, text: str, becomes: str) -> None:
    found = shortened(text, language, 0.0)
    assert found is not None
    assert found[0] == becomes


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("es", "El pan es bueno."),  # an adjective
        ("es", "No es muy bueno."),  # beside a negation
        ("es", "Por muy tarde que sea."),  # a fixed phrase
        ("es", "Bueno."),  # the only word
        ("es", "Y realmente iremos."),  # "y" would have to become "e"
        ("en", "Thank you very much."),
        ("en", "I don't really know."),
        ("en", "Certainly not."),
        ("en", "It is a really interesting day."),  # "a" would have to become "an"
        ("en", "Mr Well, Texas."),  # a name
        ("en", "Is he coming, you know?"),  # the question would go with it
        ("de", "Natürlich kommt er."),  # the verb would come first, which asks
        ("de", "Der Halt ist kurz."),  # a noun
        ("fr", "Je viens de très anciens pays."),  # "de" would have to become "d'"
        ("it", "È un davvero bravo attore."),
        ("ja", "ええと、行きましょう。"),  # no list
        ("es", ""),
        ("es", "... — !"),
    ],
)
def test_what_carries_meaning_or_grammar_stays(language: str, text: str) -> None:
    assert shortened(text, language, 0.0) is None


def test_no_more_goes_than_is_needed_and_the_emptiest_first() -> None:
    text = "Bueno, la casa es realmente muy grande."
    found = shortened(text, "es", 0.95)
    assert found is not None
    assert found[1] == ("Bueno",)
    assert shortened(text, "es", 0.0) == ("La casa es grande.", ("Bueno", "realmente", "muy"))
    assert shortened(text, "es", 1.0) is None


@given(st.sampled_from(sorted(REMOVABLE)), st.floats(0, 1))
def test_the_share_is_reached_or_nothing_more_can_go(language: str, share: float) -> None:
    known = REMOVABLE[language]
    text = f"{known.markers[3].capitalize()}, Anna 3 {known.adverbs[0]} xyz {known.adverbs[1]} zyx, {known.markers[4]}."
    found = shortened(text, language, share)
    if found is not None:
        pace = prior(language)
        reached = predict(pace, found[0], language) <= share * predict(pace, text, language)
        assert reached or shortened(found[0], language, 0.0) is None


def test_every_list_is_long_clean_and_in_lower_case() -> None:
    for language, known in REMOVABLE.items():
        both = (*known.markers, *known.adverbs)
        assert len(set(both)) >= 25, language
        assert len(set(known.markers)) == len(known.markers), language
        assert len(set(known.adverbs)) == len(known.adverbs), language
        for entry in both:
            assert re.fullmatch(r"[^\W\d_A-Z]+(['’ -]?[^\W\d_A-Z]+)*", entry), entry
            assert not set(entry.split()) & known.negations, entry


def vocabulary(language: str) -> list[str]:
    known = REMOVABLE[language]
    parts = [word for entry in (*known.markers, *known.adverbs) for word in entry.split()]
    return [*parts, *known.negations, "Anna", "Berlin", "3", "1.250", "house", "casa", "—", "«oui»", "(ja)"]


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    language = draw(st.sampled_from(sorted(REMOVABLE)))
    word = st.sampled_from(vocabulary(language))
    ends = st.sampled_from(["", "", "", ",", ".", "!", "?", "...", ";", ":"])
    shape = st.sampled_from([str, str, str.capitalize])
    words = draw(st.lists(st.tuples(word, ends, shape), min_size=1, max_size=14))
    return language, " ".join(form(word) + end for word, end, form in words)


def plain(text: str) -> list[str]:
    return [found for word in text.split() if (found := re.sub(r"^\W+|\W+$", "", word))]


@settings(max_examples=400)
@given(texts(), st.floats(0, 0.99))
def test_only_listed_words_go_and_never_numbers_negations_or_names(case: tuple[str, str], share: float) -> None:
    language, text = case
    found = shortened(text, language, share)
    if found is None:
        return
    after, removed = found
    before, left = plain(text), plain(after)
    rest = iter(w.casefold() for w in before)
    assert all(word.casefold() in rest for word in left)  # a subsequence
    assert left
    assert len(left) + sum(len(r.split()) for r in removed) == len(before)
    known = REMOVABLE[language]
    assert {r.casefold() for r in removed} <= {*known.markers, *known.adverbs}
    for word in {*known.negations, "anna", "berlin", "3", "1.250"}:
        assert [w.casefold() for w in left].count(word) == [w.casefold() for w in before].count(word)
    inside = [w for a, w in zip(text.split(), text.split()[1:], strict=False) if a[-1].isalnum() or a[-1] == ","]
    names = [w for w in plain(" ".join(inside)) if w[0].isupper()]
    assert all(left.count(name) >= names.count(name) for name in names)
