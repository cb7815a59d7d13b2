"""Loaded engines: opened on first need, shared by the runs of a batch, closed together."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

from polydub.engines.base import Engine, Options, Weights
from polydub.engines.opening import opened
from polydub.errors import PolydubError

log = getLogger(__name__)
QUICK_S = 0.5  # engines that load faster are not worth the memory while they are idle


@dataclass(frozen=True)
class Tool:
    """An engine chosen for a run.

    Attributes: identity: the part of every key that its stages have. python: that of the engine's environment, in which it
    works in a process of its own; None = in this process. elsewhere: what keeps it from working here, where another worker
    has chosen it; None = it can.
    """

    engine: Engine
    options: Options
    identity: Mapping[str, Any]
    device: str = "cpu"
    weights: Weights = field(default_factory=dict[str, Path])
    reason: str = ""
    python: Path | None = None
    elsewhere: PolydubError | None = None


@dataclass(frozen=True)
class _Loaded:
    """A loaded engine, how many calls it takes at once, how long loading took, the threads that use it or wait for it."""

    stack: ExitStack
    engine: Any
    gate: threading.Semaphore
    device: str
    seconds: float
    mib: int
    users: list[int] = field(default_factory=list[int])


class _Slot:
    """The place of one engine; whoever loads it holds the lock. `left`: when its last user left it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded: _Loaded | None = None
        self.left = 0.0

    @property
    def idle(self) -> bool:
        return self.loaded is not None and not self.loaded.users


def _name(tool: Tool) -> str:
    """What has to be the same for one loaded engine to serve both: not what it can be told anew for each call."""
    identity = dict(tool.identity)
    if (told := _by_call(tool)) and "options" in identity:
        identity["options"] = {name: value for name, value in identity["options"].items() if name not in told}
    return json.dumps([tool.engine.info.kind, identity, tool.device], sort_keys=True)


def _by_call(tool: Tool) -> frozenset[str]:
    """An engine in a process of its own is told its options when it is loaded, and no more."""
    return frozenset(tool.options.by_call().values()) if tool.python is None else frozenset()


def _memory(tool: Tool) -> int:
    """MiB that an engine takes on its device, as estimated before it is loaded."""
    host, accelerator = tool.engine.info.memory_mib
    weights = sum(weight.bytes for weight in tool.engine.weights(tool.options)) >> 20
    return max(host if tool.device == "cpu" else accelerator, weights)


def _shut(stack: ExitStack) -> None:
    """Unloads an engine; what it says against that is for nobody but the log."""
    try:
        stack.close()
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OSError, PolydubError) as error:
        log.warning("an engine could not be unloaded in order: %s", error)


def _give_back() -> None:
    """Returns memory that nobody uses to the system, where the C library can: an engine leaves a few hundred MB of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        gc.collect()
        trim(0)


class EnginePool:
    """Engines loaded at most once, shared by the runs of a batch. One heavy engine per accelerator at a time.

    An engine that nobody used for `idle_s` seconds is unloaded; 0 = never. `at_once`: calls that an engine without a limit
    of its own takes at once, however few threads each run has; 0 = as many as the run that loads it has threads.
    """

    def __init__(self, idle_s: float = 0.0, at_once: int = 0) -> None:
        self._idle_s, self._at_once, self._watched = idle_s, at_once, False
        self._slots: defaultdict[str, _Slot] = defaultdict(_Slot)
        self._devices: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._changed = threading.Condition()  # of slots, devices and users; never held while anything is loaded

    def held_mib(self, device: str) -> int:
        """Memory that its engines take on a device: what is free does not hold it, and an engine that is loaded has it."""
        with self._changed:
            return sum(slot.loaded.mib for slot in self._slots.values() if slot.loaded and slot.loaded.device == device)

    @contextmanager
    def borrow(self, tool: Tool, jobs: int, check: Callable[[], None] = lambda: None) -> Generator[Any]:
        """The loaded engine, for one call; waits while it serves as many calls as it can.

        `check` is asked when the waiting is over, and may raise: the run may have been stopped meanwhile.
        An engine on an accelerator also waits until nobody uses or waits for the one that is there, which is unloaded then.
        """
        me = threading.get_ident()
        with self._changed:
            slot = self._slots[_name(tool)]
        with slot.lock:
            check()
            loaded = self._joined(slot, me) or self._load(slot, tool, jobs)
        try:
            with loaded.gate:
                check()
                yield loaded.engine.told(tool.options) if _by_call(tool) else loaded.engine
        finally:
            with self._changed:
                loaded.users.remove(me)
                slot.left = time.monotonic()
                self._changed.notify_all()
                if self._idle_s and not self._watched:
                    self._watched = True
                    threading.Thread(target=self._watch, daemon=True).start()

    def _joined(self, slot: _Slot, me: int) -> _Loaded | None:
        with self._changed:
            if slot.loaded:
                slot.loaded.users.append(me)
            return slot.loaded

    def _load(self, slot: _Slot, tool: Tool, jobs: int) -> _Loaded:
        """Loads an engine for this thread. Engines of other names load meanwhile, but for those on the same accelerator."""
        with self._turn(tool.device):
            if tool.device != "cpu":
                self._make_room(tool.device)
            stack, began = ExitStack(), time.monotonic()
            engine = stack.enter_context(opened(tool.engine, tool.options, tool.weights, tool.device, tool.python))
            gate = threading.Semaphore(tool.engine.info.parallel or self._at_once or jobs)
            took_s = time.monotonic() - began
            loaded = _Loaded(stack, engine, gate, tool.device, took_s, _memory(tool), [threading.get_ident()])
            with self._changed:
                slot.loaded = loaded
            return loaded

    def _turn(self, device: str) -> AbstractContextManager[Any]:
        """Held while something is loaded onto an accelerator or unloaded from it."""
        with self._changed:
            return nullcontext() if device == "cpu" else self._devices[device]

    def _watch(self) -> None:
        """Unloads what has been idle for too long, until nothing is loaded."""
        while True:
            with self._changed:
                if not any(slot.loaded for slot in self._slots.values()):
                    self._watched = False
                    return
                idle = min((slot for slot in self._slots.values() if slot.idle), key=lambda slot: slot.left, default=None)
                left_s = idle.left + self._idle_s - time.monotonic() if idle else None
                if idle is None or idle.loaded is None or (left_s is not None and left_s > 0):
                    self._changed.wait(left_s)
                    continue
                device = idle.loaded.device
            self._unload(idle, device)

    def _unload(self, slot: _Slot, device: str) -> None:
        """Unless somebody uses it again."""
        with self._turn(device):
            with self._changed:
                if slot.loaded is None or slot.loaded.users:
                    return
                stack, slot.loaded = slot.loaded.stack, None
            _shut(stack)
        del stack
        _give_back()

    def _make_room(self, device: str) -> None:
        """Unloads what is on an accelerator, as soon as no other thread needs it."""
        me = threading.get_ident()
        with self._changed:
            there = [slot for slot in self._slots.values() if slot.loaded and slot.loaded.device == device]
        for slot in there:
            with self._changed:
                while slot.loaded and set(slot.loaded.users) - {me}:
                    self._changed.wait()
                if slot.loaded is None or slot.loaded.users:  # this thread works with both
                    continue
                stack, slot.loaded = slot.loaded.stack, None
            _shut(stack)

    def release(self, tool: Tool) -> None:
        """The run needs `tool` no more; it is unloaded if loading it again costs next to nothing."""
        with self._changed:
            slot = self._slots[_name(tool)]
            if slot.loaded is None or slot.loaded.seconds >= QUICK_S or slot.loaded.users:
                return
            stack, slot.loaded = slot.loaded.stack, None
        _shut(stack)
        del stack
        _give_back()

    def close(self) -> None:
        """Unload everything; an engine that hangs while it loads is left to end with the process."""
        with self._changed:
            stacks = [slot.loaded.stack for slot in self._slots.values() if slot.loaded]
            self._slots.clear()
            self._changed.notify_all()
        for stack in stacks:
            _shut(stack)
