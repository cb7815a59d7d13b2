"""One take: tried again where it cannot be used, looked at, cloned from recordings, listened to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.engines import registry
from polydub.engines.base import READY, Engine, Info, Kind, Options
from polydub.engines.pool import Tool
from polydub.errors import BadEngineOutput, BadSettings
from polydub.media.flac import write_flac
from polydub.runner import Run
from polydub.stages import speak
from polydub.store import Store
from polydub.types import HEAR_HZ, Artifact, Audio, Part, Samples, Segment, Voice

RATE_HZ = 22_050
TEXT = "Buenos días a todos, vamos a la casa."  # some 1.9 s
Say = Callable[[Part], Samples]


def buzz(seconds: float = 1.9, silence_s: float = 0.1) -> Samples:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    edge = np.zeros(round(silence_s * RATE_HZ))
    loud = 0.2 * np.sin(2 * np.pi * 150 * at)
    return np.concatenate([edge, loud, edge])[np.newaxis].astype(np.float32)


class Speech:
    """Says what `say` makes of a part, and remembers what it was asked."""

    def __init__(self, say: Say) -> None:
        self.say, self.asked = say, list[Part]()

    def synthesize(self, part: Part) -> Audio:
        self.asked.append(part)
        return Audio(self.say(part), RATE_HZ)


class Cloning(Speech):
    """Clones, too."""

    def __init__(self, say: Say) -> None:
        super().__init__(say)
        self.heard: list[Sequence[Audio]] = []

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        self.heard.append(references)
        return Audio(self.say(part), RATE_HZ)


class Ear:
    """A recogniser that hears `text`, whatever is said."""

    def __init__(self, text: str) -> None:
        self.text, self.heard = text, list[Audio]()

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        self.heard.append(speech)
        for word in self.text.split():
            yield Segment(0.0, 1.0, text=word)


def tool(kind: Kind, made: object) -> Tool:
    @contextmanager
    def load(*_: object) -> Generator[object]:
        yield made

    engine = Engine(Info(kind, "test", "for tests", "", ""), Options, load, lambda _: READY, lambda _: None)
    return Tool(engine, Options(), registry.identity(engine, Options(), "cpu"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    store = Store(tmp_path / "store")
    with Run(store, tmp_path / "project") as made:
        yield made
    store.close()


def part(**more: Any) -> Part:
    return Part(TEXT, "es", more.pop("voice", Voice("test", "one", "es")), **more)


def record(run: Run, speech: Speech, wanted: Part | None = None) -> speak.Recorded:
    run.tools["tts"] = tool("tts", speech)
    return run.step(speak.synthesize, wanted or part())


def test_a_good_take_is_spoken_once_and_nothing_is_wrong_with_it(run: Run) -> None:
    speech = Speech(lambda _: buzz())
    made = record(run, speech)
    assert made.doubts == () and 1.9 <= made.duration <= 1.95 and len(speech.asked) == 1
    assert made.take == speak.Take(made.sound, made.duration, made.rate, made.loudness)


@pytest.mark.parametrize(
    ("sound", "doubt"),
    [(buzz(0.1), "too-short"), (buzz(9.0), "too-long"), (buzz()[:, : round(1.5 * RATE_HZ)], "cut-off")],
    ids=["short", "long", "cut"],
)
def test_what_seems_wrong_with_a_take_is_remembered_with_it(run: Run, sound: Samples, doubt: str) -> None:
    speech = Speech(lambda _: sound)
    assert record(run, speech).doubts == (doubt,)
    assert record(run, speech).doubts == (doubt,)
    assert len(speech.asked) == 1


def test_a_rate_is_taken_into_account(run: Run) -> None:
    speech = Speech(lambda p: buzz(4.5 if p.seed else 2.0))
    assert record(run, speech, part(rate=2.0)).doubts == ()
    assert record(run, speech, part(rate=2.0, seed=1)).doubts == ("too-long",)


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_what_cannot_be_used_is_spoken_again_with_other_seeds(run: Run, bad: float) -> None:
    speech = Speech(lambda p: buzz() * np.float32(1.0 if p.seed == speak.other_seed(7, 2) else bad))
    assert record(run, speech, part(seed=7)).doubts == ()
    seeds = [p.seed for p in speech.asked]
    assert seeds == [7, speak.other_seed(7, 1), speak.other_seed(7, 2)] and len(set(seeds)) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_what_can_never_be_used_is_an_error_after_three_tries(run: Run, bad: float) -> None:
    speech = Speech(lambda _: np.full((1, 5000), bad, np.float32))
    with pytest.raises(BadEngineOutput):
        record(run, speech)
    assert len(speech.asked) == 3


def reference(run: Run, tmp_path: Path, seconds: float, rate_hz: int) -> Artifact:
    file = tmp_path / f"{seconds}.flac"
    write_flac(file, np.full((1, round(seconds * rate_hz)), 0.25, np.float32), rate_hz)
    return run.store.keep(file)


def test_a_voice_with_recordings_is_cloned_from_all_of_them_at_their_own_rates(run: Run, tmp_path: Path) -> None:
    recordings = (reference(run, tmp_path, 1.5, 24_000), reference(run, tmp_path, 2.0, 48_000))
    speech = Cloning(lambda _: buzz())
    made = record(run, speech, part(voice=Voice("test", "anna", "es", references=recordings)))
    assert made.doubts == () and not speech.asked
    (heard,) = speech.heard
    assert [(a.rate_hz, a.samples.shape) for a in heard] == [(24_000, (1, 36_000)), (48_000, (1, 96_000))]
    assert np.allclose(heard[0].samples, 0.25, atol=1e-6)


def test_an_engine_that_cannot_clone_says_so_instead_of_speaking_with_another_voice(run: Run, tmp_path: Path) -> None:
    recordings = (reference(run, tmp_path, 1.0, 24_000),)
    speech = Speech(lambda _: buzz())
    with pytest.raises(BadSettings, match="test cannot speak in the voice of a recording"):
        record(run, speech, part(voice=Voice("test", "anna", "es", references=recordings)))
    assert not speech.asked


@pytest.mark.parametrize(("text", "error"), [(TEXT, 0.0), ("buenos dias todos vamos a la casa", 0.25), ("", 1.0)])
def test_a_take_is_listened_to_with_some_room_around_it(run: Run, text: str, error: float) -> None:
    ear = Ear(text)
    run.tools["asr"] = tool("asr", ear)
    take = record(run, Speech(lambda _: buzz())).take
    assert run.step(speak.hear_take, speak.Hearing(take, TEXT, "es")) == error
    (heard,) = ear.heard
    assert heard.rate_hz == HEAR_HZ and heard.duration == pytest.approx(take.duration + 0.4, abs=0.001)
    assert np.abs(heard.samples[:, :3000]).max() < 0.01 < np.abs(heard.samples).max()
