"""The speech API of a server under load: how late its first byte is, whether streams stall, requests a second.

The engine is one that takes a known time for each sentence, so that what is measured is the server; a package made here brings
it, as any engine may come. The short texts are spoken by espeak-ng.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from figures import Figure, fixed, least
from measures import Findings, Plan, cores
from process import Failed
from serving import How, Served, install_paced, nineteen_of_twenty, serving

GROUP = "Speech through the server"
SENTENCE = "The river runs quietly under the old bridge and nobody on the bank saw it go. "
PIECE_S = 0.1  # the engine's own time for each sentence
STREAMS, CROWD, SHORT, ROUNDS = 10, 50, 200, 5
FIRST_MS, SILENCE_MS, SHORT_A_SECOND = 60.0, 1.0, 10.0
RATE_HZ = 48_000  # bytes a second of pcm at 24 kHz


@dataclass(frozen=True)
class Heard:
    """One stream as its client saw it, seconds. Attributes: first: until its first byte. short: longest silence in it."""

    first: float
    short: float


@dataclass(frozen=True)
class Round:
    """What one server did. over_ms, crowd_ms: until first bytes. silence_ms: the longest of all. rate: short texts a second."""

    over_ms: list[float]
    crowd_ms: list[float]
    silence_ms: float
    rate: float


def speech(plan: Plan, found: Findings, share: float = 1.0) -> None:
    """On all cores, and with half the load on two of them."""
    here = cores()
    _measured(plan, found, (), share)
    if len(here) > 2:
        _measured(plan, found, tuple(here[:2]), share / 2)


def _measured(plan: Plan, found: Findings, few: tuple[int, ...], share: float) -> None:
    group = f"{GROUP}, {len(few) or len(cores())} cores"
    streams, crowd, short = (max(2, round(count * share)) for count in (STREAMS, CROWD, SHORT))
    rounds: list[Round] = []
    plan.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=plan.work) as site:
        install_paced(Path(site).resolve(), PIECE_S, 16)
        for n in range(plan.repeats):
            plan.say(f"{group}: {n + 1} of {plan.repeats}")
            with serving(plan, How(few, site=Path(site).resolve())) as served:
                rounds.append(asyncio.run(_round(served, streams, crowd, short)))
    overs = [nineteen_of_twenty(each.over_ms) for each in rounds]
    typical = f"median {median(ms for each in rounds for ms in each.over_ms):.0f} ms, {len(rounds[0].over_ms)} streams of mp3"
    crowds = tuple(nineteen_of_twenty(each.crowd_ms) for each in rounds)
    rates, wanted = [each.rate for each in rounds], SHORT_A_SECOND / (2 if few else 1)
    found.add(
        group,
        fixed(f"first byte over the engine's own, {streams} streams at once, 95th percentile", "ms", overs, FIRST_MS, typical),
        fixed(f"longest silence in one of {crowd} streams", "ms", [each.silence_ms for each in rounds], SILENCE_MS,
              "each plays from its first byte on; pcm"),
        Figure(f"first byte, {crowd} streams at once, 95th percentile", "ms", crowds, note="the engine speaks 16 at once"),
        least("short texts by espeak-ng, 8 at once", "1/s", rates, wanted),
    )  # fmt: skip


async def _round(served: Served, streams: int, many: int, short: int) -> Round:
    body = {"model": "paced", "voice": "high", "input": SENTENCE * 4, "response_format": "mp3"}
    await _crowd(served, streams, body)  # everything is loaded now
    calm = [heard for _ in range(ROUNDS) for heard in await _crowd(served, streams, body)]
    heard = await _crowd(served, many, {**body, "response_format": "pcm", "input": SENTENCE * 40})
    word = {**body, "model": "espeak-ng", "voice": "nova", "input": "Good morning."}
    await _crowd(served, 1, word)
    began = time.perf_counter()
    await asyncio.gather(*(_several(served, word, max(1, short // 8)) for _ in range(8)))
    rate = 8 * max(1, short // 8) / (time.perf_counter() - began)
    silence = max(1000 * each.short for each in heard)
    return Round([1000 * (each.first - PIECE_S) for each in calm], [1000 * each.first for each in heard], silence, rate)


async def _crowd(served: Served, count: int, body: dict[str, Any]) -> list[Heard]:
    """So many clients at once, each with a connection that is open already."""
    place = urlsplit(served.url)
    pipes = await asyncio.gather(*(asyncio.open_connection(place.hostname, place.port) for _ in range(count)))
    try:
        return list(await asyncio.gather(*(_listen(reader, writer, served, body) for reader, writer in pipes)))
    finally:
        for _, writer in pipes:
            writer.close()


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, served: Served, body: dict[str, Any]) -> Heard:
    """One client that plays what it gets: how long it would have been silent. So plain that ten take little time themselves."""
    content = json.dumps(body).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: {urlsplit(served.url).netloc}\r\nAuthorization: Bearer {served.token}\r\n"
    began, first, size, behind = time.perf_counter(), 0.0, 0, 0.0
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise Failed(f"POST /v1/audio/speech: {answer.decode(errors='replace')[:500]}")
    while length := int(await reader.readuntil(b"\r\n"), 16):  # chunks
        await reader.readexactly(length + 2)
        now = time.perf_counter()
        first = first or now - began
        if body["response_format"] == "pcm":
            behind = max(behind, now - began - first - size / RATE_HZ)
        size += length
    return Heard(first, behind)


async def _several(served: Served, body: dict[str, Any], count: int) -> None:
    for _ in range(count):
        await _crowd(served, 1, body)
