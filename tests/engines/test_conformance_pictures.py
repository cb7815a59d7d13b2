"""What every engine that works on pictures promises: faces, lipsync. Continues test_conformance.py.

The programs that move lips are stood in for by scripts that take the same arguments and write the same files.
"""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conformity import Ready, running
from numpy.typing import NDArray

from polydub.engines.base import Kind
from polydub.errors import PolydubError
from polydub.media.probe import probe
from polydub.types import Artifact

GetReady = Callable[[Kind, str], Ready]
NOTHING_LEFT = pytest.mark.usefixtures("socket_disabled", "nothing_left")
WIDTH, HEIGHT, FPS = 96, 64, 30


@pytest.fixture
def shots() -> NDArray[np.uint8]:
    """Two shots of 30 frames, each of one still grey picture with a little noise; nobody is in them."""
    rng = np.random.default_rng(1)
    down = np.linspace(40, 120, HEIGHT)[:, None, None] + np.zeros((HEIGHT, WIDTH, 3))
    across = np.linspace(240, 130, WIDTH)[None, :, None] + np.zeros((HEIGHT, WIDTH, 3))
    pictures = np.repeat(np.stack([down, across]), 30, axis=0)
    return (pictures + rng.normal(0, 2, (*pictures.shape[:3], 1))).clip(0, 255).astype(np.uint8)


@running("faces")
@NOTHING_LEFT
def test_shots_are_parted_where_the_picture_changes_and_nowhere_else(
    ready: GetReady, shots: NDArray[np.uint8], kind: Kind, name: str
) -> None:
    with ready(kind, name).load() as finder:
        assert tuple(finder.cuts(shots)) == (30,)
        assert tuple(finder.cuts(shots[:30])) == ()
        for few in (0, 1):
            assert tuple(finder.cuts(shots[:few])) == ()


@running("faces")
@NOTHING_LEFT
def test_each_frame_has_its_faces_and_they_have_an_area(
    ready: GetReady, shots: NDArray[np.uint8], kind: Kind, name: str
) -> None:
    black = np.zeros_like(shots[:2])
    with ready(kind, name).load() as finder:
        for pictures in (shots[:0], shots[::20], black):
            found = finder.faces(pictures)
            check_faces(found, len(pictures))
            assert list(finder.faces(pictures)) == list(found)
        assert not any(finder.faces(black))


def check_faces(found: Sequence[Sequence[tuple[float, float, float, float]]], frames: int) -> None:
    """A row for each frame; in it finite places of some width and height that lie in the picture, if not wholly."""
    assert len(found) == frames
    for x, y, width, height in (face for row in found for face in row):
        assert all(map(math.isfinite, (x, y, width, height))) and min(width, height) > 0
        assert -width < x < WIDTH and -height < y < HEIGHT


@pytest.mark.parametrize("face", [(0, 0, 0, 9), (0, 0, math.nan, 9), (WIDTH + 1, 0, 9, 9)])
def test_bad_faces_are_noticed(face: tuple[float, float, float, float]) -> None:
    with pytest.raises(AssertionError):
        check_faces([[face]], 1)


@pytest.fixture
def job(tmp_path: Path, clip: Callable[..., Path]) -> Path:
    """A job of one second."""
    desk = tmp_path / "desk"
    desk.mkdir()
    clip("in", seconds=1, size=(WIDTH, HEIGHT), sound="none", suffix=".mp4", fps=FPS).rename(desk / "in.mp4")
    with wave.open(str(desk / "in.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(b"\x00\x20\x00\xe0" * 8000)
    paths = {"video": "in.mp4", "audio": "in.wav", "out": "out.mp4", "work": "."}
    told = {name: str(desk / path) for name, path in paths.items()}
    size = {"fps": [FPS, 1], "frames": FPS, "width": WIDTH, "height": HEIGHT, "face": [32, 8, 30, 40]}
    (desk / "job.json").write_text(json.dumps({"contract": 1, **told, **size, "seed": 7}))
    return desk / "job.json"


@running("lipsync")
@NOTHING_LEFT
def test_a_film_of_the_same_size_and_length_is_written(ready: GetReady, job: Path, kind: Kind, name: str) -> None:
    before = (job.parent / "in.mp4").read_bytes()
    with ready(kind, name).load() as lips:
        lips.sync(job, lambda: None)
    made = probe(Artifact("0", ".mp4", 0), job.parent / "out.mp4")
    (video,) = made.of("video")
    assert (video.width, video.height) == (WIDTH, HEIGHT)
    assert made.duration == pytest.approx(1, abs=0.1)
    assert (job.parent / "in.mp4").read_bytes() == before


@running("lipsync")
@NOTHING_LEFT
def test_a_job_of_another_contract_is_refused(ready: GetReady, job: Path, kind: Kind, name: str) -> None:
    job.write_text(json.dumps({**json.loads(job.read_text()), "contract": 2}))
    with ready(kind, name).load() as lips, pytest.raises(PolydubError) as caught:
        lips.sync(job, lambda: None)
    assert "contract" in caught.value.message
