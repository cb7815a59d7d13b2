"""Streams over HTTP: playlists and segments of a job's stream folder, and nothing else of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from house import House, open_house

from polydub.server.contracts import JobRow
from polydub.server.storage import LocalStorage

pytestmark = pytest.mark.anyio
PLAYLIST = b"#EXTM3U\n#EXT-X-VERSION:7\n"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house in which the editor ana has the running stream j1, and j2 whose stream lies in the storage only."""
    (tmp_path / "data").mkdir()
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files")) as opened:
        ana, now = await opened.person("editor", "ana"), opened.clock()
        files = [{"name": "stream/index.m3u8", "bytes": len(PLAYLIST)}, {"name": "stream/manifest.json", "bytes": 2}]
        records = opened.services.records
        await records.add_job(JobRow("j1", ana.id, "dub", "talk", {}, "running", now, now))
        await records.add_job(JobRow("j2", ana.id, "dub", "talk", {}, "done", now, now, result={"files": files}))
        folder = opened.services.folder / "jobs" / "j1" / "output" / "talk" / "stream"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"state": "running", "segments": []}))
        (folder / "index.m3u8").write_bytes(PLAYLIST)
        (folder / "segment_00001.m4s").write_bytes(bytes(range(100)))
        (folder / "secret.txt").write_text("x")
        (folder / "link.mp4").symlink_to("/etc/passwd")
        for name, data in (("index.m3u8", PLAYLIST), ("manifest.json", b"{}")):
            (tmp_path / name).write_bytes(data)
            await opened.services.storage.put_file(f"jobs/j2/stream/{name}", tmp_path / name)
        yield opened


@pytest.fixture
async def ana(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await house.as_("editor", "ana") as client:
        yield client


async def test_a_stream_is_played_while_it_is_made(ana: httpx.AsyncClient) -> None:
    assert (await ana.get("/api/jobs/j1/stream/manifest")).json()["state"] == "running"
    playlist = await ana.get("/api/jobs/j1/stream/index.m3u8")
    assert (playlist.content, playlist.headers["content-type"]) == (PLAYLIST, "application/vnd.apple.mpegurl")
    assert playlist.headers["cache-control"] == "no-store"
    part = await ana.get("/api/jobs/j1/stream/segment_00001.m4s", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    for asked, status in (("bytes=100-", 416), ("bytes=9-2", 400)):
        wrong = await ana.get("/api/jobs/j1/stream/segment_00001.m4s", headers={"range": asked})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (status, "bad_range")
        assert wrong.headers["x-request-id"]


async def test_a_stream_that_is_done_comes_from_the_storage(ana: httpx.AsyncClient) -> None:
    assert (await ana.get("/api/jobs/j2/stream/manifest")).json() == {}
    assert (await ana.get("/api/jobs/j2/stream/index.m3u8")).content == PLAYLIST


@pytest.mark.parametrize(
    "name", ["secret.txt", "link.mp4", "segment_00002.m4s", "..%2fsecret.mp4", "manifest.json", "%00.mp4", "a.html"]
)
async def test_nothing_else_is_sent(ana: httpx.AsyncClient, name: str) -> None:
    assert (await ana.get(f"/api/jobs/j1/stream/{name}")).status_code == 404


@pytest.mark.parametrize("name", ["manifest", "index.m3u8", "segment_00001.m4s"])
async def test_a_stream_of_somebody_else_or_none_is_not_there(house: House, ana: httpx.AsyncClient, name: str) -> None:
    async with await house.as_("editor", "bo") as bo:
        assert (await bo.get(f"/api/jobs/j1/stream/{name}")).status_code == 404
    assert (await house.client().get(f"/api/jobs/j1/stream/{name}")).status_code == 401
    assert (await ana.get(f"/api/jobs/nothing/stream/{name}")).status_code == 404


async def test_what_is_no_stream_and_what_a_stream_has_not_are_told_apart(house: House, ana: httpx.AsyncClient) -> None:
    owner, now = await house.person("editor", "ana"), house.clock()
    for id_, stream in (("plain", "off"), ("watched", "segments")):
        request = {"settings": {"stream": stream}}
        await house.services.records.add_job(JobRow(id_, owner.id, "dub", "talk", request, "done", now, now))
    told = [(await ana.get(f"/api/jobs/{id_}/stream/chunks/99")).json()["error"] for id_ in ("plain", "watched")]
    assert [error["message"] for error in told] == ["this job is no stream", "the stream has no part of this name"]
    assert all(error["hint"] for error in told)
