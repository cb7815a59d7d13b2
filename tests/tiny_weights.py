"""Environments of engines, as `polydub engines install NAME --environments build/engines` makes them, and weights for them.

Tiny random weights are written by the scripts in `neural/tiny/`, run by the environment's Python, once for each version of
the script, of its neighbours that it imports, and of what is installed.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("POLYDUB_TEST_ENVIRONMENTS") or ROOT / "build/engines").resolve()
SCRIPTS = ROOT / "tests/neural/tiny"
LOCKS = ROOT / "src/polydub/engines/locks"
MADE = ROOT / "build/tiny"


def python_of(environment: str) -> Path:
    """The Python of an environment; the test is skipped where it is not installed."""
    python = HOME / environment / "bin/python"
    if not python.exists():
        pytest.skip(f"not run: no environment (polydub engines install {environment} --environments build/engines)")
    return python


def tiny(environment: str, script: str, scripts: Path = SCRIPTS, made: Path = MADE) -> Path:
    """The folder that `SCRIPT.py FOLDER`, run in the environment, has filled. Workers wait for each other."""
    python = python_of(environment)
    digest = sha256(b"\0".join(path.read_bytes() for path in _sources(environment, script, scripts)))
    folder = made / f"{script}-{digest.hexdigest()[:12]}"
    made.mkdir(parents=True, exist_ok=True)
    with (made / f"{script}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _write(python, scripts / f"{script}.py", folder)
    return folder


def _write(python: Path, source: Path, folder: Path) -> None:
    work = folder.with_name(f"{source.stem}.work")  # of who holds the lock; one that was killed may have left it
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        run = subprocess.run([python, "-s", source, work], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sources(environment: str, script: str, scripts: Path) -> Iterator[Path]:
    """What decides how the weights turn out: the script, neighbours that it imports, the lock of the environment."""
    yield from sorted(LOCKS.glob(f"{environment}.cpu.txt"))
    wanted, known = [script], set[str]()
    while wanted:
        name = wanted.pop()
        path = scripts / f"{name}.py"
        if name in known or not path.is_file():
            continue
        known.add(name)
        yield path
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                wanted += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                wanted.append(node.module or "")
