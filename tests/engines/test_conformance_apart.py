"""What every engine in a process of its own promises beside the rest of the suite, with its real libraries.

It dies and comes back, ends when it is told to, gives the same answers in other processes, and refuses damaged weights.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import buzz
from conformity import Ready, running

from polydub.audio.pcm import write_pcm
from polydub.engines.base import Batch, Engine, Kind, Request
from polydub.engines.opening import opened
from polydub.errors import BadEngineOutput, PolydubError
from polydub.types import RATE_HZ, Part, Span

GetReady = Callable[[Kind, str], Ready]
NOTHING_LEFT = pytest.mark.usefixtures("socket_disabled", "nothing_left")
TEXTS = {"en": "The train is late.", "es": "El tren llega tarde."}


def _speech(row: Ready, engine: Any, folder: Path) -> object:
    known = row.engine.languages(row.options)
    language = next((tag for tag in TEXTS if known is None or tag in known), "") or min(known or ())
    part = Part(TEXTS[language.partition("-")[0]], language, engine.voices(language)[0])
    try:
        return engine.synthesize(part).samples.tobytes()
    except BadEngineOutput as error:  # of random weights, which end no sentence
        return str(error)


def _translation(row: Ready, engine: Any, folder: Path) -> object:
    known = row.engine.languages(row.options)
    pair = "en>es" if known is None or "en>es" in known else min(known)
    source, _, target = pair.partition(">")
    return list(engine.translate(Batch(source, target, (Request("1", "Good day."), Request("2", "The cat is here.")))))


def _turns(row: Ready, engine: Any, folder: Path) -> object:
    write_pcm(folder / "film.wav", [buzz(6).samples])
    return tuple(engine.diarize(folder / "film.wav", None))


def _dialogue(row: Ready, engine: Any, folder: Path) -> object:
    return engine.separate(buzz(2, RATE_HZ, 2), (Span(0.2, 1.8),)).tobytes()


def _transcript(row: Ready, engine: Any, folder: Path) -> object:
    return tuple(engine.transcribe(buzz(3), "en"))


def _faces(row: Ready, engine: Any, folder: Path) -> object:
    pictures = np.random.default_rng(0).integers(0, 256, (8, 96, 128, 3), np.uint8)
    return engine.faces(pictures), engine.cuts(pictures)


USES: Mapping[Kind, Callable[[Ready, Any, Path], object]] = {
    "asr": _transcript,
    "diarization": _turns,
    "separation": _dialogue,
    "mt": _translation,
    "tts": _speech,
    "faces": _faces,
}


def _is_apart(engine: Engine) -> bool:
    return engine.environment is not None and not engine.info.network


def _repeats(engine: Engine) -> bool:
    return _is_apart(engine) and engine.info.deterministic


def test_every_kind_with_an_engine_apart_is_worked() -> None:
    from conformity import ROWS, usable

    assert {kind for kind, name in ROWS if usable(kind, name).environment} <= set(USES)


@running(*USES, having=_is_apart)
@NOTHING_LEFT
def test_it_works_where_numpy_may_be_another_and_comes_back_when_it_was_killed(
    ready: GetReady, children: Callable[[], set[int]], tmp_path: Path, kind: Kind, name: str
) -> None:
    row = ready(kind, name)
    with row.load() as engine:
        first = USES[kind](row, engine, tmp_path)
        (process,) = children()
        os.kill(process, signal.SIGKILL)
        again = USES[kind](row, engine, tmp_path)
        assert process not in children()
    if row.engine.info.deterministic:
        assert again == first, "another process, the same answer"


@running(*USES, having=_is_apart)
@NOTHING_LEFT
def test_a_call_in_progress_ends_when_its_engine_is_closed(ready: GetReady, tmp_path: Path, kind: Kind, name: str) -> None:
    row = ready(kind, name)
    done: list[object] = []

    def work(engine: Any) -> None:
        while True:
            done.append(USES[kind](row, engine, tmp_path))

    with ThreadPoolExecutor(1) as pool:
        with row.load() as engine:
            USES[kind](row, engine, tmp_path)
            working = pool.submit(work, engine)
            with pytest.raises(TimeoutError):
                working.result(0.3)
        with pytest.raises(PolydubError) as caught:
            working.result(30)
    assert caught.value.message


@running(*USES, having=_repeats)
@NOTHING_LEFT
def test_as_many_threads_as_before_give_the_same_answer(ready: GetReady, tmp_path: Path, kind: Kind, name: str) -> None:
    """With another number of them sums are added in another order, and samples may differ in their last bits."""
    row = ready(kind, name)
    found: list[object] = []
    for _ in range(2):
        options = row.options.model_copy(update={"threads": 2})
        with opened(row.engine, options, row.weights, "cpu", row.python) as engine:
            found.append(USES[kind](row, engine, tmp_path))
    assert found[0] == found[1]


@running(*USES, having=_is_apart)
@NOTHING_LEFT
def test_a_damaged_file_of_its_weights_is_an_error_that_can_be_read(
    ready: GetReady, tmp_path: Path, kind: Kind, name: str
) -> None:
    row = ready(kind, name)
    if not row.random or row.options.model_dump().get("model") is None:
        pytest.skip("not run on real weights, which are large: on empty ones of their length in test_conformance_hearing.py")
    copy = tmp_path / "weights"
    shutil.copytree(str(row.options.model_dump()["model"]), copy)
    for path in copy.rglob("*"):  # every net in it: which is used is the engine's own affair
        if path.is_file() and path.stat().st_size > 1000 and path.suffix not in (".json", ".yaml", ".txt"):
            length = min(path.stat().st_size, 100_000)
            path.write_bytes(np.random.default_rng(0).integers(0, 256, length, np.uint8).tobytes())
    options = row.options.model_copy(update={"model": str(copy)})
    with pytest.raises(PolydubError) as caught, opened(row.engine, options, row.weights, "cpu", row.python) as engine:
        USES[kind](row, engine, tmp_path)
    assert caught.value.message and caught.value.hint
    assert not isinstance(caught.value, BadEngineOutput)
