"""Jobs of one process, on SQLite."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

import pytest
from job_house import Server, alive, ended, house, lay_traps, notes, now, odd, repeated, row, settings, until

from polydub.errors import Busy
from polydub.server.contracts import JobRow
from polydub.server.db import open_records
from polydub.server.parts import id_of, queue_of
from polydub.server.requests import TooManyJobs
from polydub.server.work import Crew
from small_dubs import small_disk

Film = Callable[..., dict[str, Any]]


def digests(folder: Path, job: str) -> Mapping[str, str]:
    """Of the results of a job that are the same each time: all but reports, which tell when and how long."""
    root = folder / "files" / "jobs" / job
    paths = sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith("report."))
    assert [p for p in paths if p.suffix == ".mkv"]

    def digest(path: Path) -> str:
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()

    return {p.relative_to(root).as_posix(): digest(p) for p in paths}


def child_of(folder: Path, job: str) -> int:
    """The process that an odd job sleeps in, 0 before there is one."""
    found = [note["what"] for note in notes(folder) if note["job"] == job and note["what"].startswith("child ")]
    return int(found[-1].split()[1]) if found else 0


def test_a_dub_is_done_and_its_results_are_kept_and_listed(data: Path, film: Film) -> None:
    async def main() -> None:
        async with house(data) as (jobs, records):
            await jobs.submit(row("one", film(data)))
            events = await ended(jobs, "one")
            assert [event.number for event in events] == list(range(1, len(events) + 1))
            assert [events[0].kind, events[1].kind, events[-1].kind] == ["queued", "started", "done"]
            assert {event.kind for event in events[2:-1]} <= {"progress", "notice"}
            done = await records.job("one")
            assert done is not None and done.state == "done" and done.result is not None and done.finished is not None
            (dub,) = done.result["dubs"]
            assert (dub["language"], dub["film"], dub["lines"]) == ("es", "dub.es.mkv", 4)
            for file in done.result["files"]:
                assert (data / "files" / "jobs" / "one" / file["name"]).stat().st_size == file["bytes"]
            assert done.result["bytes"] == sum(file["bytes"] for file in done.result["files"])

    asyncio.run(main())


def test_a_second_attempt_remembers_what_the_first_did(data: Path, film: Film) -> None:
    async def main() -> None:
        async with house(data) as (jobs, records):
            await jobs.submit(row("one", film(data)))
            first = (await ended(jobs, "one"))[-1]
            again = await jobs.again("one")
            assert again is not None and (again.attempt, again.state, again.result) == (2, "queued", None)
            assert await jobs.again("one") is None, "it is open now"
            last = (await ended(jobs, "one", first.number))[-1]
            assert last.kind == "done" and [dub["calls"] for dub in last.data["dubs"]] == [0]
            assert (await records.job("one")).attempt == 2  # type: ignore[union-attr]

    asyncio.run(main())


def test_cancel_ends_a_long_subprocess_within_two_seconds_and_the_job_for_good(data: Path) -> None:
    async def main() -> None:
        async with house(data) as (jobs, records):
            await jobs.submit(odd("long", sleep=60))
            child = await until(lambda: child_of(data, "long"))
            assert await jobs.cancel("long")
            await until(lambda: not alive(child), 2)
            assert not await jobs.cancel("long")
            assert [event.kind for event in await ended(jobs, "long")] == ["queued", "started", "cancelled"]
            await jobs.submit(odd("next", say="hello"))
            assert (await ended(jobs, "next"))[-1].data["said"] == "hello"
            assert [note["what"] for note in notes(data) if note["job"] == "long"][:1] == ["begin"], "it is not begun again"
            assert (await records.job("long")).state == "cancelled"  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_paused_job_goes_on_as_a_new_attempt(data: Path) -> None:
    async def main() -> None:
        async with house(data) as (jobs, records):
            await jobs.submit(odd("p", sleep=60))
            child = await until(lambda: child_of(data, "p"))
            assert await jobs.pause("p") and not await jobs.pause("p")
            await until(lambda: not alive(child), 2)
            assert (await records.job("p")).state == "paused"  # type: ignore[union-attr]
            again = await jobs.again("p")
            assert again is not None and again.attempt == 2
            assert await until(lambda: child_of(data, "p") not in (0, child) and child_of(data, "p"))
            assert await jobs.cancel("p")
            kinds = [event.kind for event in await ended(jobs, "p")]
            assert kinds == ["queued", "started", "paused", "queued", "started", "cancelled"]

    asyncio.run(main())


def test_urgent_jobs_overtake_those_that_wait(data: Path) -> None:
    async def main() -> None:
        async with house(data, slots=1) as (jobs, _):
            await jobs.submit(odd("first", sleep=60))
            child = await until(lambda: child_of(data, "first"))
            for name, priority in (("slow1", 9), ("normal", 5), ("urgent", 1)):
                await jobs.submit(odd(name, priority=priority))
            assert jobs.worker is not None
            crew = jobs.worker.crews["cpu"]
            await until(lambda: crew.waiting == 3)  # so many are taken ahead
            await jobs.submit(odd("slow2", priority=9))
            os.kill(child, signal.SIGTERM)
            for name in ("slow1", "slow2", "normal", "urgent"):
                await ended(jobs, name)
            order = [note["job"] for note in notes(data) if note["what"] == "begin"]
            assert order[:3] == ["first", "urgent", "normal"] and set(order[3:]) == {"slow1", "slow2"}

    asyncio.run(main())


def test_nobody_has_more_open_jobs_than_the_limit(data: Path) -> None:
    async def main() -> None:
        async with house(data, slots=3, jobs_a_user=2) as (jobs, records):
            tries = [jobs.submit(odd(f"a{n}", sleep=30)) for n in range(5)]
            refused = [error for error in await asyncio.gather(*tries, return_exceptions=True) if error]
            assert len(refused) == 3 and all(isinstance(error, TooManyJobs) for error in refused)
            await jobs.submit(odd("b", owner="bob"))
            assert (await ended(jobs, "b"))[-1].kind == "done"
            assert await records.count_jobs("anna", frozenset({"queued", "running"})) == 2

    asyncio.run(main())


def test_a_job_that_always_kills_its_process_fails_after_three_with_the_stage(data: Path) -> None:
    async def main() -> None:
        async with house(data) as (jobs, _):
            await jobs.submit(odd("k", kill="self", tells=1))
            last = (await ended(jobs, "k"))[-1]
            assert (last.kind, last.data["code"], last.data["stage"]) == ("failed", "worker-died", "odd")
            assert len([note for note in notes(data) if note["what"] == "begin"]) == 3
            await jobs.submit(odd("n", say="still there"))
            assert (await ended(jobs, "n"))[-1].data["said"] == "still there"

    asyncio.run(main())


def test_a_fault_of_ours_fails_the_job_without_a_secret_or_a_path(data: Path) -> None:
    async def main() -> None:
        async with house(data) as (jobs, _):
            await jobs.submit(odd("z", **{"raise": True}))
            last = (await ended(jobs, "z"))[-1]
            assert (last.kind, last.data["code"]) == ("failed", "internal")
            assert str(data) not in str(last.data)

    asyncio.run(main())


def test_a_damaged_film_fails_with_its_own_error(data: Path, film: Film) -> None:
    async def main() -> None:
        request = film(data)
        (data / "files" / "uploads" / "film1").write_bytes(b"no film at all")
        async with house(data) as (jobs, records):
            await jobs.submit(row("bad", request))
            last = (await ended(jobs, "bad"))[-1]
            assert (last.kind, last.data["code"]) == ("failed", "unreadable-media")
            assert str(data) not in str(last.data["message"])
            assert (await records.job("bad")).error == last.data  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_second_process_is_refused_the_folder(data: Path) -> None:
    async def main() -> None:
        async with house(data):
            records = await open_records(settings(data), data)
            from polydub.server.jobs import open_jobs
            from polydub.server.storage import LocalStorage

            with pytest.raises(Busy, match="another server works with"):
                await open_jobs(settings(data), records, LocalStorage(data / "files"), data, now)
            await records.close()

    asyncio.run(main())


def test_the_queue_of_a_workflow_stands_in_its_id() -> None:
    call = {"job": "a-b_c", "attempt": 2, "number": 1, "queue": "gpu"}
    assert (queue_of(id_of(call)), queue_of("a-b_c/2")) == ("gpu", "jobs")


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    """A server as a process of its own."""
    server = Server("server", data)
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_killed_at_any_moment_goes_on_at_its_next_start(data: Path, film: Film, server: Server) -> None:
    async def main() -> None:
        wanted = [row(f"j{n}", film(data, n)) for n in range(3)]
        server.kill()
        lay_traps(data)
        records = await open_records(settings(data), data)
        for job in wanted:
            await records.add_job(job)
        for pause_s in (1.3, 2.1, 2.6, 1.9, 3.0):
            server.start()
            await asyncio.sleep(pause_s)
            server.kill()
        server.start()

        async def over() -> bool:
            return all([not _open(await records.job(job.id)) for job in wanted])

        await until(over, 120)
        assert {(await records.job(job.id)).state for job in wanted} == {"done"}  # type: ignore[union-attr]
        assert repeated(data) == []
        server.kill(signal.SIGTERM)
        await records.close()
        await undisturbed(data, [job.id for job in wanted], film)

    asyncio.run(main())


def _open(job: JobRow | None) -> bool:
    assert job is not None
    return job.state in ("queued", "running")


async def undisturbed(data: Path, ids: list[str], film: Film) -> None:
    """The same jobs in a folder of their own, without a kill: their results must be the same, byte by byte."""
    calm = data.parent / "calm"
    calm.mkdir()
    async with house(calm) as (jobs, _):
        for number, id_ in enumerate(ids):
            await jobs.submit(row(id_, film(calm, number)))
        for id_ in ids:
            assert (await ended(jobs, id_))[-1].kind == "done"
    for id_ in ids:
        assert digests(data, id_) == digests(calm, id_)


@pytest.mark.slow
def test_on_a_full_disk_a_job_fails_with_advice_and_goes_on_when_there_is_room(data: Path, film: Film) -> None:
    async def main() -> None:
        lay_traps(data)
        store = data / "store"
        store.rename(data / "kept")
        with small_disk(store, 400) as disk:
            async with house(data) as (jobs, _):
                await jobs.submit(row("full", film(data)))
                last = (await ended(jobs, "full"))[-1]
                assert (last.kind, last.data["code"]) == ("failed", "store")
                assert "full" in last.data["message"] or "No space left" in last.data["message"]
                assert str(data) not in str(last.data)
                subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
                await jobs.again("full")
                assert (await ended(jobs, "full", last.number))[-1].kind == "done"

    asyncio.run(main())


def test_of_a_crew_no_more_work_at_once_than_it_has_slots() -> None:
    async def main() -> None:
        crew, most = Crew(2, ("true",)), 0

        async def one(number: int) -> None:
            nonlocal most
            async with crew.resident(number % 3 + 1):
                most = max(most, crew.busy)
                await asyncio.sleep(0.002)

        tasks = [asyncio.create_task(one(number)) for number in range(30)]
        await asyncio.sleep(0.01)
        for task in itertools.islice(tasks, 0, None, 4):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (most, crew.busy) == (2, 0)
        async with asyncio.timeout(60), crew.resident(1):
            pass

    asyncio.run(main())
