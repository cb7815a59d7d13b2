"""The page at `/`: what a browser without scripts sees and sends."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from house import BASE, PASSWORD, House

from polydub.server.contracts import JobRow
from polydub.server.routes.home import _DIGEST, _STYLE  # pyright: ignore[reportPrivateUsage]

pytestmark = pytest.mark.anyio
FILM: dict[str, Any] = {"language": "es", "film": "dub.es.mkv", "report": "report.json", "duration": 2.0, "lines": 3}
FILES = [{"name": "dub.es.mkv", "bytes": 5, "media": "video/x-matroska"}]


async def logged_in(house: House, name: str = "ana") -> httpx.AsyncClient:
    await house.person("editor", name)
    browser = house.client(origin=BASE)
    answer = await browser.post("/login", data={"email": f"{name}@example.org", "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    return browser


async def test_whoever_is_not_logged_in_sees_the_ways_in(house: House) -> None:
    for path in ("/", "/dashboard"):
        page = await house.client().get(path)
        assert page.status_code == 200
        assert 'lang="en"' in page.text and 'for="password"' in page.text and "polydub admin login-link" in page.text
        assert "<script" not in page.text and _STYLE in page.text
        policy = page.headers["content-security-policy"]
        assert f"'sha256-{_DIGEST}'" in policy and "default-src 'none'" in policy and "unsafe" not in policy


async def test_jobs_are_shown_with_their_results_and_nobody_elses(house: House) -> None:
    browser, now, add = await logged_in(house), house.clock(), house.services.records.add_job
    bo = await house.person("editor", "bo")
    ana, soon = house.people["ana"].id, now + timedelta(minutes=1)
    done = {"dubs": [FILM], "files": FILES}
    await add(JobRow("j1", ana, "dub", "<b>talk</b>.mkv", {}, "done", now, now, result=done))
    error = {"code": "bad-input", "message": "no sound <in> it"}
    await add(JobRow("j2", ana, "dub", "still.mkv", {}, "failed", soon, soon, error=error))
    await add(JobRow("j3", bo.id, "dub", "secret.mkv", {}, "running", now, now))
    page = (await browser.get("/dashboard")).text
    assert "ana@example.org, editor" in page
    assert 'href="/api/jobs/j1/files/dub.es.mkv"' in page and "film in es" in page
    assert "no sound &lt;in&gt; it" in page and "&lt;b&gt;talk&lt;/b&gt;.mkv" in page and "<b>talk" not in page
    assert page.index("still.mkv") < page.index("talk")
    assert "secret.mkv" not in page


async def test_a_wrong_password_is_told_on_the_page(house: House) -> None:
    await house.person("editor", "ana")
    page = await house.client(origin=BASE).post("/login", data={"email": "ana@example.org", "password": "wrong"})
    assert (page.status_code, 'role="alert"' in page.text, "set-cookie" in page.headers) == (401, True, False)


async def test_a_browser_with_a_used_link_gets_the_way_in_and_a_program_the_error(house: House) -> None:
    browser = await house.client().get("/login?token=used", headers={"accept": "text/html,*/*"})
    assert (browser.status_code, 'role="alert"' in browser.text, 'name="password"' in browser.text) == (401, True, True)
    program = await house.client().get("/login?token=used")
    assert (program.status_code, program.json()["error"]["code"]) == (401, "invalid_link")


async def test_a_second_factor_is_asked_for_on_its_page(house: House) -> None:
    ana = await house.person("editor", "ana")
    await house.services.records.put("second-factor", ana.id, ana.id, {"secret": "JBSWY3DPEHPK3PXP", "confirmed": True})
    told = await house.client(origin=BASE).post("/login", data={"email": "ana@example.org", "password": PASSWORD})
    assert told.status_code == 303
    assert told.headers["location"].startswith("/login#challenge=")
    assert "set-cookie" not in told.headers


async def test_pages_of_others_log_nobody_in_or_out(house: House) -> None:
    browser = await logged_in(house)
    csrf = re.findall(r'name="csrf" value="([^"]+)"', (await browser.get("/")).text)[0]
    wish = {"email": "ana@example.org", "password": PASSWORD}
    for origin in ("https://evil.example", "null"):
        headers = {"origin": origin, "sec-fetch-site": "cross-site"}
        assert (await house.client().post("/login", data=wish, headers=headers)).status_code == 403
        assert (await browser.post("/logout", data={"csrf": csrf}, headers=headers)).status_code == 403
    assert (await browser.post("/logout", data={"csrf": "wrong"})).status_code == 403
    assert (await browser.get("/api/auth/me")).status_code == 200


async def test_whoever_logs_out_is_out(house: House) -> None:
    browser = await logged_in(house)
    thief = house.client()
    thief.cookies = httpx.Cookies(browser.cookies)
    csrf = re.findall(r'name="csrf" value="([^"]+)"', (await browser.get("/")).text)[0]
    told = await browser.post("/logout", data={"csrf": csrf})
    assert (told.status_code, told.headers["location"]) == (303, "/")
    assert "Log in" in (await browser.get("/")).text
    assert (await thief.get("/api/auth/me")).status_code == 401
