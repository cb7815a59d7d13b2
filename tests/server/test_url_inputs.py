"""Films that a job fetches from an address: what is refused at once, what fails in one sentence, what is kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from film_web import FilmWeb, Page, film_web, resolver
from house import Away, House, open_house
from job_world import HandJobs
from processes import Processes, ended, fixture, sent, until

from polydub.config.server import ServerSettings
from polydub.errors import PolydubError, StoreError
from polydub.server import requests
from polydub.server.contracts import JobRow, Records
from polydub.server.db import open_records
from polydub.server.db.records import now_utc
from polydub.server.fetching import Fetcher
from polydub.server.jobs import Kept
from polydub.server.storage import LocalStorage
from polydub.server.upload_rows import KIND, row_of
from polydub.server.urls import Limits, World
from small_dubs import TALK, srt

pytestmark = pytest.mark.anyio
ADDRESS = "https://films.example.org/a/talk%20one.mp4?token=x"
PRIVATE = [
    "http://127.0.0.1/x", "http://[::1]/x", "http://0x7f.1/x", "http://2130706433/x", "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/x", "http://192.168.1.1/x", "http://[::ffff:10.0.0.1]/x", "http://[fd00::1]/x", "http://168.63.129.16/x",
]  # fmt: skip
ODD = [
    "file:///etc/passwd", "ftp://films.example.org/x", "gopher://x/", "s3://bucket/x", "data:video/mp4;base64,AA",
    "/etc/passwd",
    "http://me:word@films.example.org/x", "http://films.example.org:22/x", "http://", "http://a b/", "https://" + "x" * 5000,
]  # fmt: skip


@pytest.fixture
def web() -> Iterator[FilmWeb]:
    with film_web() as served:
        yield served


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Whose jobs are not worked on."""
    (tmp_path / "data").mkdir()
    jobs = HandJobs()
    async with open_house(tmp_path / "data", storage=LocalStorage(tmp_path / "files"), jobs=jobs) as opened:
        jobs.records = opened.services.records
        yield opened


async def test_a_job_may_name_an_address_instead_of_an_upload(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/jobs", json={"input": {"url": ADDRESS}, "to": ["es"]})
        assert answer.status_code == 201, answer.text
        job = answer.json()
        assert (job["title"], job["request"]["input"]["name"]) == ("talk one.mp4", "talk one.mp4")
        assert job["request"]["input"]["url"] == ADDRESS
        named = {"input": {"url": ADDRESS, "name": "../../My talk.mp4"}, "to": ["es"]}
        assert (await client.post("/api/jobs", json=named)).json()["title"] == "My talk.mp4"
        assert (await client.get("/api/uploads")).json() == [], "nothing is fetched by the request itself"


async def test_a_form_may_name_an_address_instead_of_a_film(house: House) -> None:
    async with await house.as_("editor") as client:

        async def sent(*parts: tuple[str, str]) -> httpx.Response:
            return await client.post("/api/dub", files=[(name, (None, value)) for name, value in parts])

        answer = await sent(("target_languages", "es"), ("url", ADDRESS))
        assert answer.status_code == 201, answer.text
        assert answer.json()["request"]["input"]["url"] == ADDRESS
        assert (await sent(("url", "file:///etc/passwd"), ("target_languages", "es"))).status_code == 422
        assert (await sent(("url", ADDRESS))).status_code == 422
        assert (await sent(("url", "x" * 5000), ("target_languages", "es"))).status_code == 422
        assert (await sent(("target_languages", "es"))).json()["error"]["code"] == "bad_form"
        both = {"target_languages": "es", "url": ADDRESS}
        twice = await client.post("/api/dub", data=both, files={"file": ("talk.mp4", b"film")})
        assert (twice.status_code, twice.json()["error"]["param"]) == (422, "url")
        assert len((await client.get("/api/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("url", PRIVATE + ODD)
async def test_what_is_no_public_web_address_is_refused_before_anything_is_kept(house: House, url: str) -> None:
    async with await house.as_("editor") as client:
        one = {"input": {"url": url}, "to": ["es"]}
        answer = await client.post("/api/jobs", json=one)
        assert answer.status_code in (400, 422), answer.text
        assert "me:word" not in answer.text, "a password of the address is not told back"
        good = {"input": {"url": ADDRESS}, "to": ["es"]}
        assert (await client.post("/api/jobs/batch", json={"jobs": [good, one]})).status_code in (400, 422)
        assert (await client.get("/api/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("film", [{}, {"url": ADDRESS, "upload": "x"}, {"name": "x"}, {"url": ""}, {"url": None}])
async def test_a_film_is_either_an_upload_or_an_address(house: House, film: dict[str, Any]) -> None:
    async with await house.as_("editor") as client:
        assert (await client.post("/api/jobs", json={"input": film, "to": ["es"]})).status_code == 422


async def test_the_same_key_and_address_again_give_the_same_job(house: House) -> None:
    async with await house.as_("editor") as client:
        wish, key = {"input": {"url": ADDRESS}, "to": ["es"]}, {"Idempotency-Key": "k"}
        first = (await client.post("/api/jobs", json=wish, headers=key)).json()
        assert (await client.post("/api/jobs", json=wish, headers=key)).json() == first


# ------------------------------------------------------------------ the step itself


class Larder:
    """What a fetcher works with, and one job of ana's."""

    def __init__(self, folder: Path, records: Records, settings: ServerSettings) -> None:
        self.storage = LocalStorage(folder / "files")
        self.kept = Kept(settings, records, self.storage, folder)
        self.told: list[dict[str, Any]] = []

    async def fetch(self, url: str, world: World, name: str = "film.mp4", **limits: Any) -> JobRow:
        """The job's row as it is after the step. Raises what the step raises."""
        port = httpx.URL(url).port or 80
        now, records = now_utc(), self.kept.records
        request = {"input": {"upload": "u1", "name": name, "url": url}, "to": ["es"]}
        row = JobRow("j1", "ana", "dub", name, request, "running", now, now)
        if await records.job("j1") is None:
            await records.add_job(row)
        fetcher = Fetcher(self.kept, world, Limits(ports=frozenset({port, 80, 443}), **limits))
        changed = await fetcher.fetch(row, lambda message: self.told.append(dict(message["progress"])))
        moved = await records.move_job("j1", "running", when=frozenset({"running"}), **changed)
        assert moved is not None
        return moved

    async def left(self) -> list[str]:
        """Everything that is kept."""
        files = [str(path.relative_to(self.kept.folder)) for path in self.kept.folder.rglob("*") if path.is_file()]
        rows = [id_ for id_, _, _ in await self.kept.records.list(KIND)]
        return [*(file for file in files if "sqlite" not in file), *rows]


@pytest.fixture
async def larder(tmp_path: Path) -> AsyncIterator[Larder]:
    folder = tmp_path / "data"
    folder.mkdir()
    settings = ServerSettings(data=folder, quota_gb=1)
    records = await open_records(settings, folder)
    yield Larder(folder, records, settings)
    await records.close()


def here(**names: str | list[str]) -> World:
    """A world in which 127.0.0.1 is the internet."""
    resolve: Any = resolver(**{"films": "127.0.0.1", **names})
    return World(resolve, lambda address: str(address) == "127.0.0.1")


async def test_a_fetched_film_is_an_upload_of_whoever_asked(larder: Larder, web: FilmWeb, clip: Callable[..., Path]) -> None:
    film = clip("talk", seconds=3, suffix=".mp4").read_bytes()
    web.pages["/film.mp4"] = Page(film, headers={"Content-Type": "application/octet-stream"})
    await larder.fetch(web.url("/film.mp4", "films.test"), here())
    (found,) = await larder.kept.records.list(KIND, "ana")
    upload = row_of(*found).upload
    assert (upload.id, upload.name, upload.length, upload.media) == ("u1", "film.mp4", len(film), "video/mp4")
    assert upload.complete and upload.digest == hashlib.sha256(film).hexdigest()
    assert (larder.storage.folder / "uploads" / "u1").read_bytes() == film
    assert larder.told[-1] == {"stage": "fetch", "done": len(film), "total": len(film)}
    await larder.fetch(web.url("/film.mp4", "films.test"), here())
    assert web.asked == ["/film.mp4"], "what is there is not fetched again"
    await larder.storage.delete("uploads/u1")
    await larder.fetch(web.url("/film.mp4", "films.test"), here())
    assert len(web.asked) == 2, "what was deleted meanwhile is"


@pytest.mark.parametrize(
    ("header", "name", "called"),
    [
        ('attachment; filename="../../My talk?.mkv"', "film", "My talk_.mkv"),
        ("attachment; filename=a.mkv; filename*=UTF-8''caf%C3%A9.mkv", "film", "café.mkv"),
        ("attachment; filename*=idna''x.mkv", "film", "film"),
        ("inline", "film", "film"),
        ('attachment; filename="other.mkv"', "mine.mkv", "mine.mkv"),
    ],
)
async def test_the_name_is_the_askers_or_the_headers_or_the_addresss(
    larder: Larder, web: FilmWeb, clip: Callable[..., Path], header: str, name: str, called: str
) -> None:
    page = Page(clip("talk", seconds=1).read_bytes(), headers={"Content-Disposition": header})
    web.pages |= {"/go": Page(status=302, headers={"Location": "/film?x=1"}), "/film": page}
    row = await larder.fetch(web.url("/film", "films.test"), here(), name)
    assert (row.request["input"]["name"], row.title) == (called, called)
    assert requests.read(row.request).input.url


@pytest.mark.parametrize(
    ("page", "code", "words"),
    [
        (Page(b"gone", 404), "url-unreachable", "answered 404"),
        (Page(b"x", 500), "url-unreachable", "answered 500"),
        (Page(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), "url-unreachable", "web page"),
        (Page(b"no film at all"), "unreadable-media", "media"),
        (Page(b""), "unreadable-media", "empty"),
        (Page(b"#EXTM3U\nfile:///etc/passwd"), "unreadable-media", "list"),
        (Page(b"x" * 4000), "url_too_large", "larger than the 3000 bytes"),
        (Page(b"x" * 10, headers={"Content-Length": "99999"}), "url_too_large", "larger"),
        (Page(b"x" * 10, headers={"Content-Length": "20"}), "url-unreachable", "does not answer as it should"),
        (Page(b"x", headers={"Content-Encoding": "gzip"}), "url-unreachable", "packed"),
        (Page(status=302, headers={"Location": "http://inside.test/"}), "url-refused", "private"),
        (Page(status=307, headers={"Location": "http://169.254.169.254/latest"}), "url-refused", "private"),
        (Page(status=301, headers={"Location": "file:///etc/passwd"}), "url-refused", "http"),
        (Page(status=302, headers={"Location": "/film.mp4"}), "url-refused", "too often"),
        (Page(b"x" * 10, half=5), "url-unreachable", "does not answer as it should"),
    ],
)
async def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(
    larder: Larder, web: FilmWeb, page: Page, code: str, words: str
) -> None:
    web.pages["/film.mp4"] = page
    if "Content-Length" in page.headers:
        page.headers["Connection"] = "close"  # type: ignore[index]
    with pytest.raises(PolydubError, match=words) as raised:
        await larder.fetch(web.url("/film.mp4", "films.test"), here(inside="10.0.0.1"), bytes=3000, silent_s=0.5)
    assert (raised.value.code, raised.value.stage) == (code, "fetch")
    assert "\n" not in raised.value.message and str(larder.kept.folder) not in raised.value.message
    assert await larder.left() == []


async def test_a_text_is_no_film(larder: Larder, web: FilmWeb) -> None:
    web.pages["/talk.srt"] = Page(srt(TALK).encode())
    with pytest.raises(PolydubError, match="text"):
        await larder.fetch(web.url("/talk.srt", "films.test"), here(), "talk.srt")
    assert await larder.left() == []


async def test_a_film_that_comes_too_slowly_is_given_up(larder: Larder, web: FilmWeb) -> None:
    web.pages["/film.mp4"] = Page(b"x" * 10, half=5)
    with pytest.raises(PolydubError, match=r"longer than 0\.3 s"):
        await larder.fetch(web.url("/film.mp4", "films.test"), here(), seconds=0.3)
    assert await larder.left() == []


async def test_films_have_as_many_minutes_as_the_server_is_told(larder: Larder) -> None:
    assert Fetcher(larder.kept).limits.seconds == 120 * 60
    settings = larder.kept.settings.model_copy(update={"url_minutes": 5})
    assert Fetcher(replace(larder.kept, settings=settings)).limits.seconds == 300


async def test_a_database_that_is_away_when_the_film_has_come_costs_neither_the_film_nor_the_job(
    larder: Larder, web: FilmWeb, clip: Callable[..., Path]
) -> None:
    web.pages["/film.mp4"] = Page(clip("talk", seconds=1).read_bytes())
    away = Away(larder.kept.records)
    larder.kept = replace(larder.kept, records=cast("Records", away))
    row = await larder.fetch(web.url("/film.mp4", "films.test"), here())
    assert (row.state, away.times, await larder.kept.storage.size("uploads/u1") is not None) == ("running", 0, True)


async def test_a_name_that_leads_inside_the_second_time_is_asked_once_only(
    larder: Larder, web: FilmWeb, clip: Callable[..., Path]
) -> None:
    """DNS rebinding: between the look and the connection nobody asks again, and a redirect is a look of its own."""
    web.pages["/film.mp4"] = Page(clip("talk", seconds=1).read_bytes())
    await larder.fetch(web.url("/film.mp4", "films.test"), here(films=["127.0.0.1", "10.0.0.1"]))
    await larder.storage.delete("uploads/u1")
    web.pages["/film.mp4"] = Page(status=302, headers={"Location": "/other.mp4"})
    with pytest.raises(PolydubError, match="private"):
        await larder.fetch(web.url("/film.mp4", "films.test"), here(films=["127.0.0.1", "10.0.0.1"]))
    assert web.asked == ["/film.mp4", "/film.mp4"]


async def test_a_film_over_the_quota_is_told_so(larder: Larder, web: FilmWeb) -> None:
    web.pages["/film.mp4"] = Page(b"x" * 1000)
    now = now_utc()
    big = JobRow("j0", "ana", "dub", "x", {}, "done", now, now, result={"bytes": 10**9 - 500})
    await larder.kept.records.add_job(big)
    with pytest.raises(PolydubError, match="your files may take 1 GB"):
        await larder.fetch(web.url("/film.mp4", "films.test"), here())


async def test_films_that_come_at_once_do_not_go_over_the_quota_together(
    larder: Larder, web: FilmWeb, clip: Callable[..., Path]
) -> None:
    film = clip("talk", seconds=1, suffix=".mp4").read_bytes()
    web.pages["/film.mp4"] = Page(film, half=len(film) // 2)
    coming = asyncio.create_task(larder.fetch(web.url("/film.mp4", "films.test"), here()))
    while not larder.told:
        await asyncio.sleep(0.01)
    now = now_utc()
    other = JobRow("j0", "ana", "dub", "x", {}, "done", now, now, result={"bytes": 10**9 - len(film) + 1})
    await larder.kept.records.add_job(other)
    web.goes.set()
    with pytest.raises(PolydubError, match="your files may take 1 GB"):
        await coming
    assert await larder.left() == []


async def test_a_disk_that_takes_no_film_is_told_without_its_places(larder: Larder, web: FilmWeb) -> None:
    web.pages["/film.mp4"] = Page(b"x")
    (larder.kept.folder / "jobs").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write") as refused:
        await larder.fetch(web.url("/film.mp4", "films.test"), here())
    assert str(larder.kept.folder) not in str(refused.value) + refused.value.hint


async def test_a_fetch_that_is_cancelled_ends_at_once_and_leaves_nothing(larder: Larder, web: FilmWeb) -> None:
    web.pages["/film.mp4"] = Page(b"x" * 10**6, half=5 * 10**5)
    task = asyncio.create_task(larder.fetch(web.url("/film.mp4", "films.test"), here()))
    while not larder.told:
        await asyncio.sleep(0.01)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=30)  # the rest would come after 60 s
    assert done and task.cancelled()
    assert await larder.left() == []
    assert larder.told[0]["total"] == 10**6


# ------------------------------------------------------------------ the whole job


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    yield from fixture(tmp_path)


@pytest.mark.slow
def test_a_film_at_an_address_is_dubbed_also_when_the_server_is_killed_while_it_comes(
    processes: Processes, web: FilmWeb, clip: Callable[..., Path]
) -> None:
    film = clip("talk", seconds=6).read_bytes()
    web.pages["/talk.mkv"] = Page(film, half=len(film) // 2, headers={"Content-Disposition": 'filename="My talk.mkv"'})
    processes.environ |= {"POLYDUB_SERVER__URL_HOSTS": web.hosts}
    process, client = processes.serve()
    text = sent(client, "talk.es.srt", srt(TALK).encode())
    wish = {
        "input": {"url": web.url("/talk.mkv")},
        "to": ["es"],
        "translations": {"es": text},
        "settings": {"tts": "fake", "separation": "none", "diarization": "none"},
    }
    answer = client.post("/api/jobs", json=wish)
    assert answer.status_code == 201, answer.text
    job = answer.json()["id"]
    log = processes.folder / "data-serve.log"
    until(lambda: client.get(f"/api/jobs/{job}").json()["progress"].get("stage") == "fetch", process, log)
    process.kill()
    process.wait()
    _, client = processes.serve()
    web.goes.set()
    row = ended(client, job)
    assert row["state"] == "done", row["error"]
    assert (row["title"], row["request"]["input"]["name"]) == ("My talk.mkv", "My talk.mkv")
    assert web.asked == ["/talk.mkv"] * 2
    kept = [upload for upload in client.get("/api/uploads").json() if upload["id"] == row["request"]["input"]["upload"]]
    assert [(upload["name"], upload["length"]) for upload in kept] == [("My talk.mkv", len(film))]
    assert not list((processes.folder / "data").rglob("fetch")), "nothing is left of what came before"
    events = client.get(f"/api/jobs/{job}/events").text
    assert '"stage":"fetch"' in events.replace(" ", "") and events.count("event: started") == 2, "before and after"
    for file in client.get(f"/api/jobs/{job}/result").json()["files"]:
        assert len(client.get(file["url"]).content) == file["bytes"], file["name"]
    assert client.post(f"/api/jobs/{job}/retry").json()["attempt"] == 2
    assert ended(client, job)["state"] == "done"
    assert web.asked == ["/talk.mkv"] * 2, "what is there is not fetched again"


@pytest.mark.slow
def test_a_job_whose_address_leads_inside_fails_in_one_sentence(processes: Processes, web: FilmWeb) -> None:
    for path, location in (("/go", "http://127.0.0.1:1/x"), ("/name", "http://localhost/x")):
        web.pages[path] = Page(status=302, headers={"Location": location})
    processes.environ |= {"POLYDUB_SERVER__URL_HOSTS": web.hosts}
    _, client = processes.serve()
    told: list[tuple[str, str]] = []
    for url in (web.url("/go"), web.url("/name"), web.url("/nothing"), "http://localhost/x"):
        answer = client.post("/api/jobs", json={"input": {"url": url}, "to": ["es"], "settings": {"tts": "fake"}})
        assert answer.status_code == 201, answer.text
        row = ended(client, answer.json()["id"])
        assert (row["state"], row["error"]["stage"]) == ("failed", "fetch")
        told.append((row["error"]["code"], row["error"]["message"]))
    assert [code for code, _ in told] == ["url-refused", "url-refused", "url-unreachable", "url-refused"], told
    assert "private network" in told[1][1] and "404" in told[2][1] and "private network" in told[3][1]
