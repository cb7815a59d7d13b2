"""What the machine has to work with: accelerators, and the memory that is free. Nothing heavy is imported to find out."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from polydub.engines import environments
from polydub.engines.base import Engine
from polydub.errors import BadSettings

AUTO = "auto"
CPU = "cpu"
ASK_S = 20.0  # a driver that was asleep wakes up in a few seconds
# What engines without an environment (CTranslate2) need from the system, beside the driver, to work on a card.
CUDA_LIBRARIES = ("libcublas.so.12", "libcudnn.so.9")
MIB = 2**20


def cards() -> tuple[tuple[str, int], ...]:
    """The NVIDIA cards that a driver is here for: name, free memory in MiB. None where `nvidia-smi` finds none, or hangs.

    Those that CUDA_VISIBLE_DEVICES names, in its order, where it is set: engines see no others.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=memory.free,name,uuid", "--format=csv,noheader,nounits"]
    try:
        ran = subprocess.run(command, capture_output=True, timeout=ASK_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [line.partition(",") for line in ran.stdout.decode("utf-8", "replace").splitlines()]
    found = [(name.strip(), int(free)) for free, _, name in rows if free.strip().isdecimal()] if ran.returncode == 0 else []
    parts = [(name.rpartition(", GPU-"), free) for name, free in found]
    named = [(name or rest, f"GPU-{rest}" if name else "", free) for (name, _, rest), free in parts]
    return tuple((name, free) for name, free in visible(named, os.environ.get("CUDA_VISIBLE_DEVICES")))


def visible(found: Sequence[tuple[str, str, int]], told: str | None) -> Iterator[tuple[str, int]]:
    """The cards (name, UUID, MiB) that CUDA shows where CUDA_VISIBLE_DEVICES is `told`; None = it is not set.

    As the CUDA C++ programming guide says: numbers or beginnings of UUIDs in the wanted order, up to the first that means
    none. Parts of cards (MIG) stand for the first card.
    """
    wishes = [wish.strip() for wish in told.split(",")] if told is not None else [str(n) for n in range(len(found))]
    for wish in wishes:
        part = (
            found[:1]
            if wish.startswith("MIG-")
            else [row for row in found if wish.startswith("GPU-") and row[1].startswith(wish)]
        )
        if wish.isdecimal() and int(wish) < len(found):
            part = [found[int(wish)]]
        if len(part) != 1:
            return
        yield part[0][0], part[0][2]


@cache
def accelerators() -> tuple[str, ...]:
    """Which devices but the processor engines can be given: "cuda", "mps". Looked for once in a process."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ("mps",)
    return ("cuda",) if cards() else ()


def require(wish: str) -> None:
    """Raises BadSettings when a device was named that is not here."""
    if wish in (AUTO, CPU) or wish.partition(":")[0] in accelerators():
        return
    what = {"cuda": "NVIDIA card (nvidia-smi shows none)", "mps": "Apple processor with Metal"}.get(wish, f"device {wish!r}")
    raise BadSettings(f"--device {wish}: there is no {what} here", "leave out --device, or use --device cpu")


def place(engine: Engine, wish: str, python: Path | None) -> tuple[str, str]:
    """Where an engine works, and why not where it was wished ("" = it is the wish, or the engine knows no other place).

    `python` is that of its environment. Raises: BadSettings as `require`.
    """
    require(wish)
    wanted = [wish] if wish != AUTO else list(accelerators())
    can = [device for device in wanted if device.partition(":")[0] in engine.info.devices]
    if not can or can[0] == CPU:
        return CPU, ""
    hindrance = _hindrance(engine, python) if can[0].startswith("cuda") else ""
    return (CPU, hindrance) if hindrance else (can[0], "")


def _hindrance(engine: Engine, python: Path | None) -> str:
    """What keeps an engine from working on an NVIDIA card that is here."""
    if python is not None:
        on_cpu = environments.identity(python).split()[1:2] == [CPU]
        return f"its environment is the one for processors: polydub engines install {engine.info.name} --variant cuda" * on_cpu
    own = engine.environment or engine.info.kind == "lipsync"  # works with libraries of its own
    lacking = [] if own else [name for name in CUDA_LIBRARIES if not _loadable(name)]
    return f"{' and '.join(lacking)} cannot be loaded" if lacking else ""


@cache
def _loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def free_mib(device: str) -> int | None:
    """Memory that is free for an engine on a device, in MiB; None where nobody can tell."""
    kind, _, number = device.partition(":")
    if kind == "cuda":
        free = [memory for _, memory in cards()]
        return free[int(number or 0)] if len(free) > int(number or 0) else None
    return host_mib(Path("/"))


def host_mib(root: Path) -> int | None:
    """Of the machine, or of the control group this process is in when that has less."""
    limits = [_available(root / "proc/meminfo"), _group_v2(root), _group_v1(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _available(file: Path) -> int | None:
    for line in _read(file).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return None


def _group_v2(root: Path) -> int | None:
    home = root / "sys/fs/cgroup"
    own = next((line[3:].strip("/") for line in _read(root / "proc/self/cgroup").splitlines() if line.startswith("0::")), "")
    places = [home / own, *(home / own).parents] if own else [home]
    found = [_group(p / "memory.max", p / "memory.current", p / "memory.stat") for p in places if p.is_relative_to(home)]
    return min((free for free in found if free is not None), default=None)


def _group_v1(root: Path) -> int | None:
    home = root / "sys/fs/cgroup/memory"
    return _group(home / "memory.limit_in_bytes", home / "memory.usage_in_bytes", home / "memory.stat")


def _group(limit: Path, usage: Path, stat: Path) -> int | None:
    """What a control group leaves; remembered files (page cache) count as free, since the kernel gives them up."""
    most, used = _read(limit).strip(), _read(usage).strip()
    if not (most.isdecimal() and used.isdecimal()):  # "max" = without a limit
        return None
    rows = dict(line.split()[:2] for line in _read(stat).splitlines() if len(line.split()) == 2)
    cached = int(rows.get("total_inactive_file", rows.get("inactive_file", "0")))
    return max(0, int(most) - int(used) + cached) // MIB


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
