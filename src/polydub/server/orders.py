"""Jobs as clients ask for them: uploads that must be theirs, a request that can be, and once only for one idempotency key."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from polydub.server import presets, requests
from polydub.server.access import mine, owned
from polydub.server.catalogue import refuse_trials
from polydub.server.contracts import JobRow, JobState, Principal, Services
from polydub.server.library_facts import csv_of
from polydub.server.names import shown
from polydub.server.problems import Problem, not_found, too_many
from polydub.server.requests import Id
from polydub.server.tokens import new_id
from polydub.server.uploads import Uploads
from polydub.server.urls import World, allowing, offered
from polydub.server.webhooks import LOGGED
from polydub.server.wished_voices import check_wished

KIND = "idempotency"  # of documents in the records
WORKING: frozenset[JobState] = frozenset({"queued", "running"})
_BUSY = timedelta(seconds=30)  # for which another request of the same key may be at it
_LONGEST_KEY = 200
_APART = {"title", "priority", "glossary", "voice_preset_id"}  # of a wish: what is no part of a request as it is


class FileWish(BaseModel):
    """A file that was uploaded."""

    model_config = ConfigDict(extra="forbid")
    upload: Id = Field(description="Id of a complete upload.", examples=["5f0c2f9f2b1d4c6e8a7b9c0d"])
    name: str = Field(default="", max_length=1000, description="Its name; empty = as it was uploaded.", examples=["talk.mp4"])


class FilmWish(BaseModel):
    """A film that was uploaded, or one that the server fetches."""

    model_config = ConfigDict(extra="forbid")
    upload: Id | None = Field(default=None, description="Id of a complete upload.", examples=["5f0c2f9f2b1d4c6e8a7b9c0d"])
    url: str | None = Field(
        default=None, min_length=1, max_length=4096, examples=["https://example.org/talk.mp4"],
        description="Instead of an upload: a web address of the file itself, which the job fetches first.",
    )  # fmt: skip
    name: str = Field(default="", max_length=1000, description="Its name; empty = as it is called.", examples=["talk.mp4"])

    @model_validator(mode="after")
    def _one_of_them(self) -> FilmWish:
        if (self.upload is None) == (self.url is None):
            raise ValueError("give either upload or url")
        return self


class JobWish(BaseModel):
    """A dub that is to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"input": {"upload": "5f0c2f9f2b1d4c6e8a7b9c0d"}, "to": ["es", "fr"]}]},
    )
    kind: Literal["dub"] = "dub"
    title: str = Field(default="", max_length=200, description="Empty = the film's name.")
    priority: int = Field(default=5, ge=1, le=9, description="1 is worked on first.")
    input: FilmWish
    to: list[str] = Field(min_length=1, max_length=20, description="Languages, BCP-47.", examples=[["es"]])
    transcript: FileWish | None = None
    translations: dict[str, FileWish] = Field(default={}, max_length=20, description="By language.")
    glossary: Id | None = Field(default=None, description="A glossary of /api/glossaries.")
    files: dict[Literal["glossary", "rttm", "font"], FileWish] = {}
    settings: dict[str, JsonValue] = Field(default={}, max_length=200, description="By their names in the settings' reference.")
    voices: dict[str, str] = Field(default={}, max_length=200, description="Names of voices by speaker.")
    voice_preset_id: Id | None = Field(
        default=None, description="A preset of /api/presets that is READY: whom `voices` leaves out speaks in its voice."
    )
    preset: Annotated[str, Field(max_length=100, description="Name of what these settings are, for people.")] = ""


def early(wish: JobWish) -> requests.Request:
    """What can be told of a wish before the film is there. Raises: BadSettings for what cannot be."""
    return requests.read(wish.model_dump(exclude=_APART, exclude_none=True))


async def request_of(who: Principal, wish: JobWish, uploads: Uploads, world: World) -> requests.Request:
    """The request of a wish. Raises: Problem 404, 409, 410 for an upload; Refused for a url; BadSettings for what cannot be."""
    tree: dict[str, Any] = wish.model_dump(exclude=_APART, exclude_none=True)
    for file in _files(tree):
        if "url" in file:
            file.update(coming(file["url"], world, file["name"]))
            continue
        upload = mine(who, await uploads.get(file["upload"]), "upload")
        if not upload.complete:
            raise Problem(409, "upload_incomplete", f"the upload {upload.id} is not complete", hint="send the rest of it first")
        file["name"] = file["name"] or upload.name
    return requests.read(tree)


def coming(url: str, world: World, name: str = "") -> dict[str, str]:
    """The film at an address: an upload that is going to be. Raises: Refused."""
    address = offered(url, world)
    return {"upload": new_id(), "url": address, "name": name or shown(unquote(urlsplit(address).path))}


def _files(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    transcript = [tree["transcript"]] if "transcript" in tree else []
    return [tree["input"], *transcript, *tree["translations"].values(), *tree["files"].values()]


class Orders:
    """Takes orders for one request of a client. `uploads`: the server's."""

    def __init__(self, services: Services, uploads: Uploads) -> None:
        self._services, self._uploads = services, uploads

    async def place(self, who: Principal, wishes: Sequence[JobWish], key: str = "") -> list[JobRow]:
        """Submits jobs, all or (where there are too many) none; those that are there already, for a key that was used.

        What has been deleted since is not begun anew; and what a wish names need not be there any more.
        Raises: what `request_of` raises; TooManyJobs and Problem 429; Problem 422 for a voice that nobody has, and for a key
        that was used for something else, 409 while another request of it is at it, 410 where all of its jobs were deleted.
        """
        if begun := await self._begun(who, key, wishes) if key else ():
            return await self._left(begun)
        world = allowing(self._services.settings.url_hosts)
        asked = [await request_of(who, wish, self._uploads, world) for wish in wishes]
        for request in asked:
            refuse_trials(request.settings, self._services.settings)
            await self.check_voices(request)
        for wish in wishes:
            await self._terms(who, wish)
            await self.check_preset(who, wish)
        document = await self._once(who, key, wishes) if key else {"jobs": [new_id() for _ in wishes]}
        if document.get("started"):
            return await self._left(document["jobs"])
        kept: Mapping[str, Any] = {}
        try:
            rows = await self._submit(who, list(zip(document["jobs"], wishes, asked, strict=True)), again=bool(key))
            kept = {"started": True}
            return rows
        finally:
            if key:
                kept = kept or {"failed": True}
                await self._services.records.put(KIND, _name(who, key), who.user.id, {**document, **kept})

    async def _left(self, ids: Sequence[str]) -> list[JobRow]:
        """Those of the jobs of a key that were not deleted. Raises: Problem 410."""
        rows = [row for row in [await self._services.records.job(id_) for id_ in ids] if row]
        if not rows:
            hint = "take a new key to begin anew"
            raise Problem(410, "job_deleted", "what this key began was deleted", param="Idempotency-Key", hint=hint)
        return rows

    async def _submit(
        self, who: Principal, orders: Sequence[tuple[str, JobWish, requests.Request]], again: bool
    ) -> list[JobRow]:
        """`again`: some may be there already."""
        now, records = self._services.now(), self._services.records
        rows: list[JobRow] = []
        fresh: list[tuple[JobRow, requests.Request]] = []
        for number, (id_, wish, request) in enumerate(orders):
            there = await records.job(id_) if again else None
            if there is None:
                at = now + timedelta(microseconds=number)  # lists go on from a time
                title = wish.title or request.input.name
                whole = await self._with_voice(who, wish, await self._with_glossary(who, wish, request))
                tree = whole.model_dump(mode="json")
                there = JobRow(id_, who.user.id, "dub", title, tree, "queued", at, at, priority=wish.priority)
                fresh.append((there, whole))
            rows.append(there)
        if len(fresh) > 1:
            await self.check_room(who.user.id, len(fresh))
        for row, whole in fresh:
            await self._services.jobs.submit(row)
            for upload in requests.uploads(whole):
                await self._uploads.touch(upload)
        return rows

    async def _terms(self, who: Principal, wish: JobWish) -> bytes | None:
        """The glossary that is wished, as CSV. Raises: Problem 404; 422 for two."""
        if wish.glossary is None:
            return None
        if "glossary" in wish.files:
            raise Problem(422, "invalid_value", "glossary: there is one among the files too", param="glossary")
        found = await self._services.records.get("glossary", wish.glossary)
        owned(who, found[0] if found else None, "glossary")
        return csv_of(found[1]["entries"] if found else [])

    async def _with_glossary(self, who: Principal, wish: JobWish, request: requests.Request) -> requests.Request:
        """The glossary as it is now is an upload of its own, which the job keeps whatever becomes of the glossary."""
        terms = await self._terms(who, wish)
        if terms is None:
            return request
        upload = await self._uploads.take(who.user.id, "glossary.csv", _whole(terms))
        file = requests.File(upload=upload.id, name=upload.name)
        return request.model_copy(update={"files": {**request.files, "glossary": file}})

    async def check_preset(self, who: Principal, wish: JobWish) -> None:
        """Raises: Problem 404, 409 for a preset that no dub can name."""
        if wish.voice_preset_id:
            await presets.ready(self._services.records, who, wish.voice_preset_id)

    async def _with_voice(self, who: Principal, wish: JobWish, request: requests.Request) -> requests.Request:
        """The voice of a preset as it is now, which the job keeps whatever becomes of the preset."""
        if not wish.voice_preset_id:
            return request
        name, files = await presets.ready(self._services.records, who, wish.voice_preset_id)
        return request.model_copy(update={"voice": files, "preset": request.preset or name})

    async def check_voices(self, request: requests.Request) -> None:
        """Raises: Problem 422 for a voice that nobody has, as far as that can be told now."""
        if request.voices:
            await anyio.to_thread.run_sync(check_wished, self._services, request)

    async def check_room(self, owner: str, more: int = 1) -> None:
        """Raises: Problem 429 when so many more jobs of an account may not wait or run."""
        have, limit = await self._services.records.count_jobs(owner, WORKING), self._services.settings.jobs_a_user
        if have + more > limit:
            problem = too_many(f"{have} jobs are waiting or running, and {limit} may", 60, "too_many_jobs")
            problem.hint = "wait until one of them is done, or cancel one"
            raise problem

    async def _begun(self, who: Principal, key: str, wishes: Sequence[JobWish]) -> Sequence[str]:
        """The jobs that these wishes have begun by this key; none yet, or others: `_once` tells."""
        found = await self._services.records.get(KIND, _name(who, key))
        known: Mapping[str, Any] = found[1] if found else {}
        return known["jobs"] if known.get("started") and known["digest"] == _digest(wishes) else ()

    async def _once(self, who: Principal, key: str, wishes: Sequence[JobWish]) -> Mapping[str, Any]:
        """The document of an idempotency key: made now, or found."""
        if len(key) > _LONGEST_KEY or not key.isprintable():
            raise Problem(400, "bad_header", f"Idempotency-Key has at most {_LONGEST_KEY} characters", param="Idempotency-Key")
        records, now = self._services.records, self._services.now()
        fresh: Mapping[str, Any] = {
            "digest": _digest(wishes),
            "jobs": [new_id() for _ in wishes],
            "at": now.isoformat(),
        }
        if await records.add(KIND, _name(who, key), who.user.id, fresh):
            return fresh
        found = await records.get(KIND, _name(who, key))
        known = found[1] if found else fresh
        if known["digest"] != fresh["digest"]:
            raise Problem(
                422, "idempotency_key_reused", "this key was used for another request", param="Idempotency-Key",
                hint="take a new key for each request",
            )  # fmt: skip
        there = all([await records.job(id_) is not None for id_ in known["jobs"]])
        if not there and not known.keys() & {"failed", "started"} and now - datetime.fromisoformat(known["at"]) < _BUSY:
            problem = Problem(409, "idempotency_in_progress", "another request of this key is being worked on")
            problem.retryable, problem.retry_after = True, 1.0
            raise problem
        return known


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _digest(wishes: Sequence[JobWish]) -> str:
    told = json.dumps([wish.model_dump(mode="json") for wish in wishes], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _name(who: Principal, key: str) -> str:
    return hashlib.sha256(f"{who.user.id}\n{key}".encode()).hexdigest()


async def job_of(services: Services, who: Principal, id_: str) -> JobRow:
    """A job that may be seen. Raises: Problem 404, also for one that was deleted."""
    row = await services.records.job(id_)
    if row is None:
        raise not_found("job")
    owned(who, row.owner, "job")
    return row


async def remove(services: Services, row: JobRow) -> None:
    """Ends a job and deletes all of it; what fails after the row has gone is for `retention`. Raises: Problem 409."""
    records, storage = services.records, services.storage
    await services.jobs.cancel(row.id)
    if not await records.drop_job(row.id, when=frozenset({"done", "failed", "cancelled"})):
        if await records.job(row.id):
            raise Problem(409, "job_open", "the job has just been begun anew", hint="delete it again")
        return
    await records.drop_events(row.id)
    await records.drop_naming(LOGGED, row.owner, row.id)
    for key in await storage.keys(f"jobs/{row.id}/"):
        await storage.delete(key)
    await anyio.to_thread.run_sync(lambda: shutil.rmtree(services.folder / "jobs" / row.id, ignore_errors=True))
