"""Lip-sync engines: what they ask of a checkout, the command lines they build, what they make of programs that go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from lipsync_stand_in import FILES, PROGRAMS, checkout

from polydub.engines import registry
from polydub.engines.base import Engine
from polydub.engines.lipsync import fake, job, latentsync, musetalk, wav2lip
from polydub.errors import Cancelled, EngineFailed, MissingProgram
from polydub.media.probe import probe
from polydub.types import Artifact

ENGINES: Mapping[str, Engine] = {"latentsync": latentsync.ENGINE, "musetalk": musetalk.ENGINE, "wav2lip": wav2lip.ENGINE}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A job of 30 frames at 30 frames a second: its file, its video, its sound."""
    folder = tmp_path / "desk"
    folder.mkdir()
    picture = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=96x64:rate=30:duration=1",
        "-c:v",
        "libx264",
        "-qp",
        "0",
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *picture, folder / "in.mp4"], check=True)
    with wave.open(str(folder / "in.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(b"\x00\x20" * 8000 + bytes(16000))
    told = {
        "contract": 1,
        "work": str(folder),
        "fps": [30, 1],
        "frames": 30,
        "width": 96,
        "height": 64,
        "face": [32, 8, 30, 40],
    }
    paths = {"video": str(folder / "in.mp4"), "audio": str(folder / "in.wav"), "out": str(folder / "out.mp4")}
    (folder / "job.json").write_text(json.dumps({**told, **paths, "seed": 7}))
    return folder


def calm() -> None:
    """Nobody wants to stop."""


def done(engine: Engine, desk: Path, **options: Any) -> tuple[float, float]:
    """Frames a second and seconds of what the engine made of the job."""
    with engine.load(engine.options(**options), {}, "cpu") as lips:
        lips.sync(desk / "job.json", calm)
    source = probe(Artifact("0", ".mp4", 0), desk / "out.mp4")
    return source.of("video")[0].fps, source.duration


def test_latentsync_is_asked_as_its_command_line_wants_and_gives_25_frames_a_second(tmp_path: Path, desk: Path) -> None:
    folder = checkout("latentsync", tmp_path / "LatentSync")
    assert done(latentsync.ENGINE, desk, folder=folder) == (25, pytest.approx(1, abs=0.05))


def test_musetalk_is_asked_as_its_command_line_wants(tmp_path: Path, desk: Path) -> None:
    folder = checkout("musetalk", tmp_path / "MuseTalk")
    assert done(musetalk.ENGINE, desk, folder=folder) == (30, pytest.approx(1, abs=0.05))


def test_wav2lip_is_asked_as_its_command_line_wants(tmp_path: Path, desk: Path) -> None:
    folder = checkout("wav2lip", tmp_path / "Wav2Lip")
    assert done(wav2lip.ENGINE, desk, folder=folder, smooth=False) == (30, pytest.approx(1, abs=0.05))
    assert not (folder / "temp").exists()


def test_musetalk_that_prints_an_exception_and_ends_well_has_failed(tmp_path: Path, desk: Path) -> None:
    folder = checkout("musetalk", tmp_path / "MuseTalk")
    (folder / "fails").touch()
    with pytest.raises(EngineFailed, match=r"wrote no video.*CUDA out of memory"):
        done(musetalk.ENGINE, desk, folder=folder)


def test_what_a_program_said_last_is_told(tmp_path: Path, desk: Path) -> None:
    folder = checkout("wav2lip", tmp_path / "Wav2Lip")
    (folder / "no-face").touch()
    with pytest.raises(EngineFailed, match=r"ended with status 1.*Face not detected"):
        done(wav2lip.ENGINE, desk, folder=folder)


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_but_a_whole_checkout_will_do(tmp_path: Path, name: str) -> None:
    engine = ENGINES[name]

    def reason(**options: Any) -> str:
        found = engine.check(engine.options(**options))
        assert found.ready or found.fix
        return found.reason

    assert "nobody said where its checkout is" in reason()
    assert "there is no folder" in reason(folder=tmp_path / "nowhere")
    folder = checkout(name, tmp_path / "it")
    assert reason(folder=folder) == ""
    (folder / ".venv/bin/python").unlink()
    assert "no Python" in reason(folder=folder)
    assert reason(folder=folder, python=sys.executable) == ""
    for path in (PROGRAMS[name][0], *FILES[name]):
        whole = (folder / path).read_bytes()
        (folder / path).unlink()
        gone = (folder / path).parent if (name, Path(path).parent.name) == ("musetalk", "whisper") else None
        if gone:
            gone.rmdir()
        assert "is missing" in reason(folder=folder, python=sys.executable)
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(whole)


def test_a_checkout_in_a_folder_with_a_space_is_refused(tmp_path: Path) -> None:
    folder = checkout("latentsync", tmp_path / "my programs")
    assert "space" in latentsync.ENGINE.check(latentsync.LatentSyncOptions(folder=folder)).reason


def test_another_commit_or_other_weights_are_another_version(tmp_path: Path) -> None:
    folder = checkout("wav2lip", tmp_path / "Wav2Lip")
    options = wav2lip.Wav2LipOptions(folder=folder)
    versions = [wav2lip.ENGINE.version(options)]
    (folder / ".git/refs/heads").mkdir(parents=True)
    (folder / ".git/HEAD").write_text("ref: refs/heads/master\n")
    (folder / ".git/refs/heads/master").write_text("5c90fa9\n")
    versions.append(wav2lip.ENGINE.version(options))
    (folder / "checkpoints/wav2lip_gan.pth").write_text("other weights")
    versions.append(wav2lip.ENGINE.version(options))
    assert len(set(versions)) == 3
    assert "5c90fa9" in versions[1]


def test_the_commit_is_found_however_git_keeps_it(tmp_path: Path) -> None:
    def git(*arguments: str, where: Path) -> str:
        told = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(where), *arguments]
        return subprocess.run(told, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout.strip()

    folder = checkout("wav2lip", tmp_path / "Wav2Lip")
    git("init", "-q", where=folder)
    git("commit", "-q", "--allow-empty", "-m", "one", where=folder)
    commit = git("rev-parse", "HEAD", where=folder)
    tree = tmp_path / "tree"
    git("worktree", "add", "-q", str(tree), where=folder)
    for change in ("pack-refs", "checkout"):
        for place in (folder, tree):
            assert commit in wav2lip.ENGINE.version(wav2lip.Wav2LipOptions(folder=place))
        git(change, "--all" if change == "pack-refs" else "-q", *([] if change == "pack-refs" else ["--detach"]), where=folder)
    assert commit in wav2lip.ENGINE.version(wav2lip.Wav2LipOptions(folder=folder))


@pytest.mark.parametrize("pads", ["0 10 0", "a b c d", "0 -1 0 0"])
def test_pads_are_four_whole_numbers(pads: str) -> None:
    with pytest.raises(ValueError, match="four whole numbers"):
        wav2lip.Wav2LipOptions(pads=pads)


def test_how_long_it_may_take_is_no_part_of_the_identity() -> None:
    same = wav2lip.Wav2LipOptions(timeout_s=5, per_second_s=1).identity()
    assert same == wav2lip.Wav2LipOptions().identity()
    assert wav2lip.Wav2LipOptions(pads="0 20 0 0").identity() != same


def test_the_fake_draws_a_mouth_that_opens_with_the_sound(desk: Path) -> None:
    import av
    import numpy as np

    assert done(fake.ENGINE, desk) == (30, pytest.approx(1, abs=0.05))
    dark: list[int] = []
    with av.open(str(desk / "out.mp4")) as video:
        for frame in video.decode(video=0):
            rows = frame.to_ndarray(format="yuv420p")[:64]
            dark.append(int((np.abs(rows[28:52, 36:58].astype(int) - 30) < 12).sum()))
    assert sum(dark[2:12]) > 1.5 * sum(dark[18:28])


def test_the_fake_does_the_same_every_time(desk: Path) -> None:
    done(fake.ENGINE, desk)
    first = (desk / "out.mp4").read_bytes()
    done(fake.ENGINE, desk)
    assert (desk / "out.mp4").read_bytes() == first


def test_a_program_that_crashes_is_told_with_its_status_and_last_words(desk: Path) -> None:
    with pytest.raises(EngineFailed, match="status 7: the mouth fell off"):
        done(fake.ENGINE, desk, fault="crash")


def test_a_program_that_hangs_is_stopped(desk: Path) -> None:
    with pytest.raises(EngineFailed, match="longer than 1 s"):
        done(fake.ENGINE, desk, fault="hang", timeout_s=1.0)


def test_whoever_stops_the_work_stops_the_program(desk: Path) -> None:
    asked = threading.Event()

    def tick() -> None:
        asked.set()
        raise Cancelled("stopped")

    with fake.ENGINE.load(fake.FakeOptions(fault="hang"), {}, "cpu") as lips, pytest.raises(Cancelled):
        lips.sync(desk / "job.json", tick)
    assert asked.is_set()


def test_what_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    source = (
        "import os, subprocess, sys; p = subprocess.Popen(['sleep', '600']); open('pid', 'w').write(str(p.pid)); sys.exit(3)"
    )
    with pytest.raises(EngineFailed, match="status 3"):
        job.run(job.Command("it", (sys.executable, "-c", source), tmp_path, 20, {}), calm)
    grandchild = int((tmp_path / "pid").read_text())
    for _ in range(1200):
        try:
            state = Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    os.kill(grandchild, signal.SIGKILL)
    pytest.fail("it lives on")


def test_a_program_learns_nothing_of_keys_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("POLYDUB_OPENAI_API_KEY", "secret")
    source = "import os; print(sorted(os.environ))"
    told = job.run(job.Command("it", (sys.executable, "-c", source), tmp_path, 20, {"PYTHONPATH": "x"}), calm)
    assert "PATH" in told and "HF_TOKEN" not in told and "KEY" not in told


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"cannot be started|status"):
        job.run(job.Command("it", (str(tmp_path / "none"),), tmp_path, 20, {}), calm)


def test_a_job_of_another_contract_is_refused(desk: Path) -> None:
    told = json.loads((desk / "job.json").read_text())
    (desk / "job.json").write_text(json.dumps({**told, "contract": 2}))
    with pytest.raises(EngineFailed, match="another contract"):
        done(fake.ENGINE, desk)


@pytest.mark.parametrize(
    ("device", "shown", "seen"),
    [
        ("cpu", None, {"CUDA_VISIBLE_DEVICES": ""}),
        ("cuda", None, {}),
        ("cuda:1", None, {"CUDA_VISIBLE_DEVICES": "1"}),
        ("cuda:1", "4,6", {"CUDA_VISIBLE_DEVICES": "6"}),
        ("cuda:0", "GPU-77", {"CUDA_VISIBLE_DEVICES": "GPU-77"}),
    ],
)
def test_a_program_sees_the_chosen_device_only(
    monkeypatch: pytest.MonkeyPatch, device: str, shown: str | None, seen: dict[str, str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert job.seen(device) == seen


def test_latentsync_is_not_tried_on_a_processor(tmp_path: Path) -> None:
    options = {"latentsync": {"folder": checkout("latentsync", tmp_path / "LatentSync")}}
    with pytest.raises(MissingProgram, match="latentsync works on an NVIDIA card only") as caught:
        registry.choose("latentsync", registry.Need("lipsync", "und", options=options, device="cpu"))
    assert "another lip-sync engine" in caught.value.hint
