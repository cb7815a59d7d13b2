"""What is durable: results by key (memo), files by content (artifacts), deliveries, and hashes of the user's files.

A store is one folder: `memo.sqlite`, `artifacts/ab/<sha256><suffix>` and `scratch/`. Files are written to scratch,
synced and renamed in; the memo row comes last. So a process killed at any moment leaves at worst an unused file.
Several processes may share a store; the only SQL of the core is here.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polydub.errors import StoreError
from polydub.types import Artifact

SCHEMA = """
create table if not exists done (key text primary key, stage text not null, output text not null, notices text not null);
create table if not exists files (path text primary key, size integer, mtime_ns integer, inode integer, sha256 text);
create table if not exists delivered (path text primary key, key text, size integer, mtime_ns integer, inode integer);
"""
_READ = 1 << 20
_DISK = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again: finished work is kept"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again: finished work is kept"),
    errno.EROFS: ("the folder is on a read-only disk", "choose another folder with --output or --store"),
    errno.EACCES: ("permission denied", "choose a folder you may write to with --output or --store"),
    errno.EPERM: ("permission denied", "choose a folder you may write to with --output or --store"),
    errno.ENOTDIR: ("a file is in the way of a folder", "choose another folder with --output or --store"),
    errno.EEXIST: ("a file is in the way of a folder", "choose another folder with --output or --store"),
    errno.EISDIR: ("a folder is in the way of a file", "choose another folder with --output or --store"),
    errno.ENAMETOOLONG: ("the name is too long for this disk", "rename the input, or choose a shorter --output"),
    errno.EFBIG: ("the file is larger than allowed here", "choose another disk with --output or --store"),
    errno.ENOENT: ("the folder cannot be made there", "choose another folder with --output or --store"),
    errno.EIO: ("the disk has failed", "check the disk, or choose another one with --output or --store"),
}


@contextmanager
def writing(what: object) -> Generator[None]:
    """Turns the operating system's refusal to write `what` into a StoreError with advice."""
    try:
        yield
    except sqlite3.Error as error:
        hint = "free some space, or delete the store with: polydub clean"
        raise StoreError(f"the store cannot be used: {error}", hint) from error
    except OSError as error:
        if error.errno not in _DISK:
            raise
        reason, hint = _DISK[error.errno]
        raise StoreError(f"cannot write {what}: {reason}", hint) from error


@dataclass(frozen=True, slots=True)
class Remembered:
    """One finished call: its result and its notices, as JSON."""

    key: str
    stage: str
    output: str
    notices: str


class Store:
    """A local folder. Safe to use from several threads and processes.

    Raises: StoreError when the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._sources: dict[str, Path] = {}
        with writing(folder):
            for part in ("artifacts", "scratch"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            with _alone(folder / "scratch" / "lock"):
                self._db = sqlite3.connect(folder / "memo.sqlite", isolation_level=None, check_same_thread=False, timeout=60)
                self._db.execute("pragma journal_mode=wal")  # of two processes that do it at once one fails and never waits
                self._db.execute("pragma synchronous=normal")
                self._db.executescript(SCHEMA)
                self._own = _OwnScratch(folder / "scratch")

    def close(self) -> None:
        """Give the scratch folder and the database back."""
        self._own.close()
        with self._lock:
            self._db.close()

    # memo

    def look_up(self, keys: Sequence[str]) -> dict[str, Remembered]:
        """The remembered calls among `keys`."""
        found: dict[str, Remembered] = {}
        with self._lock, writing(self.folder):
            for at in range(0, len(keys), 500):
                some = keys[at : at + 500]
                marks = ",".join("?" * len(some))
                query = f"select key, stage, output, notices from done where key in ({marks})"  # noqa: S608
                found.update((row[0], Remembered(*row)) for row in self._db.execute(query, some))
        return found

    def remember(self, rows: Sequence[Remembered]) -> None:
        """Add finished calls in one transaction; a key that is there already keeps its first result."""
        values = [(r.key, r.stage, r.output, r.notices) for r in rows]
        with self._transaction() as db:
            db.executemany("insert or ignore into done values (?, ?, ?, ?)", values)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock, writing(self.folder):
            try:  # also around begin: Ctrl-C may come right after it
                self._db.execute("begin immediate")
                yield self._db
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def forget(self, keys: Sequence[str]) -> None:
        """Drop calls whose files are gone, so that they can be remembered anew."""
        with self._lock, writing(self.folder):
            self._db.executemany("delete from done where key = ?", [(key,) for key in keys])

    # artifacts

    def path(self, artifact: Artifact) -> Path:
        """Where the file lies: in the store, or the user's own file that was adopted."""
        return self._sources.get(artifact.sha256) or self._place(artifact)

    def _place(self, artifact: Artifact) -> Path:
        return self.folder / "artifacts" / artifact.sha256[:2] / (artifact.sha256 + artifact.suffix)

    def has(self, artifact: Artifact) -> bool:
        """Whether the file is there in its full length."""
        try:
            return self.path(artifact).stat().st_size == artifact.bytes
        except OSError:
            return False

    def keep(self, file: Path) -> Artifact:
        """Move a finished file from scratch into the store and return its name."""
        with writing(self.folder), file.open("rb") as stream:
            os.fsync(stream.fileno())
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            artifact = Artifact(digest, file.suffix, file.stat().st_size)
            place = self._place(artifact)
            place.parent.mkdir(exist_ok=True)
            file.replace(place)
        return artifact

    def adopt(self, file: Path) -> Artifact:
        """Name a file of the user's by its content; it stays where it is. Its hash is cached by path, size, time and inode."""
        file = file.absolute()
        stat = file.stat()
        identity = _identity(stat)
        with self._lock, writing(self.folder):
            row = self._db.execute("select size, mtime_ns, inode, sha256 from files where path = ?", (_text(file),)).fetchone()
        if row and row[:3] == identity:
            digest = str(row[3])
        else:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            with self._lock, writing(self.folder):
                self._db.execute("insert or replace into files values (?, ?, ?, ?, ?)", (_text(file), *identity, digest))
        artifact = Artifact(digest, _text(file.suffix), stat.st_size)
        self._sources[digest] = file
        return artifact

    # deliveries: results too big to be kept twice lie at their place in the project folder only

    def delivered(self, path: Path) -> str | None:
        """The key of the call that made the file at `path`, if it is still the same file."""
        with self._lock, writing(self.folder):
            row = self._db.execute(
                "select key, size, mtime_ns, inode from delivered where path = ?", (self._name(path),)
            ).fetchone()
        try:
            stat = path.stat()
        except OSError:
            return None
        return str(row[0]) if row and row[1:] == _identity(stat) else None

    def deliver(self, file: Path, path: Path, key: str) -> None:
        """Move a finished file to `path` and note which call made it."""
        with writing(path), file.open("rb") as stream:
            os.fsync(stream.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            file.replace(path)
            stat = path.stat()
        row = (self._name(path), key, *_identity(stat))
        with self._lock, writing(self.folder):
            self._db.execute("insert or replace into delivered values (?, ?, ?, ?, ?)", row)

    def _name(self, path: Path) -> str:
        return _text(Path(os.path.relpath(path.absolute(), self.folder.absolute())))

    # scratch

    @contextmanager
    def scratch(self, near: Path | None = None) -> Generator[Path]:
        """A private folder that disappears afterwards; `near` puts it on the disk of that folder."""
        with writing(near or self.folder):
            folder = Path(tempfile.mkdtemp(prefix=".polydub-" if near else "", dir=near or self._own.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(gate: Path) -> Generator[None]:
    """Lets one process after the other through."""
    descriptor = os.open(gate, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class _OwnScratch:
    """This process's part of the scratch folder, held by a lock; parts whose owner is dead are swept.

    Made under `_alone`: nobody may sweep a folder between its birth and its lock.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="p-", dir=parent))
        self._held = _try_lock(self.folder / "lock")
        for other in parent.iterdir():
            if other != self.folder and other.is_dir():
                self._sweep(other)

    @staticmethod
    def _sweep(folder: Path) -> None:
        descriptor = _try_lock(folder / "lock")
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _try_lock(path: Path) -> int | None:
    """An open file that holds the lock, or None when another process has it or the folder has just vanished."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file changes: size, time, inode."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ino & 0x7FFF_FFFF_FFFF_FFFF  # SQLite's integers have 63 bits


def _text(path: Path | str) -> str:
    """A path or a part of one as SQLite and JSON text, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
