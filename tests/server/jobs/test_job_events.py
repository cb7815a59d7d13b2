"""Events on their way to listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from job_house import odd, settings

from polydub.server.contracts import Event, JobState, Records
from polydub.server.db import open_records
from polydub.server.fanout import WAITING, Fanout
from polydub.server.resident import Throttle
from polydub.types import Progress


@asynccontextmanager
async def room(folder: Path) -> AsyncIterator[tuple[Fanout, Records]]:
    records = await open_records(settings(folder), folder)
    await records.add_job(odd("j"))
    yield Fanout(records), records
    await records.close()


async def end(fanout: Fanout, records: Records, to: JobState = "done") -> Event:
    await records.move_job("j", to, when=frozenset({"queued", "running"}))
    return await fanout.tell("j", to, {})


async def heard(fanout: Fanout, after: int = 0) -> list[int]:
    return [event.number async for event in fanout.listen("j", after)]


def test_a_listener_gets_what_it_missed_and_what_comes_each_once_and_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with room(tmp_path) as (fanout, records):
            for number in range(5):
                await fanout.tell("j", "progress", {"n": number})
            listeners = [asyncio.create_task(heard(fanout, after)) for after in (0, 0, 3, 5)]
            for number in range(20):
                await fanout.tell("j", "progress", {"n": number})
                await asyncio.sleep(0)
            await end(fanout, records)
            late = await heard(fanout, 10)
            everything = list(range(1, 27))
            got = [await listener for listener in listeners]
            assert got == [everything, everything, everything[3:], everything[5:]]
            assert late == everything[10:]
            assert await heard(fanout, 26) == [], "there is nothing after the end"
            assert fanout.listeners == 0

    asyncio.run(main())


def test_a_new_attempt_is_heard_after_the_end_of_the_old_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with room(tmp_path) as (fanout, records):
            await end(fanout, records, "failed")
            await records.move_job("j", "queued", when=frozenset({"failed"}), attempt=2)
            listener = asyncio.create_task(heard(fanout))
            await fanout.tell("j", "queued", {})
            await end(fanout, records)
            assert await listener == [1, 2, 3]

    asyncio.run(main())


def test_who_is_too_slow_or_lost_the_line_reads_the_records_and_misses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with room(tmp_path) as (fanout, records):
            stream = fanout.listen("j")
            await fanout.tell("j", "progress", {})
            assert (await anext(stream)).number == 1
            for _ in range(WAITING + 50):
                await fanout.tell("j", "progress", {})
            await records.add_event("j", "progress", {})  # by another process, whose line is broken
            fanout.resync()
            last = await end(fanout, records)
            assert [event.number async for event in stream] == list(range(2, last.number + 1))

    asyncio.run(main())


def test_of_an_unknown_job_nothing_is_heard(tmp_path: Path) -> None:
    async def main() -> None:
        async with room(tmp_path) as (fanout, _):
            assert [event async for event in fanout.listen("nobody")] == []

    asyncio.run(main())


def test_listeners_do_not_ask_the_database_while_nothing_happens(tmp_path: Path) -> None:
    asked = 0

    async def main() -> None:
        nonlocal asked
        async with room(tmp_path) as (fanout, records):

            class Watched:
                """Records that count how often events are read."""

                def __getattr__(self, name: str) -> object:
                    nonlocal asked
                    asked += name in ("events", "job")
                    return getattr(records, name)

            watched = Fanout(Watched())  # type: ignore[arg-type]
            listeners = [asyncio.create_task(heard(watched)) for _ in range(50)]
            async with asyncio.timeout(60):
                while asked < 100:  # each looks for events and at the job, once
                    await asyncio.sleep(0)
            before = asked
            for _ in range(10):
                await watched.tell("j", "progress", {})
                await asyncio.sleep(0.01)
            assert asked == before
            await end(watched, records)
            assert all(len(numbers) == 11 for numbers in await asyncio.gather(*listeners))
            assert fanout.listeners == 0

    asyncio.run(main())


def test_progress_is_told_twice_a_second_at_most_but_its_end_always() -> None:
    time = 0.0
    passes = Throttle(lambda: time)
    told = 0
    for step in range(1000):
        time = step / 100
        told += passes(Progress("mix", step, 1000))
    assert 20 <= told <= 21
    assert passes(Progress("mix", 1000, 1000)) and passes(Progress("speak", 0, 3))
