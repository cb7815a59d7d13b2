"""What was measured on, and what was measured."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Machine:
    """Facts that a reader needs beside the figures. No name of the machine is among them."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load_before: float
    date: str
    commit: str
    version: str


def here() -> Machine:
    """This machine now."""
    return Machine(
        cpu=_field("/proc/cpuinfo", r"^model name\s*:\s*(.+)$") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(int(_field("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0) * 1024 / 1e9, 1),
        system=f"Linux {platform.release()}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        version=importlib.metadata.version("polydub"),
    )


def _field(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return found[1].strip() if found else ""


def _commit() -> str:
    """The commit, and whether files differ from it; this page itself does not count."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/benchmarks.md")
        return git("rev-parse", "--short=10", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def polydub() -> Path:
    """The program as it is installed beside this interpreter."""
    return Path(sys.executable).parent / "polydub"


def package() -> Path:
    """The folder of the package `polydub` that the program imports."""
    spec = importlib.util.find_spec("polydub")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("polydub is not installed for this Python; make env installs it")
    return Path(spec.origin).parent


def core_size() -> tuple[float, list[tuple[str, float]]]:
    """Installed size in MB (10^6 bytes) of polydub and what it requires, bytecode included: (total, per distribution)."""
    sizes = {"polydub": _bytes(package()) / 1e6}
    waiting = _needs("polydub")
    while waiting:
        name = waiting.pop()
        if name in sizes:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on other systems only
        tops = {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}
        sizes[name] = sum(_bytes(Path(str(found.locate_file(top)))) for top in tops) / 1e6
        waiting |= _needs(name)
    return sum(sizes.values()), sorted(sizes.items(), key=lambda pair: -pair[1])


def _needs(name: str) -> set[str]:
    """What a distribution requires without extras, normalised names."""
    required = importlib.metadata.requires(name) or []
    plain = [text for text in required if "extra ==" not in text]
    return {re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[(]", text, maxsplit=1)[0]).lower() for text in plain}


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
