"""XTTS without its environment: terms, folders, weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polydub.engines.registry import build_options
from polydub.engines.tts.xtts import ENGINE, XttsOptions
from polydub.engines.tts.xtts_weights import FILES
from polydub.errors import BadSettings, EngineFailed, MissingWeights


def folder(at: Path, config: object) -> Path:
    for name in FILES:
        (at / name).write_text("{}")
    (at / "config.json").write_text(json.dumps(config))
    return at


def test_it_is_not_used_before_its_terms_are_accepted(tmp_path: Path) -> None:
    told = ENGINE.check(XttsOptions())
    assert not told.ready and "CPML" in told.reason and "COQUI_TOS_AGREED=1" in told.fix
    with pytest.raises(BadSettings, match="CPML"), ENGINE.load(XttsOptions(model=str(tmp_path)), {}, "cpu"):
        pass
    assert ENGINE.check(XttsOptions(agree_terms=True)).ready
    assert XttsOptions(agree_terms=True).identity() == XttsOptions().identity()


def test_what_it_speaks_is_not_for_commercial_use() -> None:
    (weight,) = ENGINE.weights(XttsOptions())
    assert not weight.commercial_use and "CPML" in weight.licence
    assert any("commercial" in remark for remark in ENGINE.remarks(XttsOptions(), "es"))
    assert any("unidic-lite" in remark for remark in ENGINE.remarks(XttsOptions(), "ja"))


def test_a_folder_that_lacks_a_file_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    options = XttsOptions(model=str(folder(tmp_path, {"model": "xtts", "model_args": {}})), agree_terms=True)
    assert ENGINE.check(options).ready and ENGINE.weights(options) == ()
    (tmp_path / "speakers_xtts.pth").unlink()
    told = ENGINE.check(options)
    assert not told.ready and "speakers_xtts.pth" in told.reason
    with pytest.raises(MissingWeights, match=r"speakers_xtts\.pth"), ENGINE.load(options, {}, "cpu"):
        pass


@pytest.mark.parametrize("config", [{"model": "vits", "model_args": {}}, {"model": "xtts"}, []])
def test_a_folder_of_another_model_is_refused_before_anything_is_loaded(tmp_path: Path, config: object) -> None:
    options = XttsOptions(model=str(folder(tmp_path, config)), agree_terms=True)
    with pytest.raises(EngineFailed, match=r"config\.json"), ENGINE.load(options, {}, "cpu"):
        pass


def test_a_model_that_is_neither_known_nor_a_folder_is_refused() -> None:
    assert "'xtts-v9'" in ENGINE.check(XttsOptions(model="xtts-v9", agree_terms=True)).reason


def test_a_changed_folder_has_another_version(tmp_path: Path) -> None:
    options = XttsOptions(model=str(folder(tmp_path, {})))
    before = ENGINE.version(options)
    (tmp_path / "model.pth").write_text("{ }")
    assert before and before != ENGINE.version(options)


@pytest.mark.parametrize("given", [{"temperature": 0}, {"top_p": 0}, {"repetition_penalty": 0.5}, {"stream_tokens": 1}])
def test_values_out_of_range_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(BadSettings):
        build_options(ENGINE, given)
