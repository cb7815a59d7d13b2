"""The body of an upload as it comes: watched for silence, and put together into pieces worth writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic

from starlette.requests import ClientDisconnect

from polydub.server.problems import Problem
from polydub.server.upload_rows import busy, later

Pieces = AsyncIterator[bytes]


@dataclass(slots=True)
class Sender:
    """A request that is writing an upload."""

    last: float
    stop: asyncio.Event
    gone: asyncio.Event


async def alive(pieces: Pieces, sender: Sender, idle_s: float) -> Pieces:
    """The pieces as they come, until the sender ends, is silent for too long, or has to make way. Raises: Problem 408, 423."""
    stop = asyncio.ensure_future(sender.stop.wait())
    try:
        while True:
            coming = asyncio.ensure_future(_next(pieces))
            try:
                done, _ = await asyncio.wait({coming, stop}, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait({coming})
            if coming not in done:
                raise busy() if stop in done else _silent(idle_s)
            piece = coming.result()
            if piece is None:
                return
            sender.last = monotonic()
            yield piece
    finally:
        stop.cancel()


async def _next(pieces: Pieces) -> bytes | None:
    return await anext(pieces, None)


def _silent(idle_s: float) -> Problem:
    message = f"nothing came for {idle_s:g} s"
    return later(Problem(408, "too_slow", message, hint="go on from where it stopped"), 1)


async def collected(pieces: Pieces, least: int) -> Pieces:
    """The same bytes in pieces of at least `least`, but the last; what came before the sender went away comes before that."""
    held = bytearray()
    try:
        async for piece in pieces:
            held += piece
            if len(held) >= least:
                yield bytes(held)
                held.clear()
    except (ClientDisconnect, Problem):
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)
