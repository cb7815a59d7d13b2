"""What every request passes: sizes, rates, names, headers, ids, and one shape for everything that is wrong."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from house import BASE, House, open_house

from polydub.errors import EngineFailed, MissingWeights, StoreError
from polydub.server.access import policy
from polydub.server.door import answer_headers
from polydub.server.logs import JOB, REQUEST, JsonLines, Lines, start_logs, without_secrets
from polydub.server.problems import Problem, too_many
from polydub.server.throttle import network

pytestmark = pytest.mark.anyio
PUBLIC = [Depends(policy("public"))]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        _add_routes(made)
        yield made


def _add_routes(house: House) -> None:
    faults = {
        "zero": ZeroDivisionError("secret detail"),
        "store": StoreError("/somewhere/inside/x cannot be written"),
        "engine": EngineFailed("the engine died", "try again"),
        "weights": MissingWeights("the weights of small are not here", "polydub models pull small"),
        "busy": too_many("busy", 2.3, "engine_busy"),
        "voice": Problem(400, "voice_not_found", "there is no voice x", param="voice", hint="see /v1/audio/voices"),
    }

    def fail(name: str) -> None:
        raise faults[name]

    for prefix in ("/api", "/v1"):
        house.app.add_api_route(prefix + "/fail/{name}", fail, dependencies=PUBLIC)

    async def swallow(request: Request) -> int:
        return sum([len(piece) async for piece in request.stream()])

    house.app.add_api_route("/api/swallow", swallow, methods=["POST"], dependencies=PUBLIC)
    house.app.add_api_route("/api/upload/swallow", swallow, methods=["POST"], dependencies=PUBLIC)

    async def page() -> HTMLResponse:
        return HTMLResponse("<p>hello")

    house.app.add_api_route("/page", page, dependencies=PUBLIC)

    async def broken() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            raise ZeroDivisionError

        return StreamingResponse(pieces())

    house.app.add_api_route("/api/broken", broken, dependencies=PUBLIC)

    async def numbers(n: int, who: Annotated[Any, Depends(policy("public"))]) -> int:
        return n

    house.app.add_api_route("/v1/numbers", numbers)


async def pieces(*all_: bytes) -> AsyncIterator[bytes]:
    for piece in all_:
        yield piece


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "no_such_path"),
        ("GET", "/v1/nothing", 404, "no_such_path"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/auth/me", 401, "unauthenticated"),
        ("GET", "/v1/numbers?n=x", 422, "invalid_value"),
        ("GET", "/v1/fail/zero", 500, "internal"),
        ("GET", "/api/fail/zero", 500, "internal"),
        ("GET", "/api/fail/store", 500, "store"),
        ("GET", "/v1/fail/engine", 502, "engine_failed"),
        ("GET", "/v1/fail/weights", 503, "missing_weights"),
        ("GET", "/v1/fail/busy", 429, "engine_busy"),
        ("GET", "/v1/fail/voice", 400, "voice_not_found"),
    ],
)
async def test_everything_that_is_wrong_has_one_shape(method: str, path: str, status: int, code: str, house: House) -> None:
    answer = await house.client().request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} | (set() if path.startswith("/v1") else {"hint"})
    assert error["code"] == code
    assert error["message"] and isinstance(error["message"], str)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] and answer.headers["x-content-type-options"] == "nosniff"


async def test_the_server_keeps_its_places_and_faults_to_itself(house: House) -> None:
    for name in ("zero", "store"):
        text = (await house.client().get(f"/api/fail/{name}")).text
        assert not any(word in text for word in ("secret", "/somewhere", "Traceback", "ZeroDivision", ".py"))


async def test_a_fault_is_logged_with_its_place_and_the_request(house: House, caplog: pytest.LogCaptureFixture) -> None:
    answer = await house.client(**{"x-request-id": "r-1"}).get("/api/fail/zero")
    assert answer.status_code == 500
    record = next(each for each in caplog.records if each.name == "polydub.server")
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["request"], line["path"]) == ("error", "r-1", "/api/fail/zero")
    assert "ZeroDivisionError" in line["exception"] and "in fail" in line["exception"]


async def test_clients_are_told_when_trying_again_makes_sense(house: House) -> None:
    told = {name: (await house.client().get(f"/v1/fail/{name}")).headers for name in ("busy", "engine", "weights", "voice")}
    assert (told["busy"]["retry-after"], told["busy"]["x-should-retry"]) == ("3", "true")
    assert [told[name].get("x-should-retry") for name in ("engine", "weights", "voice")] == ["true", "false", None]


async def test_a_wrong_method_is_told_the_right_ones(house: House) -> None:
    for method in ("DELETE", "TRACE", "CONNECT", "MADE-UP"):
        answer = await house.client().request(method, "/healthz")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_json"),
        (b"email=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "application/json", 422, "invalid_value"),
        (b"[]", "application/json", 422, "invalid_value"),
        (b"", "application/json", 422, "invalid_value"),
        (b'{"email": "\\ud800", "password": "x"}', "application/json", 422, "invalid_value"),
        (b'{"email": "\\u0000", "password": "\\u0000"}', "application/json", 401, "wrong_login"),
        (b'{"email": "a", "password": "b", "admin": true}', "application/json", 422, "invalid_value"),
        (b"[" * 100_000, "application/json", 400, "bad_request"),
        (b"\xff\xfe", "application/json", 400, "bad_json"),
        (b'{"email": 1e999, "password": NaN}', "application/json", 422, "invalid_value"),
    ],
)
async def test_bodies_that_are_not_what_is_wanted(content: bytes, kind: str, status: int, code: str, house: House) -> None:
    answer = await house.client().post("/api/auth/login", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_stream_that_breaks_off_does_not_end_as_if_it_were_whole(house: House) -> None:
    transport = httpx.ASGITransport(house.app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get("/api/broken")


# ------------------------------------------------------------------ sizes


async def test_a_body_that_is_too_large_is_refused_by_its_announcement(house: House) -> None:
    answer = await house.client().post("/api/swallow", content=b"x" * 2_000_001)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_nothing_is_read_of_a_body_that_announces_too_much(house: House) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for size in ("2000001", "9" * 5000):
        answer = await house.client().post("/api/swallow", content=never(), headers={"content-length": size})
        assert answer.status_code == 413


async def test_a_body_that_announces_nothing_is_refused_when_it_is_too_large(house: House) -> None:
    answer = await house.client().post("/api/swallow", content=pieces(*[b"x" * 100_000] * 30))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_body_that_fits_passes_whole(house: House) -> None:
    answer = await house.client().post("/api/swallow", content=pieces(*[b"x" * 100_000] * 20))
    assert answer.json() == 2_000_000


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "x", "+5"])
async def test_a_length_that_is_no_number_is_refused(length: str, house: House) -> None:
    headers = {"content-length": length.encode()}
    answer = await house.client().post("/api/swallow", content=pieces(b"x"), headers=headers)
    assert answer.status_code == 400


async def test_only_those_who_are_known_send_files(house: House) -> None:
    for content in (b"x" * 3_000_000, pieces(b"x")):
        answer = await house.client().post("/api/upload/swallow", content=content)
        assert answer.status_code == 401
    answer = await (await house.as_("editor")).post("/api/upload/swallow", content=b"x" * 3_000_000)
    assert answer.json() == 3_000_000


# ------------------------------------------------------------------ rates


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with open_house(tmp_path, requests_a_minute=5) as house:
        answers = [await house.client().get("/nothing") for _ in range(7)]
        assert [a.status_code for a in answers] == [404] * 5 + [429] * 2
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
        assert (await house.client().get("/healthz")).status_code == 200


async def test_an_account_that_asks_too_often_is_held_back_wherever_it_comes_from(tmp_path: Path) -> None:
    async with open_house(tmp_path, requests_a_minute=5) as house:
        token = await house.token("editor")
        codes = []
        for n in range(7):
            transport = httpx.ASGITransport(house.app, client=(f"10.0.0.{n}", 1))
            headers = {"authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
                codes.append((await client.get("/api/auth/me")).status_code)
        assert codes == [200] * 5 + [429] * 2


@pytest.mark.parametrize(
    ("address", "counted"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("", "")],
)
def test_addresses_are_counted_by_who_has_them(address: str, counted: str) -> None:
    assert network(address) == counted


async def test_a_forwarded_address_is_believed_from_proxies_that_are_named_only(tmp_path: Path) -> None:
    for trusted, code in (((), 429), (("127.0.0.1",), 404)):
        (tmp_path / str(code)).mkdir()
        async with open_house(tmp_path / str(code), requests_a_minute=5, trusted_proxies=trusted) as house:
            answers = [await house.client(**{"x-forwarded-for": f"10.0.0.{n}"}).get("/nothing") for n in range(6)]
            assert answers[-1].status_code == code


# ------------------------------------------------------------------ names and headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "x y", "localhost.evil.example:8000"]
)
async def test_a_name_that_leads_here_by_a_trick_is_not_answered_to(host: str, house: House) -> None:
    answer = await house.client(host=host).get("/healthz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "unknown_host")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
async def test_this_machine_answers_to_its_own_names(host: str, house: House) -> None:
    assert (await house.client(host=host).get("/healthz")).status_code == 200


async def test_a_public_server_answers_to_its_address(tmp_path: Path) -> None:
    async with open_house(tmp_path, public_url="https://dub.example") as house:
        assert (await house.client(host="dub.example").get("/healthz")).status_code == 200
        assert (await house.client(host="other.example").get("/healthz")).status_code == 421
    async with open_house(tmp_path, host="0.0.0.0") as house:
        assert (await house.client(host="anything.example").get("/healthz")).status_code == 200


async def test_every_answer_tells_browsers_what_not_to_do(house: House) -> None:
    for path in ("/healthz", "/nothing", "/api/auth/me", "/v1/fail/zero", "/openapi.json"):
        headers = (await house.client().get(path)).headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
        assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers and "x-powered-by" not in headers
        assert "strict-transport-security" not in headers


async def test_pages_run_their_own_scripts_only(house: House) -> None:
    rules = (await house.client().get("/page")).headers["content-security-policy"]
    assert "script-src 'self';" in rules and "object-src 'none'" in rules and "frame-ancestors 'none'" in rules


async def test_answers_of_the_api_are_not_kept_by_caches(house: House) -> None:
    assert (await house.client().get("/api/auth/me")).headers["cache-control"] == "no-store"


async def test_over_https_browsers_are_told_to_stay_there() -> None:
    from polydub.config.server import ServerSettings

    for settings, scheme in ((ServerSettings(public_url="https://x"), "http"), (ServerSettings(), "https")):
        assert answer_headers(settings, "/", scheme, "")["strict-transport-security"].startswith("max-age=31536000")


async def preflight(house: House, origin: str) -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": "PATCH", "access-control-request-headers": "upload-offset"}
    return await house.client(**asked).request("OPTIONS", "/api/auth/me")


async def test_other_origins_are_let_in_by_name_only(tmp_path: Path) -> None:
    async with open_house(tmp_path, cors_origins=("https://studio.example",)) as house:
        good, bad = await preflight(house, "https://studio.example"), await preflight(house, "https://evil.example")
        assert good.headers["access-control-allow-origin"] == "https://studio.example"
        assert good.headers["access-control-allow-credentials"] == "true"
        assert "access-control-allow-origin" not in bad.headers
        plain = await house.client(origin="https://evil.example").get("/healthz")
        assert "access-control-allow-origin" not in plain.headers


async def test_without_a_list_no_other_origin_is_let_in(house: House) -> None:
    assert "access-control-allow-origin" not in (await preflight(house, "https://studio.example")).headers


async def test_a_request_keeps_its_id_and_a_dangerous_one_gets_another(house: House) -> None:
    for given, kept in (("abc-1.2_3", True), ("", False), ("a b", False), ("x" * 65, False), ('"},{', False)):
        told = (await house.client(**{"x-request-id": given}).get("/healthz")).headers["x-request-id"]
        assert (told == given) is kept and told


# ------------------------------------------------------------------ log, figures, health


async def test_the_log_has_one_line_a_request_without_its_query(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="polydub.server.access")
    client = await house.as_("editor")
    answer = await client.get("/api/jobs?limit=37", headers={"x-request-id": "r1"})
    lines = [r for r in caplog.records if r.name == "polydub.server.access"]
    assert answer.status_code == 200 and len(lines) == 1
    facts = lines[0].facts  # type: ignore[attr-defined]
    assert (facts["method"], facts["path"], facts["status"]) == ("GET", "/api/jobs", 200)
    assert facts["account"] == (await house.person("editor")).id
    assert "limit" not in str(facts)

    await client.get("/api/jobs?token=hush")
    refused = caplog.records[-1].facts  # type: ignore[attr-defined]
    assert refused["status"] == 422
    assert "hush" not in str(refused)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer HUSH", "pd_0123456789abcdef_HUSHHUSHHUSHHUSHHUSHHUSH", "eyJhbGciOiJI.eyJzdWIi.HUSH",
        "whsec_HUSH",
        "GET /login?token=HUSH&x=1", "https://x/y?X-Amz-Signature=HUSH", "postgresql://ana:HUSH@db/x", "PASSWORD=HUSH",
    ],
)  # fmt: skip
def test_secrets_do_not_reach_the_log(text: str) -> None:
    assert "HUSH" not in without_secrets(f"before {text} after")
    assert without_secrets(f"before {text} after").startswith("before ")


def record(message: str, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("polydub.x", logging.INFO, "", 0, message, (), None)
    made.__dict__.update(extra)
    return made


def test_a_line_of_the_log_is_json_with_request_and_job() -> None:
    tokens = REQUEST.set("r1"), JOB.set("j1")
    line = JsonLines().format(record("hello\nworld", facts={"n": 1, "path": Path("x")}))
    REQUEST.reset(tokens[0])
    JOB.reset(tokens[1])
    assert "\n" not in line
    told = json.loads(line)
    assert (told["message"], told["request"], told["job"], told["n"], told["level"]) == ("hello\nworld", "r1", "j1", 1, "info")


def test_nobody_writes_lines_of_their_own_into_the_log() -> None:
    assert "\n" not in Lines().format(record("path", facts={"path": "/x\n00:00:00 info all is well\x1b[2J"}))
    assert "\x1b" not in Lines().format(record("path", facts={"path": "\x1b[2J"}))


def test_starting_the_log_sends_everything_to_one_place() -> None:
    root = logging.getLogger()
    before, level, ours = list(root.handlers), root.level, logging.getLogger("polydub").level
    out = io.StringIO()
    logging.getLogger("polydub").propagate = False  # as commands of the program leave it
    try:
        start_logs(stream=out)
        logging.getLogger("polydub.test").info("heard")
        logging.getLogger("elsewhere").info("not heard")
        assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["heard"]
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(level)
        logging.getLogger("polydub").setLevel(ours)
        logging.getLogger("uvicorn.access").disabled = False


async def test_figures_are_for_those_who_have_the_scope(house: House) -> None:
    assert (await house.client().get("/metrics")).status_code == 401
    await house.client().get("/nothing/secret-name")
    answer = await (await house.as_("admin", scopes=("metrics",))).get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'polydub_queue_depth{queue="jobs"} 3.0' in answer.text
    assert 'route="unknown",status="404"' in answer.text
    assert "secret-name" not in answer.text


async def test_a_server_without_its_database_lives_but_is_not_ready(house: House) -> None:
    assert (await house.client().get("/readyz")).json() == {"ready": True, "database": True, "storage": True}

    async def away() -> None:
        raise StoreError("gone")

    house.services.records.ping = away  # type: ignore[method-assign]
    answer = await house.client().get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, False)
    assert (await house.client().get("/healthz")).status_code == 200


# ------------------------------------------------------------------ the document


async def test_the_document_names_credentials_errors_and_tags(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        document = (await house.client().get("/openapi.json")).json()
    operations = {(m, p): o for p, ms in document["paths"].items() for m, o in ms.items()}
    me = operations["get", "/api/auth/me"]
    assert me["security"] == [{"bearer": []}, {"session": []}] and me["x-role"] == "viewer"
    assert operations["patch", "/api/admin/users/{id}"]["x-role"] == "admin"
    assert "security" not in operations["post", "/api/auth/login"]
    assert "HTTPValidationError" not in json.dumps(document)
    names = {tag["name"] for tag in document["tags"]}
    for key, operation in operations.items():
        assert operation["tags"] and set(operation["tags"]) <= names, key
        assert operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorBody"), key
        assert operation.get("description"), key
    assert len({o["operationId"] for o in operations.values()}) == len(operations)
