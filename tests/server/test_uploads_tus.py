"""Resumable uploads: what is announced as safe is safe, and a file is itself again whatever died meanwhile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from house import House, open_house, until
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.errors import StoreError
from polydub.server.look import Found
from polydub.server.partial import Partial, Taken
from polydub.server.problems import Problem
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Patience, Uploads, Wanted, key_of

pytestmark = pytest.mark.anyio
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


async def takes_anything(file: Path, name: str) -> Found:
    return Found("video/mp4", 3.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, storage=LocalStorage(tmp_path / "files"), max_upload_gb=1, quota_gb=2) as opened:
        opened.app.state.uploads = Uploads(opened.services, takes_anything)
        yield opened


def named(name: str) -> dict[str, str]:
    return {"Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}"}


async def begun(client: httpx.AsyncClient, length: int, name: str = "talk.mp4") -> str:
    answer = await client.post("/api/uploads", headers={**TUS, "Upload-Length": str(length), **named(name)})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def patch(at: int) -> dict[str, str]:
    return {**BYTES, "Upload-Offset": str(at)}


def stored(house: House, location: str) -> bytes:
    path = house.services.storage.local(key_of(location.rpartition("/")[2]))
    assert path is not None
    return path.read_bytes()


async def test_a_file_that_comes_in_pieces_is_itself_again(house: House) -> None:
    data = random.Random(1).randbytes(3_000_000)
    async with await house.as_("editor") as client:
        where = await begun(client, len(data), "Entrevista ñ.mp4")
        for at in range(0, len(data), 1_000_000):
            answer = await client.patch(where, headers=patch(at), content=data[at : at + 1_000_000])
            assert answer.status_code == 204
            assert answer.headers["upload-offset"] == str(at + 1_000_000)
        told = (await client.get(where)).json()
    assert stored(house, where) == data
    assert told["name"] == "Entrevista ñ.mp4"
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert (told["complete"], told["media"]) == (True, "video/mp4")
    assert list((house.services.folder / "incoming").iterdir()) == []


async def test_options_tell_version_extensions_and_the_largest_size(house: House) -> None:
    answer = await house.client().options("/api/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation", "creation-with-upload", "expiration", "checksum", "termination",
    }  # fmt: skip
    assert answer.headers["tus-max-size"] == str(10**9)


async def test_head_tells_the_offset_length_and_metadata_and_is_never_cached(house: House) -> None:
    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        await client.patch(where, headers=patch(0), content=b"1234")
        answer = await client.head(where, headers=TUS)
    assert answer.status_code == 200
    assert (answer.headers["upload-offset"], answer.headers["upload-length"]) == ("4", "10")
    assert answer.headers["upload-metadata"] == named("talk.mp4")["Upload-Metadata"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["tus-resumable"] == "1.0.0"


async def test_the_first_bytes_may_come_with_the_announcement(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/uploads", headers={**BYTES, "Upload-Length": "6"}, content=b"123")
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, "3")
        await client.patch(answer.headers["location"], headers=patch(3), content=b"456")
    assert stored(house, answer.headers["location"]) == b"123456"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 412, "tus_version"),
        ({"Tus-Resumable": "0.2.2", "Upload-Length": "5"}, 412, "tus_version"),
        (TUS, 400, "bad_header"),
        ({**TUS, "Upload-Length": "-1"}, 400, "bad_header"),
        ({**TUS, "Upload-Length": "1e3"}, 400, "bad_header"),
        ({**TUS, "Upload-Length": "9" * 30}, 400, "bad_header"),
        ({**TUS, "Upload-Length": str(10**9 + 1)}, 413, "upload_too_large"),
        ({**TUS, "Upload-Length": "0"}, 422, "unreadable_media"),
        ({**TUS, "Upload-Length": "5", "Upload-Metadata": "filename ???"}, 400, "bad_header"),
        ({**TUS, "Upload-Length": "5", "Upload-Metadata": "filename /w=="}, 400, "bad_header"),
        ({**TUS, "Upload-Length": "5", "Upload-Metadata": "a YQ==," * 1000}, 400, "bad_header"),
    ],
)
async def test_an_announcement_that_makes_no_sense_is_refused(
    house: House, headers: dict[str, str], status: int, code: str
) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/uploads", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert (await client.get("/api/uploads")).json() == []


async def test_bytes_for_another_place_are_refused_and_the_right_one_is_told(house: House) -> None:
    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        await client.patch(where, headers=patch(0), content=b"1234")
        for at in (0, 3, 5, 11):
            answer = await client.patch(where, headers=patch(at), content=b"x")
            assert answer.status_code in (409, 413), at
        assert (await client.head(where, headers=TUS)).headers["upload-offset"] == "4"


async def test_more_bytes_than_announced_are_refused(house: House) -> None:
    async def many() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"123"

    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        assert (await client.patch(where, headers=patch(0), content=b"12345678901")).status_code == 413
        assert (await client.patch(where, headers=patch(0), content=many())).status_code == 413
        offset = int((await client.head(where, headers=TUS)).headers["upload-offset"])
        assert offset <= 10


async def test_bytes_of_another_type_are_refused(house: House) -> None:
    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        answer = await client.patch(where, headers={**TUS, "Upload-Offset": "0", "Content-Type": "text/plain"}, content=b"1")
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_bytes_with_a_wrong_checksum_are_dropped_and_with_the_right_one_kept(house: House, algorithm: str) -> None:
    def sum_of(data: bytes) -> dict[str, str]:
        return {"Upload-Checksum": f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"}

    async with await house.as_("editor") as client:
        where = await begun(client, 8)
        answer = await client.patch(where, headers={**patch(0), **sum_of(b"1234")}, content=b"12X4")
        assert (answer.status_code, answer.json()["error"]["code"]) == (460, "checksum_mismatch")
        assert (await client.head(where, headers=TUS)).headers["upload-offset"] == "0"
        for at, data in ((0, b"1234"), (4, b"5678")):
            assert (await client.patch(where, headers={**patch(at), **sum_of(data)}, content=data)).status_code == 204
        assert (await client.get(where)).json()["sha256"] == hashlib.sha256(b"12345678").hexdigest()
    assert stored(house, where) == b"12345678"


@pytest.mark.parametrize("text", ["md5 YQ==", "sha1 YQ==", "sha1", "crc32 ====", "sha256 ü"])
async def test_a_checksum_that_cannot_be_checked_is_refused(house: House, text: str) -> None:
    async with await house.as_("editor") as client:
        where = await begun(client, 8)
        headers = {**patch(0), "Upload-Checksum": text.encode("latin-1")}
        assert (await client.patch(where, headers=headers, content=b"1234")).status_code == 400


async def test_two_at_once_do_not_mix(house: House) -> None:
    going = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"a" * 5
        going.set()
        await asyncio.sleep(0.3)
        yield b"a" * 5

    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        first = asyncio.ensure_future(client.patch(where, headers=patch(0), content=slowly()))
        await going.wait()
        second = await client.patch(where, headers=patch(0), content=b"b" * 10)
        assert second.status_code in (409, 423)
        assert second.headers["tus-resumable"] == "1.0.0"
        assert (await first).status_code == 204
    assert stored(house, where) == b"a" * 10


async def test_a_sender_who_fell_silent_makes_way_and_what_it_sent_counts(
    house: House,
) -> None:
    house.app.state.uploads = Uploads(house.services, takes_anything, Patience(stale_s=0.2))
    going = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield b"a" * 5
        going.set()
        await asyncio.sleep(60)
        yield b"a" * 5

    service: Uploads = house.app.state.uploads
    upload = await service.create((await house.person("editor")).id, Wanted("talk.mp4", 10))
    first = asyncio.ensure_future(service.receive(upload.id, 0, silent()))
    await going.wait()
    await asyncio.sleep(0.3)
    async with await house.as_("editor") as client:
        where = f"/api/uploads/{upload.id}"

        async def taken() -> bool:  # refused while the first has not told what it made safe
            answer = await client.patch(where, headers=patch(5), content=b"b" * 5)
            assert answer.status_code in (204, 409, 423)
            return answer.status_code == 204

        await until(taken, "the silent one makes way")
    with pytest.raises(Problem, match="another request"):
        await first
    assert stored(house, where) == b"aaaaabbbbb"


async def test_a_sender_who_says_nothing_is_cut_off_and_what_came_is_kept(house: House) -> None:
    house.app.state.uploads = Uploads(house.services, takes_anything, Patience(idle_s=0.5))

    async def silent() -> AsyncIterator[bytes]:
        yield b"a" * 5
        await asyncio.sleep(60)

    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        answer = await client.patch(where, headers=patch(0), content=silent())
        assert answer.status_code == 408
        assert (await client.head(where, headers=TUS)).headers["upload-offset"] == "5"


async def test_a_deleted_upload_is_gone_with_its_bytes(house: House) -> None:
    async with await house.as_("editor") as client:
        half, whole = await begun(client, 10), await begun(client, 4)
        await client.patch(half, headers=patch(0), content=b"1234")
        await client.patch(whole, headers=patch(0), content=b"1234")
        for where in (half, whole):
            assert (await client.delete(where, headers=TUS)).status_code == 204
            assert (await client.head(where, headers=TUS)).status_code == 404
    assert await house.services.storage.keys("") == []
    assert list((house.services.folder / "incoming").iterdir()) == []


async def test_uploads_of_others_do_not_exist(house: House) -> None:
    async with await house.as_("editor", "ann") as ann, await house.as_("editor", "bo") as bo:
        where = await begun(ann, 10)
        assert (await bo.head(where, headers=TUS)).status_code == 404
        assert (await bo.get(where)).status_code == 404
        assert (await bo.patch(where, headers=patch(0), content=b"x")).status_code == 404
        assert (await bo.delete(where, headers=TUS)).status_code == 404
        assert (await bo.get("/api/uploads")).json() == []
        assert (await ann.head(where, headers=TUS)).headers["upload-offset"] == "0"


async def test_viewers_and_strangers_may_not_send(house: House) -> None:
    async with await house.as_("viewer") as viewer:
        assert (await viewer.post("/api/uploads", headers={**TUS, "Upload-Length": "5"})).status_code == 403
    assert (await house.client().post("/api/uploads", headers={**TUS, "Upload-Length": "5"})).status_code == 401


async def test_an_account_has_a_quota_and_unfinished_uploads_count_in_full(house: House) -> None:
    async with await house.as_("editor", "ann") as ann, await house.as_("editor", "bo") as bo:
        await begun(ann, 900_000_000)
        await begun(ann, 900_000_000)
        answer = await ann.post("/api/uploads", headers={**TUS, "Upload-Length": "300000000"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "quota_exceeded")
        await begun(bo, 300_000_000)


async def test_an_account_cannot_begin_uploads_without_end(house: House) -> None:
    house.app.state.uploads = Uploads(house.services, takes_anything, Patience(most_open=3))
    async with await house.as_("editor") as client:
        for _ in range(3):
            await begun(client, 5)
        answer = await client.post("/api/uploads", headers={**TUS, "Upload-Length": "5"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_uploads")


async def test_an_upload_that_was_not_finished_in_time_is_over(house: House) -> None:
    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        assert "GMT" in (await client.head(where, headers=TUS)).headers["upload-expires"]
        house.clock.pass_by(days=8)
        answer = await client.patch(where, headers=patch(0), content=b"1234")
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "upload_expired")


async def test_an_upload_cut_off_before_it_had_its_place_is_finished_at_the_next_look(house: House, tmp_path: Path) -> None:
    async def stops(file: Path, name: str) -> Found:
        raise StoreError("the power is off")

    house.app.state.uploads = Uploads(house.services, stops)
    async with await house.as_("editor") as client:
        where = await begun(client, 4)
        assert (await client.patch(where, headers=patch(0), content=b"1234")).status_code == 500
        house.app.state.uploads = Uploads(house.services, takes_anything)
        assert (await client.head(where, headers=TUS)).headers["upload-offset"] == "4"
        assert (await client.get(where)).json()["complete"]
    assert stored(house, where) == b"1234"


async def test_bytes_that_this_machine_has_lost_are_never_made_up(house: House) -> None:
    async with await house.as_("editor") as client:
        where = await begun(client, 10)
        await client.patch(where, headers=patch(0), content=b"1234")
        (house.services.folder / "incoming" / where.rpartition("/")[2]).write_bytes(b"12")
        answer = await client.patch(where, headers=patch(4), content=b"567890")
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "upload_lost")


async def test_a_full_disk_keeps_what_came_and_the_upload_goes_on_when_there_is_room(house: House) -> None:
    data = random.Random(2).randbytes(5_000_000)
    async with await house.as_("editor") as client:
        where = await begun(client, len(data))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))  # no file may grow beyond
        try:
            answer = await client.patch(where, headers=patch(0), content=sent(data, 0, None, lambda: None))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_full")
        at = int((await client.head(where, headers=TUS)).headers["upload-offset"])
        assert 1_000_000 < at <= 2_000_000
        assert (await client.patch(where, headers=patch(at), content=data[at:])).status_code == 204
    assert stored(house, where) == data


async def test_a_client_that_goes_away_leaves_what_it_sent(house: House) -> None:
    from starlette.requests import ClientDisconnect

    async def leaves() -> AsyncIterator[bytes]:
        yield b"1234"
        raise ClientDisconnect

    service: Uploads = house.app.state.uploads
    upload = await service.create((await house.person("editor")).id, Wanted("talk.mp4", 10))
    with pytest.raises(ClientDisconnect):
        await service.receive(upload.id, 0, leaves())
    assert (await service.get(upload.id)).offset == 4


def test_a_file_that_is_being_written_is_nobody_elses(tmp_path: Path) -> None:
    first = Partial(tmp_path / "x", 0)
    with pytest.raises(Taken):
        Partial(tmp_path / "x", 0)
    first.close()
    Partial(tmp_path / "x", 0).close()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=50), st.booleans(), st.binary(max_size=20)), max_size=8))
def test_whatever_was_not_safe_is_cut_off_and_written_anew(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[bytes, bool, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("partial") / "x"
    wanted, safe = b"", 0
    for data, survives, torn in turns:
        partial = Partial(path, safe)
        hashed = partial.digest()
        partial.write(data, hashed)
        if survives:
            safe = partial.sync()
            wanted += data
            assert hashed.digest() == hashlib.sha256(wanted).digest()
        partial.close()
        with path.open("ab") as stream:  # what a dying process may leave behind
            stream.write(torn)
    Partial(path, safe).close()
    assert path.read_bytes() == wanted


@settings(max_examples=10)
@given(
    st.binary(min_size=1, max_size=100), st.lists(st.tuples(st.none() | st.integers(0, 103), st.integers(0, 60)), max_size=12)
)
def test_any_walk_of_right_and_wrong_offsets_ends_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, walk: list[tuple[int | None, int]]
) -> None:
    async def go() -> None:
        folder = tmp_path_factory.mktemp("walk")
        async with open_house(folder, storage=LocalStorage(folder / "files")) as house:
            service = Uploads(house.services, takes_anything)
            upload = await service.create("somebody", Wanted("talk.mp4", len(data)))
            for there, size in [*walk, (None, len(data))]:
                at = upload.offset if there is None else there
                part = data[at : at + size]

                async def pieces(part: bytes = part) -> AsyncIterator[bytes]:
                    for i in range(0, len(part), 7):
                        yield part[i : i + 7]

                try:
                    after = await service.receive(upload.id, at, pieces())
                except Problem as error:
                    assert (error.http_status, at != upload.offset) == (409, True)
                else:
                    assert (at, after.offset) == (upload.offset, at + len(part))
                upload = await service.get(upload.id)
            assert upload.complete
            assert Path(folder / "files" / key_of(upload.id)).read_bytes() == data

    anyio.run(go)


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Killed:
    """A real server that can be killed and started again over the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = Path(__file__).with_name("upload_server.py")
        command = [sys.executable, str(program), str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        for _ in range(1200):
            with closing(socket.socket()) as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
            if self.process.stdin:
                self.process.stdin.close()
            self.process = None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_an_upload_survives_kill_9_at_any_byte(tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    data = luck.randbytes(40_000_000)
    async with open_house(tmp_path) as house:
        token = await house.token("editor")
    server = Killed(tmp_path)
    base = f"http://127.0.0.1:{server.port}"
    headers = {"authorization": f"Bearer {token}"}
    offsets = [0]
    try:
        server.start()
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
            where = await begun(client, len(data))
        while True:
            deadly = len(offsets) <= 6
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
                at = int((await client.head(where, headers=TUS)).headers["upload-offset"])
                assert at >= offsets[-1]
                offsets.append(at)
                end = at + luck.randrange(1, len(data) - at) if deadly and at < len(data) else len(data)
                with suppress(httpx.HTTPError):
                    await client.patch(where, headers=patch(at), content=sent(data, at, end if deadly else None, server.kill))
                if not deadly:
                    told = (await client.get(where)).json()
                    break
            server.kill()
            server.start()
    finally:
        server.kill()
    assert told["complete"]
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "files" / key_of(where.rpartition("/")[2])).read_bytes() == data


async def sent(data: bytes, at: int, end: int | None, kill: Callable[[], None]) -> AsyncIterator[bytes]:
    """Bytes from `at` on; at `end` the server is killed, None = it lives."""
    while at < len(data):
        if end is not None and at >= end:
            kill()
        step = min(65_536, (end if end is not None and end > at else len(data)) - at)
        yield data[at : at + step]
        at += step
        await asyncio.sleep(0)
