"""A copy of a server: its records in one archive with checksums, and its files beside it. And back again.

    FOLDER/metadata.zip     manifest.json, and users, tokens, jobs, events, documents, files as lines of JSON
    FOLDER/files/KEY        the stored files, unless they stay where they are (a bucket with its own copies)

Restoring checks all of it before the first change. Logins are not in it: people log in again. Passwords and tokens are in it
as hashes, and the secrets of webhooks as they are: keep it like a password.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from polydub.errors import BadInput, StoreError
from polydub.server import belonging
from polydub.server.contracts import OPEN, Event, JobRow, Records, Secret, Services, User
from polydub.server.shared_store import WORK
from polydub.server.shelf import PIECE, Shelf, checked
from polydub.store import writing

VERSION, ARCHIVE = 1, "metadata.zip"
PARTS = ("users", "tokens", "jobs", "events", "documents", "files")
MOST_BYTES = 16 << 30  # of the archive unpacked
MOST_RATIO = 200  # of unpacked to packed bytes of a part
MOST_LINE = 64 << 20
RESTORING = "restore"  # kind of the document that says which backup is being restored
_PASSING = frozenset({"received", RESTORING, belonging.KIND})  # kinds of documents that mean nothing later
_ALL = 1_000_000


class PartFacts(BaseModel):
    """One part of the archive."""

    model_config = ConfigDict(extra="forbid")
    rows: int
    sha256: str


class Manifest(BaseModel):
    """What a backup holds. `files`: whether the stored files lie beside the archive."""

    model_config = ConfigDict(extra="forbid")
    version: int
    made: datetime
    files: bool
    parts: dict[str, PartFacts]


async def write_backup(services: Services, folder: Path, *, files: bool = True) -> Manifest:
    """Writes a backup into `folder`, which must be new or empty.

    Args: files: False = only checksums of the stored files, which are kept elsewhere.
    Raises: BadInput when the folder holds something, StoreError when something cannot be read or written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} is not empty", "give a new folder")
    draft = folder / f".{ARCHIVE}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draft.touch(mode=0o600)
        parts: dict[str, PartFacts] = {}
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in PARTS:
                rows = _stored(services, folder if files else None) if name == "files" else _rows(services, name)
                parts[name] = await _write_part(archive, name, rows)
            manifest = Manifest(version=VERSION, made=services.now(), files=files, parts=parts)
            archive.writestr("manifest.json", manifest.model_dump_json(indent=1))
        draft.replace(folder / ARCHIVE)  # last: a backup without it is none
    return manifest


async def restore(services: Services, folder: Path) -> Manifest:
    """Puts a backup into a server that has no accounts yet (or goes on with a restore that was cut off).

    The admin that every first start makes gives way, as long as it has no password.

    Jobs that had not ended are paused: their owners go on with them. Events get the time of the restore.

    Raises: BadInput for an archive that is damaged, not one of these, or hostile, and for a server with accounts of its own;
    StoreError when a file of the manifest is missing or differs. Nothing has been changed then.
    """
    backup = await anyio.to_thread.run_sync(_Backup, folder / ARCHIVE)
    there = {user.id: user for user in await services.records.users()}
    begun = await services.records.get(RESTORING, RESTORING)
    if begun is None or begun[1]["made"] != backup.manifest.made.isoformat():
        await _check_fresh(services, there.values())
    others = there.keys() - {user.id for user in backup.users}
    shelf = cast("Shelf", services.storage)
    for file in backup.files:
        await _check_file(shelf, folder, file)
    await services.records.put(RESTORING, RESTORING, "", {"made": backup.manifest.made.isoformat()})
    for file in backup.files:
        source = folder / "files" / checked(file["key"])
        if source.is_file():
            await shelf.put_file(file["key"], source)
    for id_ in others:
        await services.records.drop_user(id_)
    await _put_rows(services, backup, set(there))
    await belonging.claim(services, take=True)
    await services.records.drop(RESTORING, RESTORING)
    return backup.manifest


async def _check_fresh(services: Services, users: Collection[User]) -> None:
    made_at_start = len(users) <= 1 and not any(user.password or user.role != "admin" for user in users)
    if not made_at_start or await services.records.jobs(limit=1):
        raise BadInput("the server has accounts of its own", "restore into a new data folder and an empty database")


async def check(folder: Path) -> Manifest:
    """Reads a backup through, with all checksums of what lies in `folder`. Raises: BadInput, StoreError."""
    backup = await anyio.to_thread.run_sync(_Backup, folder / ARCHIVE)
    for file in backup.files if backup.manifest.files else ():
        await _check_file(None, folder, file)
    return backup.manifest


# writing


async def _rows(services: Services, name: str) -> AsyncIterator[Mapping[str, Any]]:
    records = services.records
    match name:
        case "users":
            for user in await records.users():
                yield asdict(user)
        case "tokens":
            for user in await records.users():
                for secret in await records.secrets(user.id, "token"):
                    yield asdict(secret)
        case "jobs":
            for job in await records.jobs(limit=_ALL):
                yield asdict(job)
        case _:
            async for row in _events(records) if name == "events" else _documents(records):
                yield row


async def _events(records: Records) -> AsyncIterator[Mapping[str, Any]]:
    for job in await records.jobs(limit=_ALL):
        for event in await records.events(job.id, limit=_ALL):
            yield asdict(event)


async def _documents(records: Records) -> AsyncIterator[Mapping[str, Any]]:
    for kind in sorted({*await records.kinds()} - _PASSING):
        for id_, owner, document in await records.list(kind, limit=_ALL):
            yield {"kind": kind, "id": id_, "owner": owner, "document": document}


async def _stored(services: Services, folder: Path | None) -> AsyncIterator[Mapping[str, Any]]:
    for file in await cast("Shelf", services.storage).stored(""):
        if file.key.startswith(WORK) or file.key == belonging.MARK:  # can be done again, or is of this server alone
            continue
        local = services.storage.local(file.key)
        if folder is not None:
            copy = folder / "files" / file.key
            copy.parent.mkdir(parents=True, exist_ok=True)
            await services.storage.fetch(file.key, copy)
            local = copy
        digest = await _digest(services, file.key, file.size, local)
        yield {"key": file.key, "bytes": file.size, "sha256": digest}


async def _digest(services: Services, key: str, size: int, local: Path | None) -> str:
    if local is not None:
        return await anyio.to_thread.run_sync(_sha256, local)
    whole = hashlib.sha256()
    async for piece in services.storage.read(key, 0, size):
        whole.update(piece)
    return whole.hexdigest()


async def _write_part(archive: zipfile.ZipFile, name: str, rows: AsyncIterator[Mapping[str, Any]]) -> PartFacts:
    whole, count = hashlib.sha256(), 0
    with archive.open(f"{name}.jsonl", "w", force_zip64=True) as stream:
        async for row in rows:
            line = json.dumps(row, default=_plain, ensure_ascii=False, sort_keys=True).encode() + b"\n"
            stream.write(line)
            whole.update(line)
            count += 1
    return PartFacts(rows=count, sha256=whole.hexdigest())


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else list(cast("Sequence[object]", value))


# reading


class _Backup:
    """An archive that has been read through and checked. Nothing is unpacked to the disk."""

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                self._check_members(archive)
                self.manifest = Manifest.model_validate_json(_read(archive, "manifest.json"))
                if self.manifest.version != VERSION or set(self.manifest.parts) != set(PARTS):
                    raise BadInput("the backup is of another version of polydub", "restore it with that version")
                self.users = self._part(archive, "users", User)
                self.tokens = self._part(archive, "tokens", Secret)
                self.jobs = self._part(archive, "jobs", JobRow)
                self.events = self._part(archive, "events", Event)
                self.documents = self._part(archive, "documents", dict[str, Any])
                self.files = self._part(archive, "files", dict[str, Any])
        except FileNotFoundError:
            raise BadInput(f"there is no {ARCHIVE} in {path.parent.name}", "give the folder of a backup") from None
        except (zipfile.BadZipFile, ValidationError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
            raise BadInput(f"{path.name} is damaged or no backup of polydub", "take another copy of it") from error

    @staticmethod
    def _check_members(archive: zipfile.ZipFile) -> None:
        members = archive.infolist()
        names = sorted(member.filename for member in members)
        if names != sorted(["manifest.json", *(f"{name}.jsonl" for name in PARTS)]):
            raise BadInput("the archive holds other files than a backup does", "take another copy of it")
        size = sum(member.file_size for member in members)
        bomb = any(member.file_size > 1_000_000 + MOST_RATIO * member.compress_size for member in members)
        if size > MOST_BYTES or bomb:
            raise BadInput("the archive would unpack to more than a backup does", "take another copy of it")

    def _part(self, archive: zipfile.ZipFile, name: str, kind: Any) -> list[Any]:
        facts, whole, rows = self.manifest.parts[name], hashlib.sha256(), list[Any]()
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        with archive.open(f"{name}.jsonl") as stream:
            for line in _lines(stream):
                whole.update(line)
                rows.append(adapter.validate_python(json.loads(line)))
        if (len(rows), whole.hexdigest()) != (facts.rows, facts.sha256):
            raise BadInput(f"{name} in the backup differ from their checksum", "take another copy of it")
        return rows


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as stream:
        text = stream.read(1_000_001)
    if len(text) > 1_000_000:
        raise ValueError(name)
    return text


def _lines(stream: IO[bytes]) -> Any:
    while line := stream.readline(MOST_LINE):
        if not line.endswith(b"\n"):
            raise ValueError("a line without an end")
        yield line


async def _check_file(shelf: Shelf | None, folder: Path, file: Mapping[str, Any]) -> None:
    key, size, digest = checked(str(file["key"])), int(file["bytes"]), str(file["sha256"])
    source = folder / "files" / key
    if source.is_symlink() or not source.resolve().is_relative_to((folder / "files").resolve()):
        raise BadInput(f"{key} in the backup leads elsewhere", "take another copy of it")
    if source.is_file():
        same = source.stat().st_size == size and await anyio.to_thread.run_sync(_sha256, source) == digest
    elif shelf is not None and await shelf.size(key) == size:
        whole = hashlib.sha256()
        async for piece in shelf.read(key, 0, size):
            whole.update(piece)
        same = whole.hexdigest() == digest
    else:
        raise StoreError(f"{key} is neither in the backup nor in the storage", "copy the files of the backup beside it")
    if not same:
        raise StoreError(f"{key} differs from what was backed up", "take another copy of it")


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            whole.update(piece)
    return whole.hexdigest()


async def _put_rows(services: Services, backup: _Backup, known: set[str]) -> None:
    """Every step may have been done before by a restore that was cut off."""
    records = services.records
    for row in backup.documents:
        await records.put(row["kind"], row["id"], row["owner"], row["document"])
    events: dict[str, list[Event]] = {}
    for event in backup.events:
        events.setdefault(event.job, []).append(event)
    for job in cast("list[JobRow]", backup.jobs):
        if await records.job(job.id) is None:
            await records.add_job(replace(job, state="paused") if job.state in OPEN else job)
        await records.drop_events(job.id)
        for event in events.get(job.id, []):
            await records.add_event(job.id, event.kind, event.data)
    for user in cast("list[User]", backup.users):
        if user.id not in known:
            await records.add_user(user)
        there = {secret.id for secret in await records.secrets(user.id, "token")}
        for secret in (each for each in cast("list[Secret]", backup.tokens) if each.user == user.id and each.id not in there):
            await records.add_secret(secret)
