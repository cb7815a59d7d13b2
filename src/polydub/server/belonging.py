"""Which database a data folder and a bucket belong to. Whoever is started with another one takes what its jobs left there for
nobody's: nothing is deleted then.

Each database has an id of its own, a document of the records. The same stands in the file `database.id` of the data folder,
and in the object of that name where there is a bucket. No backup holds it: two servers would take one bucket for theirs.
"""

from __future__ import annotations

import logging
from pathlib import Path

from polydub.errors import BadSettings, PolydubError, StoreError
from polydub.project import write
from polydub.server.contracts import Records, Services
from polydub.server.tokens import new_id
from polydub.server.upload_rows import KIND as UPLOAD

log = logging.getLogger(__name__)
KIND, MARK = "mark", "database.id"


class OtherDatabase(BadSettings):
    """The data folder or the bucket belongs to another database than the one that is open."""

    code = "other-database"


async def claim(services: Services, *, take: bool = False, only_look: bool = False, bucket: bool = True) -> None:
    """Marks the data folder and the bucket as this database's where nobody has.

    One without a mark that holds jobs or uploads is not taken by a database that knows none at all.

    Args: take: whatever stands there. only_look: marks nothing. bucket: also the bucket, where there is one.
    Raises: OtherDatabase for a mark of another one; StoreError.
    """
    id_, shared = await _id_of(services.records), bucket and bool(services.settings.storage)
    marks = {f"the data folder {services.folder}": _of_folder(services.folder)}
    if shared:
        marks[f"the bucket {services.settings.storage}"] = await _of_bucket(services)
    for place, mark in () if take else marks.items():
        if mark != id_ and (mark or await _strange(services, in_bucket=place.startswith("the bucket"))):
            raise OtherDatabase(
                f"{place} belongs to another database than the one this server has, so nothing is deleted",
                "start it with the database that it had; if this one is meant, look at what would go and take it over: "
                "polydub admin retention --take-over --dry-run",
            )
    if not only_look and set(marks.values()) != {id_}:
        write(services.folder / MARK, id_ + "\n")
        if shared:
            await services.storage.put_file(MARK, services.folder / MARK)


async def warn(services: Services) -> None:
    """`claim` of a server that starts: a warning in the log where what it has belongs to another database."""
    try:
        await claim(services)
    except PolydubError as error:
        log.warning("%s; %s", error.message, error.hint)


async def _id_of(records: Records) -> str:
    """Of the database; the first who asks makes it."""
    found = await records.get(KIND, KIND)
    if found is None:
        await records.add(KIND, KIND, "", {"id": new_id()})
        found = await records.get(KIND, KIND)
    return str(found[1]["id"]) if found else ""


def _of_folder(folder: Path) -> str:
    try:
        return (folder / MARK).read_text(encoding="utf-8", errors="replace").strip() or "none"
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StoreError(f"{folder / MARK} cannot be read: {error.strerror or error}", "check who owns it") from error


async def _of_bucket(services: Services) -> str:
    size = await services.storage.size(MARK)
    if size is None:
        return ""
    whole = b"".join([piece async for piece in services.storage.read(MARK, 0, size)])
    return whole.decode(errors="replace").strip() or "none"


async def _strange(services: Services, *, in_bucket: bool) -> bool:
    """Whether there are jobs or uploads, and the database knows none: one that was made just now, by a mistyped address."""
    if await services.records.jobs(limit=1) or await services.records.list(UPLOAD, limit=1):
        return False
    if in_bucket:
        return any([await services.storage.keys(kept) for kept in ("jobs/", "uploads/")])
    return any(any((services.folder / name).glob("[!.]*")) for name in ("jobs", "files/jobs", "files/uploads"))
