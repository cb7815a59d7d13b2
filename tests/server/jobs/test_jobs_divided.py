"""Dubs whose steps are divided by what they need: a processor, an accelerator, the network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from divided_house import calls, card, hold, installed, queues
from job_house import RESIDENT, Server, alive, ended, lay_traps, repeated, row, settings, until
from job_house import house as plain_house
from test_jobs_alone import digests

from polydub.engines import registry
from polydub.server.db import open_records
from polydub.server.hands import Hands
from polydub.server.jobs import DurableJobs, Kept, start_jobs
from polydub.server.storage import LocalStorage

Film = Callable[..., dict[str, Any]]
House = Callable[..., AbstractAsyncContextManager[DurableJobs]]
FAR = {"tts": "carded", "mt": "afar"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """`house(data)` -> jobs of a process with the engines of the package; `gpu=True`: and with a card."""
    for name, value in installed(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    registry._entries.cache_clear()
    with_card = card(tmp_path, os.environ["PATH"])

    @asynccontextmanager
    async def opened(data: Path, *, gpu: bool = False, slots: int = 1, slice_: tuple[int, float] = (50, 30.0)) -> Any:
        for name, value in with_card.items() if gpu else ():
            monkeypatch.setenv(name, value)
        data.mkdir(exist_ok=True)
        records, storage = await open_records(settings(data), data), LocalStorage(data / "files")
        offers = frozenset({"gpu"} if gpu else ())
        numbers = {"cpu": slots, "gpu": 1, "net": 1}
        hands = Hands(slots=numbers, program=RESIDENT, threads=1, offers=offers, slice=slice_)
        jobs = await start_jobs(Kept(settings(data), records, storage, data), hands)
        try:
            yield jobs
        finally:
            await jobs.close()
            await records.close()

    yield opened
    registry._entries.cache_clear()


def test_the_steps_of_a_dub_go_where_their_engines_work(data: Path, film: Film, house: House, tmp_path: Path) -> None:
    async def main() -> None:
        async with house(data, gpu=True) as jobs:
            await jobs.submit(row("one", film(data, **FAR)))
            events = await ended(jobs, "one")
            assert events[-1].kind == "done", events[-1].data
            assert queues(data, "one") == ["cpu", "gpu", "net", "gpu", "cpu"]
            assert {call["device"] for call in calls(tmp_path, "carded")} == {"cuda"}
            assert [event.kind for event in events].count("started") == 1
            told = [(event.data["stage"], event.data["done"]) for event in events if event.kind == "progress"]
            assert [told.count(each) for each in (("probe", 1), ("extract", 100))] == [1, 1], "it is not told again"
            assert events[-1].data["dubs"][0]["calls"] > 20, "calls of all steps are counted"

    asyncio.run(main())


@pytest.mark.slow
def test_without_a_card_and_a_service_a_dub_is_one_step(data: Path, film: Film, house: House) -> None:
    async def main() -> None:
        async with house(data) as jobs:
            await jobs.submit(row("one", film(data)))
            assert (await ended(jobs, "one"))[-1].kind == "done"
            assert queues(data, "one") == ["cpu"]
            await jobs.submit(row("far", film(data, 2, mt="afar")))
            assert (await ended(jobs, "far"))[-1].kind == "done"
            assert queues(data, "far") == ["cpu", "net", "cpu"]

    asyncio.run(main())


@pytest.mark.slow
def test_an_accelerator_is_free_for_others_while_a_job_waits_for_a_service(
    data: Path, film: Film, house: House, tmp_path: Path
) -> None:
    async def main() -> None:
        async with house(data, gpu=True) as jobs:
            gate = hold(tmp_path, "afar", "Hello")
            await jobs.submit(row("held", film(data, **FAR)))
            await until(lambda: calls(tmp_path, "afar"))
            await jobs.submit(row("quick", film(data, 2, **FAR | {"mt": "fake"})))
            assert (await ended(jobs, "quick"))[-1].kind == "done"
            assert len(calls(tmp_path, "afar")) == 1, "the other still waits"
            gate.unlink()
            assert (await ended(jobs, "held"))[-1].kind == "done"

    asyncio.run(main())


def test_an_urgent_job_overtakes_between_two_slices(data: Path, film: Film, house: House, tmp_path: Path) -> None:
    async def main() -> None:
        lay_traps(data)
        async with house(data, slice_=(1, 0.0)) as jobs:
            gate = hold(tmp_path, "carded", "Good")
            await jobs.submit(row("slow", film(data, tts="carded"), priority=9))
            await until(lambda: [call for call in calls(tmp_path) if "Good" in str(call["text"])])
            await jobs.submit(row("urgent", film(data, 2), priority=1))
            assert jobs.worker is not None
            crew = jobs.worker.crews["cpu"]
            await until(lambda: crew.waiting == 1)
            gate.unlink()
            events = await ended(jobs, "urgent")
            assert events[-1].kind == "done"
            events = await ended(jobs, "slow")
            assert [event.kind for event in events].count("started") == 1 and events[-1].kind == "done"
            assert queues(data, "slow") == ["cpu", "cpu"] and queues(data, "urgent") == ["cpu"]
            assert repeated(data) == []

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["carded", "afar"])
def test_cancel_ends_a_step_of_every_kind_within_two_seconds(
    data: Path, film: Film, house: House, tmp_path: Path, engine: str
) -> None:
    async def main() -> None:
        async with house(data, gpu=True) as jobs:
            hold(tmp_path, engine, "")
            await jobs.submit(row("long", film(data, **FAR)))
            await until(lambda: calls(tmp_path, engine))
            assert jobs.worker is not None
            crew = jobs.worker.crews["gpu" if engine == "carded" else "net"]
            (pid,) = crew.pids
            assert await jobs.cancel("long")
            await until(lambda: not alive(pid), 2)
            assert (await ended(jobs, "long"))[-1].kind == "cancelled"
            await until(lambda: not crew.busy)
            await asyncio.sleep(1.5)
            assert queues(data, "long")[-1] == ("gpu" if engine == "carded" else "net"), "nothing goes on"

    asyncio.run(main())


Workers = Callable[..., Server]


@pytest.fixture
def workers(data: Path, postgres: str, house: House, tmp_path: Path) -> Iterator[Workers]:
    """`workers("gpu")` -> a worker of these queues as a process of its own; it alone has the card."""
    started: list[Server] = []

    def start(queues: str) -> Server:
        env = {"PATH": f"{tmp_path / 'card'}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(tmp_path / "card")}
        started.append(Server("worker", data, postgres, queues, env if "gpu" in queues else None))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


@pytest.mark.slow
def test_a_job_for_an_accelerator_that_nobody_has_waits_and_says_so(
    data: Path, film: Film, postgres: str, workers: Workers, tmp_path: Path
) -> None:
    async def main() -> None:
        async with plain_house(data, postgres) as (jobs, records):
            workers("cpu,net")
            await jobs.submit(row("one", film(data, **FAR, device="cuda")))
            async for event in jobs.listen("one"):
                if event.data.get("code") == "waits-for-worker":
                    assert "queue gpu" in event.data["text"] and "polydub worker --queues gpu" in event.data["text"]
                    break
                assert event.kind not in ("failed", "done"), event.data
            waiting = await records.job("one")
            assert waiting is not None and waiting.state == "queued" and calls(tmp_path) == []
            workers("gpu")
            last = (await ended(jobs, "one"))[-1]
            assert last.kind == "done", last.data
            assert {call["device"] for call in calls(tmp_path, "carded")} == {"cuda"}

    asyncio.run(main())


@pytest.mark.slow
def test_workers_killed_in_every_kind_of_step_repeat_nothing_and_make_the_same_film(
    data: Path, film: Film, postgres: str, workers: Workers, house: House, tmp_path: Path
) -> None:
    async def held(engine: str, text: str, worker: Server) -> None:
        await until(lambda: [call for call in calls(tmp_path, engine) if text in str(call["text"])], 120)
        worker.kill()
        worker.start()

    async def main() -> None:
        lay_traps(data)
        near, far = workers("cpu,net"), workers("gpu")
        await asyncio.sleep(11.0)  # from then on they look after each other
        gates = [hold(tmp_path, "afar", "Good"), hold(tmp_path, "carded", "Good")]
        async with plain_house(data, postgres) as (jobs, _):
            await jobs.submit(row("one", film(data, **FAR)))
            await held("afar", "Good", near)
            gates[0].unlink()
            await held("carded", "Good", far)
            gates[1].unlink()
            await until(lambda: list((data / "jobs/one").rglob("dub.es.mkv")), 120)
            near.kill()
            near.start()
            last = (await ended(jobs, "one"))[-1]
            assert last.kind == "done", last.data
            assert repeated(data) == []
        devices = {(call["engine"], call["device"]) for call in calls(tmp_path)}
        assert devices == {("afar", "net"), ("carded", "cuda")}
        calm = data.parent / "calm"
        async with house(calm, gpu=True) as jobs:
            await jobs.submit(row("one", film(calm, **FAR)))
            assert (await ended(jobs, "one"))[-1].kind == "done"
        assert digests(data, "one") == digests(calm, "one")

    asyncio.run(main())
