"""The speech services as clients meet them: over real TCP, with engines that wait or fail when a test says so."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from house import open_house

from polydub import config
from polydub.engines import registry
from polydub.engines.asr import fake as fake_asr
from polydub.engines.base import Kind, Options
from polydub.engines.pool import Tool
from polydub.engines.tts import fake
from polydub.media import sounds
from polydub.runner import Run
from polydub.server.speech import House
from polydub.types import Audio, Part, Segment

ROUTES = ("openai", "transcribe", "separate")


@dataclass
class Gates:
    """What the engines wait for, and what they were asked.

    Attributes: hold: texts that match wait for `go`. fail: texts that match break. slow_s: seconds each text takes.
    """

    hold: str = "(?!)"
    fail: str = "(?!)"
    slow_s: float = 0.0
    go: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    working: int = 0


class Gated(fake.FakeSpeech):
    """The fake voice behind gates."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    def synthesize(self, part: Part) -> Audio:
        self._gates.asked.append(part.text)
        self._gates.working += 1
        try:
            time.sleep(self._gates.slow_s)
            if re.search(self._gates.hold, part.text):
                self._gates.go.wait(250)  # a fixture of many tests holds it for all of them
            if re.search(self._gates.fail, part.text):
                raise RuntimeError("failed on purpose")
            return super().synthesize(part)
        finally:
            self._gates.working -= 1


class GatedEar(fake_asr.FakeRecognition):
    """The fake recogniser, which breaks in sound that begins late."""

    calls = 0

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("failed on purpose")
        yield from super().transcribe(speech, language)


class TriedHouse(House):
    """A house that also has the engines "gated" (parallel: `slots`) and "breaking"."""

    def __init__(self, folder: Path, *, slots: int = 2, queue: int = 32, settings: Mapping[str, Any] | None = None) -> None:
        own = {name: str(folder / name) for name in ("voices", "models", "environments")}
        loaded = config.load({**own, **(settings or {})}, job=None, environ={}, cwd=folder, user_file=None)
        super().__init__(loaded, folder, queue=queue)
        self.gates, self.slots = Gates(), slots

    def choose(self, run: Run, kind: Kind, model: str, wants: Mapping[Kind, str]) -> Tool:
        if model == "gated":
            run.tools["tts"] = self._tool(fake.ENGINE, "gated", lambda: Gated(self.gates), self.slots)
        elif model == "breaking":
            super().choose(run, kind, "fake", wants)
            ear = replace(fake_asr.ENGINE, info=replace(fake_asr.ENGINE.info, piece_s=1.0))
            run.tools["asr"] = self._tool(ear, "breaking", lambda: GatedEar("yes indeed"), 1)
        else:
            return super().choose(run, kind, model, wants)
        return run.tools[kind]

    @staticmethod
    def _tool(like: Any, name: str, made: Callable[[], Any], slots: int) -> Tool:
        @contextmanager
        def load(options: Options, _weights: Any, _device: str) -> Generator[Any]:
            yield made()

        engine = replace(like, info=replace(like.info, name=name, parallel=slots), load=load)
        return Tool(engine, engine.options(), {"name": name})


@dataclass
class Served:
    """A running server. Attributes: url: of /v1. token: of somebody who may use it."""

    port: int
    token: str
    house: TriedHouse

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def inside(self) -> int:
        """Requests that have a place at a desk."""
        return sum(desk.inside for desk in self.house.desks().values())


@contextmanager
def served(folder: Path, *, house: TriedHouse | None = None, scopes: tuple[str, ...] = (), **parts: Any) -> Iterator[Served]:
    """A server in a thread of its own; `parts` as of `house.open_house`. `scopes`: of the token."""
    folder.mkdir(exist_ok=True)
    speech = house or TriedHouse(folder)
    ready, told = threading.Event(), dict[str, Any]()

    async def serve() -> None:
        async with open_house(folder, speech=speech, **parts) as home:
            have = {getattr(route, "path", "") for route in home.app.routes}
            for name in ROUTES:
                router = import_module(f"polydub.server.routes.{name}").router
                if router.routes[0].path not in have:
                    home.app.include_router(router)
            listening = socket.socket(proto=socket.IPPROTO_TCP)  # told, or asyncio leaves Nagle's delay of 40 ms in
            listening.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(home.app, log_level="critical", lifespan="off", ws="none"))
            told.update(server=server, port=listening.getsockname()[1], token=await home.token("viewer", "", scopes))
            ready.set()
            await server.serve([listening])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(60), "the server did not start"
    try:
        yield Served(told["port"], told["token"], speech)
    finally:
        speech.gates.go.set()
        told["server"].should_exit = told["server"].force_exit = True
        thread.join(60)
        speech.close()


def waits_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether a condition comes true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@cache
def talk_wav(*sentences: str) -> bytes:
    """A WAV of English sentences in the voice of espeak-ng, with pauses of 0.8 s: speech, to the detector."""
    engine = registry.get("tts", "espeak-ng")
    with engine.load(engine.options(), {}, "cpu") as tts:
        voice = tts.voices("en")[0]
        spoken = [tts.synthesize(Part(text, "en", voice)) for text in sentences]
    rate_hz = spoken[0].rate_hz if spoken else 16_000
    pause = np.zeros((1, round(0.8 * rate_hz)), np.float32)
    samples = np.concatenate([pause, pause, *(part for sound in spoken for part in (sound.samples, pause))], axis=1)
    return sounds.encoded(Audio(samples, rate_hz), "wav")
