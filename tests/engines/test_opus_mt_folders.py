"""OPUS-MT without its packages: which folders are which pair, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from polydub.engines.mt.opus_mt import ENGINE, MODELS, OpusOptions


def model(place: Path, *, without: str = "") -> Path:
    place.mkdir(parents=True)
    for name in ("model.bin", "shared_vocabulary.json", "source.spm", "target.spm"):
        if name != without:
            (place / name).write_text("[]")
    return place


def test_each_known_model_is_one_pair() -> None:
    for name, weight in MODELS.items():
        assert ENGINE.languages(OpusOptions(model=name)) == {name.replace("-", ">")}
        assert weight.languages == (name.replace("-", ">"),) and weight.commercial_use
        assert ENGINE.weights(OpusOptions(model=name)) == (weight,)


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("en-de", "en>de"), ("opus-mt-en-de", "en>de"), ("opus-mt-tc-big-en-pt-ct2-float16", "en>pt"), ("de_en", "de>en"),
        ("ct2fast-opus-mt-es-en", "es>en"), ("opus-mt-fr-en-ctranslate2", "fr>en"), ("spa-eng", "es>en"),
    ],
)  # fmt: skip
def test_a_folders_name_tells_its_pair(tmp_path: Path, name: str, pair: str) -> None:
    model(tmp_path / name)
    assert ENGINE.languages(OpusOptions(model=str(tmp_path / name))) == {pair}
    assert ENGINE.languages(OpusOptions(model=str(tmp_path))) == {pair}


def test_a_folder_of_folders_has_their_pairs_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    model(tmp_path / "en-de")
    model(tmp_path / "de-en")
    model(tmp_path / "en-fr", without="model.bin")
    options = OpusOptions(model=str(tmp_path))
    assert ENGINE.languages(options) == {"en>de", "de>en"} and ENGINE.check(options).ready
    assert ENGINE.weights(options) == () and "en>de" in ENGINE.version(options)


def test_where_the_name_tells_nothing_the_pair_is_asked_for(tmp_path: Path) -> None:
    own = model(tmp_path / "mymodel")
    refused = ENGINE.check(OpusOptions(model=str(own)))
    assert not refused.ready and "pair=en>de" in refused.fix
    assert ENGINE.languages(OpusOptions(model=str(own), pair="ar>en")) == {"ar>en"}
    assert "no pair" in ENGINE.check(OpusOptions(model=str(own), pair="arabic")).reason


@pytest.mark.parametrize(("name", "words"), [("none", "there is no opus-mt model"), ("empty", "empty lacks model.bin")])
def test_a_wrong_folder_is_refused_in_one_sentence(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    available = ENGINE.check(OpusOptions(model=str(tmp_path / name)))
    assert not available.ready and words in available.reason and available.fix
