"""Files on their way out: players get their ranges, browsers get nothing to run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bucket_stand_in import ACCESS, NAME, REGION, SECRET, Bucket, a_bucket
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from polydub.config import Secrets
from polydub.config.server import ServerSettings
from polydub.server.app import answer
from polydub.server.files import Outgoing, send
from polydub.server.problems import Problem
from polydub.server.shelf import Shelf
from polydub.server.storage import open_storage

pytestmark = pytest.mark.anyio
DATA = bytes(range(100))


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with a_bucket() as made:
        yield made


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Shelf:
    keys = Secrets({"s3_access_key_id": SecretStr(ACCESS), "s3_secret_access_key": SecretStr(SECRET)})
    there = ServerSettings(storage=f"s3://{NAME}", s3_endpoint=bucket.endpoint, s3_region=REGION)
    return open_storage(ServerSettings() if request.param == "folder" else there, keys, tmp_path)


@pytest.fixture
async def client(storage: Shelf, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """`/name?media=...&show=1&direct=1` sends the file under the key of that name."""
    (tmp_path / "data").write_bytes(DATA)
    await storage.put_file("film", tmp_path / "data")
    app = FastAPI()

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        response = answer(request, error)
        response.headers.update(getattr(error, "headers", {}))
        return response

    app.add_exception_handler(Problem, told)

    @app.api_route("/{key}", methods=["GET", "HEAD"])
    async def file(key: str, request: Request, media: str = "video/mp4", show: bool = False, direct: bool = False) -> Any:
        return await send(request, storage, Outgoing(key, "Película.mp4", media, show), direct=direct)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as made:
        yield made


async def test_the_whole_file_comes_with_its_name_and_size(client: httpx.AsyncClient) -> None:
    told = await client.get("/film")
    assert (told.status_code, told.content, told.headers["content-length"]) == (200, DATA, "100")
    assert told.headers["content-disposition"] == "attachment; filename=\"Pel_cula.mp4\"; filename*=UTF-8''Pel%C3%ADcula.mp4"
    assert told.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("0-9", 0, 10), ("90-", 90, 100), ("-10", 90, 100), ("50-500", 50, 100), ("99-99", 99, 100)]
)
async def test_a_player_gets_the_range_it_asks_for(client: httpx.AsyncClient, asked: str, start: int, end: int) -> None:
    told = await client.get("/film", headers={"range": f"bytes={asked}"})
    assert (told.status_code, told.content) == (206, DATA[start:end])
    assert told.headers["content-range"] == f"bytes {start}-{end - 1}/100"


@pytest.mark.parametrize("asked", ["100-", "200-300"])
async def test_a_range_outside_the_file_is_told_with_its_size(client: httpx.AsyncClient, asked: str) -> None:
    told = await client.get("/film", headers={"range": f"bytes={asked}"})
    assert (told.status_code, told.headers["content-range"]) == (416, "bytes */100")
    assert (told.json()["error"]["code"], told.json()["error"]["param"]) == ("bad_range", "Range")


@pytest.mark.parametrize("asked", ["bytes", "bytes=", "bytes=a-b", "bytes=20-10", "bytes=" + "9" * 5000 + "-"])
async def test_a_range_that_is_none_is_refused_in_the_shape_of_errors_or_passed_over(
    client: httpx.AsyncClient, storage: Shelf, asked: str
) -> None:
    told = await client.get("/film", headers={"range": asked})
    if storage.local("film"):
        assert (told.status_code, told.json()["error"]["code"]) == (400, "bad_range")
    else:
        assert (told.status_code in (200, 416), "traceback" in told.text) == (True, False)


@pytest.mark.parametrize("asked", ["lines=1-2", "lines=200-", "seconds=0-1"])
async def test_a_range_in_another_unit_is_passed_over(client: httpx.AsyncClient, asked: str) -> None:
    told = await client.get("/film", headers={"range": asked})
    assert (told.status_code, told.content) == (200, DATA)


async def test_several_ranges_come_in_parts(client: httpx.AsyncClient, storage: Shelf) -> None:
    told = await client.get("/film", headers={"range": "bytes=0-1,50-51"})
    whole = (200, "video/mp4")
    there = (told.status_code, told.headers["content-type"].partition(";")[0])
    assert there == ((206, "multipart/byteranges") if storage.local("film") else whole)


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=10-19"}])
async def test_head_tells_what_get_would_and_sends_nothing(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    got, told = await client.get("/film", headers=headers), await client.head("/film", headers=headers)
    assert told.content == b""
    for name in ("content-length", "content-type", "content-disposition", "accept-ranges"):
        assert told.headers[name] == got.headers[name]
    assert told.status_code == got.status_code


@pytest.mark.parametrize(
    ("media", "kind"),
    [("video/mp4", "inline"), ("audio/wav", "inline"), ("text/vtt", "inline"), ("text/html", "attachment"),
     ("image/svg+xml", "attachment"), ("application/xhtml+xml", "attachment"), ("text/plain", "attachment"),
     ("", "attachment")],
)  # fmt: skip
async def test_only_what_can_be_played_is_shown_in_a_page(client: httpx.AsyncClient, media: str, kind: str) -> None:
    told = await client.get("/film", params={"media": media, "show": True})
    assert told.headers["content-disposition"].startswith(kind)
    assert told.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in told.headers["content-security-policy"]


async def test_what_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get("/other")).status_code == 404
    assert (await client.get("/other", params={"direct": True})).status_code == 404
    assert (await client.head("/other")).status_code == 404


async def test_a_bucket_sends_its_files_itself_where_it_may(client: httpx.AsyncClient, storage: Shelf) -> None:
    told = await client.get("/film", params={"direct": True})
    if storage.local("film"):
        assert told.status_code == 200
        return
    assert (told.status_code, told.headers["cache-control"]) == (307, "no-store")
    with httpx.Client() as outside:
        came = outside.get(told.headers["location"], headers={"range": "bytes=5-6"})
    assert (came.status_code, came.content) == (206, DATA[5:7])
    assert came.headers["content-disposition"].startswith("attachment")
