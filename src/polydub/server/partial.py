"""The bytes of an upload that is coming: a file that one writer at a time appends to, and that ends where it is safe.

Only what was synced counts. Whoever opens it says how many bytes that are; what lies behind them is cut off.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Protocol

from polydub.errors import StoreError
from polydub.server.problems import Problem
from polydub.store import writing


class Hash(Protocol):
    """A hash that goes on."""

    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> Hash: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


class Taken(Exception):
    """Another request or process is writing it."""


class Partial:
    """An open file of an upload, held by a lock until it is closed. Blocking: call it in a thread."""

    def __init__(self, path: Path, safe: int) -> None:
        """Opens the file, makes it where `safe` is 0, and cuts it to `safe` bytes.

        Raises: Taken, StoreError when it cannot be written, Problem 410 when it has lost bytes that were safe.
        """
        with writing(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._begin(path, safe)
        except BaseException:
            os.close(self._file)
            raise

    def _begin(self, path: Path, safe: int) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken from None
        with writing(path.name):
            there = os.fstat(self._file).st_size
            if there < safe:
                raise Problem(410, "upload_lost", "bytes of the upload are gone from this machine", hint="begin it again")
            os.ftruncate(self._file, safe)
            os.lseek(self._file, safe, os.SEEK_SET)
        self.path, self.end = path, safe

    def write(self, data: bytes, *hashes: Hash) -> None:
        """Appends. Raises: Problem 507 for a full disk and the like."""
        left = memoryview(data)
        try:
            with writing("the upload"):
                while left:
                    left = left[os.write(self._file, left) :]
        except StoreError as error:
            raise Problem(507, "disk_full", error.message, hint="go on later, or tell the server's admin") from error
        self.end += len(data)
        for each in hashes:
            each.update(data)

    def sync(self) -> int:
        """Makes all bytes safe; how many they are."""
        with writing("the upload"):
            os.fdatasync(self._file)
        return self.end

    def digest(self) -> Hash:
        """SHA-256 of all bytes so far, ready to go on."""
        whole = hashlib.sha256()
        at = 0
        while piece := os.pread(self._file, 1 << 20, at):
            whole.update(piece)
            at += len(piece)
        return whole

    def close(self) -> None:
        """Lets the next one in; a second time nothing happens."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
