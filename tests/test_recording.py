"""Doubtful takes are spoken again where that can help; the best try is kept, found again, and told when it stays doubtful."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from polydub.engines import registry
from polydub.engines.base import READY, Engine, Info, Options
from polydub.engines.pool import Tool
from polydub.recording import Booth, Check
from polydub.runner import Run
from polydub.stages.speak import other_seed
from polydub.store import Store
from polydub.types import Audio, Notice, Part, Samples, Segment, Take, Voice

RATE_HZ = 22_050
TEXT = "Buenos días a todos, vamos a la casa."


def buzz(seconds: float) -> Samples:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    edge = np.zeros(2000)
    return np.concatenate([edge, 0.2 * np.sin(2 * np.pi * 150 * at), edge])[np.newaxis].astype(np.float32)


@dataclass
class Scene:
    """An engine whose takes last as `lasts` says by seed, and a recogniser that hears what `hears` says by length."""

    folder: Path
    lasts: Callable[[int], float] = lambda seed: 1.9
    hears: Callable[[float], str] = lambda seconds: TEXT
    features: frozenset[str] = frozenset({"seed"})
    deterministic: bool = True
    understands: frozenset[str] | None = None
    seeds: list[int] = field(default_factory=list[int])
    notices: tuple[Notice, ...] = ()

    def synthesize(self, part: Part) -> Audio:
        self.seeds.append(part.seed)
        seconds = self.lasts(part.seed)
        return Audio(buzz(seconds) if seconds else np.zeros((1, 100), np.float32), RATE_HZ)

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        yield Segment(0.0, 1.0, text=self.hears(speech.duration - 0.4))

    def record(self, check: Check = "basic", listen: bool = True, lines: int = 1) -> list[float]:
        self.seeds.clear()

        @contextmanager
        def load(*_: object) -> Generator[Scene]:
            yield self

        store = Store(self.folder / "store")
        try:
            with Run(store, self.folder / "project") as run:
                tts = Info("tts", "test", "", "", "", features=self.features, deterministic=self.deterministic)
                run.tools["tts"] = _tool(Engine(tts, Options, load, lambda _: READY, lambda _: None))
                if listen:
                    asr = Info("asr", "ear", "", "", "")
                    run.tools["asr"] = _tool(Engine(asr, Options, load, lambda _: READY, lambda _: self.understands))
                booth = Booth(run, check)
                parts = [Part(f"{TEXT} {n}" if n else TEXT, "es", Voice("test", "one", "es")) for n in range(lines)]
                takes = booth.record(parts, [str(n + 1) for n in range(lines)])
                ids = {f"{n + 1}.1": take for n, take in enumerate(takes)}
                run.note(*booth.doubtful(ids))
                self.notices = run.notices
                return [round(take.duration, 1) for take in takes]
        finally:
            store.close()


def _tool(engine: Engine) -> Tool:
    return Tool(engine, Options(), registry.identity(engine, Options(), "cpu"))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_good_take_is_spoken_once_and_nothing_is_told(scene: Scene) -> None:
    assert scene.record() == [1.9] and scene.seeds == [0] and scene.notices == ()


def test_a_doubtful_take_is_spoken_again_with_another_seed_and_the_next_run_finds_it(scene: Scene) -> None:
    scene.lasts = lambda seed: 1.9 if seed == other_seed(0, 2) else 20.0
    assert scene.record() == [1.9]
    assert scene.seeds == [0, other_seed(0, 1), other_seed(0, 2)] and scene.notices == ()
    assert scene.record() == [1.9] and scene.seeds == []


def test_of_doubtful_tries_the_best_is_kept_and_told_by_its_line(scene: Scene) -> None:
    scene.lasts = lambda seed: 20.0
    assert scene.record() == [20.0] and len(scene.seeds) == 3
    (notice,) = scene.notices
    assert (notice.code, notice.severity, notice.line) == ("doubtful-take", "warning", "1")
    assert notice.text == "the take of line 1 is far too long for its text: listen to it"


def test_many_doubtful_takes_are_one_sentence(scene: Scene) -> None:
    scene.lasts = lambda seed: 20.0
    scene.record(lines=8)
    (notice,) = scene.notices
    assert notice.text.startswith("8 lines (such as 1, 2, 3, 4, 5) have a take that is far too long")


@pytest.mark.parametrize(
    ("features", "deterministic", "tries"), [(frozenset({"seed"}), True, 3), (frozenset(), False, 3), (frozenset(), True, 1)]
)
def test_only_an_engine_that_can_say_it_otherwise_is_asked_again(
    scene: Scene, features: frozenset[str], deterministic: bool, tries: int
) -> None:
    scene.features, scene.deterministic, scene.lasts = features, deterministic, lambda seed: 20.0
    scene.record()
    assert len(scene.seeds) == tries and len(scene.notices) == 1


def test_a_silent_second_try_leaves_the_doubtful_first_one(scene: Scene) -> None:
    scene.lasts = lambda seed: 0.0 if seed else 20.0
    assert scene.record() == [20.0] and [n.code for n in scene.notices] == ["doubtful-take"]


def test_a_silent_try_of_one_part_leaves_the_better_tries_of_others(scene: Scene) -> None:
    def synthesize(part: Part) -> Audio:
        silent = part.seed != 0 and part.text.endswith("1")
        seconds = 1.9 if part.seed == other_seed(0, 1) else 20.0
        return Audio(np.zeros((1, 100), np.float32) if silent else buzz(seconds), RATE_HZ)

    scene.synthesize = synthesize  # type: ignore[method-assign]
    assert scene.record(lines=3) == [1.9, 20.0, 1.9]
    assert [notice.line for notice in scene.notices] == ["2"]


def test_without_a_check_everything_is_taken_as_it_comes_and_turning_it_on_speaks_only_what_is_doubtful(scene: Scene) -> None:
    scene.lasts = lambda seed: 20.0
    assert scene.record("off") == [20.0] and scene.seeds == [0] and scene.notices == ()
    scene.record("basic")
    assert scene.seeds == [other_seed(0, 1), other_seed(0, 2)], "the first take is remembered"


def test_what_a_recogniser_does_not_understand_is_spoken_again(scene: Scene) -> None:
    scene.lasts = lambda seed: 1.9 if seed == 0 else 2.2
    scene.hears = lambda seconds: "algo muy distinto" if seconds < 2 else "buenos días a todos vamos a casa"
    assert scene.record("recognise") == [2.2] and len(scene.seeds) == 2 and scene.notices == ()
    assert scene.record("recognise") == [2.2] and scene.seeds == []


def test_what_is_never_understood_is_told_and_the_best_understood_try_is_kept(scene: Scene) -> None:
    scene.lasts = lambda seed: {0: 1.9, other_seed(0, 1): 2.2}.get(seed, 2.5)
    scene.hears = lambda seconds: "buenos" if 2.1 < seconds < 2.4 else "nada"
    assert scene.record("recognise") == [2.2]
    assert "is not understood as its text" in scene.notices[0].text


@pytest.mark.parametrize("listen", [True, False])
def test_that_nobody_can_listen_is_told_and_the_sound_is_checked_all_the_same(scene: Scene, listen: bool) -> None:
    scene.understands, scene.lasts = frozenset({"en"}), lambda seed: 20.0
    scene.record("recognise", listen=listen)
    assert [n.code for n in scene.notices] == ["takes-not-heard", "doubtful-take"]


def test_takes_that_are_not_used_are_not_told(scene: Scene, tmp_path: Path) -> None:
    store = Store(tmp_path / "other")
    try:
        with Run(store, tmp_path / "project") as run:
            booth = Booth(run, "basic")
            assert list(booth.doubtful({"1": Take(store.keep(_file(tmp_path)), 1.0, 1.0, -20.0)})) == []
    finally:
        store.close()


def _file(folder: Path) -> Path:
    file = folder / "take.flac"
    file.write_bytes(b"sound")
    return file
