"""Argos Translate: its packages (.argosmodel), run as the program argos-translate runs them but without it.

A package is a zip archive, or the folder that it unpacks to: a CTranslate2 model, a SentencePiece model and metadata.json.
argostranslate itself brings Stanza, spaCy and torch, a gigabyte whose one use is to find the ends of sentences; polydub finds
these itself, so that the small environment `ctranslate2` is enough. A pair without a package is reached through one other
language, as argos-translate does. Packages of the old kind (bpe.model) are refused.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path, PurePosixPath

from pydantic import Field

from polydub import languages
from polydub.engines.base import READY, Availability, Batch, Engine, Info, Weights
from polydub.engines.mt.ct2 import ENVIRONMENT, Frame, Model, SearchOptions, SentencePieces, digest, translated
from polydub.errors import BadSettings, EngineFailed, UnsupportedLanguage

HOME = "~/.local/share/argos-translate/packages"  # where the program installs them
GET = "get packages from https://www.argosopentech.com/argospm/index, or with: argospm install translate-en_es"
# Codes of Argos Translate that are no BCP-47 tags.
TAGS = {"zt": "zh-Hant", "pb": "pt-BR"}
UNPACKED = 4_000_000_000  # bytes that a package may unpack to; the largest takes 0.4 GB
SPM = "sentencepiece.model"


class ArgosOptions(SearchOptions):
    """Options of Argos Translate."""

    model: str = Field(
        HOME, min_length=1, description="An .argosmodel file, a package's folder, or a folder in which several of them lie."
    )
    length_penalty: float = Field(0.2, ge=0, le=3, description="Above 1 favours longer translations, below 1 shorter ones.")


@dataclass(frozen=True)
class Package:
    """One package: its languages as BCP-47, where it lies, the word that its translations begin with ("" = none)."""

    source: str
    target: str
    path: Path
    prefix: str = ""


def packages(place: Path) -> tuple[Package, ...]:
    """The packages that can be used: `place` itself, or those inside it. One for each pair, the last by name."""
    files = sorted(place.iterdir()) if place.is_dir() and not (place / "metadata.json").exists() else [place]
    found = {(p.source, p.target): p for path in files if (p := _package(path))}
    return tuple(found.values())


def _package(path: Path) -> Package | None:
    try:
        told = json.loads(_member(path, "metadata.json"))
        usable = told.get("type", "translate") == "translate" and _has(path, SPM)
        codes = [str(told[key]) for key in ("from_code", "to_code")]
        tags = [languages.parse(TAGS.get(code, code)) for code in codes]
        return Package(tags[0], tags[1], path, str(told.get("target_prefix", ""))) if usable else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile, UnsupportedLanguage):
        return None


def _member(path: Path, name: str) -> bytes:
    """A small file of a package. Raises: OSError, KeyError, BadZipFile."""
    if path.is_dir():
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(_inside(archive, name))


def _inside(archive: zipfile.ZipFile, name: str) -> str:
    """A member of an archive, whose one folder has a name of its own. Raises: KeyError."""
    for member in archive.namelist():
        if PurePosixPath(member).parts[1:] == PurePosixPath(name).parts:
            return member
    raise KeyError(name)


def _has(path: Path, name: str) -> bool:
    if path.is_dir():
        return (path / name).is_file()
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(member).parts[1:] == (name,) for member in archive.namelist())


def _unpacked(path: Path, into: Path) -> Path:
    """The folder of a package. Raises: EngineFailed for an archive that is damaged, too large, or leads out of its folder."""
    if path.is_dir():
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > UNPACKED:
                raise EngineFailed(f"{path.name} unpacks to more than {UNPACKED // 10**9} GB", GET)
            root = PurePosixPath(_inside(archive, "metadata.json")).parts[0]
            wanted = [m for m in archive.namelist() if PurePosixPath(m).parts[1:2] in {("model",), (SPM,)}]
            archive.extractall(into, wanted)  # which drops ".." and what makes a path absolute
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise EngineFailed(f"{path.name} cannot be unpacked: {error}", GET) from error
    return into / root


@cache
def _ways(found: tuple[Package, ...]) -> Mapping[str, tuple[Package, ...]]:
    """Packages to go through, by pair: one, or two by way of another language, English before others."""
    ways: dict[str, tuple[Package, ...]] = {f"{p.source}>{p.target}": (p,) for p in found}
    steps = [(a, b) for a in found for b in found if a.target == b.source and a.source != b.target]
    for a, b in sorted(steps, key=lambda step: (step[0].target != "en", step[0].target)):
        ways.setdefault(f"{a.source}>{b.target}", (a, b))
    return ways


class ArgosTranslator:
    """Translator over packages, each loaded when it is asked for. Not thread-safe."""

    def __init__(self, options: ArgosOptions, device: str, scratch: Path) -> None:
        self._options, self._device, self._scratch = options, device, scratch
        self._ways = _ways(packages(Path(options.model).expanduser()))
        self._open: dict[Package, tuple[Model, SentencePieces]] = {}

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order. Raises: UnsupportedLanguage; EngineFailed."""
        texts = [request.text for request in batch.requests]
        for package in self._way(batch.source, batch.target):
            model, pieces = self._package(package)
            requests = tuple(replace(r, text=text) for r, text in zip(batch.requests, texts, strict=True))
            prefix = (package.prefix,) if package.prefix else ()
            texts = translated(replace(batch, requests=requests), pieces, model, Frame(prefix=prefix))
            texts = [" ".join(text.replace("\u2581", " ").split()) for text in texts]
        return texts

    def _way(self, source: str, target: str) -> tuple[Package, ...]:
        sides = [pair.split(">") for pair in self._ways]
        fit = languages.nearest(target, [b for a, b in sides if languages.matches(a, source)])
        best = languages.nearest(source, [a for a, b in sides if b == fit]) if fit else None
        if best is None:
            raise UnsupportedLanguage(f"argos has no packages for {source}>{target}", GET)
        return self._ways[f"{best}>{fit}"]

    def _package(self, package: Package) -> tuple[Model, SentencePieces]:
        if package not in self._open:
            folder = _unpacked(package.path, self._scratch / str(len(self._open)))
            pieces = SentencePieces(folder / SPM, folder / SPM)
            self._open[package] = (Model(folder / "model", self._options, self._device), pieces)
        return self._open[package]

    def close(self) -> None:
        """Frees all weights."""
        for model, _ in self._open.values():
            model.close()
        self._open.clear()


@contextmanager
def _load(options: ArgosOptions, weights: Weights, device: str) -> Generator[ArgosTranslator]:
    del weights
    available = _check(options)
    if not available.ready:
        raise BadSettings(available.reason, available.fix)
    with tempfile.TemporaryDirectory(prefix="argos-") as scratch:
        translator = ArgosTranslator(options, device, Path(scratch))
        try:
            yield translator
        finally:
            translator.close()


def _check(options: ArgosOptions) -> Availability:
    place = Path(options.model).expanduser()
    if not place.exists():
        what = "no package of Argos Translate is installed" if options.model == HOME else f"there is no {options.model!r}"
        return Availability(False, what, GET)
    if not packages(place):
        old = place.is_dir() and any(place.rglob("bpe.model"))
        why = "only packages of the old kind (bpe.model)" if old else "no package of Argos Translate"
        return Availability(False, f"{place.name} holds {why}", GET)
    return READY


def _languages(options: ArgosOptions) -> frozenset[str]:
    """All pairs that the packages give, directly or by way of a third language."""
    return frozenset(_ways(packages(Path(options.model).expanduser())))


def _version(options: ArgosOptions) -> str:
    """The packages by what their folders or archives hold."""
    told: list[str] = []
    for package in packages(Path(options.model).expanduser()):
        content = digest(package.path / "model") if package.path.is_dir() else _ends_of(package.path)
        told.append(f"{package.source}>{package.target} {content}")
    return "; ".join(sorted(told))


def _ends_of(path: Path) -> str:
    """An archive by its list of contents, which has their lengths and checksums."""
    with zipfile.ZipFile(path) as archive:
        rows = [f"{member.filename} {member.file_size} {member.CRC}" for member in archive.infolist()]
    return f"archive {sha256(chr(10).join(rows).encode()).hexdigest()[:16]}"


def _remarks(options: ArgosOptions, pair: str) -> tuple[str, ...]:
    way = _ways(packages(Path(options.model).expanduser())).get(pair, ())
    through = [languages.name(a.target) for a, _ in pairwise(way)]
    return (f"it goes by way of {through[0]}, where details may be lost",) if through else ()


ENGINE = Engine(
    info=Info(
        kind="mt",
        name="argos",
        summary="Packages of Argos Translate on CTranslate2: small models that one puts there oneself, offline",
        licence="MIT",
        homepage="https://github.com/argosopentech/argos-translate",
        package="ctranslate2",
        memory_mib=(500, 500),
        devices=frozenset({"cpu", "cuda"}),
        batch=32,
    ),
    options=ArgosOptions,
    load=_load,
    check=_check,
    languages=_languages,
    version=_version,
    remarks=_remarks,
    environment=ENVIRONMENT,
)
