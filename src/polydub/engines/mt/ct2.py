"""What the translation engines on CTranslate2 share: the folder, the pieces of words, the search.

They work in the environment `ctranslate2`: the model and its tokenizer are all that is needed, neither torch nor transformers.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from polydub.engines.base import Batch, Environment, Options
from polydub.engines.mt.sentences import cut, joined, sentences
from polydub.errors import BadEngineOutput, EngineFailed, MissingWeights
from polydub.text.words import speakable

ENVIRONMENT = Environment("ctranslate2", "sentencepiece")
VOCABULARIES = ("shared_vocabulary.json", "shared_vocabulary.txt")
OWN_VOCABULARIES = ("source_vocabulary.json", "source_vocabulary.txt")
LONGEST = 200  # pieces of a sentence; models were trained on fewer than 512
AGAIN = "pull the weights again, or name another folder"


class SearchOptions(Options):
    """How the models search for a translation, and on what."""

    beam: int = Field(4, ge=1, le=16, description="Translations followed at once; more is slower and seldom better.")
    max_length: int = Field(256, ge=8, le=1024, description="Longest translation of one sentence, in pieces of words.")
    length_penalty: float = Field(1.0, ge=0, le=3, description="Above 1 favours longer translations, below 1 shorter ones.")
    compute_type: Literal["auto", "int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Precision of the arithmetic; auto takes int8 on a CPU, float16 with int8 weights on a GPU."
    )
    batch_pieces: int = Field(
        2048, ge=64, le=65536, description="Pieces of words in work at once.", json_schema_extra={"identity": False}
    )
    threads: int = Field(
        0, ge=0, le=256, description="Threads on a CPU; 0 takes all cores.", json_schema_extra={"identity": False}
    )


class Pieces(Protocol):
    """A tokenizer."""

    def encode(self, text: str) -> list[str]:
        """Pieces of words, without marks of begin and end."""
        ...

    def decode(self, pieces: list[str]) -> str:
        """The text of pieces."""
        ...


class SentencePieces:
    """SentencePiece models: one for both sides, or one for each."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = self._read(source)
        self._target = self._source if target == source else self._read(target)

    @staticmethod
    def _read(path: Path) -> Any:
        try:
            return importlib.import_module("sentencepiece").SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise EngineFailed(f"{path.name} of {path.parent.name} is no SentencePiece model", AGAIN) from error

    def encode(self, text: str) -> list[str]:
        """Pieces of words."""
        return list(self._source.encode(text, out_type=str))

    def decode(self, pieces: list[str]) -> str:
        """The text of pieces."""
        return str(self._target.decode(pieces)).strip()


class FastPieces:
    """A `tokenizer.json`, as conversions have it that lack the SentencePiece model."""

    def __init__(self, path: Path) -> None:
        try:  # of a damaged file the package raises no class of its own
            whole = "model" in json.loads(path.read_bytes())
        except (OSError, ValueError, TypeError):
            whole = False
        if not whole:
            raise EngineFailed(f"{path.name} of {path.parent.name} is no tokenizer", AGAIN)
        self._tokenizer: Any = importlib.import_module("tokenizers").Tokenizer.from_file(str(path))

    def encode(self, text: str) -> list[str]:
        """Pieces of words."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)

    def decode(self, pieces: list[str]) -> str:
        """The text of pieces, whose mark of a blank is U+2581."""
        return "".join(pieces).replace("\u2581", " ").strip()


@dataclass(frozen=True)
class Frame:
    """What a model wants: marks around the pieces of a sentence, and before those of its translation; `words`: single words."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    words: bool = False


class Model:
    """A CTranslate2 model with its tokenizer. Not thread-safe."""

    def __init__(self, folder: Path, options: SearchOptions, device: str) -> None:
        package: Any = importlib.import_module("ctranslate2")
        kind, _, number = device.partition(":")
        if kind == "cuda":
            _preload_cuda()
        compute_type = options.compute_type
        if compute_type == "auto":
            compute_type = "int8" if kind == "cpu" else "int8_float16"
        threads = options.threads or len(os.sched_getaffinity(0))
        self._options, self._folder = options, folder
        try:
            self._translator = package.Translator(
                str(folder), device=kind, device_index=int(number or 0), compute_type=compute_type,
                inter_threads=1, intra_threads=threads,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            text = f"CTranslate2 cannot load {folder.name} as {compute_type} on {device}: {error}"
            raise EngineFailed(text, f"{AGAIN}, or choose another compute_type or device") from error

    def search(self, rows: Sequence[list[str]], prefix: Sequence[str] = ()) -> list[list[str]]:
        """The best translation of each row, without the prefix that it was made to begin with.

        Raises: EngineFailed, as when the memory of a GPU is too small even for one row.
        """
        if not rows:
            return []
        options = self._options
        size = options.batch_pieces
        while True:
            try:
                found = self._translator.translate_batch(
                    list(rows), target_prefix=[list(prefix)] * len(rows) if prefix else None, max_batch_size=size,
                    batch_type="tokens", beam_size=options.beam, max_decoding_length=options.max_length,
                    length_penalty=options.length_penalty, disable_unk=True, max_input_length=0,
                )  # fmt: skip
                return [list(one.hypotheses[0][len(prefix) :]) for one in found]
            except RuntimeError as error:
                if "out of memory" not in str(error).lower() or size <= 64:
                    text = f"CTranslate2 cannot translate with {self._folder.name}: {error}"
                    raise EngineFailed(text, "choose a smaller model, or the device cpu") from error
                size //= 4

    def close(self) -> None:
        """Frees the weights."""
        self._translator.unload_model()


def _preload_cuda() -> None:
    """The wheel of CTranslate2 looks for cuBLAS where the system has libraries, not in the package that brings it."""
    spec = importlib.util.find_spec("nvidia.cublas")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("libcublasLt.so.12", "libcublas.so.12"):
            path = Path(folder, "lib", name)
            if path.exists():
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def translated(batch: Batch, pieces: Pieces, model: Model, frame: Frame) -> list[str]:
    """One text for each request, in their order: sentence by sentence, all in one search.

    Blank text gives "", text without a letter or digit stays as it is. Raises: EngineFailed; BadEngineOutput where nothing
    is left of a text.
    """
    rows: list[list[str]] = []
    owners: list[int] = []
    for n, request in enumerate(batch.requests):
        for part in _parts(request.text, pieces, frame.words):
            rows.append([*frame.before, *pieces.encode(part), *frame.after])
            owners.append(n)
    answers: list[list[str]] = [[] for _ in batch.requests]
    for owner, found in zip(owners, model.search(rows, frame.prefix), strict=True):
        answers[owner].append(pieces.decode(found))
    texts: list[str] = []
    for request, parts in zip(batch.requests, answers, strict=True):
        text = joined([part for part in parts if part])
        plain = " ".join(request.text.split())
        if parts and not text:
            error = BadEngineOutput(f"the translation of line {request.id} is empty", "translate it with another engine")
            error.line = request.id
            raise error
        texts.append(text if parts else plain)
    return texts


def _parts(text: str, pieces: Pieces, words: bool) -> list[str]:
    """What is translated at once: sentences, or shorter where one is too long."""
    plain = " ".join(text.encode("utf-8", "replace").decode().split())
    if not speakable(plain):
        return []
    whole = plain.split() if words else sentences(plain)
    return [part for one in whole for part in cut(one, lambda t: len(pieces.encode(t)), LONGEST) if speakable(part)]


def lacking(folder: Path, needed: Sequence[Sequence[str]]) -> list[str]:
    """Files that a folder lacks; of each group one must be there."""
    return [group[0] for group in needed if not any((folder / name).is_file() for name in group)]


def ends(folder: Path) -> tuple[str, ...]:
    """The mark that the end of a sentence needs in front of a model: none where CTranslate2 adds it, as `config.json` says, or
    where there is no such file, as in conversions of OpenNMT. Raises: MissingWeights for a file that cannot be read.
    """
    path = folder / "config.json"
    if not path.exists():
        return ()
    try:
        found = json.loads(path.read_bytes())
        return () if found.get("add_source_eos") else (str(found.get("eos_token", "</s>")),)
    except (OSError, ValueError, AttributeError) as error:
        raise MissingWeights(f"config.json of {folder.name} cannot be read", AGAIN) from error


def vocabulary(folder: Path) -> frozenset[str]:
    """The words of a model's shared vocabulary, or of the target's. Raises: MissingWeights."""
    for name in (*VOCABULARIES, "target_vocabulary.json", "target_vocabulary.txt"):
        try:
            text = (folder / name).read_text("utf-8")
        except (OSError, ValueError):
            continue
        return frozenset(_words(name, text))
    raise MissingWeights(f"{folder.name} has no vocabulary that can be read", AGAIN)


def _words(name: str, text: str) -> list[str]:
    if not name.endswith(".json"):
        return text.removesuffix("\n").split("\n")
    try:
        return [str(word) for word in json.loads(text)]
    except (TypeError, ValueError) as error:
        raise MissingWeights(f"{name} is damaged", AGAIN) from error


def digest(folder: Path) -> str:
    """A folder of one's own, by its small files and both ends of its weights; "" where it lacks them."""
    found = sha256()
    model = folder / "model.bin"
    try:
        for path in sorted(path for path in folder.iterdir() if path.is_file() and path != model):
            found.update(path.name.encode() + b"\0" + path.read_bytes()[: 2**22])
        with model.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            for offset in (0, max(0, length - 2**20)):
                file.seek(offset)
                found.update(file.read(2**20))
    except OSError:
        return ""
    return f"folder {found.hexdigest()[:16]} of {length}"
