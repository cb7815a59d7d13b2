"""Jobs of a server and several workers on a real PostgreSQL, with all that can happen to them."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from job_house import Server, alive, ended, house, lay_traps, notes, odd, repeated, row, until
from postgres import Cluster

pytestmark = pytest.mark.slow
Film = Callable[..., dict[str, Any]]
QUIET_S = 11.0  # a worker looks for dead ones only after as long a time of its own beats


@pytest.fixture
def workers(data: Path, postgres: str) -> Iterator[Callable[..., list[Server]]]:
    """`workers(3)` -> that many, as processes of their own."""
    started: list[Server] = []

    def start(count: int, what: str = "worker") -> list[Server]:
        new = [Server(what, data, postgres) for _ in range(count)]
        started.extend(new)
        return new

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGCONT)
            worker.kill()
        else:
            for pipe in (worker.process.stdin, worker.process.stdout):
                if pipe:
                    pipe.close()


def told(data: Path, job: str, what: str) -> list[dict[str, Any]]:
    """Notes of an odd job."""
    return [note for note in notes(data) if note["job"] == job and note["what"].startswith(what)]


def holder(data: Path, job: str, workers: list[Server]) -> Server:
    """The worker that an odd job runs at, by the parent of its resident."""
    stat = Path(f"/proc/{told(data, job, 'begin')[-1]['pid']}/stat").read_text(encoding="ascii")
    parent = int(stat.rpartition(")")[2].split()[1])
    return next(worker for worker in workers if worker.process.pid == parent)


def test_events_of_workers_reach_listeners_of_the_server_and_cancel_reaches_workers(
    data: Path, postgres: str, workers: Callable[..., list[Server]]
) -> None:
    async def main() -> None:
        async with house(data, postgres) as (jobs, _):
            workers(2)
            await jobs.submit(odd("a", say="x" * 9000, tells=3))
            events = [event async for event in jobs.listen("a")]
            assert [event.number for event in events] == list(range(1, len(events) + 1))
            assert events[-1].kind == "done" and len(events[-1].data["said"]) == 9000, "longer than a NOTIFY"
            await jobs.submit(odd("b", sleep=60))
            (note,) = await until(lambda: told(data, "b", "child"))
            child = int(note["what"].split()[1])
            assert await jobs.cancel("b")
            await until(lambda: not alive(child), 2)
            assert (await ended(jobs, "b"))[-1].kind == "cancelled"

    asyncio.run(main())


@pytest.mark.timeout(900)
def test_whoever_is_killed_no_job_is_lost_and_nothing_finished_is_done_twice(
    data: Path, postgres: str, workers: Callable[..., list[Server]], film: Film
) -> None:
    async def main() -> None:
        lay_traps(data)
        ids = [f"j{n}" for n in range(4)]
        rolls = random.Random(7)
        crew = workers(3)
        await asyncio.sleep(QUIET_S)
        (server,) = workers(1, "server")
        async with house(data, postgres) as (jobs, records):
            for number, id_ in enumerate(ids):
                await jobs.submit(row(id_, film(data, number)))
            for _ in range(3):
                await asyncio.sleep(rolls.uniform(1.5, 3))
                for victim in (rolls.choice(crew), server):
                    victim.kill()
                    victim.start()
            for id_ in ids:
                assert (await ended(jobs, id_))[-1].kind == "done"
            assert repeated(data) == []
            assert await records.count_jobs("anna", frozenset({"queued", "running", "failed"})) == 0
        server.kill()
        from test_jobs_alone import undisturbed

        await undisturbed(data, ids, film)

    asyncio.run(main())


def test_work_of_a_dead_worker_goes_on_elsewhere_within_ten_seconds(
    data: Path, postgres: str, workers: Callable[..., list[Server]]
) -> None:
    async def main() -> None:
        crew = workers(2)
        await asyncio.sleep(QUIET_S)
        async with house(data, postgres) as (jobs, _):
            await jobs.submit(odd("d", sleep=9))
            first = (await until(lambda: told(data, "d", "child")))[0]
            holder(data, "d", crew).kill()
            (_, second) = await until(lambda: told(data, "d", "begin") if len(told(data, "d", "begin")) == 2 else None, 10)
            assert second["pid"] != first["pid"]
            assert not alive(first["pid"]) and not alive(int(first["what"].split()[1])), "its processes died with it"
            assert (await ended(jobs, "d"))[-1].kind == "done"

    asyncio.run(main())


def test_a_job_that_always_kills_its_worker_ends_with_a_clear_error(
    data: Path, postgres: str, workers: Callable[..., list[Server]]
) -> None:
    async def main() -> None:
        crew = workers(2)
        await asyncio.sleep(QUIET_S)

        async def replace_the_dead() -> None:
            while True:
                for worker in crew:
                    if worker.process.poll() is not None:
                        worker.kill()
                        await asyncio.to_thread(worker.start)
                await asyncio.sleep(0.2)

        async with house(data, postgres) as (jobs, records):
            service = asyncio.create_task(replace_the_dead())
            await jobs.submit(odd("k", kill="worker"))
            await jobs.submit(odd("good", say="hello"))
            last = (await ended(jobs, "k"))[-1]
            assert (last.kind, last.data["code"]) == ("failed", "worker-died")
            assert len(told(data, "k", "begin")) == 4, "once, and three recoveries"
            assert (await ended(jobs, "good"))[-1].kind == "done"
            service.cancel()
            await asyncio.wait({service})
            assert (await records.job("k")).state == "failed"  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_worker_that_was_stopped_and_goes_on_changes_nothing(
    data: Path, postgres: str, workers: Callable[..., list[Server]]
) -> None:
    async def main() -> None:
        crew = workers(2)
        await asyncio.sleep(QUIET_S)
        async with house(data, postgres) as (jobs, _):
            await jobs.submit(odd("z", sleep=3, say="once"))
            await until(lambda: told(data, "z", "child"))
            zombie = holder(data, "z", crew)
            zombie.process.send_signal(signal.SIGSTOP)
            events = await ended(jobs, "z")
            assert events[-1].kind == "done"
            zombie.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(4)
            assert [event.kind for event in await ended(jobs, "z")].count("done") == 1
            await jobs.submit(odd("after", say="hi"))
            assert (await ended(jobs, "after"))[-1].kind == "done"

    asyncio.run(main())


def test_a_database_that_crashes_and_comes_back_costs_no_job_and_no_second_run(
    data: Path, postgres: str, workers: Callable[..., list[Server]], cluster: Cluster
) -> None:
    async def main() -> None:
        workers(2)
        await asyncio.sleep(QUIET_S)
        async with house(data, postgres) as (jobs, records):
            for number in range(4):
                await jobs.submit(odd(f"o{number}", sleep=4, say="ok"))
            await until(lambda: len([note for note in notes(data) if note["what"].startswith("child")]) >= 2)
            await asyncio.to_thread(cluster.stop)
            try:
                await asyncio.sleep(6)
            finally:  # the queues' client asks again for ever, in threads that are waited for
                await asyncio.to_thread(cluster.start)

            async def over() -> bool:
                rows = [await records.job(f"o{number}") for number in range(4)]
                return all(job is not None and job.state == "done" for job in rows)

            await until(lambda: _calm(over()), 60)
            assert [len(told(data, f"o{number}", "begin")) for number in range(4)] == [1] * 4
            assert (await ended(jobs, "o3"))[-1].data["said"] == "ok"

    asyncio.run(main())


async def _calm(what: Any) -> bool:
    """False while the database is away."""
    from polydub.server.db.records import DatabaseAway

    try:
        return bool(await what)
    except DatabaseAway:
        return False


def test_work_of_another_version_is_left_alone(data: Path, postgres: str, workers: Callable[..., list[Server]]) -> None:
    async def main() -> None:
        async with house(data, postgres) as (jobs, records):
            workers(1)
            await jobs.submit(odd("now", say="hi"))
            assert (await ended(jobs, "now"))[-1].kind == "done"
            options = {
                "workflow_name": "job",
                "queue_name": "jobs",
                "app_version": "2",
                "workflow_id": "later/1",
                "priority": 1,
            }
            await records.add_job(odd("later"))
            await jobs.client.enqueue_async(options, {"job": "later", "attempt": 1})  # type: ignore[arg-type]
            await asyncio.sleep(3)
            assert told(data, "later", "begin") == []
            assert (await jobs.queue_depth())["jobs"] == 1

    asyncio.run(main())


def test_a_worker_told_to_stop_hands_its_work_back_at_once(
    data: Path, postgres: str, workers: Callable[..., list[Server]]
) -> None:
    async def main() -> None:
        crew = workers(2)
        async with house(data, postgres) as (jobs, _):
            await jobs.submit(odd("h", sleep=4))
            await until(lambda: told(data, "h", "child"))
            await asyncio.to_thread(holder(data, "h", crew).kill, signal.SIGTERM)
            await until(lambda: len(told(data, "h", "begin")) == 2, 4)
            assert (await ended(jobs, "h"))[-1].kind == "done"
        with psycopg.connect(postgres) as connection:
            (left,) = connection.execute("select count(*) from polydub_recovery").fetchone() or (None,)
            assert left == 0, "this was no death"

    asyncio.run(main())
