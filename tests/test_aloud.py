"""Texts spoken on their own: whose voice a name means, and how an engine speaks in it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub import config
from polydub.aloud import Names, engine_voices, hear
from polydub.engines import registry
from polydub.engines.base import READY, Engine, Info, Options
from polydub.engines.pool import EnginePool, Tool
from polydub.errors import BadInput, BadSettings
from polydub.runner import Run
from polydub.store import Store
from polydub.types import Audio, Part, Voice
from polydub.voices import library

RATE_HZ = 16_000


def sound(level: float = 0.1) -> Audio:
    return Audio(np.full((1, 1_600), level, np.float32), RATE_HZ)


@dataclass
class Parrot:
    """A speech engine with two voices that clones and streams, and remembers what it was asked for."""

    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def voices(self, language: str) -> Sequence[Voice]:
        return [Voice("parrot", name, language, name) for name in ("Polly", "Jack")]

    def synthesize(self, part: Part) -> Audio:
        self.asked.append(("synthesize", part.voice.name, 0))
        return sound()

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        self.asked.append(("clone", part.voice.name, sum(r.samples.shape[1] for r in references)))
        return sound(0.2)

    def stream(self, part: Part) -> Iterator[Audio]:
        self.asked.append(("stream", part.voice.name, 0))
        yield sound(0.3)


def tool(engine: Parrot, *features: str) -> Tool:
    @contextmanager
    def load(*_: object) -> Generator[Parrot]:
        yield engine

    info = Info("tts", "parrot", "for tests", "Apache-2.0", "", features=frozenset(features))
    made = Engine(info, Options, load, lambda _: READY, lambda _: None)
    return Tool(made, Options(), registry.identity(made, Options(), "cpu", None, {}), "cpu", {}, "for tests", None)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in ("de-Anna", "Polly", "Ben"):
        soundfile.write(folder / f"{name}.wav", np.full(800, 0.1), RATE_HZ)
    (folder / "aliases.json").write_text('{"version": 1, "aliases": {"boss": "anna", "mate": "jack", "far": "beyond"}}')
    return folder


@pytest.fixture
def names(tmp_path: Path, shelf: Path) -> Iterator[Callable[..., Names]]:
    """`names("clone")` -> what names mean to a parrot with these features."""
    pool = EnginePool()
    store = Store(tmp_path / "store")
    with Run(store, tmp_path, None, pool) as run:

        def make(*features: str, engine: Parrot | None = None) -> Names:
            run.tools["tts"] = tool(engine or Parrot(), *features)
            return Names(run, pool, library.read(shelf), config.load_from_process({"voices": shelf}))

        yield make
    store.close()
    pool.close()


def test_no_name_is_the_engines_first_voice(names: Callable[..., Names]) -> None:
    assert names().voice(None, "de").name == "Polly"


def test_the_engines_voice_then_the_librarys_then_an_alias(names: Callable[..., Names]) -> None:
    meant = {name: names("clone").voice(name, "de") for name in ("polly", "anna", "boss", "mate", "far", "other")}
    assert {name: (voice.name, len(voice.references)) for name, voice in meant.items()} == {
        "polly": ("Polly", 0),
        "anna": ("Anna", 1),
        "boss": ("Anna", 1),
        "mate": ("Jack", 0),
        "far": ("beyond", 0),
        "other": ("other", 0),
    }


def test_a_recording_is_a_voice_by_its_path(names: Callable[..., Names], shelf: Path) -> None:
    voice = names("clone").voice(str(shelf / "Ben.wav"), "de")
    assert (voice.name, len(voice.references)) == ("Ben", 1)
    (shelf / "bad.wav").write_text("no sound")
    with pytest.raises(BadInput, match=r"bad\.wav"):
        names("clone").voice(str(shelf / "bad.wav"), "de")


def test_a_voice_of_the_library_wants_an_engine_that_clones_or_can_be_matched(names: Callable[..., Names]) -> None:
    with pytest.raises(BadSettings, match="cannot speak as Anna"):
        names().voice("anna", "de")


def test_a_default_alias_is_said(names: Callable[..., Names], shelf: Path) -> None:
    (shelf / "aliases.json").unlink()
    found = names("clone")
    assert found.voice("alloy", "de").name == "Anna"
    assert [notice.code for notice in found.run.notices] == ["alias-by-default"]


def test_a_text_is_cloned_piece_by_piece(names: Callable[..., Names]) -> None:
    engine = Parrot()
    found = names("clone", engine=engine)
    part = Part("One two three. " * 150, "de", found.voice("anna", "de"))
    assert sum(1 for piece in found.pieces(engine, part) if piece.samples.max() > 0) == len(engine.asked) > 1
    assert set(engine.asked) == {("clone", "Anna", 800)}


def test_an_engine_that_streams_hears_the_recordings_first(names: Callable[..., Names]) -> None:
    engine = Parrot()
    found = names("clone", "stream", engine=engine)
    list(found.pieces(engine, Part("One two three. " * 150, "de", found.voice("anna", "de"))))
    assert [what for what, _, _ in engine.asked][:2] == ["clone", "stream"] and len(engine.asked) > 1


def test_the_tone_of_a_matched_voice_is_laid_over_it(names: Callable[..., Names]) -> None:
    engine, wave = Parrot(), 0.1 * np.sin(np.arange(8_000) / 4)
    engine.synthesize = lambda part: Audio(wave[np.newaxis].astype(np.float32), RATE_HZ)  # type: ignore[method-assign]
    voice = replace(engine.voices("de")[0], tone=tuple(6.0 * (-1) ** n for n in range(20)))
    (piece,) = names(engine=engine).pieces(engine, Part("Hallo.", "de", voice))
    assert np.abs(piece.samples[0] - wave).max() > 0.01 and piece.samples.shape == (1, 8_000)


def test_what_the_engine_does_not_know_is_told_with_the_librarys_nearest(names: Callable[..., Names]) -> None:
    with pytest.raises(BadSettings) as told, names().explained("Bem"):
        raise BadSettings("parrot has no voice 'Bem'", "nearest: Polly")
    assert told.value.message == "parrot has no voice 'Bem', nor has the voice library"
    assert told.value.hint == "nearest: Polly; in the library: Ben"


def test_the_voices_of_an_engine_are_listed() -> None:
    name, voices = engine_voices(config.load_from_process({"tts": "fake"}), "es")
    assert name == "fake" and {v.language for v in voices} == {"es"}


def test_recordings_are_heard_trimmed_to_their_speech(shared_data: Path, tmp_path: Path) -> None:
    wave, rate_hz = soundfile.read(shared_data / "media/ljspeech/LJ001-0001.wav")
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(2 * rate_hz), wave, np.zeros(3 * rate_hz)]), rate_hz)
    (heard,) = hear([tmp_path / "a.wav"], config.load_from_process({}))
    assert heard.quality.figures.told_by == "fingerprint"
    assert heard.sound.duration == pytest.approx(len(wave) / rate_hz, abs=0.5) and heard.sound.rate_hz == rate_hz
