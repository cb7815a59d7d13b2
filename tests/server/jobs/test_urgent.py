"""Whether something more urgent waits, however much waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

from job_house import house

from polydub.server.jobs import VERSION
from polydub.server.sweeper import waiting


def test_what_came_last_is_seen_behind_a_thousand_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as (jobs, _):
            for number in range(1002):
                priority = 1 if number == 1001 else 5
                await jobs.client.enqueue_async(
                    {"workflow_name": "step", "queue_name": "nobody", "app_version": VERSION, "workflow_id": f"j/1/{number}",
                     "priority": priority}, {}
                )  # fmt: skip
            assert sorted(await waiting("nobody")) == [(1, "j"), *[(5, "j")] * 1001]

    asyncio.run(main())
