"""Resident processes at the end of the one that started them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from job_house import until

from polydub.server.work import Crew, persistent

PROGRAM = """
import sys
for task in sys.stdin:
    with open(sys.argv[1], "a") as begun:
        begun.write("begun\\n")
    if "long" in task:
        sys.stdin.read()
    print('{"result": {}}', flush=True)
"""


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Has a line for each task that was begun."""
    (tmp_path / "begun").touch()
    return tmp_path / "begun"


@pytest.fixture
def crew(begun: Path) -> Crew:
    return Crew(1, (sys.executable, "-c", PROGRAM, str(begun)))


async def work(crew: Crew, what: str) -> object:
    async with crew.resident(1) as resident:
        return await persistent(resident, {"do": what}, lambda message: None)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_crew_that_is_closed_has_no_process_left(crew: Crew) -> None:
    async def main() -> None:
        assert await work(crew, "short") == {"result": {}}
        (pid,) = crew.pids
        await crew.close()
        assert not Path(f"/proc/{pid}").exists(), "it has ended, and was waited for"
        assert crew.pids == ()

    asyncio.run(main())


def test_what_a_closed_crew_was_at_is_not_begun_anew_and_nobody_gets_a_turn(crew: Crew, begun: Path) -> None:
    async def main() -> None:
        first = asyncio.create_task(work(crew, "long"))
        await until(begun.read_text)
        second = asyncio.create_task(work(crew, "short"))
        await until(lambda: crew.waiting)
        await crew.close()
        assert "error" in str(await first)
        assert (crew.busy, crew.waiting, crew.pids) == (0, 1, ())
        second.cancel()
        await asyncio.wait({second})
        assert begun.read_text() == "begun\n"

    asyncio.run(main())
