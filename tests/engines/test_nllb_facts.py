"""NLLB-200 without its packages: facts, languages, folders; and how texts are cut for models that know single sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub import languages
from polydub.engines.base import Batch, Request
from polydub.engines.mt.ct2 import Frame, ends, translated
from polydub.engines.mt.nllb import ENGINE, MODELS, NllbOptions
from polydub.engines.mt.nllb_codes import CODES
from polydub.engines.mt.sentences import cut, joined, sentences
from polydub.engines.registry import match_language
from polydub.errors import BadEngineOutput

REST = {"model__bin": "x", "config__json": "{}", "tokenizer__json": "{}"}


def folder_of(place: Path, **files: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name.replace("__", ".")).write_text(content)
    return place


def whole(place: Path, words: list[str]) -> Path:
    return folder_of(place, model__bin="x", config__json="{}", shared_vocabulary__json=json.dumps(words), tokenizer__json="{}")


class TestLanguages:
    def test_every_tag_is_one_of_ours_and_every_code_names_a_language_and_a_script(self) -> None:
        for tag, code in CODES.items():
            assert str(languages.parse(tag)) == tag
            language, _, script = code.partition("_")
            assert len(language) == 3 and len(script) == 4 and script.istitle()
        assert len(set(CODES.values())) == len(CODES)

    @pytest.mark.parametrize(
        ("tag", "code"),
        [
            ("en", "eng_Latn"), ("es-MX", "spa_Latn"), ("pt-BR", "por_Latn"), ("zh-TW", "zho_Hant"), ("zh-CN", "zho_Hans"),
            ("ar", "arb_Arab"), ("arz", "arz_Arab"), ("no", "nob_Latn"), ("nn", "nno_Latn"), ("ko", "kor_Hang"),
            ("fa", "pes_Arab"), ("fil", "tgl_Latn"), ("tl", "tgl_Latn"), ("ku", "kmr_Latn"), ("sw", "swh_Latn"),
        ],
    )  # fmt: skip
    def test_a_tag_finds_its_code(self, tag: str, code: str) -> None:
        assert CODES[languages.nearest(str(languages.parse(tag)), CODES) or ""] == code

    def test_all_pairs_are_there_and_none_with_itself(self) -> None:
        pairs = ENGINE.languages(NllbOptions())
        assert pairs is not None and len(pairs) == len(CODES) * (len(CODES) - 1)
        assert match_language("en>es-419", pairs) == "en>es" and "en>en" not in pairs
        assert match_language("en>tlh", pairs) is None

    def test_a_folder_has_those_of_its_vocabulary(self, tmp_path: Path) -> None:
        own = whole(tmp_path / "own", ["</s>", "eng_Latn", "fra_Latn", "xyz_Latn"])
        assert ENGINE.languages(NllbOptions(model=str(own))) == {"en>fr", "fr>en"}
        assert ENGINE.languages(NllbOptions(model=str(tmp_path / "none"))) == frozenset()


class TestFacts:
    def test_the_licence_is_told_before_the_result_is_trusted(self) -> None:
        assert all(not weight.commercial_use and weight.licence == "CC-BY-NC-4.0" for weight in MODELS.values())
        assert "non-commercial" in ENGINE.remarks(NllbOptions(), "en>es")[0]
        assert ENGINE.environment is not None and ENGINE.environment.name == "ctranslate2"

    def test_the_small_model_is_pinned_and_the_others_say_what_they_need(self) -> None:
        assert len(MODELS["600m"].revision) == 40 and len(MODELS["600m"].files) == 4
        for name in ("1.3b", "3.3b"):
            assert not MODELS[name].revision and "model.bin" in MODELS[name].patterns and MODELS[name].about_bytes

    def test_a_folder_of_ones_own_needs_no_weights_and_is_known_by_what_is_in_it(self, tmp_path: Path) -> None:
        own = whole(tmp_path / "own", ["eng_Latn"])
        options = NllbOptions(model=str(own))
        assert ENGINE.weights(options) == ()
        before = ENGINE.version(options)
        (own / "model.bin").write_text("y")
        assert ENGINE.version(options) != before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "there is no nllb model or folder"),
        ({"config__json": "{}"}, "lacks model.bin, shared_vocabulary.json, sentencepiece.bpe.model"),
        (REST | {"config__json": "{", "shared_vocabulary__json": "[]"}, "config.json of own"),
        (REST | {"shared_vocabulary__json": "7"}, "is damaged"),
        (REST | {"shared_vocabulary__txt": "a\nb\n"}, "is no NLLB-200"),
    ],
)
def test_a_wrong_folder_is_refused_in_one_sentence(tmp_path: Path, files: dict[str, str] | None, words: str) -> None:
    if files is not None:
        folder_of(tmp_path / "own", **files)
    available = ENGINE.check(NllbOptions(model=str(tmp_path / "own")))
    assert not available.ready and words in available.reason and available.fix


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("", []),
            ("  ", []),
            ("One. Two! Three?", ["One.", "Two!", "Three?"]),
            ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
            ("Dr. Smith met the U.S. envoy. He left.", ["Dr. Smith met the U.S. envoy.", "He left."]),
            ("He said no. Then he left.", ["He said no.", "Then he left."]),
            ("It costs 3.50 now. Yes.", ["It costs 3.50 now.", "Yes."]),
            ("你好。再见！", ["你好。", "再见！"]),
            ("नमस्ते। फिर मिलेंगे।", ["नमस्ते।", "फिर मिलेंगे।"]),
        ],
    )
    def test_they_are_found(self, text: str, parts: list[str]) -> None:
        assert sentences(text) == parts

    @given(st.text(alphabet="ab .!?。,", max_size=60), st.integers(2, 9))
    def test_nothing_but_blanks_is_lost_and_no_part_is_too_long(self, text: str, limit: int) -> None:
        parts = [part for sentence in sentences(text) for part in cut(sentence, len, limit)]
        assert "".join("".join(parts).split()) == "".join(text.split())
        assert all(0 < len(part) <= limit for part in parts)

    def test_they_are_joined_as_the_script_wants_it(self) -> None:
        assert joined(["Hola.", "Adiós."]) == "Hola. Adiós."
        assert joined(["你好。", "再见。"]) == "你好。再见。"

    def test_a_long_sentence_is_cut_at_a_clause(self) -> None:
        assert cut("one two three, four five six", lambda text: len(text.split()), 4) == ["one two three,", "four five six"]


class Upper:
    """A model and tokenizer whose pieces are words, and that answers in capitals; of "void" it makes nothing."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode(self, text: str) -> list[str]:
        return text.split()

    def decode(self, pieces: list[str]) -> str:
        return " ".join(pieces)

    def search(self, rows: list[list[str]], prefix: tuple[str, ...] = ()) -> list[list[str]]:
        self.asked += rows
        return [[] if "void" in row else [piece.upper() for piece in row if piece not in {"<s>", "</s>"}] for row in rows]


class TestTranslated:
    def test_sentences_of_all_texts_go_in_one_search_and_find_their_text_again(self) -> None:
        fake = Upper()
        texts = ("one. two.", "", "♪", "three")
        batch = Batch("en", "es", tuple(Request(str(n), text) for n, text in enumerate(texts)))
        assert translated(batch, fake, fake, Frame(("<s>",), ("</s>",))) == ["ONE. TWO.", "", "♪", "THREE"]  # type: ignore[arg-type]
        assert fake.asked == [["<s>", "one.", "</s>"], ["<s>", "two.", "</s>"], ["<s>", "three", "</s>"]]

    def test_an_empty_answer_is_an_error_that_names_the_line(self) -> None:
        fake = Upper()
        with pytest.raises(BadEngineOutput, match="line 7") as caught:
            translated(Batch("en", "es", (Request("7", "void"),)), fake, fake, Frame())  # type: ignore[arg-type]
        assert caught.value.line == "7"


def test_the_end_mark_is_added_unless_the_library_does_it(tmp_path: Path) -> None:
    assert ends(tmp_path) == ()
    for text, mark in (('{"add_source_eos": true}', ()), ('{"add_source_eos": false}', ("</s>",)), ("{}", ("</s>",))):
        (tmp_path / "config.json").write_text(text)
        assert ends(tmp_path) == mark
