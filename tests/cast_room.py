"""A small film with two voices and the engines to cast it, for the tests of casting: nothing here needs a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np

from polydub.audio import match as spectra
from polydub.audio.signal import resample
from polydub.casting import Cast, cast_voices
from polydub.engines import registry
from polydub.engines.base import READY, Calibration, Engine, Info, Kind, Options
from polydub.engines.pool import Tool
from polydub.listening import Ear, Listened
from polydub.media.flac import write_flac
from polydub.runner import How, Run
from polydub.stages import listen
from polydub.stages.translate import Given
from polydub.store import Store
from polydub.types import (
    HEAR_HZ,
    RATE_HZ,
    Artifact,
    Audio,
    Line,
    Part,
    Samples,
    Script,
    Segment,
    Sound,
    Span,
    Speaker,
    Speech,
    Turn,
    Voice,
    seconds,
)
from polydub.wants import Acting, Voicing, Wanted

SIZES = {"small": 1.35, "middle": 1.0, "large": 0.75}
PEOPLE = {"ANNA": (215.0, 1.3), "BOB": (115.0, 0.8), "CID": (160.0, 1.0), "DORA": (250.0, 1.1)}  # pitch, size of the throat


@cache
def buzz(hz: float, size: float, seconds: float = 1.0, rate_hz: int = HEAR_HZ) -> Samples:
    """A buzz with three formants of a throat of that size, (1, n), in syllables with pauses between."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.zeros(len(t))
    for n in range(1, int(7000 / hz)):
        level = sum(np.exp(-(((n * hz - f * size) / 250) ** 2)) for f in (500, 1500, 2600)) + 0.02
        wave += level * np.sin(2 * np.pi * n * hz * t)
    heights = 0.9 ** (t.astype(int) % 7)  # peaks differ
    syllables = np.clip(np.sin(2 * np.pi * t), 0, 1) * heights
    return (0.2 * wave / np.abs(wave).max() * syllables)[np.newaxis].astype(np.float32)


class Plain:
    """A speech engine with two voices, and nothing to choose."""

    names: Sequence[str] = ("one", "two")

    def voices(self, language: str) -> Sequence[Voice]:
        return [Voice("plain", name, language, name) for name in self.names]

    def synthesize(self, part: Part) -> Audio:
        return Audio(buzz(150, 1.0), HEAR_HZ)


class Booth(Plain):
    """A speech engine with three throats at five pitches each, which can be matched."""

    def voices(self, language: str) -> Sequence[Voice]:
        return self.stock(language)

    def stock(self, language: str) -> Sequence[Voice]:
        return [Voice("booth", name, language, settings={"hz": hz}) for name in SIZES for hz in (80, 110, 150, 200, 270)]

    def near(self, voice: Voice) -> Sequence[Voice]:
        return [replace(voice, settings={"hz": round(voice.settings["hz"] * factor, 1)}) for factor in (0.93, 1.07)]

    def synthesize(self, part: Part) -> Audio:
        return Audio(buzz(part.voice.settings["hz"], SIZES[part.voice.name]), HEAR_HZ)


class Cloner(Plain):
    """A speech engine that clones."""

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        return references[0]


class Encoder:
    """An encoder whose voiceprint is the spectrum."""

    calibration = Calibration(0.3, 0.6, (0.3, 0.5), 0.3)

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        rows = list[Samples]()
        for window in windows:
            sound = speech.samples[0, round(window.start * HEAR_HZ) : round(window.end * HEAR_HZ)]
            levels = np.array(spectra.spectrum(sound, HEAR_HZ) or [1.0] * len(spectra.BANDS_HZ))
            rows.append((levels / np.linalg.norm(levels)).astype(np.float32))
        return np.array(rows, np.float32)


def tool(kind: Kind, make: Callable[[], object], *features: str) -> Tool:
    """An engine called like its class that is ready to be used."""

    @contextmanager
    def load(*_: object) -> Generator[object]:
        yield make()

    info = Info(
        kind,
        getattr(make, "__name__", "test").casefold(),
        "for tests",
        "Apache-2.0",
        "",
        parallel=0,
        features=frozenset(features),
    )
    engine = Engine(info, Options, load, lambda _: READY, lambda _: None)
    return Tool(engine, Options(), registry.identity(engine, Options(), "cpu"))


PLAIN = tool("tts", Plain)
BOOTH = tool("tts", Booth, "stock")
CLONER = tool("tts", Cloner, "clone")
ENCODER = tool("embedding", Encoder)

Told = Sequence[tuple[str, float, float]]  # who speaks from when to when, in seconds
TALK: Told = (("ANNA", 0.5, 7.5), ("BOB", 8.0, 15.0), ("ANNA", 15.5, 22.5), ("BOB", 23.0, 29.0))


@dataclass
class Room:
    """A store, and a film in it that may be cast again and again.

    Attributes: state: what the last finished run left. ran: calls that the last run made, by stage.
    """

    folder: Path
    store: Store
    state: dict[str, object] = field(default_factory=dict[str, object])
    ran: dict[str, int] = field(default_factory=dict[str, int])
    notices: dict[str, str] = field(default_factory=dict[str, str])

    def keep(self, name: str, samples: Samples, rate_hz: int = RATE_HZ) -> Artifact:
        """A sound in the store."""
        path = self.folder / f"{name}.flac"
        write_flac(path, samples, rate_hz)
        return self.store.keep(path)

    def film(self, said: Told = TALK, texts: str = "Hello.") -> Listened:
        """At most 29.9 s, one block; speakers by first appearance."""
        length = max(end for _, _, end in said)
        whole = np.zeros((1, round(length * RATE_HZ)), np.float32)
        for who, start, end in said:
            low = round(start * RATE_HZ)
            sound = buzz(*PEOPLE.get(who, PEOPLE["CID"]), seconds(end - start), RATE_HZ)
            whole[:, low : low + sound.shape[1]] += sound
        heard = listen.Heard(Sound((self.keep("sound", whole),), 1, whole.shape[1]), (), 0.3, ())
        mono = resample(whole, RATE_HZ, HEAR_HZ)
        speech = Speech((self.keep("speech", mono, HEAR_HZ),), mono.shape[1], tuple(Span(s, e) for _, s, e in said))
        segments = tuple(Segment(s, e, str(n), who, texts) for n, (who, s, e) in enumerate(said, 1))
        speakers = tuple(Speaker(name, name) for name in dict.fromkeys(who for who, _, _ in said))
        turns = tuple(Turn(s, e, who) for who, s, e in said)
        return Listened(heard, Given(Script("en", segments, speakers), {}), Ear(heard, speech, speech), turns)

    def cast(
        self,
        tts: Tool,
        voicing: Voicing | None = None,
        film: Listened | None = None,
        lines: Sequence[Line] = (),
        **more: object,
    ) -> Cast:
        """One run. more: characters, strict, book, acting."""
        film = film or self.film()
        characters = more.get("characters")
        with Run(self.store, self.folder, How(2, strict=bool(more.get("strict")))) as run:
            run.tools["tts"], run.tools["embedding"] = tts, ENCODER
            run.state, run.book = dict(self.state), more.get("book")
            want = Wanted("es", voicing=voicing or Voicing(), acting=cast("Acting", more.get("acting")) or Acting())
            made = cast_voices(run, film, lines or lines_of(film), want, characters)  # type: ignore[arg-type]
            self.state = run.finish()
            self.ran = {name: count.ran for name, count in run.counts.items() if count.ran}
            self.notices = {notice.code: notice.text for notice in run.notices}
        return made


def lines_of(film: Listened, **voices: str) -> list[Line]:
    """The lines of a film; `line3="two"` gives one its own voice."""
    return [
        Line(s.start, s.end, s.id, s.speaker, s.text, s.text, "es", voice=voices.get(f"line{s.id}", ""))
        for s in film.given.script.segments
    ]


def names(cast: Cast) -> Mapping[str, str]:
    """The names of the voices, by speaker."""
    return {who: voice.name for who, voice in cast.casting.voices.items()}
