"""The lines of one film, spoken by several workers at once."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from bucket_stand_in import Bucket, a_bucket
from divided_house import calls, fail, hold, installed, pace
from job_house import Server, alive, ended, house, odd, row, until
from test_jobs_alone import digests
from test_jobs_shared import Host, brought, sums, undisturbed

from polydub.engines import registry
from polydub.server.jobs import DurableJobs
from small_dubs import srt

pytestmark = pytest.mark.slow
LINES, EACH_S = 60, 0.8
LAST = (f"No {LINES - 2}.", f"No {LINES - 1}.")  # one of each of two shares
QUIET_S = 11.0  # a worker looks for dead ones only after as long a time of its own beats
Hosts = Callable[..., list[Host]]


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with a_bucket() as made:
        yield made


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An engine whose pace can be told, for all processes; a slice of theirs is a second."""
    for name, value in {**installed(tmp_path), "JOB_SLICE_S": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    registry._entries.cache_clear()
    yield
    registry._entries.cache_clear()


@pytest.fixture
def hosts(
    tmp_path: Path, postgres: str, bucket: Bucket, film: dict[str, Any], engines: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hosts]:
    """`hosts("a", "b")` -> hosts with a worker each, and a bucket that has the film."""
    brought(bucket, tmp_path / "server")
    started: list[Host] = []

    def start(*names: str) -> list[Host]:
        for name in names:
            monkeypatch.setenv("DIVIDED_HOST", name)
            started.append(Host(tmp_path / name, postgres, bucket))
        return started

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def film(tmp_path: Path, clip: Callable[..., Path]) -> dict[str, Any]:
    """The dub of a film of many short lines, whose uploads lie in the folder of a server."""
    uploads = tmp_path / "server" / "files" / "uploads"
    uploads.mkdir(parents=True)
    clip("long", seconds=EACH_S * LINES + 1).rename(uploads / "long")
    cues = [(0.2 + EACH_S * at, 0.8 + EACH_S * at, f"ANNA: No {at}.") for at in range(LINES)]
    (uploads / "text").write_text(srt(cues), encoding="utf-8")
    return {
        "input": {"upload": "long", "name": "long.mkv"},
        "to": ["es"],
        "transcript": {"upload": "text", "name": "long.en.srt"},
        "settings": {"tts": "carded", "mt": "fake", "asr": "fake"},
    }


def speaks(folder: Path, text: str) -> str:
    """The host that has begun to speak a line, "" when none has."""
    return next((str(call["host"]) for call in calls(folder, "carded") if text in str(call["text"])), "")


def again(folder: Path) -> list[str]:
    """Lines that were spoken more than once in the same way."""
    said = Counter((str(call["text"]), call["rate"]) for call in calls(folder, "carded"))
    return [text for (text, _), times in said.items() if times > 1]


def steps(url: str) -> list[str]:
    """The steps of a job, by what follows its attempt in their names."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select workflow_uuid from dbos.workflow_status order by created_at").fetchall()
    return [id_.split("/")[2] for (id_,) in rows if id_.startswith("one/1/")]


def workplaces(folder: Path) -> list[Path]:
    """Where hosts are at shares."""
    return list(folder.glob("*/jobs/one/output.*"))


def delivered(bucket: Bucket) -> dict[str, str]:
    return sums({key.removeprefix("studio/jobs/one/"): data for key, data in bucket.objects.items() if "/jobs/one/" in key})


async def put(bucket: Bucket) -> None:
    """What was made until now is in the bucket: nothing new comes any more."""
    seen = -1
    while seen != len(bucket.objects):
        seen = len(bucket.objects)
        await asyncio.sleep(2.0)


async def both_at(folder: Path, url: str, jobs: DurableJobs, film: dict[str, Any], lines: tuple[str, str]) -> list[Path]:
    """Two workers are at the shares of one film, each at one of these lines; it goes on when the files are deleted."""
    pace(folder, 0.5)
    gates = [hold(folder, "carded", line) for line in lines]
    await jobs.submit(row("one", film, priority=9))
    await until(lambda: "2.1.1-cpu" in steps(url))
    pace(folder, 0.02)
    await until(lambda: all(speaks(folder, line) for line in lines))
    assert {speaks(folder, line) for line in lines} == {"one", "two"}
    return gates


def test_two_hosts_speak_the_lines_of_one_film_at_once_and_none_twice(
    tmp_path: Path, postgres: str, bucket: Bucket, hosts: Hosts, film: dict[str, Any]
) -> None:
    async def main() -> None:
        hosts("one", "two")
        async with house(tmp_path / "server", postgres) as (jobs, _):
            for gate in await both_at(tmp_path, postgres, jobs, film, LAST):
                gate.unlink()
            events = await ended(jobs, "one")
            assert events[-1].kind == "done", events[-1].data
        assert again(tmp_path) == [] and bucket.refused == []
        assert steps(postgres)[:4] == ["1-cpu", "2.0.1-cpu", "2.1.1-cpu", "3-cpu"]
        assert [event.kind for event in events].count("started") == 1
        assert events[-1].data["dubs"][0]["calls"] > len(calls(tmp_path, "carded")), "calls of all shares are counted"
        assert delivered(bucket) == await undisturbed(tmp_path / "server", film)

    asyncio.run(main())


def test_a_host_that_is_killed_in_its_share_loses_no_finished_line(
    tmp_path: Path, postgres: str, bucket: Bucket, hosts: Hosts, film: dict[str, Any]
) -> None:
    async def main() -> None:
        _, two = hosts("one", "two")
        await asyncio.sleep(QUIET_S)
        async with house(tmp_path / "server", postgres) as (jobs, _):
            gates = await both_at(tmp_path, postgres, jobs, film, LAST)
            await put(bucket)
            two.kill()
            for gate in gates:
                gate.unlink()
            last = (await ended(jobs, "one"))[-1]
            assert last.kind == "done", last.data
        assert all(line.endswith(LAST) for line in again(tmp_path)) and bucket.refused == [], "but for the one it was at"
        assert delivered(bucket) == await undisturbed(tmp_path / "server", film)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel", "failure"])
def test_what_ends_a_job_ends_all_who_are_at_it(
    tmp_path: Path, postgres: str, hosts: Hosts, film: dict[str, Any], how: str
) -> None:
    async def main() -> None:
        crew = hosts("one", "two")
        async with house(tmp_path / "server", postgres) as (jobs, _):
            gates = await both_at(tmp_path, postgres, jobs, film, LAST)
            residents = [pid for one in crew for pid in one.residents]
            assert len(residents) >= 2 and len(workplaces(tmp_path)) == 2
            if how == "cancel":
                assert await jobs.cancel("one")
                await until(lambda: not any(map(alive, residents)), 2)
            else:
                fail(tmp_path, "carded", LAST[0])
                gates[0].unlink()
            events = await ended(jobs, "one")
            assert (events[-1].kind, events[-1].data.get("line")) in [("cancelled", None), ("failed", str(LINES - 1))]
            assert [event.kind for event in events].count("failed") == (how == "failure")
            await until(lambda: sum(map(alive, residents)) == (how == "failure"))
            gates[1].unlink()
            said = len(calls(tmp_path, "carded"))
            await asyncio.sleep(1.0)
            assert len(calls(tmp_path, "carded")) == said, "nothing goes on"
            await until(lambda: not workplaces(tmp_path))

    asyncio.run(main())


def test_shares_make_room_for_an_urgent_job_and_go_on_after_it(
    tmp_path: Path, postgres: str, hosts: Hosts, film: dict[str, Any]
) -> None:
    async def main() -> None:
        hosts("one", "two")
        async with house(tmp_path / "server", postgres) as (jobs, _):
            gates = await both_at(tmp_path, postgres, jobs, film, ("No 30.", "No 31."))
            for name in ("first", "second"):
                await jobs.submit(odd(name, priority=1, sleep=1))
            pace(tmp_path, 0.5)
            for gate in gates:
                gate.unlink()
            await until(lambda: [step for step in steps(postgres) if step.endswith(".2-cpu")])
            pace(tmp_path, 0.02)
            for name in ("first", "second", "one"):
                assert (await ended(jobs, name))[-1].kind == "done"
        assert again(tmp_path) == []

    asyncio.run(main())


def test_all_shares_but_one_make_room_for_a_job_that_is_as_urgent(
    tmp_path: Path, postgres: str, hosts: Hosts, film: dict[str, Any]
) -> None:
    async def main() -> None:
        hosts("one", "two")
        async with house(tmp_path / "server", postgres) as (jobs, _):
            gates = await both_at(tmp_path, postgres, jobs, film, ("No 20.", "No 21."))
            for name in ("first", "second"):
                await jobs.submit(odd(name, priority=9, sleep=0.1))
            pace(tmp_path, 0.5)
            gates[1].unlink()  # the first share is still held
            for name in ("first", "second"):
                assert (await ended(jobs, name))[-1].kind == "done"
            pace(tmp_path, 0.02)
            gates[0].unlink()
            assert (await ended(jobs, "one"))[-1].kind == "done"
        turns = [step for step in steps(postgres) if step.startswith("2.")]
        assert "2.1.2-cpu" in turns and "2.0.2-cpu" not in turns
        assert again(tmp_path) == []

    asyncio.run(main())


def test_workers_with_one_folder_share_a_film_and_one_worker_makes_it_alone(
    tmp_path: Path, postgres: str, film: dict[str, Any], engines: None
) -> None:
    async def main() -> None:
        data = tmp_path / "server"
        crew = [Server("worker", data, postgres, env={"DIVIDED_HOST": name}) for name in ("one", "two")]
        try:
            async with house(data, postgres) as (jobs, _):
                for gate in await both_at(tmp_path, postgres, jobs, film, LAST):
                    gate.unlink()
                assert (await ended(jobs, "one"))[-1].kind == "done"
                assert again(tmp_path) == [] and not list((data / "jobs" / "one").glob("output.*"))
                crew.pop().kill()
                shutil.rmtree(data / "store")
                await until(lambda: _alone(postgres))
                pace(tmp_path, 0.05)
                await jobs.submit(row("other", film))
                assert (await ended(jobs, "other"))[-1].kind == "done"
                assert digests(data, "other") == digests(data, "one")
        finally:
            for worker in crew:
                worker.kill()
        with psycopg.connect(postgres) as connection:
            found = connection.execute("select workflow_uuid from dbos.workflow_status where workflow_uuid like 'other/1/%'")
            assert found.fetchall() == [("other/1/1-cpu",)]

    asyncio.run(main())


def _alone(url: str) -> bool:
    with psycopg.connect(url) as connection:
        query = "select count(*) from polydub_heartbeat where seen > extract(epoch from clock_timestamp()) - 5"
        return connection.execute(query).fetchone() == (1,)
