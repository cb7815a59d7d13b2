"""Who may do what: every route has a policy, every role gets what it may and no more, pages prove where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from house import PASSWORD, House, open_house

from polydub.server.access import Policy, may, mine, owned, policy
from polydub.server.contracts import Principal
from polydub.server.policies import policy_of, routes_of
from polydub.server.problems import Problem
from polydub.server.routes import MODULES

pytestmark = pytest.mark.anyio
PUBLIC = {
    ("POST", "/api/auth/register"), ("POST", "/api/auth/login"), ("POST", "/api/auth/refresh"), ("GET", "/login"),
    ("GET", "/"), ("GET", "/dashboard"), ("POST", "/login"), ("POST", "/logout"),  # the page, which looks at its cookie itself
    ("GET", "/login.js"), ("POST", "/api/auth/login/link"), ("POST", "/api/auth/login/second-factor"),
    ("POST", "/api/auth/password/reset"), ("GET", "/api/auth/scopes"), ("GET", "/healthz"), ("GET", "/readyz"),
    ("POST", "/api/webhook/job-step"), ("POST", "/api/webhook/job-complete"), ("POST", "/api/webhook/preset-complete"),
}  # fmt: skip
# Public by the protocol: what a tus server can do is asked without credentials.
PUBLIC_METHODS = {"OPTIONS"}


@pytest.mark.parametrize("only", sorted(MODULES))
async def test_every_route_names_who_may_use_it(only: str, tmp_path: Path) -> None:
    async with open_house(tmp_path, only=only) as house:
        routes = routes_of(house.app)
        assert len(routes) >= 20
        open_ = {(m, r.path) for r in routes if policy_of(r).role == "public" for m in r.methods or ()}
        assert {(m, p) for m, p in open_ if m not in PUBLIC_METHODS} <= PUBLIC


@pytest.mark.parametrize("policies", [0, 2])
def test_a_route_without_exactly_one_policy_does_not_start(policies: int) -> None:
    app = FastAPI(
        docs_url=None, redoc_url=None, dependencies=[Depends(policy(role)) for role in ("viewer", "admin")[:policies]]
    )

    @app.get("/forgotten")
    def forgotten() -> str:
        return "secret"

    with pytest.raises(RuntimeError, match=f"GET /forgotten has {policies} policies"):
        policy_of(routes_of(app)[0])


def example(path: str) -> str:
    return "/".join("nothing" if part.startswith("{") else part for part in path.split("/"))


def code(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"] if answer.content else ""


async def asked(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    return await client.request(method, example(path), json={} if method in ("POST", "PUT", "PATCH") else None)


async def test_every_role_gets_through_where_it_may_and_nowhere_else(house: House) -> None:
    """The whole matrix, with nonsense as bodies and ids: refusals by role are told from all other answers."""
    clients = {role: await house.as_(role) for role in ("viewer", "editor", "admin")}  # type: ignore[arg-type]
    rank = ("public", "viewer", "editor", "admin")
    wrong: list[Any] = []
    for route in routes_of(house.app):
        rule = policy_of(route)
        for method in route.methods or ():
            if route.path == "/api/auth/logout":
                continue  # would end the clients
            nobody = (await asked(house.client(), method, route.path)).status_code
            unknown = "webhook" in route.path  # public, and 401 for what is not signed
            if not unknown and (nobody == 401) != (rule.role != "public"):
                wrong.append((method, route.path, "nobody", nobody))
            for role, client in clients.items():
                answer = await asked(client, method, route.path)
                refused = answer.status_code == 403 and code(answer) in ("forbidden", "")
                if refused != (rank.index(role) < rank.index(rule.role)) or answer.status_code in (401, 500):
                    wrong.append((method, route.path, role, answer.status_code))
    assert wrong == []


async def test_a_token_without_the_scope_gets_nowhere(house: House) -> None:
    scoped = await house.as_("admin", scopes=("metrics",))
    for route in routes_of(house.app):
        rule = policy_of(route)
        for method in route.methods or ():
            if rule.role != "public" and rule.scope != "metrics":
                answer = await scoped.request(method, example(route.path))
                assert answer.status_code == 403 and code(answer) in ("scope_missing", ""), route.path


async def test_a_role_is_looked_up_at_every_request(house: House) -> None:
    client, person = await house.as_("admin"), await house.person("admin")
    assert (await client.get("/api/admin/users")).status_code == 200
    await house.services.records.change_user(person.id, role="viewer")
    assert (await client.get("/api/admin/users")).status_code == 403


@dataclass
class Thing:
    owner: str


async def test_what_is_somebody_elses_is_told_as_what_is_not_there(house: House) -> None:
    people = {name: Principal(await house.person(role, name), "token", "t") for name, role in  # type: ignore[arg-type]
              (("ana", "editor"), ("bo", "editor"), ("root", "admin"))}  # fmt: skip
    thing = Thing(people["ana"].user.id)
    assert mine(people["ana"], thing, "job") is mine(people["root"], thing, "job") is thing
    refusals = []
    for row in (thing, None):
        with pytest.raises(Problem) as refused:
            mine(people["bo"], row, "job")
        refusals.append((refused.value.http_status, refused.value.code, refused.value.message))
    assert refusals == [(404, "not_found", "there is no job of this id")] * 2
    with pytest.raises(Problem):
        owned(people["root"], None)
    assert [may(people[name], "editor") for name in people] == [True] * 3
    assert not may(people["ana"], "admin")


# ------------------------------------------------------------------ pages


async def changed(page: httpx.AsyncClient, **headers: str) -> int:
    return (await page.patch("/api/auth/me", json={"name": "x"}, headers=headers)).status_code


async def test_a_page_of_the_server_makes_changes(house: House) -> None:
    page = await house.page("editor")
    own = "http://127.0.0.1:8000"
    assert await changed(page) == 200
    assert await changed(page, origin=own, **{"sec-fetch-site": "same-origin"}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-csrf-token": ""},
        {"x-csrf-token": "wrong"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"origin": "https://127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_page_of_another_site_does_not(headers: dict[str, str], house: House) -> None:
    page = await house.page("editor")
    answer = await page.patch("/api/auth/me", json={"name": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"] in ("csrf", "cross_site")) == (403, True)


async def test_the_csrf_of_one_session_is_not_that_of_another(house: House) -> None:
    ana, bo = await house.page("editor", "ana"), await house.page("editor", "bo")
    assert await changed(ana, **{"x-csrf-token": bo.headers["x-csrf-token"]}) == 403


async def test_a_cookie_alone_reads_but_does_not_change(house: House) -> None:
    page = await house.page("editor")
    del page.headers["x-csrf-token"]
    assert (await page.get("/api/auth/me")).status_code == 200
    for method, path in (("POST", "/api/auth/logout"), ("DELETE", "/api/auth/tokens/x"), ("PATCH", "/api/auth/me")):
        assert (await page.request(method, path, json={})).status_code == 403


async def test_another_site_cannot_log_a_browser_in(house: House) -> None:
    await house.person("editor")
    wish = {"email": "editor@example.org", "password": PASSWORD, "session": True}
    answer = await house.client(origin="https://evil.example").post("/api/auth/login", json=wish)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


async def test_a_page_of_an_allowed_site_may_send_changes(tmp_path: Path) -> None:
    async with open_house(tmp_path, cors_origins=("https://studio.example",)) as house:
        page = await house.page("editor")
        assert await changed(page, origin="https://studio.example", **{"sec-fetch-site": "cross-site"}) == 200
        assert await changed(page, origin="https://other.example") == 403


async def test_a_page_of_an_allowed_site_may_read_refusals_too(tmp_path: Path) -> None:
    """Also those of the door, before any route: else its browser tells it nothing, not even when to come back."""
    async with open_house(tmp_path, cors_origins=("https://studio.example",), requests_a_minute=3) as house:
        for origin, told in (("https://studio.example", "https://studio.example"), ("https://other.example", None)):
            client = house.client(origin=origin)
            answers = [await client.post("/api/upload", content=bytes(3_000_000)) for _ in range(4)]
            assert {answer.headers.get("access-control-allow-origin") for answer in answers} == {told}
            assert {answer.status_code for answer in answers} <= {401, 429} and answers[-1].status_code == 429


async def test_tokens_need_no_csrf(house: House) -> None:
    client = await house.as_("editor")
    assert await changed(client, origin="https://elsewhere.example") == 200


def test_a_policy_is_readable_from_the_route() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/x")
    def x(who: Annotated[Principal, Depends(policy("editor", "speech"))]) -> str:
        return who.user.id

    assert policy_of(routes_of(app)[0]) == Policy("editor", "speech")
    assert [policy(role).scope for role in ("public", "viewer", "editor", "admin")] == ["", "read", "write", "admin"]
