"""Packages of Argos Translate, made here with tiny random weights, run by the real CTranslate2 and SentencePiece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polydub.engines.base import Batch, Request
from polydub.engines.mt.argos import ENGINE, ArgosOptions
from polydub.errors import UnsupportedLanguage

pytestmark = [pytest.mark.neural, pytest.mark.slow]


@pytest.fixture
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("ctranslate2", "argos")


def batch(*texts: str, source: str = "en", target: str = "es") -> Batch:
    return Batch(source, target, tuple(Request(str(n), text) for n, text in enumerate(texts)))


def options(folder: Path) -> ArgosOptions:
    return ArgosOptions(model=str(folder), threads=1, max_length=24)


def test_archives_and_folders_translate_and_a_third_language_joins_them(folder: Path, open_engine: Any) -> None:
    assert ENGINE.languages(options(folder)) == {"en>es", "es>en", "es>fr", "en>fr"}
    with open_engine(ENGINE, options(folder), {}) as argos:
        texts = ("hello world my friend", "", "where is the cat. good day to you", "?!")
        first = argos.translate(batch(*texts))
        assert len(first) == 4 and first[0] and first[2] and first[1] == "" and first[3] == "?!"
        assert argos.translate(batch(*texts)) == first
        through = argos.translate(batch(*texts, target="fr"))
        assert through == argos.translate(batch(*first, source="es", target="fr"))
        with pytest.raises(UnsupportedLanguage, match="argos has no packages for en>de"):
            argos.translate(batch("hello", target="de"))


def test_one_package_alone_serves_too(folder: Path, open_engine: Any) -> None:
    archive = folder / "translate-en_es-1_0.argosmodel"
    assert ENGINE.languages(options(archive)) == {"en>es"}
    with open_engine(ENGINE, options(folder), {}) as several, open_engine(ENGINE, options(archive), {}) as one:
        assert several.translate(batch("good day")) == one.translate(batch("good day"))
