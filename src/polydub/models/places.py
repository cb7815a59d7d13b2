"""Where a model lies on disk, what of it is there, and whether it is what was promised."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from hashlib import file_digest, sha1, sha256
from pathlib import Path
from typing import Any, cast

from polydub.engines.base import Weight, WeightFile

HUB, WHEEL = "hub:", "wheel:"
MANIFEST = "polydub.json"
PIECE = 1 << 20
_ENDS = 1 << 16


class Digest:
    """What a file's bytes hash to, as they pass.

    `WeightFile.sha256` holds 64 digits, or 40: those of git, by which the hub names small files (sha1 of a head and the
    content), or none, where nobody has promised any.
    """

    def __init__(self, file: WeightFile) -> None:
        self._wanted = file.sha256
        self._sha256 = sha256()
        self._git = sha1(b"blob %d\0" % file.bytes, usedforsecurity=False) if len(file.sha256) == 40 else None

    def update(self, piece: bytes) -> None:
        """The next bytes."""
        self._sha256.update(piece)
        if self._git:
            self._git.update(piece)

    @property
    def sha256(self) -> str:
        """Of all that has passed."""
        return self._sha256.hexdigest()

    @property
    def right(self) -> bool:
        """Whether it is as promised."""
        found = self._git.hexdigest() if self._git else self.sha256
        return not self._wanted or found == self._wanted


def length(path: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def stamp(path: Path) -> list[int]:
    """What changes when a file does; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def wrong(path: Path, file: WeightFile) -> str:
    """What is wrong with a file, empty when nothing is. Reads all of it, if anybody has promised what it holds."""
    there = length(path)
    if there < 0:
        return f"{path} is missing"
    if there != file.bytes:
        return f"{path} has {there} bytes instead of {file.bytes}"
    if not file.sha256:
        return ""
    digest = Digest(file)
    try:
        with path.open("rb") as opened:
            while piece := opened.read(PIECE):
                digest.update(piece)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return "" if digest.right else f"{path} holds other bytes than it should"


def sha256_of(path: Path) -> str:
    """Of a file. Raises: OSError."""
    with path.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def places(weight: Weight, home: Path) -> Iterator[Path]:
    """Where a model may lie: in its own folder, or in the cache of the Hugging Face hub."""
    yield home / weight.id
    if weight.source.startswith(HUB):  # the layout is documented: huggingface_hub, "Understand caching"
        repository = Path(hub().HF_HUB_CACHE) / "--".join(("models", *weight.source.removeprefix(HUB).split("/")))
        revision = weight.revision or _text(repository / "refs/main")
        if revision:
            yield repository / "snapshots" / revision


def hub() -> Any:
    """The hub's own reading of HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE; this part of it is cheap to import."""
    from huggingface_hub import constants

    return constants


def held(weight: Weight, place: Path) -> Weight | None:
    """What a folder should hold: a pinned model as it is pinned, another one as the folder's manifest or, without one, its
    files say. None where it holds another revision, or not all that is needed.
    """
    manifest = read_manifest(place)
    if weight.files:
        promised = manifest.get("files")
        same = promised is None or (promised, manifest.get("revision")) == (listed(weight), weight.revision)
        return weight if same else None
    if manifest:
        return _as_pulled(weight, manifest)
    return _as_found(weight, place)


def _as_pulled(weight: Weight, manifest: Mapping[str, Any]) -> Weight | None:
    if (manifest.get("source"), manifest.get("patterns")) != (weight.source, list(weight.patterns)):
        return None
    try:
        files = tuple(WeightFile(str(f["name"]), str(f["sha256"]), int(f["bytes"])) for f in manifest["files"])
        return replace(weight, revision=str(manifest["revision"]), files=files) if files else None
    except (KeyError, TypeError, ValueError):
        return None


def _as_found(weight: Weight, place: Path) -> Weight | None:
    """Of files that somebody else put there. In the hub's cache they are links to what is named by its hash."""
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    patterns = weight.patterns or ("*",)
    if not all(any(fnmatchcase(name, pattern) for name in names) for pattern in patterns):
        return None
    if not _shards(place, names) <= set(names):
        return None
    files = [WeightFile(name, _blob(place / name), length(place / name)) for name in names if wanted(weight, name)]
    cached = place.parent.name == "snapshots"
    return replace(weight, revision=place.name if cached else "", files=tuple(files))


def wanted(weight: Weight, name: str) -> bool:
    """Whether a file of a repository belongs to the model."""
    return not weight.patterns or any(fnmatchcase(name, pattern) for pattern in weight.patterns)


def _shards(place: Path, names: list[str]) -> set[str]:
    """Files that the index of a model in several parts names."""
    found: set[str] = set()
    for name in names:
        if name.endswith(".index.json"):
            parts = read_json(place / name).get("weight_map")
            folder = name.rpartition("/")[0]
            if isinstance(parts, Mapping):
                values = cast("Mapping[str, object]", parts).values()
                found |= {f"{folder}/{part}".lstrip("/") for part in values}
    return found


def _blob(path: Path) -> str:
    name = path.readlink().name if path.is_symlink() else ""
    return name if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name) else ""


def revision(weight: Weight, place: Path) -> str:
    """By which a result that this folder's weights made is known: the pinned revision; the one that was pulled; of files put
    there by hand a hash of their names, lengths and ends.
    """
    found = held(weight, place)
    if found and found.revision:
        return found.revision
    digest = sha256()
    for path in sorted(place.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(place).as_posix()} {length(path)}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, length(path) - _ENDS))
                digest.update(file.read(_ENDS))
    return f"own {digest.hexdigest()[:16]}"


def listed(weight: Weight) -> list[dict[str, Any]]:
    """The files, as a manifest has them."""
    return [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in weight.files]


def write_manifest(weight: Weight, place: Path) -> None:
    """Says what a folder holds."""
    manifest = {"id": weight.id, "revision": weight.revision, "source": weight.source, "licence": weight.licence}
    manifest |= {"commercial_use": weight.commercial_use, "patterns": list(weight.patterns), "files": listed(weight)}
    (place / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def read_manifest(place: Path) -> Mapping[str, Any]:
    """A folder's manifest; empty where there is none, as when a person put the files there."""
    return read_json(place / MANIFEST)


def read_json(path: Path) -> Mapping[str, Any]:
    """An object in a file; empty where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _text(path: Path) -> str:
    """A revision written in a file; "" where there is none."""
    try:
        found = path.read_text().strip()
    except (OSError, ValueError):
        return ""
    return found if re.fullmatch("[0-9a-f]{40}", found) else ""
