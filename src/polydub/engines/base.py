"""The contract between polydub and an engine: cheap facts, described options, one function that loads.

An entry point in `polydub.asr|mt|tts|separation|diarization|lipsync` names an `Engine`. Importing it must be cheap:
every heavy import belongs inside `load` (or inside the object it returns). Inside are narrow Protocols, one per kind;
what can yield, yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict

from polydub.types import Audio, Part, Placement, Segment, Turn, Voice

Kind = Literal["asr", "mt", "tts", "separation", "diarization", "lipsync"]
KINDS: tuple[Kind, ...] = ("asr", "mt", "tts", "separation", "diarization", "lipsync")
Weights = Mapping[str, Path]  # weight id -> verified local file or folder


class Options(BaseModel):
    """Base of every engine's options: unknown keys are errors, values are frozen.

    Give every field a description with its unit. Secrets are `SecretStr`, so that they never reach a key or a log.
    Mark what cannot change the result (threads, batch size, time-outs) with `json_schema_extra={"identity": False}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def identity(self) -> dict[str, Any]:
        """The options that can change a result, as plain JSON values."""
        fields = type(self).model_fields
        kept = {name for name, f in fields.items() if not _outside_identity(f.json_schema_extra)}
        return self.model_dump(mode="json", include=kept)


def _outside_identity(extra: Any) -> bool:
    return isinstance(extra, Mapping) and cast("Mapping[str, Any]", extra).get("identity") is False


@dataclass(frozen=True, slots=True)
class Weight:
    """One file or folder of model weights."""

    id: str
    revision: str
    sha256: str
    bytes: int
    licence: str
    url: str
    commercial_use: bool


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about an engine, readable without loading anything.

    Attributes:
        package: distribution whose version is part of the engine's identity ("" = polydub itself).
        extra: pip extra that brings its dependencies ("" = core).
        network: True = never used by `auto`, and refused under --offline.
        memory_mib: estimates (host, accelerator).
        deterministic: same input, same bytes, on one kind of host.
        parallel: calls one loaded engine serves at once; 0 = one per core.
        batch: requests the engine likes in one call (mt).
        features: clone, rate, seed, word_times, stream, emotion, candidates, context, alters-picture ...
        secrets: option fields that must be set for the engine to work.
    """

    kind: Kind
    name: str
    summary: str
    licence: str
    homepage: str
    package: str = ""
    extra: str = ""
    weights: tuple[Weight, ...] = ()
    network: bool = False
    memory_mib: tuple[int, int] = (50, 0)
    devices: frozenset[str] = frozenset({"cpu"})
    deterministic: bool = True
    parallel: int = 1
    batch: int = 1
    features: frozenset[str] = field(default_factory=frozenset[str])
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can run now; if not, why, and the one command that mends it."""

    ready: bool
    reason: str = ""
    fix: str = ""


READY = Availability(True)


@dataclass(frozen=True, slots=True)
class Engine:
    """What an entry point names.

    Attributes:
        info: cheap facts.
        options: pydantic model of its options.
        load: (options, weights, device) -> context manager that yields the object of the kind's Protocol.
        check: (options) -> can it run? Cheap: looks for files and programs, starts nothing heavy.
        languages: (options) -> BCP-47 tags it has ("es"); for mt, pairs "en>es"; None = any. May depend on what is installed.
        version: (options) -> version of programs and data outside Python packages; part of the engine's identity.
        remarks: (options, language or pair) -> sentences the user should read before trusting the result.
    """

    info: Info
    options: type[Options]
    load: Callable[[Any, Weights, str], AbstractContextManager[Any]]
    check: Callable[[Any], Availability]
    languages: Callable[[Any], frozenset[str] | None]
    version: Callable[[Any], str] = lambda options: ""
    remarks: Callable[[Any, str], tuple[str, ...]] = lambda options, language: ()


@dataclass(frozen=True, slots=True)
class Request:
    """One line to translate; `seconds` is the time it may take when spoken."""

    id: str
    text: str
    speaker: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines to translate in one call. `before` and `after` are neighbours for context only (context engines)."""

    source: str
    target: str
    requests: tuple[Request, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Transcriber(Protocol):
    """Recognition."""

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """Segments in order of time, yielded as they are found."""
        ...


class Translator(Protocol):
    """Machine translation."""

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order. An empty text stays empty."""
        ...


class Synthesizer(Protocol):
    """Speech synthesis."""

    def voices(self, language: str) -> Sequence[Voice]:
        """Voices for a language, best first; distinct speakers get them in this order.

        Raises: UnsupportedLanguage.
        """
        ...

    def synthesize(self, part: Part) -> Audio:
        """Mono sound of `part`, finite, at the engine's own sample rate; empty text gives zero frames."""
        ...


class Separator(Protocol):
    """Separation of dialogue from the rest."""

    def separate(self, sound: Audio) -> Mapping[str, Audio]:
        """Stems "dialogue" and "background", as long as the input, summing to it."""
        ...


class Diarizer(Protocol):
    """Who speaks when."""

    def diarize(self, speech: Audio, speakers: range | None) -> Sequence[Turn]:
        """Turns in order of time; they may overlap."""
        ...


class LipSyncer(Protocol):
    """Moves the mouths to the dubbed speech."""

    def sync(self, video: Path, speech: Path, lines: Sequence[Placement], out: Path) -> None:
        """Write a video to `out` of the same length and size."""
        ...
