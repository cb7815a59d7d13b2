"""Separation: POST /api/separate parts a recording into stems, which are fetched one by one or come as one archive."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from polydub.server.access import owned
from polydub.server.contracts import Principal, Services
from polydub.server.desk import Flow
from polydub.server.files import Outgoing, send
from polydub.server.hearing import Heeded, Parting, Stems, part
from polydub.server.problems import not_found
from polydub.server.recordings import form_schema, received
from polydub.server.routes.openai import ERRORS, WORKING, Strict, engine_headers, house_of
from polydub.server.streams import Streamed, while_here
from polydub.server.tokens import new_id

KIND = "stems"  # of records, and first part of keys in the storage
FLAC, ZIP = "audio/flac", "application/zip"
PIECE = 1 << 18
_STEM: dict[str, Any] = {"content": {FLAC: {"schema": {"type": "string", "format": "binary"}}}}
Who = Annotated[Principal, Depends(WORKING)]
router = APIRouter(tags=["services"], route_class=Strict, responses=ERRORS)


class SeparationForm(BaseModel):
    """What is wanted of a recording."""

    model: str = Field("auto", min_length=1, max_length=300, description="auto = the best that is here; or an engine's name.")
    stems: Literal["dialogue", "all"] = Field(
        "dialogue", description="dialogue = dialogue and background; all = every stem that the engine tells apart."
    )
    format: Literal["json", "zip"] = Field("json", description="json = addresses of the stems; zip = the stems themselves.")


class StemRow(BaseModel):
    """One stem: 24-bit FLAC at 48 kHz, as long as the recording. `bytes`: of the file. `url`: where it is fetched."""

    name: str
    bytes: int
    url: str


class Separated(BaseModel):
    """A recording in parts that sum to it. `expires`: when the stems are deleted, ISO 8601."""

    id: str
    duration: float
    expires: str
    stems: list[StemRow]
    notices: list[dict[str, Any]]


@router.post(
    "/api/separate",
    summary="Part a recording into stems",
    response_class=JSONResponse,
    responses={200: {"model": Separated, "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}},
    openapi_extra=form_schema(SeparationForm),
)
async def separate_recording(request: Request, who: Who) -> Response:
    """Dialogue and background, or all stems; their levels are kept, and they sum to the recording, to the sample."""
    async with AsyncExitStack() as stack:
        sent = await stack.enter_async_context(received(request))
        form = sent.read(SeparationForm)
        flow = part(house_of(request), sent.recording, form.model, "stems" if form.stems == "all" else "dialogue")
        stack.callback(flow.stop)
        heeded, made = await while_here(request, _made(flow))
        headers = engine_headers(heeded.engine, made.notices)
        if form.format == "zip":
            archive = sent.recording.file.with_name("stems.zip")
            await anyio.to_thread.run_sync(_packed, made.files, archive)
            headers |= {
                "content-length": str(archive.stat().st_size),
                "content-disposition": 'attachment; filename="stems.zip"',
            }
            return Streamed(_read(archive), stack.pop_all(), headers=headers, media_type=ZIP)
        kept = await _kept(request.app.state.services, who, made)
    return JSONResponse(kept.model_dump(), headers=headers)


async def _made(flow: Flow[Parting]) -> tuple[Heeded, Stems]:
    """The result; the flow goes on holding its files."""
    heeded: Heeded | None = None
    while True:
        item = await flow.take()
        if isinstance(item, Heeded):
            heeded = item
        if heeded and isinstance(item, Stems):
            return heeded, item


async def _kept(services: Services, who: Principal, made: Stems) -> Separated:
    id_, until = new_id(), services.now() + timedelta(days=services.settings.speech_days)
    rows: list[StemRow] = []
    for name, file in made.files.items():
        await services.storage.put_file(_key(id_, name), file)
        rows.append(StemRow(name=name, bytes=file.stat().st_size, url=f"/api/separate/{id_}/{name}"))
    document = {"stems": [row.name for row in rows], "expires": until.isoformat()}
    await services.records.put(KIND, id_, who.user.id, document)
    notices = [{"code": n.code, "text": n.text, "severity": n.severity} for n in made.notices]
    return Separated(id=id_, duration=made.duration, expires=until.isoformat(), stems=rows, notices=notices)


@router.get(
    "/api/separate/{id_}/{name}",
    summary="Fetch a stem",
    response_class=Response,
    responses={200: _STEM, 206: _STEM, 307: {"description": "The stem lies in a bucket."}, 416: ERRORS[400]},
)
async def fetch_stem(id_: str, name: str, request: Request, who: Who) -> Response:
    """The file, also in ranges."""
    services: Services = request.app.state.services
    found = await services.records.get(KIND, id_)
    owned(who, found[0] if found else None, "separation")
    if found is None or name not in found[1]["stems"] or services.now().isoformat() > found[1]["expires"]:
        raise not_found("stem")
    return await send(request, services.storage, Outgoing(_key(id_, name), f"{name}.flac", FLAC))


def _key(id_: str, name: str) -> str:
    return f"{KIND}/{id_}/{name}.flac"


def _packed(files: Mapping[str, Path], archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
        for name, file in files.items():
            made.write(file, f"{name}.flac")


async def _read(file: Path) -> AsyncGenerator[bytes]:
    async with await anyio.open_file(file, "rb") as stream:
        while piece := await stream.read(PIECE):
            yield piece
