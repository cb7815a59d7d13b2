"""Events of jobs on their way to listeners: in memory on one process, by LISTEN/NOTIFY between the processes of a Postgres.

What a listener missed it reads from the records, once; while it waits it asks nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from datetime import datetime
from typing import Any, Protocol

import psycopg

from polydub.server.contracts import OPEN, Event, JobRow, Records
from polydub.server.db.records import DatabaseAway, now_utc
from polydub.server.patience import Outage
from polydub.server.webhooks import announce
from polydub.server.work import settled

log = logging.getLogger(__name__)
CHANNEL = "polydub_events"
WAITING = 1000  # events that a slow listener may have before it; then it reads the records again
PAYLOAD = 7900  # bytes; NOTIFY takes 8,000
AGAIN_S = 1.0  # pause before a lost connection is made anew
LAST_S = 5.0  # how long the last event of a job that has ended may be on its way


class Line(Protocol):
    """How events get to other processes."""

    async def send(self, event: Event) -> None: ...
    async def close(self) -> None: ...


_Queue = asyncio.Queue[Event | None]  # None: something was missed, which the records know


class Fanout:
    """Gives events to all who listen to a job. Used from one event loop."""

    def __init__(self, records: Records, line: Line | None = None) -> None:
        self._records, self.line = records, line
        self._listeners: defaultdict[str, set[_Queue]] = defaultdict(set)

    async def tell(self, job: str, kind: str, data: Mapping[str, Any]) -> Event:
        """Keeps an event and gives it to listeners, here and elsewhere."""
        event = await self._records.add_event(job, kind, data)
        self.give(event)
        if self.line:
            await self.line.send(event)
        return event

    async def milestone(self, row: JobRow, kind: str, data: Mapping[str, Any]) -> Event:
        """`tell`, and webhooks of the owner are told too: these first, so that a kill in between loses none."""
        facts = {"id": row.id, "title": row.title, "kind": row.kind, **data}
        if error := await settled(announce(self._records, now_utc(), row.owner, f"job.{kind}", facts)):
            if isinstance(error, DatabaseAway):  # whoever called tries again
                raise error
            log.warning("webhooks could not be told that job %s is %s: %s", row.id, kind, error)
        return await self.tell(row.id, kind, data)

    def give(self, event: Event) -> None:
        """Gives an event that is kept already to those who listen here."""
        for queue in self._listeners.get(event.job, ()):
            if queue.qsize() < WAITING:
                queue.put_nowait(event)
            else:
                _forget(queue)

    def resync(self, job: str = "") -> None:
        """Events may have been missed: listeners (of one job) read the records."""
        for name, queues in self._listeners.items():
            if job in ("", name):
                for queue in queues:
                    _forget(queue)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    async def listen(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        """Events of a job from number `after` + 1 on, up to the last of its newest attempt; none of an unknown job."""
        with self._queue(job) as queue:
            number = after
            while True:
                while kept := await self._records.events(job, number):  # newer ones come into the queue meanwhile
                    for event in kept:
                        yield event
                    number = kept[-1].number
                row = await self._records.job(job)
                if row is None:
                    return
                ended = row.state not in OPEN
                if ended and await self._was_last(job, number):
                    return
                async for event in _following(queue, number, LAST_S if ended else None):
                    yield event
                    number, ended = event.number, False
                if ended:  # and its last event has been deleted, or was never told
                    return

    async def _was_last(self, job: str, number: int) -> bool:
        found = await self._records.events(job, number - 1, 1) if number else ()
        return bool(found) and found[0].last

    @contextlib.contextmanager
    def _queue(self, job: str) -> Generator[_Queue]:
        queue: _Queue = asyncio.Queue()
        self._listeners[job].add(queue)
        try:
            yield queue
        finally:
            self._listeners[job].discard(queue)
            if not self._listeners[job]:
                del self._listeners[job]


def _forget(queue: _Queue) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)


async def _following(queue: _Queue, number: int, patience_s: float | None) -> AsyncGenerator[Event]:
    """The events after `number` as they come, while none is missing: to a last one, or one for which there is no patience."""
    while True:
        try:
            async with asyncio.timeout(patience_s):
                event = await queue.get()
        except TimeoutError:
            return
        if event is None or event.number > number + 1:
            return
        if event.number == number + 1:
            number = event.number
            yield event
            if event.last:
                return


class PostgresLine:
    """Events by NOTIFY. `give`: what is done with those of other processes; `lost`: some may have been missed."""

    def __init__(self, url: str, give: Callable[[Event], None], lost: Callable[[str], None]) -> None:
        self._url, self._give, self._lost = url, give, lost
        self._out: psycopg.AsyncConnection[Any] | None = None
        self._gate = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._outage = Outage(log, "the line of events")

    def listen(self) -> None:
        """Begins to receive; a process that only works on jobs does not need to."""
        self._listening = asyncio.create_task(self._receive(), name="polydub-events")

    async def send(self, event: Event) -> None:
        """Tells other processes; where that fails, their listeners see it with the next event that gets through."""
        payload = _written(event)
        try:
            async with self._gate:
                if self._out is None or self._out.closed:
                    self._out = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
                await self._out.execute("select pg_notify(%s, %s)", (CHANNEL, payload))
            self._outage.back()
        except psycopg.Error as error:
            self._outage.away(error)

    async def _receive(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    await connection.execute(f"listen {CHANNEL}")
                    self._outage.back()
                    self._lost("")
                    async for notify in connection.notifies():
                        self._heard(notify.payload)
            except psycopg.Error as error:
                self._outage.away(error)
            await asyncio.sleep(AGAIN_S)

    def _heard(self, payload: str) -> None:
        told = json.loads(payload)
        if "kind" in told:
            self._give(Event(**told | {"at": datetime.fromisoformat(told["at"])}))
        else:
            self._lost(told["job"])

    async def close(self) -> None:
        """Gives both connections back."""
        if self._listening:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        if self._out:
            await self._out.close()


def _written(event: Event) -> str:
    data = {"job": event.job, "number": event.number, "kind": event.kind, "data": dict(event.data), "at": event.at.isoformat()}
    payload = json.dumps(data)
    return payload if len(payload) <= PAYLOAD else json.dumps({"job": event.job})
