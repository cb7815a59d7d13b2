"""The restore drill: a server that is lost comes back from its backup byte for byte, and a bad backup changes nothing."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from house import House, open_house

from polydub.errors import BadInput, PolydubError, StoreError
from polydub.server.backup import ARCHIVE, RESTORING, check, restore, write_backup
from polydub.server.bootstrap import FIRST_ADMIN, first_admin
from polydub.server.contracts import JobRow, User
from polydub.server.storage import LocalStorage

pytestmark = pytest.mark.anyio
FILES = {"jobs/j1/dub.es.mkv": bytes(range(256)) * 4000, "uploads/u1": b"film", "voices/alice.wav": b"RIFF"}


def at(folder: Path) -> tuple[Path, LocalStorage]:
    folder.mkdir()
    return folder, LocalStorage(folder / "files")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    folder, storage = at(tmp_path / "one")
    async with open_house(folder, storage=storage) as opened:
        await filled(opened, tmp_path)
        yield opened


async def filled(house: House, folder: Path) -> None:
    ann, records = await house.person("editor", "ann"), house.services.records
    await house.token("admin", "bo")
    now = house.clock()
    await records.add_job(JobRow("j1", ann.id, "dub", "Entrevista ñ", {"upload": "u1"}, "done", now, now, result={"n": 1}))
    await records.add_job(JobRow("j2", ann.id, "dub", "Other", {}, "running", now, now))
    for kind in ("queued", "started", "done"):
        await records.add_event("j1", kind, {"of": kind})
    await records.put("glossary", "g1", ann.id, {"terms": {"a": "b"}})
    await records.put("received", "x", "", {"at": now.isoformat()})
    for key, data in FILES.items():
        (folder / "source").write_bytes(data)
        await house.services.storage.put_file(key, folder / "source")
        (folder / "source").unlink()


async def everything(house: House) -> dict[str, object]:
    records = house.services.records
    users = list(await records.users())
    return {
        "users": users,
        "tokens": [list(await records.secrets(user.id, "token")) for user in users],
        "jobs": list(await records.jobs()),
        "events": [(each.number, each.kind, each.data) for each in await records.events("j1")],
        "glossary": list(await records.list("glossary")),
        "files": {
            key: Path(house.services.folder / "files" / key).read_bytes() for key in await house.services.storage.keys("")
        },
    }


async def test_a_lost_server_comes_back_from_its_backup(house: House, tmp_path: Path) -> None:
    before = await everything(house)
    token = await house.token("editor", "ann")
    before["tokens"] = (await everything(house))["tokens"]
    manifest = await write_backup(house.services, tmp_path / "backup")
    assert manifest.parts["files"].rows == 3
    assert await check(tmp_path / "backup") == manifest
    folder, storage = at(tmp_path / "two")
    async with open_house(folder, storage=storage) as other:
        assert await restore(other.services, tmp_path / "backup") == manifest
        after = await everything(other)
        assert await other.services.records.list("received") == []
        with pytest.raises(BadInput, match="accounts of its own"):
            await restore(other.services, tmp_path / "backup")
        await other.services.records.put(RESTORING, RESTORING, "", {"made": manifest.made.isoformat()})  # one was cut off
        assert await restore(other.services, tmp_path / "backup") == manifest
        assert await everything(other) == after
        assert (await other.client(token).get("/api/auth/me")).status_code == 200
    assert after["files"] == FILES == before["files"]
    for part in ("users", "tokens", "events", "glossary"):
        assert after[part] == before[part], part
    states = {job.id: job.state for job in after["jobs"]}  # type: ignore[attr-defined]
    assert states == {"j1": "done", "j2": "paused"}
    assert next(job for job in after["jobs"] if job.id == "j1") in before["jobs"]  # type: ignore[attr-defined,operator]


async def test_files_may_stay_where_they_are_and_are_checked_there(house: House, tmp_path: Path) -> None:
    await write_backup(house.services, tmp_path / "backup", files=False)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == [ARCHIVE]
    folder, storage = at(tmp_path / "two")
    shutil.copytree(house.services.folder / "files", storage.folder, dirs_exist_ok=True)
    async with open_house(folder, storage=storage) as other:
        await restore(other.services, tmp_path / "backup")
        assert len(await other.services.records.users()) == 2


async def test_only_its_owner_can_read_a_backup(house: House, tmp_path: Path) -> None:
    await write_backup(house.services, tmp_path / "backup")
    assert stat.S_IMODE((tmp_path / "backup" / ARCHIVE).stat().st_mode) == 0o600


async def test_a_folder_that_holds_something_is_not_written_to(house: House, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine").touch()
    with pytest.raises(BadInput, match="not empty"):
        await write_backup(house.services, tmp_path / "backup")


async def test_a_server_with_accounts_of_its_own_is_not_restored_over(house: House, tmp_path: Path) -> None:
    await write_backup(house.services, tmp_path / "backup")
    folder, storage = at(tmp_path / "two")
    async with open_house(folder, storage=storage) as other:
        await other.person("editor", "eve")
        with pytest.raises(BadInput, match="accounts of its own"):
            await restore(other.services, tmp_path / "backup")
        assert await storage.keys("") == []


async def test_the_admin_that_a_first_start_makes_gives_way(house: House, tmp_path: Path) -> None:
    lost = User("a" * 24, FIRST_ADMIN, "admin", "admin", house.clock(), "hash")  # the lost server had one of the same address
    await house.services.records.add_user(lost)
    before = await everything(house)
    await write_backup(house.services, tmp_path / "backup")
    folder, storage = at(tmp_path / "two")
    async with open_house(folder, storage=storage) as other:
        await first_admin(other.accounts)
        await restore(other.services, tmp_path / "backup")
        assert await other.services.records.users() == before["users"]


def rewritten(folder: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _cut(folder: Path) -> None:
    data = (folder / ARCHIVE).read_bytes()
    (folder / ARCHIVE).write_bytes(data[: len(data) // 2])


def _flip(folder: Path) -> None:
    rewritten(folder, lambda m: m.update({"users.jsonl": m["users.jsonl"].replace(b'"editor"', b'"admin"')}))


def _traverse(folder: Path) -> None:
    rewritten(folder, lambda m: m.update({"../../evil": b"x"}))


def _bomb(folder: Path) -> None:
    rewritten(folder, lambda m: m.update({"users.jsonl": b" " * 300_000_000}))


def _later(folder: Path) -> None:
    rewritten(folder, lambda m: m.update({"manifest.json": m["manifest.json"].replace(b'"version": 1', b'"version": 2')}))


def _no_part(folder: Path) -> None:
    rewritten(folder, lambda m: m.pop("jobs.jsonl") and None)


def _nonsense(folder: Path) -> None:
    (folder / ARCHIVE).write_bytes(b"not a zip")


def _gone(folder: Path) -> None:
    (folder / ARCHIVE).unlink()


def _file_changed(folder: Path) -> None:
    (folder / "files" / "uploads" / "u1").write_bytes(b"flim")


def _file_gone(folder: Path) -> None:
    (folder / "files" / "uploads" / "u1").unlink()


def _file_leads_away(folder: Path) -> None:
    (folder / "files" / "uploads" / "u1").unlink()
    (folder / "files" / "uploads" / "u1").symlink_to("/etc/hostname")


def _key_leads_away(folder: Path) -> None:
    import hashlib

    def change(members: dict[str, bytes]) -> None:
        members["files.jsonl"] = members["files.jsonl"].replace(b"uploads/u1", b"../../../u1")
        manifest = json.loads(members["manifest.json"])
        manifest["parts"]["files"]["sha256"] = hashlib.sha256(members["files.jsonl"]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()

    rewritten(folder, change)


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip, _traverse, _bomb, _later, _no_part, _nonsense, _gone, _file_changed, _file_gone, _file_leads_away,
     _key_leads_away],
)  # fmt: skip
async def test_a_bad_backup_is_refused_and_changes_nothing(
    house: House, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    await write_backup(house.services, tmp_path / "backup")
    damage(tmp_path / "backup")
    folder, storage = at(tmp_path / "two")
    async with open_house(folder, storage=storage) as other:
        with pytest.raises((BadInput, StoreError)) as told:
            await restore(other.services, tmp_path / "backup")
        assert isinstance(told.value, PolydubError)
        assert damage is not _bomb or "unpack" in told.value.message
        assert await other.services.records.users() == []
        assert await storage.keys("") == []
    assert not (tmp_path / "evil").exists()
