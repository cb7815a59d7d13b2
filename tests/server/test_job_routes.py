"""Jobs over HTTP: start, follow, stop, fetch; once only for a key; nobody sees what is another's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from house import House, open_house, until
from job_world import HandJobs

from polydub.server.look import Found
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads

pytestmark = pytest.mark.anyio
FILM = bytes(range(200))


async def takes_anything(file: Path, name: str) -> Found:
    return Found("video/mp4")


@pytest.fixture
def jobs() -> HandJobs:
    return HandJobs()


@pytest.fixture
async def house(tmp_path: Path, jobs: HandJobs) -> AsyncIterator[House]:
    (tmp_path / "data").mkdir()
    storage = LocalStorage(tmp_path / "files")
    async with open_house(tmp_path / "data", storage=storage, jobs=jobs, jobs_a_user=3) as opened:
        jobs.records = opened.services.records
        opened.app.state.uploads = Uploads(opened.services, takes_anything)
        yield opened


async def film(client: httpx.AsyncClient, name: str = "talk.mp4") -> str:
    answer = await client.post("/api/upload", files={"file": (name, FILM)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def started(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    wish = {"input": {"upload": await film(client)}, "to": ["es"], **more}
    answer = await client.post("/api/jobs", json=wish)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def finish(house: House, jobs: HandJobs, id_: str) -> None:
    """Ends a job as a worker does, with one film."""
    await jobs.move(id_, "running", "queued")
    (house.services.folder / "film").write_bytes(FILM)
    await house.services.storage.put_file(f"jobs/{id_}/dub.es.mkv", house.services.folder / "film")
    await house.services.storage.put_file(f"jobs/{id_}/secret.txt", house.services.folder / "film")
    dub = {"language": "es", "film": "dub.es.mkv", "report": "report.es.json", "duration": 6.0, "calls": [], "lines": 4}
    files = [{"name": "dub.es.mkv", "bytes": len(FILM)}]
    result = {"dubs": [dub], "folder": "output/talk", "files": files, "bytes": len(FILM)}
    await jobs.move(id_, "done", "running", result=result)


def code(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"]


async def test_a_job_is_started_and_told(house: House) -> None:
    async with await house.as_("editor") as client:
        job = await started(client, settings={"max_rate": 1.2}, priority=2)
        assert (job["state"], job["title"], job["priority"], job["attempt"]) == ("queued", "talk.mp4", 2, 1)
        assert job["request"]["settings"] == {"max_rate": 1.2}
        assert (await client.get(f"/api/jobs/{job['id']}")).json() == job
        assert (await client.get(f"/api/dub/{job['id']}")).json() == job


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"to": []}, 422),
        ({"to": ["xx-zz"]}, 422),
        ({"settings": {"output": "/etc"}}, 422),
        ({"settings": {"openai_api_key": "x"}}, 422),
        ({"voices": {"A": "/etc/passwd"}}, 422),
        ({"input": {"upload": "nothing"}}, 404),
        ({"input": {"upload": "../x"}}, 422),
        ({"transcript": {"upload": "nothing"}}, 404),
        ({"surprise": 1}, 422),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_no_job(house: House, wrong: dict[str, Any], status: int) -> None:
    async with await house.as_("editor") as client:
        wish = {"input": {"upload": await film(client)}, "to": ["es"], **wrong}
        answer = await client.post("/api/jobs", json=wish)
        assert answer.status_code == status, answer.text
        assert (await client.get("/api/jobs")).json() == {"jobs": [], "next": None}


async def test_an_upload_of_somebody_else_is_not_there(house: House) -> None:
    async with await house.as_("editor", "ana") as ana, await house.as_("editor", "bo") as bo:
        answer = await bo.post("/api/jobs", json={"input": {"upload": await film(ana)}, "to": ["es"]})
    assert (answer.status_code, code(answer)) == (404, "not_found")


async def test_an_upload_that_is_still_coming_cannot_be_dubbed(house: House) -> None:
    async with await house.as_("editor") as client:
        headers = {"tus-resumable": "1.0.0", "upload-length": "100"}
        id_ = (await client.post("/api/uploads", headers=headers)).headers["location"].rpartition("/")[2]
        answer = await client.post("/api/jobs", json={"input": {"upload": id_}, "to": ["es"]})
    assert (answer.status_code, code(answer)) == (409, "upload_incomplete")


async def test_nobody_has_more_jobs_than_allowed(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        wish = {"input": {"upload": await film(client)}, "to": ["es"]}
        first = (await client.post("/api/jobs/batch", json={"jobs": [wish, wish]})).json()["jobs"]
        answer = await client.post("/api/jobs/batch", json={"jobs": [wish, wish]})
        assert (answer.status_code, code(answer), "retry-after" in answer.headers) == (429, "too_many_jobs", True)
        assert len((await client.get("/api/jobs")).json()["jobs"]) == 2
        await client.post(f"/api/jobs/{first[0]['id']}/pause")
        assert (await client.post("/api/jobs/batch", json={"jobs": [wish, wish]})).status_code == 201
        answer = await client.post(f"/api/jobs/{first[0]['id']}/resume")
        assert (answer.status_code, code(answer)) == (429, "too_many_jobs")


async def test_a_batch_with_one_that_cannot_be_starts_none(house: House) -> None:
    async with await house.as_("editor") as client:
        wish = {"input": {"upload": await film(client)}, "to": ["es"]}
        answer = await client.post("/api/jobs/batch", json={"jobs": [wish, {**wish, "to": ["xx-zz"]}]})
        assert answer.status_code == 422
        assert (await client.get("/api/jobs")).json()["jobs"] == []


async def test_the_same_key_gives_the_same_job(house: House) -> None:
    async with await house.as_("editor") as client, await house.as_("editor", "bo") as bo:
        wish = {"input": {"upload": await film(client)}, "to": ["es"]}
        key = {"idempotency-key": "order 1"}
        first = (await client.post("/api/jobs", json=wish, headers=key)).json()
        assert (await client.post("/api/jobs", json=wish, headers=key)).json() == first
        other = await client.post("/api/jobs", json={**wish, "to": ["fr"]}, headers=key)
        assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
        theirs = {"input": {"upload": await film(bo)}, "to": ["es"]}
        assert (await bo.post("/api/jobs", json=theirs, headers=key)).json()["id"] != first["id"]
        assert len((await client.get("/api/jobs")).json()["jobs"]) == 1


async def test_of_two_with_one_key_at_once_one_starts_the_job(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        wish, key = {"input": {"upload": await film(client)}, "to": ["es"]}, {"idempotency-key": "k"}
        jobs.open.clear()
        first = asyncio.create_task(client.post("/api/jobs", json=wish, headers=key))
        await until(lambda: house.services.records.list("idempotency"), "the first request is at it")
        second = await asyncio.wait_for(client.post("/api/jobs", json=wish, headers=key), 60)
        assert (second.status_code, code(second), second.headers["retry-after"]) == (409, "idempotency_in_progress", "1")
        jobs.open.set()
        made = (await first).json()
        assert (await client.post("/api/jobs", json=wish, headers=key)).json() == made


async def test_a_key_begins_nothing_anew_that_was_deleted(house: House) -> None:
    async with await house.as_("editor") as client:
        wish, key = {"input": {"upload": await film(client)}, "to": ["es"]}, {"idempotency-key": "k"}

        async def again() -> httpx.Response:
            return await client.post("/api/jobs/batch", json={"jobs": [wish, wish]}, headers=key)

        one, two = (await again()).json()["jobs"]
        assert (await client.delete(f"/api/jobs/{one['id']}")).status_code == 204
        assert [job["id"] for job in (await again()).json()["jobs"]] == [two["id"]]
        assert (await client.delete(f"/api/jobs/{two['id']}")).status_code == 204
        gone = await again()
        assert (gone.status_code, code(gone)) == (410, "job_deleted")
        assert (await client.get("/api/jobs")).json()["jobs"] == []


async def test_a_key_that_failed_for_lack_of_room_works_later(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        wish = {"input": {"upload": await film(client)}, "to": ["es"]}
        key, two = {"idempotency-key": "k"}, {"jobs": [wish, wish]}
        ids = [(await client.post("/api/jobs", json=wish)).json()["id"] for _ in range(3)]
        assert (await client.post("/api/jobs/batch", json=two, headers=key)).status_code == 429
        for id_ in ids:
            await client.post(f"/api/jobs/{id_}/cancel")
        assert (await client.post("/api/jobs/batch", json=two, headers=key)).status_code == 201
        assert (await client.post("/api/jobs/batch", json=two, headers=key)).status_code == 201
        assert len((await client.get("/api/jobs", params={"state": "queued"})).json()["jobs"]) == 2


async def test_lists_go_on_where_they_ended(house: House) -> None:
    async with await house.as_("editor") as client:
        wish = {"input": {"upload": await film(client)}, "to": ["es"]}
        await client.post("/api/jobs/batch", json={"jobs": [{**wish, "title": f"job {n}"} for n in range(3)]})
        first = (await client.get("/api/jobs", params={"limit": 2})).json()
        rest = (await client.get("/api/jobs", params={"limit": 2, "before": first["next"]})).json()
        assert [job["title"] for job in first["jobs"] + rest["jobs"]] == ["job 2", "job 1", "job 0"]
        assert rest["next"] is None
        await client.post(f"/api/jobs/{first['jobs'][0]['id']}/cancel")
        listed = await client.get("/api/jobs", params=[("state", "cancelled"), ("state", "failed")])
        assert [job["title"] for job in listed.json()["jobs"]] == ["job 2"]
        assert (await client.get("/api/jobs", params={"state": "odd"})).status_code == 422


async def test_a_job_of_somebody_else_is_not_there(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor", "ana") as ana, await house.as_("editor", "bo") as bo:
        id_ = (await started(ana))["id"]
        await finish(house, jobs, id_)
        paths = ["", "/events", "/result", "/files", "/files/dub.es.mkv"]
        answers = [await bo.get(f"/api/jobs/{id_}{path}") for path in paths]
        answers += [await bo.post(f"/api/jobs/{id_}/{what}") for what in ("cancel", "retry", "pause", "resume")]
        answers += [await bo.delete(f"/api/jobs/{id_}"), await bo.get(f"/api/dub/{id_}")]
        answers.append(await bo.head(f"/api/jobs/{id_}/files/dub.es.mkv"))
        assert {answer.status_code for answer in answers} == {404}
        assert (await bo.get("/api/jobs")).json()["jobs"] == (await bo.get("/api/projects")).json() == []
        assert (await bo.get("/api/jobs", params={"everyone": True})).status_code == 403
    async with await house.as_("admin") as admin:
        assert (await admin.get(f"/api/jobs/{id_}")).status_code == 200
        assert [j["id"] for j in (await admin.get("/api/jobs", params={"everyone": True})).json()["jobs"]] == [id_]


ALLOWED = {
    "cancel": {"queued", "running", "paused", "cancelled"},
    "pause": {"queued", "running", "paused"},
    "resume": {"paused"},
    "retry": {"done", "failed", "cancelled"},
}


@pytest.mark.parametrize("what", sorted(ALLOWED))
async def test_what_may_be_done_in_each_state(house: House, jobs: HandJobs, what: str) -> None:
    async with await house.as_("editor") as client:
        id_ = (await started(client))["id"]
        for state in ("queued", "running", "paused", "done", "failed", "cancelled"):
            every = frozenset({"queued", "running", "paused", "done", "failed", "cancelled"})
            await house.services.records.move_job(id_, state, when=every)  # type: ignore[arg-type]
            answer = await client.post(f"/api/jobs/{id_}/{what}")
            assert answer.status_code == (200 if state in ALLOWED[what] else 409), (state, answer.text)
        assert (await client.post(f"/api/jobs/nothing/{what}")).status_code == 404


async def test_a_retry_is_a_new_attempt(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        id_ = (await started(client))["id"]
        await finish(house, jobs, id_)
        job = (await client.post(f"/api/jobs/{id_}/retry")).json()
    assert (job["state"], job["attempt"]) == ("queued", 2)


# ------------------------------------------------------------------ events


def read(text: str) -> list[tuple[str, str, Any]]:
    """Events of a stream: id, name, data."""
    found: list[tuple[str, str, Any]] = []
    for block in text.split("\n\n"):
        rows = dict(row.partition(": ")[::2] for row in block.splitlines() if row)
        if "data" in rows:
            found.append((rows["id"], rows["event"], json.loads(rows["data"])))
    return found


async def test_events_come_to_the_last_one_and_again_from_where_one_was(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        id_ = (await started(client))["id"]
        await jobs.tell(id_, "progress", stage="hear", done=1, total=2)
        await finish(house, jobs, id_)
        answer = await client.get(f"/api/jobs/{id_}/events")
        told = read(answer.text)
        assert [(number, kind) for number, kind, _ in told] == [
            ("1", "queued"),
            ("2", "progress"),
            ("3", "started"),
            ("4", "done"),
        ]
        assert (told[1][2]["stage"], told[1][2]["number"], told[1][2]["job"]) == ("hear", 2, id_)
        assert answer.headers["content-type"].startswith("text/event-stream")
        later = await client.get(f"/api/jobs/{id_}/events", headers={"last-event-id": "2"})
        assert [number for number, _, _ in read(later.text)] == ["3", "4"]
        assert [number for number, _, _ in read((await client.get(f"/api/jobs/{id_}/events?after=3")).text)] == ["4"]
        assert (await client.get(f"/api/jobs/{id_}/events", headers={"last-event-id": "4"})).status_code == 204
        await client.post(f"/api/jobs/{id_}/retry")
        asked = asyncio.create_task(client.get(f"/api/jobs/{id_}/events", headers={"last-event-id": "4"}))
        await asyncio.sleep(0.05)
        assert not asked.done()
        await client.post(f"/api/jobs/{id_}/cancel")
        assert [kind for _, kind, _ in read((await asked).text)] == ["queued", "cancelled"]


async def test_a_listener_who_leaves_is_forgotten(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        id_ = (await started(client))["id"]
        asked = asyncio.create_task(client.get(f"/api/jobs/{id_}/events"))
        await until(lambda: jobs.listening, "somebody listens")
        asked.cancel()
        await asyncio.wait({asked})
        await until(lambda: not jobs.listening, "nobody listens")


# ------------------------------------------------------------------ files


async def test_results_are_listed_and_fetched(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client:
        id_ = (await started(client))["id"]
        early = await client.get(f"/api/jobs/{id_}/result")
        assert (early.status_code, code(early)) == (409, "job_not_done")
        await finish(house, jobs, id_)
        told = (await client.get(f"/api/jobs/{id_}/result")).json()
        assert (told["dubs"][0]["language"], told["bytes"], len(told["files"])) == ("es", 200, 1)
        url = told["files"][0]["url"]
        got = await client.get(url)
        assert (got.status_code, got.content, got.headers["content-type"]) == (200, FILM, "video/x-matroska")
        assert got.headers["content-disposition"] == 'attachment; filename="dub.es.mkv"'
        part = await client.get(url, headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, FILM[10:20])
        head = await client.head(url)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "200")
        assert (await client.get(url, params={"show": True})).headers["content-disposition"].startswith("inline")
        assert (await client.get("/api/projects")).json()[0]["languages"] == ["es"]


@pytest.mark.parametrize("name", ["secret.txt", "../../accounts.sqlite", "..%2f..%2fsettings", "nothing", "%00", "/etc/passwd"])
async def test_only_names_of_the_result_are_fetched(house: House, jobs: HandJobs, name: str) -> None:
    async with await house.as_("editor") as client:
        id_ = (await started(client))["id"]
        await finish(house, jobs, id_)
        assert (await client.get(f"/api/jobs/{id_}/files/{name}")).status_code == 404


async def test_a_deleted_job_leaves_nothing(house: House, jobs: HandJobs) -> None:
    async with await house.as_("editor") as client, await house.as_("admin") as admin:
        id_, open_ = (await started(client))["id"], (await started(client))["id"]
        await finish(house, jobs, id_)
        owner = (await house.person("editor")).id
        await house.services.records.put("delivery", "x", owner, {"body": f'{{"data":{{"id":"{open_}"}}}}'})
        folder = house.services.folder / "jobs" / id_
        folder.mkdir(parents=True)
        for each in (id_, open_):
            assert (await client.delete(f"/api/jobs/{each}")).status_code == 204
            assert (await client.delete(f"/api/jobs/{each}")).status_code == 404
            assert (await admin.get(f"/api/jobs/{each}")).status_code == 404
            assert not await house.services.records.events(each)
            assert await house.services.records.job(each) is None
        assert not await house.services.records.list("delivery")
        assert await house.services.storage.keys("jobs/") == []
        assert not folder.exists()
        assert (await client.get("/api/jobs")).json()["jobs"] == []
        assert (await admin.get("/api/jobs", params={"everyone": True})).json()["jobs"] == []


async def test_a_form_brings_a_film_and_starts_its_dub(house: House) -> None:
    async with await house.as_("editor") as client:
        fields = {"target_languages": "es, fr", "title": "Charla", "options": '{"max_rate": 1.2}'}
        answer = await client.post("/api/dub", data=fields, files={"file": ("talk.mp4", FILM)})
        assert answer.status_code == 201, answer.text
        job = answer.json()
        assert (job["title"], job["request"]["to"], job["request"]["settings"]) == ("Charla", ["es", "fr"], {"max_rate": 1.2})
        assert job["request"]["input"]["name"] == "talk.mp4"
        assert (await client.post("/api/dub", json={})).status_code == 415


async def late(fields: dict[str, str]) -> AsyncIterator[bytes]:
    """A form whose film comes first, and the rest later."""
    parts = [b'Content-Disposition: form-data; name="file"; filename="talk.mp4"\r\n\r\n' + FILM]
    parts += [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields.items()]
    for part in parts:
        yield b"--b\r\n" + part + b"\r\n"
    yield b"--b--\r\n"


FORM = {"content-type": "multipart/form-data; boundary=b"}


async def test_fields_may_come_after_the_film(house: House) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/dub", content=late({"target_languages": "es"}), headers=FORM)
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 422),
        ({"target_languages": "klingon-x"}, 422),
        ({"target_languages": "es", "options": "["}, 422),
        ({"target_languages": "es", "options": "[1]"}, 422),
        ({"target_languages": "es", "options": '{"output": "/etc"}'}, 422),
        ({"target_languages": "es", "surprise": "x"}, 422),
        ({"target_languages": "es", "voice_preset_id": "nothing"}, 404),
    ],
)
async def test_a_form_that_cannot_be_keeps_the_film_only_if_it_was_read(
    house: House, fields: dict[str, str], status: int
) -> None:
    async with await house.as_("editor") as client:
        answer = await client.post("/api/dub", content=late(fields), headers=FORM)
        assert answer.status_code == status, answer.text
        [kept] = (await client.get("/api/uploads")).json()
        assert kept["id"] in answer.json()["error"]["hint"]
        if "target_languages" in fields:
            early = await client.post("/api/dub", data=fields, files={"file": ("talk.mp4", FILM)})
            assert early.status_code == status
            assert len((await client.get("/api/uploads")).json()) == 1
        assert (await client.get("/api/jobs")).json()["jobs"] == []


async def test_viewers_see_and_change_nothing(house: House) -> None:
    async with await house.as_("viewer") as client:
        assert (await client.get("/api/jobs")).status_code == 200
        for path in ("/api/jobs", "/api/jobs/batch", "/api/dub", "/api/jobs/x/cancel", "/api/jobs/x/retry"):
            assert (await client.post(path, json={})).status_code == 403
        assert (await client.delete("/api/jobs/x")).status_code == 403
    assert (await house.client().get("/api/jobs")).status_code == 401
