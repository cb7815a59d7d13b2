"""sherpa-onnx tells people apart who each hum one note, with two networks of a few numbers that hear notes (see tiny/)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.audio.pcm import write_pcm
from polydub.engines.diarization.sherpa import ENGINE
from polydub.errors import EngineFailed
from polydub.types import HEAR_HZ, Samples, Turn

pytestmark = [pytest.mark.neural, pytest.mark.slow]

Open = Callable[..., AbstractContextManager[Any]]
NOTES_HZ = {"a": 400.0, "b": 1100.0}
TALK = (Turn(1, 6, "a"), Turn(7, 12, "b"), Turn(14, 20, "a"), Turn(18, 23, "b"))


def humming(said: Sequence[Turn], length_s: float) -> Samples:
    sound = np.random.default_rng(1).normal(0, 1e-4, (1, round(length_s * HEAR_HZ)))
    for turn in said:
        start, end = round(turn.start * HEAR_HZ), round(turn.end * HEAR_HZ)
        sound[0, start:end] += 0.3 * np.sin(2 * np.pi * NOTES_HZ[turn.speaker] * np.arange(end - start) / HEAR_HZ)
    return sound.astype(np.float32)


@pytest.fixture(scope="module")
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("sherpa-onnx", "sherpa_diarization")


@pytest.fixture
def diarizer(open_engine: Open, folder: Path) -> Iterator[Any]:
    with open_engine(ENGINE, ENGINE.options(model=str(folder), threads=1), {}) as opened:
        yield opened


@pytest.fixture
def film(tmp_path: Path) -> Callable[[Samples], Path]:
    def write(sound: Samples) -> Path:
        write_pcm(tmp_path / "film.wav", [sound])
        return tmp_path / "film.wav"

    return write


def test_two_people_are_told_apart_also_where_they_hum_at_once(diarizer: Any, film: Callable[[Samples], Path]) -> None:
    found = diarizer.diarize(film(humming(TALK, 25)), None)
    names = dict(zip(dict.fromkeys(turn.speaker for turn in found), "ab", strict=True))
    assert [names[turn.speaker] for turn in found] == [turn.speaker for turn in TALK]
    for turn, true in zip(found, TALK, strict=True):
        assert (turn.start, turn.end) == (pytest.approx(true.start, abs=0.05), pytest.approx(true.end, abs=0.05))
    assert found[2].overlap(found[3]) == pytest.approx(2, abs=0.1)
    assert diarizer.diarize(film(humming(TALK, 25)), None) == found


def test_the_number_of_speakers_is_kept(diarizer: Any, film: Callable[[Samples], Path]) -> None:
    file = film(humming(TALK, 25))
    counts = {r: len({t.speaker for t in diarizer.diarize(file, r)}) for r in map(range, (1, 2, 1, 3), (2, 3, 5, 6))}
    assert counts == {range(1, 2): 1, range(2, 3): 2, range(1, 5): 2, range(3, 6): 3}
    assert len({t.speaker for t in diarizer.diarize(file, range(50, 51))}) == 2  # not everybody one


def test_silence_is_nobody_and_ten_seconds_of_one_are_one(diarizer: Any, film: Callable[[Samples], Path]) -> None:
    for sound in (np.zeros((1, 0)), np.zeros((1, 1)), np.zeros((1, 990)), np.zeros((1, 12 * HEAR_HZ))):
        assert tuple(diarizer.diarize(film(sound.astype(np.float32)), None)) == ()
        assert tuple(diarizer.diarize(film(sound.astype(np.float32)), range(2, 3))) == ()
    found = diarizer.diarize(film(humming([Turn(2, 9, "b")], 10)), None)
    assert [(round(t.start), round(t.end)) for t in found] == [(2, 9)]


def test_a_film_over_an_hour_is_heard_in_longer_steps(diarizer: Any, film: Callable[[Samples], Path]) -> None:
    piece = np.zeros((1, 4000 * HEAR_HZ), np.float32)
    piece[:, -25 * HEAR_HZ :] = humming(TALK, 25)
    found = diarizer.diarize(film(piece), None)
    assert [round(t.start - 3975) for t in found] == [1, 7, 14, 18]


def test_models_that_would_end_the_process_are_refused_before(open_engine: Open, folder: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent / "tiny"))
    try:
        import sherpa_diarization as made
    finally:
        sys.path.pop(0)
    (tmp_path / "embedding.onnx").write_bytes(made.embedding())
    facts = {k: v for k, v in made.SEGMENTATION.items() if k != "window_size"}
    (tmp_path / "segmentation.onnx").write_bytes(made.segmentation(facts))
    refused = ENGINE.check(ENGINE.options(model=str(tmp_path)))
    assert not refused.ready and "lacks a segmentation" in refused.reason and refused.fix
    (tmp_path / "segmentation.onnx").write_bytes(made.segmentation())
    assert ENGINE.check(ENGINE.options(model=str(tmp_path))).ready
    broken = made.segmentation().replace(b"Conv", b"Xonv")
    (tmp_path / "segmentation.onnx").write_bytes(broken)
    with pytest.raises(EngineFailed), open_engine(ENGINE, ENGINE.options(model=str(tmp_path)), {}):
        pass
