"""Loaded engines: opened on first need, shared by the runs of a batch, closed together."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polydub.engines.base import Engine, Options, Weights


@dataclass(frozen=True)
class Tool:
    """An engine chosen for a run. `identity` is the part of every key that its stages have."""

    engine: Engine
    options: Options
    identity: Mapping[str, Any]
    device: str = "cpu"
    weights: Weights = field(default_factory=dict[str, Path])
    reason: str = ""


class EnginePool:
    """Engines loaded at most once, shared by the runs of a batch. One heavy engine per accelerator at a time."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Tool, ExitStack, Any, threading.Semaphore]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, tool: Tool, jobs: int) -> Generator[Any]:
        """The loaded engine, for one call; waits while it serves as many calls as it can."""
        name = json.dumps([tool.engine.info.kind, dict(tool.identity), tool.device], sort_keys=True)
        with self._lock:
            if name not in self._open:
                if tool.device != "cpu":
                    for other in [n for n, entry in self._open.items() if entry[0].device == tool.device]:
                        self._open.pop(other)[1].close()
                stack = ExitStack()
                loaded = stack.enter_context(tool.engine.load(tool.options, tool.weights, tool.device))
                calls = tool.engine.info.parallel or jobs
                self._open[name] = (tool, stack, loaded, threading.Semaphore(calls))
            _, _, engine, gate = self._open[name]
        with gate:
            yield engine

    def close(self) -> None:
        """Unload everything; an engine that hangs while it loads is left to end with the process."""
        free = self._lock.acquire(timeout=2)
        for _, stack, _, _ in self._open.values():
            stack.close()
        self._open.clear()
        if free:
            self._lock.release()
