"""Running ffmpeg: its limits, its end, and what it says when it fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flash_clips import ff

from polydub.errors import Cancelled, EngineFailed, PolydubError, StoreError, UnreadableMedia
from polydub.media import ffmpeg

LONG = ("-re", "-f", "lavfi", "-i", "sine=duration=60", "-f", "null", "-")  # in real time
SHORT = ("-f", "lavfi", "-i", "sine=duration=1")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie has ended)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children() -> set[int]:
    tasks = Path("/proc/self/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def test_the_bundled_program_tells_its_version() -> None:
    assert ffmpeg.program().is_file()
    assert ffmpeg.version()[:1].isalnum()


def test_progress_is_told_in_seconds_and_grows(tmp_path: Path) -> None:
    told: list[float] = []
    ffmpeg.run([*SHORT, str(tmp_path / "a.wav")], stage="test", on_progress=told.append)
    assert told and told == sorted(told) and told[-1] == pytest.approx(1, abs=0.05)


def test_a_failure_names_the_stage_and_not_the_folder(tmp_path: Path) -> None:
    missing = tmp_path / "deep" / "nowhere.wav"
    with pytest.raises(PolydubError) as caught:
        ffmpeg.run(["-i", str(missing), str(tmp_path / "b.wav")], stage="mixing")
    assert "mixing" in caught.value.message and str(tmp_path) not in caught.value.message


def test_damaged_media_is_the_users_input(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(2000))
    with pytest.raises(UnreadableMedia, match="cannot be read"):
        ffmpeg.run(["-i", str(tmp_path / "a.mp4"), str(tmp_path / "b.wav")], stage="test")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_in_plain_words() -> None:
    with pytest.raises(StoreError, match="disk is full"):
        ffmpeg.run([*SHORT, "-f", "wav", "/dev/full"], stage="test")


def test_a_folder_that_cannot_be_written_is_a_store_error() -> None:
    target = "/proc/polydub.wav" if os.geteuid() == 0 else "/polydub.wav"
    with pytest.raises(PolydubError) as caught:
        ffmpeg.run([*SHORT, target], stage="test")
    assert isinstance(caught.value, StoreError) or "No such file" in caught.value.message


def test_what_takes_too_long_is_stopped() -> None:
    began = time.monotonic()
    with pytest.raises(EngineFailed, match="longer than"):
        ffmpeg.run(LONG, stage="test", limits=ffmpeg.Limits(seconds=0.3))
    assert time.monotonic() - began < 30, "half of what it would take"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_an_output_may_not_grow_beyond_its_limit(tmp_path: Path) -> None:
    much = ["-f", "lavfi", "-i", "sine=duration=600", str(tmp_path / "a.wav")]
    with pytest.raises(StoreError, match="more than the allowed"):
        ffmpeg.run(much, stage="test", limits=ffmpeg.Limits(file_bytes=1_000_000))
    assert (tmp_path / "a.wav").stat().st_size <= 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_memory_is_bounded(tmp_path: Path) -> None:
    huge = ["-f", "lavfi", "-i", "color=s=8000x8000:d=1", "-f", "rawvideo", str(tmp_path / "a.raw")]
    with pytest.raises(EngineFailed):
        ffmpeg.run(huge, stage="test", limits=ffmpeg.Limits(memory=300 << 20))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cancel_from_progress_stops_the_program_and_comes_through() -> None:
    seen, others = set[int](), children()  # a worker of pytest keeps servers and engines for its later tests

    def cancel(_: float) -> None:
        seen.update(children() - others)
        raise Cancelled("stopped")

    with pytest.raises(Cancelled, match="stopped"):
        ffmpeg.run(LONG, stage="test", on_progress=cancel)
    assert seen and not any(alive(pid) for pid in seen)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_that_is_interrupted_counts_as_cancelled() -> None:
    others = children()

    def interrupt(_: float) -> None:
        for pid in children() - others:
            others.add(pid)  # once: of several ffmpeg ends in another way
            os.kill(pid, signal.SIGINT)

    with pytest.raises(Cancelled):
        ffmpeg.run(LONG, stage="test", on_progress=interrupt)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux's setpriv")
def test_kill_9_of_the_parent_takes_the_program_along() -> None:
    script = (
        "from pathlib import Path; from polydub.media import ffmpeg\n"
        f"def told(_):\n    tasks = Path('/proc/self/task').iterdir()\n"
        "    print(*[p for t in tasks for p in (t / 'children').read_text().split()], flush=True)\n"
        f"ffmpeg.run({LONG!r}, stage='test', on_progress=told)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert pids
    until = time.monotonic() + 60
    while any(alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


ODD_NAMES = (
    *("two words.mkv", 'it\'s "quoted".mkv', "new\nline.mkv", "$(touch pwned).mkv", "`id`;&|.mkv", "\N{CLAPPER BOARD}ñ.mkv"),
    *("-i.mkv", "--help", "concat:a|b.mkv", "100%d.mkv", "[0:v].mkv", "a:b=c,d.mkv", "x" * 250),
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_only_a_name(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.mkv"
    ff("-f", "lavfi", "-i", "sine=duration=0.2", plain)
    odd = plain.rename(tmp_path / name)
    link = ffmpeg.safe_link(odd, tmp_path)
    ffmpeg.run([*ffmpeg.SAFE_INPUT, "-i", f"file:{link}", str(tmp_path / "out.wav")], stage="test")
    assert (tmp_path / "out.wav").stat().st_size > 10_000
    assert not (tmp_path / "pwned").exists()


def test_a_safe_link_is_alone_and_private(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    one, two = ffmpeg.safe_link(tmp_path / "a.mp4", tmp_path), ffmpeg.safe_link(tmp_path / "a.mp4", tmp_path)
    assert one.parent != two.parent
    assert list(one.parent.iterdir()) == [one]
    assert one.parent.stat().st_mode & 0o077 == 0
    assert one.read_bytes() == b"x"


def test_only_readable_regular_files_are_linked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path, "folder"), (tmp_path / "no", "cannot be opened"), (tmp_path / "pipe", "regular")):
        with pytest.raises(UnreadableMedia, match=said) as caught:
            ffmpeg.safe_link(path, tmp_path)
        assert caught.value.hint


def test_a_file_without_read_permission_says_so(tmp_path: Path) -> None:
    locked = tmp_path / "locked.mp4"
    locked.write_bytes(b"x")
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UnreadableMedia, match="Permission denied"):
        ffmpeg.safe_link(locked, tmp_path)
