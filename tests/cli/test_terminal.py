"""Real processes: Ctrl-C, bars on a terminal, shell completion, a reader that goes away."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PROGRAM, SOURCE, files, interrupt, members, program, start

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def long_film(clip: Callable[..., Path], tmp_path: Path) -> Path:
    """A film that keeps espeak-ng and the mixer busy for some seconds."""
    cues = (
        f"{n}\n00:{n // 60:02}:{n % 60:02},000 --> 00:{n // 60:02}:{n % 60:02},900\nLine number {n}.\n\n" for n in range(240)
    )
    (tmp_path / "talk.en.srt").write_text("".join(cues))
    return clip("talk", seconds=120.0, fps=5, channels=1)


GIVEN = (
    "dub", "talk.mkv", "--to", "en", "--no-translate", "--tts", "espeak-ng", "--transcript", "talk.en.srt", "--download", "no"
)  # fmt: skip


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("what", ["synthesize", "mix"])
def test_ctrl_c_ends_a_dub_at_once_and_the_next_run_goes_on(tmp_path: Path, long_film: Path, what: str) -> None:
    artifacts = tmp_path / "Output/.polydub/artifacts"
    began = {"synthesize": 5, "mix": 125}[what]
    process = start(*GIVEN, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if artifacts.exists() and sum(1 for _ in artifacts.rglob("*.flac")) >= began:
            break
        time.sleep(0.01)
    told, seconds = interrupt(process)
    assert told.status == 130, told.err
    assert seconds < 2
    assert "Traceback" not in told.err
    assert told.err.rstrip().endswith("run the same command again to continue: finished work is kept")
    assert not told.out
    assert not members(process.pid), "a child was left behind"
    assert not list((tmp_path / "Output/.polydub/scratch").glob("p-*"))
    kept = files(artifacts)
    assert program(*GIVEN, cwd=tmp_path).status == 0
    assert kept.items() <= files(artifacts).items()
    again = program(*GIVEN, "--output", "Other", cwd=tmp_path)
    assert again.status == 0
    assert (tmp_path / "Output/talk/dub.en.mkv").read_bytes() == (tmp_path / "Other/talk/dub.en.mkv").read_bytes()


@LINUX
@pytest.mark.parametrize("after_s", [0.0, 0.2])
def test_ctrl_c_at_any_early_moment_shows_no_traceback(tmp_path: Path, film: Path, after_s: float) -> None:
    process = start(*GIVEN, "--jobs", "1", cwd=tmp_path)
    ends = time.monotonic() + 60
    while not (tmp_path / "Output").exists() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.005)
    time.sleep(after_s)
    told, seconds = interrupt(process)
    assert told.status in (0, 130)
    assert seconds < 2
    assert "Traceback" not in told.err
    assert not members(process.pid)


def on_a_terminal(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Status, stdout and what a terminal on stderr was sent."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [*PROGRAM, *arguments], cwd=cwd, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        os.close(ours)
        assert process.stdout is not None
        out = process.stdout.read().decode()
    return process.returncode, out, shown.decode()


def test_on_a_terminal_there_is_a_bar_for_each_stage_with_the_time_left(tmp_path: Path, film: Path) -> None:
    status, out, shown = on_a_terminal(*GIVEN, cwd=tmp_path)
    assert status == 0
    assert out == "Output/talk/dub.en.mkv\n"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    last = text.rpartition("probe")[2].splitlines()
    bars = [line for line in last if " left " in line]
    assert len(bars) > 8
    assert all("100%" in line for line in bars), "every bar ends full"
    assert "done in" not in text


def test_a_result_cannot_steer_a_terminal(tmp_path: Path, film: Path) -> None:
    (tmp_path / "evil\x1b[31m.mkv").write_bytes(film.read_bytes())
    command = ("dub", "evil\x1b[31m.mkv", "--to", "en", "--no-translate", "--tts", "fake", "--transcript", "talk.en.srt")
    ours, theirs = pty.openpty()
    ran = subprocess.run([*PROGRAM, *command], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, check=False)
    shown = os.read(ours, 10_000) if select.select([ours], [], [], 1)[0] else b""
    os.close(ours)
    os.close(theirs)
    assert ran.returncode == 0
    assert b"\x1b" not in shown + ran.stderr
    assert b"dub.en.mkv" in shown


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["sh", "-c", '"$@" | head -c 1', "sh", *PROGRAM, "engines", "--json"], cwd=tmp_path, capture_output=True, check=False
    )
    assert ran.stdout == b"{"
    assert b"Traceback" not in ran.stderr
    assert b"BrokenPipe" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "number", "offered"),
    [
        ("polydub du", 1, {"plain,dub"}),
        ("polydub dub --transc", 2, {"plain,--transcript"}),
        ("polydub dub --format m", 3, {"plain,mkv", "plain,mp4"}),
        ("polydub dub --transcript ta", 3, {"file,ta"}),
        ("polydub dub ta", 2, {"file,ta"}),
        ("polydub config s", 2, {"plain,show"}),
    ],
)
def test_the_shell_completes(tmp_path: Path, words: str, number: int, offered: set[str]) -> None:
    asked = {"_POLYDUB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    assert set(program(cwd=tmp_path, **asked).out.split()) == offered


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_text("no film")
    (tmp_path / "a.srt").write_text(SOURCE)
    command = ("dub", "a.mkv", "--to", "es", "--tts", "fake", "--translation", "a.srt")
    plain, debug = program(*command, cwd=tmp_path), program(*command, "--debug", cwd=tmp_path)
    plain.fails(2, "text file")
    assert debug.status == 2
    assert "Traceback" in debug.err
