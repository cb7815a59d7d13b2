"""What engines behind HTTP services share, against real servers on the loopback."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from chat_server import Answer as Scripted
from chat_server import ChatServer, Reply
from pydantic import ValidationError

from polydub.engines.service import Answer, Ask, Endpoint, RemoteOptions, Service, plain_address
from polydub.errors import BadEngineOutput, BadSettings, Cancelled, EngineFailed, MissingSecret, PolydubError

KEY = "sk-very-secret"
PLOT = "a secret plot"
OK = Reply(body=b'{"fine": true}', headers={"X-Rate": "24000"})


class Line:
    """A service at a scripted server; `waited` holds the seconds that it would have slept."""

    def __init__(self, *replies: Scripted, **end: Any) -> None:
        self.waited: list[float] = []
        self.server = ChatServer(*replies)
        self.end = Endpoint(self.server.url, **{"key": KEY, **end})

    def request(self, **ask: Any) -> Answer:
        with self.server, Service(self.end, sleep=self.waited.append) as service:
            return service.request(Ask("/x", **{"json": {"messages": [{"content": json.dumps(PLOT)}]}, **ask}))

    def stream(self, use: Callable[[Any], None]) -> None:
        with self.server, Service(self.end, sleep=self.waited.append) as service, service.stream(Ask("/x", json={})) as answer:
            use(answer)


def error_of(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": PLOT + KEY}}).encode()


def test_json_goes_out_and_an_answer_comes_back() -> None:
    line = Line(OK)
    answer = line.request(json={"a": "é \ud83d"})
    assert (answer.status, answer.json(), answer.headers["x-rate"]) == (200, {"fine": True}, "24000")
    (asked,) = line.server.asked
    assert (asked.path, asked.body) == ("/v1/x", {"a": "é \ud83d"})
    assert (asked.headers["Authorization"], asked.headers["Content-Type"]) == (f"Bearer {KEY}", "application/json")


def test_without_a_key_none_is_sent() -> None:
    line = Line(OK, key=" ")
    line.request()
    assert "Authorization" not in line.server.asked[0].headers


def test_a_key_that_no_header_can_hold_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(MissingSecret) as caught:
        Service(Endpoint("http://127.0.0.1:1", key="sk-\nx"))
    assert "sk-" not in str(caught.value)


def test_a_proxy_of_the_user_does_not_come_between_us_and_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(Reply(503)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        assert Line(OK).request().status == 200
        assert proxy.asked == []
        far = Endpoint("http://service.invalid", retries=0)
        with Service(far) as service, pytest.raises(EngineFailed, match="HTTP 503"):
            service.request(Ask("/x", json={}))
        assert len(proxy.asked) == 1


def test_a_form_carries_files_and_is_sent_again_whole() -> None:
    got: list[bytes] = []
    with _Raw(got, b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as url:
        ask = Ask("/x", data={"model": "m", "kinds": ["word", "segment"]}, files={"file": ("a.flac", b"SOUND", "audio/flac")})
        with Service(Endpoint(url), sleep=lambda _: None) as service:
            assert service.request(ask).body == b"hi"
    assert len(got) == 2
    for body in got:
        assert b'name="file"; filename="a.flac"' in body and b"SOUND" in body and b"multipart/form-data" in body
        assert body.count(b'name="kinds"') == 2


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_busy_and_failing_services_are_tried_again_with_growing_waits(status: int) -> None:
    line = Line(Reply(status), Reply(status), OK)
    assert line.request().status == 200
    first, second = line.waited
    assert 1 <= first <= 1.25 and 2 <= second <= 2.5


def test_waits_of_several_callers_are_spread() -> None:
    assert len({tuple(_waits(Reply(503), OK)) for _ in range(3)}) > 1


def _waits(*replies: Scripted) -> list[float]:
    line = Line(*replies)
    line.request()
    return line.waited


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_after_the_last_try_the_error_names_host_and_status(status: int) -> None:
    line = Line(Reply(status, error_of("busy")), retries=3)
    with pytest.raises(EngineFailed, match=rf"127\.0\.0\.1:\d+/v1 answered HTTP {status}$") as caught:
        line.request()
    assert (len(line.server.asked), len(line.waited)) == (4, 3)
    assert caught.value.retryable and caught.value.hint


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "3"}, 3, 3.75),
        ({"Retry-After": "0.5"}, 0.5, 0.63),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, 1.9),
        ({"Retry-After": "soon"}, 1, 1.25),
        ({"Retry-After": "-5"}, 1, 1.25),
        ({"Retry-After": "Mon, 01 Jan 1990 00:00:00 GMT"}, 0, 0),
    ],
)
def test_a_service_is_given_the_time_it_asks_for(headers: dict[str, str], low: float, high: float) -> None:
    (wait,) = _waits(Reply(429, headers=headers), OK)
    assert low <= wait <= high


def test_a_date_in_retry_after_is_understood() -> None:
    (wait,) = _waits(Reply(503, headers={"Retry-After": formatdate(time.time() + 12, usegmt=True)}), OK)
    assert 8 < wait <= 15


@pytest.mark.parametrize(("wish", "budget_s"), [("86400", 1e9), ("60", 30.0)])
def test_a_wait_that_nobody_would_sit_out_is_an_error_at_once(wish: str, budget_s: float) -> None:
    line = Line(Reply(429, headers={"Retry-After": wish}), budget_s=budget_s)
    with pytest.raises(EngineFailed, match=f"HTTP 429, for the next {wish} s"):
        line.request()
    assert line.waited == [] and len(line.server.asked) == 1


def test_an_account_without_credit_is_not_asked_again() -> None:
    line = Line(Reply(429, error_of("insufficient_quota")))
    with pytest.raises(EngineFailed, match=r"no more credit \(HTTP 429, insufficient_quota\)"):
        line.request()
    assert len(line.server.asked) == 1


def test_a_service_that_says_not_to_try_again_is_obeyed() -> None:
    line = Line(Reply(503, headers={"x-should-retry": "false"}))
    with pytest.raises(EngineFailed, match="503"):
        line.request()
    assert len(line.server.asked) == 1


@pytest.mark.parametrize(
    ("status", "kind", "says", "hint"),
    [
        (401, MissingSecret, "refuses the API key (HTTP 401)", "export KEY=..."),
        (403, MissingSecret, "refuses the API key (HTTP 403)", "export KEY=..."),
        (404, BadSettings, "no such model", "pull it"),
        (402, EngineFailed, "no more credit (HTTP 402, odd_code)", "billing"),
        (413, EngineFailed, "too large (HTTP 413, odd_code)", "takes more"),
        (400, BadSettings, "refuses the request (HTTP 400, odd_code)", "model"),
        (422, BadSettings, "refuses the request (HTTP 422, odd_code)", "model"),
        (307, BadSettings, "redirects", "base_url"),
    ],
)
def test_what_another_try_would_not_change_is_told_at_once(status: int, kind: type[PolydubError], says: str, hint: str) -> None:
    line = Line(
        Reply(status, error_of("odd_code"), {"Location": "http://127.0.0.1:1/"}), set_key="export KEY=...", name="pull it"
    )
    with pytest.raises(kind) as caught:
        line.request()
    assert says in str(caught.value) and hint in caught.value.hint
    assert "127.0.0.1" in str(caught.value)
    assert PLOT not in str(caught.value) and KEY not in str(caught.value) + caught.value.hint
    assert len(line.server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]",
        b'{"error": "x"}',
        b'{"error": {"code": "a b <script>"}}',
        b"[" * 100_000,
        b"\xff",
        b'{"error": {"code": []}}',
    ],
)
def test_an_odd_error_body_adds_nothing(body: bytes) -> None:
    with pytest.raises(BadSettings, match=r"\(HTTP 400\)$"):
        Line(Reply(400, body)).request()


def test_a_status_that_the_caller_wants_to_see_is_no_error() -> None:
    answer = Line(Reply(400, error_of("json_validate_failed"))).request(accept=frozenset({400}))
    assert (answer.status, answer.code) == (400, "json_validate_failed")


def test_a_service_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    waited: list[float] = []
    with (
        Service(Endpoint(url, retries=1, start="start it"), sleep=waited.append) as service,
        pytest.raises(EngineFailed, match=f"cannot reach {url}") as caught,
    ):
        service.request(Ask("/x"))
    assert caught.value.hint == "start it" and len(waited) == 1


def test_a_silent_and_a_dripping_service_are_left_after_the_time_out() -> None:
    with pytest.raises(EngineFailed, match=r"no answer .* in 0\.1 s"):
        Line(Reply(delay_s=0.5), timeout_s=0.1, retries=0).request()
    with pytest.raises(EngineFailed, match=r"no answer .* in 0\.2 s"):
        Line(Reply(body=b" " * 200, gap_s=0.05), timeout_s=0.2, retries=0).request()


def test_an_answer_that_breaks_off_is_tried_again() -> None:
    cut = Reply(body=b'{"fi', promised=500)
    assert Line(cut, OK).request().json() == {"fine": True}
    with pytest.raises(EngineFailed, match="broke off"):
        Line(cut, retries=0).request()


def test_an_enormous_answer_is_not_swallowed() -> None:
    with pytest.raises(BadEngineOutput, match="more than 1 MB"):
        Line(Reply(body=b" " * 1_000_001)).request(most_bytes=1_000_000)


def test_an_answer_nested_without_end_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="deep"):
        Line(Reply(body=b"[" * 100_000)).request().json()


def test_closing_wakes_who_waits_for_the_next_try() -> None:
    refused = threading.Event()

    def busy(_: object) -> Reply:
        refused.set()
        return Reply(429, headers={"Retry-After": "100"})

    ended: list[PolydubError] = []
    with ChatServer(busy) as server:
        service = Service(Endpoint(server.url))

        def ask() -> None:
            try:
                service.request(Ask("/x", json={}))
            except PolydubError as error:
                ended.append(error)

        caller = threading.Thread(target=ask)
        caller.start()
        assert refused.wait(60)
        service.close()
        caller.join(60)
        assert not caller.is_alive() and isinstance(ended[0], Cancelled)


def test_closing_ends_an_answer_that_is_still_coming() -> None:
    dripping = Reply(body=b" " * 1000, gap_s=0.02)
    with ChatServer(dripping) as server:
        service = Service(Endpoint(server.url))
        timer = threading.Timer(0.15, service.close)
        timer.start()
        with pytest.raises(Cancelled):
            service.request(Ask("/x", json={}))
        timer.join()
        other = Service(Endpoint(server.url))
        with pytest.raises(Cancelled), other.stream(Ask("/x", json={})) as answer:
            for _ in answer.pieces:
                other.close()


def test_nothing_is_asked_after_closing() -> None:
    line = Line(OK)
    with line.server:
        service = Service(line.end)
        service.close()
        with pytest.raises(Cancelled):
            service.request(Ask("/x"))
    assert line.server.asked == []


def test_sound_comes_in_pieces_with_its_headers() -> None:
    got: list[bytes] = []

    def use(answer: Any) -> None:
        assert answer.headers["x-rate"] == "24000"
        got.extend(answer.pieces)

    line = Line(Reply(429, headers={"Retry-After": "0"}), Reply(body=b"abcdef", gap_s=0.02, headers={"X-Rate": "24000"}))
    line.stream(use)
    assert b"".join(got) == b"abcdef" and len(got) > 1
    assert len(line.server.asked) == 2


def test_a_stream_that_breaks_off_is_an_error_and_not_the_end() -> None:
    got: list[bytes] = []
    line = Line(Reply(body=b"abc", promised=500))
    with pytest.raises(EngineFailed, match="broke off"):
        line.stream(lambda answer: got.extend(answer.pieces))
    assert b"".join(got) == b"abc" and len(line.server.asked) == 1


def test_a_refused_stream_is_the_same_error_as_a_refused_request() -> None:
    with pytest.raises(MissingSecret):
        Line(Reply(401, error_of("x"))).stream(lambda _: None)
    with pytest.raises(EngineFailed, match="HTTP 503"):
        Line(Reply(503), retries=1).stream(lambda _: None)


def test_leaving_a_stream_early_hangs_up_and_the_next_request_works() -> None:
    line = Line(Reply(body=b"a" * 400, gap_s=0.01), OK)
    with line.server, Service(line.end) as service:
        with service.stream(Ask("/x", json={})) as answer:
            assert next(answer.pieces)
        assert service.request(Ask("/x", json={})).json() == {"fine": True}


def test_neither_text_nor_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "polydub")
    Line(Reply(429, error_of("busy")), OK).request()
    assert "trying again" in caplog.text
    assert PLOT not in caplog.text and KEY not in caplog.text
    assert KEY not in repr(Endpoint("http://x", key=KEY)) and KEY not in repr(RemoteOptions(api_key=KEY))  # pyright: ignore


@pytest.mark.parametrize(
    "bad",
    [
        "127.0.0.1:80",
        "ftp://x",
        "http://",
        "http://a b",
        "http://u:p@x/v1",
        "http://x/?key=1",
        "http://x:0",
        "http://[::1",
        "http://x:99999",
        "http://é",
    ],
)
def test_an_odd_address_is_refused(bad: str) -> None:
    with pytest.raises(ValidationError):
        RemoteOptions(base_url=bad)


def test_a_plain_address_loses_the_slash_at_its_end() -> None:
    assert plain_address("http://[::1]:8000/v1/") == "http://[::1]:8000/v1"
    assert plain_address("") == ""


def test_only_what_can_change_an_answer_is_identity() -> None:
    assert RemoteOptions(api_key=KEY, timeout_s=1, retries=0, budget_s=1).identity() == RemoteOptions().identity()  # pyright: ignore
    assert set(RemoteOptions().identity()) == {"base_url"}


class _Raw:
    """A server that keeps what it received and sends ready bytes, one connection each."""

    def __init__(self, got: list[bytes], *answers: bytes) -> None:
        self._got, self._answers = got, answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        self._socket.close()

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._socket.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < _length(received):
                    received += connection.recv(65536)
                self._got.append(received)
                connection.sendall(answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


def _length(received: bytes) -> int:
    return next(int(x.split(b":")[1]) for x in received.split(b"\r\n") if x.lower().startswith(b"content-length"))
