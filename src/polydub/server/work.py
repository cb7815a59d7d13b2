"""Work on jobs in resident processes: so many at once, the most urgent first, killed with all they started when told to."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)
PROGRAM = (sys.executable, "-m", "polydub.server.resident")
LINE = 16 << 20  # bytes of the longest line that a resident may answer
_LAST = frozenset({"result", "error", "next"})
DEATHS = 3  # processes that one job may take with it

Message = Mapping[str, Any]
Hear = Callable[[Message], None]


class Died(Exception):
    """A resident process ended in the middle of a task. `status`: as waitpid tells, negative = a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a worker process ended with status {status}")
        self.status = status


class Resident:
    """A process that is started at its first task and kept for the next ones."""

    def __init__(self, program: Sequence[str]) -> None:
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._over = False

    async def run(self, task: Message, hear: Hear) -> Message:
        """The last message of a task, which holds "result", "error" or "next"; `hear` gets those before it.

        A task that is cancelled dies at once with every process of its group. Raises: Died.
        """
        process = await self._started()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
        ended = False
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(json.dumps(task).encode() + b"\n")
                await process.stdin.drain()
            while line := await process.stdout.readline():
                message = json.loads(line)
                if not _LAST.isdisjoint(message):
                    ended = True
                    return message
                hear(message)
            raise Died(await process.wait())
        finally:
            if not ended:
                self.kill()
                await process.wait()

    def say(self, message: Message) -> None:
        """Something that the task is told while it runs; no answer is waited for."""
        if self._process is not None and self._process.stdin is not None and self._process.returncode is None:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _started(self) -> asyncio.subprocess.Process:
        if self._over:
            raise Died(-signal.SIGKILL)
        if self._process is None or self._process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                *self._program, stdin=pipe, stdout=pipe, process_group=0, limit=LINE
            )
        return self._process

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def kill(self) -> None:
        """Ends the process and all of its group, now."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdin:
                process.stdin.close()

    async def end(self) -> None:
        """Ends it for good, whatever it does, and waits until it has ended."""
        process, self._over = self._process, True
        self.kill()
        if process is not None:
            await process.wait()


@dataclass(order=True)
class _Waiting:
    rank: tuple[int, str]
    number: int
    turn: asyncio.Future[Resident]


class Crew:
    """Residents of one resource: `slots` of them work at once. Those idle for `idle_s` seconds are ended."""

    def __init__(self, slots: int, program: Sequence[str] = PROGRAM, idle_s: float = 300.0) -> None:
        self.slots, self._program, self._idle_s = slots, program, idle_s
        self._idle: list[tuple[Resident, asyncio.TimerHandle]] = []
        self._busy: set[Resident] = set()
        self._queue: list[_Waiting] = []
        self._numbers = itertools.count()
        self._over = False

    @property
    def busy(self) -> int:
        """Residents at work."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """Tasks that wait for a resident."""
        return sum(not waiting.turn.cancelled() for waiting in self._queue)

    def waits(self, priority: int, since: str) -> bool:
        """Whether a task waits that comes before one of this rank."""
        return any(waiting.rank < (priority, since) for waiting in self._queue if not waiting.turn.cancelled())

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes at work or kept for the next task."""
        residents = [*self._busy, *(resident for resident, _ in self._idle)]
        return tuple(pid for resident in residents if (pid := resident.pid) is not None)

    @contextlib.asynccontextmanager
    async def resident(self, priority: int, since: str = "") -> AsyncGenerator[Resident]:
        """A resident for one task, when it is its turn: by priority (1 = first), by the time it was asked for."""
        turn: asyncio.Future[Resident] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, _Waiting((priority, since), next(self._numbers), turn))
        self._next()
        try:
            resident = await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # both came at once
                self._back(turn.result())
            raise
        try:
            yield resident
        finally:
            self._back(resident)

    def _next(self) -> None:
        while self._queue and len(self._busy) < self.slots and not self._over:
            turn = heapq.heappop(self._queue).turn
            if not turn.cancelled():
                resident = self._taken()
                self._busy.add(resident)
                turn.set_result(resident)

    def _back(self, resident: Resident) -> None:
        self._busy.discard(resident)
        if resident.pid is not None:
            timer = asyncio.get_running_loop().call_later(self._idle_s, self._end, resident)
            self._idle.append((resident, timer))
        self._next()

    def _taken(self) -> Resident:
        if not self._idle:
            return Resident(self._program)
        resident, timer = self._idle.pop()
        timer.cancel()
        return resident

    def _end(self, resident: Resident) -> None:
        self._idle = [(other, timer) for other, timer in self._idle if other is not resident]
        resident.kill()

    async def close(self) -> None:
        """Ends all of them for good, whatever they do, and waits until they have ended. Who waits for a turn gets none."""
        self._over = True
        for _, timer in self._idle:
            timer.cancel()
        residents = [*self._busy, *(resident for resident, _ in self._idle)]
        self._idle.clear()
        await asyncio.gather(*(resident.end() for resident in residents))


async def persistent(resident: Resident, task: Message, hear: Hear) -> Message:
    """The answer to a task; one whose process dies is begun anew, three times in all, then it is an error."""
    stage, status = "", 0

    def heard(message: Message) -> None:
        nonlocal stage
        stage = message.get("progress", {}).get("stage", stage)
        hear(message)

    for _ in range(DEATHS):
        try:
            return await resident.run(task, heard)
        except Died as error:
            status = error.status
            log.warning("a worker process ended with status %d in %s", status, stage or "its first stage")
    return died_repeatedly(stage, f"the last one ended with status {status}" if status >= 0 else _signal(status))


def _signal(status: int) -> str:
    name = signal.Signals(-status).name
    return f"the last one was ended by {name}" + (", as the system does where memory runs out" if name == "SIGKILL" else "")


def died_repeatedly(stage: str, how: str) -> dict[str, Any]:
    """The error of a job that takes its workers with it."""
    where = f" in {stage}" if stage else ""
    hint = "give the worker more memory, or choose other engines; then try again: finished work is kept"
    error = {"code": "worker-died", "message": f"worker died repeatedly{where}: {how}", "hint": hint, "retryable": True}
    return {"error": error | ({"stage": stage} if stage else {})}


async def settled(what: Awaitable[Any]) -> BaseException | None:
    """Waits for something that must not fail its caller; what it raised, or None."""
    task = asyncio.ensure_future(what)
    await asyncio.wait({task})
    return asyncio.CancelledError() if task.cancelled() else task.exception()
