"""VibeVoice without its environment: options, languages, and folders that will not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polydub.engines.registry import build_options
from polydub.engines.tts.vibevoice import ENGINE, VibeVoiceOptions
from polydub.errors import BadSettings, MissingWeights


def folder(at: Path, **config: object) -> Path:
    (at / "config.json").write_text(json.dumps(config))
    return at


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "vibevoice", "decoder_config": {}}, "original layout"),
        ({"model_type": "qwen2", "text_config": {}}, "type 'qwen2'"),
        ({"model_type": "vibevoice", "text_config": {}}, "lacks generation_config.json"),
    ],
)
def test_a_folder_that_will_not_do_is_refused_before_anything_is_loaded(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    options = VibeVoiceOptions(model=str(folder(tmp_path, **config)))
    told = ENGINE.check(options)
    assert not told.ready and said in told.reason and "vibevoice/VibeVoice-1.5B-hf" in told.fix
    with pytest.raises(MissingWeights, match=said), ENGINE.load(options, {}, "cpu"):
        pass


def test_a_folder_without_a_configuration_or_none_at_all_is_refused(tmp_path: Path) -> None:
    assert "config.json" in ENGINE.check(VibeVoiceOptions(model=str(tmp_path))).reason
    (tmp_path / "config.json").write_text("[")
    assert "config.json" in ENGINE.check(VibeVoiceOptions(model=str(tmp_path))).reason
    assert "no VibeVoice model" in ENGINE.check(VibeVoiceOptions(model="3B")).reason


def test_a_folder_with_everything_will_do_and_needs_no_other_weights(tmp_path: Path) -> None:
    folder(tmp_path, model_type="vibevoice", text_config={})
    for name in ("generation_config.json", "processor_config.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    options = VibeVoiceOptions(model=str(tmp_path))
    assert ENGINE.check(options).ready and ENGINE.weights(options) == ()
    before = ENGINE.version(options)
    (tmp_path / "model.safetensors").write_text("{ }")
    assert before and before != ENGINE.version(options)


def test_other_languages_are_tried_only_when_asked_for_and_then_doubted() -> None:
    assert ENGINE.languages(VibeVoiceOptions()) == {"en", "zh"}
    options = VibeVoiceOptions(any_language=True)
    assert ENGINE.languages(options) is None
    assert "nobody vouches" in ENGINE.remarks(options, "es")[0]
    assert ENGINE.remarks(options, "zh-Hant") == ()


def test_without_a_voice_to_follow_the_user_is_told() -> None:
    assert any("own choice" in text for text in ENGINE.remarks(VibeVoiceOptions(disable_prefill=True), "en"))


def test_known_models_name_their_weights() -> None:
    assert [w.id for w in ENGINE.weights(VibeVoiceOptions())] == ["vibevoice-1.5b"]
    assert [w.id for w in ENGINE.weights(VibeVoiceOptions(model="7B"))] == ["vibevoice-7b"]


@pytest.mark.parametrize("given", [{"cfg_scale": 0.5}, {"num_steps": 0}, {"precision": "int8"}, {"max_chunk_chars": 10}])
def test_values_out_of_range_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(BadSettings):
        build_options(ENGINE, given)
