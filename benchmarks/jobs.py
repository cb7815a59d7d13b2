"""Jobs of a server: submissions, null jobs, small dubs, events, and how soon another worker takes over.

Null jobs come by the same API and lie in the same queues as dubs; the resident process that gets one does nothing but what its
preset says. A module `sitecustomize`, written here, takes the place of the program of residents.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx
import imageio_ffmpeg
from database import LACKING, binaries, postgres
from figures import Figure, fixed, least
from measures import Findings, Plan, cores
from process import Failed
from serving import How, Served, nineteen_of_twenty, serving

GROUP = "Jobs through the server"
SUBMIT_MS, NULL_A_SECOND, DUBS_A_SECOND, EVENT_MS, TAKEN_S = 100.0, 5.0, 0.5, 100.0, 10.0
ABOUT = (
    "Null jobs take the way of dubs, and the residents that get them answer at once. Submissions come at a steady rate,",
    "however long their answers take (open loop), while the jobs before them are worked on. The dubs differ in their sound,",
    "have a transcript of two lines, and choose voices as every dub does; nothing is translated. Events are timed from the",
    "worker process that tells of its progress to the socket of each listener.",
)
UP_S = 15.0  # a worker that is up for so long looks for dead ones
PATIENCE_S = 300.0  # without a job that ends
TELLS, PAUSE_S, TAKEN_TELLS = 40, 0.1, 200
NONE_LOST = 0.5  # a target of 0 that shares can be taken of
TRANSCRIPT = "1\n00:00:00,300 --> 00:00:01,300\nHello number {n}.\n\n2\n00:00:01,600 --> 00:00:02,700\nGood bye number {n}.\n"
NULL = """
import sys
if "polydub.server.resident" in sys.orig_argv:
    import os, time
    from polydub.server.resident import serve

    def null(message, tell):
        asked = dict(pair.split("=") for pair in message["request"]["preset"].split())
        time.sleep(float(asked.get("wait", 0)))
        for _ in range(int(asked.get("tells", 0))):
            tell({"progress": {"stage": f"{os.getppid()} {time.time():.6f}", "done": 1, "total": 1}})
            time.sleep(float(asked["pause"]))
        return {"dubs": [], "folder": ".", "files": []}

    serve({"dub": null})
"""


@dataclass(frozen=True)
class Load:
    """What a server is given. rate: submissions a second. share: of the rates that it is to keep."""

    null: int = 1000
    rate: float = 50.0
    dubs: int = 100
    listeners: int = 200
    share: float = 1.0

    def halved(self) -> Load:
        """For two processors."""
        return Load(self.null // 2, self.rate / 2, self.dubs // 2, self.listeners // 2, self.share / 2)

    def of(self, share: float) -> Load:
        """As many jobs and listeners, at the same rates."""
        null, dubs, listeners = (max(2, round(count * share)) for count in (self.null, self.dubs, self.listeners))
        return replace(self, null=null, dubs=dubs, listeners=listeners)


@dataclass
class Seen:
    """What was seen, one value for each repeat. submit_ms, event_ms: 95th percentiles."""

    submit_ms: list[float] = field(default_factory=list[float])
    submit_typical_ms: list[float] = field(default_factory=list[float])
    null_a_second: list[float] = field(default_factory=list[float])
    dubs_a_second: list[float] = field(default_factory=list[float])
    lost: list[float] = field(default_factory=list[float])
    event_ms: list[float] = field(default_factory=list[float])
    event_typical_ms: list[float] = field(default_factory=list[float])
    taken_s: list[float] = field(default_factory=list[float])


def jobs(plan: Plan, found: Findings, share: float = 1.0) -> None:
    """In SQLite on all cores and on two of them; in Postgres with two workers, of which one is killed at the end."""
    here = cores()
    load, few = Load(), tuple(here[:2])
    found.tell(f"{GROUP}: SQLite, {len(here)} cores", *ABOUT)
    with TemporaryDirectory(prefix="null-", dir=_made(plan.work)) as site:
        null = Path(site)
        (null / "sitecustomize.py").write_text(NULL)
        _measured(plan, found, f"SQLite, {len(here)} cores", How(site=null), load.of(share))
        if len(here) > 2:
            _measured(plan, found, "SQLite, 2 cores", How(few, site=null), load.halved().of(share))
        if binaries():
            _measured(plan, found, "Postgres, two workers", How(workers=2, site=null), replace(load, dubs=40).of(share))
        else:
            plan.say(f"jobs in Postgres: {LACKING}")
            found.tell(f"{GROUP}: Postgres, two workers", f"{LACKING[0].upper()}{LACKING[1:]}.")


def _measured(plan: Plan, found: Findings, name: str, how: How, load: Load) -> None:
    seen = Seen()
    for n in range(plan.repeats):
        plan.say(f"jobs, {name}, null ones: {n + 1} of {plan.repeats}")
        with _database(how) as url, serving(plan, replace(how, database=url)) as served:
            asyncio.run(_null(served, films(plan, 1)[0][0], load, seen))
        plan.say(f"jobs, {name}, {load.dubs} dubs: {n + 1} of {plan.repeats}")
        with _database(how) as url, serving(plan, replace(how, database=url, site=None)) as served:
            asyncio.run(_dubs(served, films(plan, load.dubs), seen))
    found.add(f"{GROUP}: {name}", *_figures(load, seen))


def _database(how: How) -> AbstractContextManager[str]:
    programs = binaries()
    return postgres(programs) if how.workers and programs else nullcontext("")


def _figures(load: Load, seen: Seen) -> list[Figure]:
    middle, typical = median(seen.submit_typical_ms), median(seen.event_typical_ms)
    figures = [
        fixed(f"submission, {load.rate:g} a second, 95th percentile", "ms", seen.submit_ms, SUBMIT_MS,
              f"median {middle:.0f} ms; from when it was due, while jobs are worked on"),
        least(f"{load.null:,} null jobs", "jobs/s", seen.null_a_second, NULL_A_SECOND * load.share),
        least(f"{load.dubs} dubs of 3 s by espeak-ng", "jobs/s", seen.dubs_a_second, DUBS_A_SECOND * load.share),
        Figure("jobs lost", "of all", tuple(seen.lost), (NONE_LOST,) * len(seen.lost), "0"),
        fixed(f"from a worker's progress to {load.listeners} listeners, 95th percentile", "ms", seen.event_ms, EVENT_MS,
              f"median {typical:.0f} ms"),
    ]  # fmt: skip
    if seen.taken_s:
        note = "from kill -9 to the first progress elsewhere"
        figures.append(fixed("a killed worker's job goes on", "s", seen.taken_s, TAKEN_S, note))
    return figures


async def _null(served: Served, film: Path, load: Load, seen: Seen) -> None:
    """Submits at a steady rate, however long answers take; then lets many listen; then kills."""
    async with served.client() as client:
        asked = {"input": await sent(client, "film.mkv", film.read_bytes()), "to": ["es"]}
        await _all_done(client, [await _submit(client, asked) for _ in range(8)])  # residents are there now
        waits: list[float] = []
        first = time.monotonic() + 0.1

        async def one(number: int) -> str:
            due = first + number / load.rate
            await asyncio.sleep(due - time.monotonic())
            id_ = await _submit(client, asked)
            waits.append(1000 * (time.monotonic() - due))
            return id_

        began = time.time()
        ids = await asyncio.gather(*(one(number) for number in range(load.null)))
        last, lost = await _all_done(client, ids)
        seen.submit_ms.append(nineteen_of_twenty(waits))
        seen.submit_typical_ms.append(median(waits))
        seen.null_a_second.append(load.null / (last - began))
        seen.lost.append(lost)
        late = await _latencies(served, client, asked, load.listeners)
        seen.event_ms.append(nineteen_of_twenty(late))
        seen.event_typical_ms.append(median(late))
        if served.workers:
            seen.taken_s.append(await _taken(served, client, asked))


async def _dubs(served: Served, made: Sequence[tuple[Path, str]], seen: Seen) -> None:
    async with served.client() as client:
        wishes = [await _wish(client, film, text) for film, text in made]
        began = time.time()
        ids = [await _submit(client, wish) for wish in wishes]
        last, lost = await _all_done(client, ids)
    seen.dubs_a_second.append(len(ids) / (last - began))
    seen.lost[-1] += lost


async def _wish(client: httpx.AsyncClient, film: Path, text: str) -> dict[str, Any]:
    video = await sent(client, "film.mkv", film.read_bytes())
    transcript = await sent(client, "film.en.srt", text.encode())
    settings = {"tts": "espeak-ng", "no_translate": True}
    return {"input": video, "to": ["en"], "transcript": transcript, "settings": settings}


async def sent(client: httpx.AsyncClient, name: str, content: bytes) -> dict[str, str]:
    """An upload, as requests name it."""
    answer = await client.post(f"/api/upload?name={name}", content=content)
    return {"upload": told(answer)["id"], "name": name}


async def _submit(client: httpx.AsyncClient, wish: dict[str, Any]) -> str:
    return str(told(await client.post("/api/jobs", json=wish))["id"])


def told(answer: httpx.Response) -> Any:
    """What an answer holds. Raises: Failed for one that is an error."""
    if answer.is_error:
        raise Failed(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}")
    return answer.json()


async def _all_done(client: httpx.AsyncClient, ids: Sequence[str]) -> tuple[float, int]:
    """(when the last of these jobs was done, in seconds of the clock; how many never were)."""
    left, since = -1, time.monotonic()
    while left and time.monotonic() - since < PATIENCE_S:
        open_ = told(await client.get("/api/jobs", params={"state": ["queued", "running"], "limit": 500}))["jobs"]
        if len(open_) != left or len(open_) == 500:
            left, since = len(open_), time.monotonic()
        await asyncio.sleep(1.0 if left > 20 else 0.1)
    ends = {job["id"]: job["finished"] async for job in _jobs(client) if job["state"] == "done"}
    mine = [datetime.fromisoformat(ends[id_]).timestamp() for id_ in ids if id_ in ends]
    if not mine:
        raise Failed("no job was done")
    return max(mine), len(ids) - len(mine)


async def _jobs(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    """All jobs, newest first."""
    following: dict[str, Any] = {"limit": 500}
    while True:
        page = told(await client.get("/api/jobs", params=following))
        for job in page["jobs"]:
            yield job
        if page["next"] is None:
            return
        following["before"] = page["next"]


@asynccontextmanager
async def _events(served: Served, id_: str) -> AsyncGenerator[AsyncIterator[tuple[float, dict[str, Any]]]]:
    """(time of arrival, event) of a job as it comes, by a client so plain that two hundred take little time themselves."""
    place = urlsplit(served.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"GET /api/jobs/{id_}/events HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {served.token}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())

    async def told() -> AsyncIterator[tuple[float, dict[str, Any]]]:
        async for line in reader:
            if line.startswith(b"data: "):
                yield time.time(), json.loads(line[6:])

    try:
        yield told()
    finally:
        writer.close()
        await writer.wait_closed()


async def _latencies(served: Served, client: httpx.AsyncClient, asked: dict[str, Any], listeners: int) -> list[float]:
    """Milliseconds from when a worker told of its progress until each listener knew."""
    id_ = await _submit(client, {**asked, "preset": f"wait=3 tells={TELLS} pause={PAUSE_S}"})
    late: list[float] = []

    async def listen() -> None:
        async with _events(served, id_) as events:
            async for came, event in events:
                if event["kind"] == "progress":
                    late.append(1000 * (came - float(event["stage"].split()[1])))

    await asyncio.gather(*(listen() for _ in range(listeners)))
    if len(late) != TELLS * listeners:
        raise Failed(f"{TELLS * listeners - len(late)} events were not heard")
    return late


async def _taken(served: Served, client: httpx.AsyncClient, asked: dict[str, Any]) -> float:
    """Seconds from the kill of a worker to the first progress of its job at another one."""
    up = time.monotonic() - max(worker.began for worker in served.workers)
    await asyncio.sleep(max(0.0, UP_S - up))
    id_ = await _submit(client, {**asked, "preset": f"tells={TAKEN_TELLS} pause={PAUSE_S}"})
    victim, killed, taken, kind = 0, 0.0, 0.0, ""
    async with _events(served, id_) as events:
        async for came, event in events:
            kind = event["kind"]
            if kind != "progress" or taken:
                continue
            pid = int(event["stage"].split()[0])
            if not victim:
                victim, killed = next(worker.pid for worker in served.workers if worker.pid == pid), time.time()
                os.kill(victim, signal.SIGKILL)
            elif pid != victim:
                taken = came - killed
    if kind != "done" or not taken:
        raise Failed(f"the job of a killed worker ended as {kind or 'nothing'}")
    return taken


def films(plan: Plan, count: int) -> list[tuple[Path, str]]:
    """So many films of 3 s, no two alike, and what is said in them; made once."""
    folder = _made(plan.work.parent / "dubs")
    for n in range(count):
        film, part = folder / f"film{n}.mkv", folder / "part.mkv"
        if film.exists():
            continue
        inputs = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=3"]
        inputs += ["-f", "lavfi", "-i", f"sine=frequency={200 + n}:sample_rate=48000:duration=3"]
        codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *inputs, *codecs, str(part)]
        subprocess.run(command, check=True)
        part.replace(film)
    return [(folder / f"film{n}.mkv", TRANSCRIPT.format(n=n)) for n in range(count)]


def _made(folder: Path) -> Path:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
