"""A web server on the loopback that gives files with ranges, and misbehaves as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Origin:
    """What is served, how badly, and what was asked for.

    Attributes: files: path -> content. etag: sent with every file, "" = none. ranges: whether Range is understood.
    cuts: bytes after which the connection of the next answers is closed, one each. status: answer of every request.
    moved: path -> address to redirect to. piece_s: pause before every 4 KiB. asked: (path, headers) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    etag: str = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list[int])
    status: int = 200
    moved: dict[str, str] = field(default_factory=dict[str, str])
    piece_s: float = 0.0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    address: str = ""

    def asked_for(self, path: str) -> list[dict[str, str]]:
        """The headers of every request for a path, names in lower case."""
        return [headers for asked, headers in self.asked if asked == path]


PIECE = 4096


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Answers as the origin is told to."""
        origin = self.origin
        origin.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.close_connection = True
        if self.path in origin.moved:
            self._head(302, 0, {"Location": origin.moved[self.path]})
        elif origin.status != 200 or self.path not in origin.files:
            self._head(origin.status if origin.status != 200 else 404, 0, {})
        else:
            self._give(origin.files[self.path])

    def _give(self, content: bytes) -> None:
        origin = self.origin
        tag = {"ETag": origin.etag} if origin.etag else {}
        wanted = self.headers.get("Range", "")
        fits = self.headers.get("If-Range", origin.etag) == origin.etag
        if wanted and origin.ranges and fits:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self._head(416, 0, {"Content-Range": f"bytes */{len(content)}"})
                return
            place = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._head(206, len(content) - start, tag | place)
            self._send(content[start:])
        else:
            self._head(200, len(content), tag | {"Content-Type": "text/html" if self.path.endswith("/") else "x/x"})
            self._send(content)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(length), "Connection": "close"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes) -> None:
        if self.origin.cuts:
            content = content[: self.origin.cuts.pop(0)]
        try:
            for at in range(0, len(content), PIECE):
                time.sleep(self.origin.piece_s)
                self.wfile.write(content[at : at + PIECE])
        except ConnectionError:  # the one who asked has gone
            pass


@contextmanager
def serving() -> Iterator[Origin]:
    """A running origin; `address` has no slash at its end."""
    origin = Origin()
    handler = type("Handler", (_Handler,), {"origin": origin})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        origin.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield origin
        finally:
            server.shutdown()
            thread.join()


def digest(content: bytes) -> str:
    """Its sha256."""
    return sha256(content).hexdigest()
