"""Files that people send: in one request, or piece by piece with pauses, and whole again whatever died meanwhile.

The row of an upload says how many bytes are safe; it is written after they are synced, and what lies behind them in the file
is cut off before anything is appended. A file gets its place in the storage only when all of it is there and it is what is
taken: media that can be opened, or a text that goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from shutil import disk_usage
from time import monotonic

import anyio
import anyio.to_thread

from polydub.errors import UnreadableMedia
from polydub.server.buckets import BucketStorage
from polydub.server.contracts import Services, Upload
from polydub.server.look import Found, inspect
from polydub.server.names import shown
from polydub.server.partial import Hash, Partial, Taken
from polydub.server.pieces import Pieces, Sender, alive, collected
from polydub.server.problems import Problem, not_found
from polydub.server.tokens import new_id
from polydub.server.upload_rows import KIND, MOST_ROWS, Row, busy, bytes_of, document, row_of, too_large, wrong_offset

GB = 10**9
WRITE = 256 << 10  # bytes that are collected before they are written
SAFE_EVERY, SAFE_AFTER_S = 16 << 20, 5.0  # bytes or seconds after which what came is synced and counted
DIRECT_S = 3600  # that a presigned address for an upload holds
SPARE = 1 * GB  # bytes of the disk that uploads leave free

Inspector = Callable[[Path, str], Awaitable[Found]]


def key_of(id_: str) -> str:
    """Where the storage has the bytes of a complete upload."""
    return f"uploads/{id_}"


@dataclass(frozen=True, slots=True)
class Patience:
    """Attributes: idle_s: a sender who is silent for so long is cut off; what came is kept. stale_s: after so much silence it
    makes way for another request. most_open: uploads of one account that may be unfinished."""

    idle_s: float = 30.0
    stale_s: float = 2.0
    most_open: int = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is announced. Attributes: length: bytes; None = it ends when the request ends."""

    name: str
    length: int | None
    metadata: str = ""


class Uploads:
    """The uploads of a server. One per process: `app.state.uploads`."""

    def __init__(self, services: Services, inspector: Inspector = inspect, patience: Patience | None = None) -> None:
        self._services, self._inspect, self._patience = services, inspector, patience or Patience()
        self._folder = services.folder / "incoming"
        self._senders: dict[str, Sender] = {}
        self._hashes: dict[str, tuple[int, Hash]] = {}
        self._counting = asyncio.Lock()
        self._looking = asyncio.Semaphore(2)

    @property
    def most(self) -> int:
        """Bytes of the largest file that is taken."""
        return self._services.settings.max_upload_gb * GB

    # rows

    async def row(self, id_: str) -> Row:
        """Raises: Problem 404; 410 for an unfinished one whose time is over."""
        found = await self._services.records.get(KIND, id_)
        if found is None:
            raise not_found("upload")
        row = row_of(id_, *found)
        if not row.upload.complete and row.upload.expires <= self._services.now():
            raise Problem(410, "upload_expired", "the upload was not finished in time", hint="begin it again")
        return row

    async def get(self, id_: str) -> Upload:
        """As `row`, the facts alone."""
        return (await self.row(id_)).upload

    async def of(self, owner: str) -> Sequence[Upload]:
        """Uploads of an account, newest first."""
        rows = await self._services.records.list(KIND, owner, MOST_ROWS)
        return sorted((row_of(i, o, d).upload for i, o, d in rows), key=lambda u: u.created, reverse=True)

    async def used(self, owner: str) -> int:
        """Bytes of an account's uploads and results; unfinished uploads count in full."""
        return await bytes_of(self._services.records, owner)

    async def touch(self, id_: str) -> None:
        """Notes, to the hour, that a file is used now, so that it is kept on. Raises: Problem 404."""
        row, now = await self.row(id_), self._services.now()
        if row.used is None or now - row.used >= timedelta(hours=1):
            await self._keep(replace(row, used=now))

    async def create(self, owner: str, wanted: Wanted) -> Upload:
        """Makes room for a file.

        Raises: Problem 413 for one that is too large or over the account's quota, 409 with too many unfinished ones, 507
        when the disk is too full.
        """
        if wanted.length is not None and wanted.length > self.most:
            raise too_large(self.most)
        if wanted.length == 0:
            raise UnreadableMedia("the file is empty", "send a film, a sound file or subtitles")
        now = self._services.now()
        kept = timedelta(days=self._services.settings.inputs_days)
        async with self._counting:
            await self._check_room(owner, wanted.length or 0)
            upload = Upload(new_id(), owner, shown(wanted.name), wanted.length, 0, now, now + kept)
            await self._keep(Row(upload, wanted.metadata))
        return upload

    async def drop(self, id_: str) -> None:
        """Deletes an upload, finished or not."""
        async with self._writing(id_, None) as partial:
            await anyio.to_thread.run_sync(partial.path.unlink)
            await self._forget(id_)
        await self._services.storage.delete(key_of(id_))

    async def _check_room(self, owner: str, length: int) -> None:
        mine = await self.of(owner)
        if sum(not u.complete for u in mine) >= self._patience.most_open:
            raise Problem(409, "too_many_uploads", "too many uploads are unfinished", hint="finish or delete some")
        quota = self._services.settings.quota_gb * GB
        if await self.used(owner) + length > quota:
            raise Problem(
                413, "quota_exceeded", f"your files may take {quota // GB} GB together", hint="delete what you do not need"
            )
        if self._free() < length:
            raise Problem(507, "disk_full", "the server has no room for this file", hint="try again or tell its admin")

    def _free(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        return disk_usage(self._folder).free - SPARE

    async def _keep(self, row: Row) -> None:
        await self._services.records.put(KIND, row.upload.id, row.upload.owner, document(row))

    async def _forget(self, id_: str) -> None:
        self._hashes.pop(id_, None)
        await self._services.records.drop(KIND, id_)

    # straight to the bucket

    async def direct(self, owner: str, wanted: Wanted) -> tuple[Upload, str]:
        """Makes room as `create`; the upload, and the address that its bytes are to be PUT to, in an hour.

        Raises: Problem 409 where the server keeps its files itself.
        """
        bucket = self._services.storage
        if not isinstance(bucket, BucketStorage):
            raise Problem(409, "no_direct_uploads", "this server takes uploads itself", hint="use POST /api/uploads")
        upload = await self.create(owner, wanted)
        key = f"incoming/{upload.id}"
        return upload, await bucket.presigned(key, method="PUT", seconds=DIRECT_S, length=upload.length)

    async def arrived(self, id_: str) -> Upload:
        """Takes what was PUT to the address of `direct`: looks at all of it, and gives it its place.

        The address still holds for a while, so that what is looked at and kept is a copy. Raises: Problem 409 when the bytes
        are not there in full, UnreadableMedia.
        """
        key = f"incoming/{id_}"
        async with self._writing(id_, None) as partial:
            row = await self.row(id_)
            if row.upload.complete:
                return row.upload
            if await self._services.storage.size(key) != row.upload.length:
                raise Problem(409, "upload_incomplete", "the bytes are not there", hint="PUT them to the address first")
            await self._services.storage.fetch(key, partial.path)
            copied = await anyio.to_thread.run_sync(Partial, partial.path, row.upload.length or 0)
            try:
                row = replace(row, upload=replace(row.upload, offset=copied.end))
                return await self._finish(row, copied)
            finally:
                copied.close()
                await self._services.storage.delete(key)

    # bytes

    async def receive(self, id_: str, at: int, pieces: Pieces, check: tuple[Hash, bytes] | None = None) -> Upload:
        """Appends to an upload from offset `at` on, and finishes it when it has all its bytes.

        What came is kept when the sender goes away; with `check` (a hash and what it has to be) all of it or nothing.
        Raises: Problem 404, 410; 409 when `at` is not where it ends; 423 while another request writes it; 460 for a wrong
        checksum; 413 for more bytes than announced; 408 for silence; what `finish` raises.
        """
        async with self._writing(id_, at) as partial:
            row = await self.row(id_)
            if row.upload.complete:
                return row.upload
            if partial.end != row.upload.offset:  # another process was quicker between the two looks
                raise wrong_offset(row.upload.offset)
            row = await self._append(row, partial, pieces, check)
            return await self._finish(row, partial) if row.upload.offset == row.upload.length else row.upload

    async def finish(self, id_: str) -> Upload:
        """Finishes an upload that has all its bytes and was cut off before it had its place.

        Raises: UnreadableMedia when it is not what is taken; then it is deleted.
        """
        async with self._writing(id_, None) as partial:
            return await self._finish(await self.row(id_), partial)

    async def take(self, owner: str, name: str, pieces: Pieces) -> Upload:
        """A file in one go. All of it or nothing. Raises: as `create` and `receive`."""
        upload = await self.create(owner, Wanted(name, None))
        try:
            room = self._services.settings.quota_gb * GB - await self.used(owner)
            async with self._writing(upload.id, 0) as partial:
                row = await self._append(Row(replace(upload, length=None)), partial, pieces, None, max(0, min(self.most, room)))
                if row.upload.offset == 0:
                    raise UnreadableMedia("the file is empty", "send a film, a sound file or subtitles")
                return await self._finish(replace(row, upload=replace(row.upload, length=row.upload.offset)), partial)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._forget(upload.id)
                (self._folder / upload.id).unlink(missing_ok=True)
            raise

    @asynccontextmanager
    async def _writing(self, id_: str, at: int | None) -> AsyncGenerator[Partial]:
        """This request's turn at an upload; a silent sender before it is sent away."""
        await self._make_way(id_, at)
        sender = self._senders[id_] = Sender(monotonic(), asyncio.Event(), asyncio.Event())
        try:
            upload = await self.get(id_)  # with what the one before has made safe
            if at is not None and at != upload.offset:
                raise wrong_offset(upload.offset)
            partial = await self._open(id_, 0 if upload.complete else upload.offset)
            try:
                yield partial
            finally:
                if upload.complete:  # the bytes are in the storage
                    partial.path.unlink(missing_ok=True)
                partial.close()
        finally:
            sender.gone.set()
            del self._senders[id_]

    async def _make_way(self, id_: str, at: int | None) -> None:
        upload, other = await self.get(id_), self._senders.get(id_)
        if other is None:
            return
        if at is not None and at < upload.offset:
            raise wrong_offset(upload.offset)
        if monotonic() - other.last < self._patience.stale_s:
            raise busy()
        other.stop.set()
        try:
            async with asyncio.timeout(2):
                await other.gone.wait()
        except TimeoutError:
            raise busy() from None
        if id_ in self._senders:
            raise busy()

    async def _open(self, id_: str, safe: int) -> Partial:
        try:
            return await anyio.to_thread.run_sync(Partial, self._folder / id_, safe)
        except Taken:
            raise busy() from None

    async def _append(
        self, row: Row, partial: Partial, pieces: Pieces, check: tuple[Hash, bytes] | None, most: int | None = None
    ) -> Row:
        """Writes what comes; the row as it is afterwards, also where the sender has gone away."""
        begin, upload = row.upload.offset, row.upload
        whole = await self._hash(upload.id, partial)
        left = (upload.length if upload.length is not None else most or 0) - begin
        hashes = [whole, check[0]] if check else [whole]

        async def safe(row: Row) -> Row:
            end = await anyio.to_thread.run_sync(partial.sync)
            row = replace(row, upload=replace(row.upload, offset=end))
            await self._keep(row)
            self._hashes[upload.id] = (end, whole.copy())
            return row

        clock = monotonic()
        try:
            async for some in collected(alive(pieces, self._senders[upload.id], self._patience.idle_s), WRITE):
                if len(some) > left:
                    raise too_large(begin + left, announced=upload.length is not None)
                await anyio.to_thread.run_sync(partial.write, some, *hashes)
                left -= len(some)
                long = partial.end - row.upload.offset >= SAFE_EVERY or monotonic() - clock >= SAFE_AFTER_S
                if check is None and long:
                    row, clock = await safe(row), monotonic()
        except BaseException:
            if check is None:
                with anyio.CancelScope(shield=True):
                    await safe(row)
            raise
        if check and check[0].digest() != check[1]:
            raise Problem(460, "checksum_mismatch", "the bytes are not what their checksum says", hint="send them again")
        return await safe(row)

    async def _hash(self, id_: str, partial: Partial) -> Hash:
        """SHA-256 of what is there; read anew where this process has not written it all itself."""
        end, known = self._hashes.get(id_, (-1, None))
        if known is None or end != partial.end:
            known = await anyio.to_thread.run_sync(partial.digest)
            self._hashes[id_] = (partial.end, known)
        return known.copy()

    async def _finish(self, row: Row, partial: Partial) -> Upload:
        upload = row.upload
        if upload.complete or upload.length is None or upload.offset != upload.length:
            return upload
        digest = (await self._hash(upload.id, partial)).hexdigest()
        try:
            async with self._looking:
                found = await self._inspect(partial.path, upload.name)
        except UnreadableMedia:
            await self._forget(upload.id)
            partial.path.unlink(missing_ok=True)
            raise
        await self._services.storage.put_file(key_of(upload.id), partial.path)
        now = self._services.now()
        done = replace(
            upload, digest=digest, media=found.media, expires=now + timedelta(days=self._services.settings.inputs_days)
        )
        await self._keep(replace(row, upload=done, seconds=found.seconds, used=now))
        self._hashes.pop(upload.id, None)
        partial.path.unlink(missing_ok=True)
        return done
