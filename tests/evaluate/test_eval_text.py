"""T1 against jiwer, T3 against the published figures of human translations."""

from __future__ import annotations

from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.evaluate import selftest, text

WORDS = st.lists(st.sampled_from(["uno", "dos", "tres", "cuatro", "Cinco,", "seis."]), min_size=1, max_size=8).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=5), WORDS)
def test_the_error_rate_of_all_lines_is_jiwers_of_the_whole_text(lines: list[str], heard: str) -> None:
    score = text.error_rate(lines, heard, "es")
    assert score is not None
    plain = [text.normalised(t) for t in (" ".join(lines), heard)]
    assert score.value == pytest.approx(100 * jiwer.wer(plain[0], plain[1]), abs=0.006)


@given(st.lists(WORDS, min_size=1, max_size=5), WORDS)
def test_every_error_belongs_to_one_line(lines: list[str], heard: str) -> None:
    found = text.errors(lines, heard, "es")
    output = jiwer.process_words(text.normalised(" ".join(lines)), text.normalised(heard))
    assert sum(e.wrong for e in found) == output.substitutions + output.deletions + output.insertions
    assert sum(e.hits for e in found) == output.hits


def test_a_line_gets_its_own_errors() -> None:
    found = text.errors(["hola a todos", "hasta pronto"], "hola a todos hasta luego amigos", "es")
    assert [(e.hits, e.wrong) for e in found] == [(3, 0), (1, 2)]


def test_japanese_is_compared_by_character_as_jiwer_does() -> None:
    score = text.error_rate(["今日は良い天気です。"], "今日わ良い天気", "ja")
    assert score is not None
    assert score.value == pytest.approx(100 * jiwer.cer("今日は良い天気です", "今日わ良い天気"), abs=0.006)
    assert "character" in score.name


def test_silence_is_wholly_wrong_and_a_missing_script_is_no_score() -> None:
    score = text.error_rate(["uno dos"], "", "es")
    assert score is not None
    assert score.value == 100.0
    assert text.error_rate(["...", ""], "uno", "es") is None


def test_case_punctuation_and_width_do_not_count_but_marks_do() -> None:
    assert text.normalised("¡Hola, Ｄon’t STOP — now!") == "hola dont stop now"
    assert text.normalised("नमस्ते") == "नमस्ते"


def test_the_words_of_the_source_that_are_left_are_counted() -> None:
    score = text.recovered(["good morning nora", "how are you"], "buenos morning nora qué tal", "en")
    assert score is not None
    assert score.value == pytest.approx(100 * 2 / 6, abs=0.01)


@pytest.mark.parametrize("pair", selftest.ISOMETRIC)
def test_human_translations_have_the_published_lengths_to_the_digit(pair: str, shared_data: Path) -> None:
    folder = shared_data / "media" / "isometric-mt" / pair
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/media/isometric-mt (not present)")
    sides = [(folder / f"test.{tag}").read_text(encoding="utf-8").splitlines() for tag in pair.split("-")]
    found = text.compliance(list(zip(*sides, strict=True)))
    assert (round(found.ratio or 0, 3), found.compliant) == selftest.ISOMETRIC[pair]


@pytest.mark.parametrize(
    ("source", "target", "compliant"),
    [("abcde fghij", "x", 100.0), ("abcdefghijk", "x", 0.0), ("a" * 20, "b" * 22, 100.0), ("a" * 20, "b " * 23, 0.0)],
)
def test_short_sources_comply_and_others_within_ten_per_cent(source: str, target: str, compliant: float) -> None:
    assert text.compliance([(source, target)]).compliant == compliant


def test_without_texts_there_are_no_length_scores() -> None:
    assert text.length_scores([]) == ()
