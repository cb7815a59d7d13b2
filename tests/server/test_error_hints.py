"""Whatever is wrong with a request, the answer says in one sentence what it is and what to do next, in words of the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from house import House, open_house
from job_world import HandJobs

from polydub.server.contracts import JobRow
from polydub.server.storage import LocalStorage

pytestmark = pytest.mark.anyio
TUS = {"tus-resumable": "1.0.0"}
DUB: dict[str, Any] = {"input": {"upload": "nothing"}, "to": ["es"]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house in which the admin ana has a job in each state."""
    jobs = HandJobs()
    (tmp_path / "data").mkdir()
    storage = LocalStorage(tmp_path / "files")
    secret = "whsec_" + "c2VjcmV0" * 6
    async with open_house(tmp_path / "data", jobs=jobs, storage=storage, webhook_secret=secret) as opened:
        jobs.records = opened.services.records
        ana = await opened.person("admin", "ana")
        for number, state in enumerate(("queued", "paused", "done", "failed")):
            when = opened.clock() - timedelta(seconds=number)
            await opened.services.records.add_job(JobRow(state, ana.id, "dub", "talk", {}, state, when, when))
        yield opened


def wish(**more: Any) -> dict[str, Any]:
    return {"json": {**DUB, **more}}


WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/api/nothing", {}), ("PUT", "/api/jobs", {}), ("GET", "/api/jobs?limit=x", {}),
    ("GET", "/api/uploads/nothing", {}),
    *(("GET", f"/api/{kind}/nothing", {}) for kind in ("jobs", "webhooks", "voices", "glossaries", "characters", "presets")),
    *(("POST", f"/api/jobs/{state}/retry", {}) for state in ("nothing", "queued", "paused")),
    *(("POST", f"/api/jobs/{state}/cancel", {}) for state in ("nothing", "failed", "done")),
    *(("POST", f"/api/jobs/{state}/resume", {}) for state in ("nothing", "queued", "done")),
    *(("GET", f"/api/jobs/{state}/result", {}) for state in ("queued", "failed")),
    *(("GET", f"/api/jobs/{state}/transcript", {}) for state in ("queued", "failed", "done")),
    ("GET", "/api/jobs/done/stream/manifest", {}), ("POST", "/api/jobs/queued/transcript/synthesize", {}),
    ("POST", "/api/jobs", {}), ("POST", "/api/jobs", {"content": b"{x", "headers": {"content-type": "application/json"}}),
    ("POST", "/api/jobs", {"json": [1]}), ("POST", "/api/jobs", wish()), ("POST", "/api/jobs", wish(to=[])),
    ("POST", "/api/jobs", wish(to=["klingon!"])), ("POST", "/api/jobs", wish(to="es")), ("POST", "/api/jobs", wish(surprise=1)),
    ("POST", "/api/jobs", wish(priority=99)), ("POST", "/api/jobs", wish(input={})), ("POST", "/api/jobs", {"content": b"x"}),
    ("POST", "/api/jobs", wish(input={"url": "ftp://x"})), ("POST", "/api/jobs", wish(voice_preset_id="nothing")),
    ("POST", "/api/dub", {}), ("POST", "/api/upload", {"json": {}}),
    ("POST", "/api/upload", {"files": {"file": ("a.mp4", b"")}}),
    ("POST", "/api/uploads", {}), ("POST", "/api/uploads", {"headers": TUS}),
    ("POST", "/api/uploads", {"headers": {**TUS, "upload-length": "9" * 17}}),
    ("PATCH", "/api/uploads/nothing", {"headers": TUS}),
    ("POST", "/api/voices", {"json": {"name": "A", "recordings": []}}), ("POST", "/api/presets", {"json": {}}),
    ("POST", "/api/voices", {"json": {"name": "A", "recordings": [{"upload": "nothing"}]}}),
    ("POST", "/api/glossaries", {"json": {"name": "A", "entries": [{"term": "#x"}]}}),
    ("POST", "/api/webhooks", {"json": {"url": "https://example.org", "events": ["odd"]}}),
    ("POST", "/api/webhook/job-complete", {"json": {}}),
    ("POST", "/api/auth/login", {"json": {"email": "x", "password": "y"}}),
    ("POST", "/api/auth/login/link", {"json": {"token": "x"}}), ("DELETE", "/api/auth/tokens/nothing", {}),
    ("POST", "/api/auth/tokens", {"json": {"name": "x", "scopes": ["odd"]}}),
    ("PATCH", "/api/admin/users/nothing", {"json": {"role": "editor"}}),
    ("POST", "/api/admin/users", {"json": {"email": "ana@example.org", "role": "viewer", "name": "x"}}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "how"), WRONG, ids=[f"{n}-{m} {p}" for n, (m, p, _) in enumerate(WRONG)])
async def test_every_error_says_what_to_do_next_without_flags(
    house: House, method: str, path: str, how: dict[str, Any]
) -> None:
    async with await house.as_("admin", "ana") as client:
        answer = await client.request(method, path, **how)
    error = answer.json()["error"]
    assert 400 <= answer.status_code < 500
    assert error["code"] and error["message"] and error["hint"], error
    assert not re.search(
        r"(^|[ (])--[a-z]|polydub [a-z]|after validation|^the request: ", f"{error['message']} {error['hint']}"
    )


SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"max_rate": 9}, "max_rate cannot be '9': it must be at most 1.3", "Fastest"),
    ({"bogus": 1}, "bogus is no setting of a job", "reference"),
    ({"stream": "segments", "burn_in": "target"}, "burn_in needs the whole film", "leave out burn_in or stream"),
    ({"source_language": "??"}, "source_language: there is no language '??'", "codes such as es"),
    ({"tts": "nope"}, "there is no speech engine 'nope'", "there are: "),
]


@pytest.mark.parametrize(("settings", "message", "hint"), SETTINGS, ids=[next(iter(each[0])) for each in SETTINGS])
async def test_a_wrong_setting_of_a_job_is_told_by_its_name(
    house: House, settings: dict[str, Any], message: str, hint: str
) -> None:
    async with await house.as_("admin", "ana") as client:
        upload = (await client.post("/api/upload", files={"file": ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n")})).json()
        told = (await client.post("/api/jobs", json={**DUB, "input": {"upload": upload["id"]}, "settings": settings})).json()
    assert (told["error"]["message"].startswith(message), hint in told["error"]["hint"]) == (True, True), told


async def test_who_may_not_is_told_what_would_help(house: House) -> None:
    async with await house.as_("viewer", "vic", ("read",)) as viewer, house.client() as nobody:
        answers: list[httpx.Response] = [await viewer.post("/api/jobs", json=DUB), await viewer.get("/api/admin/users")]
        answers += [await nobody.get("/api/jobs"), await house.client("wrong").get("/api/jobs")]
    assert [answer.status_code for answer in answers] == [403, 403, 401, 401]
    assert all(answer.json()["error"]["hint"] for answer in answers)
