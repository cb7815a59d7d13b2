"""sherpa-onnx as far as it goes without its environment: what is in a folder, words from tokens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from polydub.engines.asr.sherpa import ENGINE, NAMES, SherpaOptions, words_of
from polydub.engines.asr.sherpa_folders import inspected
from polydub.errors import EngineFailed, Missing, PolydubError

BUILDER = Path(__file__).resolve().parents[1] / "neural/tiny/sherpa_asr.py"
FAMILIES = ("nemo_ctc", "nemo_transducer", "sense_voice", "moonshine", "zipformer")


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_sherpa_asr", BUILDER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(builder: ModuleType, tmp_path: Path) -> Callable[[str], Path]:
    """`build("nemo_ctc")`: a folder with a model of that family."""

    def make(family: str) -> Path:
        getattr(builder, family)(tmp_path / family)
        return tmp_path / family

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_known_by_its_files_and_their_facts(build: Callable[[str], Path], family: str) -> None:
    known = inspected(build(family)).family
    assert known == ("transducer" if family == "zipformer" else family.replace("_", "-"))
    assert ENGINE.check(SherpaOptions(model=str(build(family)))).ready


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_that_lacks_a_file_is_refused(build: Callable[[str], Path], family: str) -> None:
    folder = build(family)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        available = ENGINE.check(SherpaOptions(model=str(folder)))
        assert not available.ready and folder.name in available.reason and available.fix
        with pytest.raises(PolydubError), ENGINE.load(SherpaOptions(model=str(folder)), {}, "cpu"):
            pass
        path.write_bytes(whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_damaged_files_are_refused_before_the_library_sees_them(build: Callable[[str], Path], family: str) -> None:
    folder = build(family)
    for path in sorted(folder.glob("*.onnx")):
        whole = path.read_bytes()
        for damaged in (b"", b"<html>not found</html>", whole[: len(whole) // 2]):
            path.write_bytes(damaged)
            with pytest.raises(EngineFailed, match="damaged"):
                inspected(folder)
        path.write_bytes(whole)
    (folder / "tokens.txt").write_text("<html>\n", encoding="utf-8")
    with pytest.raises(EngineFailed, match=r"tokens\.txt"):
        inspected(folder)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "unknown"),
        ({"model_type": "paraformer"}, "paraformer"),
        ({"model_type": "EncDecCTCModelBPE", "subsampling_factor": "8", "normalize_type": ""}, "vocab_size"),
        ({"vocab_size": "x", "subsampling_factor": "8", "normalize_type": ""}, "vocab_size"),
        ({"vocab_size": "-1", "subsampling_factor": "8", "normalize_type": ""}, "vocab_size"),
        ({"vocab_size": "7", "subsampling_factor": "8"}, "normalize_type"),
        ({"vocab_size": "900", "subsampling_factor": "8", "normalize_type": ""}, "900"),
        ({"model_type": "sense_voice_ctc", "vocab_size": "7"}, "lang_auto"),
    ],
)
def test_metadata_that_would_end_the_process_is_refused(
    builder: ModuleType, tmp_path: Path, facts: dict[str, str], told: str
) -> None:
    folder = tmp_path / "model"
    builder.nemo_ctc(folder)
    builder.write(folder / "model.onnx", [builder.node("Identity", "x", "y")], ("x N", "y N"), {}, facts)
    available = ENGINE.check(SherpaOptions(model=str(folder)))
    assert not available.ready and told in available.reason and available.fix


def test_a_streaming_model_is_refused(builder: ModuleType, tmp_path: Path) -> None:
    builder.zipformer(tmp_path / "model")
    facts = {"model_type": "zipformer2", "decode_chunk_len": "32"}
    builder.write(tmp_path / "model/encoder.onnx", [builder.node("Identity", "x", "y")], ("x N", "y N"), {}, facts)
    with pytest.raises(EngineFailed, match="streaming"):
        inspected(tmp_path / "model")


def test_of_two_files_that_do_the_same_the_smaller_numbers_are_taken(builder: ModuleType, tmp_path: Path) -> None:
    builder.zipformer(tmp_path / "model")
    for role in ("encoder", "decoder", "joiner"):
        path = tmp_path / f"model/{role}.onnx"
        path.with_name(f"{role}-epoch-9.int8.onnx").write_bytes(path.read_bytes())
    assert {path.name for path in inspected(tmp_path / "model").files.values()} == {
        f"{role}-epoch-9.int8.onnx" for role in ("encoder", "decoder", "joiner")
    }


def test_languages_are_those_of_the_model_of_the_option_or_any(build: Callable[[str], Path]) -> None:
    def of(model: str, tags: str = "") -> frozenset[str] | None:
        return ENGINE.languages(SherpaOptions(model=model, languages=tags))

    parakeet = of("parakeet-tdt-0.6b-v3")
    assert parakeet is not None and len(parakeet) == 25 and {"en", "uk", "el", "mt"} < parakeet
    assert of("sense-voice") == of(str(build("sense_voice"))) == {"zh", "en", "ja", "ko", "yue"}
    assert of(str(build("nemo_ctc"))) is None
    assert of(str(build("nemo_ctc")), "pt-BR en") == {"pt", "en"}
    assert of("nowhere") == frozenset()


def test_known_models_are_pinned_and_a_folder_has_its_content_as_version(build: Callable[[str], Path]) -> None:
    for name in NAMES:
        (weight,) = ENGINE.weights(SherpaOptions(model=name))
        assert weight.files and weight.revision and weight.languages
    assert all(sorted(models) == sorted(NAMES) for models in ENGINE.models.values())
    folder = build("nemo_ctc")
    options = SherpaOptions(model=str(folder))
    before = ENGINE.version(options)
    assert before and ENGINE.weights(options) == ()
    (folder / "tokens.txt").write_text("a 0\n", encoding="utf-8")
    assert ENGINE.version(options) != before
    available = ENGINE.check(SherpaOptions(model="nowhere"))
    assert not available.ready and "nowhere" in available.reason and "parakeet" in available.fix
    with pytest.raises(Missing), ENGINE.load(SherpaOptions(model=str(folder.parent)), {}, "cpu"):
        pass


def test_tokens_become_words_with_their_marks_times_and_confidence() -> None:
    tokens = ["▁And", "▁so", ",", "▁my", "▁fel", "low", "▁Ameri", "cans", "."]
    starts = [0.3, 0.6, 0.9, 1.2, 1.5, 1.7, 2.0, 2.3, 2.6]
    found = list(words_of(tokens, starts, [], [-0.1] * 9))
    assert [word.text for word in found] == ["And", "so,", "my", "fellow", "Americans."]
    assert [word.start for word in found] == [0.3, 0.6, 1.2, 1.5, 2.0]
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert {word.confidence for word in found} == {0.905}
    with_lengths = list(words_of(tokens, starts, [0.16] * 9, []))
    assert with_lengths[0].end == pytest.approx(0.46) and with_lengths[-1].end == pytest.approx(2.76)
    assert with_lengths[0].confidence is None
    assert all(a.end <= b.start for a, b in pairwise(words_of(tokens, starts, [5.0] * 9, [])))


def test_blanks_may_be_written_as_blanks_and_signs_stand_alone() -> None:
    found = list(words_of([" Hello", " ", "42", "你", "好", "。", " ok"], [0, 1, 1.1, 2, 3, 3.5, 4], [], []))
    assert [word.text for word in found] == ["Hello", "42", "你", "好。", "ok"]


def test_without_times_there_are_no_words() -> None:
    assert list(words_of(["▁a", "▁b"], [], [], [])) == []
    assert list(words_of([], [], [], [])) == []
