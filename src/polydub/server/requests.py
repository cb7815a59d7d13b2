"""What a job is asked to do, as pure data: the same request gives the same dub, on any host."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from polydub import config
from polydub.config.names import is_secret
from polydub.dubbing import check_together
from polydub.engines import registry
from polydub.engines.base import Kind
from polydub.errors import BadSettings, PolydubError
from polydub.request import Job
from polydub.server.advice import for_clients
from polydub.server.problems import reason

# Settings of the host and its disks, of people who share its files, and those that a request has fields of its own for.
_HOST = frozenset(
    {"to", "voice", "output", "store", "models", "environments", "threads", "jobs", "idle_s", "check_memory", "strict_secrets"}
    | {"download", "offline", "server", "engines"}
    | {"voices", "voice_ref_dir", "character_book", "characters", "character_threshold", "character_margin", "auto_enrol"}
)
_TEXTS = frozenset({"source_language", "speakers", "summary", "asr_model"})  # whose words are looked at before they are used
_ENGINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATHLIKE = re.compile(r"[/\\~\x00-\x1f]")
_ENDING = re.compile(r"\.([A-Za-z0-9]{2,4}|\w*[^\W\d]\w*)\s*$")  # of a file: v1.5 is none
_GIVEN = re.compile(r"^(\w+)( cannot be .*)? \(--[\w-]+\)")  # the origin of a setting, which is this request
_VOICE = "voice"  # folder of the files of a voice
_TAG = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}"

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Language = Annotated[str, Field(pattern=f"^{_TAG}$")]


class TooManyJobs(PolydubError):
    """The account has as many jobs waiting or running as it may have."""

    code, http_status, retryable = "too-many-jobs", 429, True


@cache
def allowed() -> frozenset[str]:
    """Names of the settings that a remote user may set: neither secrets nor paths nor what belongs to the host."""
    choices = frozenset(config.CHOICES.values())
    plain = {"choice", "integer", "list", "number", "numbers", "switch"}
    return frozenset(f.key for f in config.flags() if f.key not in _HOST and (f.kind in plain or f.key in _TEXTS | choices))


def safe_name(name: str) -> str:
    """The last part of a file name as it may lie on a disk of ours: no separators, no control characters, 150 bytes at most."""
    last = re.split(r"[/\\]", name)[-1]
    clean = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff:*?\"<>|]", "_", last).strip(" .") or "file"
    stem, dot, suffix = clean.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, suffix = clean, ""
    short = stem.encode()[: 149 - len(suffix)].decode("utf-8", "ignore")
    return f"{short}.{suffix}" if suffix else short


class File(BaseModel):
    """An upload that a job needs, and what its sender calls it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upload: Id
    name: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(safe_name)]


class Film(File):
    """The film of a job. Attributes: url: where the job's first step fetches the upload from; "" = it is there already."""

    url: Annotated[str, Field(max_length=4096)] = ""


class Request(BaseModel):
    """A dub of one film. Raises (as ValidationError) what cannot be before any work is done.

    Attributes: to: languages. transcript, translations (by language), files (by setting): uploads. settings: by their names
    in `allowed`. voices: names of voices by speaker. voice: files of the folder of a voice, as the library has them, which is
    that of everybody else. preset: name of the preset whose settings these are, for people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["dub"] = "dub"
    input: Film
    to: Annotated[tuple[Language, ...], Field(min_length=1, max_length=20)]
    transcript: File | None = None
    translations: Mapping[Language, File] = {}
    files: Mapping[Literal["glossary", "rttm", "font"], File] = {}  # settings that name a file: uploads for a remote user
    settings: Mapping[str, JsonValue] = {}
    voices: Mapping[Name, Name] = {}
    voice: Annotated[tuple[File, ...], Field(max_length=50)] = ()
    preset: Annotated[str, Field(max_length=100)] = ""

    @model_validator(mode="after")
    def _can_be(self) -> Request:
        try:
            check(self)
        except PolydubError as error:
            raise ValueError("; ".join(filter(None, (error.message, for_clients(error.hint))))) from error
        return self


def read(tree: object) -> Request:
    """A request from its JSON. Raises: BadSettings with the first thing that is wrong and where."""
    try:
        return Request.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    why = getattr(first.get("ctx", {}).get("error"), "__cause__", None)
    if isinstance(why, PolydubError):
        raise BadSettings(_GIVEN.sub(r"\1\2", why.message), why.hint)
    place = ".".join(str(part) for part in first["loc"]) or "the request"
    if first["loc"][:1] == ("to",) and first["type"] == "string_pattern_mismatch":
        shown = repr(first["input"][:40])
        raise BadSettings(f"{place}: {shown} is no tag of a language", "such as es or es-MX: see GET /api/languages")
    raise BadSettings(f"{place}: {reason(first)}", "see the API reference for what a job may be asked")


def check(request: Request) -> None:
    """Raises: BadSettings, UnknownEngine, UnsupportedLanguage for settings that a remote user may not set or that cannot be."""
    for name, value in request.settings.items():
        if is_secret(name) or name not in allowed():
            raise BadSettings(
                f"{name} is no setting of a job", "the settings are those of the reference page that name no files"
            )
        _check_text(name, value)
    for voice in request.voices.values():
        check_voice(voice)
    settings = _settings(json.dumps(_values(request), sort_keys=True))
    if streams(request):
        from polydub import streaming

        streaming.check(settings.model_copy(update={"rttm": request.files.get("rttm")}))


def check_voice(name: str) -> None:
    """Raises: BadSettings for what could be the name of a file: recordings of the host are not for clients to speak with."""
    if _PATHLIKE.search(name) or _ENDING.search(name):
        raise BadSettings(f"a voice cannot be called {name!r}", "write the name of a voice of the engine or the library")


def _check_text(name: str, value: JsonValue) -> None:
    """Texts that could name files, addresses or options of engines are refused."""
    kind = next((kind for kind, setting in config.CHOICES.items() if setting == name), None)
    if kind is not None:
        if not isinstance(value, str) or not _ENGINE.fullmatch(value):
            raise BadSettings(f"{name} must be the name of an engine, or name:model", "engines and models are in /api/engines")
        head = value.partition(":")[0]
        if head not in ("auto", "none"):
            registry.get(cast("Kind", kind), head)
    elif name == "summary" and isinstance(value, str) and value.lstrip().startswith("@"):
        raise BadSettings("summary must be the text itself", "send the text, not the name of a file")
    elif name == "asr_model" and not (isinstance(value, str) and _WORD.fullmatch(value)):
        raise BadSettings("asr_model must be the name of a model", "such as small or large-v3")


def uploads(request: Request) -> tuple[str, ...]:
    """Ids of the uploads that are there and a request needs, each once: whoever submits it must be allowed to read them."""
    fetched = {request.input.upload} if request.input.url else set[str]()
    return tuple(dict.fromkeys(file.upload for file in _placed(request).values() if file.upload not in fetched))


def streams(request: Request) -> bool:
    """Whether the film can be watched while it is dubbed."""
    return request.settings.get("stream", "off") != "off"


def places(request: Request, folder: Path) -> dict[Path, str]:
    """Where each upload must lie in the folder of a job, and its id, before `to_job` is of use."""
    return {folder / place: file.upload for place, file in _placed(request).items()}


def to_job(request: Request, folder: Path) -> tuple[Job, dict[str, object]]:
    """The film and its texts in the folder of a job, and the settings as a command line would give them."""
    values = _values(request)
    values |= {name: str(folder / _place(name, file)) for name, file in request.files.items()}
    if request.voice:
        values["voice"] = {"*": str(folder / _place(_VOICE, request.voice[0]).parent), **request.voices}
    transcript = folder / _place("transcript", request.transcript) if request.transcript else None
    translations = {tag: folder / _place(f"translation.{tag}", file) for tag, file in request.translations.items()}
    return Job(folder / _place("film", request.input), transcript, translations), values


@lru_cache(maxsize=256)
def _settings(values: str) -> config.Settings:
    """The settings that these values (JSON) make, which many requests have in common. Raises what is wrong with them."""
    loaded = config.load(json.loads(values), job=None, environ={}, cwd=Path("/nonexistent"), user_file=None)
    check_together(loaded.settings)
    return loaded.settings


def _values(request: Request) -> dict[str, object]:
    values: dict[str, object] = {"to": list(request.to), **request.settings}
    if request.voices:
        values["voice"] = dict(request.voices)
    return values


def _placed(request: Request) -> dict[Path, File]:
    """Each file in a folder of its own: their names may be the same, and say something (talk.en.srt)."""
    named = {
        "film": request.input,
        **{f"translation.{tag}": file for tag, file in request.translations.items()},
        **request.files,
    }
    if request.transcript:
        named["transcript"] = request.transcript
    placed = {_place(name, file): file for name, file in named.items()}
    return placed | {_place(_VOICE, file): file for file in request.voice}


def _place(name: str, file: File) -> Path:
    return Path("input") / name / file.name


def schema() -> dict[str, Any]:
    """JSON schema of the settings that a request may have, for the API's description."""
    whole = config.Settings.model_json_schema()
    return {"type": "object", "properties": {k: v for k, v in whole["properties"].items() if k in allowed()}}
