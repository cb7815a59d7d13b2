"""Dubs that are watched while they are made: playlists and segments (HLS), out of the stream's folder or the storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath
from pydantic import JsonValue

from polydub.server.access import policy, services_of
from polydub.server.contracts import OPEN, JobRow, Principal, Services
from polydub.server.files import LocalFile, Outgoing, send
from polydub.server.job_facts import files_of, media_of
from polydub.server.orders import job_of
from polydub.server.problems import ErrorBody, Problem, not_found
from polydub.server.watching import ENDED, GROWS, MANIFEST, NAME, folder_of, key_of, streams

router = APIRouter(tags=["streams"])
Viewer = Annotated[Principal, Depends(policy("viewer"))]
SOON_S = 2.0  # after which what is not there yet may be


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, 403, 404, *statuses)}


def _file(media: str) -> dict[str, Any]:
    content = {media: {"schema": {"type": "string", "format": "binary"}}}
    return {
        "responses": {200: {"content": content}, 206: {"content": content}, **_errors(400, 416)},
        "response_class": Response,
    }


@router.get("/api/jobs/{id_}/stream/manifest", summary="What there is of a stream", responses=_errors(409))
async def get_stream_manifest(id_: str, request: Request, who: Viewer) -> dict[str, JsonValue]:
    """State, segments with their times, notices. 404 for a job that is no stream, with Retry-After for one that has no
    segment yet."""
    services = services_of(request)
    row = await job_of(services, who, id_)
    try:
        told = cast("dict[str, JsonValue]", json.loads(await _whole(services, row, MANIFEST)))
    except ValueError:
        raise Problem(409, "stream_damaged", "the stream's manifest cannot be read", hint="retry the job") from None
    if told.get("state") == "running" and row.state not in ("queued", "running"):  # killed before it could say so
        told["state"] = "stopped"
    return told


@router.get("/api/jobs/{id_}/stream/index.m3u8", summary="Playlist of a stream", **_file("application/vnd.apple.mpegurl"))
async def get_stream_playlist(id_: str, request: Request, who: Viewer) -> Response:
    """For players; it grows until the dub is done. `master.m3u8` has the subtitles too."""
    return await _sent(request, who, id_, "index.m3u8")


@router.get("/api/jobs/{id_}/stream/chunks/{number}", summary="One segment of a stream, by its number", **_file("video/mp4"))
async def get_stream_chunk(
    id_: str,
    number: Annotated[int, InPath(ge=1, le=999_999, description="1, 2, ...")],
    request: Request,
    who: Viewer,
) -> Response:
    """As a film that can be played alone. 404 with Retry-After while it is not there yet."""
    return await _sent(request, who, id_, f"chunk_{number:03d}.mp4")


@router.get("/api/jobs/{id_}/stream/{name}", summary="A segment or playlist of a stream", **_file("video/mp4"))
async def get_stream_file(id_: str, name: str, request: Request, who: Viewer) -> Response:
    """By the names that the playlists have."""
    return await _sent(request, who, id_, name)


async def _sent(request: Request, who: Principal, id_: str, name: str) -> Response:
    services = services_of(request)
    row = await job_of(services, who, id_)
    if not NAME.fullmatch(name):
        raise not_found("file")
    headers = {
        "cache-control": "no-store" if name in GROWS else "private, max-age=3600",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
    }
    if name in GROWS:  # replaced while it is sent: all of one version
        data = await _whole(services, row, name)
        if row.state in ("failed", "cancelled") and ENDED not in data and name != "master.m3u8":
            data += ENDED + b"\n"  # nobody has to wait for more
        return Response(data, headers=headers, media_type=media_of(name))
    place = await anyio.to_thread.run_sync(_place, services.folder / "jobs" / row.id, name)
    if place is not None:
        return LocalFile(place, media_type=media_of(name), headers=headers)
    await _size(services, row, name)
    return await send(request, services.storage, Outgoing(key_of(row.id, name), name, media_of(name), show=True), direct=False)


async def _whole(services: Services, row: JobRow, name: str) -> bytes:
    place = await anyio.to_thread.run_sync(_place, services.folder / "jobs" / row.id, name)
    if place is not None:
        return await anyio.to_thread.run_sync(place.read_bytes)
    size = await _size(services, row, name)
    return b"".join([piece async for piece in services.storage.read(key_of(row.id, name), 0, size)])


async def _size(services: Services, row: JobRow, name: str) -> int:
    """Of a file in the storage. Raises: Problem 404; with Retry-After where it may still come."""
    known = streams(row) or any(file["name"] == f"stream/{name}" for file in files_of(row))
    size = await services.storage.size(key_of(row.id, name)) if known else None
    if size is not None:
        return size
    if streams(row):
        problem = Problem(
            404, "not_found", "the stream has no part of this name", hint="its playlist index.m3u8 lists its parts"
        )
    else:
        problem = Problem(404, "not_found", "this job is no stream", hint='ask for one with the setting "stream": "segments"')
    if known and row.state in OPEN:
        problem = Problem(404, "not_yet", "this part of the stream is not made yet", hint="ask again soon")
        problem.retry_after = SOON_S
    raise problem


def _place(home: Path, name: str) -> Path | None:
    """Where a file of the stream lies on this host; links are not followed."""
    folder = folder_of(home)
    file = folder / name if folder else home
    return file if file.is_file() and not file.is_symlink() and file.resolve().is_relative_to(home.resolve()) else None
