"""Dubs that are watched while they are made: done in a resident, and put into the storage piece by piece.

Servers on other hosts, which do not see the stream's folder, serve it from there. Names are those of the stream's folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio.to_thread

from polydub.errors import PolydubError
from polydub.server.advice import noticed
from polydub.server.contracts import JobRow, Storage
from polydub.store import writing

if TYPE_CHECKING:
    from polydub.config import Loaded
    from polydub.dubbing import Ears, Job
    from polydub.engines.pool import EnginePool

log = logging.getLogger(__name__)
FOLDER, MANIFEST = "stream", "manifest.json"
PLAYLIST = "index.m3u8"
GROWS = (MANIFEST, "subtitles.m3u8", "master.m3u8", PLAYLIST)  # in the order in which they are written, and put
NAME = re.compile(r"(?:index|master|subtitles)\.m3u8|[A-Za-z0-9_]{1,60}\.(?:mp4|m4s|vtt)")
LOOK_S = 0.25
ENDED = b"#EXT-X-ENDLIST"


def dub(job: Job, loaded: Loaded, pool: EnginePool, ears: Ears, tell: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Dubs a film as a stream; {"language", "film", ...} as for any dub, and the project's folder as "project".

    The film is the playlist where only segments were wanted; the report is the manifest; lines are not counted.
    Raises: PolydubError, when what was finished can be played.
    """
    from polydub.streaming import stream_film

    (made,) = stream_film(job, loaded, pool, ears)
    for notice in made.notices:
        tell({"notice": noticed(notice) | {"language": made.language}})
    project = made.manifest.parent.parent
    film, report = ((place).relative_to(project).as_posix() for place in (made.film or made.playlist, made.manifest))
    counts = {"calls": made.called, "lines": 0, "segments": made.segments}
    return {"language": made.language, "film": film, "report": report, "duration": made.duration, **counts, "project": project}


def streams(row: JobRow) -> bool:
    """Whether a job makes a stream."""
    return row.kind == "dub" and row.request.get("settings", {}).get("stream", "off") != "off"


def folder_of(home: Path) -> Path | None:
    """Where the stream of a job grows on this host; None where there is none. `home`: the job's folder."""
    places = (home / FOLDER, *sorted(home.glob(f"output/*/{FOLDER}")))
    return next((place for place in places if place.is_dir() and not place.is_symlink()), None)


def key_of(job: str, name: str) -> str:
    """Where the storage has a file of a stream."""
    return f"jobs/{job}/{FOLDER}/{name}"


class Publisher:
    """While entered, what becomes of a stream is put into the storage: segments first, then the lists that name them.

    A list is not put while it names fewer segments than the one that is there, of an attempt on another host: it never gets
    shorter for those who watch. Of a job that is no stream nothing is put.
    """

    def __init__(self, storage: Storage, row: JobRow, home: Path) -> None:
        self._storage, self._job, self._home = storage, row.id, home
        self._works = streams(row)
        self._put: dict[str, tuple[int, int]] = {}
        self._least: int | None = None
        self._seen: tuple[tuple[int, int], ...] = ()

    async def __aenter__(self) -> Publisher:
        self._task = asyncio.create_task(self._watch() if self._works else asyncio.sleep(0))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._works and kind is None:  # else it was cancelled: at once
            await self._tried()

    async def there(self) -> Set[str]:
        """Names of files that are in the storage as they are here."""
        folder = await anyio.to_thread.run_sync(folder_of, self._home)
        return {name for name, seen in self._put.items() if folder and _state(folder / name) == seen}

    async def _watch(self) -> None:
        while True:
            await self._tried()
            await asyncio.sleep(LOOK_S)

    async def _tried(self) -> None:
        try:
            await self._publish()
        except (PolydubError, OSError, ValueError) as error:
            log.warning("the stream of job %s is behind: %s", self._job, error)
            self._seen = ()

    async def _publish(self) -> None:
        """Puts what is new. A list is read before the folder: what it names is there in full by then."""
        folder = await anyio.to_thread.run_sync(folder_of, self._home)
        if folder is None or (seen := tuple(_state(folder / name) for name in GROWS)) == self._seen:
            return
        lists = await anyio.to_thread.run_sync(_lists, folder)
        if MANIFEST not in lists:
            return
        if self._least is None:
            self._least = await self._segments_there()
        for name, state in (await anyio.to_thread.run_sync(_files, folder)).items():
            if self._put.get(name) != state:
                await self._storage.put_file(key_of(self._job, name), folder / name)
                self._put[name] = state
        listed = lists.get(PLAYLIST, b"").count(b"#EXTINF:")
        if listed >= self._least or json.loads(lists[MANIFEST])["state"] != "running":
            await self._put_lists(folder, lists)
        self._seen = seen

    async def _put_lists(self, folder: Path, lists: Mapping[str, bytes]) -> None:
        draft = self._home / "publishing"
        for name in (name for name in GROWS if name in lists):
            state = _state(folder / name)
            draft.unlink(missing_ok=True)  # a folder's storage may share its bytes
            with writing(name):
                await anyio.to_thread.run_sync(draft.write_bytes, lists[name])
            await self._storage.put_file(key_of(self._job, name), draft)
            draft.unlink()
            if await anyio.to_thread.run_sync((folder / name).read_bytes) == lists[name]:
                self._put[name] = state

    async def _segments_there(self) -> int:
        key = key_of(self._job, MANIFEST)
        size = await self._storage.size(key)
        if size is None:
            return 0
        data = b"".join([piece async for piece in self._storage.read(key, 0, size)])
        return len(cast("dict[str, Any]", json.loads(data)).get("segments", ()))


def _state(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _lists(folder: Path) -> Mapping[str, bytes]:
    """The lists, the manifest last: it tells no less than the others."""
    return {name: (folder / name).read_bytes() for name in reversed(GROWS) if (folder / name).is_file()}


def _files(folder: Path) -> Mapping[str, tuple[int, int]]:
    names = sorted(file.name for file in folder.iterdir() if file.is_file() and not file.is_symlink())
    return {name: _state(folder / name) for name in names if NAME.fullmatch(name) and name not in GROWS}
