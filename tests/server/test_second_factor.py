"""The second factor: codes of an app and recovery codes, as somebody uses, loses and is robbed of them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from house import PASSWORD, House, open_house, told
from hypothesis import given
from hypothesis import strategies as st
from local_d1 import LocalD1

from polydub.server.db.d1 import D1Records
from polydub.server.second_factor import code_at, step_of, uri_of

pytestmark = pytest.mark.anyio
WRONG = "wrong wrong wrong"
# RFC 6238, appendix B: seconds since 1970 and the code of eight digits, for SHA-1 and the key below; RFC 4226 takes the
# code modulo 10 to the number of digits, so the last six are the code of six.
RFC_KEY = b"12345678901234567890"
RFC_CODES = [
    (59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
    (2000000000, "69279037"), (20000000000, "65353130"),
]  # fmt: skip


class Phone:
    """An app that knows a secret and the house's clock."""

    def __init__(self, house: House, secret: str) -> None:
        self._house, self._secret = house, secret

    def code(self, later_s: int = 0) -> str:
        return code_at(base64.b32decode(self._secret), int(self._house.clock().timestamp() + later_s) // 30)


async def with_factor(house: House, page: httpx.AsyncClient) -> tuple[Phone, list[str]]:
    """A page's account gets a second factor; the app is past the code that turned it on."""
    offer = await page.post("/api/auth/second-factor", json={"password": PASSWORD})
    assert offer.status_code == 201
    phone = Phone(house, offer.json()["secret"])
    made = await page.post("/api/auth/second-factor/confirm", json={"code": phone.code()})
    assert made.status_code == 200
    house.clock.pass_by(seconds=60)
    return phone, made.json()["recovery_codes"]


async def first_step(client: httpx.AsyncClient, session: bool = False, who: str = "editor") -> str:
    wish = {"email": f"{who}@example.org", "password": PASSWORD, "session": session}
    answer = await client.post("/api/auth/login", json=wish)
    assert told(answer) == (401, "second_factor_required")
    assert "set-cookie" not in answer.headers
    return answer.json()["error"]["challenge"]


async def second_step(client: httpx.AsyncClient, challenge: str, code: str) -> httpx.Response:
    return await client.post("/api/auth/login/second-factor", json={"challenge": challenge, "code": code})


# ------------------------------------------------------------------ the codes


@pytest.mark.parametrize(("second", "code"), RFC_CODES)
def test_codes_are_those_of_the_standard(second: int, code: str) -> None:
    assert code_at(RFC_KEY, second // 30) == code[-6:]


@pytest.mark.parametrize(("age", "good"), [(-1, False), (0, True), (1, True), (2, False)])
def test_a_code_holds_for_its_half_minute_and_the_next(age: int, good: bool) -> None:
    now = datetime(2026, 5, 1, 12, 0, 10, tzinfo=UTC)
    step = int(now.timestamp()) // 30 - age
    assert step_of(base64.b32encode(RFC_KEY).decode(), code_at(RFC_KEY, step), now) == (step if good else None)


@given(st.integers(0, 2**40), st.binary(min_size=16, max_size=64))
def test_every_code_has_six_digits(step: int, key: bytes) -> None:
    assert len(code_at(key, step)) == 6 and code_at(key, step).isdecimal()


def test_the_address_for_apps_says_whose_and_what_it_is() -> None:
    parts = urlsplit(uri_of("JBSWY3DPEHPK3PXP", "ana+b@example.org"))
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/polydub:ana%2Bb%40example.org")
    assert parse_qs(parts.query) == {
        "secret": ["JBSWY3DPEHPK3PXP"], "issuer": ["polydub"], "algorithm": ["SHA1"], "digits": ["6"], "period": ["30"],
    }  # fmt: skip


# ------------------------------------------------------------------ logging in


@pytest.mark.parametrize("session", [False, True])
async def test_a_login_with_a_second_factor_has_two_steps(session: bool, house: House) -> None:
    phone, _ = await with_factor(house, await house.page("editor"))
    client = house.client()
    entry = await second_step(client, await first_step(client, session), phone.code())
    assert entry.status_code == 200
    again = client if session else house.client(entry.json()["access_token"])
    assert (await again.get("/api/auth/me")).json()["via"] == ("session" if session else "jwt")
    assert (entry.json()["csrf"] is None, "set-cookie" in entry.headers) == (not session, session)


async def test_a_password_alone_opens_nothing_where_there_is_a_second_factor(house: House) -> None:
    await with_factor(house, await house.page("editor"))
    client = house.client()
    challenge = await first_step(client)
    for token in (challenge, f"pd_{challenge}"):
        assert (await house.client(token).get("/api/auth/me")).status_code == 401
    assert (await house.client(cookie=f"polydub_session={challenge}").get("/api/auth/me")).status_code == 401
    assert (await client.post("/api/auth/refresh", json={"refresh_token": challenge})).status_code == 401


async def test_a_link_alone_opens_nothing_where_there_is_a_second_factor(house: House) -> None:
    phone, _ = await with_factor(house, await house.page("editor"))
    link = await house.accounts.link(await house.person("editor"), "login")
    client = house.client()
    answer = await client.post("/api/auth/login/link", json={"token": link})
    assert told(answer) == (401, "second_factor_required")
    assert (await second_step(client, answer.json()["error"]["challenge"], phone.code())).json()["csrf"]


async def test_a_browser_is_asked_for_the_code_after_its_link(house: House) -> None:
    phone, _ = await with_factor(house, await house.page("editor"))
    link = await house.accounts.link(await house.person("editor"), "login")
    browser = house.client()
    answer = await browser.get("/login", params={"token": link})
    path, _, challenge = answer.headers["location"].partition("#challenge=")
    assert (answer.status_code, path, "set-cookie" in answer.headers) == (303, "/login", False)
    assert (await browser.get(path)).status_code == 200
    assert (await second_step(browser, challenge, phone.code())).json()["csrf"]
    assert (await browser.get("/api/auth/me")).status_code == 200


async def test_a_new_password_by_a_link_leaves_the_second_factor_on(house: House) -> None:
    await with_factor(house, await house.page("editor"))
    token = await house.accounts.link(await house.person("editor"), "reset")
    wish = {"token": token, "password": "another long enough phrase"}
    assert (await house.client().post("/api/auth/password/reset", json=wish)).status_code == 204
    login = {"email": "editor@example.org", "password": wish["password"]}
    assert told(await house.client().post("/api/auth/login", json=login)) == (401, "second_factor_required")


async def test_a_code_is_good_once(house: House) -> None:
    phone, _ = await with_factor(house, await house.page("editor"))
    code = phone.code()
    challenges = [await first_step(house.client()) for _ in range(4)]
    answers = await asyncio.gather(*(second_step(house.client(), challenge, code) for challenge in challenges))
    assert sorted(a.status_code for a in answers) == [200, 401, 401, 401]
    late = await second_step(house.client(), await first_step(house.client()), code)
    assert told(late) == (401, "wrong_code")
    house.clock.pass_by(seconds=30)
    assert (await second_step(house.client(), await first_step(house.client()), phone.code())).status_code == 200


async def test_a_challenge_is_good_for_one_login_and_five_minutes(house: House) -> None:
    phone, _ = await with_factor(house, await house.page("editor"))
    challenge = await first_step(house.client())
    assert told(await second_step(house.client(), challenge, "000000")) == (401, "wrong_code")
    assert (await second_step(house.client(), challenge, phone.code())).status_code == 200
    house.clock.pass_by(seconds=30)
    assert told(await second_step(house.client(), challenge, phone.code())) == (401, "invalid_challenge")
    late = await first_step(house.client())
    house.clock.pass_by(minutes=6)
    assert told(await second_step(house.client(), late, phone.code())) == (401, "invalid_challenge")


async def test_a_challenge_of_a_disabled_account_opens_nothing(house: House) -> None:
    phone, _ = await with_factor(house, await house.page("editor"))
    challenge = await first_step(house.client())
    await house.services.records.change_user((await house.person("editor")).id, disabled=True)
    assert told(await second_step(house.client(), challenge, phone.code())) == (401, "invalid_challenge")


@pytest.mark.parametrize("code", ["", "12345", "1234567", "абвгде", "１２３４５６", "\x00" * 6, "x" * 300, "-" * 24, "a" * 24])
async def test_what_is_no_code_is_refused(code: str, house: House) -> None:
    await with_factor(house, await house.page("editor"))
    assert told(await second_step(house.client(), await first_step(house.client()), code)) == (401, "wrong_code")


async def test_codes_cannot_be_tried_through(house: House) -> None:
    phone, codes = await with_factor(house, await house.page("editor"))
    challenge = await first_step(house.client())
    answers = [await second_step(house.client(), challenge, f"{n:06}") for n in range(21)]
    assert [a.status_code for a in answers[:20]] == [401] * 20
    assert told(answers[20]) == (429, "too_many_codes") and int(answers[20].headers["retry-after"]) > 3600
    assert told(await second_step(house.client(), challenge, phone.code())) == (429, "too_many_codes")
    assert (await second_step(house.client(), challenge, codes[0])).status_code == 200
    house.clock.pass_by(hours=25)
    assert (await second_step(house.client(), await first_step(house.client()), phone.code())).status_code == 200


async def test_tries_at_codes_are_slowed_down(tmp_path: Path) -> None:
    async with open_house(tmp_path, logins_a_minute=3) as house:
        answers = [await second_step(house.client(), "x", "000000") for _ in range(5)]
        assert [a.status_code for a in answers] == [401, 401, 401, 429, 429]


# ------------------------------------------------------------------ recovery codes


async def test_each_recovery_code_logs_in_once(house: House) -> None:
    page = await house.page("editor")
    _, codes = await with_factor(house, page)
    assert len(set(codes)) == 10 and all(len(code) == 27 for code in codes)
    challenges = [await first_step(house.client()) for _ in range(4)]
    answers = await asyncio.gather(*(second_step(house.client(), challenge, codes[0]) for challenge in challenges))
    assert sorted(a.status_code for a in answers) == [200, 401, 401, 401]
    written = codes[1].upper().replace("-", " ")
    assert (await second_step(house.client(), await first_step(house.client()), written)).status_code == 200
    assert (await page.get("/api/auth/second-factor")).json()["recovery_codes"] == 8


async def test_recovery_codes_are_those_of_the_account(house: House) -> None:
    _, codes = await with_factor(house, await house.page("editor", "ana"))
    await with_factor(house, await house.page("editor"))
    assert told(await second_step(house.client(), await first_step(house.client()), codes[0])) == (401, "wrong_code")
    answer = await second_step(house.client(), await first_step(house.client(), who="ana"), codes[0])
    assert answer.status_code == 200


async def test_new_recovery_codes_end_those_before(house: House) -> None:
    page = await house.page("editor")
    phone, codes = await with_factor(house, page)
    wish = {"password": PASSWORD, "code": phone.code()}
    new = (await page.post("/api/auth/second-factor/recovery-codes", json=wish)).json()["recovery_codes"]
    assert len(new) == 10 and not set(new) & set(codes)
    assert told(await second_step(house.client(), await first_step(house.client()), codes[0])) == (401, "wrong_code")
    assert (await second_step(house.client(), await first_step(house.client()), new[0])).status_code == 200


async def test_only_hashes_of_recovery_codes_are_kept(house: House) -> None:
    _, codes = await with_factor(house, await house.page("editor"))
    kept = json.dumps(await house.services.records.list("recovery-code"))
    assert len(await house.services.records.list("recovery-code")) == 10
    assert not any(code.replace("-", "") in kept or code in kept for code in codes)


# ------------------------------------------------------------------ turning it on and off


async def test_a_second_factor_counts_from_its_first_code_on(house: House) -> None:
    page = await house.page("editor")
    offer = (await page.post("/api/auth/second-factor", json={"password": PASSWORD})).json()
    assert not (await page.get("/api/auth/second-factor")).json()["on"]
    login = {"email": "editor@example.org", "password": PASSWORD}
    assert (await house.client().post("/api/auth/login", json=login)).status_code == 200
    assert told(await page.post("/api/auth/second-factor/confirm", json={"code": "000000"})) == (403, "wrong_code")
    code = Phone(house, offer["secret"]).code()
    assert (await page.post("/api/auth/second-factor/confirm", json={"code": code})).status_code == 200
    assert (await page.get("/api/auth/second-factor")).json() == {"on": True, "recovery_codes": 10, "wanted": False}


async def test_an_offer_is_good_for_ten_minutes_and_the_last_one_counts(house: House) -> None:
    page = await house.page("editor")
    first, last = [(await page.post("/api/auth/second-factor", json={"password": PASSWORD})).json() for _ in range(2)]
    code = Phone(house, first["secret"]).code()
    assert told(await page.post("/api/auth/second-factor/confirm", json={"code": code})) == (403, "wrong_code")
    house.clock.pass_by(minutes=11)
    code = Phone(house, last["secret"]).code()
    answer = await page.post("/api/auth/second-factor/confirm", json={"code": code})
    assert told(answer) == (409, "no_second_factor_offered")


async def test_turning_it_on_ends_the_other_logins(house: House) -> None:
    page, other = await house.page("editor"), await house.page("editor")
    await with_factor(house, page)
    assert [(await client.get("/api/auth/me")).status_code for client in (page, other)] == [200, 401]


async def test_password_and_code_are_needed_to_turn_it_off(house: House) -> None:
    page = await house.page("editor")
    phone, codes = await with_factor(house, page)
    off = "/api/auth/second-factor/off"
    assert told(await page.post(off, json={"password": WRONG, "code": phone.code()})) == (403, "wrong_password")
    assert told(await page.post(off, json={"password": PASSWORD})) == (403, "wrong_code")
    assert told(await page.post("/api/auth/second-factor", json={"password": PASSWORD, "code": codes[0]})) == (
        409, "second_factor_on",
    )  # fmt: skip
    assert (await page.post(off, json={"password": PASSWORD, "code": phone.code()})).status_code == 204
    assert (await page.get("/api/auth/second-factor")).json() == {"on": False, "recovery_codes": 0, "wanted": False}
    login = {"email": "editor@example.org", "password": PASSWORD}
    assert (await house.client().post("/api/auth/login", json=login)).status_code == 200
    await with_factor(house, page)


async def test_a_token_does_nothing_to_the_second_factor(house: House) -> None:
    client = await house.as_("editor")
    tried = [
        await client.post("/api/auth/second-factor", json={"password": PASSWORD}),
        await client.post("/api/auth/second-factor/confirm", json={"code": "000000"}),
        await client.post("/api/auth/second-factor/recovery-codes", json={"password": PASSWORD}),
        await client.post("/api/auth/second-factor/off", json={"password": PASSWORD}),
        await client.post("/api/auth/again", json={"password": PASSWORD}),
        await (await house.as_("admin")).delete(f"/api/admin/users/{(await house.person('editor')).id}/second-factor"),
    ]
    assert [told(answer) for answer in tried] == [(403, "login_needed")] * 6


async def test_the_password_once_more_means_the_code_too(house: House) -> None:
    page = await house.page("editor")
    phone, _ = await with_factor(house, page)
    assert told(await page.post("/api/auth/again", json={"password": PASSWORD})) == (403, "wrong_code")
    assert (await page.post("/api/auth/again", json={"password": PASSWORD, "code": phone.code()})).status_code == 204


# ------------------------------------------------------------------ servers that want one


@pytest.mark.parametrize(
    ("wanted", "role", "held"),
    [("optional", "admin", False), ("admins", "admin", True), ("admins", "editor", False), ("everyone", "viewer", True)],
)
async def test_who_has_to_have_one_can_do_nothing_else_before(wanted: str, role: str, held: bool, tmp_path: Path) -> None:
    async with open_house(tmp_path, second_factor=wanted) as house:
        page = await house.page(role)  # type: ignore[arg-type]
        answer = await page.get("/api/auth/sessions")
        assert answer.status_code == (403 if held else 200)
        assert (await page.get("/api/auth/second-factor")).json()["wanted"] is held
        if held:
            assert told(answer) == (403, "second_factor_needed")
            assert told(await page.post("/api/auth/tokens", json={"name": "x"})) == (403, "second_factor_needed")
            phone, _ = await with_factor(house, page)
            assert (await page.get("/api/auth/sessions")).status_code == 200
            off = {"password": PASSWORD, "code": phone.code()}
            assert (await page.post("/api/auth/second-factor/off", json=off)).status_code == 204
            assert told(await page.get("/api/auth/sessions")) == (403, "second_factor_needed")


async def test_programs_go_on_where_people_need_a_second_factor(tmp_path: Path) -> None:
    async with open_house(tmp_path, second_factor="everyone") as house:
        assert (await (await house.as_("editor")).get("/api/auth/sessions")).status_code == 200


# ------------------------------------------------------------------ lost, deleted, logged, elsewhere


async def test_an_admin_takes_a_lost_second_factor_away(house: House) -> None:
    page, admin = await house.page("editor"), await house.page("admin")
    person = await house.person("editor")
    await with_factor(house, page)
    path = f"/api/admin/users/{person.id}/second-factor"
    assert (await (await house.page("editor", "bo")).delete(path)).status_code == 403
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.delete(path)).status_code == 404
    assert (await page.get("/api/auth/me")).status_code == 401
    login = {"email": "editor@example.org", "password": PASSWORD}
    assert (await house.client().post("/api/auth/login", json=login)).status_code == 200


async def test_nothing_of_it_stays_when_the_account_goes(house: House) -> None:
    await with_factor(house, await house.page("editor"))
    person, admin = await house.person("editor"), await house.page("admin")
    assert (await admin.delete(f"/api/admin/users/{person.id}")).status_code == 204
    left = [kind for kind in await house.services.records.kinds() if await house.services.records.list(kind, person.id)]
    assert left == ["audit"]


async def test_what_happens_to_it_is_in_the_audit_log_without_secrets(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    page, person = await house.page("editor"), await house.person("editor")
    secret = (await page.post("/api/auth/second-factor", json={"password": PASSWORD})).json()["secret"]
    phone = Phone(house, secret)
    made = await page.post("/api/auth/second-factor/confirm", json={"code": phone.code()})
    codes = made.json()["recovery_codes"]
    house.clock.pass_by(seconds=60)
    challenge = await first_step(house.client())
    await second_step(house.client(), challenge, "000000")
    await second_step(house.client(), challenge, codes[0])
    await page.post("/api/auth/second-factor/off", json={"password": PASSWORD, "code": phone.code()})
    lines = [line for _, _, line in await house.services.records.list("audit", person.id)]
    wanted = {"second-factor-on", "recovery-codes-made", "second-factor-failed", "recovery-code-used", "second-factor-off"}
    assert wanted <= {line["action"] for line in lines}
    text = json.dumps(lines) + caplog.text
    assert not any(each in text for each in (secret, challenge, codes[0], codes[0].replace("-", "")))


async def test_a_second_factor_on_d1_is_the_same(tmp_path: Path) -> None:
    local = LocalD1()
    records = D1Records(local.client(), "/raw")
    await records.migrate()
    async with open_house(tmp_path, records=records) as house:
        phone, codes = await with_factor(house, await house.page("editor"))
        challenges = [await first_step(house.client()) for _ in range(3)]
        answers = [await second_step(house.client(), challenge, phone.code()) for challenge in challenges]
        assert [a.status_code for a in answers] == [200, 401, 401]
        assert (await second_step(house.client(), challenges[1], codes[0])).status_code == 200
    await records.close()
    local.close()
