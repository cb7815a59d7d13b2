"""OPUS-MT, the Marian models of the University of Helsinki, on CTranslate2: one small model for each pair of languages.

A folder of one's own may hold one model, or a folder for each pair, named like "en-de"; Marian, OPUS-MT and Transformers
conversions of CTranslate2 serve, with SentencePiece or, where a folder has none, letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Batch, Engine, Info, Weight, Weights
from polydub.engines.mt.ct2 import (
    ENVIRONMENT,
    OWN_VOCABULARIES,
    VOCABULARIES,
    Frame,
    Model,
    Pieces,
    SearchOptions,
    SentencePieces,
    digest,
    ends,
    lacking,
    translated,
)
from polydub.errors import BadSettings, UnsupportedLanguage

LICENCE = "CC-BY-4.0"  # README of OPUS-MT, "License"; the model cards on the hub say Apache-2.0
NEEDED = (("model.bin",), (*VOCABULARIES, *OWN_VOCABULARIES))
_PAIR = re.compile(r"(?:.*[-_.])?([a-z]{2,3})[-_]([a-z]{2,3})(?:[-_.](?:ct2|ctranslate2|int8|float16).*)?", re.IGNORECASE)


def _weight(pair: str, about_bytes: int) -> Weight:
    return Weight(
        f"opus-mt-{pair}", "", f"hub:michaelfeil/ct2fast-opus-mt-{pair}", LICENCE, commercial_use=True,
        patterns=("config.json", "model.bin", "shared_vocabulary.*", "source.spm", "target.spm"), about_bytes=about_bytes,
        languages=(pair.replace("-", ">"),),
    )  # fmt: skip


# Conversions (float16) of the models of the same names. Their commits are known from several programs, but the hashes of
# their files from one author only, so that they are not pinned.
MODELS = {
    pair: _weight(pair, length)
    for pair, length in {
        "en-es": 158_000_000, "es-en": 158_000_000, "en-de": 150_000_000, "de-en": 150_000_000, "en-fr": 153_000_000,
        "fr-en": 153_000_000,
    }.items()
}  # fmt: skip


class OpusOptions(SearchOptions):
    """Options of OPUS-MT."""

    model: str = Field(
        "en-es",
        description=f"{', '.join(MODELS)}, or a folder with a conversion to CTranslate2, or one with such folders by pair.",
        min_length=1,
    )
    pair: str = Field("", description="Languages of a folder whose name does not tell them, such as en>de.")


class Letters:
    """The tokenizer of a folder that has none: letters are pieces. Such models transliterate; they know single words."""

    def encode(self, text: str) -> list[str]:
        """Letters."""
        return list(text)

    def decode(self, pieces: list[str]) -> str:
        """The letters again."""
        return "".join(pieces)


class OpusTranslator:
    """Translator over the models of one folder; of several each is loaded when it is asked for. Not thread-safe."""

    def __init__(self, folders: Mapping[str, Path], options: OpusOptions, device: str) -> None:
        self._folders, self._options, self._device = folders, options, device
        self._open: dict[str, tuple[Model, Pieces, Frame]] = {}

    def load_only(self) -> None:
        """Loads the model now where there is but one. Raises: EngineFailed, MissingWeights."""
        if len(self._folders) == 1:
            source, target = next(iter(self._folders)).split(">")
            self._model(source, target)

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order. Raises: UnsupportedLanguage; EngineFailed."""
        model, pieces, frame = self._model(batch.source, batch.target)
        return translated(batch, pieces, model, frame)

    def _model(self, source: str, target: str) -> tuple[Model, Pieces, Frame]:
        sides = [pair.split(">") for pair in self._folders]
        fit = languages.nearest(target, [b for a, b in sides if languages.matches(a, source)])
        pair = next((f"{a}>{b}" for a, b in sides if b == fit and languages.matches(a, source)), None)
        if pair is None:
            raise UnsupportedLanguage(f"opus-mt has no {source}>{target}", f"it translates: {', '.join(sorted(self._folders))}")
        if pair not in self._open:
            folder = self._folders[pair]
            frame = Frame(after=ends(folder), words=not (folder / "source.spm").exists())
            self._open[pair] = (Model(folder, self._options, self._device), _pieces(folder), frame)
        return self._open[pair]

    def close(self) -> None:
        """Frees all weights."""
        for model, _, _ in self._open.values():
            model.close()
        self._open.clear()


def _pieces(folder: Path) -> Pieces:
    if not (folder / "source.spm").is_file():
        return Letters()
    return SentencePieces(folder / "source.spm", folder / "target.spm")


@contextmanager
def _load(options: OpusOptions, weights: Weights, device: str) -> Generator[OpusTranslator]:
    available = _check(options)
    if not available.ready:
        raise BadSettings(available.reason, available.fix)
    known = MODELS.get(options.model)
    folders = {options.model.replace("-", ">"): weights[known.id]} if known else _folders(options)
    translator = OpusTranslator(folders, options, device)
    try:
        translator.load_only()
        yield translator
    finally:
        translator.close()


def _folders(options: OpusOptions) -> dict[str, Path]:
    """Folders of one's own by pair "en>de"."""
    folder = Path(options.model).expanduser()
    if not lacking(folder, NEEDED):
        pair = options.pair or _pair(folder.name)
        return {pair: folder} if pair else {}
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return {pair: path for path in inside if not lacking(path, NEEDED) and (pair := _pair(path.name))}


def _pair(name: str) -> str:
    """ "en>de" of a folder "opus-mt-en-de"; "" where its name tells nothing."""
    found = _PAIR.fullmatch(name)
    try:
        return f"{languages.parse(found[1])}>{languages.parse(found[2])}" if found else ""
    except UnsupportedLanguage:
        return ""


def _check(options: OpusOptions) -> Availability:
    if options.pair and not re.fullmatch(r"[A-Za-z-]+>[A-Za-z-]+", options.pair):
        return Availability(False, f"{options.pair!r} is no pair of languages", "write it like en>de")
    if options.model in MODELS:
        return READY
    folder = Path(options.model).expanduser()
    if not folder.is_dir():
        known = ", ".join(MODELS)
        return Availability(
            False, f"there is no opus-mt model or folder {options.model!r}", f"choose {known}, or give a folder"
        )
    if _folders(options):
        return READY
    lacks = lacking(folder, NEEDED)
    if not lacks:
        return Availability(False, f"the name of {folder.name} does not tell its languages", "name them: pair=en>de")
    fix = "convert a model: ct2-transformers-converter --model Helsinki-NLP/opus-mt-en-de --copy_files source.spm target.spm"
    return Availability(False, f"{folder.name} lacks {', '.join(lacks)}", f"{fix} --output_dir en-de")


def _version(options: OpusOptions) -> str:
    if options.model in MODELS:
        return ""
    return "; ".join(f"{pair} {digest(folder)}" for pair, folder in sorted(_folders(options).items()))


def _languages(options: OpusOptions) -> frozenset[str]:
    """The pair of the model, or all whose folders are there."""
    return frozenset({options.model.replace("-", ">")} if options.model in MODELS else _folders(options))


ENGINE = Engine(
    info=Info(
        kind="mt",
        name="opus-mt",
        summary="OPUS-MT on CTranslate2: a small, fast model for each pair of languages, offline",
        licence="MIT",
        homepage="https://github.com/Helsinki-NLP/Opus-MT",
        package="ctranslate2",
        memory_mib=(400, 400),
        devices=frozenset({"cpu", "cuda"}),
        batch=32,
    ),
    options=OpusOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    weights=lambda options: (MODELS[options.model],) if options.model in MODELS else (),
    models={mode: tuple(MODELS) for mode in ("low", "medium", "high")},
    environment=ENVIRONMENT,
)
