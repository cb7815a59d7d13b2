"""Who may use an engine now: a bounded queue, turns by due time; work in threads that ends when nobody wants it any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from heapq import heapify, heappop, heappush
from logging import getLogger
from typing import Generic, TypeVar

from polydub.errors import Cancelled, PolydubError
from polydub.server.problems import Problem, too_many

log = getLogger(__name__)
T = TypeVar("T")
AHEAD = 2048  # items that work may be ahead of whoever takes them: minutes of speech, so that a slow reader keeps no engine
STALLED_S = 120.0  # of somebody who takes nothing while work waits for him: he is taken for gone
_AHEAD_S = 0.05  # by which streams without a first sound go before one that has its own
_LOOK_S = 0.2  # how often who waits for a turn looks whether it is still wanted
_FIRST_GUESS_S = 2.0  # that a request takes, before any did
_WEIGHT = 0.2  # of the last request in the mean


class Heads:
    """Streams that have sent nothing yet: one that just has lets them come first, for less than what it sent lasts."""

    def __init__(self) -> None:
        self._coming: set[object] = set()

    @contextmanager
    def coming(self, stream: object) -> Generator[None]:
        """Around the work on a stream."""
        self._coming.add(stream)
        try:
            yield
        finally:
            self._coming.discard(stream)

    def heard(self, stream: object) -> None:
        """Something of it is sent."""
        if stream in self._coming:
            self._coming.discard(stream)
            if self._coming:
                time.sleep(_AHEAD_S)


class Turns:
    """Something that `slots` may use at once; of those who wait the one who needs it first comes first."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._serving = self._numbers = 0

    @property
    def serving(self) -> int:
        """Turns that are taken now."""
        return self._serving

    @property
    def waiting(self) -> int:
        """Who waits for one."""
        return len(self._waiting)

    @contextmanager
    def turn(self, due: float, check: Callable[[], None]) -> Generator[None]:
        """One use; `due` (`time.monotonic`) is when its result is needed.

        When a listener's sound runs out is known; served by that, no stream stalls as long as that is possible.
        `check` is asked while waiting, and may raise.
        """
        called = threading.Event()
        with self._lock:
            if self._serving < self.slots:
                self._serving += 1
                called.set()
            else:
                self._numbers += 1
                heappush(self._waiting, (due, self._numbers, called))
        try:
            while not called.wait(_LOOK_S):
                check()
        except BaseException:
            self._give_up(called)
            raise
        try:
            check()
            yield
        finally:
            self._next()

    def _next(self) -> None:
        with self._lock:
            if self._waiting:
                heappop(self._waiting)[2].set()
            else:
                self._serving -= 1

    def _give_up(self, called: threading.Event) -> None:
        with self._lock:
            if not called.is_set():
                self._waiting = [entry for entry in self._waiting if entry[2] is not called]
                heapify(self._waiting)
                return
        self._next()


class Desk(Turns):
    """Requests for one engine: `slots` are served at once, `queue` more wait, the rest is refused."""

    def __init__(self, slots: int, queue: int) -> None:
        super().__init__(slots)
        self._most, self._inside, self._mean_s = slots + queue, 0, _FIRST_GUESS_S

    @property
    def inside(self) -> int:
        """Requests that are served or wait."""
        return self._inside

    @contextmanager
    def place(self) -> Generator[None]:
        """A place for one request, from its first to its last turn. Raises: Problem 429 when all are taken."""
        with self._lock:
            if self._inside >= self._most:
                wait_s = min(60.0, max(1.0, self._mean_s * self._inside / self.slots))
                raise too_many("all engines for this are busy", wait_s, "engine_busy")
            self._inside += 1
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._mean_s += _WEIGHT * (time.monotonic() - began - self._mean_s)


class Flow(Generic[T]):
    """Work in a thread of its own, whose results a coroutine takes as they come.

    The work is given the flow: it calls `put` with each result and `check` where it can stop; both raise Cancelled when
    nobody wants it any more. What it raises is raised where results are taken.
    """

    def __init__(self, work: Callable[[Flow[T]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._stopped = False
        self._at_stop: list[Callable[[], None]] = []
        thread = ThreadPoolExecutor(1, "polydub-request")
        self._work = thread.submit(copy_context().run, work, self)
        self._work.add_done_callback(lambda _: self._tell())
        thread.shutdown(wait=False)

    # in the thread

    def put(self, item: T) -> None:
        """Hands one result over; waits while the taker is far behind. Raises Cancelled."""
        with self._changed:
            until = time.monotonic() + STALLED_S
            while len(self._items) >= AHEAD and not self._stopped:
                if not self._changed.wait(until - time.monotonic()):
                    self._stopped = True
            self.check()
            self._items.append(item)
        self._tell()

    def check(self) -> None:
        """Raises Cancelled when nobody wants the rest."""
        if self._stopped:
            raise Cancelled("the client has left")

    def linger(self) -> None:
        """Waits until nobody needs what has been handed over any more: `stop` tells so."""
        with self._changed:
            while not self._stopped:
                self._changed.wait()

    def at_stop(self, call: Callable[[], None]) -> None:
        """`call` is called when nobody wants the rest."""
        with self._changed:
            self._at_stop.append(call)
            stopped = self._stopped
        if stopped:
            call()

    def _tell(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.set)

    # in the loop

    @property
    def done(self) -> bool:
        """Whether the work has ended."""
        return self._work.done()

    def stop(self) -> None:
        """Nobody wants the rest; does not wait."""
        with self._changed:
            stopped, self._stopped = self._stopped, True
            self._changed.notify_all()
        if not stopped:
            for call in self._at_stop:
                call()

    async def take(self, timeout_s: float | None = None) -> T | None:
        """The next result; None at the end. Raises: what the work raised; TimeoutError when nothing came for so long."""
        while True:
            self._ready.clear()
            ended = self._work.done()  # asked first: nothing comes after it
            with self._changed:
                if self._items:
                    item = self._items.popleft()
                    self._changed.notify_all()
                    return item
            if ended:
                self._complain()
                return None
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()

    def _complain(self) -> None:
        error = self._work.exception()
        if error is None or isinstance(error, PolydubError):
            if error:
                raise error
            return
        log.error("a request failed in a way that nobody foresaw", exc_info=error)
        raise Problem(500, "internal_error", f"the server failed ({type(error).__name__})") from error

    async def __aiter__(self) -> AsyncIterator[T]:
        while (item := await self.take()) is not None:
            yield item
