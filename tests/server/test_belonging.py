"""A server that is started with a wrong database deletes nothing of what another one keeps, and says what to do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from house import House, open_house
from test_retention import a_file, a_job, with_bucket, worked_on

from polydub.cli import run
from polydub.errors import StoreError
from polydub.server.backup import restore, write_backup
from polydub.server.belonging import MARK, OtherDatabase, claim, warn
from polydub.server.contracts import Services
from polydub.server.retention import sweep, sweep_beside, sweep_host
from polydub.server.storage import LocalStorage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A server that has worked, with something old that belongs to its job."""
    (tmp_path / "one").mkdir()
    async with open_house(tmp_path / "one", storage=LocalStorage(tmp_path / "one" / "files")) as opened:
        await a_job(opened, "known", "done")
        await a_file(opened, "jobs/known/dub.mkv", 30)
        worked_on(opened, "known")
        yield opened


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[House]:
    """A server with another database."""
    (tmp_path / "two").mkdir()
    async with open_house(tmp_path / "two", storage=LocalStorage(tmp_path / "two" / "files")) as opened:
        yield opened


def mistaken(house: House, other: House) -> Services:
    """The folder of the first with the database of the other."""
    return replace(house.services, records=other.services.records, settings=other.services.settings)


def all_there(house: House) -> bool:
    folder = house.services.folder
    return (folder / "jobs/known/output/dub.mkv").exists() and (folder / "files/jobs/known/dub.mkv").exists()


@pytest.mark.parametrize("marked", [True, False], ids=["with a mark", "from before there were marks"])
async def test_a_server_with_a_wrong_database_sweeps_nothing_and_says_so(
    house: House, other: House, marked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if marked:
        assert await sweep(house.services) == []
        await a_job(other, "of-the-other", "done")
    wrong = mistaken(house, other)
    for swept in (sweep(wrong), sweep_beside(wrong, dry_run=True), sweep_host(wrong)):
        with pytest.raises(OtherDatabase, match=r"one belongs to another database .* nothing is deleted"):
            await swept
    assert all_there(house)
    await warn(wrong)
    assert "polydub admin retention --take-over" in caplog.text
    other.app.state.services = wrong
    told = (await other.client().get("/readyz")).json()
    assert told["ready"] and "another database" in told["note"] and str(wrong.folder) not in told["note"]
    assert await sweep(house.services) == [], "its own database goes on as before"


async def test_uploads_from_before_there_were_marks_are_not_taken_for_nobodys(house: House, other: House) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1\n00:00:01,000 --> 00:00:02,000\nHi\n"

    upload = (await other.app.state.uploads.take("somebody", "talk.srt", pieces())).id
    await a_file(other, f"uploads/{upload}", 30)
    empty = replace(other.services, records=house.services.records)
    await house.services.records.drop_job("known", when=frozenset({"done"}))
    for services in (empty, replace(with_bucket(house), storage=other.services.storage)):
        with pytest.raises(OtherDatabase):
            await sweep(services)
    assert await sweep(other.services) == [], "its own database has no job either, but the upload"


async def test_a_folder_is_taken_over_on_purpose_and_looked_at_before(house: House, other: House) -> None:
    await sweep(house.services)
    wrong = mistaken(house, other)
    would = await sweep_beside(wrong, dry_run=True, take=True)
    assert sorted((each.what, each.name) for each in would) == [("file", "jobs/known/dub.mkv"), ("folder", "known")]
    assert all_there(house)
    assert await sweep(house.services) == [], "it has only been looked at"
    assert await sweep_beside(wrong, take=True) == would
    assert await sweep(wrong) == []
    with pytest.raises(OtherDatabase):
        await sweep(house.services)


async def test_a_bucket_is_known_from_every_host(house: House, other: House) -> None:
    await sweep(with_bucket(house))
    assert await house.services.storage.keys("data") == [MARK]
    far = replace(with_bucket(other), storage=house.services.storage)
    with pytest.raises(OtherDatabase, match="the bucket s3://bucket belongs"):
        await sweep(far)
    assert not (other.services.folder / MARK).exists() and all_there(house)
    another_host = replace(with_bucket(house), folder=other.services.folder)
    assert await sweep(another_host) == []
    assert (other.services.folder / MARK).read_bytes() == (house.services.folder / MARK).read_bytes()


async def test_what_a_backup_is_restored_into_belongs_to_the_new_database(house: House, other: House, tmp_path: Path) -> None:
    await claim(house.services)
    await write_backup(house.services, tmp_path / "backup")
    await claim(other.services)
    await restore(other.services, tmp_path / "backup")
    marks = [(each.services.folder / MARK).read_text() for each in (house, other)]
    assert marks[0] != marks[1] and not (tmp_path / "backup" / "files" / MARK).exists()
    assert await sweep(other.services) == []
    wrong = mistaken(house, other)
    with pytest.raises(OtherDatabase):
        await sweep(wrong)
    await restored_in_place(wrong, tmp_path / "backup")


async def restored_in_place(services: Services, backup: Path) -> None:
    """The folder stayed, the database was lost: what is restored takes the folder."""
    records = services.records
    for user in await records.users():
        await records.drop_user(user.id)
    for job in await records.jobs():
        await records.drop_job(job.id, when=frozenset({job.state}))
    await restore(services, backup)
    assert await sweep(services) == []


@pytest.mark.parametrize("mark", ["", "\xff\x00"])
async def test_a_damaged_mark_is_nobodys(house: House, mark: str) -> None:
    await sweep(house.services)
    (house.services.folder / MARK).write_text(mark, encoding="latin-1")
    with pytest.raises(OtherDatabase):
        await sweep(house.services)


async def test_a_mark_that_cannot_be_read_is_one_sentence(house: House) -> None:
    (house.services.folder / MARK).mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        await sweep(house.services)


def test_the_command_names_the_folder_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobs" / "lost").mkdir(parents=True)
    os.utime(tmp_path / "jobs" / "lost", (1e9, 1e9))
    asked = ["admin", "retention", "--data", str(tmp_path)]
    assert run(asked) == 3
    assert "belongs to another database" in (said := capsys.readouterr().err) and "--take-over --dry-run" in said
    assert run([*asked, "--take-over"]) == 0
    assert "lost" in capsys.readouterr().out and not (tmp_path / "jobs" / "lost").exists()
    assert run(asked) == 0
