"""Shots and faces, found by the real libraries in their own environment, in real films; and a dub with moving lips."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from polydub import config
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.base import Weight
from polydub.engines.faces.yunet import ENGINE, FILE, WEIGHT
from polydub.engines.pool import EnginePool
from polydub.errors import MissingWeights
from polydub.models import find

pytestmark = [pytest.mark.neural, pytest.mark.slow]
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
Open = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def models(shared_data: Path, tmp_path: Path) -> Path:
    """A folder of weights with YuNet's in it."""
    (tmp_path / "models" / WEIGHT.id).mkdir(parents=True)
    shutil.copy(shared_data / "models/yunet" / FILE, tmp_path / "models" / WEIGHT.id)
    return tmp_path / "models"


def frames(path: Path, every: int, longer: int = 640) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        scale = longer / max(video.width, video.height)
        size = {"width": round(video.width * scale), "height": round(video.height * scale)}
        taken = (f for n, f in enumerate(file.decode(video)) if n % every == 0)
        return np.stack([f.to_ndarray(format="bgr24", **size) for f in taken])


def test_the_weights_are_those_that_were_promised(models: Path) -> None:
    weight: Weight = WEIGHT
    assert find(weight, models) == models / WEIGHT.id


@pytest.mark.parametrize("name", ["englishvideo", "demo1_video", "vr_face1"])
def test_one_face_is_found_in_films_of_one_person(open_engine: Open, shared_data: Path, models: Path, name: str) -> None:
    pictures = frames(shared_data / f"media/video/{name}.mp4", 10)
    with open_engine(ENGINE, ENGINE.options(threads=1), {WEIGHT.id: models / WEIGHT.id}) as finder:
        found = finder.faces(pictures)
        again = finder.faces(pictures)
    assert [len(row) for row in found] == [1] * len(pictures)
    assert found == again
    height, width = pictures.shape[1:3]
    for ((x, y, w, h),) in found:
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height and h > 60


def test_no_face_is_found_where_nobody_is(open_engine: Open, models: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (3, 360, 640, 3), np.uint8)
    with open_engine(ENGINE, ENGINE.options(threads=1), {WEIGHT.id: models / WEIGHT.id}) as finder:
        assert [len(row) for row in finder.faces(noise)] == [0, 0, 0]
        assert list(finder.cuts(noise[:0])) == []


def test_cuts_are_found_to_the_frame(open_engine: Open, shared_data: Path, models: Path) -> None:
    one, two = (frames(shared_data / f"media/video/{n}.mp4", 1, 256) for n in ("englishvideo", "vr_face1"))
    small = [np.resize(x[:50, :160, :160], (50, 160, 160, 3)) for x in (one, two)]
    with open_engine(ENGINE, ENGINE.options(threads=1), {WEIGHT.id: models / WEIGHT.id}) as finder:
        assert list(finder.cuts(np.concatenate([small[0], small[1], small[0]]))) == [50, 100]
        assert list(finder.cuts(one[:90])) == []


def test_weights_that_are_not_weights_are_refused(open_engine: Open, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=FILE), open_engine(ENGINE, ENGINE.options(), {WEIGHT.id: tmp_path}):
        pass
    (tmp_path / FILE).write_bytes(b"no net" * 100)
    with pytest.raises(MissingWeights, match="damaged"), open_engine(ENGINE, ENGINE.options(), {WEIGHT.id: tmp_path}):
        pass


@pytest.mark.parametrize(("name", "groups"), [("englishvideo", [0, 250, 299]), ("vr_face1", [0, 100, 135])])
def test_lips_of_a_real_film_move_and_the_rest_is_the_same(
    python_of: Callable[[str], Path], shared_data: Path, models: Path, tmp_path: Path, name: str, groups: list[int]
) -> None:
    environments = python_of("lipsync").parents[2]
    media = Path(shutil.copy(shared_data / f"media/video/{name}.mp4", tmp_path / "film.mp4"))
    script = tmp_path / "film.en.srt"
    script.write_text("1\n00:00:00,500 --> 00:00:02,000\nMy name is Ann and I am from Boston.\n")
    given = {"to": "es", "tts": "fake", "mt": "fake", "separation": "none", "diarization": "none", "lip_sync": "fake"}
    places = {"output": str(tmp_path / "out"), "models": str(models), "environments": str(environments)}
    loaded = config.load({**given, **places}, job=None, environ={}, cwd=tmp_path, user_file=None)
    pool = EnginePool()
    try:
        (outcome,) = dub_film(Job(media, script), loaded, pool, Ears())
    finally:
        pool.close()
    assert [n.text for n in outcome.notices if n.code.startswith("lip")] == []
    before, after = digests(media), digests(outcome.film)
    assert len(before) == len(after) == groups[-1]
    assert before[groups[1] :] == after[groups[1] :]
    assert sum(a != b for a, b in zip(before, after, strict=True)) >= 40


def digests(path: Path) -> list[str]:
    command = [
        FFMPEG,
        "-nostdin",
        "-v",
        "error",
        "-i",
        path,
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [row.split(",")[5].strip() for row in told.stdout.splitlines() if not row.startswith("#")]
