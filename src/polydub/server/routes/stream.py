"""Dubs that are watched while they are made: playlists and segments (HLS) out of the stream folder of a job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, cast

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse
from pydantic import JsonValue

from polydub.server.access import policy, services_of
from polydub.server.contracts import JobRow, Principal, Services
from polydub.server.files import Outgoing, send
from polydub.server.job_facts import files_of, media_of
from polydub.server.orders import job_of
from polydub.server.problems import ErrorBody, Problem, not_found

router = APIRouter(tags=["streams"])
_SAFE = re.compile(r"(?:index|master|subtitles)\.m3u8|[A-Za-z0-9_]{1,60}\.(?:mp4|m4s|vtt)")
_GROWS = ("manifest.json", "index.m3u8", "master.m3u8", "subtitles.m3u8")
Viewer = Annotated[Principal, Depends(policy("viewer"))]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, 403, 404, *statuses)}


def _file(media: str) -> dict[str, Any]:
    content = {media: {"schema": {"type": "string", "format": "binary"}}}
    return {"responses": {200: {"content": content}, 206: {"content": content}, **_errors(416)}, "response_class": Response}


@router.get("/api/jobs/{id_}/stream/manifest", summary="What there is of a stream", responses=_errors(409))
async def get_stream_manifest(id_: str, request: Request, who: Viewer) -> dict[str, JsonValue]:
    """State, segments with their times, notices. 404 for a job that is no stream."""
    services = services_of(request)
    row = await job_of(services, who, id_)
    data = await _bytes(services, row, "manifest.json")
    try:
        return cast("dict[str, JsonValue]", json.loads(data))
    except ValueError:
        raise Problem(409, "stream_damaged", "the stream's manifest cannot be read", hint="retry the job") from None


@router.get("/api/jobs/{id_}/stream/index.m3u8", summary="Playlist of a stream", **_file("application/vnd.apple.mpegurl"))
async def get_stream_playlist(id_: str, request: Request, who: Viewer) -> Response:
    """For players; it grows until the dub is done. `master.m3u8` has the subtitles too."""
    return await _sent(request, who, id_, "index.m3u8")


@router.get("/api/jobs/{id_}/stream/{name}", summary="A segment or playlist of a stream", **_file("video/mp4"))
async def get_stream_file(id_: str, name: str, request: Request, who: Viewer) -> Response:
    """By the names that the playlists have."""
    return await _sent(request, who, id_, name)


async def _sent(request: Request, who: Principal, id_: str, name: str) -> Response:
    services = services_of(request)
    row = await job_of(services, who, id_)
    if not _SAFE.fullmatch(name):
        raise not_found("file")
    place = await anyio.to_thread.run_sync(_place, services.folder / "jobs" / row.id, name)
    if place is None:
        if not any(file["name"] == f"stream/{name}" for file in files_of(row)):
            raise not_found("file")
        return await send(
            request, services.storage, Outgoing(f"jobs/{row.id}/stream/{name}", name, media_of(name), show=True), direct=False
        )
    headers = {
        "cache-control": "no-store" if name in _GROWS else "private, max-age=3600",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
    }
    if name in _GROWS:  # replaced while it is sent: all of one version
        return Response(await anyio.to_thread.run_sync(place.read_bytes), headers=headers, media_type=media_of(name))
    return FileResponse(place, media_type=media_of(name), headers=headers)


async def _bytes(services: Services, row: JobRow, name: str) -> bytes:
    place = await anyio.to_thread.run_sync(_place, services.folder / "jobs" / row.id, name)
    if place is not None:
        return await anyio.to_thread.run_sync(place.read_bytes)
    key = f"jobs/{row.id}/stream/{name}"
    size = await services.storage.size(key) if any(f["name"] == f"stream/{name}" for f in files_of(row)) else None
    if size is None:
        raise not_found("stream")
    return b"".join([piece async for piece in services.storage.read(key, 0, size)])


def _place(home: Path, name: str) -> Path | None:
    """Where a file of the stream lies on this host; links are not followed."""
    for folder in (home / "stream", *sorted(home.glob("output/*/stream")), home / "output" / "stream"):
        file = folder / name
        if file.is_file() and not file.is_symlink() and file.resolve().is_relative_to(home.resolve()):
            return file
    return None
