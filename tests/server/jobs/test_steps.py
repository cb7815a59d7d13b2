"""Where steps go, and which of two attempts of a job is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from job_house import now, row, settings

from polydub.server import requests
from polydub.server.db import open_records
from polydub.server.fanout import Fanout
from polydub.server.fetching import Fetcher
from polydub.server.hands import Hands
from polydub.server.jobs import Kept
from polydub.server.steps import STALE, Others, Place, Shares, Steps
from polydub.server.storage import LocalStorage
from polydub.server.work import Message


async def nobody_waits(queue: str) -> Sequence[int]:
    return ()


class Endless(Steps):
    """Its steps end when their gate is opened, or when they are stopped; one that is stopped takes a moment."""

    gates: dict[int, asyncio.Event]

    async def _work(self, call: Message) -> Message:
        try:
            await asyncio.Event().wait()
        finally:
            await self.gates[call["attempt"]].wait()
        return {}


async def steps_of(folder: Path, kind: type[Steps] = Steps, *, many: bool = False, request: Any = None) -> Any:
    """Steps of a host without an accelerator, its records with one job."""
    told = settings(folder)
    records, storage, hands = await open_records(told, folder), LocalStorage(folder / "files"), Hands()

    async def served() -> Mapping[str, Sequence[int]]:
        return {queue: (slots,) for queue, slots in hands.served.items()}

    kept = Kept(told, records, storage, folder)
    others = Others(served, nobody_waits, many)
    if request:
        await records.add_job(row("one", request))
    return kind(Place(records, storage, Fanout(records), folder, now, others, Fetcher(kept)), {}, hands), records


@pytest.mark.parametrize(("stream", "many", "queue"), [("hls", False, "cpu"), ("hls", True, "gpu"), ("off", False, "cpu")])
def test_a_card_that_the_only_process_does_not_have_is_not_waited_for(
    tmp_path: Path, stream: str, many: bool, queue: str
) -> None:
    async def main() -> None:
        wish = {"input": {"upload": "u"}, "settings": {"device": "cuda", "stream": stream}}
        steps, records = await steps_of(tmp_path, many=many, request=wish)
        first = await steps.plan({"job": "one", "attempt": 1})
        await records.close()
        assert first["queue"] == queue

    asyncio.run(main())


def test_an_attempt_that_ends_late_does_not_hide_the_next_one(tmp_path: Path) -> None:
    async def main() -> None:
        steps, records = await steps_of(tmp_path, Endless)
        steps.gates = {1: asyncio.Event(), 2: asyncio.Event()}
        first = asyncio.create_task(steps.work({"job": "one", "attempt": 1}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        steps.stop("one")
        second = asyncio.create_task(steps.work({"job": "one", "attempt": 2}))
        await asyncio.sleep(0.01)
        steps.gates[1].set()
        assert await first == STALE
        steps.gates[2].set()
        steps.stop("one")
        done, _ = await asyncio.wait({second}, timeout=60)
        await records.close()
        assert done and second.result() == STALE

    asyncio.run(main())


class Apart(LocalStorage):
    """Files as in a bucket: there are only copies, and what is fetched together comes together."""

    def __init__(self, folder: Path, at_once: int) -> None:
        super().__init__(folder)
        self._barrier = asyncio.Barrier(at_once)

    def local(self, key: str) -> Path | None:
        return None

    async def fetch(self, key: str, to: Path) -> None:
        await self._barrier.wait()
        await super().fetch(key, to)
        await self._barrier.wait()


def test_shares_that_begin_on_a_host_at_once_all_find_every_file_whole(tmp_path: Path) -> None:
    files = {name: {"upload": name, "name": f"{name}.wav"} for name in ("v1", "v2", "v3")}
    wish = {"input": {"upload": "film", "name": "film.mkv"}, "to": ["es"], "voice": list(files.values())}
    folder = tmp_path / "jobs" / "one"

    async def main() -> None:
        storage = Apart(tmp_path / "bucket", at_once=2)
        for key in ("film", *files):
            (tmp_path / key).write_bytes(key.encode())
            await storage.put_file(f"uploads/{key}", tmp_path / key)
        steps, records = await steps_of(tmp_path)
        shares = Steps(replace(steps._place, storage=storage), {}, Hands())
        await asyncio.gather(*(shares._bring(requests.read(wish), folder) for _ in range(2)))
        await records.close()

    asyncio.run(main())
    assert sorted(path.read_bytes() for path in (folder / "input").rglob("*") if path.is_file()) == [
        b"film", b"v1", b"v2", b"v3",
    ]  # fmt: skip


TWO = {"cpu": [2, 1], "gpu": [1, 1], "net": [4, 4]}


@pytest.mark.parametrize(
    ("call", "served", "idle"),
    [
        ({"queue": "gpu"}, {**TWO, "at:a": [1, 1]}, 2),
        ({"queue": "cpu"}, {**TWO, "at:a": [1, 1]}, 3),
        ({"queue": "cpu"}, {**TWO, "at:a": [1], "at:b": [1]}, 0),  # two folders, and no bucket
        ({"queue": "cpu"}, {**TWO, "at:a": [1]}, 0),  # one does not know of shares
        ({"queue": "cpu"}, {"cpu": [2], "at:a": [1, 1]}, 0),
        ({"queue": "net"}, {**TWO, "at:a": [1, 1]}, 0),
        ({"queue": "gpu", "whole": True}, {**TWO, "at:a": [1, 1]}, 0),
        ({"queue": "gpu", "share": {}}, {**TWO, "at:a": [1, 1]}, 0),
    ],
)
def test_a_step_is_divided_only_among_workers_that_share_what_is_finished(
    tmp_path: Path, call: Message, served: Mapping[str, Sequence[int]], idle: int
) -> None:
    async def known() -> Mapping[str, Sequence[int]]:
        return served

    async def ended(call: Message, told: Message) -> Sequence[Message]:
        return ()

    async def stop(workflow: str) -> None:
        pass

    async def main() -> None:
        steps, records = await steps_of(tmp_path)
        others = Others(known, nobody_waits, True, Shares(ended, stop))
        found = Steps(replace(steps._place, others=others), {}, Hands())
        await records.close()
        assert await found._idle(call) == idle

    asyncio.run(main())
