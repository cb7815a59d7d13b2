"""A chat server on 127.0.0.1 that answers from a script and remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as received; `question` is the JSON inside the last message."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def question(self) -> dict[str, Any]:
        return json.loads(self.body["messages"][-1]["content"])

    @property
    def ids(self) -> list[str]:
        return [line["id"] for line in self.question["lines"]]


@dataclass(frozen=True)
class Reply:
    """What to send: `delay_s` before it, `gap_s` between its bytes, `promised` a false Content-Length."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    gap_s: float = 0.0
    promised: int | None = None


Answer = Reply | Callable[[Asked], Reply]


def chat(content: str | None, *, why: str = "stop", tokens: tuple[int, int] | None = None, refusal: str | None = None) -> Reply:
    """A well-formed chat completion that says `content`; `tokens` is what it says that it took."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    body: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": why}]}
    if tokens:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return Reply(body=json.dumps(body).encode())


def lines(*pairs: tuple[Any, ...]) -> str:
    """The JSON of a model that gives (id, text, short, long) and no beginnings."""
    return json.dumps({"lines": [dict(zip(("id", "text", "short", "long"), pair, strict=False)) for pair in pairs]})


def started(*triples: tuple[str, str, str]) -> str:
    """The JSON of a model that does as it is told: (id, source, text)."""
    said = [{"id": id_, "start": " ".join(source.split()[:4]), "text": text} for id_, source, text in triples]
    return json.dumps({"lines": said})


def good(asked: Asked) -> Reply:
    """Every line in capitals."""
    return chat(started(*((line["id"], line["text"], line["text"].upper()) for line in asked.question["lines"])))


class ChatServer:
    """Answers each request with the next of `answers`; the last one is kept for all that follow."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        self._lock = threading.Lock()
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

    def __enter__(self) -> ChatServer:
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


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = server.answer(Asked(self.path, dict(self.headers), body))
            time.sleep(reply.delay_s)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) if reply.promised is None else reply.promised))
            self.end_headers()
            if not reply.gap_s:
                self.wfile.write(reply.body)
            for byte in reply.body if reply.gap_s else b"":
                self.wfile.write(bytes([byte]))
                time.sleep(reply.gap_s)
            self.close_connection = reply.promised is not None

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    return Handler
