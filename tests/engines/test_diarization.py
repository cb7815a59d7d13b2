"""Diarization engines without their environments: facts, folders that are refused, and what polydub does itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polydub.audio.pcm import write_pcm
from polydub.engines.base import Engine, Weights
from polydub.engines.diarization import embedded, pyannote, sherpa
from polydub.engines.diarization.pyannote import PyannoteOptions
from polydub.engines.diarization.pyannote_weights import COMMUNITY, SEGMENTATION, WESPEAKER
from polydub.engines.onnx_facts import metadata
from polydub.engines.registry import build_options
from polydub.errors import BadSettings, EngineFailed, MissingWeights
from polydub.types import HEAR_HZ, Samples

SEGMENTATION_FACTS = dict(
    zip(
        (*sherpa.SEGMENTATION, "model_type"),
        ("16000", "160000", "991", "270", "3", "7", "2", "pyannote-segmentation-3.0"),
        strict=True,
    )
)
ENCODER_FACTS = {
    "framework": "wespeaker",
    "language": "English",
    "sample_rate": "16000",
    "output_dim": "256",
    "normalize_samples": "0",
}


def onnx(facts: Mapping[str, str], weights: int = 100) -> bytes:
    """A file that says so of itself, as a protocol buffer: a graph (7) of some weights, then pairs (14) of key and value."""

    def field(number: int, content: bytes) -> bytes:
        length, size = bytearray(), len(content)
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        return bytes([number << 3 | 2, *length, size]) + content

    pairs = (field(14, field(1, key.encode()) + field(2, value.encode())) for key, value in facts.items())
    return b"\x08\x08" + field(7, b"w" * weights) + b"".join(pairs)


def test_what_a_model_says_of_itself_is_read_past_its_weights(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(onnx({"sample_rate": "16000", "language": "español"}, weights=3 << 20))
    assert metadata(file) == {"sample_rate": "16000", "language": "español"}
    for wrong in (b"", b"no model", file.read_bytes()[:-1], file.read_bytes()[: 1 << 20], b"\x08\x08"):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match="ONNX"):
            metadata(file)


@pytest.mark.parametrize("name", sherpa.SEGMENTATION)
def test_a_segmentation_that_lacks_a_fact_is_none(name: str) -> None:
    assert sherpa.part_of(SEGMENTATION_FACTS) == "segmentation"
    for wrong in ("", "0", "x", "-1", "99999999999", "²"):
        assert sherpa.part_of(SEGMENTATION_FACTS | {name: wrong}) == ""
    assert sherpa.part_of({key: fact for key, fact in SEGMENTATION_FACTS.items() if key != name}) == ""


def test_an_encoder_is_known_by_its_facts() -> None:
    assert sherpa.part_of(ENCODER_FACTS) == "encoder"
    for name in ENCODER_FACTS:
        assert sherpa.part_of({key: fact for key, fact in ENCODER_FACTS.items() if key != name}) == ""
    for wrong in ({"framework": "other"}, {"framework": "nemo"}, {"sample_rate": "8000"}, {"output_dim": "0"}):
        assert sherpa.part_of(ENCODER_FACTS | wrong) == ""
    assert sherpa.part_of(ENCODER_FACTS | {"framework": "nemo", "feat_dim": "80"}) == "encoder"


def test_a_folder_for_sherpa_onnx_holds_one_model_of_each_kind(tmp_path: Path) -> None:
    def check() -> str:
        found = sherpa.ENGINE.check(build_options(sherpa.ENGINE, {"model": str(tmp_path)}))
        assert found.ready or found.fix
        return found.reason

    assert "lacks a segmentation" in check()
    (tmp_path / "model.onnx").write_bytes(onnx(SEGMENTATION_FACTS))
    (tmp_path / "model.int8.onnx").write_bytes(onnx(SEGMENTATION_FACTS))
    (tmp_path / "other.onnx").write_bytes(b"junk")
    assert "lacks a encoder" not in check() and "lacks an encoder" in check()
    (tmp_path / "voices.onnx").write_bytes(onnx(ENCODER_FACTS))
    assert check() == ""
    (tmp_path / "more.onnx").write_bytes(onnx(ENCODER_FACTS))
    assert "2 models" in check()
    assert "there is no model or folder" in sherpa.ENGINE.check(sherpa.SherpaOptions(model="no/such")).reason


def test_pulled_files_that_are_damaged_are_refused_before_the_library_sees_them(tmp_path: Path) -> None:
    options = sherpa.SherpaOptions()
    needed = sherpa.ENGINE.weights(options)
    folders = {weight.id: tmp_path / weight.id for weight in needed}
    for weight in needed:
        folders[weight.id].mkdir()
    with pytest.raises(MissingWeights, match=r"lacks model\.onnx"), sherpa.ENGINE.load(options, folders, "cpu"):
        pass
    for weight in needed:
        (folders[weight.id] / weight.files[0].name).write_bytes(b"\0" * 1000)
    with pytest.raises(EngineFailed, match="ONNX"), sherpa.ENGINE.load(options, folders, "cpu"):
        pass


CONFIG = """
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params: {clustering: VBxClustering, segmentation: $model/segmentation, embedding: $model/embedding, plda: $model/plda}
params: {clustering: {threshold: 0.6, Fa: 0.07, Fb: 0.8}, segmentation: {min_duration_off: 0.0}}
"""
PARTS = ("segmentation/pytorch_model.bin", "embedding/pytorch_model.bin", "plda/plda.npz", "plda/xvec_transform.npz")


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    pytest.importorskip("yaml")
    for part in PARTS:
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).touch()
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def recipe(folder: Path, **options: Any) -> pyannote.Recipe:
    return pyannote.recipe_of(PyannoteOptions(model=str(folder), **options), {})


def test_a_pipeline_of_ones_own_is_read_from_its_config(pipeline: Path) -> None:
    read = recipe(pipeline)
    assert (read.segmentation, read.embedding, read.plda) == (pipeline / PARTS[0], pipeline / PARTS[1], pipeline / "plda")
    changed = pyannote.tuned(read, PyannoteOptions(threshold=0.9, min_duration_off_s=0.2))
    assert changed == {"clustering": {"threshold": 0.9, "Fa": 0.07, "Fb": 0.8}, "segmentation": {"min_duration_off": 0.2}}
    assert pyannote.tuned(read, PyannoteOptions()) == read.tuned


@pytest.mark.parametrize("part", PARTS)
def test_a_pipeline_that_lacks_a_file_is_refused(pipeline: Path, part: str) -> None:
    (pipeline / part).unlink()
    with pytest.raises(MissingWeights, match=part):
        recipe(pipeline)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("pyannote.audio.pipelines.SpeakerDiarization", "os.system", "its pipeline is os.system"),
        ("$model/segmentation", "pyannote/segmentation-3.0", "from elsewhere"),
        ("$model/plda", "../plda", "no part of its folder"),
        ("$model/embedding", "/etc/passwd", "no part of its folder"),
        ("VBxClustering", "OracleClustering", "OracleClustering"),
        ("segmentation: $model/segmentation, ", "", "no part"),
        ("pipeline:", "pipeline: [", "no pyannote pipeline"),
        ("pipeline:", "other:", "no pyannote pipeline"),
    ],
)
def test_a_config_that_asks_for_anything_else_is_refused(pipeline: Path, old: str, new: str, told: str) -> None:
    (pipeline / "config.yaml").write_text(CONFIG.replace(old, new))
    with pytest.raises(EngineFailed, match=told):
        recipe(pipeline)


def test_pyannote_tells_which_weights_each_pipeline_needs(tmp_path: Path) -> None:
    engine = pyannote.ENGINE
    assert engine.weights(PyannoteOptions()) == (COMMUNITY,)
    assert engine.weights(PyannoteOptions(model="3.1")) == (SEGMENTATION, WESPEAKER)
    assert engine.weights(PyannoteOptions(model=str(tmp_path))) == ()
    assert "config.yaml" in engine.check(PyannoteOptions(model=str(tmp_path))).reason
    assert "no model or folder" in engine.check(PyannoteOptions(model="communty")).reason
    folders = {SEGMENTATION.id: tmp_path, WESPEAKER.id: tmp_path}
    with pytest.raises(MissingWeights, match=r"pytorch_model\.bin"):
        pyannote.recipe_of(PyannoteOptions(model="3.1"), folders)


def test_what_cannot_change_a_result_is_outside_the_identity() -> None:
    for engine in (pyannote.ENGINE, sherpa.ENGINE):
        plain = build_options(engine, {})
        assert build_options(engine, {"threads": 3, "idle_s": 5}).identity() == plain.identity()
        assert build_options(engine, {"threshold": 0.8}).identity() != plain.identity()
        with pytest.raises(BadSettings):
            build_options(engine, {"threshold": -1})


def test_an_encoder_that_is_not_there_is_told() -> None:
    options = embedded.EmbeddedOptions(model="nobody")
    found = embedded.ENGINE.check(options)
    assert not found.ready and "nobody" in found.reason and found.fix
    assert embedded.ENGINE.weights(options) == ()


def spliced(folder: Path) -> Samples:
    """Two speakers in turn, 6 s each, four times."""
    people = [sorted(place.glob("*.flac"))[:3] for place in sorted(folder.iterdir()) if place.is_dir()][:2]
    sounds = [np.concatenate([soundfile.read(file, dtype="float32")[0] for file in files]) for files in people]
    size = 6 * HEAR_HZ
    return np.concatenate([sounds[n % 2][n // 2 * size : (n // 2 + 1) * size] for n in range(4)])[None]


def test_polydub_itself_tells_two_readers_apart(
    weights_of: Callable[[Engine, Any], Weights], shared_data: Path, tmp_path: Path
) -> None:
    options = embedded.EmbeddedOptions()
    sound = spliced(shared_data / "media/librispeech-speakers")
    with embedded.ENGINE.load(options, weights_of(embedded.ENGINE, options), "cpu") as diarizer:
        write_pcm(tmp_path / "a.wav", [sound])
        found = diarizer.diarize(tmp_path / "a.wav", None)
        one = diarizer.diarize(tmp_path / "a.wav", range(1, 2))
        for nothing in (np.zeros((1, 0), np.float32), np.zeros((1, 3 * HEAR_HZ), np.float32)):
            write_pcm(tmp_path / "b.wav", [nothing])
            assert diarizer.diarize(tmp_path / "b.wav", None) == ()
    assert len({t.speaker for t in found}) == 2 and len({t.speaker for t in one}) == 1
    middles = [max(found, key=lambda t: t.overlap(type(t)(at, at + 5, ""))).speaker for at in (0.5, 6.5, 12.5, 18.5)]
    assert middles[0] == middles[2] != middles[1] == middles[3]
