"""Files by key, in a folder of this machine or in a bucket of S3, R2 or anything that speaks like them.

Keys are what the server makes up itself ("uploads/<id>", "jobs/<id>/<name>"): words with slashes. Anything that could leave
its place is refused, wherever the key came from.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from polydub.errors import BadSettings, MissingSecret
from polydub.server.buckets import Bucket, BucketStorage
from polydub.server.shelf import PIECE, Shelf, Stored, checked, no_file
from polydub.store import writing

if TYPE_CHECKING:
    from polydub.config import Secrets
    from polydub.config.server import ServerSettings


def open_storage(settings: ServerSettings, secrets: Secrets, folder: Path) -> Shelf:
    """The storage that the settings name: `folder`/files, or a bucket.

    Raises: BadSettings for an address that is no s3://bucket/prefix, MissingSecret without its keys, StoreError when the
    folder cannot be made.
    """
    if not settings.storage:
        return LocalStorage(folder / "files")
    parts = urlsplit(settings.storage)
    if parts.scheme != "s3" or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
        raise BadSettings(f"server.storage cannot be {settings.storage!r}", "write s3://bucket or s3://bucket/prefix")
    held = [secrets.get(name) for name in ("s3_access_key_id", "s3_secret_access_key")]
    if held[0] is None or held[1] is None:
        raise MissingSecret(
            "the keys of the bucket are not set", "set POLYDUB_S3_ACCESS_KEY_ID and POLYDUB_S3_SECRET_ACCESS_KEY"
        )
    prefix = parts.path.strip("/")
    bucket = Bucket(
        parts.netloc,
        checked(prefix) if prefix else "",
        settings.s3_endpoint.rstrip("/") or f"https://s3.{_aws_region(settings)}.amazonaws.com",
        settings.s3_region if settings.s3_endpoint else _aws_region(settings),
        held[0].get_secret_value(),
        held[1].get_secret_value(),
    )
    return BucketStorage(bucket, settings.cache_gb)


def _aws_region(settings: ServerSettings) -> str:
    return "us-east-1" if settings.s3_region == "auto" else settings.s3_region


class LocalStorage:
    """A folder. What is there is there in full: files are written beside their place, synced and renamed.

    Raises: StoreError when it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    async def put_file(self, key: str, file: Path) -> None:
        """Keeps the content of `file` under `key`. On one disk both share the bytes: `file` must not be changed in place."""
        await anyio.to_thread.run_sync(self._put, self._place(key), file)

    async def fetch(self, key: str, to: Path) -> None:
        """Writes a copy to `to`. Raises: BadInput when there is no such file."""
        await anyio.to_thread.run_sync(self._copy_out, self._place(key), to)

    async def size(self, key: str) -> int | None:
        """In bytes; None when there is no such file."""
        return _size(self._place(key))

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes from `start` up to, but without `end`; fewer where the file ends. Raises: BadInput when there is none."""
        place = self._place(key)
        if not place.is_file():
            raise no_file()
        async with await anyio.open_file(place, "rb") as stream:
            await stream.seek(start)
            while start < end and (piece := await stream.read(min(PIECE, end - start))):
                start += len(piece)
                yield piece

    async def delete(self, key: str) -> None:
        """Deletes the file; nothing happens when there is none."""
        await anyio.to_thread.run_sync(self._delete, self._place(key))

    async def keys(self, prefix: str) -> Sequence[str]:
        """Keys that begin with `prefix`, sorted; "" = all."""
        return [each.key for each in await self.stored(prefix)]

    async def stored(self, prefix: str) -> Sequence[Stored]:
        """Files whose keys begin with `prefix`, by key; "" = all."""
        return await anyio.to_thread.run_sync(self._stored, prefix)

    async def presigned(self, key: str, *, method: Literal["GET", "PUT"], seconds: int, name: str = "") -> str | None:
        """None: a folder has no address of its own."""
        return None

    def local(self, key: str) -> Path | None:
        """Where the file lies; None when there is none."""
        place = self._place(key)
        return place if place.is_file() else None

    def _place(self, key: str) -> Path:
        return self.folder / checked(key)

    @staticmethod
    def _put(place: Path, file: Path) -> None:
        draft = place.with_name(f".{uuid.uuid4().hex}")
        with writing(place.name):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(file, draft)
                _sync(draft)
                draft.replace(place)  # of a file that is there already the old bytes are gone only now
                _sync(place.parent)
            finally:
                draft.unlink(missing_ok=True)

    @staticmethod
    def _copy_out(place: Path, to: Path) -> None:
        if not place.is_file():
            raise no_file()
        draft = to.with_name(f".{uuid.uuid4().hex}")
        with writing(to.name):
            try:
                shutil.copyfile(place, draft)
                draft.replace(to)
            finally:
                draft.unlink(missing_ok=True)

    def _delete(self, place: Path) -> None:
        with writing(place.name):
            place.unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds something else
                for folder in place.relative_to(self.folder).parents[:-1]:
                    (self.folder / folder).rmdir()

    def _stored(self, prefix: str) -> Sequence[Stored]:
        found: list[Stored] = []
        for path in self.folder.rglob("*"):
            key = path.relative_to(self.folder).as_posix()
            if key.startswith(prefix) and not path.name.startswith(".") and path.is_file():
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    found.append(Stored(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)))
        return sorted(found, key=lambda each: each.key)


def _size(place: Path) -> int | None:
    try:
        return place.stat().st_size if place.is_file() else None
    except FileNotFoundError:
        return None


def _link_or_copy(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
            raise
        shutil.copyfile(file, to)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
