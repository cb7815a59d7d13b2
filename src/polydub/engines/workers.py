"""Stand-alone programs that engines talk to through pipes, several questions at a time; restarted when they die.

A question is a JSON line `{"id": n, "bytes": m, ...}` and m bytes; an answer is a JSON line `{"id": n, ...}`, in any order,
with "error" where the program cannot answer. The first line a program writes is `{}`, or `{"error": ...}` when it cannot
work at all. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from logging import getLogger
from typing import IO, Any, cast

from polydub.errors import EngineFailed

log = getLogger(__name__)
Answer = dict[str, Any]


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Died(Exception):
    """The program ended, hung or answered nonsense."""


class _Refused(Exception):
    """The program answered that it cannot."""


class _Process:
    """One run of a program. A thread hands its answers to those who wait for them."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._waiting: dict[int, Future[Answer]] = {}
        self._lock = threading.Lock()  # of the table of questions
        self._pipe = threading.Lock()  # of what is written; never held by the one who listens
        self._count = 0
        self._end: Exception | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether it may be asked."""
        return self._end is None

    def ask(self, question: Mapping[str, object], sound: bytes, timeout_s: float) -> Answer:
        """The answer. Raises: _Died, after which the process is of no use; _Refused."""
        answer: Future[Answer] = Future()
        with self._lock:
            if self._end is not None:
                raise self._end
            self._count += 1
            number = self._count
            self._waiting[number] = answer
        line = json.dumps({**question, "id": number, "bytes": len(sound)}).encode() + b"\n"
        pipe = cast("IO[bytes]", self._process.stdin)
        late = threading.Timer(timeout_s, self._process.kill)  # a program that does not read would block the writing
        late.start()
        try:
            with self._pipe, suppress(OSError, ValueError):  # then the listener sees the end, too
                pipe.write(line + sound)
                pipe.flush()
        finally:
            late.cancel()
        try:
            return answer.result(timeout_s)
        except TimeoutError as error:
            died = _Died(f"no answer for {timeout_s:g} s")
            self._stop(died)
            self.close()
            raise died from error

    def _listen(self) -> None:
        pipe = cast("IO[bytes]", self._process.stdout)
        try:
            _read(pipe)
            while True:
                told = _read(pipe)
                with self._lock:
                    answer = self._waiting.pop(int(told["id"]))
                if "error" in told:
                    answer.set_exception(_Refused(str(told["error"])))
                else:
                    answer.set_result(told)
        except _Refused as error:
            self._stop(error)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._stop(_Died(str(error)))

    def _stop(self, error: Exception) -> None:
        """Tells everybody who waits, and whoever asks later."""
        with self._lock:
            self._end = self._end or error
            for answer in self._waiting.values():
                with suppress(InvalidStateError):
                    answer.set_exception(self._end)
            self._waiting.clear()

    def close(self) -> None:
        """Ends the process, whatever it does. It holds nothing that a kill could damage."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # unsent bytes of a dead process
                    pipe.close()


def _read(pipe: IO[bytes]) -> Answer:
    """One line. Raises: OSError, ValueError; _Refused for an error that answers no question."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise OSError("the program ended")
    told: object = json.loads(line)
    if not isinstance(told, dict):
        raise ValueError("the program answered nonsense")
    answer = cast("Answer", told)
    if "error" in answer and "id" not in answer:
        raise _Refused(str(answer["error"]))
    return answer


class Program:
    """A program that runs from the first question on, and again after it died. Thread-safe.

    Attributes: name: for messages. atonce: questions it is asked at the same time; further ones wait.
    """

    def __init__(self, name: str, command: Sequence[str], atonce: int, timeout_s: float) -> None:
        self.name = name
        self._command = command
        self._timeout_s = timeout_s
        self._gate = threading.Semaphore(atonce)
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False

    def ask(self, question: Mapping[str, object], sound: bytes = b"") -> Answer:
        """The answer. A program that died is started and asked again, once.

        Raises: EngineFailed when it dies again, or says that it cannot.
        """
        with self._gate:
            try:
                try:
                    return self._running().ask(question, sound, self._timeout_s)
                except _Died as first:
                    if self._closed:
                        raise
                    log.warning("a program of %s died (%s); trying again", self.name, first)
                    return self._running().ask(question, sound, self._timeout_s)
            except (_Died, _Refused) as error:
                raise EngineFailed(f"{self.name} failed: {error}", "run it again; finished pieces are kept") from error

    def _running(self) -> _Process:
        with self._lock:
            if self._closed:
                raise _Died("it was closed")
            if self._process is not None and not self._process.alive:
                self._process.close()
                self._process = None
            self._process = self._process or _Process(self._command)
            return self._process

    def close(self) -> None:
        """Ends the program; questions in progress fail."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.close()
