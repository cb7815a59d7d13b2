"""Glossaries: files as people write them, where terms occur, what counts as translated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import BadInput
from polydub.text.glossary import Entry, has, lacking, occurring, parse_glossary


@pytest.mark.parametrize(
    "text",
    [
        "crane,grúa,the machine\nPolydub,,\n",
        "crane;grúa;the machine\r\nPolydub;=\r\n",
        "crane\tgrúa\tthe machine\nPolydub\n",
        "\ufeffTerm,Translation,Note\ncrane,grúa,the machine\nPolydub,,\n",
        "note;target;source\nthe machine;grúa;crane\n;do not translate;Polydub\n",
        'term,do not translate,translation,note\ncrane,no,"grúa",the machine\nPolydub,YES,whatever,\n',
        "# our words\n\ncrane, grúa , the machine\n,,\nPolydub\ncrane,grúa\n",
        '"crane","grúa","the machine"\n"Polydub","Polydub"\n',
    ],
    ids=["positions", "semicolons", "tabs", "mark and header", "order", "column of marks", "comments", "quotes"],
)
def test_a_glossary_is_read_as_people_write_it(text: str) -> None:
    assert parse_glossary(text.encode()) == (Entry("crane", "grúa", "the machine"), Entry("Polydub", "Polydub"))


def test_an_empty_file_has_no_entries_and_one_column_means_do_not_translate() -> None:
    assert parse_glossary(b"") == parse_glossary(b"\n \n# only\n") == ()
    assert parse_glossary(b"Netflix\nHBO\n") == (Entry("Netflix", "Netflix"), Entry("HBO", "HBO"))
    assert parse_glossary(b"term\nNetflix\n") == (Entry("Netflix", "Netflix"),)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a,b\n\xff\xfe,c\n", "line 2 of the glossary is not UTF-8"),
        (b"a,b\nc\0,d\n", "line 2 of the glossary is no text"),
        (b"a,b\n,c\n", "line 2 of the glossary has no term"),
        (b"a,b\nc,d,e,f\n", "line 2 of the glossary has 4 values"),
        (b'a,b\n"c,d\n', "of the glossary is no CSV"),
        (b"a,b\nc,d\na,x\n", 'line 3 of the glossary translates "a" otherwise than line 1'),
        (b"term,keep\na,perhaps\n", 'line 2 of the glossary says "perhaps"'),
        (b"translation,note\na,b\n", "line 1 of the glossary names no column for the term"),
        (b"a,b\n" + b"c" * 201 + b",d\n", "line 2 of the glossary has a value of more than 200"),
    ],
)
def test_a_bad_line_is_named(data: bytes, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_glossary(data)
    assert says in str(caught.value) and caught.value.hint


def test_a_glossary_without_end_is_refused() -> None:
    with pytest.raises(BadInput, match="more than 20000"):
        parse_glossary(b"".join(b"t%d,x\n" % n for n in range(20_001)))


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        assert all(entry.term and entry.translation for entry in parse_glossary(data))
    except BadInput as error:
        assert error.hint


@pytest.mark.parametrize(
    ("term", "text", "language", "there"),
    [
        ("crane", "The crane fell.", "en", True),
        ("crane", "Cranes fell on the CRANE's roof", "en", True),
        ("crane", "He is craning his neck", "en", False),
        ("car", "Take care of the scar", "en", False),
        ("policy", "New policies", "en", True),
        ("machine learning", "We love Machine\n learning!", "en", True),
        ("machine learning", "machine-learning", "en", False),
        ("Apple", "An apple a day", "en", False),
        ("Apple", "I work at Apple's", "en", True),
        ("Apple", "I WORK AT APPLE", "en", True),
        ("IT", "Did it work?", "en", False),
        ("Kran", "Die Krane stehen", "de", True),
        ("grúa", "las grúas", "es", True),
        ("grúa", "las gruas", "es", False),
        ("año", "años", "es", False),
        ("東京", "私は東京に行く", "ja", True),
        ("서울", "서울은 크다", "ko", True),
        ("كتاب", "قرأت الكتاب", "ar", True),
        ("C++", "I write C++ daily", "en", True),
        ("o'clock", "ten o’clock", "en", True),
        ("x", "", "en", False),
    ],
)
def test_a_term_is_found_between_words(term: str, text: str, language: str, there: bool) -> None:
    assert bool(occurring([Entry(term, "t")], text, language)) is there


def test_a_term_inside_a_longer_one_is_not_found_but_beside_it_is() -> None:
    short, long = Entry("learning", "a"), Entry("machine learning", "b")
    assert occurring([short, long], "Machine learning is fun", "en") == (long,)
    assert occurring([short, long], "Machine learning is not learning", "en") == (short, long)


@pytest.mark.parametrize(
    ("translation", "text", "there"),
    [
        ("grúa", "La grúa cayó.", True),
        ("grúa", "Dos GRUAS cayeron", True),
        ("grúa", "El grupo cayó", True),  # three letters of four: what tolerance costs
        ("grúa", "La torre cayó", False),
        ("aprendizaje automático", "los aprendizajes automáticos", True),
        ("aprendizaje automático", "el aprendizaje y lo automático", False),
        ("Haus", "zwei Häuser", True),
        ("cortar", "él cortó", True),
        ("Kran", "Turmdrehkran", False),
        ("sol", "soles", True),
        ("sol", "solo mente solidaria", True),
        ("sol", "consola", False),
        ("東京", "東 京へ", True),
        ("서울", "서울에서", True),
        ("C++", "Escribo C++ a diario", True),
        ("***", "a *** b", True),
    ],
)
def test_inflected_forms_count_as_translated(translation: str, text: str, there: bool) -> None:
    assert has(text, Entry("something", translation)) is there


@pytest.mark.parametrize(
    ("name", "text", "there"),
    [
        ("Netflix", "Lo vi en netflix.", True),
        ("Netflix", "Netflixの映画", True),
        ("Netflix", "Netflixin elokuva", True),
        ("Netflix", "Lo vi en Netflis", False),
        ("Deep Purple", "el púrpura profundo", False),
        ("Deep Purple", "los Deep Purple", True),
    ],
)
def test_what_is_not_to_be_translated_keeps_its_letters(name: str, text: str, there: bool) -> None:
    assert has(text, Entry(name, name)) is there


def test_only_terms_of_the_line_can_lack() -> None:
    terms = {"crane": "grúa", "Netflix": "Netflix", "hook": "gancho"}
    assert lacking(terms, "The crane on Netflix", "La torre de Nétflix", "en") == ("crane",)
    assert lacking(terms, "The crane on Netflix", "La torre de la red", "en") == ("crane", "Netflix")
    assert lacking(terms, "Nothing", "Nada", "en") == ()


@given(st.text(max_size=30).filter(lambda t: any(c.isalnum() for c in t)), st.text(max_size=30))
def test_whatever_the_letters_nothing_raises_and_a_term_is_in_itself(term: str, text: str) -> None:
    entry = Entry(term, term)
    assert has(term, entry)
    occurring([entry], text, "de")
    lacking({term: text}, text, term)
