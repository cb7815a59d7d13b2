"""Jobs of the server on one machine: null jobs, small dubs, events, and how soon another worker takes over.

`python benchmarks/jobs.py [--null 1000] [--dubs 100] [--slots 4] [--database URL]`. Without --database jobs lie in SQLite and
this process does the work; with the address of an empty Postgres two workers do it, and one of them is killed at the end.
Prints JSON: jobs/s, jobs lost, seconds from an event to its listeners, seconds from the kill to the next start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polydub.config.server import ServerSettings
from polydub.server.contracts import JobRow
from polydub.server.db import open_records
from polydub.server.hands import Hands
from polydub.server.jobs import DurableJobs, Kept, open_worker, start_jobs
from polydub.server.resident import Dubber, Message, Tell, serve
from polydub.server.storage import LocalStorage

RESIDENT = (sys.executable, __file__, "resident")
QUIET_S = 15.0  # a worker that is up for so long looks for dead ones
TRANSCRIPT = "1\n00:00:00,300 --> 00:00:01,300\nHello number {n}.\n\n2\n00:00:01,600 --> 00:00:02,700\nGood bye number {n}.\n"


def null(message: Message, tell: Tell) -> Message:
    """A job that does what it is asked: wait, tell, or leave a mark."""
    asked = message["request"]
    if mark := asked.get("mark"):
        with Path(mark).open("a", encoding="utf-8") as stream:
            stream.write(f"{time.time()} {os.getppid()}\n")
    time.sleep(asked.get("seconds", 0))
    for count in range(asked.get("tells", 0)):
        tell({"progress": {"stage": f"s{count}", "done": 1, "total": 1}})
        time.sleep(0.1)
    return {"said": ""}


def row(id_: str, request: Mapping[str, Any], kind: Any = "speak") -> JobRow:
    now = datetime.now(UTC)
    return JobRow(id_, "bench", kind, id_, request, "queued", now, now)


def hands(slots: int) -> Hands:
    return Hands(slots={"cpu": slots, "gpu": 1, "net": 1}, program=RESIDENT, threads=1)


async def kept(folder: Path, url: str) -> Kept:
    settings = ServerSettings(data=folder, database=url, jobs_a_user=1_000_000)
    return Kept(settings, await open_records(settings, folder), LocalStorage(folder / "files"), folder)


@asynccontextmanager
async def opened(folder: Path, url: str, slots: int) -> AsyncIterator[DurableJobs]:
    jobs = await start_jobs(await kept(folder, url), hands(slots))
    try:
        yield jobs
    finally:
        await jobs.close()


async def last(jobs: DurableJobs, id_: str) -> str:
    kind = ""
    async for event in jobs.listen(id_):
        kind = event.kind
    return kind


async def run_all(jobs: DurableJobs, rows: Sequence[JobRow]) -> dict[str, float]:
    """Submits jobs one after the other and waits for all."""
    began = time.monotonic()
    for each in rows:
        await jobs.submit(each)
    submitted = time.monotonic() - began
    ends = await asyncio.gather(*(last(jobs, each.id) for each in rows))
    took = time.monotonic() - began
    lost = sum(end != "done" for end in ends)
    return {
        "jobs": len(rows),
        "lost": lost,
        "jobs_per_s": round(len(rows) / took, 2),
        "submit_ms": round(1000 * submitted / len(rows), 2),
    }


def films(folder: Path, count: int) -> list[JobRow]:
    """As many films of 3 s, no two alike, spoken by espeak-ng."""
    import imageio_ffmpeg

    uploads = folder / "files" / "uploads"
    uploads.mkdir(parents=True)
    made: list[JobRow] = []
    for n in range(count):
        film = uploads / f"film{n}"
        inputs = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=3"]
        inputs += ["-f", "lavfi", "-i", f"sine=frequency={200 + n}:sample_rate=48000:duration=3"]
        codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "matroska"]
        subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *inputs, *codecs, str(film)], check=True
        )
        (uploads / f"text{n}").write_text(TRANSCRIPT.format(n=n), encoding="utf-8")
        text = {"upload": f"text{n}", "name": "film.en.srt"}
        asked = {"input": {"upload": film.name, "name": "film.mkv"}, "to": ["en"], "transcript": text}
        made.append(row(f"dub{n}", asked | {"settings": {"tts": "espeak-ng", "no_translate": True}}, "dub"))
    return made


async def latency(jobs: DurableJobs, listeners: int) -> dict[str, float]:
    """Milliseconds from an event's own time to each of its listeners."""
    waits: list[float] = []

    async def listen() -> None:
        async for event in jobs.listen("told"):
            if event.kind == "progress":
                waits.append(1000 * (datetime.now(UTC) - event.at).total_seconds())

    await jobs.submit(row("told", {"seconds": 3, "tells": 40}))
    await asyncio.gather(*(listen() for _ in range(listeners)))
    steps = statistics.quantiles(waits, n=20)
    return {"listeners": listeners, "events": len(waits), "p50_ms": round(steps[9], 2), "p95_ms": round(steps[18], 2)}


class Worker:
    """A worker as a process of its own."""

    def __init__(self, folder: Path, url: str, slots: int) -> None:
        command = [sys.executable, __file__, "worker", str(folder), url, str(slots)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.process.stdout and self.process.stdout.readline() == b"ready\n"
        self.since = time.monotonic()


async def takeover(jobs: DurableJobs, folder: Path, workers: Sequence[Worker]) -> float:
    """Seconds from the kill of a worker to the new start of its job elsewhere."""
    await asyncio.sleep(max(0.0, QUIET_S - (time.monotonic() - workers[-1].since)))
    mark = folder / "marks"
    await jobs.submit(row("taken", {"mark": str(mark), "seconds": 5}))
    while not mark.exists():
        await asyncio.sleep(0.02)
    parent = int(mark.read_text(encoding="utf-8").split()[1])
    next(worker for worker in workers if worker.process.pid == parent).process.kill()
    killed = time.time()
    while len(lines := mark.read_text(encoding="utf-8").splitlines()) < 2:
        await asyncio.sleep(0.02)
    assert await last(jobs, "taken") == "done"
    return round(float(lines[1].split()[0]) - killed, 2)


async def bench(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    workers = [Worker(folder, given.database, max(1, given.slots // 2)) for _ in range(2)] if given.database else []
    try:
        async with opened(folder, given.database, given.slots) as jobs:
            found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "slots": given.slots}
            await run_all(jobs, [row(f"warm{n}", {"seconds": 0.3}) for n in range(given.slots * 2)])
            found["null"] = await run_all(jobs, [row(f"null{n}", {}) for n in range(given.null)])
            found["dubs"] = await run_all(jobs, films(folder, given.dubs)) if given.dubs else None
            found["events"] = await latency(jobs, 200)
            if workers:
                found["takeover_s"] = await takeover(jobs, folder, workers)
            return found
    finally:
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM)
            worker.process.wait(60)


async def work(folder: Path, url: str, slots: int) -> None:
    worker = await open_worker(await kept(folder, url), hands(slots))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    await worker.close()


def main() -> None:
    if sys.argv[1:2] == ["resident"]:
        serve({"dub": Dubber(), "speak": null})
    if sys.argv[1:2] == ["worker"]:
        asyncio.run(work(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null", type=int, default=1000)
    parser.add_argument("--dubs", type=int, default=100)
    parser.add_argument("--slots", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--database", default="")
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(bench(parser.parse_args(), Path(folder)))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
