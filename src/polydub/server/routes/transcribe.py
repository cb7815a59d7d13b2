"""Recognition: /v1/audio/transcriptions and /translations as OpenAI's clients know them, /api/transcribe with more to tell."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from polydub import languages
from polydub.errors import PolydubError
from polydub.server import transcripts
from polydub.server.catalogue import DIARIZING
from polydub.server.desk import Flow
from polydub.server.hearing import Heard, Heeded, Listening, Telling, hear, lead
from polydub.server.hints import Hints
from polydub.server.problems import Problem, body_of
from polydub.server.recordings import Sent, form_schema, received
from polydub.server.routes.openai import ERRORS, WORKING, Strict, engine_headers, house_of
from polydub.server.streams import EVENTS, UNBUFFERED, Streamed, error_event, event, events, while_here
from polydub.types import Progress, Segment

T = TypeVar("T")
Who = Annotated[Any, Depends(WORKING)]
LONGEST = 4000  # characters of hotwords
MOST_BEFORE = 200_000  # characters of a prompt, of which engines heed the end: hours of talk
UNHEEDED = "Recognisers that cannot heed it pass it over, and x-polydub-notices says so."
router = APIRouter(tags=["speech"], route_class=Strict, responses=ERRORS)


class HearingForm(BaseModel):
    """What is wanted of a recording."""

    model: str = Field(
        min_length=1, max_length=300, description="whisper-1 and the like = the best that is here; or `engine`, `engine:model`."
    )
    language: str = Field("", max_length=60, description="Spoken language, such as en; empty = found out.")
    prompt: str = Field(
        "", max_length=MOST_BEFORE, description=f"Text before the recording, for its style and spelling. {UNHEEDED}"
    )
    temperature: float = Field(0.0, ge=0, le=1, description=f"Randomness; 0 = the same every time. {UNHEEDED}")
    hotwords: str = Field("", max_length=LONGEST, description=f"Rare words and names to be expected. {UNHEEDED}")
    keywords: list[str] = Field([], max_length=200, description="As hotwords.")

    def tag(self) -> str:
        """The language, BCP-47. Raises: Problem 400."""
        if not self.language.strip():
            return ""
        try:
            return languages.parse(self.language)
        except PolydubError as error:
            raise Problem(400, "language_not_found", error.message, hint=error.hint, param="language") from error

    def hints(self) -> Hints:
        """What the recogniser is told. Raises: Problem 400."""
        words = ", ".join(text for text in (self.hotwords.strip(), *(word.strip() for word in self.keywords)) if text)
        if len(words) > LONGEST:
            raise Problem(400, "string_too_long", f"keywords have at most {LONGEST} characters together", param="keywords")
        return Hints(self.prompt, words, self.temperature)


class TranscriptionForm(HearingForm):
    """As OpenAI's; lists may be written with "[]" behind their names or without."""

    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] = Field(
        "json", description="diarized_json tells who speaks."
    )
    timestamp_granularities: list[Literal["word", "segment"]] = Field([], description="Of verbose_json; empty = segments.")
    stream: bool = Field(False, description="Events while it is recognised; with json, text and diarized_json.")

    def wanted(self) -> Listening:
        """As the house wants it."""
        speakers = self.response_format == "diarized_json"
        return Listening(self.model, self.tag(), speakers, hints=self.hints())


class TranslationForm(HearingForm):
    """As OpenAI's."""

    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"

    def wanted(self) -> Listening:
        """As the house wants it."""
        return Listening(self.model, self.tag(), english=True, hints=self.hints())


class OwnForm(HearingForm):
    """What polydub's own endpoints want."""

    model: str = Field("auto", min_length=1, max_length=300, description="auto = the best that is here; or an engine's name.")
    speakers: bool = Field(False, description="Tell who speaks.")
    english: bool = Field(False, description="Translate into English.")
    format: Literal["json", "txt", "srt", "vtt"] = Field("json", description="Of the answer; streams are always events.")

    def wanted(self) -> Listening:
        """As the house wants it."""
        return Listening(self.model, self.tag(), self.speakers, self.english, self.hints())


async def _heeded(request: Request, sent: Sent, want: Listening) -> tuple[Flow[Telling], Heeded]:
    """The work, once the recording is accepted: until then an error has a status of its own."""
    flow = hear(house_of(request), sent.recording, want)
    try:
        return flow, await while_here(request, _next(flow, Heeded))
    except BaseException:
        flow.stop()
        raise


async def _all(request: Request, sent: Sent, want: Listening) -> tuple[Heeded, Heard]:
    flow, heeded = await _heeded(request, sent, want)
    try:
        return heeded, await while_here(request, _next(flow, Heard))
    finally:
        flow.stop()


async def _next(flow: Flow[Any], kind: type[T]) -> T:
    """The next result of a kind; others before it are passed over."""
    async for item in flow:
        if isinstance(item, kind):
            return item
    raise Problem(500, "internal_error", "the work ended without a result")


class Transcript(BaseModel):
    """A transcript; what there is besides its text depends on `response_format`."""

    model_config = ConfigDict(extra="allow")
    text: str
    task: str = ""
    language: str = Field("", description="English name of the language that is spoken.")
    duration: float = Field(0.0, description="Of the recording, in seconds.")
    segments: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}


_TEXTS: dict[str, Any] = {kind.partition(";")[0]: {} for kind in transcripts.TEXTS.values()}


@router.post(
    "/v1/audio/transcriptions",
    summary="Transcribe a recording",
    response_class=JSONResponse,
    responses={200: {"model": Transcript, "content": _TEXTS | {EVENTS: {}}}},
    openapi_extra=form_schema(TranscriptionForm),
)
async def create_transcription(request: Request, _who: Who) -> Response:
    """Transcribes in the form that is asked for; with `stream` as events while it is recognised."""
    async with AsyncExitStack() as stack:
        sent = await stack.enter_async_context(received(request))
        form = sent.read(TranscriptionForm)
        if form.model == DIARIZING and form.response_format not in ("json", "text", "diarized_json"):
            raise Problem(
                400, "unsupported_format", f"{DIARIZING} answers json, text and diarized_json", param="response_format"
            )
        if form.stream:
            return await _streamed(request, sent, form, stack.pop_all())
        heeded, heard = await _all(request, sent, form.wanted())
    headers = engine_headers(heeded.engine, heard.notices)
    if form.response_format == "diarized_json":
        return JSONResponse(transcripts.diarized(heard), headers=headers)
    return _answer(heard, form, headers, ("transcribe", form.timestamp_granularities))


@router.post(
    "/v1/audio/translations",
    summary="Transcribe a recording in English",
    response_class=JSONResponse,
    responses={200: {"model": Transcript, "content": _TEXTS}},
    openapi_extra=form_schema(TranslationForm),
)
async def create_translation(request: Request, _who: Who) -> Response:
    """What is said, translated into English."""
    async with received(request) as sent:
        form = sent.read(TranslationForm)
        heeded, heard = await _all(request, sent, form.wanted())
    return _answer(heard, form, engine_headers(heeded.engine, heard.notices), ("translate", ()))


def _answer(
    heard: Heard,
    form: TranscriptionForm | TranslationForm,
    headers: Mapping[str, str],
    task: tuple[str, tuple[str, ...] | list[Literal["word", "segment"]]],
) -> Response:
    if form.response_format in transcripts.TEXTS:
        text = transcripts.as_text(heard, form.response_format)
        return Response(text, headers=headers, media_type=transcripts.TEXTS[form.response_format])
    if form.response_format == "verbose_json":
        return JSONResponse(transcripts.verbose(heard, task[0], task[1], _temperature(heard, form)), headers=headers)
    return JSONResponse(transcripts.as_json(heard), headers=headers)


def _temperature(heard: Heard, form: TranscriptionForm | TranslationForm) -> float:
    """That at which it was recognised."""
    return 0.0 if any(notice.code == "temperature-unheeded" for notice in heard.notices) else form.temperature


async def _streamed(request: Request, sent: Sent, form: TranscriptionForm, stack: AsyncExitStack) -> Response:
    """OpenAI's events; `stack` holds the recording, and is closed with the stream."""
    async with stack:
        flow, heeded = await _heeded(request, sent, form.wanted())
        stack.callback(flow.stop)
        held = stack.pop_all()
    told = _Deltas(diarized=form.response_format == "diarized_json")
    headers = {**UNBUFFERED, **engine_headers(heeded.engine, heeded.notices)}
    return Streamed(events(flow, heeded, told, error_event), held, headers=headers, media_type=EVENTS)


class _Deltas:
    """Segments as OpenAI's events: what all deltas say together is the text of the last event."""

    def __init__(self, *, diarized: bool) -> None:
        self._diarized, self._text = diarized, ""

    def __call__(self, item: Telling) -> bytes | None:
        if isinstance(item, Segment):
            delta = lead(self._text, item.text) + item.text.strip()
            self._text += delta
            return event({"type": "transcript.text.delta", "delta": delta}) if delta else None
        if not isinstance(item, Heard):
            return None
        names = transcripts.speakers(item.segments)
        rows = [transcripts.diarized_segment(n, s, names) for n, s in enumerate(item.segments)] if self._diarized else []
        done = {"type": "transcript.text.done", "text": self._text, "usage": transcripts.usage(item.duration)}
        return b"".join(event(row) for row in rows) + event(done)


class OwnSegment(BaseModel):
    """Something that is said. `words`: start, end, text, confidence."""

    start: float
    end: float
    text: str
    speaker: str | None = None
    words: list[dict[str, Any]]


class OwnAnswer(BaseModel):
    """A transcript. `notices`: what was done otherwise than asked: code, text, severity."""

    language: str
    duration: float
    text: str
    segments: list[OwnSegment]
    notices: list[dict[str, Any]]


@router.post(
    "/api/transcribe",
    tags=["services"],
    summary="Transcribe a recording, with words, speakers and notices",
    response_class=JSONResponse,
    responses={200: {"model": OwnAnswer, "content": _TEXTS}},
    openapi_extra=form_schema(OwnForm),
)
async def transcribe_recording(request: Request, _who: Who) -> Response:
    """Transcribes and tells all that is known; or txt, srt, vtt."""
    async with received(request) as sent:
        form = sent.read(OwnForm)
        heeded, heard = await _all(request, sent, form.wanted())
    headers = engine_headers(heeded.engine, heard.notices)
    if form.format != "json":
        kind = "text" if form.format == "txt" else form.format
        return Response(transcripts.as_text(heard, kind), headers=headers, media_type=transcripts.TEXTS[kind])
    return JSONResponse(transcripts.own(heard), headers=headers)


@router.post(
    "/api/transcribe/stream",
    tags=["services"],
    summary="Transcribe a recording, as events",
    response_class=Response,
    responses={200: {"content": {EVENTS: {}}, "description": "metadata, progress, segment, then complete or error."}},
    openapi_extra=form_schema(OwnForm),
)
async def stream_transcription(request: Request, _who: Who) -> Response:
    """Events `metadata`, `progress`, `segment`; the last one is always `complete` or `error`."""
    async with AsyncExitStack() as stack:
        sent = await stack.enter_async_context(received(request))
        form = sent.read(OwnForm)
        flow, heeded = await _heeded(request, sent, form.wanted())
        stack.callback(flow.stop)
        held = stack.pop_all()
    headers = {**UNBUFFERED, **engine_headers(heeded.engine, heeded.notices)}
    return Streamed(events(flow, heeded, _own_event, _own_error), held, headers=headers, media_type=EVENTS)


def _own_event(item: Telling) -> bytes:
    match item:
        case Heeded():
            return event({"engine": item.engine, "duration": item.duration}, "metadata")
        case Progress():
            return event({"stage": item.stage, "done": item.done, "total": item.total}, "progress")
        case Segment():
            return event(transcripts.own_segment(item, speaker=False), "segment")
        case Heard():
            return event(transcripts.own(item), "complete")


def _own_error(error: PolydubError) -> bytes:
    return event(body_of(error, "/api")["error"], "error")
