"""OPUS-MT by the real CTranslate2: on tiny random weights, and on a small trained model that writes Arabic in Latin letters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polydub.engines.base import Batch, Request
from polydub.engines.mt.opus_mt import ENGINE, OpusOptions
from polydub.errors import UnsupportedLanguage

pytestmark = [pytest.mark.neural, pytest.mark.slow]
WORDS = ("آتزمون", "مهمد", "برشلونة", "واشنطن")


@pytest.fixture
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("ctranslate2", "opus_mt")


def batch(*texts: str, source: str = "en", target: str = "es") -> Batch:
    return Batch(source, target, tuple(Request(str(n), text) for n, text in enumerate(texts)))


def options(folder: Path, **values: Any) -> OpusOptions:
    return OpusOptions(model=str(folder), threads=1, max_length=24, **values)


def test_every_pair_whose_folder_is_there_is_translated(folder: Path, open_engine: Any) -> None:
    assert ENGINE.languages(options(folder)) == {"en>es", "es>en"}
    with open_engine(ENGINE, options(folder), {}) as opus:
        there = opus.translate(batch("hello world my friend", " ", "where is the cat. good day to you"))
        back = opus.translate(batch("hello world my friend", " ", "gato", source="es", target="en"))
        assert len(there) == len(back) == 3 and there[1] == back[1] == ""
        assert there[0] and there[2] and there[0] != back[0], "each pair has its own model"
        assert opus.translate(batch("hello world my friend", target="es-MX"))[0] == there[0]
        with pytest.raises(UnsupportedLanguage, match="opus-mt has no en>de") as caught:
            opus.translate(batch("hello", target="de"))
        assert "en>es, es>en" in caught.value.hint


def test_the_end_of_a_sentence_is_marked_once_by_us_or_by_the_library(folder: Path, open_engine: Any, tmp_path: Path) -> None:
    copy = tmp_path / "es-en"
    shutil.copytree(folder / "es-en", copy)
    config = json.loads((copy / "config.json").read_text())
    assert config["add_source_eos"]
    (copy / "config.json").write_text(json.dumps(config | {"add_source_eos": False}))
    wanted = batch("gato negro", source="es", target="en")
    with open_engine(ENGINE, options(folder / "es-en"), {}) as by_library, open_engine(ENGINE, options(copy), {}) as by_us:
        assert by_library.translate(wanted) == by_us.translate(wanted)


@pytest.mark.parametrize(("name", "compute_type"), [("", "float32"), ("-i8", "int8")])
def test_real_weights_write_arabic_words_in_latin_letters(
    shared_data: Path, open_engine: Any, name: str, compute_type: str
) -> None:
    model = options(shared_data / f"models/ct2-aren-transliteration{name}", pair="ar>en", compute_type=compute_type)
    with open_engine(ENGINE, model, {}) as opus:
        texts = opus.translate(batch(*WORDS, f"{WORDS[0]} {WORDS[1]}", "", source="ar", target="en"))
    assert texts[0] == "atzmon" and texts[3].startswith("wash")
    assert texts[4] == f"{texts[0]} {texts[1]}" and texts[5] == ""
