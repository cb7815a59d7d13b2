"""Engines for requests: chosen by the names that clients use, shared, never more at once than they can serve, freed early."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from polydub import languages
from polydub.aloud import Names
from polydub.choosing import Chooser
from polydub.engines.base import Kind
from polydub.engines.pool import EnginePool, Tool
from polydub.errors import BadInput, BadSettings, PolydubError
from polydub.media.sounds import Flowing
from polydub.runner import How, Run, engine_at_work
from polydub.server import catalogue
from polydub.server.desk import Desk, Flow, Heads, Turns
from polydub.server.problems import Problem
from polydub.server.sounding import Clock, check, shaped
from polydub.server.wording import script_language, sentences
from polydub.store import Store
from polydub.types import Audio, Notice, Part, Progress, Voice
from polydub.voices import library
from polydub.voices.library import OPENAI, Library

if TYPE_CHECKING:
    from polydub.config import Loaded

SPEEDS = (0.25, 4.0)
CHOSEN_S, CHOICES = 1.0, 100  # how long a choice of engines holds for other requests, and of how many
SLICES_S = (0.1, 0.5)  # of sound that are encoded at once, first and later: some leave before all of a sentence is encoded
ENGINE_RATES = (0.5, 2.0)  # what engines are asked for; the stretcher does the rest
_LATIN = "en"


@dataclass(frozen=True)
class Utterance:
    """A text to be spoken as a client asks for it. `language`: "" = as the voice's, else as the text looks."""

    text: str
    voice: str
    model: str = "tts-1"
    form: str = "mp3"
    speed: float = 1.0
    language: str = ""
    instructions: str = ""


@dataclass(frozen=True)
class Begun:
    """What is known of an answer before its first sound. `engine`: with its model, as a client may name it."""

    engine: str
    voice: str
    language: str
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Ended:
    """An answer that is complete. `duration`: seconds of sound."""

    duration: float


Piece = Begun | bytes | Ended


class House:
    """The engines of a server for what clients ask of them at once. `close` when the server ends.

    One pool holds them: they are loaded when they are first needed and unloaded when nobody needed them for `idle_s`, one
    heavy one for each accelerator. `queue`: requests that may wait for one engine; the next one gets 429.
    """

    def __init__(self, loaded: Loaded, folder: Path, *, queue: int = 32, pool: EnginePool | None = None) -> None:
        """`folder`: for voices as engines want them, and for files while they are worked on."""
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        never = {"download": "no", "strict": False}
        self.loaded = replace(loaded, settings=loaded.settings.model_copy(update=never))
        self._owns = pool is None
        self.pool = pool or EnginePool(loaded.settings.idle_s, self.cores)
        self.store = Store(folder / "speech")
        self._encoders = Turns(self.cores), Turns(max(1, self.cores // 2))  # first sounds; later ones must not keep them back
        self._queue, self._desks, self._lock, self._heads = queue, dict[str, Desk](), Lock(), Heads()
        self._listed: dict[tuple[str, str], tuple[Voice, ...]] = {}
        self._chosen: dict[tuple[object, ...], tuple[float, dict[Kind, Tool], tuple[Notice, ...]]] = {}
        self._choosing = Lock()
        self._rates: dict[str, int] = {}  # of engines' sound, as they gave it last
        self._opening = ThreadPoolExecutor(self.cores, "polydub-encoder")

    def close(self) -> None:
        """Unloads everything."""
        self._opening.shutdown(cancel_futures=True)
        if self._owns:
            self.pool.close()
        self.store.close()

    def desks(self) -> Mapping[str, Desk]:
        """Who is served and waits, by engine, for /metrics."""
        with self._lock:
            return dict(self._desks)

    def models(self) -> tuple[catalogue.Model, ...]:
        """What clients may ask for."""
        return catalogue.models(self.loaded)

    def model(self, name: str) -> catalogue.Model:
        """One of them. Raises: Problem 404."""
        return catalogue.model(name, self.loaded)

    # choosing

    @contextmanager
    def run(self, store: Store | None = None, sink: Callable[[Progress], None] | None = None) -> Generator[Run]:
        """Work that shares this house's engines; what is remembered lies in `store`."""
        store = store or self.store
        how = How(self.loaded.settings.threads or self.cores, sink=sink or _nobody)
        with Run(store, store.folder, how, self.pool) as run:
            yield run

    def choose(self, run: Run, kind: Kind, model: str, wants: Mapping[Kind, str]) -> Tool:
        """Puts the engine that `model` means, and others of `wants`, into a run; its tool.

        Raises: Problem 404; what choosing raises, since a server fetches no weights for a client.
        """
        from polydub import config

        asked = kind, model, *sorted(wants.items())
        with self._choosing:  # who asks at one moment shares the answer
            until, tools, notices = self._chosen.get(asked, (0.0, {}, ()))
            if until > time.monotonic():
                run.tools.update(tools)
                run.note(*notices)
                return run.tools[kind]
            named = {config.CHOICES[kind]: catalogue.asked(kind, model, self.loaded)}
            settings = self.loaded.settings.model_copy(update=named)
            Chooser(replace(self.loaded, settings=settings), {})(run, wants)
            if len(self._chosen) >= CHOICES:
                self._chosen.clear()
            self._chosen[asked] = time.monotonic() + CHOSEN_S, dict(run.tools), run.notices
        return run.tools[kind]

    def desk(self, tool: Tool) -> Desk:
        """Where requests for this engine queue up, whatever its options are."""
        name = f"{tool.engine.info.kind} {tool.engine.info.name}"
        with self._lock:
            return self._desks.setdefault(name, Desk(tool.engine.info.parallel or self.cores, self._queue))

    # voices

    def voices(self, model: str = "tts-1", language: str = "") -> tuple[str, tuple[Voice, ...], Library]:
        """The speech engine that is meant, its own voices for a language, and the voice library."""
        kept = self._library()
        with self.run() as run:
            told = _tag(language) or self._default()
            tool = self.choose(run, "tts", model, {"tts": told})
            return named(tool), self._own(tool, told), kept

    def _library(self) -> Library:
        return library.read(self.loaded.settings.voices_home)

    def _own(self, tool: Tool, language: str) -> tuple[Voice, ...]:
        """The engine's own voices. It has to be loaded to tell them; after that they are known."""
        key = named(tool), language
        known = self._listed.get(key)
        if known is None:
            with self.pool.borrow(tool, self.cores) as tts:
                known = self._listed[key] = tuple(tts.voices(language))
        return known

    def _default(self) -> str:
        targets = self.loaded.settings.to
        return targets[0] if len(targets) == 1 else _LATIN

    def _language(self, said: Utterance, kept: Library) -> str:
        told = _tag(said.language)
        if told:
            return told
        if kept.has(said.voice) and (own := kept.find(said.voice)).language != "und":
            return own.language
        return script_language(said.text) or self._default()

    def _voice(self, run: Run, said: Utterance, kept: Library, language: str) -> Voice:
        """The voice of that name: the engine's own, the library's, that of an alias; OpenAI's names always mean one.

        Raises: Problem 400 voice_not_found.
        """
        tool = run.tools["tts"]
        own = self._own(tool, language)
        by_name = {voice.name.casefold(): voice for voice in reversed(own)}
        if (name := said.voice.casefold()) in by_name:
            return by_name[name]
        try:
            meant = said.voice if kept.has(said.voice) else kept.leads_to(said.voice)
            if meant.casefold() in by_name:
                return by_name[meant.casefold()]
            if kept.has(meant):
                return Names(run, self.pool, kept, self.loaded).voice(kept.find(meant).name, language)
        except BadInput as error:
            raise Problem(400, "voice_damaged", error.message, hint=error.hint, param="voice") from error
        except BadSettings as error:
            raise self._no_voice(said.voice, own, kept, error.message) from error
        if name in OPENAI and own:
            return own[OPENAI.index(name) % len(own)]
        stock: Sequence[Voice] = ()
        if "stock" in tool.engine.info.features:
            with self.pool.borrow(tool, self.cores) as tts:
                stock = tts.stock(language)
        found = next((voice for voice in stock if voice.name.casefold() == name), None)
        if found is None:
            raise self._no_voice(said.voice, own, kept)
        return found

    @staticmethod
    def _no_voice(name: str, own: Sequence[Voice], kept: Library, why: str = "") -> Problem:
        names = [*OPENAI, *(voice.name for voice in own)]
        near = kept.nearest(name, names) or names[:3]
        shown = name if len(name) <= 100 else name[:100] + "..."
        text = why or f"there is no voice {shown!r}"
        return Problem(400, "voice_not_found", text, hint=f"such as {', '.join(near)}", param="voice")

    # speaking

    def speak(self, said: Utterance) -> Flow[Piece]:
        """Speaks in the form that is wanted: Begun, the sound as it is made, Ended. Must be called in an event loop.

        Raises, while it is taken: Problem 400, 404, 429; what choosing an engine and the engine raise.
        """
        return Flow(lambda flow: self._speak(said, flow))

    def _speak(self, said: Utterance, flow: Flow[Piece]) -> None:
        kept = self._library()
        language = self._language(said, kept)
        with self.run() as run:
            tool = self.choose(run, "tts", said.model, {"tts": language})
            desk = self.desk(tool)
            with desk.place(), self._heads.coming(flow):
                voice = self._voice(run, said, kept, language)
                telling = _unheeded(said, run.notices)
                flow.put(Begun(named(tool), said.voice, language, telling))
                self._encode(tool, Part(said.text, language, voice, said.speed), said.form, flow)

    def _encode(self, tool: Tool, whole: Part, form: str, flow: Flow[Piece]) -> None:
        encoder, length, due = None, 0.0, time.monotonic()
        likely_hz = self._rates.get(named(tool), 0)
        opening = self._opening.submit(Flowing, form, likely_hz) if likely_hz else None  # while the engine speaks
        with engine_at_work(tool, "speak"), closing(self._sounds(tool, whole, flow)) as sounds:
            for audio in sounds:
                if encoder is None:
                    encoder = opening.result() if opening and audio.rate_hz == likely_hz else Flowing(form, audio.rate_hz)
                    self._rates[named(tool)] = audio.rate_hz
                at = 0
                while at < audio.samples.shape[1]:
                    cut = audio.samples[:, at : at + round(SLICES_S[length > 0] * audio.rate_hz)]
                    with self._encoders[length > 0].turn(due + length, flow.check):
                        made = encoder.add(cut)
                    if made:
                        flow.put(made)
                        self._heads.heard(flow)
                    at, length = at + cut.shape[1], length + cut.shape[1] / audio.rate_hz
        if encoder is None:
            raise Problem(400, "nothing_to_say", "the text has nothing that can be spoken", param="input")
        if tail := encoder.finish():
            flow.put(tail)
        flow.put(Ended(round(length, 3)))

    def _sounds(self, tool: Tool, whole: Part, flow: Flow[Piece]) -> Generator[Audio]:
        """The text as it is spoken, sentence by sentence. Before each the one whose sound runs out first is served.

        On an accelerator, where another engine may want the place in between, all of a text is one turn.
        """
        desk, clock = self.desk(tool), Clock()
        together = tool.device != "cpu"
        flows = "stream" in tool.engine.info.features
        with ExitStack() as held:
            if together:
                held.enter_context(desk.turn(clock.due, flow.check))
                held.enter_context(self.pool.borrow(tool, self.cores))
            for text in sentences(whole.text, whole.language):
                with nullcontext() if together else desk.turn(clock.due, flow.check):
                    sounds = self._piece(tool, replace(whole, text=text), flow)
                    if flows:
                        yield from clock.counted(sounds)
                    made = tuple(sounds)
                yield from clock.counted(made)

    def _piece(self, tool: Tool, part: Part, flow: Flow[Piece]) -> Iterator[Audio]:
        """One text as the engine speaks it; nothing where there is nothing to hear."""
        features, (low, high) = tool.engine.info.features, ENGINE_RATES
        rate = min(high, max(low, part.rate)) if "rate" in features else 1.0
        left = part.rate / rate
        asked = replace(part, rate=rate)
        with self.pool.borrow(tool, self.cores, flow.check) as tts:
            if part.voice.references:
                sounds: Iterator[Audio] = iter((tts.clone(asked, self._references(part.voice)),))
            elif "stream" in features and left == 1:
                sounds = tts.stream(asked)
            else:
                sounds = iter((tts.synthesize(asked),))
            first = True
            for audio in sounds:
                if audio.samples.shape[1]:
                    if first and "stream" not in features:
                        check(audio, asked)
                    first = False
                    yield shaped(audio, part.voice, left)
                flow.check()

    def _references(self, voice: Voice) -> list[Audio]:
        return [_reference(str(self.store.path(artifact))) for artifact in voice.references]


def _nobody(progress: Progress) -> None:
    """Hears nothing."""


@lru_cache(maxsize=32)  # every sentence of every request of a voice wants them
def _reference(path: str) -> Audio:
    from polydub.media.recordings import read_recording

    return read_recording(Path(path), library.MOST_S)


def named(tool: Tool) -> str:
    """An engine as a client may ask for it: "piper:en_GB-alba-medium", "espeak-ng"."""
    model = getattr(tool.options, "model", "")
    known = any(model in several for several in tool.engine.models.values())
    return f"{tool.engine.info.name}:{model}" if known else tool.engine.info.name


def _tag(language: str) -> str:
    """A language as a client writes it. Raises: Problem 400."""
    if not language:
        return ""
    try:
        return languages.parse(language)
    except PolydubError as error:
        raise Problem(400, "language_not_found", error.message, hint=error.hint, param="language") from error


def _unheeded(said: Utterance, notices: tuple[Notice, ...]) -> tuple[Notice, ...]:
    """What is told of the parts of a request that nobody heeds."""
    if not said.instructions.strip():
        return notices
    return (*notices, Notice("instructions-unheeded", "the speech engine takes no instructions", "info"))
