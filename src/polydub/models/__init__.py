"""Model weights on disk: which there are, where they lie, how they get there, whether they are whole.

A model is a folder `<home>/<id>/` with its files by name and `polydub.json`, which says what they are. Files put there by
hand, without it, serve as well. What is being pulled lies in `<home>/.partial/<id>/`, is continued after an interruption,
and is renamed into place when every hash agrees. A model of the Hugging Face hub is also taken from that hub's own cache,
in which nothing is ever changed.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from polydub.engines import registry
from polydub.engines.base import KINDS, Engine, Weight
from polydub.errors import BadSettings, StoreError
from polydub.models.fetching import HUB, WHEEL, Pull, Tell, length, size, wrong

__all__ = ["Known", "Tell", "catalogue", "described", "find", "known", "pull", "remove", "size", "verify"]
MANIFEST = "polydub.json"
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Known:
    """A model that some engine uses. `engines`: by which, such as "asr faster-whisper"."""

    weight: Weight
    engines: tuple[str, ...]


def catalogue() -> tuple[Known, ...]:
    """Every model of every registered engine, each once; by engine, small ones first."""
    weights: dict[str, Weight] = {}
    users: dict[str, dict[str, None]] = {}
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            for weight in _weights_of(engine) if isinstance(engine, Engine) else ():
                weights.setdefault(weight.id, weight)
                users.setdefault(weight.id, {})[f"{kind} {name}"] = None
    found = (Known(weight, tuple(users[id])) for id, weight in weights.items())
    return tuple(sorted(found, key=lambda known: (known.engines[0], known.weight.bytes)))


def _weights_of(engine: Engine) -> Iterator[Weight]:
    """Of the model that each mode names, and of the engine as it is without options."""
    names = dict.fromkeys(name for several in engine.models.values() for name in several)
    for values in ({}, *({"model": name} for name in names)):
        try:
            options = registry.build_options(engine, values)
        except BadSettings:  # it has an option that must be given: an address, say
            continue
        yield from engine.weights(options)


def known(id: str) -> Known:
    """The model `id` of the catalogue. Raises: BadSettings, naming the nearest."""
    found = {one.weight.id: one for one in catalogue()}
    if id not in found:
        near = difflib.get_close_matches(id, list(found), n=3, cutoff=0.4)
        listed = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(found) or 'none'}"
        raise BadSettings(f"there is no model {id!r}", f"{listed} (polydub models list)")
    return found[id]


def described(weight: Weight) -> str:
    """What a person should know before pulling it: "faster-whisper-small, 486 MB, MIT"."""
    return f"{weight.id}, {size(weight.bytes)}, {weight.licence}" + (
        "" if weight.commercial_use else ", not for commercial use"
    )


def find(weight: Weight, home: Path) -> Path | None:
    """The folder that holds all files of a model with the right lengths; None when there is none. Reads no file's content.

    Looks into `<home>/<id>/`, then into the cache of the Hugging Face hub.
    """
    return next((place for place in _places(weight, home) if _whole(weight, place)), None)


def verify(weight: Weight, home: Path) -> list[str]:
    """What is wrong with a model on disk, a sentence for each file, by reading all of it; empty when every hash agrees."""
    there = (place for place in _places(weight, home) if place.is_dir())
    place = find(weight, home) or next(there, None)
    if place is None:
        return [f"{weight.id} is not here"]
    other = [] if _said(place, "revision") in (None, weight.revision) else [f"{place} holds another revision"]
    return other + [text for file in weight.files if (text := wrong(place / file.name, file))]


def remove(weight: Weight, home: Path) -> int:
    """Deletes a model, and what was pulled of it so far, from `home`; tells how many bytes were freed.

    Raises: BadSettings when it is not there, also when it lies in the hub's cache, which is not ours; StoreError.
    """
    mine = [place for place in (home / weight.id, home / PARTIAL / weight.id) if place.exists()]
    if not mine:
        elsewhere = find(weight, home)
        if elsewhere is None:
            raise BadSettings(f"{weight.id} is not here", "see what is: polydub models list")
        repository = weight.source.removeprefix(HUB)
        raise BadSettings(
            f"{weight.id} lies in the Hugging Face cache ({elsewhere}), which other programs use too",
            f"to delete it there: hf cache rm model/{repository}",
        )
    with _in_order(weight, home), _alone(weight, home):
        freed = sum(path.lstat().st_size for place in mine for path in place.rglob("*") if path.is_file())
        for place in mine:
            _delete(place)
    return freed


def pull(weight: Weight, home: Path, progress: Tell, offline: bool = False) -> Path:
    """Fetches a model, unless it is here and undamaged, and returns its folder. Continues what was interrupted.

    `progress` gets the bytes that are here and those in all; a package of an index counts when it has come.
    Raises: BadSettings when it is not here and `offline`; MissingWeights or MissingSecret when it cannot be fetched;
    MissingProgram when pip is needed and absent; StoreError for a wrong hash or a full disk.
    """
    intact = _intact(weight, home)
    if intact is None:
        forbids = "--offline" if offline else "HF_HUB_OFFLINE"
        if offline or (weight.source.startswith(HUB) and _hub().is_offline_mode()):
            raise BadSettings(
                f"{weight.id} is not here, and {forbids} forbids to download it",
                f"leave out {forbids}, or put its files into {home / weight.id}",
            )
        with _in_order(weight, home), _alone(weight, home):
            intact = _intact(weight, home) or _fetched(weight, home, progress)
    progress(weight.bytes, weight.bytes)
    return intact


def _places(weight: Weight, home: Path) -> Iterator[Path]:
    """Where a model may lie."""
    yield home / weight.id
    if weight.source.startswith(HUB):  # the layout is documented: huggingface_hub, "Understand caching"
        repository = "--".join(("models", *weight.source.removeprefix(HUB).split("/")))
        yield Path(_hub().HF_HUB_CACHE) / repository / "snapshots" / weight.revision


def _hub() -> Any:
    """The hub's own reading of HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE; this part of it is cheap to import."""
    from huggingface_hub import constants

    return constants


def _whole(weight: Weight, place: Path) -> bool:
    written = _said(place, "files")
    same = written is None or (written, _said(place, "revision")) == (_files(weight), weight.revision)
    return same and all(length(place / file.name) == file.bytes for file in weight.files)


def _intact(weight: Weight, home: Path) -> Path | None:
    whole = (place for place in _places(weight, home) if _whole(weight, place))
    return next((p for p in whole if not any(wrong(p / file.name, file) for file in weight.files)), None)


def _files(weight: Weight) -> list[dict[str, Any]]:
    return [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in weight.files]


def _said(place: Path, key: str) -> Any:
    """An entry of a folder's manifest; None where there is none, as when a person put the files there."""
    try:
        found = json.loads((place / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return cast("Mapping[str, Any]", found).get(key) if isinstance(found, Mapping) else None


@contextmanager
def _alone(weight: Weight, home: Path) -> Generator[None]:
    """Holds the model's lock; waits while another process pulls it."""
    lock = home / PARTIAL / f"{weight.id}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def _in_order(weight: Weight, home: Path) -> Generator[None]:
    """Says what the system refuses in one sentence. Raises: StoreError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "free some space, check its permissions, or choose another folder with --models"
        raise StoreError(f"{weight.id} cannot be kept in {home}: {reason}", hint) from error


def _delete(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)


def _fetched(weight: Weight, home: Path, tell: Tell) -> Path:
    """Fetches what is lacking into the partial folder, and puts that in place."""
    work, final = home / PARTIAL / weight.id, home / weight.id
    work.mkdir(exist_ok=True)
    for file in weight.files:  # what is good of a damaged or older folder need not come again
        if wrong(work / file.name, file) and not wrong(final / file.name, file):
            (work / file.name).parent.mkdir(parents=True, exist_ok=True)
            (final / file.name).replace(work / file.name)
    pulling = Pull(weight, work, tell)
    free = shutil.disk_usage(work).free
    if pulling.lacking() > free:
        text = f"{weight.id} takes {size(pulling.lacking())} more, but {home} has only {size(free)} free"
        raise StoreError(text, "free some space, or choose another folder with --models")
    if weight.source.startswith(WHEEL):
        pulling.from_wheel()
    else:
        pulling.from_web()
    _tidy(weight, work)
    old = work.with_name(f"{weight.id}.old")
    _delete(old)
    if final.exists() or final.is_symlink():
        final.rename(old)
    work.rename(final)
    _delete(old)
    return final


def _tidy(weight: Weight, work: Path) -> None:
    """Leaves the model's files and a manifest."""
    wanted = {work / file.name for file in weight.files}
    for path in sorted(work.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
    manifest = {"id": weight.id, "revision": weight.revision, "source": weight.source, "licence": weight.licence}
    manifest |= {"commercial_use": weight.commercial_use, "files": _files(weight)}
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
