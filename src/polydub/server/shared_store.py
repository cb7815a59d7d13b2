"""What many hosts remember together: rows of the memo and artifacts in a bucket; the folder of a host keeps what it has seen.

    store/done/KEY                       a row, put by whoever is first
    store/artifacts/ab/SHA256.SUFFIX     a file, known by its content: put before the rows that name it

Deliveries stay where they were made. Nothing is looked up one by one where it can be asked for together.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from polydub.errors import StoreError
from polydub.server.buckets import Bucket, BucketStorage, connected
from polydub.server.objects import BucketAway, ObjectBucket, Objects
from polydub.store import Remembered, Store, writing
from polydub.types import Artifact

log = logging.getLogger(__name__)
T = TypeVar("T")
WORK = "store/"
ROWS, ARTIFACTS = f"{WORK}done/", f"{WORK}artifacts/"
AT_ONCE, FILES_AT_ONCE = 64, 8  # rows and questions; files that are sent
LOOKED_UP = 500  # rows that SQLite is asked for together
FRESH = timedelta(days=1)  # files put longer ago are put again: they outlive the rows that name them (see `retention`)
UNUSED_S = 6 * 3600.0  # files used later may be in use now
TRIES = 3  # of a run that finds damaged files in the bucket
LONGEST, RETRIES, PATIENCE = timedelta(minutes=10), 8, timedelta(seconds=60)  # of requests to the bucket
_TABLE = "create table if not exists shared (key text primary key)"  # rows that the bucket has
_DIGEST, _SUFFIX = re.compile(r"[0-9a-f]{64}"), re.compile(r"(\.[A-Za-z0-9_-]{1,20})?")


class Lost(StoreError):
    """A file of a remembered result is not there any more, or is another one. The next run makes it anew."""

    code, retryable = "artifact-lost", True


class _Row(BaseModel):
    """A row as it lies in the bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1]
    key: str
    stage: str
    output: str
    notices: str


def named(output: str) -> tuple[Artifact, ...]:
    """The artifacts that stand anywhere in a result, each once; none for what is no JSON."""
    found: dict[Artifact, None] = {}

    def look(tree: dict[str, Any]) -> dict[str, Any]:
        match tree:
            case {"sha256": str(digest), "suffix": str(suffix), "bytes": int(size)} if len(tree) == 3:
                found[Artifact(digest, suffix, size)] = None
            case _:
                pass
        return tree

    if '"sha256"' in output:
        try:
            json.loads(output, object_hook=look)
        except (ValueError, RecursionError):
            return ()
    return tuple(found)


class SharedStore(Store):
    """A store whose rows and artifacts are also in a bucket; what one host has finished no other does again.

    What cannot be put is an error, never kept back in silence: but it stays here, and the next question puts it.

    Args: bucket: what is shared. most: bytes of artifacts that this host keeps for later, when the store is closed; 0 = all.
    doubts: what this host has put may be gone from the bucket: what is asked for is put again.
    Raises: StoreError as `Store`, and BucketAway; Lost for a file that came damaged.
    """

    def __init__(self, folder: Path, bucket: Objects, most: int = 0, *, doubts: bool = False) -> None:
        super().__init__(folder)
        self._most = most
        with self._lock, writing(folder):
            self._db.execute(_TABLE)
            if doubts:
                self._db.execute("delete from shared")
        self._bucket = bucket
        self._seen: dict[str, tuple[int, datetime]] = {}  # artifacts in the bucket: bytes, when they were put
        self._gates = [threading.Lock() for _ in range(256)]  # no file comes twice at once
        self._many = ThreadPoolExecutor(AT_ONCE, "polydub-bucket")
        self._files = ThreadPoolExecutor(FILES_AT_ONCE, "polydub-files")

    def close(self) -> None:
        """See `Store.close`."""
        try:
            self._trim()
        except StoreError as error:  # the next one does it
            log.warning("the files of finished work on this host were not looked through: %s", error.message)
        self._many.shutdown(cancel_futures=True)
        self._files.shutdown(cancel_futures=True)
        super().close()

    # memo

    def look_up(self, keys: Sequence[str]) -> dict[str, Remembered]:
        """The remembered calls among `keys`: those of this host, then those of others, whose rows are copied."""
        self._share(self._unshared(keys))
        found = super().look_up(keys)
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        came = [row for row in self._many.map(self._row, missing) if row is not None]
        self._note(came)
        found.update((row.key, row) for row in came)
        self._look_for(artifact for row in found.values() for artifact in named(row.output))
        return found

    def remember(self, rows: Sequence[Remembered]) -> None:
        """Keeps calls here, then in the bucket: first their files, then the rows. The first result of a key stays."""
        super().remember(rows)
        self._share(self._unshared([row.key for row in rows]))

    def forget(self, keys: Sequence[str]) -> None:
        """Drops calls here and in the bucket."""
        super().forget(keys)
        with self._transaction() as db:
            db.executemany("delete from shared where key = ?", [(key,) for key in keys])
            mine = {str(row[0]) for key in keys for row in db.execute("select key from delivered where key = ?", (key,))}
        list(self._many.map(self._bucket.delete, [_row_at(key) for key in keys if key not in mine]))

    def _unshared(self, keys: Sequence[str]) -> list[Remembered]:
        """Rows that the bucket does not have; those of deliveries mean nothing elsewhere."""
        found: list[Remembered] = []
        with self._lock, writing(self.folder):
            for at in range(0, len(keys), LOOKED_UP):
                some = keys[at : at + LOOKED_UP]
                marks = ",".join("?" * len(some))
                query = (
                    f"select key, stage, output, notices from done where key in ({marks})"  # noqa: S608 - only marks
                    " and key not in (select key from shared) and key not in (select key from delivered)"
                )
                found += [Remembered(*row) for row in self._db.execute(query, some)]
        return found

    def _share(self, rows: Sequence[Remembered]) -> None:
        """Puts rows and the files they name, but not those of people; one whose files are gone is made anew soon."""
        if not rows:
            return
        files = {row.key: [one for one in named(row.output) if one.sha256 not in self._sources] for row in rows}
        every = dict.fromkeys(one for some in files.values() for one in some)
        self._look_for(every, also_here=True)
        old = datetime.now(UTC) - FRESH
        here = [one for one in every if _at(one) and self._is_here(one)]
        list(self._files.map(self._put, [one for one in here if not self._is_there(one) or self._seen[one.sha256][1] < old]))
        whole = [row for row in rows if all(map(self._is_there, files[row.key]))]
        self._note(list(self._many.map(self._put_row, whole)))

    def _put(self, artifact: Artifact) -> None:
        if self._bucket.put_file(_at(artifact), self._place(artifact)):
            self._seen[artifact.sha256] = artifact.bytes, datetime.now(UTC)

    def _put_row(self, row: Remembered) -> Remembered:
        """The row that is in the bucket then: this one, or the one of who was quicker."""
        data = _Row(version=1, key=row.key, stage=row.stage, output=row.output, notices=row.notices).model_dump_json().encode()
        for _ in range(TRIES):
            if self._bucket.put_first(_row_at(row.key), data):
                return row
            if first := self._row(row.key):
                return first
        raise BucketAway("the bucket contradicts itself about what is in it", "try again: what is finished is kept")

    def _row(self, key: str) -> Remembered | None:
        """A row of the bucket; a damaged one is taken out."""
        data = self._bucket.get(_row_at(key))
        if data is None:
            return None
        try:
            row = _Row.model_validate_json(data)
        except ValidationError:
            row = None
        if row is None or row.key != key:
            log.warning("a damaged row was taken out of the bucket; what it told is made anew: %s", _row_at(key))
            self._bucket.delete(_row_at(key))
            return None
        return Remembered(row.key, row.stage, row.output, row.notices)

    def _note(self, rows: Sequence[Remembered]) -> None:
        """Keeps rows here as the bucket has them."""
        if rows:
            with self._transaction() as db:
                values = [(r.key, r.stage, r.output, r.notices) for r in rows]
                db.executemany("insert or replace into done values (?, ?, ?, ?)", values)
                db.executemany("insert or ignore into shared values (?)", [(row.key,) for row in rows])

    # artifacts

    def path(self, artifact: Artifact) -> Path:
        """Where the file lies on this host; it is fetched when it is needed first. Raises: Lost, BucketAway."""
        if artifact.sha256 not in self._sources and not self._is_here(artifact):
            with self._gates[hash(artifact.sha256) % len(self._gates)]:
                if not self._is_here(artifact):
                    self._fetch(artifact)
        place = super().path(artifact)
        if self._most and artifact.sha256 not in self._sources:
            with suppress(OSError):
                os.utime(place)
        return place

    def has(self, artifact: Artifact) -> bool:
        """Whether the file is here or in the bucket in its full length."""
        if not self._is_here(artifact):
            self._look_for([artifact])
        return self._is_here(artifact) or self._is_there(artifact)

    def _is_here(self, artifact: Artifact) -> bool:
        if not _at(artifact) and artifact.sha256 not in self._sources:
            return False
        try:
            return super().path(artifact).stat().st_size == artifact.bytes
        except OSError:
            return False

    def _is_there(self, artifact: Artifact) -> bool:
        """Whether it was in the bucket when last looked for."""
        return self._seen.get(artifact.sha256, (-1,))[0] == artifact.bytes

    def _look_for(self, artifacts: Iterable[Artifact], *, also_here: bool = False) -> None:
        """Asks the bucket for artifacts that are not here, and were not found there before."""
        wanted = [one for one in dict.fromkeys(artifacts) if _at(one) and one.sha256 not in self._sources]
        wanted = [one for one in wanted if not self._is_there(one) and (also_here or not self._is_here(one))]
        for one, facts in zip(wanted, self._many.map(self._bucket.seen, map(_at, wanted)), strict=True):
            if facts is not None:
                self._seen[one.sha256] = facts

    def _fetch(self, artifact: Artifact) -> None:
        """Brings a file. One that is damaged is taken out of the bucket, so that it counts as absent everywhere."""
        if not (key := _at(artifact)):
            raise Lost("a result names a file that cannot be one", "try again: it is made anew")
        place = self._place(artifact)
        with self.scratch() as scratch:
            came = scratch / "came"
            if not self._bucket.fetch(key, came):
                self._seen.pop(artifact.sha256, None)
                raise Lost(f"a file of finished work is gone from the bucket: {key}", "try again: it is made anew")
            with writing(self.folder), came.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != artifact.sha256:
                    self._seen.pop(artifact.sha256, None)
                    self._bucket.delete(key)
                    raise Lost(f"a file came damaged from the bucket: {key}", "try again: it is made anew")
                os.fsync(stream.fileno())
                place.parent.mkdir(exist_ok=True)
                came.replace(place)

    def _trim(self) -> None:
        """Lets go of the artifacts that were not used for longest, of those that the bucket has."""
        if not self._most:
            return
        files = [(stat.st_mtime, stat.st_size, path) for path, stat in _files_in(self.folder / "artifacts")]
        over = sum(size for _, size, _ in files) - self._most
        for used, size, path in sorted(files):
            if over <= 0 or used > time.time() - UNUSED_S:
                return
            one = Artifact(path.stem, path.suffix, size)
            self._look_for([one], also_here=True)
            if self._is_there(one):
                path.unlink(missing_ok=True)
                over -= size


def _files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob("*/*"):
        with suppress(FileNotFoundError):
            yield path, path.stat()


def _row_at(key: str) -> str:
    return ROWS + key


def _at(artifact: Artifact) -> str:
    """The key of an artifact; "" for what is none, wherever it was read: it becomes part of a path."""
    if _DIGEST.fullmatch(artifact.sha256) and _SUFFIX.fullmatch(artifact.suffix):
        return f"{ARTIFACTS}{artifact.sha256[:2]}/{artifact.sha256}{artifact.suffix}"
    return ""


def told(storage: object) -> Mapping[str, Any]:
    """What a resident is told by its pipe of a bucket and its keys; nothing where files lie in a folder of this host."""
    if not isinstance(storage, BucketStorage):
        return {}
    return {"shared": {"bucket": asdict(storage.bucket), "cache_gb": storage.cache_gb}}


def opener(message: Mapping[str, Any]) -> Callable[[Path], Store]:
    """Opens the store of a folder: one of this host, or, where `told` told of a bucket, one that is shared."""
    if "shared" not in message:
        return Store
    shared: Mapping[str, Any] = message["shared"]
    objects = ObjectBucket(connected(Bucket(**shared["bucket"]), LONGEST, RETRIES, PATIENCE))
    part: Mapping[str, Any] = message.get("part") or {}
    doubts = bool(part.get("idle"))  # a step has found nothing to do: perhaps others do not see what is here
    return lambda folder: SharedStore(folder, objects, shared["cache_gb"] << 30, doubts=doubts)


def until_whole(run: Callable[[], T]) -> T:
    """What `run` gives; begun anew, three times in all, where a file of finished work turns out to be lost."""
    for _ in range(TRIES - 1):
        try:
            return run()
        except Lost as error:
            log.warning("%s; it is made anew", error.message)
    return run()
