"""Forms with a recording: read within limits, laid into a file of our own naming, looked at before anything works on it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from polydub.server.contracts import Services
from polydub.server.hearing import HEAD_BYTES, Recording, check_sound
from polydub.server.problems import Problem
from polydub.server.speech import House

M = TypeVar("M", bound=BaseModel)
MB = 1_000_000
AROUND = 8 * MB  # what a form may have besides its file
FIELDS = 200
_UPLOAD = {"type": "string", "format": "binary", "description": "Sound or video: MP3, WAV, M4A, FLAC, OGG, WebM, MP4, ..."}


@dataclass(frozen=True)
class Sent:
    """A form. Attributes: fields: texts by name, without the "[]" that clients put behind names of lists."""

    recording: Recording
    fields: Mapping[str, Sequence[str]]

    def read(self, model: type[M]) -> M:
        """The fields as `model` describes them; others are ignored. Raises: Problem 400, naming the field."""
        values: dict[str, object] = {}
        for name, field in model.model_fields.items():
            if name in self.fields:
                given = self.fields[name]
                values[name] = list(given) if "list" in str(field.annotation) else given[-1]
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise refused(error.errors(include_url=False)) from error


def refused(errors: Sequence[Mapping[str, object]]) -> Problem:
    """400 with the name of the field and what is wrong with it, in pydantic's words."""
    first = errors[0]
    place = first["loc"]
    path = [str(part) for part in place if part != "body"] if isinstance(place, tuple | list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    name = ".".join(path)
    return Problem(400, str(first["type"]), f"{name or 'the body'}: {first['msg']}", param=name or None)


def form_schema(model: type[BaseModel]) -> dict[str, object]:
    """What the OpenAPI description says of a route that reads such a form itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"] = {"file": _UPLOAD, **schema.get("properties", {})}
    schema["required"] = ["file", *schema.get("required", [])]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@asynccontextmanager
async def received(request: Request) -> AsyncGenerator[Sent]:
    """The form of a request; its file is gone afterwards. Raises: Problem 400, 413, 415."""
    services: Services = request.app.state.services
    house: House = services.speech
    settings = services.settings
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "unsupported_media_type", "the recording must be sent as multipart/form-data", param="file")
    form = await _form(request, settings.max_file_mb * MB)
    try:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise Problem(400, "missing", "file: Field required", param="file")
        if (upload.size or 0) > settings.max_file_mb * MB:
            raise _too_large(settings.max_file_mb * MB)
        check_sound(await upload.read(HEAD_BYTES))
        await upload.seek(0)
        fields: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.setdefault(name.removesuffix("[]"), []).append(value)
        with house.store.scratch() as folder:
            file = folder / "recording"
            await asyncio.to_thread(_lay, upload, file)
            yield Sent(Recording(file, float(settings.max_duration_s)), fields)
    finally:
        await form.close()


async def _form(request: Request, most: int) -> FormData:
    """The form, read no further than it may go."""
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > most + AROUND:
        raise _too_large(most)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > most + AROUND:
            raise _too_large(most)
        return message

    try:
        return await Request(request.scope, receive).form(max_files=1, max_fields=FIELDS, max_part_size=AROUND)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise Problem(400, "bad_form", f"the form cannot be read: {error.detail}") from error


def _too_large(most: int) -> Problem:
    return Problem(
        413, "file_too_large", f"the recording is larger than {most // MB} MB", hint="cut it into parts", param="file"
    )


def _lay(upload: UploadFile, file: Path) -> None:
    with file.open("wb") as out:
        shutil.copyfileobj(upload.file, out, 1 << 20)
