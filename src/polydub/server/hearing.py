"""Recordings that clients send: checked, then transcribed or separated on the engines of the house; nothing of them is kept."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from polydub import listening, pipeline
from polydub.choosing import Chooser
from polydub.engines.base import Kind
from polydub.engines.registry import UNKNOWN
from polydub.errors import NoSpeech, PolydubError
from polydub.languages import matches
from polydub.runner import Handle, Run
from polydub.server.desk import Flow
from polydub.server.hints import NO_HINTS, Hints, heeding
from polydub.server.problems import Problem
from polydub.server.speech import House, named
from polydub.stages import deliver, listen, recognise, separate, translate
from polydub.store import Store
from polydub.text.words import unspaced
from polydub.types import BLOCK, Artifact, Notice, Progress, Script, Segment, Source, Speech
from polydub.wants import Wanted

PROGRESS_S = 0.25  # between two messages about the same stage
HEAD_BYTES = 8192  # by which it is told what a file is
_NO_MEDIA = ("text/", "image/", "font/", "message/", "model/")
_NO_MEDIA_TYPES = frozenset(
    {"application/pdf", "application/zip", "application/gzip", "application/x-7z-compressed", "application/x-msdownload",
     "application/x-sqlite3", "application/x-sharedlib", "application/x-executable", "application/rtf"}
)  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """A file on disk that somebody sent. `most_s`: the longest that is taken, seconds."""

    file: Path
    most_s: float


@dataclass(frozen=True)
class Listening:
    """What is wanted of a recording.

    Attributes: language: "" = found out. speakers: they are told apart. english: what is said is translated into English.
    """

    model: str = "whisper-1"
    language: str = ""
    speakers: bool = False
    english: bool = False
    hints: Hints = NO_HINTS


@dataclass(frozen=True)
class Heeded:
    """A recording has been accepted. `engine`: with its model, as a client may name it. `duration`: seconds.

    `notices`: what of the request is not heeded.
    """

    engine: str
    duration: float
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Heard:
    """All that was heard. `text`: the segments as they were told, in a row; `language`: of `segments`, "und" in silence."""

    language: str
    duration: float
    text: str
    segments: tuple[Segment, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Stems:
    """Where the stems lie, 24-bit FLAC at 48 kHz, by name. They are gone when the flow has ended."""

    files: Mapping[str, Path]
    duration: float
    notices: tuple[Notice, ...]


Telling = Heeded | Progress | Segment | Heard
Parting = Heeded | Progress | Stems


def check_sound(head: bytes) -> None:
    """Refuses what its first bytes show to be something else; what a client calls it does not count. Raises: Problem 415."""
    import puremagic

    if not head:
        raise Problem(400, "empty_file", "the file is empty", param="file")
    try:
        kind = str(cast("Any", puremagic).from_string(head, mime=True) or "")
    except (puremagic.PureError, ValueError):
        return  # the guarded reader looks at it more closely
    if kind.startswith(_NO_MEDIA) or kind in _NO_MEDIA_TYPES:
        raise Problem(415, "unsupported_media_type", f"this is {kind}, neither sound nor video", param="file")


def joined(segments: Iterable[Segment]) -> str:
    """Texts in a row, with blanks where their script has them."""
    text = ""
    for segment in segments:
        text += lead(text, segment.text) + segment.text.strip()
    return text


def lead(before: str, text: str) -> str:
    """What stands between a text and the one that follows."""
    text = text.strip()
    return " " if before and text and not (unspaced(before[-1]) and unspaced(text[0])) else ""


class _Progress:
    """Progress of stages as it is told to a client: not every step of it, and nothing twice."""

    def __init__(self, tell: Flow[Telling] | Flow[Parting]) -> None:
        self._flow, self._stage, self._last = tell, "", 0.0
        self._told: tuple[str, int, int] | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._stage and now - self._last < PROGRESS_S and progress.done < progress.total:
            return
        if self._told == (told := (progress.stage, progress.done, progress.total)):
            return  # a stage at work says so again and again
        self._stage, self._last, self._told = progress.stage, now, told
        self._flow.put(progress)


@contextmanager
def _working(house: House, flow: Flow[Telling] | Flow[Parting]) -> Generator[Run]:
    """A run whose files are gone afterwards, and which stops when the client leaves."""
    with (
        house.store.scratch() as folder,
        closing(Store(folder / "work")) as store,
        house.run(store, _Progress(flow)) as run,
    ):
        flow.at_stop(run.cancel)
        yield run


def _opened(run: Run, recording: Recording) -> tuple[Source, Handle[listen.Heard]]:
    """What the recording is, and its sound in the making. Raises: UnreadableMedia, NoAudioTrack; Problem 400 for a long one."""
    source = run.step(listen.probe, run.adopt(recording.file))
    if source.duration > recording.most_s:
        text = f"the recording is {source.duration:.0f} s long, at most {recording.most_s:.0f} s are taken"
        raise Problem(400, "audio_too_long", text, hint="cut it into parts", param="file")
    return source, run.start(listen.extract, source, listen.audio_track(source, None))


def hear(house: House, recording: Recording, want: Listening) -> Flow[Telling]:
    """Transcribes: Heeded, Progress, each Segment as it is recognised, Heard. Must be called in an event loop.

    Raises, while it is taken: Problem 400, 404, 429; UnreadableMedia; what choosing engines and the engines raise.
    """
    return Flow(lambda flow: _hear(house, recording, want, flow))


def _hear(house: House, recording: Recording, want: Listening, flow: Flow[Telling]) -> None:
    with _working(house, flow) as run:
        wants: dict[Kind, str] = {"asr": want.language or UNKNOWN, "vad": UNKNOWN}
        if want.speakers:
            wants["diarization"] = UNKNOWN
        tool, unheeded = heeding(house.choose(run, "asr", want.model, wants), want.hints)
        run.tools["asr"] = tool
        for notice in unheeded:
            run.note(notice)
        if want.english:
            _check_translator(house, run, want.language)
        with house.desk(tool).place(), house.desk(tool).turn(time.monotonic(), flow.check):
            source, extracted = _opened(run, recording)
            flow.put(Heeded(named(tool), source.duration, unheeded))
            try:
                flow.put(_heard(house, run, extracted, want, flow))
            except NoSpeech:
                flow.put(Heard(want.language or UNKNOWN, source.duration, "", (), run.notices))


def _check_translator(house: House, run: Run, language: str) -> None:
    """Before anything is recognised. Raises what choosing raises where nothing here translates into English."""
    if language and matches(language, "en"):
        return
    try:
        Chooser(house.loaded, {}).check(run, {"mt": f"{language or UNKNOWN}>en"})
    except PolydubError as error:
        if not language:
            error.hint = "; ".join(filter(None, (error.hint, "or say language=en where English is spoken")))
        raise


def _heard(house: House, run: Run, extracted: Handle[listen.Heard], want: Listening, flow: Flow[Telling]) -> Heard:
    ear = listening.detect(run, extracted.result())
    recognised = listening.recognised(run, ear, want.language or UNKNOWN)
    said: list[tuple[Segment, ...]] = []
    for piece in recognised.said:
        said.append(piece)
        for segment in piece if not want.english else ():
            flow.put(segment)
    turns = listening.start_diarization(run, ear, None).result().turns if want.speakers and any(said) else ()
    segments = run.step(recognise.sentences, tuple(said), turns)
    language, told = recognised.language, tuple(segment for piece in said for segment in piece)
    if want.english and segments:
        segments = told = _in_english(house, run, segments, language)
        language = "en"
        for segment in told:
            flow.put(segment)
    return Heard(language, ear.heard.sound.duration, joined(told), segments, run.notices)


def _in_english(house: House, run: Run, segments: tuple[Segment, ...], language: str) -> tuple[Segment, ...]:
    """The same, translated; what is English stays."""
    numbered = tuple(replace(segment, id=str(number)) for number, segment in enumerate(segments, 1))
    given = translate.Given(Script(language, numbered), {})
    lines = pipeline.write_lines(run, given, Wanted("en"), Chooser(house.loaded, {})).lines
    return tuple(Segment(x.start, x.end, x.id, x.speaker, x.text) for x in lines)


def part(house: House, recording: Recording, model: str, want: Literal["dialogue", "stems"]) -> Flow[Parting]:
    """Separates: Heeded, Progress, Stems. The files are there until the flow is asked for more, or stopped.

    "dialogue" is dialogue and background; "stems" all that the engine tells apart. They sum to the sound, to the sample.
    Raises, while it is taken: Problem 400, 404, 429; UnreadableMedia; what choosing engines and the engines raise.
    """
    return Flow(lambda flow: _part(house, recording, (model, want), flow))


def _part(house: House, recording: Recording, want: tuple[str, str], flow: Flow[Parting]) -> None:
    model, what = want
    with _working(house, flow) as run:
        wants: dict[Kind, str] = {"separation": UNKNOWN} if what == "stems" else {"vad": UNKNOWN, "separation": UNKNOWN}
        tool = house.choose(run, "separation", model, wants)
        if what == "stems" and "stems" not in tool.engine.info.features:
            text = f"{tool.engine.info.name} tells dialogue from the rest, no more"
            raise Problem(400, "stems_unsupported", text, hint="choose demucs or mdx23 as model", param="stems")
        with house.desk(tool).place(), house.desk(tool).turn(time.monotonic(), flow.check):
            source, extracted = _opened(run, recording)
            flow.put(Heeded(named(tool), source.duration))
            blocks = _stems(run, extracted) if what == "stems" else _halves(run, extracted)
            folder = run.store.folder / "stems"
            made = {name: run.deliver(deliver.stem, folder / f"{name}.flac", parts) for name, parts in blocks.items()}
            files = {name: handle.result() for name, handle in made.items()}
        flow.put(Stems(files, source.duration, run.notices))
        flow.linger()


def _halves(run: Run, extracted: Handle[listen.Heard]) -> dict[str, tuple[Artifact, ...]]:
    """Dialogue and background, block by block."""
    ear = listening.detect(run, extracted.result())
    separated = listening.start_separation(run, ear).result()
    listening.note_unseparated(run, ear, separated)
    halves = run.map(deliver.part, tuple(zip(ear.heard.sound.blocks, (s.dialogue for s in separated), strict=True)))
    return {name: tuple(getattr(half, name) for half in halves) for name in ("dialogue", "background")}


def _stems(run: Run, extracted: Handle[listen.Heard]) -> dict[str, tuple[Artifact, ...]]:
    """Every stem that the engine tells apart, block by block."""
    sound = extracted.result().sound
    blocks = run.map(separate.stems, separate.pieces(sound, Speech((), 0, ()), everywhere=True))
    names = dict.fromkeys(name for block in blocks for name in block.files)

    def part_of(name: str, number: int, block: separate.Stems) -> Artifact:
        silent = sound.channels, min(BLOCK, sound.frames - number * BLOCK)
        return block.files.get(name) or run.step(deliver.silence, *silent)

    return {name: tuple(part_of(name, n, block) for n, block in enumerate(blocks)) for name in names}
