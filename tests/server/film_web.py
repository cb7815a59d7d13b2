"""A web server on loopback from which films are fetched, in a thread: whole, slowly, by detours, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What a path gives. Attributes: half: only that many bytes come until `FilmWeb.goes` is set."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    half: int | None = None


@dataclass
class FilmWeb:
    """`pages`: by path. `asked`: paths in order. `port`: of 127.0.0.1."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0
    goes: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def hosts(self) -> str:
        """For the setting url_hosts."""
        return f"127.0.0.0/8:{self.port}"


@contextmanager
def film_web() -> Iterator[FilmWeb]:
    """A server that ends with the block."""
    web = FilmWeb()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.asked.append(self.path)
            page = web.pages.get(self.path.partition("?")[0], Page(b"nothing", 404))
            self.send_response(page.status)
            for name, value in {"Content-Length": str(len(page.body)), **page.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                if page.half is not None:
                    self.wfile.write(page.body[: page.half])
                    self.wfile.flush()
                    web.goes.wait(60)
                self.wfile.write(page.body[page.half or 0 :])
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.goes.set()
        server.shutdown()
        server.server_close()
        thread.join(60)


def resolver(**names: str | list[str]) -> Callable[..., object]:
    """Names (without .test) and their address; several addresses are answered one after the other, the last for ever."""
    left = {name: [found] if isinstance(found, str) else list(found) for name, found in names.items()}

    async def resolve(host: str, port: int) -> list[str]:
        answers = left.get(host.removesuffix(".test"), [host] if host[:1].isdigit() else [])
        return [answers.pop(0) if len(answers) > 1 else answers[0]] if answers else []

    return resolve
