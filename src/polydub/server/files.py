"""Stored files on their way out: whole, by range for players, or by an address of the bucket's own.

What people have sent goes out as what it is only where a browser can do nothing with it but play or show it; everything else
is an attachment. The sandbox says the same to browsers that guess.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from fastapi import Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from polydub.server.contracts import Storage
from polydub.server.names import disposition
from polydub.server.problems import Problem, not_found

PRESIGNED_S = 900
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PLAYED = ("video/", "audio/", "image/png", "image/jpeg", "image/webp", "text/vtt", "application/vnd.apple.mpegurl")


class LocalFile(FileResponse):
    """A file of this host, whole or by ranges; a range that cannot be sent is refused in the shape of all errors.

    One in another unit than bytes is ignored, as RFC 9110, 14.2, wants it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises: Problem 400 for a malformed range, 416 for one outside the file."""

        async def checked(message: Message) -> None:
            status = message.get("status")
            if status == 416:
                raise RangeOutside(Headers(raw=message["headers"])["content-range"])
            if status == 400:
                hint = "send Range: bytes=FIRST-LAST"
                raise Problem(400, "bad_range", "the range is not well formed", hint=hint, param="Range")
            await send(message)

        headers = [(name, value) for name, value in scope["headers"] if name != b"range" or _in_bytes(value)]
        await super().__call__({**scope, "headers": headers}, receive, checked)


def _in_bytes(asked: bytes) -> bool:
    return asked.partition(b"=")[0].strip().lower() == b"bytes"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file that goes out. Attributes: media: its type. show: it may be played in the page; else it is always saved."""

    key: str
    name: str
    media: str
    show: bool = False


async def send(request: Request, storage: Storage, file: Outgoing, *, direct: bool = True) -> Response:
    """The answer to GET or HEAD: 200, 206 for a range, or 307 to the bucket where the storage has addresses.

    Args: direct: False = never 307, for players and pages that may not go elsewhere.
    Raises: Problem 404 when the file is not there, 416 for a range outside it.
    """
    headers = _headers(file)
    local = storage.local(file.key)
    if local is not None:
        return LocalFile(local, media_type=file.media, headers=headers)
    if direct and request.method == "GET":
        url = await storage.presigned(file.key, method="GET", seconds=PRESIGNED_S, name="" if file.show else file.name)
        if url is not None and await storage.size(file.key) is not None:
            return RedirectResponse(url, 307, headers={"cache-control": "no-store", "referrer-policy": "no-referrer"})
    size = await storage.size(file.key)
    if size is None:
        raise not_found("file")
    return _streamed(request, storage, file, size)


def _headers(file: Outgoing) -> dict[str, str]:
    kind: Literal["inline", "attachment"] = "inline" if file.show and file.media.startswith(_PLAYED) else "attachment"
    return {
        "content-disposition": disposition(file.name, kind),
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
    }


def _streamed(request: Request, storage: Storage, file: Outgoing, size: int) -> Response:
    start, end, status = 0, size, 200
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked and any(asked.groups()) and "if-range" not in request.headers:
        start, end = _span(asked, size)
        status = 206
        if start >= end:
            raise RangeOutside(f"bytes */{size}")
    headers = {**_headers(file), "accept-ranges": "bytes", "content-length": str(end - start)}
    if status == 206:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=file.media)
    body: AsyncIterator[bytes] = storage.read(file.key, start, end)
    return StreamingResponse(body, status, headers, file.media)


def _span(asked: re.Match[str], size: int) -> tuple[int, int]:
    first, last = asked.groups()
    if not first:  # the last so many bytes
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


class RangeOutside(Problem):
    """416; sent with `headers`."""

    def __init__(self, content_range: str) -> None:
        super().__init__(416, "bad_range", "the range lies outside the file", param="Range")
        self.headers = {"content-range": content_range}
