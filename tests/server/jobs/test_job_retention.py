"""What queues remember of work that has ended goes after the time of the logs; jobs and open work stay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from job_house import ended, house, now, odd, settings, until

from polydub.server.bootstrap import NoJobs
from polydub.server.contracts import Records, Services
from polydub.server.jobs import DurableJobs
from polydub.server.retention import sweep, sweep_beside
from polydub.server.storage import LocalStorage


def services(folder: Path, records: Records, jobs: DurableJobs, url: str = "") -> Services:
    return Services(settings(folder, url), records, LocalStorage(folder / "files"), jobs, folder, now)


async def done_and_open(jobs: DurableJobs) -> None:
    """A job that is done, of which the queues know a workflow, and one that is not."""
    await jobs.submit(odd("done", say="hi"))
    assert (await ended(jobs, "done"))[-1].kind == "done"
    await until(lambda: _workflows(jobs, 1))
    await jobs.submit(odd("open", sleep=60))


async def _workflows(jobs: DurableJobs, many: int) -> bool:
    return len(await jobs.ended(now() + timedelta(hours=1))) >= many


def test_work_that_has_ended_is_forgotten_after_the_days_of_logs(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as (jobs, records):
            await done_and_open(jobs)
            here = services(tmp_path, records, jobs)
            assert await sweep(here) == []
            later = replace(here, now=lambda: now() + timedelta(days=15))
            told = await sweep(later, dry_run=True)
            gone = [each.name for each in told if each.what == "workflow"]
            assert gone and all(name.startswith("done/1") for name in gone)
            assert await sweep(later, dry_run=True) == told, "a dry run deletes nothing"
            await sweep(later)
            assert await jobs.ended(now() + timedelta(days=1)) == []
            assert {row.id: row.state for row in await records.jobs()}["done"] == "done"
            assert await jobs.cancel("open"), "open work is in its queue as before"

    asyncio.run(main())


def test_the_command_forgets_beside_a_server_that_runs_and_one_that_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as (jobs, records):
            await done_and_open(jobs)
            beside = replace(services(tmp_path, records, jobs), jobs=NoJobs(), now=lambda: now() + timedelta(days=15))
            assert {each.what for each in await sweep_beside(beside, dry_run=True)} == {"workflow", "events"}
            await sweep_beside(beside)
            assert await jobs.ended(now() + timedelta(days=1)) == []
            await jobs.cancel("open")
            await until(lambda: _workflows(jobs, 1))
            gone = await sweep_beside(replace(beside, folder=tmp_path / "other"))
            assert {(each.what, each.name) for each in gone} == {("events", "open")}, "a folder without queues has none to tidy"
            assert await _workflows(jobs, 1), "and those of another folder are left alone"

    asyncio.run(main())


@pytest.mark.slow
def test_on_postgres_it_is_the_same(tmp_path: Path, postgres: str) -> None:
    async def main() -> None:
        async with house(tmp_path, postgres) as (jobs, records):
            await jobs.submit(odd("gone"))
            await jobs.cancel("gone")
            await until(lambda: _workflows(jobs, 1))
            beside = replace(services(tmp_path, records, jobs, postgres), jobs=NoJobs(), now=lambda: now() + timedelta(days=15))
            assert any(each.name.startswith("gone/1") for each in await sweep_beside(beside))
            assert await jobs.ended(now() + timedelta(days=1)) == []

    asyncio.run(main())
