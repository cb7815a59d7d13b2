"""The program in which an engine with an environment of its own works, run by that environment's Python.

Standard input and output carry frames (see `codec`) and nothing else: they are claimed before anything is imported, and
what libraries print goes to standard error. First comes one line of JSON that says where polydub and the engine's package
lie; only those are importable beside what the environment has. Then a frame with the engine, its options and weights.
The program answers `hello` once the engine is loaded, and serves calls until its input ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # nothing of polydub can be imported before `_Finder` stands
    from collections.abc import Sequence

    from polydub.engines.sidecar.codec import Pipe

AF_UNIX = 1  # everywhere; `socket` itself is not needed here
LEAVE_S = 1.5  # time for closing the engine
ROOM = 4  # items of a stream that are made before they are asked for
ATTRIBUTES = ("calibration",)  # of the kinds' Protocols; everything else is called
NETWORK = frozenset(
    {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
)
LOST = frozenset({"MemoryError", "OutOfMemoryError"})  # names of exceptions that mean it
SAID = ("out of memory", "t allocate memory", "cannot allocate", "unable to allocate", "failed to allocate")


class Blocked(OSError):
    """An engine that works offline tried to use the network."""


class _Finder:
    """Finds some top-level packages in folders of their own, before everything else."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """As the import system wants it."""
        return PathFinder.find_spec(name, [self._places[name]]) if name in self._places else None


def _claim() -> tuple[IO[bytes], IO[bytes]]:
    """Private copies of standard input and output; then 0 reads nothing and 1 is 2, also for C code and child processes."""
    source, sink = os.fdopen(os.dup(0), "rb", 1 << 20), os.fdopen(os.dup(1), "wb", 1 << 20)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return source, sink


def _block_network() -> None:
    """From here on Python code of this process reaches nothing but UNIX sockets."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in NETWORK and getattr(arguments[0], "family", None) != AF_UNIX:
            raise Blocked("the engine tried to use the network, which it must not")

    sys.addaudithook(hook)


class _Call:
    """One call. What the engine raises in a `with` block of it becomes the answer."""

    def __init__(self, pipe: Pipe, number: int) -> None:
        self._pipe, self._number = pipe, number
        self._room = threading.Semaphore(ROOM)
        self.cancelled = False

    def more(self, count: int) -> None:
        """The other side takes further items."""
        for _ in range(count):
            self._room.release()

    def cancel(self) -> None:
        """The other side wants no more."""
        self.cancelled = True
        self._room.release()

    def tell(self, event: str, body: object = None) -> None:
        """An event of this call."""
        with suppress(BrokenPipeError):  # nobody is left to be told
            self._pipe.send({"id": self._number, "event": event}, body)

    def stream(self, items: Iterator[object]) -> None:
        """The items one by one, as far as there is room for them."""
        for item in items:
            self._room.acquire()
            if self.cancelled:
                break
            self.tell("item", item)
        close = getattr(items, "close", None)
        if close:
            close()

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is not None:
            traceback.print_exception(error)
            self.tell("error", _described(error))
        return True


def _described(error: BaseException) -> dict[str, str]:
    """An exception as the other side can tell it. PolydubErrors keep their class."""
    from polydub.engines.sidecar.codec import Unsendable
    from polydub.errors import PolydubError

    if isinstance(error, PolydubError):
        known = next(c.__name__ for c in type(error).__mro__ if c.__module__ == PolydubError.__module__)
        return {"class": known, "text": _plain(error.message), "hint": _plain(error.hint)}
    if isinstance(error, Unsendable):
        return {"class": "BadEngineOutput", "text": str(error), "hint": ""}
    name, text = type(error).__name__, _plain(str(error)).strip()
    memory = isinstance(error, MemoryError) or name in LOST or any(word in text.lower() for word in SAID)
    first = text.splitlines()[0][:300] if text else ""
    return {"class": "memory" if memory else "", "text": f"{name}: {first}" if first else name, "hint": ""}


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class _Server:
    """Loads the engine in the main thread, as some libraries demand, while another thread reads."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._calls: dict[int, _Call] = {}
        self._end = threading.Event()
        self._orderly = False
        self._engine: Any = None
        self._pool = ThreadPoolExecutor(1)

    def run(self) -> None:
        """Until the other side has enough, or is gone."""
        start = self._pipe.receive()[1]
        threading.Thread(target=self._read, daemon=True).start()
        stack = ExitStack()
        with _Call(self._pipe, 0) as loading:
            self._engine = stack.enter_context(self._opened(start))
            self._pool = ThreadPoolExecutor(start["parallel"] or os.cpu_count() or 1)
            loading.tell("hello", _outline(self._engine))
            self._end.wait()
        if self._engine is not None:
            with _Call(self._pipe, 0):
                stack.close()
        _leave(self._orderly)

    def _opened(self, start: Mapping[str, Any]) -> Any:
        from importlib import import_module

        if not start["network"]:
            _block_network()
        module, _, attribute = start["entry"].partition(":")
        engine: Any = import_module(module)
        for part in attribute.split("."):
            engine = getattr(engine, part)
        options = engine.options.model_validate(start["options"])
        return engine.load(options, start["weights"], start["device"])

    def _read(self) -> None:
        from polydub.engines.sidecar.codec import Ended, Garbage

        with suppress(Ended, Garbage, OSError):
            while not self._orderly:
                self._obey(*self._pipe.receive())
        for call in list(self._calls.values()):
            call.cancel()
        self._end.set()
        late = threading.Timer(LEAVE_S, _leave, (False,))  # whatever the engine is at
        late.daemon = True
        late.start()

    def _obey(self, head: Mapping[str, Any], body: Any) -> None:
        order, number = head["order"], head["id"]
        if order == "call":
            call = self._calls[number] = _Call(self._pipe, number)
            self._pool.submit(self._serve, call, number, body)
        elif order == "leave":
            self._orderly = True
        elif call := self._calls.get(number):
            if order == "more":
                call.more(int(body))
            else:
                call.cancel()

    def _serve(self, call: _Call, number: int, body: Mapping[str, Any]) -> None:
        try:
            if call.cancelled:
                return
            with call:
                call.tell("begun")
                result = getattr(self._engine, body["method"])(*body["arguments"], **body["named"])
                if body["streamed"]:
                    call.stream(iter(result))
                    result = None
                call.tell("done", result)
        finally:
            self._calls.pop(number, None)


def _outline(engine: Any) -> dict[str, Any]:
    """Names of what can be called, values of what can be read."""
    names = [name for name in dir(engine) if not name.startswith("_") and name not in ATTRIBUTES]
    values = {name: getattr(engine, name) for name in ATTRIBUTES if hasattr(engine, name)}
    return {"methods": tuple(name for name in names if callable(getattr(engine, name, None))), "values": values}


def _leave(orderly: bool) -> None:
    """Ends this process without waiting for threads; unless it was told to leave, its children, too."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    if not orderly and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Runs until the other side has enough."""
    source, sink = _claim()
    boot = cast("dict[str, Any]", json.loads(source.readline()))
    sys.meta_path.insert(0, cast("Any", _Finder(boot["packages"])))
    from polydub.engines.sidecar.codec import Pipe

    _Server(Pipe(source, sink)).run()


if __name__ == "__main__":
    main()
