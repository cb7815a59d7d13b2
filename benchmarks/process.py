"""Runs a command as a whole process and says what it cost: wall time, processor time, peak memory of the process tree."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.05
_LIBC = ctypes.CDLL(None)
_KCMP = {"x86_64": 312, "aarch64": 272}.get(platform.machine())


class Failed(Exception):
    """A measured command did not do its work; its figures would mean nothing."""


@dataclass(frozen=True)
class Cost:
    """What one run took. `peak_mb`: PSS of all its processes together, 10^6 bytes; 0 when it was not asked for."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Bench:
    """Where and how commands are run. `cores`: the processors they may use, all when empty."""

    work: Path
    cores: tuple[int, ...] = ()

    def cost(self, command: Sequence[str | Path], *, memory: bool = False) -> Cost:
        """Runs `command` alone, with what the last one wrote already on the disk. Raises Failed with the end of its stderr."""
        self.work.mkdir(parents=True, exist_ok=True)
        log = self.work / "stderr.txt"
        os.sync()
        with log.open("wb") as errors, pinned(self.cores):
            began = time.perf_counter()
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env=environment(self.work), start_new_session=True,
            )  # fmt: skip
            try:
                peak = _watch(process.pid) if memory else 0.0
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:  # Ctrl-C reaches this process alone
                for pid in tree(process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()
                raise
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said = log.read_text(errors="replace")[-2000:]
            raise Failed(f"{Path(command[0]).name} ended with status {process.returncode}:\n{said}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, peak)


@contextmanager
def pinned(cores: Sequence[int]) -> Generator[None]:
    """This process, and so its children, may use only these processors for a while; an empty sequence changes nothing."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(work: Path) -> dict[str, str]:
    """The caller's environment without settings of polydub's, so that two machines measure the same thing."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("POLYDUB_") and k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"XDG_CONFIG_HOME": str((work / "no-config").resolve())}


def _watch(pid: int) -> float:
    """Samples until the process has ended but is not yet reaped; the highest PSS of its tree in MB."""
    peak = 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max(peak, pss_mb(tree(pid)))
        time.sleep(SAMPLE_S)
    return peak


def tree(root: int) -> dict[int, int]:
    """Each process of the session `root` leads, and every descendant that began a session of its own -> its parent."""
    parents: dict[int, int] = {}
    inside = {root}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents[int(entry.name)] = int(fields[1])
            if int(fields[3]) == root:
                inside.add(int(entry.name))
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in inside} - inside
        inside |= more
        grew = bool(more)
    return {pid: parents.get(pid, 0) for pid in sorted(inside)}


def pss_mb(processes: Mapping[int, int]) -> float:
    """Memory of processes as `tree` gives them, 10^6 bytes; what several share is counted once."""
    total = 0
    for pid, parent in processes.items():
        if parent in processes and _one_memory(pid, parent):
            continue
        try:
            text = Path("/proc", str(pid), "smaps_rollup").read_text()
        except OSError:
            continue  # it has ended
        total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total * 1024 / 1e6


def cpu_s(processes: Mapping[int, int]) -> float:
    """Processor time that processes have used so far, with that of their children that have ended."""
    ticks = 0
    for pid in processes:
        try:
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _one_memory(pid: int, parent: int) -> bool:
    """Whether a child still lives in its parent's memory: between vfork and exec it would be counted twice (kcmp(2))."""
    if _KCMP is None:
        return False
    return _LIBC.syscall(_KCMP, pid, parent, 1, 0, 0) == 0
