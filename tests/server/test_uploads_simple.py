"""Uploads in one request, what is taken and what is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from bucket_stand_in import ACCESS, NAME, REGION, SECRET, a_bucket
from house import House, open_house
from pydantic import SecretStr

from polydub.config import Secrets
from polydub.config.server import ServerSettings
from polydub.errors import UnreadableMedia
from polydub.server.look import Found, inspect
from polydub.server.storage import LocalStorage, open_storage
from polydub.server.uploads import Uploads, key_of

pytestmark = pytest.mark.anyio


FORM = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


async def takes_anything(file: Path, name: str) -> Found:
    return Found("video/mp4")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files"), max_upload_gb=1) as opened:
        opened.app.state.uploads = Uploads(opened.services, takes_anything)
        yield opened


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()


async def left_over(house: House, client: httpx.AsyncClient) -> list[object]:
    incoming = house.services.folder / "incoming"
    listed = (await client.get("/api/uploads")).json()
    return [*listed, *await house.services.storage.keys(""), *(incoming.iterdir() if incoming.exists() else [])]


async def test_a_form_brings_a_file(house: House) -> None:
    sent = bytes(range(256)) * 5000
    async with await house.as_("editor") as client:
        answer = await client.post("/api/upload", data={"note": "x"}, files={"file": ("Película.mp4", sent)})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["name"], told["bytes"], told["complete"]) == ("Película.mp4", len(sent), True)
    path = house.services.storage.local(key_of(told["id"]))
    assert path is not None
    assert path.read_bytes() == sent


async def test_a_body_alone_is_a_file_too(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/upload?name=../../talk.mp4", content=b"1234", headers={"content-type": "video/mp4"})
    assert (answer.status_code, answer.json()["name"]) == (201, "talk.mp4")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/octet-stream", 422),
        (b"x", "application/json", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=" + "b" * 500, 400),
        (b"nonsense", FORM, 400),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nx\r\n--b--\r\n', FORM, 400),
        (FILE + b"half", FORM, 400),
        (FILE + b"\r\n--b--", FORM, 422),
        (b"--b\r\n" + b"A: b\r\n" * 10_000, FORM, 400),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"y" * 200_000, FORM, 400),
    ],
)  # fmt: skip
async def test_a_request_without_a_file_is_refused_and_leaves_nothing(
    house: House, content: bytes, kind: str, status: int
) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/upload", content=content, headers={"content-type": kind})
        assert answer.status_code == status, answer.text
        assert await left_over(house, client) == []


async def test_a_sender_who_goes_away_leaves_nothing(house: House) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * 500_000
        raise ConnectionError

    async with await house.as_("editor") as client:
        with pytest.raises(ConnectionError):
            await house.app.state.uploads.take((await house.person("editor")).id, "talk.mp4", breaks())
        assert await left_over(house, client) == []


async def test_what_is_no_media_is_refused_and_leaves_nothing(house: House) -> None:
    house.app.state.uploads = Uploads(house.services)
    async with await house.as_("editor") as client:
        answer = await client.post("/api/upload?name=talk.mp4", content=b"#EXTM3U\nfile:///etc/passwd\n")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unreadable_media")
        assert await left_over(house, client) == []


async def test_a_real_film_is_known_for_what_it_is(house: House, clip: Callable[..., Path]) -> None:
    house.app.state.uploads = Uploads(house.services)
    film = clip("talk", seconds=1, suffix=".mp4")
    async with await house.as_("editor") as client:
        told = (await client.post("/api/upload", files={"file": ("wrong.txt.mp4", film.read_bytes())})).json()
    assert told["media"] == "video/mp4"
    assert (await house.app.state.uploads.row(told["id"])).seconds == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("talk.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("talk.mp4", b"ffconcat version 1.0\nfile victim.mp4\n"),
        ("talk.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\n"),
        ("talk.mp4", b"<?xml version='1.0'?><MPD></MPD>"),
        ("talk.mp4", b"MZ" + bytes(500)),
        ("talk.mp4", b"%PDF-1.7\n"),
        ("talk.mp4", bytes(4096)),
        ("talk.srt", b"1\n\0"),
        ("talk.svg", b"<svg onload='alert(1)'/>"),
        ("page.html", b"<script>alert(1)</script>"),
        ("noname", b"just words"),
    ],
)
async def test_lists_scripts_and_programs_are_not_taken_for_media(tmp_path: Path, name: str, text: bytes) -> None:
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(UnreadableMedia):
        await inspect(tmp_path / "x", name)


async def test_subtitles_are_taken(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n")
    assert (await inspect(tmp_path / "x", "talk.SRT")).media == "application/x-subrip"


async def test_a_name_is_never_an_option_of_the_program_that_looks(tmp_path: Path, clip: Callable[..., Path]) -> None:
    film = clip("talk", seconds=1, suffix=".mkv")
    assert (await inspect(film, "-h.mkv")).media.startswith("video/")


def test_looking_at_a_file_loads_no_web_server() -> None:
    program = "import sys, polydub.server.look; print('fastapi' in sys.modules or 'sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


async def test_a_file_may_go_straight_to_the_bucket(tmp_path: Path) -> None:
    with a_bucket() as bucket:
        keys = Secrets({"s3_access_key_id": SecretStr(ACCESS), "s3_secret_access_key": SecretStr(SECRET)})
        there = ServerSettings(storage=f"s3://{NAME}", s3_endpoint=bucket.endpoint, s3_region=REGION)
        storage = open_storage(there, keys, tmp_path)
        async with open_house(tmp_path / "data", storage=storage) as house, await house.as_("editor") as client:
            house.app.state.uploads = Uploads(house.services, takes_anything)
            told = (await client.post("/api/uploads/direct", json={"name": "talk.mp4", "length": 4})).json()
            done = f"/api/uploads/{told['id']}/arrived"
            assert (await client.post(done)).json()["error"]["code"] == "upload_incomplete"
            async with httpx.AsyncClient() as outside:
                assert (await outside.put(told["url"], content=b"12345")).status_code == 403
                assert (await outside.put(told["url"], content=b"1234")).status_code == 200
                first = (await client.post(done)).json()
                assert (first["complete"], first["bytes"]) == (True, 4)
                await outside.put(told["url"], content=b"evil")
            assert (await client.post(done)).json() == first
            assert bucket.objects[f"uploads/{told['id']}"] == b"1234"


async def test_without_a_bucket_nothing_goes_straight_to_it(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/uploads/direct", json={"name": "talk.mp4", "length": 4})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_direct_uploads")
        assert await left_over(house, client) == []
