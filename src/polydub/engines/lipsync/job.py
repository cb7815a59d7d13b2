"""Contract 1 between polydub and a lip-syncing program: one job is one stretch of one shot, described by a JSON file.

`video`: MP4, lossless H.264 at a constant rate `fps` (a fraction), `frames` of them, `width` x `height`. `audio`: mono WAV at
16 kHz of that length. `out`: where the result belongs, an MP4 file of the same size and length, at any rate. `work`: a folder
to work in. `face`: x, y, width, height in pixels. `seed`, `device`. No path has a space, and no dot but that of a suffix.
What a program says of itself counts for nothing: polydub looks at the file.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

from pydantic import Field

from polydub.engines.base import READY, Availability, Options
from polydub.errors import EngineFailed

CONTRACT = 1
WAIT_S = 0.25  # between two looks at a program
GRACE_S = 3.0  # to end by itself after it was asked to
TOLD = 3  # last lines that are passed on
# What a program of the user's own may know of the environment; no keys, no settings of polydub.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}  # its weights must be in place
PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "TORCH_HOME",
)


@dataclass(frozen=True, slots=True)
class Job:
    """What a job's file says."""

    video: Path
    audio: Path
    out: Path
    work: Path
    fps: tuple[int, int]
    frames: int
    width: int
    height: int
    face: tuple[int, int, int, int]
    seed: int
    device: str = "cpu"

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames * self.fps[1] / self.fps[0]


def read_job(path: Path) -> Job:
    """What a job's file says. Raises: EngineFailed for another contract."""
    told = json.loads(path.read_text(encoding="utf-8"))
    if told.pop("contract", None) != CONTRACT:
        raise EngineFailed("a lip-sync job of another contract was given")
    for name in ("video", "audio", "out", "work"):
        told[name] = Path(told[name])
    for name in ("fps", "face"):
        told[name] = tuple(told[name])
    return Job(**told)


class CheckoutOptions(Options):
    """Options of every engine that is a checkout of somebody's program, with an environment of its own."""

    folder: Path | None = Field(default=None, description="Folder of the checkout, with its weights in it.")
    python: Path | None = Field(default=None, description="Python of its environment; unset = .venv/bin/python in the folder.")
    timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Seconds that one stretch may take, besides per_second_s.",
        json_schema_extra={"identity": False},
    )
    per_second_s: float = Field(
        default=120.0,
        ge=0,
        description="Seconds that it may take for each second of picture.",
        json_schema_extra={"identity": False},
    )
    faces: str = Field(default="yunet", min_length=1, description="Face finder, a name.")

    @property
    def interpreter(self) -> Path:
        """The Python to run it with, absolute."""
        assert self.folder is not None  # noqa: S101 - checked before
        python = self.python or Path(".venv/bin/python")
        return (self.folder.expanduser().absolute() / python.expanduser()).absolute()

    @property
    def home(self) -> Path:
        """The checkout, absolute."""
        assert self.folder is not None  # noqa: S101 - checked before
        return self.folder.expanduser().absolute()


def checked(name: str, options: CheckoutOptions, needed: Mapping[str, Path]) -> Availability:
    """Whether the checkout, its Python and the files that it needs ("its weights": relative path) are there."""
    how = f"--lip-sync {name},folder=FOLDER"
    if options.folder is None:
        return Availability(False, f"{name}: nobody said where its checkout is", f"say so: {how}")
    if not options.home.is_dir():
        return Availability(False, f"{name}: there is no folder {options.folder}", f"give its checkout: {how}")
    if any(c in str(options.home) for c in " '\"$;&|"):  # their programs put paths into shell commands
        return Availability(
            False, f"{name}: its program cannot live in a folder with a space or a quote in its name", "move it"
        )
    for what, path in needed.items():
        if not (options.home / path).exists():
            return Availability(False, f"{name}: {what} is missing: {path}", f"follow the checkout's README, then: {how}")
    if not options.interpreter.exists():
        text = f"{name}: there is no Python at {options.interpreter}"
        return Availability(False, text, f"make its environment, or say where it is: {how},python=PATH")
    return READY


def state_of(options: CheckoutOptions, weights: Sequence[Path]) -> str:
    """Which version of a checkout and its weights this is: the commit, and length and time of the weights."""
    if options.folder is None:
        return ""
    told = [_commit(options.home)]
    for path in weights:
        file = options.home / path
        if file.is_file():
            facts = file.stat()
            told.append(f"{path.name} {facts.st_size} {facts.st_mtime_ns}")
    return "; ".join(told)


def _commit(folder: Path) -> str:
    """The commit that is checked out, as git keeps it: in a file of its own, in a list, or, of a worktree, elsewhere."""
    git = folder / ".git"
    if git.is_file():
        git = (folder / _text(git).removeprefix("gitdir: ")).resolve()
    head = _text(git / "HEAD")
    if not head.startswith("ref: "):
        return head or "no commit"
    name = head.removeprefix("ref: ")
    common = git / (_text(git / "commondir") or ".")
    packed = (line.split() for line in _text(common / "packed-refs").splitlines())
    listed = next((row[0] for row in packed if row[1:] == [name]), "")
    return _text(common / name) or listed or head


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run. `folder`: where it runs. `limit_s`: how long it may take. `more`: environment besides PASSED."""

    name: str
    arguments: Sequence[str]
    folder: Path
    limit_s: float
    more: Mapping[str, str]


def seen(device: str) -> Mapping[str, str]:
    """The environment by which a program that chooses its device itself takes this one: it sees no other card."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    if not number:
        return {}
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")  # of which `number` is one
    return {"CUDA_VISIBLE_DEVICES": shown[int(number)].strip() if int(number) < len(shown) and shown != [""] else number}


def run(command: Command, tick: Callable[[], None]) -> str:
    """Runs it to its end; returns the last lines that it wrote. Its process group is ended whatever happens.

    Raises: EngineFailed when it ends with another status than 0, takes too long, or cannot be started; what `tick` raises.
    """
    import time

    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    try:
        process = subprocess.Popen(
            [*_leash(), *command.arguments], cwd=command.folder, env={**environment, **OFFLINE, **command.more},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise EngineFailed(f"{command.name} cannot be started: {error.strerror}", "check its folder and its Python") from error
    lines: deque[str] = deque(maxlen=TOLD)
    listener = threading.Thread(target=_listen, args=(cast("IO[bytes]", process.stdout), lines), daemon=True)
    listener.start()
    began = time.monotonic()
    try:
        while True:
            try:
                status = process.wait(WAIT_S)
                break
            except subprocess.TimeoutExpired:
                tick()
                if time.monotonic() - began > command.limit_s:
                    said = _joined(lines)
                    text = f"{command.name} took longer than {command.limit_s:.0f} s and was stopped{said}"
                    raise EngineFailed(text, "give it more: timeout_s and per_second_s") from None
    finally:
        _end(process)
        listener.join(GRACE_S)  # a grandchild that has left the group may hold the pipe
    if status:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise EngineFailed(f"{command.name} {how}{_joined(lines)}", f"try it by hand: {shlex.join(command.arguments)}")
    return " / ".join(lines)


def _joined(lines: Sequence[str]) -> str:
    return f": {' / '.join(lines)}" if lines else ""


def _listen(pipe: IO[bytes], lines: deque[str]) -> None:
    with pipe:
        for line in iter(lambda: pipe.readline(4096), b""):
            text = "".join(c if c.isprintable() else " " for c in line.decode("utf-8", "replace")).strip()
            if text:
                lines.append(text[-300:])


def _end(process: subprocess.Popen[Any]) -> None:
    """Ends the whole process group; what it left running, too."""
    for how, grace_s in ((signal.SIGTERM, GRACE_S if process.poll() is None else 0.0), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(process.pid, how)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


@cache
def _leash() -> tuple[str, ...]:
    """A prefix by which Linux ends the program when polydub dies, be it by `kill -9`."""
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    return (found, "--pdeathsig", "KILL", "--") if found else ()
