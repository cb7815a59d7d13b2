"""Whoever waits for a request and is cancelled ends, also in the moment in which something comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polydub.server.door import Passage

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_that_comes_together_with_the_message_is_not_lost(steps: int) -> None:
    come = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await come.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    passage: Any = Passage(None, {"headers": []}, receive, None)  # type: ignore[arg-type]
    waiting = asyncio.ensure_future(passage.receive())
    for _ in range(10):
        await asyncio.sleep(0)
    come.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    had = waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert had or waiting.cancelled()
