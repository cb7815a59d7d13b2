"""What Kokoro's adapter says without Kokoro."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from polydub.engines.tts.kokoro import ENGINE, WEIGHTS, KokoroOptions
from polydub.errors import MissingWeights


def folder(path: Path, *voices: str, models: int = 1) -> Path:
    path.mkdir(exist_ok=True)
    for number in range(models):
        (path / f"{number}.onnx").write_bytes(b"model")
    with zipfile.ZipFile(path / "voices.bin", "w") as packed:
        for voice in voices:
            packed.writestr(f"{voice}.npy", b"style")
    return path


def test_its_weights_are_pinned_by_hash_and_may_be_used_commercially() -> None:
    for model, weight in WEIGHTS.items():
        assert ENGINE.weights(KokoroOptions(model=model)) == (weight,)
        assert weight.commercial_use and weight.licence == "Apache-2.0"
        assert {file.name.rpartition(".")[2] for file in weight.files} == {"onnx", "bin"}
    assert "GPL" in ENGINE.info.licence


def test_it_does_not_claim_japanese_or_chinese() -> None:
    assert ENGINE.languages(KokoroOptions()) == {"en-US", "en-GB", "es", "fr-FR", "hi", "it", "pt-BR"}


def test_a_folder_of_ones_own_has_the_languages_of_its_voices_and_its_content_is_its_version(tmp_path: Path) -> None:
    options = KokoroOptions(model=str(folder(tmp_path, "ff_siwis", "jf_alpha", "x_other")))
    assert ENGINE.check(options).ready and not ENGINE.weights(options)
    assert ENGINE.languages(options) == {"fr-FR"}
    before = ENGINE.version(options)
    (tmp_path / "0.onnx").write_bytes(b"other")
    assert before and ENGINE.version(options) != before


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "none", "there is no kokoro model or folder"),
        (lambda path: path, "holds 0 .onnx and 0 .bin files"),
        (lambda path: folder(path, "af_x", models=2), "holds 2 .onnx and 1 .bin files"),
        (lambda path: folder(path, "jf_alpha"), "no voice of a language"),
        (lambda path: (folder(path), (path / "voices.bin").write_bytes(b"no"))[0], "holds no voices"),
    ],
)
def test_a_wrong_folder_is_refused_in_one_sentence(tmp_path: Path, make: object, says: str) -> None:
    options = KokoroOptions(model=str(make(tmp_path)))  # type: ignore[operator]
    available = ENGINE.check(options)
    assert not available.ready and says in available.reason and available.fix
    assert ENGINE.languages(options) == frozenset() and ENGINE.version(options) == ""
    with pytest.raises(MissingWeights), ENGINE.load(options, {}, "cpu"):
        pass


def test_threads_do_not_change_what_is_remembered() -> None:
    assert KokoroOptions(threads=1).identity() == KokoroOptions(threads=4).identity()
