"""Answers that are sent while they are made: they end when the client leaves, and never look complete when they are not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from polydub.errors import PolydubError
from polydub.server.desk import Flow
from polydub.server.problems import Problem, body_of

T = TypeVar("T")
KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": keep-alive\n\n"
EVENTS = "text/event-stream"
UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx would keep a stream back otherwise


class Streamed(StreamingResponse):
    """A StreamingResponse that notices at once that the client has left, also while there is nothing to send.

    `held` is given back at the end, however it comes.
    """

    def __init__(self, content: AsyncIterator[bytes], held: AsyncExitStack, **how: Any) -> None:
        super().__init__(content, **how)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends everything, unless the client leaves before."""
        sending = asyncio.ensure_future(self.stream_response(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with suppress(OSError):  # of a connection that is gone
                    sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._held.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_here(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives; it is cancelled when the client leaves. Raises: Problem 499 then, which nobody gets to see."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(499, "client_left", "the client has left")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def stopping(flow: Flow[Any]) -> AsyncExitStack:
    """What a response holds while it takes from a flow."""
    held = AsyncExitStack()
    held.callback(flow.stop)
    return held


def event(data: Mapping[str, Any], name: str = "") -> bytes:
    """One server-sent event. A name is for polydub's own streams only: OpenAI's clients take named ones for garbage."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


async def events(
    flow: Flow[T], first: T, told: Callable[[T], Mapping[str, Any] | bytes | None], failed: Callable[[PolydubError], bytes]
) -> AsyncGenerator[bytes]:
    """Items of a flow as events, the given first one before; comments keep quiet connections alive.

    `told` gives the data of an item, whole bytes, or None for nothing. An error becomes the event that `failed` gives: after
    the first byte there is no status that could tell it.
    """
    item: T | None = first
    try:
        while item is not None:
            made = told(item)
            if made is not None:
                yield made if isinstance(made, bytes) else event(made)
            while True:
                try:
                    item = await flow.take(KEEP_ALIVE_S)
                    break
                except TimeoutError:
                    yield KEEP_ALIVE
    except PolydubError as error:
        yield failed(error)


def error_event(error: PolydubError) -> bytes:
    """An error in a stream of OpenAI's shape: its clients raise APIError."""
    return event(body_of(error, "/v1"))
