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

    What such a job has finished is kept. One that a worker of the other version is at is taken away from it. Killed in between
    it may be asked for again: what is left of the other version then goes, too.
    """
    async with queues(postgres(services.settings), services.folder) as client:
        if client is None:
            return []
        active = await client.list_workflows_async(status=ACTIVE, load_input=False, load_output=False)
        old = [one.workflow_id for one in active if one.app_version not in (None, VERSION)]
        attempts = {tuple(id_.split("/")[:2]) for id_ in old}
        rows = await services.records.jobs(states=WORKING, limit=100_000)
        found = [row.id for row in rows if (row.id, str(row.attempt)) in attempts]
        if dry_run:
            return found
        jobs = DurableJobs(services.records, Fanout(services.records), services.settings, services.now)
        jobs.client = client
        for id_ in found:
            await jobs.anew(id_)
        await client.cancel_workflows_async(old)  # of attempts that nobody wants any more
        return found
