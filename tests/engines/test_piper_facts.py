"""What Piper's adapter says without Piper."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polydub.engines.tts import piper
from polydub.engines.tts.piper import ENGINE, Piper, PiperOptions
from polydub.engines.tts.piper_voices import CATALOGUE, tag_of
from polydub.errors import BadSettings, MissingWeights
from polydub.types import Part, Voice


def described(**more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "audio": {"sample_rate": 22_050},
        "espeak": {"voice": "es"},
        "num_symbols": 256,
        "num_speakers": 1,
        "phoneme_id_map": {"_": [0]},
        "language": {"code": "es_ES"},
    }
    return facts | more


def model(folder: Path, name: str, facts: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(b"model")
    (folder / f"{name}.onnx.json").write_text(json.dumps(facts))
    return folder


@pytest.mark.parametrize(
    ("code", "tag"), [("es_ES", "es-ES"), ("en-us", "en-US"), ("no_NO", "nb-NO"), ("es-419", "es"), ("de", "de")]
)
def test_the_language_of_a_voice_is_a_bcp_47_tag(code: str, tag: str) -> None:
    assert tag_of(code) == tag


def test_a_voice_of_the_catalogue_needs_its_own_weights_and_speaks_its_own_language() -> None:
    for name, weight in CATALOGUE.items():
        options = PiperOptions(model=name)
        assert ENGINE.check(options).ready
        assert ENGINE.weights(options) == (weight,)
        assert ENGINE.languages(options) == {tag_of(name.partition("-")[0])}
        assert weight.source == "hub:rhasspy/piper-voices" and weight.bytes > 10_000_000
        assert weight.files or any(pattern.endswith(f"{name}.onnx.json") for pattern in weight.patterns)


def test_several_voices_are_open_at_once_and_their_licences_are_told() -> None:
    options = PiperOptions(model="es_ES-davefx-medium+ es_MX-ald-medium+es_ES-davefx-medium")
    assert [w.id for w in ENGINE.weights(options)] == ["piper-es_ES-davefx-medium", "piper-es_MX-ald-medium"]
    assert ENGINE.languages(options) == {"es-ES", "es-MX"}
    (remark,) = ENGINE.remarks(options, "es")
    assert "MODEL_CARD" in remark and "piper-es_MX-ald-medium" in remark


def test_a_folder_of_ones_own_needs_no_weights_and_its_content_is_its_version(tmp_path: Path) -> None:
    options = PiperOptions(model=str(model(tmp_path / "a+b" / "deep", "one", described()).parent))
    assert ENGINE.check(options).ready and not ENGINE.weights(options)
    assert ENGINE.languages(options) == {"es-ES"}
    before = ENGINE.version(options)
    (tmp_path / "a+b" / "deep" / "one.onnx").write_bytes(b"other")
    assert before and ENGINE.version(options) != before
    assert not ENGINE.remarks(options, "es")


def test_without_a_language_code_the_voice_of_espeak_tells_it(tmp_path: Path) -> None:
    facts = described(espeak={"voice": "en-us"})
    del facts["language"]
    assert ENGINE.languages(PiperOptions(model=str(model(tmp_path, "x", facts)))) == {"en-US"}


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ([], "does not describe a piper voice"),
        ({"audio": {}}, "does not describe a piper voice"),
        (described(num_speakers=0), "does not describe a piper voice"),
        (described(phoneme_id_map={}), "does not describe a piper voice"),
        (described(language={"name": "x"}), "does not describe a piper voice"),
        (described(phoneme_type="pinyin"), "needs data from the network"),
    ],
)
def test_a_wrong_description_is_refused_in_one_sentence(tmp_path: Path, facts: object, says: str) -> None:
    options = PiperOptions(model=str(model(tmp_path, "x", facts)))
    available = ENGINE.check(options)
    assert not available.ready and says in available.reason and "\n" not in available.reason and available.fix
    assert ENGINE.languages(options) == frozenset() and ENGINE.version(options) == ""
    with pytest.raises(MissingWeights, match=says), ENGINE.load(options, {}, "cpu"):
        pass


def test_what_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    assert "es_ES-davefx-medium" in ENGINE.check(PiperOptions(model="es_ES-davefx-medum")).reason
    assert "no .onnx file" in ENGINE.check(PiperOptions(model=str(tmp_path))).reason
    (tmp_path / "x.onnx").touch()
    assert "lacks x.onnx.json" in ENGINE.check(PiperOptions(model=str(tmp_path / "x.onnx"))).reason


def test_threads_do_not_change_what_is_remembered_and_noise_does() -> None:
    assert PiperOptions(threads=1).identity() == PiperOptions(threads=4).identity()
    assert PiperOptions(noise_scale=0).identity() != PiperOptions().identity()


def test_speakers_of_a_model_are_voices_in_turn_with_those_of_others_and_are_asked_for_by_number(tmp_path: Path) -> None:
    duo = described(num_speakers=2, speaker_id_map={"ana": 0, "luis": 1}, inference={"length_scale": 1.4})
    for name, facts in (("a-duo", duo), ("b-one", described()), ("c-mx", described(language={"code": "es_MX"}))):
        model(tmp_path, name, facts)
    asked: list[dict[str, Any]] = []

    class Opened:
        def synthesize(self, text: str, settings: dict[str, Any]) -> Any:
            asked.append({"text": text, **settings})
            yield SimpleNamespace(audio_float_array=np.full(100, 0.1, np.float32), sample_rate=22_050)

    options = PiperOptions(model=str(tmp_path), noise_scale=0.3)
    models = piper._own(options)  # pyright: ignore[reportPrivateUsage]
    engine = Piper(models, options, lambda model: Opened(), dict)
    assert [v.name for v in engine.voices("es-ES")] == ["a-duo/ana", "b-one", "a-duo/luis", "c-mx"]
    assert next(iter(engine.voices("es-MX"))).name == "c-mx"
    audio = engine.synthesize(Part("Hola [[x]]\n\x01a", "es", Voice("piper", "a-duo/luis", "es"), rate=2.0))
    assert audio.samples.shape == (1, 100) and audio.rate_hz == 22_050
    (one,) = asked
    assert one["speaker_id"] == 1 and one["length_scale"] == pytest.approx(0.7) and one["noise_scale"] == 0.3
    assert one["normalize_audio"] is False and "[[" not in one["text"] and "\x01" not in one["text"]
    with pytest.raises(BadSettings, match="no voice"):
        engine.synthesize(Part("Hola", "es", Voice("piper", "a-duo/ann", "es")))
