"""Logging in and out, tokens, links and passwords, as a client sees them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from house import PASSWORD, House, open_house
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import BadSettings, StoreError
from polydub.server.passwords import Passwords, weakness
from polydub.server.problems import Problem
from polydub.server.tokens import Keys

pytestmark = pytest.mark.anyio
NEW = "another long enough phrase"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


async def logged_in(house: House, name: str = "editor") -> dict[str, Any]:
    await house.person("editor", name)
    answer = await house.client().post("/api/auth/login", json={"email": f"{name}@example.org", "password": PASSWORD})
    assert answer.status_code == 200
    return answer.json()


async def status(client: httpx.AsyncClient, path: str = "/api/auth/me") -> int:
    return (await client.get(path)).status_code


async def opened(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/auth/login/link", json={"token": token})


async def renewed(house: House, token: str) -> httpx.Response:
    return await house.client().post("/api/auth/refresh", json={"refresh_token": token})


# ------------------------------------------------------------------ registering and logging in


async def test_who_registers_is_an_editor_and_logged_in(house: House) -> None:
    wish = {"email": " Ana@Example.org ", "password": PASSWORD, "name": "Ana"}
    answer = await house.client().post("/api/auth/register", json=wish)
    assert answer.status_code == 201
    assert (answer.json()["user"]["email"], answer.json()["user"]["role"]) == ("ana@example.org", "editor")
    assert await status(house.client(answer.json()["access_token"])) == 200


async def test_an_address_registers_once(house: House) -> None:
    await house.person("editor", "ana")
    answer = await house.client().post("/api/auth/register", json={"email": "ANA@example.org", "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "email_taken")


async def test_nobody_registers_with_a_role_of_choice(house: House) -> None:
    wish = {"email": "eve@example.org", "password": PASSWORD, "role": "admin"}
    assert (await house.client().post("/api/auth/register", json=wish)).status_code == 422


@pytest.mark.parametrize(
    ("settings", "open_"),
    [({}, True), ({"host": "0.0.0.0"}, False), ({"public_url": "https://x.example"}, False),
     ({"registration": "closed"}, False), ({"host": "0.0.0.0", "registration": "open"}, True)],
)  # fmt: skip
async def test_people_register_where_the_settings_let_them(settings: dict[str, Any], open_: bool, tmp_path: Path) -> None:
    async with open_house(tmp_path, **settings) as house:
        wish = {"email": "ana@example.org", "password": PASSWORD}
        answer = await house.client().post("/api/auth/register", json=wish)
        assert answer.status_code == (201 if open_ else 403)


@pytest.mark.parametrize("email", ["", "ana", "ana@", "@x", "a b@x", "a@b@c", "a\n@b", "a" * 300 + "@x"])
async def test_what_is_no_address_is_refused(email: str, house: House) -> None:
    answer = await house.client().post("/api/auth/register", json={"email": email, "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "email")


async def test_a_wrong_password_and_an_unknown_address_are_told_alike(house: House) -> None:
    await house.person("editor", "ana")
    tried = [
        await house.client().post("/api/auth/login", json={"email": email, "password": "wrong wrong wrong"})
        for email in ("ana@example.org", "nobody@example.org", "", "\x00")
    ]
    assert {answer.status_code for answer in tried} == {401}
    assert len({answer.text for answer in tried}) == 1


async def test_an_unknown_address_costs_a_hash_too(house: House) -> None:
    hashed: list[str] = []

    class Counting(Passwords):
        async def verify(self, password: str, kept: str) -> tuple[bool, str | None]:
            hashed.append(kept)
            return await super().verify(password, kept)

    house.accounts.passwords = Counting(memory_kib=64, rounds=1)
    await house.client().post("/api/auth/login", json={"email": "nobody@example.org", "password": "x"})
    assert hashed == [""]


async def test_a_disabled_account_cannot_log_in(house: House) -> None:
    await logged_in(house)
    await house.services.records.change_user((await house.person("editor")).id, disabled=True)
    answer = await house.client().post("/api/auth/login", json={"email": "editor@example.org", "password": PASSWORD})
    assert answer.status_code == 401


async def test_an_account_without_a_password_cannot_log_in_by_one(house: House) -> None:
    await house.accounts.open_account("bo@example.org", "Bo", "editor")
    for password in ("", "x", "nobody's"):
        answer = await house.client().post("/api/auth/login", json={"email": "bo@example.org", "password": password})
        assert answer.status_code == 401


async def test_a_password_hashed_with_less_effort_is_hashed_again_at_login(house: House) -> None:
    person = await house.person("editor")
    house.accounts.passwords = Passwords(memory_kib=128, rounds=2)
    await logged_in(house)
    kept = (await house.services.records.user(person.id)).password  # type: ignore[union-attr]
    assert "m=128,t=2" in kept and kept != person.password
    await logged_in(house)


async def test_passwords_are_kept_as_argon2id(tmp_path: Path) -> None:
    kept = await Passwords().hash("quiet orange staircase")
    assert kept.startswith("$argon2id$v=19$m=32768,t=3,p=1$")


async def test_too_many_hashes_at_once_are_refused_and_the_others_done(house: House) -> None:
    done = await asyncio.gather(*(Passwords(64, 1).hash("x") for _ in range(3)))
    assert len(set(done)) == 3
    passwords = Passwords(8192, 1)
    made = await asyncio.gather(*(passwords.hash("x") for _ in range(60)), return_exceptions=True)
    refused = [one for one in made if isinstance(one, Problem)]
    assert len(refused) == 60 - 32 and {one.http_status for one in refused} == {429}
    assert (await passwords.hash("x")).startswith("$argon2id$")


async def test_logins_are_slowed_down_by_account_and_by_address(tmp_path: Path) -> None:
    async with open_house(tmp_path, logins_a_minute=3) as house:
        await house.person("editor")
        wish = {"email": "editor@example.org", "password": "wrong wrong wrong"}
        answers = [await house.client().post("/api/auth/login", json=wish) for _ in range(5)]
        assert [a.status_code for a in answers] == [401, 401, 401, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        other = {"email": "other@example.org", "password": "wrong wrong wrong"}
        assert (await house.client().post("/api/auth/login", json=other)).status_code == 429


# ------------------------------------------------------------------ tokens of clients


async def test_an_access_token_holds_for_its_minutes(house: House) -> None:
    client = house.client((await logged_in(house))["access_token"])
    house.clock.pass_by(minutes=14)
    assert await status(client) == 200
    house.clock.pass_by(minutes=2)
    assert await status(client) == 401


async def test_a_refresh_token_gives_new_tokens_once(house: House) -> None:
    first = await logged_in(house)
    second = (await renewed(house, first["refresh_token"])).json()
    assert await status(house.client(second["access_token"])) == 200
    third = await renewed(house, second["refresh_token"])
    assert third.status_code == 200


async def test_a_refresh_token_used_twice_ends_the_login_and_only_this_one(house: House) -> None:
    stolen, other = await logged_in(house), await logged_in(house)
    second = (await renewed(house, stolen["refresh_token"])).json()
    assert (await renewed(house, stolen["refresh_token"])).status_code == 401
    assert (await renewed(house, second["refresh_token"])).status_code == 401
    assert await status(house.client(second["access_token"])) == 401
    assert await status(house.client(other["access_token"])) == 200
    audit = [line["action"] for _, _, line in await house.services.records.list("audit")]
    assert "refresh-token-reused" in audit


async def test_of_many_who_renew_at_once_at_most_one_gets_tokens(house: House) -> None:
    first = await logged_in(house)
    answers = await asyncio.gather(*(renewed(house, first["refresh_token"]) for _ in range(8)))
    assert sum(a.status_code == 200 for a in answers) <= 1


async def test_a_login_that_is_not_used_ends_and_so_does_one_that_is(house: House) -> None:
    first = await logged_in(house)
    house.clock.pass_by(days=31)
    assert (await renewed(house, first["refresh_token"])).status_code == 401
    token = (await logged_in(house))["refresh_token"]
    lived = 0
    while (answer := await renewed(house, token)).status_code == 200:
        token = answer.json()["refresh_token"]
        house.clock.pass_by(days=20)
        lived += 20
    assert 160 <= lived <= 200


async def test_after_logout_neither_token_is_good(house: House) -> None:
    entry = await logged_in(house)
    client = house.client(entry["access_token"])
    assert (await client.post("/api/auth/logout")).status_code == 204
    assert await status(client) == 401
    assert (await renewed(house, entry["refresh_token"])).status_code == 401


async def forged(house: House) -> dict[str, str]:
    """Access tokens that must not open anything, by the one thing that is wrong with each."""
    keys = house.accounts.keys
    claims = jwt.decode((await logged_in(house))["access_token"], options={"verify_signature": False})
    key, head = keys.keys[keys.current], {"kid": keys.current, "typ": "at+jwt"}
    assert await status(house.client(jwt.encode(claims, key, "HS256", headers=head))) == 200
    lacking = {name: {k: v for k, v in claims.items() if k != name} for name in claims}
    return {
        "unsigned": jwt.encode(claims, None, "none", headers=head),
        "other key": jwt.encode(claims, b"x" * 32, "HS256", headers=head),
        "other algorithm": jwt.encode(claims, key * 2, "HS512", headers=head),
        "right key, other algorithm": jwt.encode(claims, key.ljust(64, b"\0"), "HS512", headers=head),
        "other kind": jwt.encode(claims, key, "HS256", headers={**head, "typ": "JWT"}),
        "unknown key": jwt.encode(claims, key, "HS256", headers={**head, "kid": "2"}),
        "key from afar": jwt.encode(claims, key, "HS256", headers={**head, "kid": "../../keys"}),
        "other audience": jwt.encode({**claims, "aud": "x"}, key, "HS256", headers=head),
        "other issuer": jwt.encode({**claims, "iss": "x"}, key, "HS256", headers=head),
        "other login": jwt.encode({**claims, "sid": "x"}, key, "HS256", headers=head),
        **{f"no {name}": jwt.encode(less, key, "HS256", headers=head) for name, less in lacking.items()},
        "garbage": "a.b.c",
        "empty": "..",
    }


async def test_forged_access_tokens_open_nothing(house: House) -> None:
    for name, token in (await forged(house)).items():
        assert await status(house.client(token)) == 401, name


async def test_an_account_that_is_disabled_gets_nowhere_by_anything_it_has(house: House) -> None:
    page, program = await house.page("editor"), await house.as_("editor")
    client = house.client((await logged_in(house))["access_token"])
    link = await house.accounts.link(await house.person("editor"), "login")
    refresh = (await logged_in(house))["refresh_token"]
    await house.services.records.change_user((await house.person("editor")).id, disabled=True)
    assert [await status(c) for c in (page, client, program)] == [401] * 3
    assert (await renewed(house, refresh)).status_code == 401
    assert (await opened(house.client(), link)).status_code == 401


async def test_a_login_of_somebody_else_does_not_fit_an_access_token(house: House) -> None:

    ana, bo = await logged_in(house, "ana"), await logged_in(house, "bo")
    claims = jwt.decode(ana["access_token"], options={"verify_signature": False})
    mixed = house.accounts.keys.sign({"sub": bo["user"]["id"], "sid": claims["sid"]}, house.clock(), timedelta(minutes=5))
    assert await status(house.client(mixed)) == 401


async def test_old_keys_verify_and_the_first_signs() -> None:

    now, life = datetime.now(UTC), timedelta(minutes=1)
    old = Keys.written(f"a:{'x' * 40}")
    new = Keys.written(f"b:{'y' * 40}, a:{'x' * 40}")
    assert new.read(old.sign({"sub": "u", "sid": "s"}, now, life), now) is not None
    assert old.read(new.sign({"sub": "u", "sid": "s"}, now, life), now) is None


@pytest.mark.parametrize("text", ["short", "", "a:short", f"a:{'x' * 40},a:{'y' * 40}"])
async def test_keys_that_are_weak_or_doubled_are_refused(text: str) -> None:
    with pytest.raises(BadSettings):
        Keys.written(text)


async def test_keys_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    first = Keys.kept(tmp_path / "keys.json")
    assert Keys.kept(tmp_path / "keys.json").keys == first.keys
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["keys.json"]
    assert "keys" not in repr(first).replace("Keys", "")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"current": "1", "keys": {"1": "??"}}', '{"current": "2", "keys": {}}'])
async def test_a_damaged_key_file_is_one_sentence_and_stays(text: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(BadSettings):
        Keys.kept(file)
    assert file.read_text() == text


async def test_a_key_file_in_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Keys.kept(tmp_path / "nowhere" / "keys.json")


# ------------------------------------------------------------------ API tokens


async def test_an_api_token_is_shown_once_and_works(house: House) -> None:
    page = await house.page("editor")
    made = (await page.post("/api/auth/tokens", json={"name": "ci", "scopes": ["read"], "expires_days": 2})).json()
    listed = (await page.get("/api/auth/tokens")).json()
    assert made["token"].startswith(f"pd_{made['id']}_")
    assert [row["id"] for row in listed] == [made["id"]]
    assert "token" not in listed[0] and made["token"] not in json.dumps(listed)
    client = house.client(made["token"])
    assert await status(client) == 200
    house.clock.pass_by(days=3)
    assert await status(client) == 401


async def test_only_hashes_of_secrets_are_kept(house: House, tmp_path: Path) -> None:
    token = await house.token("editor")
    entry = await logged_in(house)
    page = await house.page("editor")
    link = await house.accounts.link(await house.person("editor"), "login")
    cookie = page.cookies["polydub_session"]
    kept = b"".join(p.read_bytes() for p in tmp_path.glob("polydub.sqlite*"))
    assert len(kept) > 10_000
    for secret in (token, token[-43:], entry["access_token"], entry["refresh_token"], link, cookie, PASSWORD):
        assert secret.encode() not in kept


async def test_a_revoked_token_is_no_longer_good_and_not_listed(house: House) -> None:
    page = await house.page("editor")
    made = (await page.post("/api/auth/tokens", json={"name": "ci"})).json()
    assert (await page.delete(f"/api/auth/tokens/{made['id']}")).status_code == 204
    assert (await page.delete(f"/api/auth/tokens/{made['id']}")).status_code == 404
    assert await status(house.client(made["token"])) == 401
    assert (await page.get("/api/auth/tokens")).json() == []


async def test_nobody_revokes_the_token_of_another(house: House) -> None:
    made = (await (await house.page("editor", "ana")).post("/api/auth/tokens", json={"name": "ci"})).json()
    for other in (await house.page("editor", "bo"), await house.page("admin")):
        assert (await other.delete(f"/api/auth/tokens/{made['id']}")).status_code == 404
    assert await status(house.client(made["token"])) == 200


async def test_the_last_use_of_a_token_is_known(house: House) -> None:
    page = await house.page("editor")
    made = (await page.post("/api/auth/tokens", json={"name": "ci"})).json()
    assert made["used"] is None
    house.clock.pass_by(hours=1)
    await status(house.client(made["token"]))
    assert (await page.get("/api/auth/tokens")).json()[0]["used"] == "2026-05-01T13:00:00Z"


async def test_a_token_with_scopes_does_no_more_than_they_say(house: House) -> None:
    reader = await house.as_("admin", scopes=("read",))
    assert await status(reader) == 200
    assert await status(reader, "/api/admin/users") == 403
    assert (await reader.patch("/api/auth/me", json={"name": "x"})).status_code == 403
    meter = await house.as_("admin", scopes=("metrics",))
    assert (await status(meter, "/metrics"), await status(meter)) == (200, 403)
    assert await status(await house.as_("admin", scopes=("admin",)), "/metrics") == 200


async def test_a_token_cannot_make_tokens_set_the_password_or_log_others_out(house: House) -> None:
    client = await house.as_("editor")
    tried = [
        await client.post("/api/auth/tokens", json={"name": "x"}),
        await client.post("/api/auth/password", json={"old_password": PASSWORD, "new_password": NEW}),
        await client.delete("/api/auth/tokens/x"),
        await client.delete("/api/auth/sessions/x"),
    ]
    assert [(a.status_code, a.json()["error"]["code"]) for a in tried] == [(403, "login_needed")] * 4


async def test_scopes_of_admins_are_for_admins(house: House) -> None:
    answer = await (await house.page("editor")).post("/api/auth/tokens", json={"name": "x", "scopes": ["admin"]})
    assert answer.status_code == 403


async def test_there_is_an_end_to_the_tokens_of_one_account(house: House) -> None:
    page, person = await house.page("editor"), await house.person("editor")
    for _ in range(50):
        await house.accounts.new_token(person, "n", (), 1)
    assert (await page.post("/api/auth/tokens", json={"name": "x"})).status_code == 409


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer pd_", "Basic YTpi", "pd_x", "Bearer \xff", "Bearer " + "x" * 9000, "bearer a b"]
)
async def test_what_is_no_token_is_refused(header: str, house: House) -> None:
    answer = await house.client().get("/api/auth/me", headers={"authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_wrong_token_is_not_made_good_by_a_cookie(house: House) -> None:
    page = await house.page("editor")
    assert (await page.get("/api/auth/me", headers={"authorization": "Bearer nonsense"})).status_code == 401


# ------------------------------------------------------------------ sessions of pages


async def test_the_cookie_of_a_session_is_out_of_reach_for_scripts(house: House) -> None:
    await house.person("editor")
    wish = {"email": "editor@example.org", "password": PASSWORD, "session": True}
    answer = await house.client().post("/api/auth/login", json=wish)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("polydub_session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert answer.json()["access_token"] is None


async def test_over_https_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    async with open_house(tmp_path, public_url="https://dub.example") as house:
        await house.person("editor")
        wish = {"email": "editor@example.org", "password": PASSWORD, "session": True}
        answer = await house.client().post("/api/auth/login", json=wish, headers={"host": "dub.example"})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-polydub=") and "; Secure" in cookie and "Domain" not in cookie
        plain = {"cookie": cookie.split(";")[0].replace("__Host-polydub", "polydub_session"), "host": "dub.example"}
        assert (await house.client(**plain).get("/api/auth/me")).status_code == 401


async def test_a_login_makes_a_new_session_and_ends_the_one_before(house: House) -> None:
    page = await house.page("editor")
    before = page.cookies["polydub_session"]
    await page.post("/api/auth/login", json={"email": "editor@example.org", "password": PASSWORD, "session": True})
    assert page.cookies["polydub_session"] != before
    assert await status(house.client(cookie=f"polydub_session={before}")) == 401


async def test_a_session_somebody_else_chose_is_not_taken_over(house: House) -> None:
    await house.person("editor")
    fixed = "A" * 43
    client = house.client(cookie=f"polydub_session={fixed}")
    await client.post("/api/auth/login", json={"email": "editor@example.org", "password": PASSWORD, "session": True})
    assert await status(house.client(cookie=f"polydub_session={fixed}")) == 401


async def test_after_logout_the_cookie_is_worth_nothing_and_gone(house: House) -> None:
    page = await house.page("editor")
    kept = page.cookies["polydub_session"]
    answer = await page.post("/api/auth/logout")
    assert answer.status_code == 204 and 'polydub_session=""' in answer.headers["set-cookie"]
    assert await status(house.client(cookie=f"polydub_session={kept}")) == 401


async def test_a_session_that_is_not_used_ends_and_so_does_one_that_is(house: House) -> None:
    page = await house.page("editor")
    house.clock.pass_by(days=29)
    assert await status(page) == 200
    house.clock.pass_by(days=29)
    assert await status(page) == 200
    house.clock.pass_by(days=31)
    assert await status(page) == 401
    page, days = await house.page("editor"), 0
    while await status(page) == 200:
        house.clock.pass_by(days=20)
        days += 20
    assert 160 <= days <= 200


async def test_one_sees_and_ends_where_one_is_logged_in(house: House) -> None:
    page, entry = await house.page("editor"), await logged_in(house)
    rows = (await page.get("/api/auth/sessions")).json()
    assert sorted((row["kind"], row["current"]) for row in rows) == [("client", False), ("session", True)]
    client = next(row["id"] for row in rows if row["kind"] == "client")
    stranger = await house.page("editor", "bo")
    assert (await stranger.delete(f"/api/auth/sessions/{client}")).status_code == 404
    assert (await page.delete(f"/api/auth/sessions/{client}")).status_code == 204
    assert await status(house.client(entry["access_token"])) == 401
    assert (await renewed(house, entry["refresh_token"])).status_code == 401
    assert await status(page) == 200


async def test_other_logins_are_ended_by_a_login_of_just_now_or_the_password_once_more(house: House) -> None:
    page, entry = await house.page("editor"), await logged_in(house)
    client = next(row["id"] for row in (await page.get("/api/auth/sessions")).json() if row["kind"] == "client")
    house.clock.pass_by(minutes=11)
    refused = await page.delete(f"/api/auth/sessions/{client}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "login_again")
    wrong = await page.post("/api/auth/again", json={"password": "wrong wrong wrong"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong_password")
    assert (await page.delete(f"/api/auth/sessions/{client}")).status_code == 403
    assert (await page.post("/api/auth/again", json={"password": PASSWORD})).status_code == 204
    other = await house.page("editor")
    house.clock.pass_by(minutes=9)
    assert (await page.delete(f"/api/auth/sessions/{client}")).status_code == 204
    assert (await renewed(house, entry["refresh_token"])).status_code == 401
    house.clock.pass_by(minutes=2)
    mine = next(row["id"] for row in (await other.get("/api/auth/sessions")).json() if row["current"])
    assert (await page.delete(f"/api/auth/sessions/{mine}")).status_code == 403


async def test_an_account_without_a_password_is_who_it_was_just_now(house: House) -> None:
    person = await house.accounts.open_account("bo@example.org", "Bo", "editor")
    browser = house.client()
    csrf = (await opened(browser, await house.accounts.link(person, "login"))).json()["csrf"]
    browser.headers["x-csrf-token"] = csrf
    assert (await browser.post("/api/auth/again", json={})).status_code == 204
    house.clock.pass_by(minutes=11)
    assert (await browser.post("/api/auth/again", json={})).status_code == 403


# ------------------------------------------------------------------ links and passwords


async def test_a_login_link_opens_a_session_once(house: House) -> None:
    token = await house.accounts.link(await house.person("admin"), "login")
    browser = house.client()
    answer = await browser.get("/login", params={"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    assert (await browser.get("/api/auth/me")).json()["user"]["role"] == "admin"
    assert (await house.client().get("/login", params={"token": token})).status_code == 401


async def test_the_page_of_a_link_logs_in_once_too(house: House) -> None:
    token = await house.accounts.link(await house.person("admin"), "login")
    browser = house.client()
    answer = await opened(browser, token)
    assert (answer.status_code, answer.json()["user"]["role"]) == (200, "admin")
    assert (await browser.get("/api/auth/me")).json()["csrf"] == answer.json()["csrf"]
    assert (await opened(house.client(), token)).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-dest": "image"}, {"sec-fetch-dest": "iframe"}, {"sec-purpose": "prefetch"}, {"purpose": "prefetch"}]
)
async def test_what_opens_a_link_only_to_look_does_not_use_it_up(headers: dict[str, str], house: House) -> None:
    token = await house.accounts.link(await house.person("admin"), "login")
    assert (await house.client(**headers).get("/login", params={"token": token})).status_code == 403
    assert (await house.client().get(f"/login#{token}")).status_code == 200
    browser = house.client(**{"sec-fetch-dest": "document", "sec-fetch-site": "cross-site"})
    assert (await browser.get("/login", params={"token": token})).status_code == 303


async def test_the_page_of_a_link_runs_its_own_script_and_keeps_nothing(house: House) -> None:
    page = await house.client().get("/login")
    script = await house.client().get("/login.js")
    assert '<script src="/login.js">' in page.text and "onclick" not in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert (script.headers["content-type"], script.headers["cache-control"]) == ("text/javascript; charset=utf-8", "no-store")
    assert "Storage" not in script.text and "cookie" not in script.text and "innerHTML" not in script.text


async def test_links_of_admins_say_how_long_they_hold(house: House) -> None:
    admin, person = await house.page("admin"), await house.person("editor")
    made = (await admin.post(f"/api/admin/users/{person.id}/login-link")).json()
    assert (made["path"], made["expires_minutes"]) == (f"/login?token={made['token']}", 10)
    reset = (await admin.post(f"/api/admin/users/{person.id}/password-reset")).json()
    assert reset["token"] not in reset["path"]


async def test_another_site_cannot_log_a_browser_in_by_its_link(house: House) -> None:
    token = await house.accounts.link(await house.person("admin"), "login")
    answer = await opened(house.client(origin="https://evil.example"), token)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


async def test_a_link_gives_tokens_to_a_client(house: House) -> None:
    token = await house.accounts.link(await house.person("editor"), "login")
    answer = await house.client().post("/api/auth/login/link", json={"token": token, "session": False})
    assert await status(house.client(answer.json()["access_token"])) == 200
    assert "set-cookie" not in answer.headers


async def test_of_many_who_open_a_link_one_gets_in(house: House) -> None:
    token = await house.accounts.link(await house.person("admin"), "login")
    answers = await asyncio.gather(*(house.client().get("/login", params={"token": token}) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [303] + [401] * 7


async def test_links_end_after_ten_minutes_and_do_not_stand_for_each_other(house: House) -> None:
    person = await house.person("admin")
    late = await house.accounts.link(person, "login")
    reset = await house.accounts.link(person, "reset")
    assert (await opened(house.client(), reset)).status_code == 401
    house.clock.pass_by(minutes=11)
    assert (await opened(house.client(), late)).status_code == 401


async def test_links_hold_as_long_as_the_settings_say(tmp_path: Path) -> None:
    async with open_house(tmp_path, link_minutes=60) as house:
        token = await house.accounts.link(await house.person("admin"), "login")
        house.clock.pass_by(minutes=59)
        assert (await opened(house.client(), token)).status_code == 200


async def test_a_new_password_ends_the_other_logins_and_not_this_one(house: House) -> None:
    page, other, entry = await house.page("editor"), await house.page("editor"), await logged_in(house)
    answer = await page.post("/api/auth/password", json={"old_password": PASSWORD, "new_password": NEW})
    assert answer.status_code == 204
    assert [await status(c) for c in (page, other, house.client(entry["access_token"]))] == [200, 401, 401]
    for password, good in ((PASSWORD, 401), (NEW, 200)):
        wish = {"email": "editor@example.org", "password": password}
        assert (await house.client().post("/api/auth/login", json=wish)).status_code == good


async def test_the_old_password_is_needed_for_a_new_one(house: House) -> None:
    page = await house.page("editor")
    for old in ("", "wrong wrong wrong"):
        answer = await page.post("/api/auth/password", json={"old_password": old, "new_password": NEW})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_password")


async def test_an_account_opened_by_an_admin_comes_in_by_a_link_and_sets_its_password(house: House) -> None:
    admin = await house.as_("admin")
    person = (await admin.post("/api/admin/users", json={"email": "bo@example.org", "role": "viewer"})).json()
    link = (await admin.post(f"/api/admin/users/{person['id']}/login-link")).json()
    browser = house.client()
    assert (await opened(browser, link["token"])).status_code == 200
    me = (await browser.get("/api/auth/me")).json()
    assert (me["user"]["role"], me["has_password"]) == ("viewer", False)
    wish = {"new_password": NEW}
    answer = await browser.post("/api/auth/password", json=wish, headers={"x-csrf-token": me["csrf"]})
    assert answer.status_code == 204


async def test_a_reset_sets_the_password_once_and_ends_every_login(house: House) -> None:
    page, admin = await house.page("editor"), await house.as_("admin")
    person = await house.person("editor")
    made = (await admin.post(f"/api/admin/users/{person.id}/password-reset")).json()
    wish = {"token": made["token"], "password": "short"}
    assert (await house.client().post(made["path"], json=wish)).status_code == 422
    wish["password"] = NEW
    assert (await house.client().post(made["path"], json=wish)).status_code == 204
    assert (await house.client().post(made["path"], json=wish)).status_code == 401
    assert await status(page) == 401


@pytest.mark.parametrize(
    "password",
    ["short", "x" * 257, "passwordpassword", "Password123456", "qwertyuiopasdf", "111111111111", "abababababab",
     "123456789012", "ana@example.org", "ana-example-1", "correcthorsebatterystaple", "polydub-polydub", "            "],
)  # fmt: skip
def test_passwords_that_are_tried_first_are_refused(password: str) -> None:
    assert weakness(password, "ana@example.org", "Example Person")


@pytest.mark.parametrize(
    "password",
    ["quiet orange staircase", "тихая оранжевая лестница", "🌵🍋 kaktus zitrone 9", "a" * 3 + "bcXYZ!?17kpw" + " " * 200],
)
def test_any_characters_make_a_password(password: str) -> None:
    assert weakness(password, "ana@example.org", "Ana") == ""


@given(st.text(min_size=12, max_size=256))
def test_every_text_is_a_password_or_told_why_not(password: str) -> None:
    assert isinstance(weakness(password, "ana@example.org", "Ana"), str)


async def test_passwords_are_compared_as_they_are(house: House) -> None:
    await house.accounts.register("ana@example.org", "Ana", "Quiet Orange Staircase ")
    for password, good in (("Quiet Orange Staircase ", 200), ("Quiet Orange Staircase", 401), ("quiet orange staircase ", 401)):
        wish = {"email": "ana@example.org", "password": password}
        assert (await house.client().post("/api/auth/login", json=wish)).status_code == good


# ------------------------------------------------------------------ oneself, admins, the log


async def test_one_changes_ones_name_and_preferences(house: House) -> None:
    page = await house.page("editor")
    answer = await page.patch("/api/auth/me", json={"name": "Ana B.", "preferences": {"theme": "dark"}})
    assert answer.json()["user"]["name"] == "Ana B."
    assert (await page.get("/api/auth/me")).json()["preferences"] == {"theme": "dark"}
    for wish in ({"role": "admin"}, {"email": "x@y"}, {"password": "x"}, {"name": ""}):
        assert (await page.patch("/api/auth/me", json=wish)).status_code == 422
    assert (await page.patch("/api/auth/me", json={"preferences": {"x": "y" * 70_000}})).status_code == 413


async def test_admins_see_and_change_accounts(house: House) -> None:
    admin, person = await house.as_("admin"), await house.person("editor", "ana")
    client = await house.as_("editor", "ana")
    assert (await admin.patch(f"/api/admin/users/{person.id}", json={"role": "viewer"})).json()["role"] == "viewer"
    assert (await client.patch("/api/auth/me", json={"name": "x"})).status_code == 200
    assert (await admin.patch(f"/api/admin/users/{person.id}", json={"disabled": True})).json()["disabled"]
    assert await status(client) == 401
    await admin.patch(f"/api/admin/users/{person.id}", json={"disabled": False})
    assert await status(client) == 401  # what was revoked stays so
    assert (await admin.delete(f"/api/admin/users/{person.id}")).status_code == 204
    assert (await admin.delete(f"/api/admin/users/{person.id}")).status_code == 404
    assert [row["email"] for row in (await admin.get("/api/admin/users")).json()] == ["admin@example.org"]


async def test_an_admin_cannot_shut_the_own_account_out(house: House) -> None:
    admin, person = await house.as_("admin"), await house.person("admin")
    tried = [
        await admin.patch(f"/api/admin/users/{person.id}", json={"role": "viewer"}),
        await admin.patch(f"/api/admin/users/{person.id}", json={"disabled": True}),
        await admin.delete(f"/api/admin/users/{person.id}"),
    ]
    assert [a.status_code for a in tried] == [409] * 3


async def test_no_password_hash_leaves_the_server(house: House) -> None:
    admin = await house.as_("admin")
    await house.person("editor")
    for path in ("/api/admin/users", "/api/auth/me", "/api/admin/audit"):
        assert "argon2" not in (await admin.get(path)).text


async def test_what_happens_to_accounts_is_in_the_audit_log_without_secrets(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="polydub.server.audit")
    page = await house.page("editor")
    token = (await page.post("/api/auth/tokens", json={"name": "ci"})).json()["token"]
    await house.client().post("/api/auth/login", json={"email": "editor@example.org", "password": "wrong wrong wrong"})
    await page.post("/api/auth/password", json={"old_password": PASSWORD, "new_password": NEW})
    admin = await house.as_("admin")
    person = await house.person("editor")
    lines = (await admin.get("/api/admin/audit", params={"user": person.id})).json()
    assert {line["user"] for line in lines} == {person.id}
    assert {"registered", "login", "login-failed", "token-made", "password-changed"} <= {line["action"] for line in lines}
    told = json.dumps(lines) + caplog.text
    assert not any(secret in told for secret in (token, token[-43:], PASSWORD, NEW, "wrong wrong"))
