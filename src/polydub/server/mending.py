"""Looking after jobs: those that no workflow will end, and workflows that nobody asks about any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from polydub.server.contracts import JobRow, Records
from polydub.server.steps import WORKING
from polydub.server.work import settled

if TYPE_CHECKING:
    from dbos import DBOSClient

log = logging.getLogger(__name__)
EVERY_S = 60.0
AT_ONCE = 1000  # workflows that are read or deleted by one statement
ACTIVE, ENDED = ["PENDING", "ENQUEUED", "DELAYED"], ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Mender:
    """Looks at once and every minute. enqueue: of a job; gave_up: fails the job of a workflow by its id."""

    def __init__(self, records: Records, client: DBOSClient, enqueue: Callable[[JobRow], Awaitable[None]],
                 gave_up: Callable[[str], Awaitable[None]]) -> None:  # fmt: skip
        self._records, self._client, self._enqueue, self._gave_up = records, client, enqueue, gave_up
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._looking = asyncio.create_task(self._look(), name="polydub-mend")

    async def close(self) -> None:
        """Looks no more."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        while True:
            if error := await settled(self.mend()):
                log.warning("jobs could not be looked after: %s", error)
            await asyncio.sleep(EVERY_S)

    async def _wait_in_vain(self) -> Sequence[JobRow]:
        """Jobs that are open in the records, and which no workflow will end."""
        open_ = await self._records.jobs(states=WORKING, limit=100_000)
        active = await self._client.list_workflows_async(status=ACTIVE, load_input=False, load_output=False)
        attempts = {tuple(workflow.workflow_id.split("/")[:2]) for workflow in active}
        return [row for row in open_ if (row.id, str(row.attempt)) not in attempts]

    async def mend(self) -> int:
        """Sees to jobs that a kill between two steps has left in no queue; how many."""
        mended = 0
        for seen in await self._wait_in_vain():
            attempt = f"{seen.id}/{seen.attempt}"
            found = await self._client.list_workflows_async(workflow_id_prefix=attempt, load_input=False, load_output=False)
            known = [w for w in found if w.workflow_id == attempt or w.workflow_id.startswith(attempt + "/")]
            row = await self._records.job(seen.id)  # after the workflows: the last of them changes it before it ends
            if row is None or (row.state, row.attempt) != (seen.state, seen.attempt):
                continue
            if not known:
                await self._enqueue(row)
            elif all(workflow.status in ENDED for workflow in known):
                await self._gave_up(attempt)
            else:
                continue
            mended += 1
        return mended


class Past:
    """What the queues remember of work that has ended."""

    def __init__(self, client: DBOSClient) -> None:
        self.client = client

    async def ended(self, before: datetime) -> Sequence[str]:
        """Ids of workflows that ended before then."""
        found: list[str] = []
        while True:
            page = await self.client.list_workflows_async(
                status=ENDED, completed_before=before.isoformat(), limit=AT_ONCE, offset=len(found),
                load_input=False, load_output=False,
            )  # fmt: skip
            found += [workflow.workflow_id for workflow in page]
            if len(page) < AT_ONCE:
                return found

    async def forget(self, ids: Sequence[str]) -> None:
        """Deletes them."""
        for start in range(0, len(ids), AT_ONCE):
            await self.client.delete_workflows_async(list(ids[start : start + AT_ONCE]))
