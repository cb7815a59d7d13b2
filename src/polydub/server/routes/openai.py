"""Speech and models as OpenAI's clients know them: /v1/audio/speech, /v1/audio/voices, /v1/models."""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from polydub.server.access import policy
from polydub.server.catalogue import MADE, Model
from polydub.server.desk import Flow
from polydub.server.problems import ErrorBody, Problem
from polydub.server.recordings import refused
from polydub.server.speech import SPEEDS, Begun, Ended, House, Piece, Utterance
from polydub.server.streams import EVENTS, UNBUFFERED, Streamed, error_event, event, events, stopping, while_here
from polydub.types import Notice
from polydub.voices.library import OPENAI

LONGEST = 4096  # characters of an input
MEDIA = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
TOKENS_A_SECOND = 20  # about what OpenAI's own speech models count; clients that reckon with tokens get something plausible
CHARACTERS_A_TOKEN = 4
WORKING = policy("viewer", "speech")
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 413, 415, 422, 429, 500, 502, 503)
}


class Strict(APIRoute):
    """A route under /v1 that answers what it cannot read with 400, as OpenAI does, and says which field it is."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's, but for the status."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                raise refused([_plainly(error.errors()[0])]) from error

        return handle


def _plainly(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is wrong with a field as a whole: clients do not know what its kinds are called here, nor where JSON broke off."""
    return {**error, "loc": () if error["type"] == "json_invalid" else tuple(error["loc"])[1:2]}


router = APIRouter(tags=["speech"], route_class=Strict, responses=ERRORS)


class NamedVoice(BaseModel):
    """A voice by its id."""

    id: str = Field(min_length=1, max_length=200)


class SpeechRequest(BaseModel):
    """A text to be spoken. Unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"model": "tts-1", "input": "Good morning.", "voice": "alloy", "response_format": "mp3"}]
        },
    )

    model: str = Field(
        min_length=1, max_length=300, description="tts-1 and the like = the best that is here; or `engine`, `engine:model`."
    )
    input: str = Field(min_length=1, max_length=LONGEST, description="The text, up to 4096 characters.")
    voice: Annotated[str, Field(min_length=1, max_length=200)] | NamedVoice = Field(
        description="A voice of the engine or of the voice library, an alias, or one of OpenAI's names."
    )
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = Field(
        "mp3", description="pcm = 16 bits, little-endian, 24 kHz, mono."
    )
    speed: float = Field(1.0, ge=SPEEDS[0], le=SPEEDS[1], description="Pace, 1 = the voice's own.")
    instructions: str = Field("", max_length=LONGEST, description="How to speak, for engines that heed it.")
    stream_format: Literal["audio", "sse"] = Field("audio", description="sse = events with parts of the sound in base64.")
    language: str = Field("", max_length=60, description="Of the text, such as es; empty = as its voice or script says.")

    def asked(self) -> Utterance:
        """As the house wants it."""
        voice = self.voice if isinstance(self.voice, str) else self.voice.id
        return Utterance(self.input, voice, self.model, self.response_format, self.speed, self.language, self.instructions)


@router.post(
    "/v1/audio/speech",
    summary="Speak a text",
    response_class=Response,
    responses={
        200: {"content": {**{kind: {} for kind in MEDIA.values()}, EVENTS: {}}, "description": "The sound, as it is made."}
    },
)
async def create_speech(body: SpeechRequest, request: Request, _who: Annotated[Any, Depends(WORKING)]) -> Response:
    """Speaks while it sends: the first sound leaves before the last sentence is made.

    The header `x-polydub-engine` names what speaks, `x-polydub-notices` what was done otherwise than asked. When something
    fails in the middle, the connection breaks off; a stream of events then has an `error`.
    """
    if all(unicodedata.category(letter)[0] in "ZC" for letter in body.input):
        raise Problem(400, "string_too_short", "input: the text is blank", param="input")
    flow = house_of(request).speak(body.asked())
    try:
        begun, first = await while_here(request, _first(flow))
    except BaseException:
        flow.stop()
        raise
    headers = {**UNBUFFERED, **engine_headers(begun.engine, begun.notices), "x-polydub-voice": ascii(begun.voice)[1:-1]}
    headers["content-language"] = begun.language
    if body.stream_format == "sse":
        told = _Told(body.input)
        return Streamed(events(flow, first, told, error_event), stopping(flow), headers=headers, media_type=EVENTS)
    return Streamed(_sound(flow, first), stopping(flow), headers=headers, media_type=MEDIA[body.response_format])


async def _first(flow: Flow[Piece]) -> tuple[Begun, Piece]:
    """What is told before the sound, and the first of it: until then an error has a status of its own."""
    begun = await flow.take()
    first = await flow.take()
    if not isinstance(begun, Begun) or first is None:
        raise Problem(500, "internal_error", "the speech engine ended without a word")
    return begun, first


async def _sound(flow: Flow[Piece], first: Piece | None) -> AsyncIterator[bytes]:
    """The bytes alone. What fails in the middle is raised, so that the connection ends without its end."""
    while first is not None:
        if isinstance(first, bytes):
            yield first
        first = await flow.take()


class _Told:
    """Pieces of sound as OpenAI's events."""

    def __init__(self, text: str) -> None:
        self._tokens = math.ceil(len(text) / CHARACTERS_A_TOKEN)

    def __call__(self, piece: Piece) -> Mapping[str, Any] | bytes | None:
        if isinstance(piece, bytes):
            return event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        if isinstance(piece, Ended):
            made = math.ceil(piece.duration * TOKENS_A_SECOND)
            usage = {"input_tokens": self._tokens, "output_tokens": made, "total_tokens": self._tokens + made}
            return event({"type": "speech.audio.done", "usage": usage})
        return None


def house_of(request: Request) -> House:
    """The engines. Raises: Problem 503 where this server has none."""
    house = request.app.state.services.speech
    if house is None:
        raise Problem(503, "no_speech_services", "this server offers no speech services")
    return house


def engine_headers(engine: str, notices: tuple[Notice, ...] = ()) -> dict[str, str]:
    """What answered, and codes of what was done otherwise than asked."""
    told = {"x-polydub-engine": engine}
    codes = dict.fromkeys(notice.code for notice in notices)
    return {**told, "x-polydub-notices": ", ".join(codes)} if codes else told


class ModelRow(BaseModel):
    """A name that can be asked for. `engine`: what answers; empty = the best that is here."""

    id: str
    object: Literal["model"] = "model"
    created: int = MADE
    owned_by: str = "polydub"
    task: Literal["speech", "transcription", "separation"] = "speech"
    engine: str = ""


class ModelList(BaseModel):
    """All names that can be asked for now."""

    object: Literal["list"] = "list"
    data: list[ModelRow]


_TASKS: Mapping[str, Literal["speech", "transcription", "separation"]] = {
    "tts": "speech", "asr": "transcription", "separation": "separation"
}  # fmt: skip


def _row(model: Model) -> ModelRow:
    return ModelRow(id=model.id, task=_TASKS[model.kind], engine=model.engine)


@router.get("/v1/models", summary="List models", response_model=ModelList)
async def list_models(request: Request, _who: Annotated[Any, Depends(WORKING)]) -> ModelList:
    """OpenAI's names and the engines that are ready to work."""
    found = await anyio.to_thread.run_sync(house_of(request).models)
    return ModelList(data=[_row(model) for model in found])


@router.get("/v1/models/{id:path}", summary="Look a model up", response_model=ModelRow)
async def retrieve_model(id: str, request: Request, _who: Annotated[Any, Depends(WORKING)]) -> ModelRow:
    """One model; names may hold slashes."""
    return _row(await anyio.to_thread.run_sync(house_of(request).model, id))


class VoiceRow(BaseModel):
    """A voice that can be asked for. `source`: the speech engine, the voice library, or a name that stands for one of them."""

    id: str
    name: str
    language: str = ""
    source: Literal["engine", "library", "alias"] = "engine"


class SpeechVoices(BaseModel):
    """The voices of one speech engine for one language, and those of the voice library. `engine`: whose they are."""

    engine: str
    voices: list[VoiceRow]


@router.get("/v1/audio/voices", summary="List voices", response_model=SpeechVoices)
async def list_speech_voices(
    request: Request,
    _who: Annotated[Any, Depends(WORKING)],
    model: Annotated[str, Query(max_length=300, description="As in /v1/audio/speech.")] = "tts-1",
    language: Annotated[str, Query(max_length=60, description="Such as es; empty = the server's own, else English.")] = "",
) -> SpeechVoices:
    """OpenAI has no such list; its shape is that of other local servers."""
    engine, own, kept = await anyio.to_thread.run_sync(house_of(request).voices, model, language)
    rows = [VoiceRow(id=voice.name, name=voice.label or voice.name, language=voice.language) for voice in own]
    rows += [VoiceRow(id=v.name, name=v.name, language=v.language, source="library") for v in kept.voices]
    known = {row.id for row in rows}
    names = dict.fromkeys([*OPENAI, *kept.aliases])
    rows += [VoiceRow(id=name, name=name, source="alias") for name in names if name not in known]
    return SpeechVoices(engine=engine, voices=rows)


@router.get("/v1/audio/models", summary="List speech models", response_model=ModelList)
async def list_audio_models(request: Request, _who: Annotated[Any, Depends(WORKING)]) -> JSONResponse:
    """The same as /v1/models, with the shape that other local servers give it."""
    found = await anyio.to_thread.run_sync(house_of(request).models)
    rows = [_row(model).model_dump() for model in found]
    return JSONResponse({"object": "list", "data": rows, "models": rows})
