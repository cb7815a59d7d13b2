"""Bytes of a film that is not all there yet: from a file that is still being written, or from a pipe."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from polydub.errors import UnreadableMedia
from polydub.media.probe import probe
from polydub.types import Artifact, Source

QUIET_S = 10.0  # nothing new for so long ends a file that somebody may yet be writing
LOOK_S = 0.2  # between two looks at a file
HEADS = (1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24)  # bytes after which it is tried to tell what comes
_READ = 1 << 16


def written(path: Path) -> bool | None:
    """Whether some process has `path` open for writing; None where the system cannot tell.

    Linux grants a read lease only on a file that nobody writes (fcntl(2), F_SETLEASE).
    """
    if sys.platform != "linux":
        return None
    import fcntl
    import signal

    with path.open("rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # what breaks the lease must not end this process
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False


def grows(path: Path) -> bool:
    """Whether somebody is writing the file; where the system cannot tell, whether it becomes longer while one looks."""
    told = written(path)
    if told is not None:
        return told
    before = path.stat()
    if time.time() - before.st_mtime > QUIET_S:
        return False
    time.sleep(2 * LOOK_S)
    return path.stat().st_size > before.st_size


Read = Callable[[], bytes]  # some bytes as soon as there are any; none at the end


def tail(path: Path, ended: Callable[[], bool] = lambda: False) -> Read:
    """The bytes of a file that grows. It ends when its writer closes it, or nothing came for QUIET_S, or `ended` says so."""
    file = path.open("rb")

    def read() -> bytes:
        quiet = time.monotonic()
        while not ended():
            closed = written(path) is False  # before the read: what came until then is there
            if data := file.read(_READ):
                return data
            if closed or time.monotonic() - quiet > QUIET_S:
                break
            time.sleep(LOOK_S)
        file.close()
        return b""

    return read


def pipe(descriptor: int) -> Read:
    """The bytes of a pipe."""

    def read() -> bytes:
        try:
            return os.read(descriptor, _READ)
        except OSError as error:
            raise UnreadableMedia(
                f"standard input cannot be read: {error.strerror}", "give it a film, as from a pipe"
            ) from error

    return read


class Feed:
    """Hands bytes on to a program, after a look at their head.

    Attributes: descriptor: what the program reads; to be closed once it has been started. handed: bytes so far. waits: for
    bytes that have not come yet.
    """

    def __init__(self, read: Read) -> None:
        self._read, self._head, self._ended = read, b"", False
        self.handed, self.waits = 0, False
        self.descriptor, self._out = os.pipe()
        self._thread = threading.Thread(target=self._hand_on, daemon=True, name="polydub-feed")

    def look(self, folder: Path) -> Source:
        """What comes, told from the first MiB. `media` of it names nothing. Raises: UnreadableMedia."""
        path = folder / "head"
        for size in HEADS:
            while len(self._head) < size and not self._ended:
                data = self._read()
                self._ended = not data
                self._head += data
            path.write_bytes(self._head)
            try:
                return self._complete(probe(Artifact("", "", 0), path))
            except UnreadableMedia:
                if self._ended or size == HEADS[-1]:
                    raise
        raise AssertionError

    @staticmethod
    def _complete(found: Source) -> Source:
        if any(track.rate_hz <= 0 for track in found.of("audio")) or not found.of("audio"):
            raise UnreadableMedia("no sound was found at the beginning of what came", "give a film with sound")
        return found

    def start(self) -> None:
        """Begin to hand on."""
        self._thread.start()

    def close(self) -> None:
        """Hand nothing more on."""
        self._ended = True
        for descriptor in (self._out, self.descriptor):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _hand_on(self) -> None:
        data = self._head
        self._head = b""
        with contextlib.suppress(OSError), os.fdopen(self._out, "wb", 0) as out:  # who reads may have gone
            while data:
                out.write(data)
                if self._ended:
                    break
                self.handed, self.waits = self.handed + len(data), True
                data = self._read()
                self.waits = False
