"""The rounds of a sweeper on a real PostgreSQL: what it keeps of the dead, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from job_house import house, odd, until

from polydub.server.parts import queue_of
from polydub.server.sweeper import Member, Sweeper, Terms

pytestmark = pytest.mark.slow


def test_deaths_are_counted_only_as_long_as_the_work_goes_on(data: Path, postgres: str) -> None:
    def counted() -> set[str]:
        with psycopg.connect(postgres, autocommit=True) as connection:
            return {str(id_) for (id_,) in connection.execute("select id from polydub_recovery")}

    async def main() -> None:
        async with house(data, postgres) as (jobs, _):
            await jobs.submit(odd("open"))  # there is no worker that takes it
            await jobs.submit(odd("ended"))
            await jobs.cancel("ended")
            sweeper = Sweeper(postgres, Member("me", {}), queue_of, lambda _: None, Terms(dead_after_s=0.5, period_s=0.05))
            await asyncio.to_thread(sweeper.first_beat)
            with psycopg.connect(postgres, autocommit=True) as connection:
                connection.execute("insert into polydub_recovery values ('open/1', 1), ('ended/1', 2), ('gone/1/1-cpu', 3)")
                connection.execute("insert into polydub_heartbeat values ('dead', 0, '')")
            sweeper.start()
            try:
                await until(lambda: sweeper.swept.dead)
                await until(lambda: counted() == {"open/1"})
            finally:
                await asyncio.to_thread(sweeper.close)

    asyncio.run(main())


def test_what_shares_of_long_ago_told_goes_while_a_worker_runs(postgres: str) -> None:
    def kept() -> list[str]:
        with psycopg.connect(postgres, autocommit=True) as connection:
            return [str(step) for (step,) in connection.execute("select step from polydub_share")]

    async def main() -> None:
        sweeper = Sweeper(postgres, Member("me", {}), queue_of, lambda _: None, Terms(dead_after_s=0.5, period_s=0.05))
        await asyncio.to_thread(sweeper.first_beat)
        await asyncio.to_thread(sweeper.share_ended, "young/1/2", 0, {})
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("insert into polydub_share values ('old/1/2', 0, '{}', 0)")
        sweeper.start()
        try:
            await until(lambda: kept() == ["young/1/2"])
        finally:
            await asyncio.to_thread(sweeper.close)

    asyncio.run(main())
