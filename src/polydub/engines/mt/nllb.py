"""NLLB-200 of Meta AI on CTranslate2: any of 165 languages into any other, offline, sentence by sentence.

The weights must not be used commercially (CC-BY-NC-4.0). A code that the model does not know would silently be read as an
unknown word, and the translation come in any language: codes are looked up in its vocabulary first.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Batch, Engine, Info, Weight, WeightFile, Weights
from polydub.engines.mt.ct2 import (
    AGAIN,
    ENVIRONMENT,
    VOCABULARIES,
    FastPieces,
    Frame,
    Model,
    Pieces,
    SearchOptions,
    SentencePieces,
    digest,
    ends,
    lacking,
    translated,
    vocabulary,
)
from polydub.engines.mt.nllb_codes import CODES
from polydub.errors import MissingWeights, UnsupportedLanguage

LICENCE = "CC-BY-NC-4.0"  # model cards of facebook/nllb-200-*
SPM, TOKENIZER = "sentencepiece.bpe.model", "tokenizer.json"
NEEDED = (("model.bin",), ("config.json",), VOCABULARIES, (SPM, TOKENIZER))
PATTERNS = ("config.json", "model.bin", "shared_vocabulary.json", "sentencepiece.bpe.model")


def _unpinned(name: str, source: str, about_bytes: int, *patterns: str) -> Weight:
    return Weight(
        f"nllb-200-{name}", "", source, LICENCE, commercial_use=False, patterns=patterns, about_bytes=about_bytes,
        languages=tuple(CODES),
    )  # fmt: skip


# Conversions to CTranslate2 (int8). The revision, lengths and hashes of the 600M one stand alike in three public programs by
# different authors, read in November 2026: a selection record of a live interpreter with all four files and its test of the
# downloads; the download script of a Swahili voice project; a table of local models of a desktop reader. Of the others no
# two sources give every file.
MODELS = {
    "600m": Weight(
        "nllb-200-600m",
        "16bc5ff0482f9f1c0d35bdef950721ce58640789",
        "hub:mijuanlo/nllb-200-distilled-600M-ct2-int8",
        LICENCE,
        commercial_use=False,
        files=(
            WeightFile("config.json", "bf8ade7c3f1683e5f13001bab18b04a1ccd1a6801208efd227ed13b2ff6f15e7", 1_065),
            WeightFile("model.bin", "398726640cc2a02cc6a35277fa3cf2159ce8a1a66b48aa1b6c8837a47e3dd00c", 622_596_105),
            WeightFile(SPM, "14bb8dfb35c0ffdea7bc01e56cea38b9e3d5efcdcb9c251d6b40538e1aab555a", 4_852_054),
            WeightFile("shared_vocabulary.json", "af53bfd0e6f726209e7325e45b87ab3b14e5856f7d42d7b9be91de3287c45267", 5_921_176),
        ),
        languages=tuple(CODES),
    ),
    "1.3b": _unpinned("1.3b", "hub:mijuanlo/nllb-200-distilled-1.3B-int8-ct2", 1_400_000_000, *PATTERNS),
    "3.3b": _unpinned("3.3b", "hub:OpenNMT/nllb-200-3.3B-ct2-int8", 3_400_000_000, *PATTERNS[:3], TOKENIZER),
}


class NllbOptions(SearchOptions):
    """Options of NLLB-200."""

    model: str = Field(
        "600m", description=f"{', '.join(MODELS)}, or a folder with a conversion of NLLB-200 to CTranslate2.", min_length=1
    )


class NllbTranslator:
    """Translator on one loaded model."""

    def __init__(self, folder: Path, options: NllbOptions, device: str) -> None:
        self._words, self._ends = vocabulary(folder), ends(folder)
        self._pieces: Pieces = (
            SentencePieces(folder / SPM, folder / SPM) if (folder / SPM).is_file() else FastPieces(folder / TOKENIZER)
        )
        self._model = Model(folder, options, device)

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order.

        Raises: UnsupportedLanguage for a language that this model's vocabulary has no code of; EngineFailed.
        """
        source, target = self._code(batch.source), self._code(batch.target)
        return translated(batch, self._pieces, self._model, Frame((source,), self._ends, (target,)))

    def _code(self, tag: str) -> str:
        known = languages.nearest(tag, [known for known, code in CODES.items() if code in self._words])
        if known is None:
            raise UnsupportedLanguage(f"nllb has no {languages.name(tag)} ({tag})", "name another engine, such as openai")
        return CODES[known]

    def close(self) -> None:
        """Frees the weights."""
        self._model.close()


@contextmanager
def _load(options: NllbOptions, weights: Weights, device: str) -> Generator[NllbTranslator]:
    folder = _own_folder(options) or weights[MODELS[options.model].id]
    if lacks := lacking(folder, NEEDED):
        raise MissingWeights(f"{folder.name} lacks {', '.join(lacks)}", AGAIN)
    translator = NllbTranslator(folder, options, device)
    try:
        yield translator
    finally:
        translator.close()


def _own_folder(options: NllbOptions) -> Path | None:
    """The folder that the option names; None for a known model."""
    return None if options.model in MODELS else Path(options.model).expanduser()


def _check(options: NllbOptions) -> Availability:
    folder = _own_folder(options)
    if folder is None:
        return READY
    if not folder.is_dir():
        known = ", ".join(MODELS)
        return Availability(False, f"there is no nllb model or folder {options.model!r}", f"choose {known}, or give a folder")
    if lacks := lacking(folder, NEEDED):
        fix = f"ct2-transformers-converter --model facebook/nllb-200-distilled-600M --copy_files {SPM} ... makes such a folder"
        return Availability(False, f"{folder.name} lacks {', '.join(lacks)}", fix)
    try:
        ends(folder)
        words = vocabulary(folder)
    except MissingWeights as error:
        return Availability(False, error.message, error.hint)
    if not any(code in words for code in CODES.values()):
        text = f"{folder.name} is no NLLB-200 model: its vocabulary has no codes of languages"
        return Availability(False, text, "name another folder; OPUS-MT models belong to the engine opus-mt")
    return READY


@cache
def _pairs(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(f"{a}>{b}" for a in tags for b in tags if a != b)


def _languages(options: NllbOptions) -> frozenset[str]:
    """All pairs, but of a folder of one's own only those that its vocabulary has codes of."""
    folder = _own_folder(options)
    if folder is None:
        return _pairs(tuple(CODES))
    try:
        words = vocabulary(folder)
    except MissingWeights:
        return frozenset()
    return _pairs(tuple(tag for tag, code in CODES.items() if code in words))


def _version(options: NllbOptions) -> str:
    folder = _own_folder(options)
    return digest(folder) if folder else ""


def _remarks(_options: NllbOptions, _pair: str) -> tuple[str, ...]:
    return ("its weights are licensed for non-commercial use only (CC-BY-NC-4.0)",)


ENGINE = Engine(
    info=Info(
        kind="mt",
        name="nllb",
        summary="NLLB-200 on CTranslate2: 165 languages in any direction, offline, for non-commercial use",
        licence="MIT",
        homepage="https://github.com/facebookresearch/fairseq/tree/nllb",
        package="ctranslate2",
        memory_mib=(1400, 1400),
        devices=frozenset({"cpu", "cuda"}),
        batch=32,
    ),
    options=NllbOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=lambda options: (MODELS[options.model],) if options.model in MODELS else (),
    models={
        "low": ("600m", "1.3b", "3.3b"),
        "medium": ("1.3b", "600m", "3.3b"),
        "high": ("3.3b", "1.3b", "600m"),
    },
    remarks=_remarks,
    environment=ENVIRONMENT,
)
