"""Uploads of 2 GB to the server, by tus and in one request: in flat memory, and how fast beside the disk."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import httpx
from figures import Figure
from measures import Findings, Plan
from process import Failed
from serving import How, Served, serving

GROUP = "Uploads to the server"
PIECE = os.urandom(1 << 20)
HEAD = 44  # bytes of a WAV file before its sound
WHOLE, SMALL = 2000, 200  # pieces
GROWTH = 1.1
TUS = {"Tus-Resumable": "1.0.0"}
NAME = "filename dGFsay53YXY="  # talk.wav


async def pieces(count: int) -> AsyncIterator[bytes]:
    """A recording, piece by piece: noise as WAV, 48 kHz stereo. What is no recording would be refused."""
    size = (count << 20) - HEAD
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 2, 48_000, 192_000, 4, 16, b"data", size
    )
    yield head + PIECE[HEAD:]
    for _ in range(count - 1):
        yield PIECE


def uploads(plan: Plan, found: Findings, share: float = 1.0) -> None:
    """Peak memory of the server with a small film and with a large one, and the time beside a plain write and sync."""
    large, small = max(4, round(WHOLE * share)), max(2, round(SMALL * share))
    ways: Mapping[str, _Way] = {"by tus": by_tus, "in one request": at_once}
    rest, took = list[float](), {name: list[float]() for name in ways}
    peaks: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    disk = list[float]()
    for n in range(plan.repeats):
        plan.say(f"uploads: {n + 1} of {plan.repeats}")
        with serving(plan, How()) as served:
            rest.append(served.pss_mb())
            disk.append(plain(plan.work, large))
            for name, way in ways.items():
                first, _ = asyncio.run(_one(served, way, small))
                most, seconds = asyncio.run(_one(served, way, large))
                peaks[name].append((first, most))
                took[name].append(seconds)
    mb = large * len(PIECE) / 1e6
    found.add(GROUP, Figure("memory before", "MB", tuple(rest), note="PSS of the server's processes"))
    for name in ways:
        firsts, mosts = [first for first, _ in peaks[name]], [most for _, most in peaks[name]]
        limits, speed = tuple(GROWTH * first for first in firsts), mb / sorted(took[name])[len(disk) // 2]
        words = f"<= {GROWTH:g} times that of {small * len(PIECE) / 1e6:,.0f} MB"
        found.add(
            GROUP,
            Figure(f"peak memory, {mb:,.0f} MB {name}", "MB", tuple(mosts), limits, words),
            Figure(f"{mb:,.0f} MB {name}", "s", tuple(took[name]), yardsticks=tuple(disk),
                   note=f"{speed:,.0f} MB/s; Y: a plain write of the same bytes, then sync"),
        )  # fmt: skip


_Way = Callable[[httpx.AsyncClient, int], Awaitable[None]]


async def _one(served: Served, way: _Way, count: int) -> tuple[float, float]:
    """(peak memory of the server in MB, seconds)."""
    async with served.client() as client:
        with served.watched() as seen:
            began = time.perf_counter()
            await way(client, count)
            seconds = time.perf_counter() - began
    return max(seen), seconds


async def by_tus(client: httpx.AsyncClient, count: int) -> None:
    """Creates, sends, deletes."""
    begun = await client.post("/api/uploads", headers={**TUS, "Upload-Length": str(count << 20), "Upload-Metadata": NAME})
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    _check(await client.patch(begun.headers["location"], headers=headers, content=pieces(count)), 204)
    _check(await client.delete(begun.headers["location"], headers=TUS), 204)


async def at_once(client: httpx.AsyncClient, count: int) -> None:
    """Sends, deletes."""
    answer = await client.post("/api/upload?name=talk.wav", content=pieces(count))
    _check(answer, 201)
    _check(await client.delete(f"/api/uploads/{answer.json()['id']}", headers=TUS), 204)


def plain(folder: Path, count: int) -> float:
    """Seconds that the disk itself takes."""
    path, began = folder / "plain", time.perf_counter()
    try:
        with path.open("wb") as stream:
            for _ in range(count):
                stream.write(PIECE)
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        path.unlink(missing_ok=True)
    return time.perf_counter() - began


def _check(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise Failed(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}")
