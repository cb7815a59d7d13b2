"""Model weights on disk: which there are, where they lie, how they get there, whether they are whole.

A model is a folder `<home>/<id>/` with its files by name and `polydub.json`, which says what they are: what polydub has
pinned, or what the hub promised when it was pulled. Files put there by hand, without it, serve as well. What is being
pulled lies in `<home>/.partial/<id>/`, is continued after an interruption, and is renamed into place when every hash agrees.
A model of the Hugging Face hub is also taken from that hub's own cache, in which nothing is ever changed.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from polydub.engines import registry
from polydub.engines.base import KINDS, Engine, Weight
from polydub.errors import BadSettings, StoreError
from polydub.models.fetching import Pull, Tell, size
from polydub.models.places import (
    HUB,
    held,
    hub,
    length,
    listed,
    places,
    read_json,
    revision,
    stamp,
    write_manifest,
    wrong,
)
from polydub.models.receiving import Patience

__all__ = [
    "Known", "Patience", "Tell", "catalogue", "comparable", "described", "find", "known", "note_intact", "pull", "remove",
    "require_intact", "revision", "size", "sized", "verify",
]  # fmt: skip
PARTIAL, CHECKED = ".partial", ".checked"
PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Known:
    """A model that some engine uses.

    Attributes: engines: by which, such as "asr faster-whisper". languages: BCP-47 tags that it has; () = any, or not known.
    """

    weight: Weight
    engines: tuple[str, ...]
    languages: tuple[str, ...] = ()


def catalogue() -> tuple[Known, ...]:
    """Every model of every registered engine, each once; by engine, small ones first."""
    found: dict[str, Known] = {}
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            for weight, languages in _weights_of(engine) if isinstance(engine, Engine) else ():
                earlier = found.get(weight.id) or Known(weight, (), languages)
                found[weight.id] = replace(earlier, engines=tuple(dict.fromkeys((*earlier.engines, f"{kind} {name}"))))
    return tuple(sorted(found.values(), key=lambda known: (known.engines[0], known.weight.bytes)))


def _weights_of(engine: Engine) -> Iterator[tuple[Weight, tuple[str, ...]]]:
    """Of the model that each mode names, and of the engine as it is without options; with the engine's languages then."""
    names = dict.fromkeys(name for several in engine.models.values() for name in several)
    for values in ({}, *({"model": name} for name in names)):
        try:
            options = registry.build_options(engine, values)
        except BadSettings:  # it has an option that must be given: an address, say
            continue
        for weight in engine.weights(options):
            yield weight, weight.languages or tuple(sorted(engine.languages(options) or ()))


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
    return f"{weight.id}, {sized(weight)}, {weight.licence}" + ("" if weight.commercial_use else ", not for commercial use")


def sized(weight: Weight) -> str:
    """What pulling it takes: "486 MB", "about 3.1 GB" of a model that is not pinned."""
    return size(weight.bytes) if weight.files else f"about {size(weight.bytes)}" if weight.bytes else "size not known"


def find(weight: Weight, home: Path) -> Path | None:
    """The folder that holds all files of a model with the right lengths; None when there is none. Reads no weights.

    Looks into `<home>/<id>/`, then into the cache of the Hugging Face hub. Of a model that is not pinned any commit serves;
    in a folder without a manifest, and in the cache, there must be a file for each of its patterns.
    """
    return next((place for place in places(weight, home) if _whole(weight, place)), None)


def require_intact(weight: Weight, place: Path, home: Path) -> None:
    """Raises: StoreError unless the bytes of a model in `place` are as promised.

    They are read once; what was found right is looked at again only when a file's length, time or inode has changed.
    """
    if read_json(home / CHECKED / f"{weight.id}.json") == _seen(weight, place):
        return
    promised = held(weight, place) or weight
    problems = [text for file in promised.files if (text := wrong(place / file.name, file))]
    if problems:
        raise StoreError(f"{weight.id} is damaged: {problems[0]}", f"polydub models pull {weight.id}")
    note_intact(weight, place, home)


def note_intact(weight: Weight, place: Path, home: Path) -> None:
    """Remembers that the bytes of a model were found right; on a disk that cannot be written they are read each time."""
    note = home / CHECKED / f"{weight.id}.json"
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f"{note.name}.{os.getpid()}")
        part.write_text(json.dumps(_seen(weight, place)))
        part.replace(note)


def _seen(weight: Weight, place: Path) -> dict[str, object]:
    """What is promised of a model's files, and by what a changed one is known."""
    promised = held(weight, place) or weight
    stamps = {file.name: stamp(place / file.name) for file in promised.files}
    return {"place": str(place), "promised": listed(promised), "stamps": stamps}


def verify(weight: Weight, home: Path) -> list[str]:
    """What is wrong with a model on disk, a sentence for each file, by reading all of it; empty when every hash agrees, and
    for what nobody has promised: see `comparable`.
    """
    there = (place for place in places(weight, home) if place.is_dir())
    place = find(weight, home) or next(there, None)
    if place is None:
        return [f"{weight.id} is not here"]
    promised = held(weight, place)
    if promised is None:
        lacks = "holds another revision" if weight.files else "lacks some of the model's files"
        return [f"{place} {lacks}", *(text for file in weight.files if (text := wrong(place / file.name, file)))]
    return [text for file in promised.files if (text := wrong(place / file.name, file))]


def comparable(weight: Weight, place: Path) -> bool:
    """Whether hashes are known of what lies in a folder; not so of a model that is not pinned and was put there by hand."""
    promised = held(weight, place)
    return promised is None or all(file.sha256 for file in promised.files)


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


def pull(weight: Weight, home: Path, progress: Tell, offline: bool = False, patience: Patience = PATIENCE) -> Path:
    """Fetches a model, unless it is here and undamaged, and returns its folder. Continues what was interrupted.

    Of a model that is not pinned the newest commit is fetched, with the hashes that the hub tells; what is here stays.
    `progress` gets the bytes that are here and those in all; a package of an index counts when it has come.
    Raises: BadSettings when it is not here and `offline`; MissingWeights or MissingSecret when it cannot be fetched;
    MissingProgram when pip is needed and absent; StoreError for a wrong hash or a full disk.
    """
    intact = _intact(weight, home)
    if intact is None:
        forbids = "--offline" if offline else "HF_HUB_OFFLINE"
        if offline or (weight.source.startswith(HUB) and hub().is_offline_mode()):
            raise BadSettings(
                f"{weight.id} is not here, and {forbids} forbids to download it",
                f"leave out {forbids}, or put its files into {home / weight.id}",
            )
        with _in_order(weight, home), _alone(weight, home):
            intact = _intact(weight, home) or _fetched(Pull(weight, home / PARTIAL / weight.id, progress, patience), home)
    if intact.parent == home:  # the hub's cache is looked at when it is used
        note_intact(weight, intact, home)
    promised = held(weight, intact) or weight
    progress(promised.bytes, promised.bytes)
    return intact


def _whole(weight: Weight, place: Path) -> bool:
    promised = held(weight, place)
    return promised is not None and all(length(place / file.name) == file.bytes for file in promised.files)


def _intact(weight: Weight, home: Path) -> Path | None:
    for place in places(weight, home):
        promised = held(weight, place)
        if promised and not any(wrong(place / file.name, file) for file in promised.files):
            return place
    return None


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


def _fetched(pulling: Pull, home: Path) -> Path:
    """Fetches what is lacking into the partial folder, and puts that in place."""
    work, final = pulling.work, home / pulling.weight.id
    work.mkdir(exist_ok=True)
    pulling.fetch(final)
    _tidy(pulling.weight, work)
    old = work.with_name(f"{final.name}.old")
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
    write_manifest(weight, work)
