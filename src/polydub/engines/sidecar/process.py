"""One run of the program in which an engine works: its pipes, its questions, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, cast

from pydantic import SecretStr

from polydub import errors
from polydub.engines.base import Engine, Options, Weights
from polydub.engines.sidecar.codec import Ended, Garbage, Pipe
from polydub.errors import EngineFailed, MissingExtra, PolydubError

log = getLogger(__name__)
WORKER = Path(__file__).with_name("worker.py")
LOAD_S, CALL_S = 600.0, 300.0
CLOSE_S = 2.0  # time for an orderly end
AGAIN = "run it again; finished pieces are kept"
LESS = "take a smaller model or another precision, or close other programs"
# Of polydub's own environment a process gets this: no secrets, nothing that changes what Python imports.
KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"}
    | {"HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    | {"CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "PYTORCH_CUDA_ALLOC_CONF", "NUMBA_CACHE_DIR", "SSL_CERT_FILE"}
)
KEPT_KINDS = ("LC_", "NVIDIA_", "HIP_", "ROCR_")
SET = {"PYTHONNOUSERSITE": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} | {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",  # it warns, and dead-locks, in a process with threads that forks
}


@dataclass(frozen=True)
class Limits:
    """Seconds of silence after which a process hangs: while it loads, and in a call."""

    load_s: float = LOAD_S
    call_s: float = CALL_S


@dataclass(frozen=True)
class Start:
    """What a process is started with. Attributes: entry: "module:ATTRIBUTE" of the Engine."""

    engine: Engine
    entry: str
    options: Options
    weights: Weights
    device: str
    python: Path
    limits: Limits = Limits()

    @property
    def name(self) -> str:
        """For messages."""
        return self.engine.info.name


class Died(Exception):
    """A process is of no more use.

    Attributes: reason: what it did, to be read after its name. memory: it needs less. loading: it did so while it loaded.
    """

    def __init__(self, reason: str, memory: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.memory, self.loading = reason, memory, False

    def told(self, start: Start) -> EngineFailed:
        """For the user."""
        less = LESS if start.device == "cpu" else f"{LESS}, or use --device cpu"
        return EngineFailed(f"{start.name} {self.reason}", less if self.memory else AGAIN)


@dataclass
class Call:
    """A question. Attributes: limit_s: longest silence. begun: whether the process is at it."""

    method: str
    arguments: Sequence[object]
    named: Mapping[str, object]
    limit_s: float
    begun: bool = False
    box: SimpleQueue[tuple[str, Any]] = field(default_factory=SimpleQueue[tuple[str, Any]])


class Process:
    """One run of the worker."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._end: Died | None = None
        self._lock = threading.Lock()  # of what follows
        self._calls: dict[int, Call] = {0: Call("load", (), {}, start.limits.load_s, begun=True)}
        self._count = 0
        self._tail: deque[str] = deque(maxlen=100)
        # Isolated: no variable and no folder of the user's adds modules. UTF-8 whatever the locale is.
        command = [str(start.python), "-I", "-X", "utf8", str(WORKER)]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment(), start_new_session=True
            )
        except OSError as error:
            fix = f"polydub engines install {start.name}"
            raise MissingExtra(f"{start.name}: its environment cannot be started: {error}", fix) from error
        self._pipe = Pipe(cast("IO[bytes]", self._process.stdout), cast("IO[bytes]", self._process.stdin))
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._threads = [self._hearing, *(threading.Thread(target=t, daemon=True) for t in (self._watch, self._read))]
        for thread in self._threads:
            thread.start()

    def load(self) -> Mapping[str, Any]:
        """What the loaded engine offers. Raises: Died; PolydubError as the engine raised it."""
        first = json.dumps({"packages": _places(self._start.entry)}).encode() + b"\n"
        with self._writing(self._start.limits.load_s):
            cast("IO[bytes]", self._process.stdin).write(first)
            self._pipe.send({"order": "start", "id": 0}, _first(self._start))
        event, body = self._next(0, self._calls[0])
        if event == "error":
            raise self._raised(body)
        return body

    @property
    def alive(self) -> bool:
        """Whether it may be asked."""
        return self._end is None

    def _why(self) -> Died:
        """What became of it, anew for each who is told."""
        end = self._end or Died("ended")
        return Died(end.reason, end.memory)

    def ask(self, call: Call, streamed: bool) -> Generator[tuple[str, Any]]:
        """Items and the result. Raises: Died; PolydubError as the engine raised it."""
        with self._lock:
            if self._end is not None:
                raise self._why()
            self._count += 1
            number = self._count
            self._calls[number] = call
        finished = False
        try:
            body = {"method": call.method, "arguments": tuple(call.arguments), "named": call.named, "streamed": streamed}
            self._send({"order": "call", "id": number}, body, call.limit_s)
            while not finished:
                event, body = self._next(number, call)
                finished = event != "item"
                if event == "error":
                    raise self._raised(body)
                yield event, body
                if not finished:
                    self._send({"order": "more", "id": number}, 1, call.limit_s)
        finally:
            with self._lock:
                self._calls.pop(number, None)
            if not finished and self.alive:
                self._send({"order": "cancel", "id": number}, None, CLOSE_S)

    def _next(self, number: int, call: Call) -> tuple[str, Any]:
        while True:
            try:
                event, body = call.box.get(timeout=call.limit_s)
            except Empty:
                with self._lock:
                    waits = not call.begun and any(c.begun for c in self._calls.values())
                if waits:
                    continue
                self._fail(Died(f"did not answer for {call.limit_s:g} s, and was ended"))
                continue
            if event == "died":
                raise self._why()
            if event == "begun":
                call.begun = True
                continue
            if number == 0:
                with self._lock:
                    self._calls.pop(0, None)
            return event, body

    def _raised(self, told: Mapping[str, str]) -> Exception:
        """The exception for an engine's error. After one for want of memory the process is not used any more."""
        name, text = self._start.name, told["text"]
        if told["class"] == "memory":
            self._fail(Died(f"ran out of memory ({text})", memory=True))
            return Died(f"ran out of memory ({text})", memory=True)  # it may have ended since: that is not the reason
        known = getattr(errors, told["class"], None) if told["class"] else None
        if isinstance(known, type) and issubclass(known, PolydubError):
            return known(text, told["hint"])
        return EngineFailed(f"{name} failed: {text}", AGAIN)

    @contextmanager
    def _writing(self, limit_s: float) -> Generator[None]:
        """A process that does not read would block the writing for ever."""
        late = threading.Timer(limit_s, self._fail, (Died(f"did not listen for {limit_s:g} s, and was ended"),))
        late.daemon = True
        late.start()
        try:
            yield
        except BrokenPipeError:  # those who read see the end, too
            pass
        finally:
            late.cancel()

    def _send(self, head: Mapping[str, Any], body: object, limit_s: float) -> None:
        with self._writing(limit_s):
            try:
                self._pipe.send(head, body)
            except ValueError:
                if self.alive:  # else the pipe was closed meanwhile
                    raise

    def _read(self) -> None:
        try:
            while True:
                head, body = self._pipe.receive()
                with self._lock:
                    call = self._calls.get(head["id"])
                if call:
                    call.box.put((str(head["event"]), body))
        except Ended:
            self._fail(None)
        except (Garbage, OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError) as error:
            log.debug("%s: %s", self._start.name, error)
            self._fail(Died("wrote something that is no answer, and was ended"))

    def _hear(self) -> None:
        with suppress(OSError, ValueError):
            while line := cast("IO[bytes]", self._process.stderr).readline(4096):
                text = line.decode("utf-8", "replace").rstrip()
                self._tail.append(text)
                log.debug("%s: %s", self._start.name, text)

    def _watch(self) -> None:
        """Ends what the process has left behind: that could hold its pipes open."""
        self._process.wait()
        self._kill()

    def _kill(self) -> None:
        with suppress(OSError):  # it is gone
            os.killpg(self._process.pid, signal.SIGKILL)

    def _fail(self, why: Died | None) -> None:
        """Ends the process and tells everybody who waits; None = it has ended by itself."""
        with self._lock:
            if self._end is not None:
                return
            self._end = why or Died("ended")
        self._kill()
        self._process.wait()
        self._hearing.join(0.5)  # the last words
        with self._lock:
            if why is None:
                self._end = Died(self._ended(), memory=self._process.returncode == -signal.SIGKILL)
            for call in self._calls.values():
                call.box.put(("died", None))

    def _ended(self) -> str:
        status = self._process.returncode
        if status == -signal.SIGKILL:
            what = "was killed, most likely for want of memory"
        elif status < 0:
            what = f"crashed ({signal.strsignal(-status)})"
        else:
            what = f"ended by itself with status {status}"
        last = next((line.strip() for line in reversed(self._tail) if line.strip()), "")
        return f"{what}: {last[:200]}" if last else what

    def close(self) -> None:
        """An orderly end within CLOSE_S, else a kill."""
        with self._lock:
            told = self._end is None
            self._end = self._end or Died("was closed")
            for call in self._calls.values():
                call.box.put(("died", None))
        late = threading.Timer(CLOSE_S, self._kill)
        late.daemon = True
        late.start()
        try:
            with suppress(OSError, ValueError):
                if told:
                    self._pipe.send({"order": "leave", "id": 0})
            with suppress(OSError, ValueError):
                cast("IO[bytes]", self._process.stdin).close()
            self._process.wait()
        finally:
            late.cancel()
        for thread in self._threads:
            thread.join(1)
        for pipe in (self._process.stdout, self._process.stderr):
            with suppress(OSError, ValueError):
                cast("IO[bytes]", pipe).close()


def _places(entry: str) -> dict[str, str]:
    """The folders in which polydub's package and that of the engine lie."""
    top = entry.partition(":")[0].partition(".")[0]
    found: dict[str, str] = {}
    for name in ("polydub", top):
        module = sys.modules[name]
        inside = list(getattr(module, "__path__", ()))
        own = Path(inside[0] if inside else cast("str", module.__file__))
        found[name] = str(own.resolve().parent)
    return found


def _first(start: Start) -> dict[str, Any]:
    info = start.engine.info
    values = {name: _revealed(value) for name, value in start.options.model_dump().items()}
    facts = {"entry": start.entry, "options": values, "weights": dict(start.weights), "device": start.device}
    return facts | {"network": info.network, "parallel": info.parallel}


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {key: _revealed(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_revealed(item) for item in cast("Sequence[Any]", value))
    return value


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in KEPT or key.startswith(KEPT_KINDS)}
    return kept | SET
