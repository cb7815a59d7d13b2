"""A speech server on 127.0.0.1 that answers from a script and remembers what it was asked."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

RATE_HZ = 24_000


def tone(seconds: float = 0.5, rate_hz: int = RATE_HZ) -> np.ndarray:
    """16-bit samples of a buzz."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return (8000 * np.sin(2 * np.pi * 220 * at)).astype("<i2")


def wav(samples: np.ndarray, rate_hz: int = RATE_HZ, *, size: int | None = None, channels: int = 1, kind: int = 1) -> bytes:
    """A WAV file; `size` is what its data chunk says, None = the truth. A chunk of another kind comes first."""
    raw, width = samples.tobytes(), samples.dtype.itemsize
    form = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * width * channels, width * channels, 8 * width)
    told = len(raw) if size is None else size
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", 16) + form
    return b"RIFF" + struct.pack("<I", min(0xFFFFFFFF, told + 36)) + b"WAVE" + chunks + b"data" + struct.pack("<I", told) + raw


@dataclass(frozen=True)
class Asked:
    """One request as received."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What to send; `promised`: a Content-Length that is not true."""

    body: bytes = b""
    status: int = 200
    kind: str = "audio/wav"
    promised: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Answer = Reply | Callable[[Asked], Reply]


class SpeechServer:
    """Answers each POST with the next of `answers`, the last one again and again; `voices` to GET /audio/voices."""

    def __init__(self, *answers: Answer, voices: Reply | None = None) -> None:
        self.asked: list[Asked] = []
        self.voices = voices or Reply(b"{}", 404, "application/json")
        self._answers, self._lock = list(answers), threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer if isinstance(answer, Reply) else answer(asked)

    def __enter__(self) -> SpeechServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is part of the script."""


def _handler(server: SpeechServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(server.answer(Asked(self.path, dict(self.headers), body)))

        def do_GET(self) -> None:
            self._send(server.voices)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) if reply.promised is None else reply.promised))
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = reply.promised is not None

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    return Handler
