"""A web server on the loopback that answers as it is told, one answer after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes: body: what is sent. claimed: its length as the head tells; -1 = the truth. stall_s: silence before the body's
    second half.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    claimed: int = -1
    stall_s: float = 0.0


@dataclass
class Server:
    """What it answers, the last answer for ever; which ranges were asked for ("" = none)."""

    address: str
    answers: list[Answer]
    ranges: list[str] = field(default_factory=list[str])


@contextmanager
def misbehaving() -> Iterator[Server]:
    """A running server; it closes the connection after every answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            server.ranges.append(self.headers.get("Range", ""))
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            self.close_connection = True
            self.send_response(answer.status)
            claimed = len(answer.body) if answer.claimed < 0 else answer.claimed
            for name, value in {"Content-Length": str(claimed), "Connection": "close", **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            half = len(answer.body) // 2 if answer.stall_s else 0
            try:
                self.wfile.write(answer.body[:half])
                gone.wait(answer.stall_s)
                self.wfile.write(answer.body[half:])
            except OSError:  # the one who asked has gone
                pass

    gone = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        server = Server(f"http://127.0.0.1:{running.server_address[1]}", [Answer()])
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            gone.set()
            running.shutdown()
            thread.join()
