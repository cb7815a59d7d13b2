"""Work that an older version has left in the queues is begun anew, once, by whoever asks for it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from job_house import ended, house, notes, now, odd, settings
from test_job_retention import services

from polydub.server.bootstrap import NoJobs
from polydub.server.contracts import Services
from polydub.server.db import open_records
from polydub.server.jobs import DurableJobs
from polydub.server.storage import LocalStorage
from polydub.server.upgrading import upgrade_beside


async def left_behind(jobs: DurableJobs, records: Any) -> None:
    """A job that waits for a worker of another version."""
    await records.add_job(odd("old", say="hi"))
    options: Any = {
        "workflow_name": "job",
        "queue_name": "jobs",
        "app_version": "0",
        "workflow_id": "old/1",
        "priority": 5,
    }
    await jobs.client.enqueue_async(options, {"job": "old", "attempt": 1})


def test_a_job_of_another_version_is_begun_anew_and_others_are_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as (jobs, records):
            await left_behind(jobs, records)
            await jobs.submit(odd("new", say="hi"))
            here = services(tmp_path, records, jobs)
            assert await upgrade_beside(here, dry_run=True) == ["old"]
            assert (await records.job("old")).attempt == 1  # type: ignore[union-attr]
            assert await upgrade_beside(here) == ["old"]
            for name, attempt in (("old", 2), ("new", 1)):
                last = (await ended(jobs, name))[-1]
                assert (last.kind, last.data["attempt"]) == ("done", attempt)
            assert await upgrade_beside(here) == []
            assert sorted(note["job"] for note in notes(tmp_path) if note["what"] == "begin") == ["new", "old"]

    asyncio.run(main())


class Killed(Exception):
    """The command ended here."""


def test_a_job_goes_on_where_the_command_was_killed_in_the_middle(tmp_path: Path) -> None:
    async def left(jobs: DurableJobs) -> list[str]:
        active = await jobs.client.list_workflows_async(status=["ENQUEUED", "PENDING"])
        return [one.workflow_id for one in active if one.app_version == "0"]

    async def main() -> None:
        async with house(tmp_path) as (jobs, records):
            await left_behind(jobs, records)

            class Last(type(records)):  # type: ignore[misc]
                """Records whose first change is the last thing that the command does."""

                def __init__(self) -> None:
                    vars(self).update(vars(records))

                async def move_job(self, *which: Any, **fields: Any) -> Any:
                    await super().move_job(*which, **fields)
                    raise Killed

            here = services(tmp_path, records, jobs)
            with pytest.raises(Killed):
                await upgrade_beside(replace(here, records=Last()))
            assert await left(jobs) == ["old/1"]
            assert await upgrade_beside(here) == [] and await left(jobs) == []
        async with house(tmp_path) as (jobs, records):  # the mender looks when it starts, and every minute
            last = (await ended(jobs, "old"))[-1]
            assert (last.kind, last.data["attempt"]) == ("done", 2)

    asyncio.run(main())


def admin(folder: Path, *words: str) -> tuple[str, str]:
    """What the command prints, in a process of its own: the logs of DBOS stay with the first output they find."""
    command = [sys.executable, "-c", "from polydub.cli import main; main()", "admin", "upgrade", "--data", str(folder), *words]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return made.stdout, made.stderr


@pytest.mark.slow
def test_it_is_asked_for_on_the_command_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as (jobs, records):
            await left_behind(jobs, records)

    asyncio.run(main())
    told, said = admin(tmp_path, "--dry-run")
    assert told == "old\n" and "1 job would be begun anew" in said
    assert "1 job begun anew" in admin(tmp_path)[1]
    assert json.loads(admin(tmp_path, "--json")[0])["jobs"] == []


def test_a_server_without_queues_has_nothing_to_begin_anew(tmp_path: Path) -> None:
    async def main() -> None:
        told = settings(tmp_path)
        records = await open_records(told, tmp_path)
        here = Services(told, records, LocalStorage(tmp_path / "files"), NoJobs(), tmp_path, now)
        assert await upgrade_beside(here) == []
        await records.close()

    asyncio.run(main())
