"""Loaded engines: opened on first need, shared by the runs of a batch, closed together."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polydub.engines.base import Engine, Options, Weights

QUICK_S = 0.5  # engines that load faster are not worth the memory while they are idle


@dataclass(frozen=True)
class Tool:
    """An engine chosen for a run. `identity` is the part of every key that its stages have."""

    engine: Engine
    options: Options
    identity: Mapping[str, Any]
    device: str = "cpu"
    weights: Weights = field(default_factory=dict[str, Path])
    reason: str = ""


@dataclass(frozen=True)
class _Loaded:
    """A loaded engine, how many calls it takes at once, how long loading took, who uses it now."""

    stack: ExitStack
    engine: Any
    gate: threading.Semaphore
    device: str
    seconds: float
    users: list[object]


def _name(tool: Tool) -> str:
    return json.dumps([tool.engine.info.kind, dict(tool.identity), tool.device], sort_keys=True)


def _give_back() -> None:
    """Returns memory that nobody uses to the system, where the C library can: an engine leaves a few hundred MB of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        gc.collect()
        trim(0)


class EnginePool:
    """Engines loaded at most once, shared by the runs of a batch. One heavy engine per accelerator at a time."""

    def __init__(self) -> None:
        self._open: dict[str, _Loaded] = {}
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, tool: Tool, jobs: int) -> Generator[Any]:
        """The loaded engine, for one call; waits while it serves as many calls as it can."""
        name = _name(tool)
        with self._lock:
            if name not in self._open:
                if tool.device != "cpu":
                    for other in [n for n, loaded in self._open.items() if loaded.device == tool.device]:
                        self._open.pop(other).stack.close()
                stack, began = ExitStack(), time.monotonic()
                engine = stack.enter_context(tool.engine.load(tool.options, tool.weights, tool.device))
                gate = threading.Semaphore(tool.engine.info.parallel or jobs)
                self._open[name] = _Loaded(stack, engine, gate, tool.device, time.monotonic() - began, [])
            loaded = self._open[name]
            user = object()
            loaded.users.append(user)
        try:
            with loaded.gate:
                yield loaded.engine
        finally:
            loaded.users.remove(user)

    def release(self, tool: Tool) -> None:
        """The run needs `tool` no more; it is unloaded if loading it again costs next to nothing."""
        with self._lock:
            loaded = self._open.get(_name(tool))
            if loaded and loaded.seconds < QUICK_S and not loaded.users:
                self._open.pop(_name(tool)).stack.close()
                del loaded
                _give_back()

    def close(self) -> None:
        """Unload everything; an engine that hangs while it loads is left to end with the process."""
        free = self._lock.acquire(timeout=2)
        for loaded in self._open.values():
            loaded.stack.close()
        self._open.clear()
        if free:
            self._lock.release()
