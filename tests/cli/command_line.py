"""What a person types and what comes back, for the tests of the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = "1\n00:00:00,200 --> 00:00:01,000\nHello everybody.\n\n2\n00:00:01,100 --> 00:00:01,900\nSee you soon.\n"
TARGET = SOURCE.replace("Hello everybody.", "Hola a todos.").replace("See you soon.", "Hasta pronto.")
FAKES = ("--tts", "fake", "--mt", "fake")
PROGRAM = (sys.executable, "-c", "from polydub.cli import main; main()")


@dataclass(frozen=True)
class Told:
    """What a command left: its exit status, what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result on stdout, all of which must be JSON."""
        return json.loads(self.out)

    def fails(self, status: int, *words: str) -> None:
        """Asserts one clear error with these words, no result, no traceback."""
        assert self.status == status, self.err
        assert not self.out
        assert "Traceback" not in self.err
        assert "unexpected" not in self.err
        assert sum(line.startswith("error: ") for line in self.err.splitlines()) == 1, self.err
        for word in words:
            assert word in self.err


Call = Callable[..., Told]


def program(*arguments: str | Path, cwd: Path, **environment: str) -> Told:
    """The same in a process of its own."""
    ran = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Told(ran.returncode, ran.stdout, ran.stderr)


def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """A process in a session of its own, as a terminal's foreground group."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(session: int) -> set[int]:
    """The processes of a session that are alive, and still are when a minute has passed."""
    ends = time.monotonic() + 60
    while (found := _alive(session)) and time.monotonic() < ends:
        time.sleep(0.05)
    return found


def _alive(session: int) -> set[int]:
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of, *_ = stat.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(of) == session and state != "Z":
            found.add(int(stat.parent.name))
    return found


def interrupt(process: subprocess.Popen[str]) -> tuple[Told, float]:
    """Ctrl-C for the whole group, as a terminal sends it; what was told and how many seconds it took to end."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return Told(process.returncode, out, err), time.monotonic() - began


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with what it holds."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
