"""The polydub side of an engine in a process of its own: starts it, asks it, outlives it.

A process that dies, hangs, writes nonsense or runs out of memory is ended and, once, started again with the call that it
was at, unless a part of the answer was already passed on; the second time the call fails with one sentence. Nothing that
such a process does reaches polydub otherwise.

How long is too long: loading may take LOAD_S. A call must give its answer, or the next item of it, within CALL_S (or the
engine's option `idle_s`) and PER_SECOND times the seconds of sound, or of speech to be made, that it was given. There are no
heartbeats: they would prove that a process lives, not that it gets anywhere. Time in which a call waits for others does not
count.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from logging import getLogger
from pathlib import Path
from typing import Any, cast

from polydub.engines.base import Batch, Engine, Options, Weights
from polydub.engines.sidecar.process import Call, Died, Process, Start
from polydub.errors import MissingExtra
from polydub.types import Audio, Part, Placement

log = getLogger(__name__)
PER_SECOND = 60.0
LETTERS_PER_S = 12  # of speech
PATIENCE = 20  # deaths of the process that a call outlives while it waits
BATCHES = frozenset({"batch", "batch_pieces", "batch_size"})  # options that say how much is in work at once
STREAMED = frozenset({"transcribe", "stream"})  # methods of the Protocols that yield


class Sidecar:
    """An engine in a process of its own that is started again when it dies. Thread-safe.

    It has the methods of its kind's Protocol, as far as the engine has them, and its `calibration`. `remark`: what a user
    should know of how it works now; "" = nothing.
    """

    remark = ""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._repeats = threading.Lock()
        self._process: Process | None = None
        self._closed = False
        self._offered: Mapping[str, Any] = {"methods": (), "values": {}}

    def __getattr__(self, name: str) -> Any:
        if name in self._offered["values"]:
            return self._offered["values"][name]
        if name not in self._offered["methods"]:
            raise AttributeError(f"{self._start.name} has no {name!r}")
        return partial(self._stream if name in STREAMED else self._call, name)

    def begin(self) -> None:
        """Loads the engine. Raises: EngineFailed when the process dies twice; PolydubError as the engine raised it."""
        try:
            try:
                self._running()
            except Died as died:
                if self._closed:
                    raise
                self._lessen(died)
                self._running()
        except Died as died:
            raise died.told(self._start) from died

    def _call(self, name: str, *arguments: object, **named: object) -> Any:
        for _, body in self._answers(name, arguments, named):
            return body
        return None

    def _stream(self, name: str, *arguments: object, **named: object) -> Iterator[Any]:
        with closing(self._answers(name, arguments, named)) as answers:
            for event, body in answers:
                if event == "item":
                    yield body

    def _answers(self, name: str, arguments: Sequence[object], named: Mapping[str, object]) -> Generator[tuple[str, Any]]:
        """What a call answers. A process that dies at it is started again, once; what only waited is not charged for it."""
        limit_s = float(getattr(self._start.options, "idle_s", self._start.limits.call_s))
        limit_s += PER_SECOND * sum(_seconds(value) for value in (*arguments, *named.values()))
        given, deaths, waits = False, 0, 0
        while True:
            call = Call(name, arguments, named, limit_s)
            # What is repeated is repeated alone: else one call that kills the process takes those beside it along.
            alone = self._repeats if deaths and name not in STREAMED else nullcontext()
            try:
                with alone, closing(self._running().ask(call, name in STREAMED)) as answers:
                    for event, body in answers:
                        given = True
                        yield event, body
                return
            except Died as died:
                charged = call.begun or died.loading
                deaths, waits = deaths + charged, waits + (not charged)
                if self._closed or given or deaths > 1 or waits > PATIENCE:
                    raise died.told(self._start) from died
                self._lessen(died)

    def _lessen(self, died: Died) -> None:
        """Tells that the process is started again; after want of memory it works in smaller batches from then on."""
        with self._lock:
            less = smaller(self._start.options) if died.memory else None
            if less is not None:
                self._start = replace(self._start, options=less)
                self.remark = f"{self._start.name} ran out of memory, and works in smaller batches from now on"
        how = " with smaller batches" if less else ""
        log.warning("%s %s; starting it again%s", self._start.name, died.reason, how)

    def _running(self) -> Process:
        with self._lock:
            if self._closed:
                raise Died("was closed")
            if self._process is not None and not self._process.alive:
                self._process.close()
                self._process = None
            if self._process is None:
                self._load()
            return cast("Process", self._process)

    def _load(self) -> None:
        began = time.monotonic()
        process = self._process = Process(self._start)
        try:
            self._offered = process.load()
        except BaseException as error:
            if isinstance(error, Died):
                error.loading = True
            process.close()
            self._process = None
            raise
        log.debug("%s: loaded in %.1f s", self._start.name, time.monotonic() - began)

    def close(self) -> None:
        """Ends the process; calls in progress fail."""
        self._closed = True
        process = self._process  # without the lock: loading holds it
        if process is not None:
            process.close()


@contextmanager
def opened(engine: Engine, options: Options, weights: Weights, device: str, python: Path) -> Generator[Any]:
    """The engine, loaded in a process of its own with `python`; outside it looks as what `engine.load` gives.

    Raises: MissingExtra when the process cannot be started; EngineFailed when it dies, hangs or has too little memory; what
    the engine raises, as far as it is a PolydubError.
    """
    with running(Start(engine, entry_of(engine), options, weights, device, python)) as sidecar:
        yield sidecar


@contextmanager
def running(start: Start) -> Generator[Any]:
    """As `opened`, with everything told."""
    sidecar = Sidecar(start)
    try:
        sidecar.begin()
        yield sidecar
    finally:
        sidecar.close()


def entry_of(engine: Engine) -> str:
    """ "module:ATTRIBUTE" of an Engine: as registered, else as it stands in the module of its `load`.

    Raises: MissingExtra when it is nowhere.
    """
    for entry in entry_points(group=f"polydub.{engine.info.kind}", name=engine.info.name):
        with suppress(ImportError, AttributeError):
            if entry.load() is engine:
                return entry.value
    module = getattr(engine.load, "__module__", "")
    for name, value in vars(sys.modules.get(module, object())).items() if module in sys.modules else ():
        if value is engine:
            return f"{module}:{name}"
    raise MissingExtra(f"{engine.info.name}: nobody knows which module has it", "reinstall the package that brings it")


def smaller(options: Options) -> Options | None:
    """The options with a quarter of their batch size; None where they have none, or none that leaves the result as it is."""
    for name in BATCHES & (set(type(options).model_fields) - set(options.identity())):
        least = next((rule.ge for rule in type(options).model_fields[name].metadata if hasattr(rule, "ge")), 1)
        size = max(least, getattr(options, name) // 4)
        if size < getattr(options, name):
            return options.model_copy(update={name: size})
    return None


def _seconds(value: object) -> float:
    """Seconds of sound, or of speech to be made, in an argument of a call."""
    if isinstance(value, Audio | Placement):
        return value.duration
    if isinstance(value, Part):
        return len(value.text) / LETTERS_PER_S
    if isinstance(value, Batch):
        return sum(len(request.text) for request in value.requests) / LETTERS_PER_S
    if isinstance(value, list | tuple):
        return sum(_seconds(item) for item in cast("Sequence[object]", value))
    return 0.0
