"""Chatterbox without its environment: models, languages, folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from polydub.engines.registry import build_options
from polydub.engines.tts.chatterbox import ENGINE, WEIGHTS, ChatterboxOptions
from polydub.errors import BadSettings, MissingWeights


def fill(folder: Path, model: str) -> ChatterboxOptions:
    for file in WEIGHTS[model].files:
        (folder / file.name).write_text("{}")
    return ChatterboxOptions(model=str(folder))


@pytest.mark.parametrize(("model", "language"), [("english", "es"), ("multilingual", "ru")])
def test_each_model_has_its_languages(model: str, language: str) -> None:
    has = ENGINE.languages(ChatterboxOptions(model=model))
    assert has is not None and "en" in has and language not in has
    assert ("nb" in has) == (model == "multilingual")


@pytest.mark.parametrize("model", ["english", "multilingual"])
def test_a_folder_is_told_by_its_files_and_refused_when_one_lacks(tmp_path: Path, model: str) -> None:
    options = fill(tmp_path, model)
    assert ENGINE.check(options).ready and ENGINE.weights(options) == ()
    assert ENGINE.languages(options) == ENGINE.languages(ChatterboxOptions(model=model))
    name = WEIGHTS[model].files[0].name
    (tmp_path / name).unlink()
    told = ENGINE.check(options)
    assert not told.ready and name in told.reason and WEIGHTS[model].id in told.fix
    with pytest.raises(MissingWeights, match=name), ENGINE.load(options, {}, "cpu"):
        pass


def test_its_own_voice_may_be_missing(tmp_path: Path) -> None:
    options = fill(tmp_path, "english")
    (tmp_path / "conds.pt").unlink()
    assert ENGINE.check(options).ready


def test_a_model_that_is_neither_known_nor_a_folder_is_refused() -> None:
    assert "'turbo'" in ENGINE.check(ChatterboxOptions(model="turbo")).reason


def test_the_watermark_is_told() -> None:
    assert any("watermark" in remark for remark in ENGINE.remarks(ChatterboxOptions(), "en"))


@pytest.mark.parametrize("given", [{"exaggeration": 9}, {"cfg_weight": 0}, {"temperature": 0}])
def test_values_out_of_range_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(BadSettings):
        build_options(ENGINE, given)
