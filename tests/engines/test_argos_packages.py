"""Packages of Argos Translate without the packages that run them: what is found, what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from polydub.engines.mt.argos import ENGINE, ArgosOptions, _unpacked, packages
from polydub.errors import EngineFailed


def package(place: Path, source: str, target: str, *, packed: bool = True, **told: str) -> Path:
    root = f"translate-{source}_{target}-1_0"
    files = {"metadata.json": json.dumps({"from_code": source, "to_code": target, **told}), "sentencepiece.model": "x"}
    files |= {"model/model.bin": "x", "model/shared_vocabulary.txt": "a"}
    if packed:
        path = place / f"{root}.argosmodel"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"{root}/{name}", content)
        return path
    for name, content in files.items():
        (place / root / name).parent.mkdir(parents=True, exist_ok=True)
        (place / root / name).write_text(content)
    return place / root


def pairs(place: Path) -> frozenset[str] | None:
    return ENGINE.languages(ArgosOptions(model=str(place)))


def test_archives_and_folders_are_found_with_their_languages(tmp_path: Path) -> None:
    package(tmp_path, "en", "zt")
    package(tmp_path, "pb", "en", packed=False)
    (tmp_path / "readme.txt").write_text("x")
    assert [(p.source, p.target) for p in packages(tmp_path)] == [("en", "zh-Hant"), ("pt-BR", "en")]
    assert ENGINE.check(ArgosOptions(model=str(tmp_path))).ready


def test_a_third_language_joins_two_packages_english_first_and_that_is_told(tmp_path: Path) -> None:
    for source, target in (("es", "en"), ("en", "fr"), ("es", "ca"), ("ca", "fr")):
        package(tmp_path, source, target)
    found = pairs(tmp_path)
    assert found is not None and "es>fr" in found and "en>es" not in found
    options = ArgosOptions(model=str(tmp_path))
    assert ENGINE.remarks(options, "es>fr") == ("it goes by way of English, where details may be lost",)
    assert ENGINE.remarks(options, "es>en") == ()


def test_another_package_is_another_version(tmp_path: Path) -> None:
    package(tmp_path, "en", "es")
    options = ArgosOptions(model=str(tmp_path))
    before = ENGINE.version(options)
    package(tmp_path, "en", "de", packed=False)
    after = ENGINE.version(options)
    assert before and before in after and "en>de" in after


@pytest.mark.parametrize("kind", ["missing", "empty", "old", "no archive", "other type"])
def test_what_is_no_package_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind != "missing":
        place.mkdir()
    if kind == "old":
        path = package(place, "en", "es", packed=False)
        (path / "sentencepiece.model").rename(path / "bpe.model")
    elif kind == "no archive":
        (place / "a.argosmodel").write_bytes(b"nonsense")
    elif kind == "other type":
        package(place, "en", "es", type="sbd")
    available = ENGINE.check(ArgosOptions(model=str(place)))
    assert not available.ready and available.reason and "argospm" in available.fix
    assert pairs(place) == frozenset()
    assert ("old kind" in available.reason) == (kind == "old")


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    path = package(tmp_path, "en", "es")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("translate-en_es-1_0/model/../../../../evil.txt", "x")
    into = tmp_path / "a/b/c"
    _unpacked(path, into)
    assert (into / "translate-en_es-1_0/model/model.bin").exists()
    assert not [found for found in tmp_path.rglob("evil.txt") if into not in found.parents]


def test_a_damaged_archive_is_one_sentence(tmp_path: Path) -> None:
    path = package(tmp_path, "en", "es")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EngineFailed, match="cannot be unpacked"):
        _unpacked(path, tmp_path / "out")
