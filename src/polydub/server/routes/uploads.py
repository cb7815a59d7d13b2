"""Uploads: `POST /api/upload` takes a file in one request, `/api/uploads` speaks tus 1.0 for those that take long.

Clients with a bucket behind the server may also send to it directly: `POST /api/uploads/direct`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from polydub.server.access import mine, policy, services_of
from polydub.server.contracts import Principal, Upload
from polydub.server.forms import FileForm
from polydub.server.partial import Hash
from polydub.server.problems import ErrorBody, Problem
from polydub.server.uploads import Uploads, Wanted

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
BYTES = "application/offset+octet-stream"
_ALGORITHMS = ("sha1", "sha256")
_LONGEST_METADATA = 4096
_NUMBER = re.compile(r"[0-9]{1,18}")
_WORD = re.compile(r"[!-+\--~]+")
_TUS = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}


class UploadFacts(BaseModel):
    """A file that is coming or has come."""

    id: str = Field(description="Names the file in a job's input.", examples=["5f0c2f9f2b1d4c6e8a7b9c0d"])
    name: str = Field(description="Its name, as it was sent.", examples=["talk.mp4"])
    bytes: int = Field(description="Bytes that are safe.")
    length: int | None = Field(description="Bytes that were announced.")
    complete: bool = Field(description="Whether it can be used.")
    media: str = Field(description="What it is; empty until it is complete.", examples=["video/mp4"])
    sha256: str = Field(description="Of its bytes; empty until it is complete.")
    created: datetime
    expires: datetime = Field(description="When it is deleted unless it is used or, before it is complete, finished.")


class DirectWish(BaseModel):
    """A file that is to go straight to the bucket."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "talk.mp4", "length": 104857600}]})
    name: str = Field(max_length=255)
    length: int = Field(ge=1, description="In bytes; exactly so many have to come.")


class DirectFacts(UploadFacts):
    """An upload, and where its bytes go."""

    url: str = Field(description="For one PUT of all bytes within an hour; treat it like a password.")


def facts(upload: Upload) -> UploadFacts:
    """What clients see of an upload."""
    return UploadFacts(
        id=upload.id,
        name=upload.name,
        bytes=upload.offset,
        length=upload.length,
        complete=upload.complete,
        media=upload.media,
        sha256=upload.digest,
        created=upload.created,
        expires=upload.expires,
    )


def uploads_of(request: Request) -> Uploads:
    """The server's uploads; a dependency."""
    if not hasattr(request.app.state, "uploads"):
        request.app.state.uploads = Uploads(services_of(request))
    return request.app.state.uploads


Editor = Annotated[Principal, Depends(policy("editor"))]
Viewer = Annotated[Principal, Depends(policy("viewer"))]
Service = Annotated[Uploads, Depends(uploads_of)]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in statuses}


router = APIRouter(tags=["uploads"])
_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}},
            },
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
_COUNT = {"type": "integer", "minimum": 0}
_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Tus-Resumable": {"required": True, "schema": {"type": "string", "default": VERSION}},
    "Upload-Length": {"required": True, "schema": _COUNT, "description": "Bytes of the whole file."},
    "Upload-Offset": {"required": True, "schema": _COUNT, "description": "Where these bytes go: what HEAD told."},
    "Upload-Metadata": {"schema": {"type": "string"}, "description": "`filename` and the name in Base64."},
    "Upload-Checksum": {
        "schema": {"type": "string"},
        "description": "`sha256` or `sha1`, and the hash of these bytes in Base64.",
    },
}


def _heads(*names: str) -> dict[str, Any]:
    """Headers that clients send, for the document: what is wrong with them is told by tus's own statuses."""
    return {"parameters": [{"name": name, "in": "header", **_HEADERS[name]} for name in ("Tus-Resumable", *names)]}


_BODY = {"content": {BYTES: {"schema": _BINARY}}}
_CREATION = {"requestBody": _BODY, **_heads("Upload-Length", "Upload-Metadata", "Upload-Checksum")}
_CHUNK = {"requestBody": {"required": True, **_BODY}, **_heads("Upload-Offset", "Upload-Checksum")}


@router.post(
    "/api/upload",
    status_code=201,
    summary="Upload a file in one request",
    responses=_errors(400, 401, 403, 408, 413, 415, 422, 507),
    openapi_extra=_FORM,
)
async def upload_file(
    request: Request,
    who: Editor,
    service: Service,
    name: Annotated[str, Query(description="The file's name, where the body is the file itself.", max_length=255)] = "",
) -> UploadFacts:
    """Takes a film, a sound file, or subtitles: as a form with the part `file`, or as the body itself with `?name=`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    announced = request.headers.get("content-length", "")
    if _NUMBER.fullmatch(announced) and int(announced) > service.most + (1 << 20):
        raise Problem(413, "upload_too_large", f"the file is larger than the {service.most} bytes that are taken")
    if kind == "multipart/form-data":
        form = FileForm(request.headers["content-type"], request.stream())
        sent_as = await form.begin()
        return facts(await service.take(who.user.id, name or sent_as, form.pieces()))
    if kind not in ("", "application/octet-stream", BYTES) and not kind.startswith(("video/", "audio/", "text/")):
        raise Problem(415, "unsupported_media_type", f"{kind} is not taken", hint="send multipart/form-data")
    return facts(await service.take(who.user.id, name, request.stream()))


@router.options("/api/uploads", status_code=204, summary="What of tus is spoken", dependencies=[Depends(policy("public"))])
async def upload_abilities(service: Service) -> Response:
    """Version, extensions and limits, as headers."""
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(service.most),
            "Tus-Checksum-Algorithm": ",".join(_ALGORITHMS),
        },
    )


@router.get("/api/uploads", summary="List uploads", responses=_errors(401))
async def list_uploads(who: Viewer, service: Service) -> list[UploadFacts]:
    """Your uploads, newest first."""
    return [facts(each) for each in await service.of(who.user.id)]


@router.post(
    "/api/uploads",
    status_code=201,
    summary="Begin a resumable upload (tus 1.0)",
    response_class=Response,
    responses=_errors(400, 401, 403, 409, 412, 413, 415, 422, 507),
    openapi_extra=_CREATION,
)
async def create_upload(request: Request, who: Editor, service: Service) -> Response:
    """Answers with the upload's address in `Location`. A body of type application/offset+octet-stream is its first bytes."""
    with _tus(request):
        length = _number(request, "Upload-Length")
        metadata = request.headers.get("upload-metadata", "")
        wanted = Wanted(_metadata(metadata).get("filename", ""), length, metadata)
        has_body = request.headers.get("content-type", "") == BYTES
        begun = await service.create(who.user.id, wanted)
        if has_body:
            begun = await service.receive(begun.id, 0, request.stream(), _checksum(request))
    headers = {**_TUS, "Location": f"/api/uploads/{begun.id}", "Upload-Offset": str(begun.offset), **_expiry(begun)}
    return Response(status_code=201, headers=headers)


@router.post(
    "/api/uploads/direct",
    status_code=201,
    summary="Begin an upload straight to the bucket",
    responses=_errors(401, 403, 409, 413, 422, 507),
)
async def create_direct_upload(wish: DirectWish, who: Editor, service: Service) -> DirectFacts:
    """Answers with the address that the bytes are to be PUT to, all at once; 409 where the server has no bucket."""
    upload, url = await service.direct(who.user.id, Wanted(wish.name, wish.length))
    return DirectFacts(**facts(upload).model_dump(), url=url)


@router.post(
    "/api/uploads/{id_}/arrived", summary="All bytes are in the bucket", responses=_errors(401, 403, 404, 409, 410, 422)
)
async def take_direct_upload(id_: str, who: Editor, service: Service) -> UploadFacts:
    """Looks at what was sent to the bucket; afterwards it can be used."""
    mine(who, await service.get(id_), "upload")
    return facts(await service.arrived(id_))


@router.head(
    "/api/uploads/{id_}",
    summary="How much of an upload is safe (tus 1.0)",
    response_class=Response,
    responses=_errors(401, 404, 410, 412),
    openapi_extra=_heads(),
)
async def upload_offset(id_: str, request: Request, who: Viewer, service: Service) -> Response:
    """`Upload-Offset` is where to go on from."""
    with _tus(request):
        row = await service.row(id_)
        state = mine(who, row.upload, "upload")
        if state.length == state.offset and not state.complete:
            state = await service.finish(id_)
    headers = {**_TUS, "Upload-Offset": str(state.offset), **_expiry(state)}
    if state.length is not None:
        headers["Upload-Length"] = str(state.length)
    if row.metadata:
        headers["Upload-Metadata"] = row.metadata
    return Response(status_code=200, headers=headers)


@router.get("/api/uploads/{id_}", summary="Facts of an upload", responses=_errors(401, 404, 410))
async def get_upload(id_: str, who: Viewer, service: Service) -> UploadFacts:
    """What is known of a file."""
    return facts(mine(who, await service.get(id_), "upload"))


@router.patch(
    "/api/uploads/{id_}",
    status_code=204,
    summary="Send more of an upload (tus 1.0)",
    responses=_errors(400, 401, 403, 404, 408, 409, 410, 412, 413, 415, 422, 423, 507),
    openapi_extra=_CHUNK,
)
async def append_upload(id_: str, request: Request, who: Editor, service: Service) -> Response:
    """Bytes from `Upload-Offset` on. What came is kept, however the request ends."""
    with _tus(request):
        state = mine(who, await service.get(id_), "upload")
        if request.headers.get("content-type", "") != BYTES:
            raise Problem(415, "unsupported_media_type", f"the bytes come as {BYTES}", param="Content-Type")
        at, announced = _number(request, "Upload-Offset"), request.headers.get("content-length", "")
        if state.length is not None and _NUMBER.fullmatch(announced) and at + int(announced) > state.length:
            raise Problem(
                413, "upload_too_large", f"the upload has {state.length} bytes, this goes beyond", param="Upload-Offset"
            )
        state = await service.receive(id_, at, request.stream(), _checksum(request))
    return Response(status_code=204, headers={**_TUS, "Upload-Offset": str(state.offset), **_expiry(state)})


@router.delete("/api/uploads/{id_}", status_code=204, summary="Delete an upload", responses=_errors(401, 403, 404, 410, 423))
async def delete_upload(id_: str, who: Editor, service: Service) -> Response:
    """Deletes the file, finished or not. Jobs that still need it fail."""
    with _TusErrors():
        mine(who, await service.get(id_), "upload")
        await service.drop(id_)
    return Response(status_code=204, headers=_TUS)


class TusProblem(Problem):
    """An error that says which protocol is spoken; sent with `headers`."""

    headers: Mapping[str, str] = MappingProxyType({"Tus-Resumable": VERSION, "Tus-Version": VERSION})

    def __init__(self, error: Problem) -> None:
        super().__init__(error.http_status, error.code, error.message, hint=error.hint, param=error.param)
        self.retry_after, self.retryable = error.retry_after, error.retryable


class _TusErrors:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Problem):
            raise TusProblem(error) from error.__cause__


def _tus(request: Request) -> _TusErrors:
    if request.headers.get("tus-resumable") != VERSION:
        hint = f"send Tus-Resumable: {VERSION}; POST /api/upload takes a file without tus"
        raise TusProblem(Problem(412, "tus_version", f"tus {VERSION} is spoken here", hint=hint, param="Tus-Resumable"))
    return _TusErrors()


def _expiry(upload: Upload) -> Mapping[str, str]:
    return {"Upload-Expires": format_datetime(upload.expires, usegmt=True)}


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not _NUMBER.fullmatch(text):
        raise Problem(400, "bad_header", f"{header} has to be a number of bytes", param=header)
    return int(text)


def _metadata(text: str) -> Mapping[str, str]:
    """The pairs of Upload-Metadata. Raises: Problem 400."""
    found: dict[str, str] = {}
    try:
        if len(text) > _LONGEST_METADATA:
            raise ValueError
        for pair in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = pair.partition(" ")
            if not _WORD.fullmatch(key) or key in found:
                raise ValueError
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except ValueError:
        raise Problem(400, "bad_header", "Upload-Metadata has to be names and Base64", param="Upload-Metadata") from None
    return found


def _checksum(request: Request) -> tuple[Hash, bytes] | None:
    """The hash to check by, and what it has to be. Raises: Problem 400."""
    text = request.headers.get("upload-checksum", "")
    if not text:
        return None
    name, _, value = text.partition(" ")
    try:
        wanted = base64.b64decode(value, validate=True)
    except ValueError:  # no Base64, or not even ASCII
        wanted = b""
    if name not in _ALGORITHMS or len(wanted) != hashlib.new(name).digest_size:
        raise Problem(
            400, "bad_checksum", f"Upload-Checksum has to be {' or '.join(_ALGORITHMS)} and Base64", param="Upload-Checksum"
        )
    return hashlib.new(name), wanted
