"""Predicted durations come near to what a voice has shown, and behave when it has shown little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.text import durations
from polydub.text.durations import Pace, learn, predict, rescaled

SPANISH = (
    "Hoy hablamos de los trenes.",
    "Cada mañana, el primer servicio sale de las cocheras.",
    "Si un tren llega tarde, los otros esperan.",
    "Nadie lo sabe.",
    "El maquinista mira la señal, frena y espera dos minutos.",
    "Muchas gracias por venir.",
    "¿Quién decide cuál de los dos sale primero?",
    "La red es pequeña: tiene cuatro estaciones y una sola vía.",
)
words = st.lists(
    st.sampled_from(["tren", "llega", "muy,", "tarde.", "25", "¿Quién?", "—", "CPU", "estación", "%", "日本"]), max_size=12
)


def speaks(pace: Pace, texts: tuple[str, ...] = SPANISH, language: str = "es") -> list[tuple[str, float]]:
    return [(text, predict(pace, text, language)) for text in texts]


def test_without_examples_the_pace_is_that_of_the_language() -> None:
    assert learn([], "es-MX") == durations.prior("es")
    assert predict(learn([], "es"), SPANISH[1], "es") < predict(learn([], "de"), SPANISH[1], "es")
    assert learn([], "es").examples == 0


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.3, 2.0])
def test_one_example_tells_most_of_a_voices_speed(speed: float) -> None:
    usual = durations.prior("es")
    slow = [(text, speed * took) for text, took in speaks(usual)]
    learnt = learn(slow[1:2], "es")
    wrong = [abs(predict(learnt, text, "es") - took) / took for text, took in slow]
    before = [abs(predict(usual, text, "es") - took) / took for text, took in slow]
    assert max(wrong) < 0.6 * min(before)
    assert learnt.examples == 1


def test_a_handful_of_examples_tells_what_pauses_cost() -> None:
    real = Pace(0.15, 0.02, 0.7, 0.1)
    learnt = learn(speaks(real), "es")
    assert learnt.pause_s == pytest.approx(0.7, abs=0.12)
    assert learnt.error < 0.03
    unheard = "Bien, señores, vamos a ver: aquí está."
    assert predict(learnt, unheard, "es") == pytest.approx(predict(real, unheard, "es"), rel=0.06)


def test_the_error_is_the_mean_relative_one_on_the_examples() -> None:
    examples = [(text, took * (1.1 if n % 2 else 0.9)) for n, (text, took) in enumerate(speaks(durations.prior("es")))]
    learnt = learn(examples, "es")
    wrong = [abs(predict(learnt, text, "es") - took) / took for text, took in examples]
    assert learnt.error == pytest.approx(sum(wrong) / len(wrong), abs=1e-3)
    assert 0.01 < learnt.error < 0.2


def test_examples_that_say_nothing_are_passed_over() -> None:
    told = speaks(durations.prior("es"))
    assert learn([*told, ("...", 1.0), ("", 2.0), ("Hola.", 0.0)], "es") == learn(told, "es")


@given(words, st.lists(st.tuples(st.sampled_from(SPANISH), st.floats(0.05, 60)), max_size=5))
def test_fewer_words_never_take_longer(text: list[str], examples: list[tuple[str, float]]) -> None:
    pace = learn(examples, "es")
    whole = predict(pace, " ".join(text), "es")
    assert whole >= 0
    for n in range(len(text)):
        assert predict(pace, " ".join(text[:n] + text[n + 1 :]), "es") <= whole + 1e-9


def test_numbers_take_about_as_long_as_their_words() -> None:
    pace = durations.prior("es")
    spoken = predict(pace, "Costó mil doscientos cincuenta euros.", "es")
    assert predict(pace, "Costó 1250 euros.", "es") == pytest.approx(spoken, rel=0.25)


def test_another_wording_is_judged_by_what_is_known_of_the_first() -> None:
    pace = durations.prior("es")
    known = ("Hoy hablamos de los trenes.", 4.0)
    assert rescaled(pace, known[0], known, "es") == pytest.approx(4.0)
    assert 1.0 < rescaled(pace, "Hoy hablamos.", known, "es") < 3.0
    assert rescaled(pace, "Hoy.", ("...", 0.0), "es") == predict(pace, "Hoy.", "es")


def test_a_text_without_a_word_takes_no_time() -> None:
    assert predict(durations.prior("es"), "... — !", "es") == 0.0
