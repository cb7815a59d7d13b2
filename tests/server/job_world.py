"""Jobs for tests of routes: states move as they are told to, and events are kept in the records; nothing is dubbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from polydub.server.contracts import OPEN, Event, JobRow, JobState, Records


class HandJobs:
    """Jobs whose work is done by the test: `done`, `failed`. `records` is set when the house is open."""

    def __init__(self) -> None:
        self.records: Records | None = None
        self.listening = 0
        self.open = asyncio.Event()  # cleared: jobs that are submitted wait
        self.open.set()
        self._news = asyncio.Condition()

    @property
    def kept(self) -> Records:
        assert self.records is not None
        return self.records

    async def submit(self, row: JobRow) -> None:
        await self.open.wait()
        await self.kept.add_job(row)
        await self.tell(row.id, "queued")

    async def tell(self, job: str, kind: str, told: Mapping[str, Any] | None = None, **data: Any) -> Event:
        event = await self.kept.add_event(job, kind, {**(told or {}), **data})
        async with self._news:
            self._news.notify_all()
        return event

    async def move(self, job: str, to: JobState, *when: JobState, **fields: Any) -> JobRow | None:
        moved = await self.kept.move_job(job, to, when=frozenset(when), **fields)
        if moved:
            await self.tell(job, "started" if to == "running" else to)
        return moved

    async def cancel(self, id_: str) -> bool:
        return await self.move(id_, "cancelled", *OPEN) is not None

    async def pause(self, id_: str) -> bool:
        return await self.move(id_, "paused", "queued", "running") is not None

    async def again(self, id_: str) -> JobRow | None:
        row = await self.kept.job(id_)
        fresh: dict[str, Any] = {"attempt": (row.attempt if row else 0) + 1, "result": None, "error": None}
        return await self.move(id_, "queued", "paused", "done", "failed", "cancelled", **fresh)

    async def listen(self, id_: str, after: int = 0) -> AsyncIterator[Event]:
        self.listening += 1
        try:
            while True:
                async with self._news:
                    found = await self.kept.events(id_, after)
                    if not found:
                        await self._news.wait()
                for event in found:
                    yield event
                    after = event.number
                if found and found[-1].last:
                    return
        finally:
            self.listening -= 1

    async def queue_depth(self) -> Mapping[str, int]:
        return {}

    async def ended(self, before: datetime) -> Sequence[str]:
        return ()

    async def forget(self, ids: Sequence[str]) -> None: ...

    async def close(self) -> None: ...
