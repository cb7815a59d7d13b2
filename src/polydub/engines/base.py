"""The contract between polydub and an engine: cheap facts, described options, one function that loads.

An entry point in `polydub.<kind>` (see KINDS) names an `Engine`. Importing it must be cheap: every heavy import belongs
inside `load` (or inside the object it returns). Inside are narrow Protocols, one per kind; what can yield, yields.
Listening engines (vad, asr, align, diarization, embedding) are given mono sound at HEAR_HZ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict

from polydub.engines.needs import READY as READY  # noqa: PLC0414 - part of the contract
from polydub.engines.needs import Availability, Environment, Weight
from polydub.engines.needs import WeightFile as WeightFile  # noqa: PLC0414
from polydub.types import Audio, Part, Samples, Segment, Span, Turn, Voice, Word, Wordings

Kind = Literal["vad", "asr", "align", "diarization", "embedding", "separation", "mt", "tts", "faces", "lipsync"]
KINDS: tuple[Kind, ...] = ("vad", "asr", "align", "diarization", "embedding", "separation", "mt", "tts", "faces", "lipsync")
Weights = Mapping[str, Path]  # weight id -> verified local file or folder


class Options(BaseModel):
    """Base of every engine's options: unknown keys are errors, values are frozen.

    Give every field a description with its unit. Secrets are `SecretStr`, so that they never reach a key or a log.
    Mark what cannot change the result (threads, batch size, time-outs) with `json_schema_extra={"identity": False}`, and
    what was added later with `{"identity": "set"}`: at its default it is left out, so that remembered work stays. Mark what
    a loaded engine can be told anew for each call (see Told) with `{"call": MEANING}`; recognisers have the meanings
    "prompt", "hotwords" and "temperature".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def identity(self) -> dict[str, Any]:
        """The options that can change a result, as plain JSON values."""
        fields = type(self).model_fields
        marks = {name: _mark(f.json_schema_extra, "identity") for name, f in fields.items()}
        unset = {name for name, mark in marks.items() if mark == "set" and getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", include={name for name, mark in marks.items() if mark is not False} - unset)

    @classmethod
    def by_call(cls) -> dict[str, str]:
        """The options that a loaded engine can be told anew: by what they mean, their names."""
        marks = {name: _mark(f.json_schema_extra, "call") for name, f in cls.model_fields.items()}
        return {str(mark): name for name, mark in marks.items() if mark}


def _mark(extra: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", extra).get(name) if isinstance(extra, Mapping) else None


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about an engine, readable without loading anything.

    Attributes:
        package: distribution whose version is part of the engine's identity ("" = polydub itself).
        extra: pip extra that brings its dependencies ("" = core).
        network: True = never used by `auto`, and refused under --offline.
        memory_mib: estimates (host, accelerator).
        deterministic: same input, same bytes, on one kind of host and with as many threads.
        parallel: calls one loaded engine serves at once; 0 = one per core.
        batch: requests the engine likes in one call (mt).
        revision: of the engine's own code; raise it when what it answers changes, so that remembered work is done again.
        piece_s: seconds of sound it likes best in one call (asr); longer recordings are cut at pauses.
        features: clone, rate, seed, word_times, stream, candidates, context, stock, alters-picture ...; pitch: voices have the
            settings pitch and range, 0 to 99, 50 = their own, 50 an octave; untrained: an encoder that never saw speakers.
        secrets: option fields that must be set for the engine to work.
    """

    kind: Kind
    name: str
    summary: str
    licence: str
    homepage: str
    package: str = ""
    extra: str = ""
    network: bool = False
    memory_mib: tuple[int, int] = (50, 0)
    devices: frozenset[str] = frozenset({"cpu"})
    deterministic: bool = True
    parallel: int = 1
    batch: int = 1
    piece_s: float = 28.0
    revision: int = 1
    features: frozenset[str] = field(default_factory=frozenset[str])
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """What an entry point names.

    Attributes:
        info: cheap facts.
        options: pydantic model of its options.
        load: (options, weights, device) -> context manager that yields the object of the kind's Protocol.
        check: (options) -> can it run? Cheap: looks for files and programs, starts nothing heavy.
        languages: (options) -> BCP-47 tags it has ("es"); for mt, pairs "en>es"; None = any. May depend on what is installed.
        weights: (options) -> the weights it needs to run; `load` gets their folders by id.
        models: mode (low, medium, high) -> values of its option "model", best first, of which `auto` takes the first whose
            weights are here; empty = it has no such option.
        version: (options) -> version of programs and data outside Python packages; part of the engine's identity.
        remarks: (options, language or pair) -> sentences the user should read before trusting the result.
        environment: of its own, if what it needs does not go together with polydub's packages; `load` runs there.
    """

    info: Info
    options: type[Options]
    load: Callable[[Any, Weights, str], AbstractContextManager[Any]]
    check: Callable[[Any], Availability]
    languages: Callable[[Any], frozenset[str] | None]
    version: Callable[[Any], str] = lambda options: ""
    weights: Callable[[Any], tuple[Weight, ...]] = lambda options: ()
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    remarks: Callable[[Any, str], tuple[str, ...]] = lambda options, language: ()
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far apart embeddings of one encoder are. All are cosine distances (1 - cosine), measured on real speech.

    Attributes: merge: average-linkage distance up to which clusters of 1.6-s windows are one speaker. centred: the same
    after half of the recording's mean was subtracted. switch: cost of a change of speaker from window to window, in
    cosines (plain, centred). same: distance up to which two embeddings of several seconds are one speaker. known: cosine
    from which a speaker is taken for somebody heard in another film, and how far ahead of the next one. other: distance of two
    recordings of 12 s beyond which they are of two people, whatever their microphones and rooms; 2.0 = nobody can tell.
    """

    merge: float
    centred: float
    switch: tuple[float, float]
    same: float
    known: tuple[float, float] = (0.75, 0.05)
    other: float = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """One line to translate; `seconds` is the time it may take when spoken."""

    id: str
    text: str
    speaker: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines to translate in one call.

    Attributes: before, after: neighbours, for context only (context engines). summary: what the film is about. terms:
    glossary entries that occur in the requests, source -> target; the same on both sides = not to be translated.
    """

    source: str
    target: str
    requests: tuple[Request, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    summary: str = ""
    terms: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Usage:
    """What a service was asked for. Attributes: calls: answered requests. cost: in US dollars, 0 where no price is known."""

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """Wordings for each request of a batch, in the same order, and what they took."""

    wordings: tuple[Wordings, ...]
    usage: Usage = Usage()


class SpeechDetector(Protocol):
    """Voice activity detection."""

    def probabilities(self, speech: Audio) -> Sequence[float]:
        """Probability of speech, 0 to 1, for each VAD_FRAME samples; the last frame may be short. Empty sound gives none."""
        ...


class Told(Protocol):
    """A loaded engine some of whose options may be others in each call (`Options.by_call`)."""

    def told(self, options: Any) -> Any:
        """The same engine, for calls with these options; both may be used at once. Cheap: nothing is loaded."""
        ...


class Transcriber(Protocol):
    """Recognition."""

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """Segments in order of time, yielded as they are found; times count from the start of `speech`.

        Whatever the model answers, times are finite floats with 0 <= start <= end <= duration and texts are valid Unicode.
        Words carry times and confidences where the engine has them. None lets a multilingual engine find the language.
        """
        ...

    def identify(self, speech: Audio) -> tuple[str, float]:
        """The language spoken, BCP-47, and its probability. An engine with one language names it with probability 0."""
        ...


class Aligner(Protocol):
    """Forced alignment: when each word of a known text is spoken."""

    def align(self, speech: Audio, text: str, language: str) -> tuple[Word, ...] | None:
        """One Word for each whitespace-separated word of `text`, in order, spelt as given; times from the start of `speech`.

        None when the text does not match the sound.
        """
        ...


class SpeakerEncoder(Protocol):
    """Turns a stretch of speech into numbers that are alike for one speaker and differ between speakers."""

    calibration: Calibration

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        """One row of unit length for each window (seconds in `speech`), float32 (len(windows), dimensions)."""
        ...


class Translator(Protocol):
    """Machine translation."""

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order. An empty text stays empty."""
        ...


class Rephraser(Translator, Protocol):
    """Machine translation that offers several lengths (feature "candidates"); it is asked once, by this method only."""

    def candidates(self, batch: Batch) -> Answered:
        """Wordings for each request; `seconds` of a request tells how long the normal one may take."""
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


class Streamer(Synthesizer, Protocol):
    """Speech synthesis whose first sound is there before the last is made (feature "stream")."""

    def stream(self, part: Part) -> Iterator[Audio]:
        """As `synthesize`, in pieces of one rate, without gaps. Closing the iterator stops the work."""
        ...


class Cloner(Synthesizer, Protocol):
    """Speech synthesis in the voice of a person (feature "clone")."""

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        """As `synthesize`, in the voice heard in `references` (mono, any rate), those of `part.voice.references` in order.

        What is learnt from them is kept by these artifacts, so that the next line of the voice costs no more than one of
        the engine's own voices.
        """
        ...


class Stock(Synthesizer, Protocol):
    """Speech synthesis with a wide choice of voices (feature "stock"), among which one near to a speaker may be found."""

    def stock(self, language: str) -> Sequence[Voice]:
        """Voices that cover what the engine can sound like, coarsely, without joke voices. Raises: UnsupportedLanguage."""
        ...

    def near(self, voice: Voice) -> Sequence[Voice]:
        """Variations of one voice, finer than `stock`; may be empty."""
        ...


class Separator(Protocol):
    """Separation of dialogue from the rest."""

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        """The dialogue in `sound` (RATE_HZ, any channels), float32 of the same shape; the background is what remains.

        `speech` is where somebody speaks, in seconds of `sound`; elsewhere the dialogue is silent. None when it cannot.
        """
        ...


class StemSeparator(Separator, Protocol):
    """Separation of music into its stems (feature "stems")."""

    def stems(self, sound: Audio, spans: Sequence[Span]) -> Mapping[str, Samples]:
        """Stems of `sound` (RATE_HZ, any channels) by name, each float32 of its shape; "vocals" first, "other" last.

        They sum to the sound. Outside `spans`, in seconds of `sound`, everything is in "other".
        """
        ...


class Diarizer(Protocol):
    """Who speaks when."""

    def diarize(self, speech: Path, speakers: range | None) -> Sequence[Turn]:
        """Turns in order of time, by names of the engine's own; they may overlap. Sound without speech has none.

        `speech` is the whole film as `audio.pcm` writes and maps it: mono at HEAR_HZ, a file because most engines want all of
        it at once and three hours are 690 MB. `speakers` limits their number: range(2, 5) is 2 to 4.
        """
        ...


class LipSyncer(Protocol):
    """Moves a mouth to the dubbed speech."""

    def sync(self, job: Path, tick: Callable[[], None]) -> None:
        """Writes what the JSON file `job` asks for (contract 1, `engines/lipsync/job.py`); whoever asked looks at it.

        `tick` is called every second; what it raises ends the work and goes on to the caller. Raises: EngineFailed.
        """
        ...


class FaceFinder(Protocol):
    """Finds shots and faces in consecutive frames: uint8 (frames, height, width, 3), blue green red."""

    def cuts(self, frames: Any) -> Sequence[int]:
        """The numbers of the frames with which a new shot begins, rising, without the first."""
        ...

    def faces(self, frames: Any) -> Sequence[Sequence[tuple[float, float, float, float]]]:
        """The faces in each frame: x, y, width, height in pixels, the surest first."""
        ...
