"""The folder of one film: its name, its lock, what it remembers between runs, and the small files in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from polydub.errors import StoreError
from polydub.store import writing
from polydub.types import Artifact

EDITS_LOCK = ".edits.lock"  # of what a person sets: see edits.py
_WAIT_S = 0.2


@dataclass
class Project:
    """An open, locked project folder.

    Attributes: memory: what `project.json` holds: source, chosen engines by language, state of the last finished run.
    """

    folder: Path
    memory: dict[str, Any]

    def engines(self, language: str) -> dict[str, str]:
        """What `auto` has chosen for a language: "tts" -> name, "tts.reason" -> why; may be changed, `save` keeps it."""
        return cast("dict[str, str]", self.memory.setdefault("engines", {}).setdefault(language, {}))

    def state(self, language: str) -> dict[str, Any]:
        """What the last finished run into a language left for the next one."""
        return _read(self.folder / f".state.{language}.json")

    def save_state(self, language: str, state: dict[str, Any]) -> None:
        """Keep what the next run may ask for."""
        write(self.folder / f".state.{language}.json", _json(state))

    @property
    def requests(self) -> dict[str, Any]:
        """What made the dub into each language; may be changed, `save` keeps it."""
        return cast("dict[str, Any]", self.memory.setdefault("requests", {}))

    def save(self) -> None:
        """Write `project.json`."""
        write(self.folder / "project.json", _json(self.memory))


@contextlib.contextmanager
def open_project(output: Path, media: Path, content: Artifact, waiting: Callable[[str], None]) -> Generator[Project]:
    """Finds or makes the folder of `media` under `output` and holds it; a second process waits, and is told for whom.

    The folder is called like the file. When that name belongs to another file, six digits of the content are added.
    """
    name = re.sub("[\ud800-\udfff]", "_", media.stem or media.name)  # bytes that are no UTF-8: not every library takes them
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        with _locked(output / ".polydub" / "projects.lock", lambda text: None):  # never held for long
            folder = output / name
            if not _fits(folder, media, content):
                folder = output / f"{name}-{content.sha256[:6]}"
            folder.mkdir(exist_ok=True)
            if not (folder / "project.json").exists():
                write(folder / "project.json", _json(_new(media, content)))
        with open_folder(folder, media, content, waiting) as project:
            yield project


@contextlib.contextmanager
def open_folder(folder: Path, media: Path, content: Artifact, waiting: Callable[[str], None]) -> Generator[Project]:
    """Holds the project in `folder`, which is that of `media`, as `open_project` does."""
    with _locked(folder / ".lock", waiting):
        _sweep(folder)
        memory = _read(folder / "project.json") | _new(media, content)
        yield Project(folder, memory)


def memory_of(folder: Path) -> dict[str, Any]:
    """What `project.json` in a folder holds; nothing when there is none. Raises StoreError for a damaged one."""
    return _read(folder / "project.json")


def _sweep(folder: Path) -> None:
    """Removes what a killed run left; the lock is held."""
    edited = (folder / EDITS_LOCK).exists()  # somebody may be writing edits at this moment, which needs no lock of the project
    with flocked(folder / EDITS_LOCK) if edited else contextlib.nullcontext():
        for place in (folder, folder / "stems", folder / "subs", folder / "debug" / "segments"):
            sweep(place)


def sweep(place: Path) -> None:
    """Removes what killed processes were writing in a folder; nobody else may be writing there."""
    for left in place.glob(".polydub-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _new(media: Path, content: Artifact) -> dict[str, Any]:
    return {
        "source": {"path": os.fsdecode(media.absolute()).encode("utf-8", "backslashreplace").decode(), "sha256": content.sha256}
    }


def _fits(folder: Path, media: Path, content: Artifact) -> bool:
    """Whether a folder is free for, or belongs to, this file: same place or same content."""
    source = _read(folder / "project.json").get("source")
    if source is None:
        return not folder.exists() or folder.is_dir()
    same_place = source["path"] == _new(media, content)["source"]["path"]
    return same_place or source["sha256"] == content.sha256


@contextlib.contextmanager
def flocked(path: Path, mode: int = 0o644) -> Generator[None]:
    """Holds a lock that nobody holds for long; others wait for it without a word. Raises: StoreError."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[str], None]) -> Generator[None]:
    """Holds a flock; the file names the holder, for people only."""
    descriptor = _lock_file(path)
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                    break
                os.close(descriptor)  # who held it has removed it with its folder
                descriptor = _lock_file(path)
            except BlockingIOError:
                if not told:
                    holder = os.pread(descriptor, 100, 0).decode("utf-8", "replace") or "another process"
                    waiting(f"{path.parent} is in use by {holder}: waiting for it")
                    told = True
                time.sleep(_WAIT_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _read(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read: {error}", f"correct {path.name}, or move it away") from error


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write(path: Path, text: str | bytes, *, mode: int = 0o644) -> None:
    """Writes a small file in one go: a reader sees the old one or the new one. Equal content is left alone."""
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    with writing(path):
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".polydub-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
