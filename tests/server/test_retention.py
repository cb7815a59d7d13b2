"""What has been kept long enough goes, what a job needs stays, and a dry run deletes nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from house import House, open_house

from polydub.cli.serve import ADDRESS
from polydub.server.contracts import JobRow, JobState, Services
from polydub.server.look import Found
from polydub.server.retention import Doomed, mentioned, sweep, sweep_host
from polydub.server.storage import LocalStorage
from polydub.server.uploads import Uploads, Wanted, key_of

pytestmark = pytest.mark.anyio


async def takes_anything(file: Path, name: str) -> Found:
    return Found("video/mp4")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, storage=LocalStorage(tmp_path / "files")) as opened:
        opened.app.state.uploads = Uploads(opened.services, takes_anything)
        yield opened


async def an_upload(house: House) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1234"

    return (await house.app.state.uploads.take("somebody", "talk.mp4", pieces())).id


async def a_job(house: House, name: str, state: JobState, **request: Any) -> None:
    now = house.clock()
    await house.services.records.add_job(JobRow(name, "somebody", "dub", "Film", request, state, now, now))


async def a_file(house: House, key: str, days_ago: float) -> None:
    source = house.services.folder / "source"
    source.write_bytes(b"12345")
    await house.services.storage.put_file(key, source)
    path = house.services.storage.local(key)
    assert path is not None
    then = house.clock().timestamp() - days_ago * 86400
    os.utime(path, (then, then))
    source.unlink()


async def swept(house: House, *, dry_run: bool = False) -> list[tuple[str, str]]:
    return sorted((each.what, each.name) for each in await sweep(house.services, dry_run=dry_run))


async def test_a_film_goes_a_week_after_its_last_use(house: House) -> None:
    film = await an_upload(house)
    house.clock.pass_by(days=6)
    assert await swept(house) == []
    house.clock.pass_by(days=1.1)
    assert await swept(house, dry_run=True) == [("input", film)]
    assert await house.services.storage.keys("uploads/") == [key_of(film)]
    assert await swept(house) == [("input", film)]
    assert await house.services.storage.keys("uploads/") == []
    assert await house.services.records.get("upload", film) is None
    assert await swept(house) == []


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
async def test_what_an_open_job_names_stays_however_old_it_is(house: House, state: JobState) -> None:
    film, other = await an_upload(house), await an_upload(house)
    await a_job(house, "j1", state, inputs=[{"deep": {"upload": f"upload:{film}"}}])
    house.clock.pass_by(days=400)
    assert await swept(house) == [("input", other)]
    assert await house.services.storage.keys("uploads/") == [key_of(film)]


async def test_a_finished_job_has_used_its_film_on_the_day_it_ended(house: House) -> None:
    film = await an_upload(house)
    house.clock.pass_by(days=6)
    await a_job(house, "j1", "done", upload=film)
    house.clock.pass_by(days=6)
    assert await swept(house) == []
    house.clock.pass_by(days=2)
    assert await swept(house) == [("input", film)]


async def test_a_film_that_was_touched_is_in_use(house: House) -> None:
    film = await an_upload(house)
    house.clock.pass_by(days=6)
    await house.app.state.uploads.touch(film)
    house.clock.pass_by(days=6)
    assert await swept(house) == []


async def test_an_upload_nobody_finished_goes_with_its_bytes(house: House) -> None:
    service: Uploads = house.app.state.uploads
    upload = await service.create("somebody", Wanted("talk.mp4", 10))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"1234"

    await service.receive(upload.id, 0, pieces())
    house.clock.pass_by(days=8)
    found = await sweep(house.services)
    assert found == [Doomed("unfinished upload", upload.id, 4, "it was not finished in time")]
    assert list((house.services.folder / "incoming").iterdir()) == []


async def test_files_without_a_row_go_when_they_are_not_just_being_made(house: House) -> None:
    await a_job(house, "known", "done")
    for key in ("uploads/lost", "jobs/lost/dub.mkv", "logs/lost/job.log", "jobs/known/dub.mkv", "voices/a.wav"):
        await a_file(house, key, 2)
    await a_file(house, "uploads/young", 0.5)
    wanted = [("file", key) for key in ("jobs/lost/dub.mkv", "logs/lost/job.log", "uploads/lost")]
    assert await swept(house) == wanted
    assert await house.services.storage.keys("") == ["jobs/known/dub.mkv", "uploads/young", "voices/a.wav"]


async def test_where_a_job_was_worked_on_goes_when_the_job_is_no_more(house: House) -> None:
    await a_job(house, "known", "done")
    places = house.services.folder / "jobs"
    for name, days in (("known", 2), ("gone", 2), ("young", 0.5)):
        (places / name / "output").mkdir(parents=True)
        (places / name / "output" / "dub.mkv").write_bytes(b"12345")
        then = house.clock().timestamp() - days * 86400
        os.utime(places / name, (then, then))
    (places / "link").symlink_to(house.services.folder)
    wanted = [Doomed("folder", "gone", 5, "no job knows it")]
    assert await sweep(house.services, dry_run=True) == wanted and (places / "gone").exists()
    assert await sweep(house.services) == wanted
    assert sorted(path.name for path in places.iterdir()) == ["known", "link", "young"]


def with_bucket(house: House) -> Services:
    """Of a host whose files lie in a bucket."""
    return replace(house.services, settings=house.services.settings.model_copy(update={"storage": "s3://bucket"}))


def worked_on(house: House, job: str, days_ago: float = 30) -> Path:
    place = house.services.folder / "jobs" / job
    (place / "output").mkdir(parents=True)
    (place / "output" / "dub.mkv").write_bytes(b"12345")
    then = house.clock().timestamp() - days_ago * 86400
    os.utime(place, (then, then))
    return place


def worked_there(house: House) -> list[str]:
    return sorted(path.name for path in (house.services.folder / "jobs").iterdir())


async def test_a_worker_forgets_where_it_worked_on_jobs_that_ended_long_ago_or_are_no_more(house: House) -> None:
    states: tuple[JobState, ...] = ("done", "failed", "cancelled", "paused", "running", "queued")
    for state in states:
        await a_job(house, state, state)
    house.clock.pass_by(days=15)
    await a_job(house, "young", "done")
    for name in (*states, "young", "gone"):
        worked_on(house, name)
    worked_on(house, "just gone", days_ago=0.5)
    found = {each.name: each.reason for each in await sweep_host(with_bucket(house))}
    ended = dict.fromkeys(("done", "failed", "cancelled"), "the job ended on 2026-05-01")
    assert found == {**ended, "gone": "no job knows it"}
    assert worked_there(house) == ["just gone", "paused", "queued", "running", "young"]
    assert await sweep_host(with_bucket(house)) == []


async def test_where_a_dub_can_be_reviewed_its_folder_stays_as_long_as_its_job(house: House) -> None:
    await a_job(house, "done", "done")
    house.clock.pass_by(days=400)
    for name in ("done", "gone"):
        worked_on(house, name)
    assert [each.name for each in await sweep_host(house.services)] == ["gone"], "the folder is the server's, too"
    (house.services.folder / ADDRESS).write_text("http://127.0.0.1:8000")
    worked_on(house, "of another database")
    assert await sweep_host(with_bucket(house)) == [], "a server has worked here"
    assert worked_there(house) == ["done", "of another database"]
    assert [each.name for each in await sweep(with_bucket(house))] == ["of another database"], "which sees to it itself"


async def test_a_job_that_was_begun_anew_meanwhile_keeps_its_place(house: House) -> None:
    await a_job(house, "j1", "done")
    house.clock.pass_by(days=15)
    place, records = worked_on(house, "j1"), house.services.records

    class Late(type(records)):  # type: ignore[misc]
        """Records in which a job is begun anew after the first look at it."""

        def __init__(self) -> None:
            vars(self).update(vars(records))
            self.looks = 0

        async def job(self, id_: str) -> JobRow | None:
            self.looks += 1
            if self.looks == 2:
                await records.move_job("j1", "queued", when=frozenset({"done"}))
            return await records.job(id_)

    await sweep_host(replace(with_bucket(house), records=Late()))
    assert (place / "output" / "dub.mkv").exists()


async def test_copies_of_what_lies_in_the_bucket_go_when_they_were_not_used_for_long(house: House) -> None:
    shelf = house.services.folder / "store" / "artifacts" / "ab"
    shelf.mkdir(parents=True)
    for name, days in (("ab1.flac", 15), ("ab2.flac", 17)):
        (shelf / name).write_bytes(b"12345")
        then = house.clock().timestamp() - days * 86400
        os.utime(shelf / name, (then, then))
    assert await sweep_host(house.services) == [], "without a bucket they are the only ones there are"
    (gone,) = await sweep_host(with_bucket(house))
    assert (gone.what, gone.name, gone.bytes) == ("finished work", "ab/ab2.flac", 5)
    assert [path.name for path in shelf.iterdir()] == ["ab1.flac"]


async def test_logs_and_events_of_a_job_go_two_weeks_after_its_end_and_its_results_stay(house: House) -> None:
    await a_job(house, "old", "done")
    await a_job(house, "going", "running")
    for name in ("old", "going"):
        await house.services.records.add_event(name, "queued", {})
        await a_file(house, f"logs/{name}/job.log", 0)
        await a_file(house, f"jobs/{name}/dub.mkv", 0)
    house.clock.pass_by(days=13)
    assert await swept(house) == []
    house.clock.pass_by(days=2)
    assert await swept(house) == [("events", "old"), ("file", "logs/old/job.log")]
    assert await house.services.records.events("old") == []
    assert len(await house.services.records.events("going")) == 1
    assert await swept(house) == []


async def test_generated_speech_goes_after_two_days(house: House) -> None:
    for key, days in (("speech/a/1.mp3", 1.9), ("speech/a/2.mp3", 2.1), ("stems/b/vocals.flac", 2.1)):
        await a_file(house, key, days)
    await house.services.records.put("stems", "b", "somebody", {"stems": ["vocals"], "expires": house.clock().isoformat()})
    assert await swept(house) == [("file", "speech/a/2.mp3"), ("file", "stems/b/vocals.flac"), ("row", "b")]
    assert await house.services.storage.keys("") == ["speech/a/1.mp3"]


async def test_finished_work_goes_after_two_weeks_and_its_files_after_the_rows_that_name_them(house: House) -> None:
    for key, days in (("done/a", 13), ("done/b", 15), ("artifacts/aa/x.flac", 15), ("artifacts/bb/y.flac", 17)):
        await a_file(house, f"store/{key}", days)
    assert await swept(house) == [("file", "store/artifacts/bb/y.flac"), ("file", "store/done/b")]
    assert await house.services.storage.keys("store/") == ["store/artifacts/aa/x.flac", "store/done/a"]


async def test_recordings_of_a_preset_stay_as_long_as_it_does(house: House) -> None:
    film = await an_upload(house)
    await house.services.records.put("preset", "p1", "somebody", {"name": "Ana", "uploads": [film]})
    house.clock.pass_by(days=400)
    assert await swept(house) == []
    await house.services.records.drop("preset", "p1")
    assert await swept(house) == [("input", film)]


async def test_the_key_of_a_request_is_forgotten_after_a_day(house: House) -> None:
    await house.services.records.put("idempotency", "k", "somebody", {"jobs": [], "at": house.clock().isoformat()})
    house.clock.pass_by(hours=23)
    assert await swept(house) == []
    house.clock.pass_by(hours=2)
    assert await swept(house, dry_run=True) == await swept(house) == [("row", "k")]
    assert await house.services.records.get("idempotency", "k") is None


async def test_events_that_came_after_their_job_was_deleted_go(house: House) -> None:
    await house.services.records.add_event("gone", "started", {})
    assert await swept(house, dry_run=True) == await swept(house) == [("events", "gone")]
    assert await swept(house) == []


def test_ids_are_found_wherever_they_stand_in_a_request() -> None:
    one, two = "0123456789abcdef01234567", "f" * 24
    assert mentioned({"a": [{"b": one}], "url": f"upload://{two}/film.mp4", "n": 5}) == {one, two}
