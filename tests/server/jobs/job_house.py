"""Jobs for tests: requests, residents that do odd things, and a server and workers as processes that can be killed.

As a program: `job_house.py resident` (what a worker starts), `job_house.py server|worker FOLDER URL`.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polydub.config.server import ServerSettings
from polydub.server.contracts import Event, JobRow, Records
from polydub.server.db import open_records
from polydub.server.hands import Hands
from polydub.server.jobs import DurableJobs, Kept, Worker, open_worker, start_jobs
from polydub.server.resident import Dubber, Message, Tell, serve
from polydub.server.storage import LocalStorage

START_S = 120  # of a process, on a machine that does much else
RESIDENT = (sys.executable, __file__, "resident")


def now() -> datetime:
    return datetime.now(UTC)


def row(id_: str, request: Mapping[str, Any], owner: str = "anna", priority: int = 5, kind: Any = "dub") -> JobRow:
    """A job that has just been asked for."""
    return JobRow(id_, owner, kind, id_, request, "queued", now(), now(), priority=priority)


def odd(id_: str, **do: Any) -> JobRow:
    """A job of the resident below: what it shall do; `owner` and `priority` are the job's own."""
    own = {name: do.pop(name) for name in ("owner", "priority") if name in do}
    return row(id_, do, kind="speak", **own)


def do_odd(message: Message, tell: Tell) -> Message:
    """Sleeps in a child process, kills itself, tells of progress: as the request says."""
    do, folder = message["request"], Path(message["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / "log.txt"

    def note(what: str) -> None:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"job": folder.name, "what": what, "pid": os.getpid(), "at": time.time()}) + "\n")

    note("begin")
    for count in range(do.get("tells", 0)):
        tell({"progress": {"stage": "odd", "done": count + 1, "total": do["tells"]}})
    if do.get("kill") == "self":
        os.kill(os.getpid(), signal.SIGKILL)
    if do.get("kill") == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if do.get("sleep"):
        child = subprocess.Popen(["sleep", str(do["sleep"])])
        note(f"child {child.pid}")
        child.wait()
    if do.get("raise"):
        raise ZeroDivisionError("odd")
    note("end")
    return {"said": do.get("say", "")}


def notes(folder: Path) -> list[dict[str, Any]]:
    """What the odd jobs of a data folder did."""
    log = folder / "jobs" / "log.txt"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def hands(slots: int = 2, program: Sequence[str] = RESIDENT) -> Hands:
    """Of a worker with the resident above."""
    slice_s = float(os.environ.get("JOB_SLICE_S", "30"))
    return Hands(slots={"cpu": slots, "gpu": 1, "net": 1}, program=program, threads=1, slice=(50, slice_s))


def settings(folder: Path, url: str = "", **more: Any) -> ServerSettings:
    return ServerSettings(data=folder, database=url, **more)


@asynccontextmanager
async def house(folder: Path, url: str = "", slots: int = 2, **more: Any) -> AsyncIterator[tuple[DurableJobs, Records]]:
    """Jobs and records of a server in this process."""
    told = settings(folder, url, **more)
    folder.mkdir(exist_ok=True)
    records = await open_records(told, folder)
    storage = LocalStorage(folder / "files")
    jobs = await start_jobs(Kept(told, records, storage, folder), hands(slots))
    try:
        yield jobs, records
    finally:
        await jobs.close()
        await records.close()


def slower() -> float:
    """How many times longer than alone things may take now: what else this machine does, per core; at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


async def ended(jobs: DurableJobs, id_: str, after: int = 0) -> list[Event]:
    """All events of a job, to its end, which must come within two minutes (on a busy machine later)."""
    async with asyncio.timeout(120 * slower()):
        return [event async for event in jobs.listen(id_, after)]


async def until(test: Callable[[], Any], limit_s: float = 60.0) -> Any:
    """What `test` gives (or awaits) as soon as that is something; the limit is that of a machine which does nothing else."""
    limit_s *= slower()
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = test()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing within {limit_s:.0f} s")


def lay_traps(folder: Path) -> None:
    """Lets the memo of a data folder count how often each call is remembered."""
    from polydub.store import Store

    Store(folder / "store").close()
    with sqlite3.connect(folder / "store" / "memo.sqlite") as memo:
        memo.execute("create table tries (key text)")
        memo.execute("create trigger counted before insert on done begin insert into tries values (new.key); end")
    memo.close()


def repeated(folder: Path) -> list[tuple[str, int]]:
    """Stages that were done more than once, of those that were finished."""
    memo = sqlite3.connect(folder / "store" / "memo.sqlite")
    query = "select coalesce(stage, '?'), count(*) from tries left join done using (key) group by key having count(*) > 1"
    found = memo.execute(query).fetchall()
    memo.close()
    return found


class Server:
    """A server or a worker as a process of its own."""

    def __init__(self, what: str, folder: Path, url: str = "", queues: str = "", env: Mapping[str, str] | None = None) -> None:
        self.command = [sys.executable, __file__, what, str(folder), url, queues]
        self.env = {**os.environ, **(env or {})}
        self.log = folder / f"{what}.log"
        self.start()

    def start(self) -> None:
        """Waits until it works. Its stdin is a pipe of ours: it ends with this process, whatever ends that."""
        with self.log.open("ab") as log:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=log, env=self.env)
        assert self.process.stdout is not None
        begun, _, _ = select.select([self.process.stdout], [], [], START_S)
        if not begun or self.process.stdout.readline() != b"ready\n":
            self.kill()
            what = "it has ended" if begun else f"it was not ready within {START_S} s"
            raise AssertionError(f"{what}: {self.log.read_text(encoding='utf-8')[-3000:]}")

    def kill(self, how: int = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        if how in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(60)
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                pipe.close()


async def _server(folder: Path, url: str, _queues: str = "") -> None:
    async with house(folder, url):
        await _ready()


async def _worker(folder: Path, url: str, queues: str = "") -> None:
    records = await open_records(settings(folder, url), folder)
    mine = hands(1)
    if queues:
        mine = replace(mine, queues=queues.split(","), offers=frozenset({"gpu"} & set(queues.split(","))))
    worker: Worker = await open_worker(Kept(settings(folder, url), records, LocalStorage(folder / "files"), folder), mine)
    await _ready()
    await worker.close(1)
    await records.close()


async def _ready() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main(arguments: Sequence[str]) -> None:
    if arguments[0] == "resident":
        serve({"dub": Dubber(), "speak": do_odd})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    what = {"server": _server, "worker": _worker}[arguments[0]]
    asyncio.run(what(Path(arguments[1]), *arguments[2:4]))


if __name__ == "__main__":
    main(sys.argv[1:])
