"""What has been kept long enough: found first, and then deleted, unless it is a dry run.

By last use and by reference: what an open job names is never touched, however old it is, and what a job has used counts from
that day on. Running twice, or on several hosts at once, does no harm.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio.to_thread

from polydub.server.belonging import claim
from polydub.server.contracts import OPEN, JobRow, Services
from polydub.server.incoming import KIND as RECEIVED
from polydub.server.orders import KIND as ONCE
from polydub.server.presets import KIND as PRESET
from polydub.server.presets import MADE
from polydub.server.problems import Problem
from polydub.server.shared_store import FRESH, ROWS, WORK
from polydub.server.shelf import Shelf
from polydub.server.upload_rows import KIND as UPLOAD
from polydub.server.upload_rows import Row, row_of
from polydub.server.uploads import Uploads, key_of
from polydub.server.webhooks import LOGGED

if TYPE_CHECKING:
    from polydub.config.server import ServerSettings
    from polydub.server.mending import Past

ALL = 1_000_000
YOUNG = timedelta(days=1)  # files without a row may be about to get one
STORE, SERVED = "store", "address"  # of a host's folder: its memo, and the mark that a server has worked there
_ID = re.compile(r"[0-9a-f]{24}")
_SPEECH = ("speech/", "stems/")  # keys of generated sound; their first word is also a kind of documents


@dataclass(frozen=True, slots=True)
class Doomed:
    """Something that goes. Attributes: what: its kind. name: id or key. bytes: that become free. reason: why it goes."""

    what: Literal["input", "unfinished upload", "file", "events", "row", "workflow", "folder", "finished work"]
    name: str
    bytes: int
    reason: str
    kind: str = ""


async def sweep_beside(services: Services, *, dry_run: bool = False, take: bool = False) -> Sequence[Doomed]:
    """`sweep` by a process that does no work of its own, beside a server that runs or not."""
    from polydub.server.hands import postgres
    from polydub.server.mending import Past
    from polydub.server.sweeper import queues  # which takes a second

    async with queues(postgres(services.settings), services.folder) as client:
        return await sweep(services, dry_run=dry_run, take=take, past=Past(client) if client else None)


async def sweep_host(services: Services) -> Sequence[Doomed]:
    """Deletes what a worker's own host has kept long enough: where it has worked, and its copies of what lies in the bucket.

    Nothing where a server has worked: it sees to its folder itself, and a worker of another database knows none of its jobs.
    Raises: StoreError when the database cannot be reached; OtherDatabase.
    """
    if (services.folder / SERVED).exists():
        return []
    await claim(services, bucket=False)
    folder = services.folder / "jobs"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = [row for row in [await services.records.job(name) for name in names] if row]
    now = services.now()
    gone = [*_workplaces(services, {row.id: row for row in found}, now), *_copies(services, now)]
    for each in gone:
        await _delete(services, each)
    return gone


async def sweep(services: Services, *, dry_run: bool = False, take: bool = False, past: Past | None = None) -> Sequence[Doomed]:
    """Deletes what has been kept long enough; what that is, by kind and name. With `dry_run` nothing is deleted.

    Args: take: also where folder and bucket are another database's; they are this one's then. past: what the queues remember;
    None = as the services' jobs know.
    Raises: StoreError when the storage or the database cannot be reached; OtherDatabase.
    """
    await claim(services, take=take, only_look=dry_run)
    now = services.now()
    jobs = await services.records.jobs(limit=ALL)
    found = [
        *await _inputs(services, jobs, now),
        *await _files(services, jobs, now),
        *await _events(services, jobs, now),
        *await _rows(services, now),
    ]
    before = now - timedelta(days=services.settings.logs_days)
    workflows = past or services.jobs  # the jobs are rows of the records, and stay
    done = [Doomed("workflow", id_, 0, f"ended before {before:%Y-%m-%d}") for id_ in await workflows.ended(before)]
    if not dry_run:
        for each in found:
            await _delete(services, each)
        await workflows.forget([each.name for each in done])
    return [*found, *done]


def mentioned(request: Mapping[str, Any]) -> set[str]:
    """Ids that stand anywhere in a job's request."""
    return set(_ID.findall(json.dumps(request)))


async def _inputs(services: Services, jobs: Sequence[JobRow], now: datetime) -> list[Doomed]:
    live = {id_ for job in jobs if job.state in OPEN for id_ in mentioned(job.request)} | await _of_presets(services)
    last: dict[str, datetime] = {}
    for job in jobs:
        for id_ in mentioned(job.request):
            last[id_] = max(job.updated, last.get(id_, job.updated))
    found: list[Doomed] = []
    for row in await _uploads(services):
        upload = row.upload
        if not upload.complete:
            if upload.expires <= now:
                found.append(Doomed("unfinished upload", upload.id, upload.offset, "it was not finished in time"))
            continue
        used = max(moment for moment in (upload.created, row.used, last.get(upload.id)) if moment)
        if upload.id not in live and used <= now - timedelta(days=services.settings.inputs_days):
            found.append(Doomed("input", upload.id, upload.offset, f"last used on {used:%Y-%m-%d}"))
    return found


async def _files(services: Services, jobs: Sequence[JobRow], now: datetime) -> list[Doomed]:
    """Files that no row knows, old logs and old speech; also the bytes of uploads that have no row."""
    rows = {row.upload.id for row in await _uploads(services)}
    known = {job.id: job for job in jobs}
    days = services.settings
    found: list[Doomed] = []
    for file in await cast("Shelf", services.storage).stored(""):
        top, _, rest = file.key.partition("/")
        owner, age = rest.partition("/")[0], now - file.modified
        job, reason = known.get(owner), ""
        if top in ("uploads", "incoming") and owner not in rows and age > YOUNG:
            reason = "no upload knows it"
        elif top in ("jobs", "logs") and job is None and age > YOUNG:
            reason = "no job knows it"
        elif top == "logs" and job and job.state not in OPEN and job.updated <= now - timedelta(days=days.logs_days):
            reason = f"the job ended on {job.updated:%Y-%m-%d}"
        elif age > _life(file.key, days):
            reason = f"made on {file.modified:%Y-%m-%d}"
        if reason:
            found.append(Doomed("file", file.key, file.size, reason))
    return [*found, *_partials(services, rows, now), *_workplaces(services, known, now), *_copies(services, now)]


def _life(key: str, settings: ServerSettings) -> timedelta:
    """How long a file is kept that can be made again; files of finished work longer than the rows that name them."""
    if key.startswith(_SPEECH):
        return timedelta(days=settings.speech_days)
    if key.startswith(ROWS):
        return timedelta(days=settings.work_days)
    return timedelta(days=settings.work_days) + 2 * FRESH if key.startswith(WORK) else timedelta.max


def _partials(services: Services, rows: set[str], now: datetime) -> Iterator[Doomed]:
    folder = services.folder / "incoming"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            stat = path.stat()
            if path.name not in rows and now - datetime.fromtimestamp(stat.st_mtime, UTC) > YOUNG:
                yield Doomed("unfinished upload", path.name, stat.st_size, "no upload knows it")


def _workplaces(services: Services, known: Mapping[str, JobRow], now: datetime) -> Iterator[Doomed]:
    """Where this host has worked on jobs that are no more: another host, or a kill, has left them there.

    Also on jobs that ended long ago, where files lie in a bucket and no server of this folder shows them for review.
    """
    folder, reviewed = services.folder / "jobs", (services.folder / SERVED).exists() or not services.settings.storage
    ended = now - timedelta(days=services.settings.work_days)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            job = known.get(path.name)
            kept = job and (reviewed or job.state in OPEN or job.updated > ended)
            if kept or path.is_symlink() or not path.is_dir():
                continue
            if now - datetime.fromtimestamp(path.stat().st_mtime, UTC) > YOUNG:
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
                reason = f"the job ended on {job.updated:%Y-%m-%d}" if job else "no job knows it"
                yield Doomed("folder", path.name, size, reason)


def _copies(services: Services, now: datetime) -> Iterator[Doomed]:
    """Files of finished work that lie in the bucket, too, or did so long: each use makes them young."""
    days = services.settings
    if not days.storage or not days.cache_gb:  # the only ones there are, or none of whose use is known
        return
    for path in sorted((services.folder / STORE / "artifacts").glob("*/*")):
        with suppress(FileNotFoundError):
            stat = path.stat()
            used = datetime.fromtimestamp(stat.st_mtime, UTC)
            if now - used > _life(WORK, days):
                yield Doomed("finished work", f"{path.parent.name}/{path.name}", stat.st_size, f"last used on {used:%Y-%m-%d}")


async def _events(services: Services, jobs: Sequence[JobRow], now: datetime) -> list[Doomed]:
    before = now - timedelta(days=services.settings.logs_days)
    old = [job for job in jobs if job.state not in OPEN and job.updated <= before]
    with_events = [job for job in old if await services.records.events(job.id, limit=1)]
    ended = [Doomed("events", job.id, 0, f"the job ended on {job.updated:%Y-%m-%d}") for job in with_events]
    known = {job.id for job in jobs}  # one that was made since is not among them, and has a row
    strays = [job for job in await services.records.stray_events() if job not in known]
    return [*ended, *(Doomed("events", job, 0, "no job knows them") for job in strays)]


async def _rows(services: Services, now: datetime) -> list[Doomed]:
    """The log of webhooks, ids of messages and keys of requests that were taken, and what only described generated speech."""
    logs, found = timedelta(days=services.settings.logs_days), list[Doomed]()
    terms = ((LOGGED, "created", logs), (RECEIVED, "at", YOUNG), (ONCE, "at", YOUNG), ("stems", "expires", timedelta(0)))
    for kind, name, most in terms:
        for id_, _, kept in await services.records.list(kind, limit=ALL):
            since = datetime.fromisoformat(str(kept[name]))
            if since <= now - most:
                found.append(Doomed("row", id_, 0, f"of {since:%Y-%m-%d}", kind))
    return found


async def _of_presets(services: Services) -> set[str]:
    """Uploads that presets name: what a voice is made from, and the voice itself, however long nobody has used it."""
    kept = {id_: [preset] for id_, _, preset in await services.records.list(PRESET, limit=ALL)}
    for id_, _, made in await services.records.list(MADE, limit=ALL):
        kept.get(id_, []).append(made)
    return {id_ for documents in kept.values() for each in documents for id_ in mentioned(each)}


async def _uploads(services: Services) -> Sequence[Row]:
    return [row_of(*row) for row in await services.records.list(UPLOAD, limit=ALL)]


async def _delete(services: Services, doomed: Doomed) -> None:
    match doomed.what:
        case "file":
            await services.storage.delete(doomed.name)
        case "events":
            await services.records.drop_events(doomed.name)
        case "row":
            await services.records.drop(doomed.kind, doomed.name)
        case "unfinished upload":
            await services.records.drop(UPLOAD, doomed.name)
            (services.folder / "incoming" / doomed.name).unlink(missing_ok=True)
        case "folder":
            job, place = await services.records.job(doomed.name), services.folder / "jobs" / doomed.name
            if job is None or job.state not in OPEN:  # else it has just been begun anew
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(place, ignore_errors=True))
        case "finished work":
            (services.folder / STORE / "artifacts" / doomed.name).unlink(missing_ok=True)
        case "workflow":
            await services.jobs.forget([doomed.name])
        case "input":
            await _delete_input(services, doomed.name)


async def _delete_input(services: Services, id_: str) -> None:
    """Looks once more: a job or a preset may have come to need it since."""
    jobs = await services.records.jobs(states=OPEN, limit=ALL)
    try:
        row = await Uploads(services).row(id_)
    except Problem:  # another host was quicker
        return
    kept_since = services.now() - timedelta(days=services.settings.inputs_days)
    needed = any(id_ in mentioned(job.request) for job in jobs) or id_ in await _of_presets(services)
    if needed or (row.used and row.used > kept_since):
        return
    await services.records.drop(UPLOAD, id_)
    await services.storage.delete(key_of(id_))
