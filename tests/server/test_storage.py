"""Stored files: whole or not there, under their key and nowhere else, in a folder and in a bucket alike."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from bucket_stand_in import ACCESS, NAME, REGION, SECRET, Bucket, a_bucket
from pydantic import SecretStr

from polydub.config import Secrets
from polydub.config.server import ServerSettings
from polydub.errors import BadInput, BadSettings, MissingSecret, StoreError
from polydub.server import buckets
from polydub.server.names import disposition, shown
from polydub.server.shelf import Shelf, checked, of_job
from polydub.server.storage import LocalStorage, open_storage

pytestmark = pytest.mark.anyio
KEYS = Secrets({"s3_access_key_id": SecretStr(ACCESS), "s3_secret_access_key": SecretStr(SECRET)})


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with a_bucket() as made:
        yield made


def over(bucket: Bucket, folder: Path, prefix: str = "/studio/one") -> Shelf:
    settings = ServerSettings(storage=f"s3://{NAME}{prefix}", s3_endpoint=bucket.endpoint, s3_region=REGION)
    return open_storage(settings, KEYS, folder)


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Shelf:
    return open_storage(ServerSettings(), Secrets(), tmp_path) if request.param == "folder" else over(bucket, tmp_path)


def file(folder: Path, data: bytes = b"0123456789") -> Path:
    path = folder / "source"
    path.write_bytes(data)
    return path


async def all_of(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_what_is_put_is_there(storage: Shelf, tmp_path: Path) -> None:
    await storage.put_file("jobs/a1/dub.es.mkv", file(tmp_path))
    await storage.fetch("jobs/a1/dub.es.mkv", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"0123456789"
    assert await storage.size("jobs/a1/dub.es.mkv") == 10
    assert await storage.keys("jobs/") == ["jobs/a1/dub.es.mkv"]


@pytest.mark.parametrize(("start", "end", "wanted"), [(0, 10, b"0123456789"), (3, 5, b"34"), (8, 99, b"89"), (4, 4, b"")])
async def test_parts_are_read_by_their_place(storage: Shelf, tmp_path: Path, start: int, end: int, wanted: bytes) -> None:
    await storage.put_file("a", file(tmp_path))
    assert await all_of(storage.read("a", start, end)) == wanted


async def test_what_is_not_there_says_so(storage: Shelf, tmp_path: Path) -> None:
    assert await storage.size("a/b") is None
    assert storage.local("a/b") is None
    assert await storage.keys("a") == []
    await storage.delete("a/b")
    with pytest.raises(BadInput, match="gone"):
        await storage.fetch("a/b", tmp_path / "x")
    with pytest.raises(BadInput, match="gone"):
        await all_of(storage.read("a/b", 0, 5))
    assert list(tmp_path.glob(".*")) == []


async def test_what_is_deleted_is_gone_and_its_neighbours_stay(storage: Shelf, tmp_path: Path) -> None:
    for key in ("uploads/1", "uploads/2", "uploads2"):
        await storage.put_file(key, file(tmp_path))
    await storage.delete("uploads/1")
    assert await storage.keys("uploads/") == ["uploads/2"]
    await storage.delete("uploads/2")
    assert await storage.keys("") == ["uploads2"]


async def test_a_second_put_takes_the_place_of_the_first(storage: Shelf, tmp_path: Path) -> None:
    await storage.put_file("a", file(tmp_path))
    (tmp_path / "other").write_bytes(b"new")
    await storage.put_file("a", tmp_path / "other")
    assert await all_of(storage.read("a", 0, 99)) == b"new"


async def test_the_list_tells_size_and_age_of_many(storage: Shelf, tmp_path: Path) -> None:
    keys = [f"speech/{n:02}" for n in range(7)]
    for key in keys:
        await storage.put_file(key, file(tmp_path))
    found = await storage.stored("speech/0")
    assert [(each.key, each.size) for each in found] == [(key, 10) for key in keys]
    assert all(each.modified < datetime.now(UTC) + timedelta(minutes=1) for each in found)


BAD = ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "a//b", "./a", "a/", "a\\..\\b", "a\0b", "a\nb", ".hidden",
       "a/.part", "a%2e%2e", "ä", "a b", "x" * 300, "a/" * 500 + "b"]  # fmt: skip


@pytest.mark.parametrize("key", BAD)
async def test_a_key_that_could_leave_its_place_is_refused(storage: Shelf, tmp_path: Path, key: str) -> None:
    with pytest.raises(BadInput):
        checked(key)
    with pytest.raises(BadInput):
        await storage.put_file(key, file(tmp_path))
    with pytest.raises(BadInput):
        await all_of(storage.read(key, 0, 1))
    with pytest.raises(BadInput):
        await storage.delete(key)
    with pytest.raises(BadInput):
        storage.local(key) if storage.local.__self__.__class__ is LocalStorage else checked(key)  # type: ignore[attr-defined]


async def test_a_folder_keeps_one_copy_where_it_can_and_no_drafts(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "files")
    await storage.put_file("uploads/1", file(tmp_path))
    place = storage.local("uploads/1")
    assert place is not None
    assert place.stat().st_ino == (tmp_path / "source").stat().st_ino
    assert [path.name for path in (tmp_path / "files").rglob("*") if path.is_file()] == ["1"]


async def test_drafts_of_a_killed_server_are_no_files(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "files")
    await storage.put_file("uploads/1", file(tmp_path))
    (tmp_path / "files" / "uploads" / ".0a1b").write_bytes(b"half")
    assert await storage.keys("") == ["uploads/1"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "files")
    (tmp_path / "files").chmod(0o500)
    with pytest.raises(StoreError, match="permission"):
        await storage.put_file("a", file(tmp_path))


# buckets


async def test_a_large_file_goes_in_parts_and_comes_back_the_same(bucket: Bucket, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(2 * buckets.PART + 12345)
    storage = over(bucket, tmp_path)
    await storage.put_file("uploads/1", file(tmp_path, data))
    assert sum(each.startswith("PUT partNumber") for each in bucket.requests) == 3
    assert bucket.objects["studio/one/uploads/1"] == data
    await storage.fetch("uploads/1", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert await all_of(storage.read("uploads/1", buckets.PART - 2, buckets.PART + 2)) == data[buckets.PART - 2 :][:4]


async def test_a_prefix_keeps_two_servers_in_one_bucket_apart(bucket: Bucket, tmp_path: Path) -> None:
    one, two = over(bucket, tmp_path, "/one"), over(bucket, tmp_path, "")
    await one.put_file("a", file(tmp_path))
    assert await one.keys("") == ["a"]
    assert await two.keys("") == ["one/a"]


async def presigned(storage: Shelf, key: str, method: str = "GET", seconds: int = 60, name: str = "") -> str:
    url = await storage.presigned(key, method=method, seconds=seconds, name=name)  # type: ignore[arg-type]
    assert url is not None
    return url


async def test_a_presigned_address_gives_one_object_under_its_name(bucket: Bucket, tmp_path: Path) -> None:
    storage = over(bucket, tmp_path)
    await storage.put_file("jobs/a+b=c@d/dub.mkv", file(tmp_path))
    answer = httpx.get(await presigned(storage, "jobs/a+b=c@d/dub.mkv", name='Entrevista ñ "x".mkv'))
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Entrevista _ _x_.mkv\"; filename*=UTF-8''Entrevista%20%C3%B1%20%22x%22.mkv"
    )
    part = httpx.get(await presigned(storage, "jobs/a+b=c@d/dub.mkv"), headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")


async def test_a_presigned_address_that_was_tampered_with_opens_nothing(bucket: Bucket, tmp_path: Path) -> None:
    storage = over(bucket, tmp_path)
    await storage.put_file("a", file(tmp_path))
    await storage.put_file("b", file(tmp_path))
    url = await presigned(storage, "a", name="film.mkv")
    last = url[-1]
    tampered = [
        url[:-1] + ("0" if last != "0" else "1"),
        url.replace("/a?", "/b?"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        url.replace("film.mkv", "film.htm"),
        url.replace("attachment", "inline"),
        url.partition("?")[0],
        f"{url}&versionId=1",
    ]
    assert httpx.get(url).status_code == 200
    assert {httpx.get(each).status_code for each in tampered} == {403}
    assert httpx.put(url, content=b"mine").status_code == 403
    assert httpx.delete(url).status_code == 403


async def test_a_presigned_address_holds_for_its_time_only(tmp_path: Path, bucket: Bucket) -> None:
    storage = over(bucket, tmp_path)
    await storage.put_file("a", file(tmp_path))
    assert isinstance(storage, buckets.BucketStorage)
    now = datetime.now(UTC)
    for age, status in ((0, 200), (40, 200), (61, 403)):
        then = now - timedelta(seconds=age)
        url = storage.bucket.presign("a", "GET", timedelta(seconds=60), buckets.Signed(), then)
        assert httpx.get(url).status_code == status, age


async def test_a_presigned_upload_takes_the_announced_bytes_for_its_object_alone(bucket: Bucket, tmp_path: Path) -> None:
    storage = over(bucket, tmp_path)
    assert isinstance(storage, buckets.BucketStorage)
    url = await storage.presigned("uploads/1", method="PUT", seconds=60, length=4)
    assert url is not None
    assert httpx.put(url, content=b"12345").status_code == 403
    assert httpx.get(url).status_code == 403
    assert bucket.objects == {}
    assert httpx.put(url, content=b"1234").status_code == 200
    assert bucket.objects == {"studio/one/uploads/1": b"1234"}


async def test_wrong_keys_and_a_bucket_that_does_not_answer_are_told_without_them(bucket: Bucket, tmp_path: Path) -> None:
    wrong = Secrets({"s3_access_key_id": SecretStr(ACCESS), "s3_secret_access_key": SecretStr("wrong-secret")})
    settings = ServerSettings(storage=f"s3://{NAME}", s3_endpoint=bucket.endpoint, s3_region=REGION)
    for call in (
        lambda s: s.put_file("a", file(tmp_path)),
        lambda s: s.fetch("a", tmp_path / "x"),
        lambda s: s.size("a"),
        lambda s: s.keys(""),
        lambda s: s.delete("a"),
    ):
        with pytest.raises(StoreError) as told:
            await call(open_storage(settings, wrong, tmp_path))
        assert "wrong-secret" not in str(told.value)
        assert "127.0.0.1" not in told.value.message
    assert bucket.objects == {}


def test_the_key_never_shows() -> None:
    made = open_storage(ServerSettings(storage=f"s3://{NAME}"), KEYS, Path("/nowhere"))
    assert isinstance(made, buckets.BucketStorage)
    assert SECRET not in repr(made.bucket)
    assert made.bucket.endpoint == "https://s3.us-east-1.amazonaws.com"


@pytest.mark.parametrize("address", ["s3://", "gs://films", "Films/x", "s3://films/../x", "s3://me@films", "s3://films?x=1"])
def test_an_address_of_no_bucket_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises((BadSettings, BadInput)):
        open_storage(ServerSettings(storage=address), KEYS, tmp_path)


def test_a_bucket_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match="keys of the bucket"):
        open_storage(ServerSettings(storage="s3://films"), Secrets(), tmp_path)


# names


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Film.mkv", "Film.mkv"),
        ("Entrevista ñ 你好.mp4", "Entrevista ñ 你好.mp4"),
        ("a\r\nSet-Cookie: x.mp4", "aSet-Cookie: x.mp4"),
        ("invoice\u202e4pm.exe", "invoice4pm.exe"),
        ("..", "file"),
        ("", "file"),
        ("x" * 500 + ".mp4", "x" * 196 + ".mp4"),
    ],
)
def test_a_persons_name_for_a_file_is_kept_as_a_name(sent: str, kept: str) -> None:
    assert shown(sent) == kept


def test_a_name_in_a_header_stays_in_it() -> None:
    assert disposition("talk.mp4") == 'attachment; filename="talk.mp4"'
    assert disposition('a";\r\nX: y', "inline") == "inline; filename=\"a____X: y\"; filename*=UTF-8''a%22%3B%0D%0AX%3A%20y"


def test_files_of_a_job_have_keys_whatever_their_names() -> None:
    names = (
        "dub.es.mkv",
        "subs/My talk.es.srt",
        "subs/My_talk.es.srt",
        "subs/caf\u00e9.es.srt",
        "\u4e2d\u6587.srt",
        ".x y",
        "a%b",
        "a" * 300,
    )
    keys = [of_job("j1", name) for name in names]
    assert keys[0] == "jobs/j1/dub.es.mkv" and keys[2] == "jobs/j1/subs/My_talk.es.srt"
    assert [checked(key) for key in keys] == keys
    assert len(set(keys)) == len(names)
    assert keys[1].endswith(".srt")
