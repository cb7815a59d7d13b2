"""Reading a film as it comes, when the program that reads it stands still."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from polydub.errors import UnreadableMedia
from polydub.media import ffmpeg
from polydub.media.feeding import Feed
from polydub.media.intake import Intake, unbroken_s
from polydub.media.vigil import Vigil
from polydub.types import RATE_HZ, Artifact

STILL_S = 0.3


def opened(media: Path, folder: Path, came: Path | Feed | None = None) -> Intake:
    """A film of which only little fits into the pipe, and its reader's patience shortened."""
    link = came or ffmpeg.safe_link(media, folder)
    source = ffmpeg.probe(Artifact("", "", 0), ffmpeg.safe_link(media, folder))
    made = Intake(source, source.of("audio")[0], "stereo", folder, link)
    made.vigil.still_s = STILL_S
    return made


def test_a_film_on_which_ffmpeg_stands_still_ends_with_what_was_read(clip: Callable[..., Path], tmp_path: Path) -> None:
    with opened(clip(seconds=30.0), tmp_path) as intake:
        assert intake.read(RATE_HZ).shape == (2, RATE_HZ)
        os.kill(intake._child._process.pid, signal.SIGSTOP)
        while intake.read(RATE_HZ).shape[1] == RATE_HZ:
            pass
        (notice,) = intake.drain(30 * RATE_HZ)
    assert RATE_HZ <= intake.taken < 30 * RATE_HZ
    assert notice.code == "sound-cut-short"


def test_a_film_of_which_nothing_comes_is_refused(clip: Callable[..., Path], tmp_path: Path) -> None:
    with opened(clip(seconds=3.0), tmp_path, Feed(lambda: b"")) as intake, pytest.raises(UnreadableMedia):
        os.kill(intake._child._process.pid, signal.SIGSTOP)
        intake.read(RATE_HZ)


def test_nobody_loses_patience_with_a_film_that_is_still_being_made(clip: Callable[..., Path], tmp_path: Path) -> None:
    media, goes_on = clip(seconds=20.0, suffix=".mkv"), threading.Event()
    data = media.read_bytes()
    parts = iter([(data[:70_000], False), (data[70_000:], True), (b"", False)])

    def read() -> bytes:
        part, late = next(parts)
        if late:
            goes_on.wait()
        return part

    feed = Feed(read)
    feed.look(tmp_path)
    with opened(media, tmp_path, feed) as intake:
        threading.Timer(4 * STILL_S, goes_on.set).start()
        assert intake.read(30 * RATE_HZ).shape[1] == pytest.approx(20 * RATE_HZ, abs=5_000)
        assert intake.drain(None) == []
        assert not intake.vigil.stopped


def test_who_is_not_waited_for_may_stand_still() -> None:
    looked, stopped = threading.Semaphore(0), threading.Event()

    def sign() -> int:
        looked.release()
        return 1

    vigil = Vigil(stopped.set, sign)
    vigil.still_s = 0.01
    with vigil.waiting():
        pass
    for _ in range(4):
        assert looked.acquire(timeout=30)
    assert not stopped.is_set()
    with vigil.waiting():
        assert stopped.wait(30)
    assert vigil.stopped


def test_the_longest_part_of_a_picture_is_found_without_rounding(tmp_path: Path) -> None:
    media = tmp_path / "film.mp4"
    how = ["-g", "999", "-force_key_frames", "0,1,2,3,7,8", "-sc_threshold", "0", "-video_track_timescale", "59939"]
    ffmpeg.run(["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=9", "-c:v", "libx264", *how, f"file:{media}"], stage="test")
    source = ffmpeg.probe(Artifact("", "", 0), media)
    assert unbroken_s(media, source) == 5.0, "from 2 to 7: a part is cut after 2 s at the first key frame"
