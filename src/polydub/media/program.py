"""Running the bundled ffmpeg: argument lists only, limits, failures in plain words, and no child left behind.

The rest of `media/` builds on this; everyone else goes through `polydub.media.ffmpeg`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO

from polydub.errors import Cancelled, EngineFailed, MissingProgram, PolydubError, StoreError, UnreadableMedia

# Formats that hold sound or pictures themselves. Playlists, scripts, picture series, devices and network
# descriptions (hls, dash, concat, sdp, image2, lavfi, tty ...) are left out: they make ffmpeg open other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,mxf,dv,gxf,nut,rm,wtv,ivf,"
    "wav,w64,aiff,caf,au,mp3,flac,ogg,aac,ac3,eac3,dts,truehd,amr,ape,wv,tta,mpc,mpc8"
)
SAFE_INPUT: tuple[str, ...] = ("-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS)

_TAG = re.compile(r"^(\[[^\]]*@ 0x[0-9a-f]+\] *)+")
_ECHOES = (  # lines that only say that something failed, after the line that says what
    "Error opening input",
    "Error opening output",
    "Error muxing",
    "Error submitting",
    "Error writing trailer",
    "Error closing file",
    "Could not open encoder",
    "Task finished",
    "Terminating thread",
    "Last message repeated",
    "Conversion failed",
    "Nothing was written",
)
_UNREADABLE = ("Invalid data found", "moov atom not found", "not on whitelist", "does not contain any stream")
_NOT_WRITABLE = ("Permission denied", "Read-only file system")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one ffmpeg may use. `seconds`: wall clock. `memory`: bytes of address space. `file_bytes`: of one output.

    Attributes: one_core: its threads share a processor (Linux).
    """

    seconds: float = 6 * 3600.0
    memory: int = 8 << 30
    file_bytes: int = 256 << 30
    cpu_seconds: int = 24 * 3600
    one_core: bool = False


STANDARD = Limits()
# To copy packets from file to file: ffmpeg gives each file a thread, and these spend more time on waking each other than on
# the work. Measured on 88 minutes of film, two sound tracks: 4.6 s on four cores, 2.3 s on one.
COPYING = Limits(one_core=True)


@cache
def program() -> Path:
    """The ffmpeg that imageio-ffmpeg brings. Raises MissingProgram."""
    import imageio_ffmpeg  # pyright: ignore[reportMissingTypeStubs]

    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingProgram("ffmpeg is not installed", "pip install --force-reinstall imageio-ffmpeg") from error


@cache
def version() -> str:
    """Version of `program()`, such as "7.1" or "n9.0.2-17-g2a571b6068"."""
    answer = subprocess.run([program(), "-version"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return answer.stdout.split()[2]


@cache
def _leash() -> tuple[str, ...]:
    """A prefix that makes Linux kill ffmpeg when its parent dies, be it by `kill -9`.

    ffmpeg itself notices a dead parent only where it writes to a broken pipe, and a broken `-progress` pipe does not
    count (measured). Without util-linux's setpriv a left-over ffmpeg ends with its work or at its limits.
    """
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    if found is None:
        return ()
    leash = (found, "--pdeathsig", "KILL", "--")
    tried = subprocess.run([*leash, "true"], capture_output=True, check=False)
    return leash if tried.returncode == 0 else ()


def run(
    arguments: Sequence[str],
    *,
    stage: str,
    limits: Limits = STANDARD,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Run ffmpeg to its end; nothing may be written to its standard output.

    Args: arguments: without the program. stage: for messages ("mux"). on_progress: gets the seconds of output done,
    some four times a second; what it raises stops ffmpeg and goes on to the caller.
    Raises: UnreadableMedia, StoreError (full disk, folder not writable), Cancelled (interrupted), EngineFailed.
    """
    with Child(["-progress", "pipe:1", "-stats_period", "0.25", *arguments], stage, limits, leash=True) as child:
        for line in child.output:
            name, _, value = line.decode("ascii", "replace").strip().partition("=")
            if on_progress is not None and name == "out_time_us" and value.isdigit():
                on_progress(int(value) / 1e6)
        child.finish()


class Child:
    """A running ffmpeg whose standard output is a pipe; as a context manager it leaves no process behind.

    `leash` ties its life to the calling thread's: not for a child that another thread may go on reading. `feed`: a
    descriptor to read from, its standard input.
    """

    def __init__(
        self, arguments: Sequence[str], stage: str, limits: Limits = STANDARD, *, leash: bool = False, feed: int | None = None
    ) -> None:
        quiet = ("-nostdin", "-hide_banner", "-v", "error", "-y")
        self._arguments, self._stage, self._limits = arguments, stage, limits
        self._lines: deque[str] = deque(maxlen=40)
        self._late = False
        self._process = subprocess.Popen(
            [*(_leash() if leash else ()), str(program()), *quiet, *arguments],
            stdin=subprocess.DEVNULL if feed is None else feed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _limit(self._process.pid, limits)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._clock = threading.Timer(limits.seconds, self._expire)
        self._clock.daemon = True
        self._clock.start()

    @property
    def output(self) -> IO[bytes]:
        """The child's standard output."""
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        return self._process.stdout

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._clock.cancel()
        self._process.kill()  # does nothing to one that has ended
        self._process.wait()
        self._listener.join()
        self.output.close()

    def finish(self) -> None:
        """Wait for the end. Raises what `run` raises."""
        status = self._process.wait()
        self._listener.join()
        if status != 0:
            raise self._failure(status)

    def stop(self) -> None:
        """Kill it, if it still runs: who reads its output comes to the end of it."""
        self._process.kill()

    @property
    def killed(self) -> bool:
        """Whether a signal ended it: a limit, or lack of memory."""
        return (self._process.poll() or 0) < 0

    def complaint(self) -> str:
        """The last thing worth reading that ffmpeg said, paths shortened; empty when it said nothing."""
        said = [_TAG.sub("", line) for line in self._lines]
        useful = [line for line in said if not line.startswith(_ECHOES)] or said
        return self._shortened(useful[-1]) if useful else ""

    def _shortened(self, line: str) -> str:
        for argument in self._arguments:
            if "/" in argument and not argument.startswith("-"):
                line = line.replace(argument, Path(argument).name).replace(argument.removeprefix("file:"), Path(argument).name)
        return "".join(c if c.isprintable() else " " for c in line)[:300]

    def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - asked for above
        with self._process.stderr as pipe:
            while line := pipe.readline(2048):
                if text := line.decode("utf-8", "replace").strip():
                    self._lines.append(text)

    def _expire(self) -> None:
        self._late = True
        self._process.kill()

    def _failure(self, status: int) -> PolydubError:
        said, stage = "\n".join(self._lines), self._stage
        if self._late:
            return EngineFailed(f"ffmpeg took longer than {self._limits.seconds:g} s for {stage} and was stopped")
        if "File too large" in said or status == -getattr(signal, "SIGXFSZ", 0):
            return StoreError(f"{stage} wrote more than the allowed {self._limits.file_bytes} bytes to one file")
        if status in (255, -signal.SIGINT, -signal.SIGTERM) and "Operation not permitted" not in said:
            return Cancelled("ffmpeg was interrupted", "run the same command again to go on")
        if status < 0:
            return EngineFailed(f"ffmpeg was killed by signal {-status} in {stage}", "the machine may be out of memory")
        return _explained(said, stage, self.complaint() or f"status {status}")


def _explained(said: str, stage: str, line: str) -> PolydubError:
    """The error for what ffmpeg `said` before it gave up; `line` is the best of it."""
    if "No space left" in said:
        return StoreError(f"the disk is full: {stage} could not be finished", "free some space or give another --output")
    if any(words in said for words in _NOT_WRITABLE):
        return StoreError(f"{stage} could not write its file: {line}", "give another --output")
    if any(words in said for words in _UNREADABLE):
        return UnreadableMedia(f"the file cannot be read: {line}", "check that it plays in a video player")
    return EngineFailed(f"ffmpeg failed in {stage}: {line}")


def _limit(pid: int, limits: Limits) -> None:
    """Bounds a child that has just started (a preexec_fn would not be safe beside threads)."""
    if sys.platform == "linux":
        import resource

        bounds = (
            (resource.RLIMIT_AS, limits.memory),
            (resource.RLIMIT_FSIZE, limits.file_bytes),
            (resource.RLIMIT_CPU, limits.cpu_seconds),
        )
        if limits.one_core:
            with contextlib.suppress(OSError):  # it has ended already, or may not be moved; it is only speed
                os.sched_setaffinity(pid, {max(os.sched_getaffinity(pid))})
        for what, most in bounds:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                hard = resource.prlimit(pid, what)[1]
                bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.prlimit(pid, what, (bound, bound))


def on_film_clock(link: Path, start: float) -> list[str]:
    """Arguments that open `link` so that container time `start` is 0, whichever of its streams are used.

    Left to itself ffmpeg subtracts the start of the streams in use, in MPEG-TS and the like: a late sound would come early.
    """
    return ["-copyts", "-itsoffset", f"{-start:.6f}", *SAFE_INPUT, "-i", f"file:{link}"]


def safe_link(path: Path, folder: Path) -> Path:
    """A symlink to `path` with a generated name, alone in a new private folder inside `folder`.

    So no name reaches ffmpeg as an option, a protocol or a pattern, and a script posing as media has no neighbours.
    Raises: UnreadableMedia when `path` is missing, not a regular file, or not readable.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UnreadableMedia(f"the file cannot be opened: {error.strerror}", "check the path") from error
    if stat.S_ISDIR(mode):
        raise UnreadableMedia("this is a folder, not a media file", "give a file, or a pattern such as 'folder/*.mp4'")
    if not stat.S_ISREG(mode):
        raise UnreadableMedia("this is not a regular file", "copy it to a file first")
    try:
        path.open("rb").close()
    except OSError as error:
        raise UnreadableMedia(f"the file cannot be read: {error.strerror}", "check its permissions") from error
    link = Path(tempfile.mkdtemp(prefix="media-", dir=folder)) / "media"
    link.symlink_to(path.resolve())
    return link
