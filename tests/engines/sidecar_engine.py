"""An engine for the tests of what runs engines in processes of their own: it does what it is told, and goes wrong on demand."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr

from polydub.engines.base import READY, Calibration, Engine, Info, Options, Weights
from polydub.errors import BadSettings, MissingWeights
from polydub.types import Audio, Part, Segment, Span


class Odd(Options):
    """What goes wrong while it loads, if anything."""

    load: str = Field("", description="Fault.")
    secret: SecretStr = Field(SecretStr(""), description="A secret.")
    idle_s: float = Field(300.0, description="Seconds.")
    batch_pieces: int = Field(64, ge=8, description="How much at once.", json_schema_extra={"identity": False})
    once: Path | None = Field(None, description="A file that is made at the first fault; later ones do not happen.")


def _fault(name: str) -> Any:
    """Goes wrong; "" = does not."""
    return FAULTS[name]() if name in FAULTS else None


def _write(data: bytes) -> None:
    """To the pipe of the answers, wherever it is."""
    for fd in range(3, 20):
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            continue


def _raise(error: BaseException) -> Any:
    raise error


def _half(data: bytes) -> None:
    _write(data)
    os._exit(4)


FAULTS: dict[str, Callable[[], Any]] = {
    "exit": lambda: os._exit(3),
    "crash": lambda: ctypes.string_at(0),
    "late-crash": lambda: (time.sleep(0.05), ctypes.string_at(0)),  # when others are at work, too
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(1000),
    "hard-hang": lambda: ctypes.PyDLL(None).sleep(1000),  # does not let go of the interpreter
    "garbage": lambda: _write(b"\x00\xff not a frame\n"),
    "other-garbage": lambda: _write(b'{"id": 1}\n'),
    "half": lambda: _half(b'{"id": 1, "event": "done", "bo'),
    "half-block": lambda: _half(b'{"id": 1, "event": "done", "body": {"bytes": 0}, "blocks": [1000]}\nabc'),
    "memory": lambda: bytes(1 << 60),
    "cuda-memory": lambda: _raise(RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")),
    "leave": lambda: sys.exit("no reason"),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "error": lambda: _raise(KeyError("what\never")),
    "settings": lambda: _raise(BadSettings("it is wrong", "make it right")),
}


class Worker:
    """Methods that the tests call."""

    calibration = Calibration(0.5, 0.6, (0.1, 0.2), 0.4)

    def __init__(self, options: Odd, weights: Weights, device: str) -> None:
        self._options, self._weights, self._device = options, weights, device
        self._now = threading.Lock()
        self.most, self._at = 0, 0

    def facts(self) -> dict[str, Any]:
        import numpy as np

        told = {"secret": self._options.secret.get_secret_value(), "device": self._device, "weights": dict(self._weights)}
        return told | {"numpy": np.__version__, "pid": os.getpid(), "python": Path(sys.prefix), "argv": tuple(sys.argv)}

    def echo(self, value: object, *, twice: bool = False) -> object:
        return (value, value) if twice else value

    def slow(self, value: int) -> tuple[int, int]:
        """The value, and how many were here at once."""
        with self._now:
            self._at += 1
            self.most = max(self.most, self._at)
        time.sleep(0.01)
        with self._now:
            self._at -= 1
        return value, self.most

    def fault(self, name: str, value: object = None) -> object:
        once = self._options.once
        if once is not None and once.exists():
            return value
        if once is not None:
            once.touch()
        _fault(name)
        return value

    def batch(self, most: int) -> int:
        """How much is done at once, as far as memory reaches."""
        if self._options.batch_pieces > most:
            raise MemoryError("too many at once")
        return self._options.batch_pieces

    def pause(self, seconds: float, speech: Audio | None = None) -> float:
        time.sleep(seconds)
        return seconds

    def last_words(self, text: str) -> None:
        print(text, flush=True)
        os._exit(7)

    def noise(self) -> str:
        print("printed")
        os.write(1, b"written to 1\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
        return sys.stdin.read()

    def missing(self) -> None:
        raise MissingWeights("no such file", "pull it")

    def surrogate(self) -> str:
        return "\ud800"

    def object(self) -> object:
        return object()

    def network(self, how: str) -> None:
        if how == "name":
            socket.getaddrinfo("localhost", 80)
        elif how == "connect":
            socket.create_connection(("127.0.0.1", 9))
        elif how == "datagram":
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
        else:
            left, right = socket.socketpair()
            left.sendall(right.getsockname().encode() if right.getsockname() else b"x")

    def importable(self, name: str) -> bool:
        try:
            __import__(name)
        except ImportError:
            return False
        return True

    def child(self) -> int:
        """Starts a process that would live on."""
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]).pid

    def threads(self) -> None:
        for _ in range(3):
            threading.Thread(target=time.sleep, args=(1000,)).start()

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """One segment for each second, at once; `language` names a file that tells how many were made, and that it ended."""
        made = 0
        try:
            for n in range(int(speech.duration)):
                made += 1
                yield Segment(float(n), n + 1.0, f"{n}")
        finally:
            if language:
                Path(language).write_text(str(made))

    def stream(self, part: Part) -> Iterator[Audio]:
        """As many short sounds as the text has words; the fault that `seed` counts words to happens there."""
        import numpy as np

        for n, _ in enumerate(part.text.split()):
            if n == part.seed:
                self.fault(part.language)
            yield Audio(np.full((1, 10), n, np.float32), 16_000)

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Any:
        return speech.samples[:, : len(windows)].T


@contextmanager
def load(options: Odd, weights: Weights, device: str) -> Iterator[Worker]:
    if options.load and not (options.once and options.once.exists()):
        if options.once:
            options.once.touch()
        _fault(options.load)
    yield Worker(options, weights, device)
    if options.load == "slow-end":
        time.sleep(1000)


INFO = Info(kind="tts", name="odd", summary="Odd", licence="Apache-2.0", homepage="https://example.org", parallel=4)
ENGINE = Engine(INFO, Odd, load, lambda options: READY, lambda options: None)
