"""The first step of a job whose film is at an address: it is fetched, looked at, and kept as an upload of whoever asked.

Begun anew after a kill: what has come by then is thrown away. A film that is there already is not fetched again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from polydub.errors import PolydubError, UnreadableMedia
from polydub.server import requests, urls
from polydub.server.contracts import JobRow, Upload
from polydub.server.look import inspect
from polydub.server.names import shown
from polydub.server.patience import patient
from polydub.server.problems import Problem
from polydub.server.resident import Throttle
from polydub.server.upload_rows import KIND, Row, bytes_of, document, row_of
from polydub.server.uploads import GB, SPARE, key_of
from polydub.store import writing
from polydub.types import Progress

if TYPE_CHECKING:
    from polydub.server.jobs import Kept
    from polydub.server.work import Hear

STEP, QUEUE = "fetch", "net"
_SIZE = "url_too_large"


def wanted(row: JobRow) -> bool:
    """Whether a job begins with this step."""
    return row.kind == "dub" and bool(row.request["input"].get("url"))


class Fetcher:
    """Fetches films. `world`: what may be reached; None = the internet, and what the setting url_hosts lists. `limits`: None =
    the usual ones, and the setting url_minutes."""

    def __init__(self, kept: Kept, world: urls.World | None = None, limits: urls.Limits | None = None) -> None:
        self._kept = kept
        self.limits = limits or replace(urls.STANDARD, seconds=kept.settings.url_minutes * 60.0)
        self.world = world or urls.allowing(kept.settings.url_hosts)

    async def fetch(self, row: JobRow, hear: Hear) -> Mapping[str, Any]:
        """Sees to it that the film's upload is there; the fields of the job's row that change with its name.

        Raises: PolydubError: the address is refused, unreachable, what it gives is too large for the server or the owner's
        quota, or no media.
        """
        film = requests.read(row.request).input
        try:
            name = await self._known(film.upload) or await self._fetched(row, film, hear)
        except PolydubError as error:
            error.stage = error.stage or STEP
            raise
        default = requests.safe_name(shown(unquote(urlsplit(film.url).path)))
        if film.name != default or name == film.name:  # a name was given
            return {}
        title = {"title": name} if row.title == film.name else {}
        return {"request": {**row.request, "input": {**row.request["input"], "name": name}}, **title}

    async def _known(self, id_: str) -> str:
        """The name of an upload that is there in full; "" where there is none."""
        found = await patient(lambda: self._kept.records.get(KIND, id_))
        if found is None or await self._kept.storage.size(key_of(id_)) is None:
            return ""
        return requests.safe_name(row_of(id_, *found).upload.name)

    async def _fetched(self, row: JobRow, film: requests.Film, hear: Hear) -> str:
        folder = self._kept.folder / "jobs" / row.id / STEP
        shutil.rmtree(folder, ignore_errors=True)
        with writing(STEP):
            folder.mkdir(parents=True)
        try:
            name = await self._come(row, film.url, folder / "film", hear)
            await self._keep(row, film.upload, folder / "film", requests.safe_name(name))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return requests.safe_name(name)

    async def _come(self, row: JobRow, url: str, file: Path, hear: Hear) -> str:
        passes, settings = Throttle(), self._kept.settings
        most, left = min(settings.max_upload_gb * GB, self.limits.bytes), await self._left(row.owner)
        free = max(0, shutil.disk_usage(file.parent).free - SPARE)

        def heard(came: int, of: int | None) -> None:
            progress = Progress(STEP, came, max(of or 0, came + (of is None)))
            if passes(progress):
                hear({"progress": {"stage": STEP, "done": progress.done, "total": progress.total}})

        try:
            return await urls.fetch(url, file, replace(self.limits, bytes=min(most, left, free)), self.world, heard)
        except Problem as error:
            if error.code != _SIZE or most <= min(left, free):
                raise
            if left <= free:
                raise self._over() from None
            raise Problem(507, "disk_full", "the server has no room for this film", hint="tell its admin") from None

    async def _left(self, owner: str) -> int:
        """Bytes that an account's files may still take."""
        return max(0, self._kept.settings.quota_gb * GB - await patient(lambda: bytes_of(self._kept.records, owner)))

    def _over(self) -> Problem:
        room = f"the film does not fit: your files may take {self._kept.settings.quota_gb} GB together"
        return Problem(413, "quota_exceeded", room, hint="delete what you do not need, then retry the job")

    async def _keep(self, row: JobRow, id_: str, file: Path, name: str) -> None:
        """Looks at the film as at an upload, and makes it one."""
        found = await inspect(file, name)
        if not found.media.startswith(("video/", "audio/")):
            raise UnreadableMedia("what the address gives is a text, not a film", "give the address of the film itself")
        digest = await anyio.to_thread.run_sync(_digest, file)
        size, now = file.stat().st_size, self._kept.now()
        if size > await self._left(row.owner):  # others have come meanwhile
            raise self._over()
        await self._kept.storage.put_file(key_of(id_), file)
        until = now + timedelta(days=self._kept.settings.inputs_days)
        upload = Upload(id_, row.owner, name, size, size, now, until, digest, found.media)
        kept = document(Row(upload, seconds=found.seconds, used=now))
        await patient(lambda: self._kept.records.put(KIND, id_, row.owner, kept))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
