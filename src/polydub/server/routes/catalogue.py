"""What a job may name: engines as they stand on this server, languages, settings."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, JsonValue

from polydub import config, inspecting, languages
from polydub.server import requests
from polydub.server.access import policy, services_of
from polydub.server.contracts import Principal, Services
from polydub.server.problems import ErrorBody

router = APIRouter(tags=["catalogue"])
KEPT_S = 30.0  # that the state of engines is not looked at again
_TRIALS = "fake"
Viewer = Annotated[Principal, Depends(policy("viewer"))]
_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in (401, 403)}


class WeightFacts(BaseModel):
    """Files of a model."""

    id: str = Field(examples=["faster-whisper-small"])
    bytes: int
    here: bool = Field(description="Whether they lie on this server.")
    licence: str = Field(examples=["MIT"])
    commercial_use: bool


class MemoryFacts(BaseModel):
    """What an engine takes, estimated."""

    host_mib: int
    accelerator_mib: int


class EngineFacts(BaseModel):
    """One engine as it stands on this server."""

    kind: str = Field(description="What it does: asr, mt, tts, ...", examples=["tts"])
    name: str = Field(description="What a setting names it by.", examples=["espeak-ng"])
    status: str = Field(description="ready, broken, or what it lacks: needs-weights, needs-key, ...", examples=["ready"])
    summary: str
    licence: str = Field(examples=["GPL-3.0-or-later"])
    network: bool = Field(description="Whether what it works on leaves this server.")
    languages: list[str] | None = Field(description="Of all its models, of translators pairs en>es; null = any.")
    devices: list[str] = Field(examples=[["cpu", "cuda"]])
    memory: MemoryFacts
    weights: list[WeightFacts]
    hint: str = Field(description="What mends it, for whoever runs the server.", examples=["polydub models pull whisper-small"])


class EngineList(BaseModel):
    """All engines."""

    engines: list[EngineFacts]


class LanguageFacts(BaseModel):
    """A language that a job may name."""

    tag: str = Field(description="BCP-47.", examples=["es"])
    name: str = Field(examples=["Spanish"])
    native_name: str = Field(examples=["Español"])
    right_to_left: bool
    speech: list[str] = Field(description="Engines that are ready to speak it.", examples=[["espeak-ng"]])


class LanguageList(BaseModel):
    """Languages by tag; regions and scripts may be added (es-MX, zh-Hant)."""

    languages: list[LanguageFacts]


class SettingFacts(BaseModel):
    """A setting that a job may have."""

    name: str = Field(examples=["max_rate"])
    kind: Literal["choice", "integer", "list", "number", "numbers", "switch", "text"]
    default: JsonValue
    choices: list[str] = Field(description="Of a choice, or of the words of a list; empty = free.")
    limits: str = Field(description="Of a number.", examples=["1 to 1.3"])
    help: str = Field(description="What it means, with units.")


class SettingList(BaseModel):
    """Settings, in the order of the reference page."""

    settings: list[SettingFacts]


class Engines:
    """The state of the engines, looked at now and then in a thread."""

    def __init__(self) -> None:
        self._gate, self._until, self._rows = asyncio.Lock(), 0.0, list[inspecting.Row]()

    async def rows(self, services: Services) -> list[inspecting.Row]:
        """Of this server; engines for trials only where clients may name them."""
        async with self._gate:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                speech = services.speech
                loaded = speech.loaded if speech is not None else config.load_from_process({})
                self._rows = await anyio.to_thread.run_sync(inspecting.rows, loaded)
                self._until = now + KEPT_S
            return [row for row in self._rows if row.name != _TRIALS or services.settings.trials]


def _engines_of(request: Request) -> Engines:
    state = request.app.state
    if not hasattr(state, "engines"):
        state.engines = Engines()
    return state.engines


def _cached(response: Response, seconds: float) -> None:
    response.headers["cache-control"] = f"private, max-age={seconds:g}"


@router.get("/api/engines", summary="List the engines", responses=_ERRORS)
async def list_engines(request: Request, response: Response, who: Viewer) -> EngineList:
    """As they stand on this server; workers on other hosts may have others."""
    _cached(response, KEPT_S)
    rows = await _engines_of(request).rows(services_of(request))
    more = ({"summary": row.summary, "network": row.network} for row in rows)
    return EngineList(engines=[EngineFacts.model_validate({**row.facts(), **own}) for row, own in zip(rows, more, strict=True)])


@router.get("/api/languages", summary="List the languages", responses=_ERRORS)
async def list_languages(request: Request, response: Response, who: Viewer) -> LanguageList:
    """Those that can be named; whether one can be heard or translated is told by the engines."""
    _cached(response, KEPT_S)
    rows = await _engines_of(request).rows(services_of(request))
    speaking = {row.name: _bases(row) for row in rows if row.kind == "tts" and row.ready and row.name != _TRIALS}
    return LanguageList(languages=[_language(tag, speaking) for tag in languages.tags()])


def _bases(row: inspecting.Row) -> frozenset[str] | None:
    return None if row.languages is None else frozenset(languages.base(tag) for tag in row.languages)


def _language(tag: str, speaking: dict[str, frozenset[str] | None]) -> LanguageFacts:
    speech = [name for name, known in speaking.items() if known is None or tag in known]
    native, rtl = languages.native_name(tag), languages.is_rtl(tag)
    return LanguageFacts(tag=tag, name=languages.name(tag), native_name=native, right_to_left=rtl, speech=speech)


@router.get("/api/settings", summary="List the settings of a job", responses=_ERRORS)
async def list_settings(response: Response, who: Viewer) -> SettingList:
    """What `settings` of POST /api/jobs and `options` of POST /api/dub may hold."""
    _cached(response, 3600)
    return _settings()


@cache
def _settings() -> SettingList:
    shown = config.Settings().model_dump(mode="json")
    known = [flag for flag in config.flags() if flag.key in requests.allowed()]
    return SettingList(
        settings=[
            SettingFacts.model_validate(
                {
                    "name": flag.key,
                    "kind": flag.kind,
                    "default": shown[flag.key],
                    "choices": list(flag.choices),
                    "limits": flag.limits,
                    "help": flag.help,
                }
            )
            for flag in known
        ]
    )
