"""A parameter that a path does not know is refused, where a client wrote it and not a page or a player."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from house import open_house

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ana(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with open_house(tmp_path) as house, await house.as_("editor") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "param", "hint"),
    [
        ("/api/engines?kind=odd", "kind", "it takes none"),
        ("/api/jobs?limit=2&stat=done", "stat", "it takes state, before, limit, everyone"),
        ("/api/jobs/j1/transcript?lang=es", "lang", "it takes language"),
        ("/api/voices?x", "x", "it takes none"),
    ],
)
async def test_an_unknown_parameter_is_named_with_those_that_there_are(
    ana: httpx.AsyncClient, path: str, param: str, hint: str
) -> None:
    answer = await ana.get(path)
    error = answer.json()["error"]
    told = (answer.status_code, error["code"], error["param"], error["hint"])
    assert told == (422, "unknown_parameter", param, hint)


async def test_what_is_sent_is_looked_at_alike(ana: httpx.AsyncClient) -> None:
    answer = await ana.post("/api/separate?stem=dialogue", files={"file": ("talk.wav", b"RIFF")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "stem")


@pytest.mark.parametrize("path", ["/api/jobs?limit=2&state=done&state=failed", "/api/engines", "/?v=3"])
async def test_what_is_known_or_is_none_of_ours_passes(ana: httpx.AsyncClient, path: str) -> None:
    assert (await ana.get(path)).status_code in (200, 303)


@pytest.mark.parametrize(
    "path", ["/api/jobs/j1/events?lastEventId=4", "/api/jobs/j1/files/dub.mkv?t=1", "/api/jobs/j1/stream/index.m3u8?_HLS_msn=2"]
)
async def test_what_players_and_listeners_add_is_passed_over(ana: httpx.AsyncClient, path: str) -> None:
    assert (await ana.get(path)).status_code == 404, "there is no such job"


async def test_what_clients_of_openai_add_is_passed_over(ana: httpx.AsyncClient) -> None:
    answer = await ana.get("/v1/models?api-version=7")
    assert answer.json()["error"]["code"] == "no_speech_services", "this house has none"
