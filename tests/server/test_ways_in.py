"""What whoever stole something may do with it, and how often somebody may try: nobody gets further than they came."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from house import PASSWORD, House, told

from polydub.cli import run
from polydub.config.server import ServerSettings
from polydub.server.bootstrap import FIRST_ADMIN
from polydub.server.db import open_records
from polydub.server.second_factor import MISSES

NEW = "another long enough phrase"
anyio = pytest.mark.anyio


# ------------------------------------------------------------------ what was stolen


@anyio
async def test_a_token_of_an_admin_makes_no_admins(house: House) -> None:
    """Else it would make a link for somebody who is none yet, make an admin of them, and log in."""
    token, page, bo = await house.as_("admin"), await house.page("admin"), await house.person("editor", "bo")
    path = f"/api/admin/users/{bo.id}"
    assert (await token.post(f"{path}/login-link")).status_code == 201
    assert told(await token.patch(path, json={"role": "admin"})) == (403, "login_needed")
    assert told(await token.patch(path, json={"role": "admin", "disabled": False})) == (403, "login_needed")
    assert (await token.patch(path, json={"role": "viewer"})).status_code == 200
    assert (await page.patch(path, json={"role": "admin"})).json()["role"] == "admin"


@anyio
async def test_an_admin_turns_the_own_second_factor_off_by_its_code_only(house: House) -> None:
    page, person = await house.page("admin"), await house.person("admin")
    await house.services.records.put("second-factor", person.id, person.id, {"secret": "JBSWY3DPEHPK3PXP"})
    assert told(await page.delete(f"/api/admin/users/{person.id}/second-factor")) == (409, "oneself")
    assert await house.accounts.factor.on(person.id)


@anyio
async def test_a_first_password_is_set_by_a_login_of_just_now(house: House) -> None:
    person = await house.accounts.open_account("bo@example.org", "Bo", "editor")
    browser = house.client()
    link = await house.accounts.link(person, "login")
    entry = (await browser.post("/api/auth/login/link", json={"token": link})).json()
    browser.headers["x-csrf-token"] = entry["csrf"]
    house.clock.pass_by(minutes=11)
    wish = {"new_password": NEW}
    assert told(await browser.post("/api/auth/password", json=wish)) == (403, "login_again")
    link = await house.accounts.link(person, "login")
    entry = (await browser.post("/api/auth/login/link", json={"token": link})).json()
    browser.headers["x-csrf-token"] = entry["csrf"]
    assert (await browser.post("/api/auth/password", json=wish)).status_code == 204


@anyio
async def test_a_stolen_session_makes_no_token_that_outlives_it(house: House) -> None:
    page, wish = await house.page("editor"), {"name": "ci"}
    assert (await page.post("/api/auth/tokens", json=wish)).status_code == 201
    house.clock.pass_by(minutes=11)
    assert told(await page.post("/api/auth/tokens", json=wish)) == (403, "login_again")
    assert (await page.post("/api/auth/again", json={"password": PASSWORD})).status_code == 204
    assert (await page.post("/api/auth/tokens", json=wish)).status_code == 201
    assert len((await page.get("/api/auth/tokens")).json()) == 2


@anyio
async def test_a_stolen_session_of_an_admin_makes_no_login_of_an_admin(house: House) -> None:
    """Else that login would be one of just now, and make a token."""
    page, person, bo = await house.page("admin"), await house.person("admin"), await house.person("editor", "bo")
    house.clock.pass_by(minutes=11)
    for link in ("login-link", "password-reset"):
        assert told(await page.post(f"/api/admin/users/{person.id}/{link}")) == (403, "login_again")
        assert (await page.post(f"/api/admin/users/{bo.id}/{link}")).status_code == 201
    assert told(await page.patch(f"/api/admin/users/{bo.id}", json={"role": "admin"})) == (403, "login_again")
    assert (await page.post("/api/auth/again", json={"password": PASSWORD})).status_code == 204
    assert (await page.post(f"/api/admin/users/{person.id}/login-link")).status_code == 201
    assert (await page.patch(f"/api/admin/users/{bo.id}", json={"role": "admin"})).json()["role"] == "admin"


@anyio
async def test_a_client_that_only_renews_its_login_makes_no_token(house: House) -> None:
    person = await house.person("editor")
    pair = (await house.client().post("/api/auth/login", json={"email": person.email, "password": PASSWORD})).json()
    house.clock.pass_by(minutes=11)
    pair = (await house.client().post("/api/auth/refresh", json={"refresh_token": pair["refresh_token"]})).json()
    answer = await house.client(pair["access_token"]).post("/api/auth/tokens", json={"name": "ci"})
    assert told(answer) == (403, "login_again")


@anyio
async def test_who_comes_by_links_alone_makes_a_token_by_one_of_just_now(house: House) -> None:
    person = await house.accounts.open_account("bo@example.org", "Bo", "editor")
    for minutes, status in ((11, 403), (9, 201)):
        link = await house.accounts.link(person, "login")
        entry = (await house.client().post("/api/auth/login/link", json={"token": link, "session": False})).json()
        house.clock.pass_by(minutes=minutes)
        answer = await house.client(entry["access_token"]).post("/api/auth/tokens", json={"name": "ci"})
        assert answer.status_code == status


# ------------------------------------------------------------------ how often


@anyio
async def test_of_many_codes_at_once_no_more_are_looked_at_than_one_by_one(house: House) -> None:
    person = await house.person("editor")
    await house.services.records.put("second-factor", person.id, person.id, {"secret": "JBSWY3DPEHPK3PXP"})
    wish = {"email": person.email, "password": PASSWORD}
    challenge = (await house.client().post("/api/auth/login", json=wish)).json()["error"]["challenge"]
    client = house.client()

    async def tried(code: int) -> str:
        answer = await client.post("/api/auth/login/second-factor", json={"challenge": challenge, "code": f"{code:06}"})
        return told(answer)[1]

    codes = await asyncio.gather(*(tried(code) for code in range(5 * MISSES)))
    assert set(codes) <= {"wrong_code", "too_many_codes"} and codes.count("wrong_code") <= MISSES
    while await tried(0) != "too_many_codes":
        codes.append("wrong_code")
    assert codes.count("wrong_code") == MISSES, "what was refused without a look does not count"


# ------------------------------------------------------------------ who shuts everybody out


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def roles(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert run(["admin", "user", "list", "--json"]) == 0
    return {row["email"]: "disabled" if row["disabled"] else row["role"] for row in json.loads(capsys.readouterr().out)}


def test_the_last_admin_stays_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "user", "add", "bo@example.org"]) == 0
    for change in (["disable", FIRST_ADMIN], ["role", FIRST_ADMIN, "viewer"], ["delete", FIRST_ADMIN, "--yes"]):
        assert run(["admin", "user", *change]) == 2
        assert "polydub admin user role" in capsys.readouterr().err
    assert roles(capsys) == {FIRST_ADMIN: "admin", "bo@example.org": "editor"}
    assert run(["admin", "user", "role", "bo@example.org", "admin"]) == 0
    assert run(["admin", "user", "disable", FIRST_ADMIN]) == 0
    assert run(["admin", "user", "disable", "bo@example.org"]) == 2


@pytest.mark.parametrize("change", [{"role": "editor"}, {"disabled": True}, {"role": "viewer", "disabled": True}])
def test_a_server_that_lost_its_admins_gets_one_again(
    here: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    assert run(["admin", "user", "list"]) == 0

    async def lost() -> None:
        kept = await open_records(ServerSettings(), here / "polydub-data")
        (admin,) = await kept.users()
        await kept.change_user(admin.id, **change)
        await kept.close()

    asyncio.run(lost())
    for _ in change:
        assert run(["admin", "token"]) == 3
        command = capsys.readouterr().err.partition("hint: polydub ")[2].split()
        assert run(command) == 0, "the command that the hint names mends it"
    assert run(["admin", "token"]) == 0
