"""Dubs: `/api/jobs` starts, follows, stops and fetches them; `/api/dub` is the same for simple clients, in one request."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from polydub.errors import PolydubError
from polydub.server.access import may, policy, services_of
from polydub.server.contracts import OPEN, Event, JobRow, JobState, Principal, Services
from polydub.server.dubform import DubForm
from polydub.server.files import Outgoing, send
from polydub.server.job_facts import (
    JobFacts,
    JobList,
    JobPage,
    ProjectFacts,
    ResultFacts,
    facts,
    files_of,
    media_of,
    project,
    result,
)
from polydub.server.orders import FilmWish, JobWish, Orders, early, job_of, remove
from polydub.server.problems import ErrorBody, Problem, forbidden, not_found, reason
from polydub.server.routes.uploads import uploads_of
from polydub.server.shelf import of_job
from polydub.server.streams import EVENTS, KEEP_ALIVE, KEEP_ALIVE_S, UNBUFFERED, Streamed
from polydub.server.streams import event as sent
from polydub.server.uploads import Uploads

router = APIRouter(tags=["jobs"])
_NUMBER = re.compile(r"[0-9]{1,9}")
_SEND = "send the film as the part file, or its address as url, and the languages as target_languages"
Viewer = Annotated[Principal, Depends(policy("viewer"))]
Editor = Annotated[Principal, Depends(policy("editor"))]
House = Annotated[Services, Depends(services_of)]
Incoming = Annotated[Uploads, Depends(uploads_of)]
Key = Annotated[
    str, Header(alias="Idempotency-Key", description="The same key and request again give the same job, not another one.")
]


class BatchWish(BaseModel):
    """Several dubs."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"jobs": [{"input": {"upload": "5f0c2f9f2b1d4c6e"}, "to": ["es"]}]}]}
    )
    jobs: list[JobWish] = Field(min_length=1, max_length=100)


class _Fields(BaseModel):
    """What a form says besides the film."""

    model_config = ConfigDict(extra="forbid")
    target_languages: str
    title: str = Field(default="", max_length=200)
    voice_preset_id: str | None = None
    url: str = Field(default="", max_length=4096)
    options: dict[str, JsonValue] = {}
    voices: dict[str, str] = {}


class _Wanted(BaseModel):
    state: list[JobState] = Field(default=[], description="Only jobs in these states.")
    before: AwareDatetime | None = Field(default=None, description="Only older ones: `next` of the page before.")
    limit: int = Field(default=50, ge=1, le=500)
    everyone: bool = Field(default=False, description="Also jobs of others; for admins.")


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, 403, *statuses)}


# ------------------------------------------------------------------ start


@router.post("/api/jobs", status_code=201, summary="Start a dub", responses=_errors(400, 404, 409, 410, 422, 429))
async def create_job(wish: JobWish, who: Editor, house: House, uploads: Incoming, key: Key = "") -> JobFacts:
    """Films and texts are uploads: send them first. The answer comes at once; `events` tells how the dub gets on."""
    return facts((await Orders(house, uploads).place(who, [wish], key))[0])


@router.post("/api/jobs/batch", status_code=201, summary="Start several dubs", responses=_errors(400, 404, 409, 410, 422, 429))
async def create_jobs(wish: BatchWish, who: Editor, house: House, uploads: Incoming, key: Key = "") -> JobList:
    """All of them, or none where one cannot be or there are more than you may have."""
    return JobList(jobs=[facts(row) for row in await Orders(house, uploads).place(who, wish.jobs, key)])


_TEXT = {"type": "string"}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["target_languages"],
                    "properties": {
                        "target_languages": {**_TEXT, "description": "With commas between.", "example": "es,fr"},
                        "title": _TEXT,
                        "voice_preset_id": {**_TEXT, "description": "A preset of /api/presets that is READY."},
                        "options": {**_TEXT, "description": "Settings as a JSON object."},
                        "voices": {**_TEXT, "description": "Names of voices by speaker, as a JSON object."},
                        "file": {"type": "string", "format": "binary"},
                        "url": {**_TEXT, "description": "Instead of a file: a web address that the server fetches it from."},
                    },
                },
            },
        },
    }
}


@router.post(
    "/api/dub", status_code=201, summary="Upload a film and start its dub", openapi_extra=_FORM,
    responses=_errors(400, 404, 408, 409, 413, 415, 422, 429, 507),
)  # fmt: skip
async def create_dub(request: Request, who: Editor, house: House, uploads: Incoming) -> JobFacts:
    """A form with the film or its address, and the languages. Fields before the film are checked before it is read."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Problem(415, "unsupported_media_type", "a dub comes as multipart/form-data", hint=_SEND)
    form, orders = DubForm(request.headers["content-type"], request.stream()), Orders(house, uploads)
    name = await form.film()
    if name is None:
        wish = _wish(form.fields, None)
        return facts((await orders.place(who, [wish]))[0])
    if "target_languages" in form.fields:
        wish = _wish(form.fields, FilmWish(upload="coming", name=name))
        await orders.check_voices(early(wish))
        await orders.check_preset(who, wish)
        await orders.check_room(who.user.id)
    upload = await uploads.take(who.user.id, name, form.pieces())
    try:
        await form.rest()
        wish = _wish(form.fields, FilmWish(upload=upload.id, name=upload.name))
        return facts((await orders.place(who, [wish]))[0])
    except PolydubError as error:
        kept = f"the film is kept as upload {upload.id}: start it with POST /api/jobs"
        error.hint = f"{error.hint}; {kept}" if error.hint else kept
        raise


def _wish(given: dict[str, str], film: FilmWish | None) -> JobWish:
    """`film`: the upload; None = what the form's `url` says."""
    tree: dict[str, Any] = {name: value for name, value in given.items() if value}
    try:
        for name in ("options", "voices"):
            if name in tree:
                tree[name] = json.loads(tree[name])
        told = _Fields.model_validate(tree)
        if told.url and film:
            raise Problem(422, "invalid_value", "url: there is a film in the form, too", param="url")
        tags = [tag for tag in re.split(r"[,\s]+", told.target_languages) if tag]
        return JobWish(
            input=film or FilmWish(url=told.url),
            to=tags,
            title=told.title,
            settings=told.options,
            voices=told.voices,
            voice_preset_id=told.voice_preset_id,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "form"
        raise Problem(422, "invalid_value", f"{place}: {reason(first)}", param=place) from None
    except (ValueError, RecursionError):
        raise Problem(422, "invalid_value", "options and voices are JSON objects", param="options") from None


@router.get("/api/dub/{id_}", summary="State of a dub", responses=_errors(404))
async def get_dub(id_: str, who: Viewer, house: House) -> JobFacts:
    """As GET /api/jobs/{id}."""
    return facts(await job_of(house, who, id_))


# ------------------------------------------------------------------ look


@router.get("/api/jobs", summary="List jobs", responses=_errors(422))
async def list_jobs(who: Viewer, house: House, wanted: Annotated[_Wanted, Query()]) -> JobPage:
    """Yours, newest first."""
    if wanted.everyone and not may(who, "admin"):
        raise forbidden("jobs of others are for admins")
    owner = "" if wanted.everyone else who.user.id
    states, before = frozenset(wanted.state), wanted.before
    rows = await house.records.jobs(owner=owner, states=states, before=before, limit=wanted.limit)
    following = rows[-1].created if len(rows) == wanted.limit else None
    return JobPage(jobs=[facts(row) for row in rows], next=following)


@router.get("/api/projects", summary="List finished dubs", responses=_errors(422))
async def list_projects(
    who: Viewer,
    house: House,
    before: Annotated[AwareDatetime | None, Query(description="Only older ones.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[ProjectFacts]:
    """Yours, newest first."""
    rows = await house.records.jobs(owner=who.user.id, states=frozenset({"done"}), before=before, limit=limit)
    return [project(row) for row in rows]


@router.get("/api/jobs/{id_}", summary="State of a job", responses=_errors(404))
async def get_job(id_: str, who: Viewer, house: House) -> JobFacts:
    """What it does now."""
    return facts(await job_of(house, who, id_))


@router.get(
    "/api/jobs/{id_}/events", summary="What happens to a job, as it happens",
    responses={200: {"content": {EVENTS: {"schema": {"type": "string"}}}}, 204: {"description": "Nothing comes any more."},
               **_errors(404, 422)},
    response_class=Response,
)  # fmt: skip
async def follow_job(
    id_: str,
    who: Viewer,
    house: House,
    after: Annotated[int, Query(ge=0, le=10**9, description="Number of the last event that is known.")] = 0,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", description="As browsers send it; before `after`.")] = "",
) -> Response:
    """Server-sent events with numbers: first those that were missed, then each as it comes, up to done, failed or cancelled.

    A client that comes back after the last one gets 204, so that browsers do not try again.
    """
    row = await job_of(house, who, id_)
    known = int(last_event_id) if _NUMBER.fullmatch(last_event_id) else after
    if row.state not in OPEN and known:
        past = await house.records.events(id_, known - 1, 2)
        if len(past) == 1 and past[0].number == known and past[0].last:
            return Response(status_code=204)
    held, told = AsyncExitStack(), _told(house.jobs.listen(id_, known))
    held.push_async_callback(told.aclose)
    return Streamed(told, held, media_type=EVENTS, headers=UNBUFFERED)


async def _told(events: AsyncIterator[Event]) -> AsyncGenerator[bytes]:
    """Events as bytes, comments while nothing happens."""
    yield b"retry: 2000\n\n"
    coming = asyncio.ensure_future(_next(events))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=KEEP_ALIVE_S)
            if not done:
                yield KEEP_ALIVE
                continue
            event = coming.result()
            if event is None:
                return
            coming = asyncio.ensure_future(_next(events))
            data = {"number": event.number, "job": event.job, "at": event.at.isoformat(), "kind": event.kind, **event.data}
            yield f"id: {event.number}\n".encode() + sent(data, event.kind)
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        if isinstance(events, AsyncGenerator):
            await events.aclose()


async def _next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)


# ------------------------------------------------------------------ change


def _is(row: JobRow, code: str) -> Problem:
    hint = "POST /api/jobs/{id}/resume goes on with it" if row.state == "paused" else ""
    return Problem(409, code, f"the job is {row.state}", hint=hint)


@router.post("/api/jobs/{id_}/cancel", summary="End a job", responses=_errors(404, 409))
async def cancel_job(id_: str, who: Editor, house: House) -> JobFacts:
    """For good, within two seconds also what runs. Of a job that is cancelled already nothing becomes."""
    row = await job_of(house, who, id_)
    if not await house.jobs.cancel(id_):
        row = await job_of(house, who, id_)
        if row.state != "cancelled":
            raise _is(row, "job_ended")
    return facts(await job_of(house, who, id_))


@router.post("/api/jobs/{id_}/pause", summary="Pause a job", responses=_errors(404, 409))
async def pause_job(id_: str, who: Editor, house: House) -> JobFacts:
    """What is finished is kept for `resume`."""
    await job_of(house, who, id_)
    if not await house.jobs.pause(id_):
        row = await job_of(house, who, id_)
        if row.state != "paused":
            raise _is(row, "job_ended")
    return facts(await job_of(house, who, id_))


@router.post("/api/jobs/{id_}/resume", summary="Go on with a paused job", responses=_errors(404, 409, 429))
async def resume_job(id_: str, who: Editor, house: House, uploads: Incoming) -> JobFacts:
    """As a new attempt; finished stages are remembered."""
    row = await job_of(house, who, id_)
    if row.state != "paused":
        raise _is(row, "not_paused")
    return facts(await again(house, uploads, row))


@router.post("/api/jobs/{id_}/retry", summary="Do a job again", responses=_errors(404, 409, 429))
async def retry_job(id_: str, who: Editor, house: House, uploads: Incoming) -> JobFacts:
    """A new attempt of a job that has ended; finished stages are remembered."""
    row = await job_of(house, who, id_)
    if row.state in OPEN:
        raise _is(row, "job_open")
    return facts(await again(house, uploads, row))


async def again(house: Services, uploads: Uploads, row: JobRow) -> JobRow:
    """A new attempt. Raises: Problem 429 with too many jobs, 409 when another request was quicker."""
    await Orders(house, uploads).check_room(row.owner)
    moved = await house.jobs.again(row.id)
    if moved is None:
        raise Problem(409, "job_open", "the job waits or runs already")
    return moved


@router.delete("/api/jobs/{id_}", status_code=204, summary="Delete a job and its files", responses=_errors(404, 409))
async def delete_job(id_: str, who: Editor, house: House) -> None:
    """Ends it where it has not ended. What webhooks were told of it goes, too; its uploads stay."""
    await remove(house, await job_of(house, who, id_))


# ------------------------------------------------------------------ fetch


async def _done(house: Services, who: Principal, id_: str) -> JobRow:
    row = await job_of(house, who, id_)
    if row.state != "done":
        hint = "" if row.state in OPEN else "POST /api/jobs/{id}/retry does it again"
        raise Problem(409, "job_not_done", f"the job is {row.state}", hint=hint)
    return row


@router.get("/api/jobs/{id_}/result", summary="What came out of a job", responses=_errors(404, 409))
async def get_job_result(id_: str, who: Viewer, house: House) -> ResultFacts:
    """Dubs and files, when it is done."""
    return result(await _done(house, who, id_))


@router.get("/api/jobs/{id_}/files", summary="Files of a job", responses=_errors(404, 409))
async def list_job_files(id_: str, who: Viewer, house: House) -> ResultFacts:
    """As `result`."""
    return result(await _done(house, who, id_))


_BYTES = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_FILE: dict[str, Any] = {
    "responses": {
        200: _BYTES,
        206: {"description": "The range that was asked for.", **_BYTES},
        307: {"description": "The file is at this address of the bucket."},
        **_errors(400, 404, 409, 416, 422),
    },
    "response_class": Response,
}
Show = Annotated[bool, Query(description="To be played in a page, instead of saved; never redirects.")]


@router.get("/api/jobs/{id_}/files/{name:path}", summary="One file of a job", **_FILE)
async def get_job_file(id_: str, name: str, request: Request, who: Viewer, show: Show = False) -> Response:
    """Whole or by range. Only names that `result` lists."""
    house = services_of(request)
    row = await _done(house, who, id_)
    if not any(file["name"] == name for file in files_of(row)):
        raise not_found("file")
    file = Outgoing(of_job(row.id, name), PurePosixPath(name).name, media_of(name), show)
    return await send(request, house.storage, file, direct=not show)


@router.head("/api/jobs/{id_}/files/{name:path}", summary="Size and type of a file of a job", **_FILE)
async def head_job_file(id_: str, name: str, request: Request, who: Viewer, show: Show = False) -> Response:
    """As GET, without the file."""
    return await get_job_file(id_, name, request, who, show)
