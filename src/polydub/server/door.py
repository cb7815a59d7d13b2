"""What every request passes before a route sees it, and every answer on its way out.

One piece of middleware: request id, the names that the server answers to, limits of rate, size and slowness, headers that
tell browsers what not to do, one line in the log. It does not buffer: streams pass as they come.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polydub.config.server import LOOPBACK, ServerSettings
from polydub.server.access import principal
from polydub.server.accounts import Accounts
from polydub.server.logs import REQUEST
from polydub.server.metrics import Metrics
from polydub.server.problems import Problem, body_of, headers_of, unauthenticated
from polydub.server.tokens import new_id

LOG = logging.getLogger("polydub.server.access")
MB = 1_000_000
BODY = 2 * MB  # of requests that bring no file
SLOWEST_S = 60.0  # without a byte of a body that was announced
UNLIMITED = frozenset({"/healthz", "/readyz", "/metrics"})
_DIGITS = 18  # of a length that is not absurd; Python refuses to read numbers of thousands of them
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
# The studio: its own scripts and styles alone; sound and pictures may also come from presigned addresses.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob: https:; "
    "media-src 'self' blob: https:; connect-src 'self' https:; font-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), payment=(), usb=()",
}


def large_bodies(settings: ServerSettings) -> tuple[tuple[str, int], ...]:
    """Paths that take files: (prefix, largest body in bytes), the first that fits. Only those who are known may send them."""
    film, recording, sample = settings.max_upload_gb * 1000 * MB, (settings.max_file_mb + 1) * MB, 100 * MB
    return (
        ("/api/upload", film),  # and /api/uploads
        ("/api/dub", film),
        ("/v1/audio/transcriptions", recording),
        ("/v1/audio/translations", recording),
        ("/api/transcribe", recording),
        ("/api/separate", recording),
        ("/api/voices", sample),
        ("/api/presets", sample),
        ("/api/characters", sample),
        ("/api/jobs/", 20 * MB),
    )


@dataclass(eq=False)
class Door:
    """The middleware."""

    app: ASGIApp
    settings: ServerSettings
    accounts: Accounts
    metrics: Metrics
    templates: Mapping[Any, str]  # path of each endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passage = Passage(self, scope, receive, send)
        token = REQUEST.set(passage.id)
        self.metrics.begun()
        try:
            try:
                await self._check(passage)
            except (Problem, HTTPException) as error:
                await passage.refuse(error)
            else:
                await self.app(scope, passage.receive, passage.send)
        finally:
            passage.log()
            REQUEST.reset(token)

    async def _check(self, passage: Passage) -> None:
        request = Request(passage.scope)
        if not self._answers_to(request.headers.get("host", "")):
            raise Problem(421, "unknown_host", "the server does not answer to this name", hint="set server.public_url")
        path = passage.scope["path"]
        if path not in UNLIMITED:
            self.accounts.throttle.address(passage.address)
        limit = next((size for start, size in large_bodies(self.settings) if path.startswith(start)), BODY)
        passage.limit = limit
        length = request.headers.get("content-length", "")
        if length and not (length.isascii() and length.isdigit()):
            raise Problem(400, "bad_length", "Content-Length is no number")
        if len(length) > _DIGITS or (length and int(length) > limit):
            raise too_large(limit)
        brings_much = "transfer-encoding" in request.headers or (length and int(length) > BODY)
        if limit > BODY and brings_much and await principal(request) is None:
            raise unauthenticated()

    def _answers_to(self, host: str) -> bool:
        """Against pages that let their own name lead to this machine: where only it is listened to, names are few."""
        if self.settings.host not in LOOPBACK:
            return True
        name = urlsplit(f"//{host}").hostname if _HOST.fullmatch(host) else None
        return name in LOOPBACK or (bool(self.settings.public_url) and name == urlsplit(self.settings.public_url).hostname)


LINGER_S = 10.0  # that a refused body is still taken
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?")


class Passage:
    """One request on its way in and out."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.limit = scope, BODY
        self._door, self._receive, self._send = door, receive, send
        self._begun, self._status, self._read, self._complete = time.perf_counter(), 0, 0, False
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        self.id = given if _ID.fullmatch(given) else new_id()
        scope["polydub.request"] = self.id
        self.address = scope["client"][0] if scope.get("client") else ""

    async def receive(self) -> Message:
        """The next piece of the body, within size and time. Raises: HTTPException 413, 408."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(SLOWEST_S):  # wait_for loses a cancellation that comes together with the message
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the body comes too slowly") from None
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            self._read += len(message.get("body", b""))
            if self._read > self.limit:
                problem = too_large(self.limit)
                raise HTTPException(413, problem.message)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """A piece of the answer; its head gets the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", []), *self._added(message.get("headers", []))]
        await self._send(message)

    async def refuse(self, error: Problem | HTTPException) -> None:
        """Answers with an error before any route was asked."""
        told = error if isinstance(error, Problem) else Problem(error.status_code, "refused", str(error.detail))
        body = json.dumps(body_of(told, self.scope["path"])).encode()
        head = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        head |= {**headers_of(told), **self._for_page()}
        pairs = [(name.encode(), value.encode()) for name, value in head.items()]
        await self.send({"type": "http.response.start", "status": told.http_status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if told.http_status != 408:
            await self._linger()
        await self.send({"type": "http.response.body"})

    def _for_page(self) -> dict[str, str]:
        """What lets a page of an allowed site read this; the middleware that says it of other answers lies behind the door."""
        origin = dict(self.scope["headers"]).get(b"origin", b"").decode("latin-1")
        if origin not in self._door.settings.cors_origins:
            return {}
        told = {"access-control-allow-origin": origin, "access-control-allow-credentials": "true", "vary": "Origin"}
        return {**told, "access-control-expose-headers": "retry-after, x-request-id"}

    async def _linger(self) -> None:
        """Takes what is still being sent, for a while: who sends when the connection is closed may never see the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._complete:
                    message = await self._receive()
                    self._complete = not message.get("more_body", False)

    def log(self) -> None:
        """One line; the query is left out, since it may hold a token."""
        seconds, status = time.perf_counter() - self._begun, self._status or 500
        route = self._door.templates.get(self.scope.get("endpoint"), "unknown")
        self._door.metrics.ended(self.scope["method"], route, status, seconds)
        facts = {"method": self.scope["method"], "path": self.scope["path"][:200], "status": status, "address": self.address}
        facts |= {"ms": round(seconds * 1000, 1), "account": self.scope.get("polydub.account", "")}
        LOG.log(logging.DEBUG if self.scope["path"] in UNLIMITED else logging.INFO, "request", extra={"facts": facts})

    def _added(self, present: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in present}
        kind = next((value for name, value in present if name.lower() == b"content-type"), b"")
        headers = answer_headers(self._door.settings, self.scope["path"], self.scope["scheme"], kind.decode("latin-1"))
        headers["x-request-id"] = self.id
        return [(name.encode(), value.encode()) for name, value in headers.items() if name.encode() not in names]


def answer_headers(settings: ServerSettings, path: str, scheme: str, kind: str) -> dict[str, str]:
    """Headers that every answer has, unless the route sets its own."""
    headers = dict(_HEADERS)
    headers["content-security-policy"] = _PAGE_POLICY if kind.startswith("text/html") else _API_POLICY
    headers["cross-origin-resource-policy"] = "cross-origin" if settings.cors_origins else "same-origin"
    if path.startswith(("/api", "/v1", "/login", "/metrics")):
        headers["cache-control"] = "no-store"
    if scheme == "https" or settings.public_url.startswith("https:"):
        headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"
    return headers


def too_large(limit: int) -> Problem:
    """413."""
    return Problem(413, "too_large", f"the body is larger than {limit:,} bytes", hint="send less, or upload in parts")
