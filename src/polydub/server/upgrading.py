"""Work that waits for workers of another protocol version, begun anew for those of this one."""

from __future__ import annotations

from collections.abc import Sequence

from polydub.server.contracts import Services
from polydub.server.fanout import Fanout
from polydub.server.hands import postgres
from polydub.server.jobs import VERSION, DurableJobs
from polydub.server.mending import ACTIVE
from polydub.server.steps import WORKING
from polydub.server.sweeper import queues


async def upgrade_beside(services: Services, *, dry_run: bool = False) -> Sequence[str]:
    """Begins a new attempt of each job whose work is of another version, beside a server that runs or not; their ids.

    What such a job has finished is kept. One that a worker of the other version is at is taken away from it.
    """
    async with queues(postgres(services.settings), services.folder) as client:
        if client is None:
            return []
        active = await client.list_workflows_async(status=ACTIVE, load_input=False, load_output=False)
        old = {tuple(one.workflow_id.split("/")[:2]) for one in active if one.app_version not in (None, VERSION)}
        rows = await services.records.jobs(states=WORKING, limit=100_000)
        found = [row.id for row in rows if (row.id, str(row.attempt)) in old]
        jobs = DurableJobs(services.records, Fanout(services.records), services.settings, services.now)
        jobs.client = client
        for id_ in () if dry_run else found:
            if await jobs.pause(id_):
                await jobs.again(id_)
        return found
