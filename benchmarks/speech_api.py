"""The speech API under load, over TCP on this machine: how late its first byte is, whether streams stall, requests a second.

The engine is one that takes a known time, so that what is measured is the server: 10 streams at once, then 50 in which each
sentence takes as long as it may. The short texts are spoken by espeak-ng.

    benchmarks/speech_api.py [--form mp3]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from figures import Figure, fixed, least, table

SENTENCE = "The river runs quietly under the old bridge and nobody on the bank saw it go. "
PIECE_S = 0.1  # the engine's own time for each sentence
LISTENERS, CROWD, SHORT = 10, 50, 200
FIRST_MS, CROWD_MS, SHORT_A_SECOND = 60.0, 2000.0, 10.0
RATE_HZ = 48_000  # bytes a second of pcm at 24 kHz


@dataclass(frozen=True)
class Heard:
    """One stream as its client saw it, seconds. Attributes: first: until its first byte. short: longest silence in it."""

    first: float
    short: float
    took: float
    bytes: int


def serve(told: Connection, folder: str) -> None:
    """The server, in a process of its own; tells its port."""
    import uvicorn

    logging.disable()
    asyncio.run(_serve(told, Path(folder), uvicorn))


async def _serve(told: Connection, folder: Path, uvicorn: Any) -> None:
    from polydub import config
    from polydub.config.server import ServerSettings
    from polydub.server.accounts import Accounts
    from polydub.server.app import create_app
    from polydub.server.contracts import Services
    from polydub.server.db import open_records
    from polydub.server.routes import openai
    from polydub.server.speech import House
    from polydub.server.tokens import Keys

    class Paced(House):
        """A house with an engine whose pace is known."""

        def choose(self, run: Any, kind: Any, model: str, wants: Any) -> Any:
            if model != "paced":
                return super().choose(run, kind, model, wants)
            run.tools["tts"] = _paced()
            return run.tools["tts"]

    settings = ServerSettings(data=folder, requests_a_minute=1_000_000)
    records = await open_records(settings, folder, now=lambda: datetime.now(UTC))
    loaded = config.load({}, job=None, environ={}, cwd=folder, user_file=None)
    house = Paced(loaded, folder, queue=64)
    services = Services(settings, records, None, None, folder, lambda: datetime.now(UTC), house)  # type: ignore[arg-type]
    accounts = Accounts(records, settings, Keys.random(), now=services.now)
    app = create_app(services, accounts=accounts, only="speech")
    if not any(getattr(route, "path", "") == "/v1/audio/speech" for route in app.routes):
        app.include_router(openai.router)
    who = await accounts.register("bench@example.org", "bench", "quiet orange staircase", "viewer")
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # told, or asyncio leaves Nagle's delay of 40 ms in
    listening.bind(("127.0.0.1", 0))
    told.send((listening.getsockname()[1], (await accounts.new_token(who, "bench", (), 1))[0]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    await server.serve([listening])


def _paced() -> Any:
    from polydub.engines.pool import Tool
    from polydub.engines.tts import fake

    class Paced(fake.FakeSpeech):
        """The fake voice, which takes its time."""

        def synthesize(self, part: Any) -> Any:
            time.sleep(PIECE_S)
            return super().synthesize(part)

    @contextmanager
    def load(options: Any, weights: Any, device: str) -> Generator[Any]:
        yield Paced()

    engine = replace(fake.ENGINE, info=replace(fake.ENGINE.info, name="paced", parallel=16), load=load)
    return Tool(engine, engine.options(), {"name": "paced"})


async def listen(client: Any, body: dict[str, Any]) -> Heard:
    """One client that plays what it gets: how long it would have been silent."""
    began, first, size, behind = time.perf_counter(), 0.0, 0, 0.0
    async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        if answer.status_code != 200:
            await answer.aread()
            raise RuntimeError(answer.text)
        async for piece in answer.aiter_raw():
            now = time.perf_counter()
            first = first or now - began
            if body["response_format"] == "pcm":
                behind = max(behind, now - began - first - size / RATE_HZ)
            size += len(piece)
    return Heard(first, behind, time.perf_counter() - began, size)


async def crowd(client: Any, count: int, body: dict[str, Any]) -> list[Heard]:
    """So many clients at once."""
    return list(await asyncio.gather(*(listen(client, body) for _ in range(count))))


def figures(form: str) -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, folder), daemon=True)
        process.start()
        try:
            return asyncio.run(_measured(*here.recv(), form))
        finally:
            process.terminate()
            process.join()


async def _measured(port: int, token: str, form: str) -> list[Figure]:
    import httpx

    body = {"model": "paced", "voice": "high", "input": SENTENCE * 4, "response_format": form}
    limits = httpx.Limits(max_connections=200)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, limits=limits, timeout=120) as client:
        await crowd(client, LISTENERS, body)  # everything is loaded now
        rounds = [heard for _ in range(5) for heard in await crowd(client, LISTENERS, body)]
        over = [1000 * (heard.first - PIECE_S) for heard in rounds]
        many = await crowd(client, CROWD, {**body, "response_format": "pcm", "input": SENTENCE * 40})
        short = {**body, "model": "espeak-ng", "voice": "nova", "input": "Good morning."}
        await listen(client, short)
        began = time.perf_counter()
        await asyncio.gather(*(_several(client, short, SHORT // 8) for _ in range(8)))
        rate = SHORT / (time.perf_counter() - began)
    return [
        fixed("first byte over the engine's own, 10 streams", "ms", over, FIRST_MS),
        fixed("longest silence in one of 50 streams", "ms", [1000 * heard.short for heard in many], 1.0),
        fixed("first byte, 50 streams", "ms", [1000 * heard.first for heard in many], CROWD_MS),
        least("short texts by espeak-ng, 8 at once", "1/s", [rate], SHORT_A_SECOND),
    ]


async def _several(client: Any, body: dict[str, Any], count: int) -> None:
    for _ in range(count):
        await listen(client, body)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="mp3", help="format of the first figures")
    sys.stdout.write("\n".join(table(figures(parser.parse_args(arguments).form))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
