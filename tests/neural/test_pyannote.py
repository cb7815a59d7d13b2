"""pyannote.audio through its real code on random weights: what it answers means nothing, how it answers does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.audio.pcm import write_pcm
from polydub.engines.diarization.pyannote import ENGINE
from polydub.engines.diarization.pyannote_weights import COMMUNITY, SEGMENTATION, WESPEAKER
from polydub.errors import EngineFailed
from polydub.types import HEAR_HZ, Samples

pytestmark = [pytest.mark.neural, pytest.mark.slow]

Open = Callable[..., AbstractContextManager[Any]]
NOISE: Samples = np.random.default_rng(2).normal(0, 0.1, (1, 10 * HEAR_HZ)).astype(np.float32)
NOISE *= np.repeat(np.random.default_rng(3).integers(0, 2, 40), HEAR_HZ // 4)[None]


@pytest.fixture(scope="module")
def folder(tiny: Callable[[str, str], Path]) -> Path:
    return tiny("pyannote", "pyannote_pipelines")


@pytest.fixture(params=["vbx", "ahc"])
def diarizer(open_engine: Open, folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    with open_engine(ENGINE, ENGINE.options(model=str(folder / request.param), threads=1), {}) as opened:
        yield opened


def film(folder: Path, sound: Samples) -> Path:
    write_pcm(folder / "film.wav", [sound])
    return folder / "film.wav"


def test_turns_are_in_order_inside_the_sound_and_the_same_again(diarizer: Any, tmp_path: Path) -> None:
    found = diarizer.diarize(film(tmp_path, NOISE), None)
    assert found and list(found) == sorted(found, key=lambda t: (t.start, t.end, t.speaker))
    assert all(0 <= t.start < t.end <= 10 for t in found)
    assert diarizer.diarize(film(tmp_path, NOISE), None) == found
    assert len({t.speaker for t in diarizer.diarize(film(tmp_path, NOISE), range(1, 2))}) == 1


def test_short_sounds_and_silence_are_no_error(diarizer: Any, tmp_path: Path) -> None:
    for frames in (0, 1, 1599):
        assert tuple(diarizer.diarize(film(tmp_path, NOISE[:, :frames]), None)) == ()
    for frames in (1600, 4801):
        assert all(t.end <= frames / HEAR_HZ for t in diarizer.diarize(film(tmp_path, NOISE[:, :frames]), None))
    assert tuple(diarizer.diarize(film(tmp_path, np.zeros((1, 3 * HEAR_HZ), np.float32)), None)) == ()


def test_more_speakers_than_there_can_be_are_no_error(diarizer: Any, tmp_path: Path) -> None:
    assert len({t.speaker for t in diarizer.diarize(film(tmp_path, NOISE), range(50, 51))}) < 50


def test_without_overlap_nobody_talks_at_once(open_engine: Open, folder: Path, tmp_path: Path) -> None:
    options = ENGINE.options(model=str(folder / "vbx"), threads=1, overlap=False)
    with open_engine(ENGINE, options, {}) as diarizer:
        alone = diarizer.diarize(film(tmp_path, NOISE), None)
    assert all(a.end <= b.start for a, b in pairwise(alone))
    with open_engine(ENGINE, options.model_copy(update={"overlap": True}), {}) as diarizer:
        both = diarizer.diarize(film(tmp_path, NOISE), None)
    assert any(a.overlap(b) for a in both for b in both if a.speaker != b.speaker)


def test_the_pipelines_known_by_name_are_put_together_from_pulled_files(
    open_engine: Open, folder: Path, tmp_path: Path
) -> None:
    parts = {SEGMENTATION.id: folder / "vbx/segmentation", WESPEAKER.id: folder / "vbx/embedding"}
    with open_engine(ENGINE, ENGINE.options(model="3.1", threads=1), parts) as diarizer:
        assert diarizer.diarize(film(tmp_path, NOISE), None)
    with open_engine(ENGINE, ENGINE.options(threads=1), {COMMUNITY.id: folder / "vbx"}) as diarizer:
        assert diarizer.diarize(film(tmp_path, NOISE), None)


def test_damaged_weights_are_an_error_that_can_be_read(open_engine: Open, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "vbx", tmp_path / "own")
    (tmp_path / "own/segmentation/pytorch_model.bin").write_bytes(b"\0" * 4000)
    with (
        pytest.raises(EngineFailed, match="pyannote cannot load"),
        open_engine(ENGINE, ENGINE.options(model=str(tmp_path / "own")), {}),
    ):
        pass
