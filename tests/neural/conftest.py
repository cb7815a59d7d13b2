"""Engines with an environment of their own, run as they run for a user: in a process of their own, with that Python.

An environment is made by `polydub engines install NAME --environments build/engines`; where it is missing its tests are
skipped. Tiny random weights are written by the scripts in `tiny/`, run by the environment's Python, once for each version of
the script.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from polydub.engines.base import Engine, Options, Weights
from polydub.engines.sidecar.host import opened

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("POLYDUB_TEST_ENVIRONMENTS") or ROOT / "build/engines").resolve()
TINY = Path(__file__).resolve().parent / "tiny"
Open = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="session")
def python_of() -> Callable[[str], Path]:
    """`python_of("xtts")`: the Python of an environment; the test is skipped where it is not installed."""

    def find(name: str) -> Path:
        python = HOME / name / "bin/python"
        if not python.exists():
            pytest.skip(f"not run: no environment (polydub engines install {name} --environments build/engines)")
        return python

    return find


@pytest.fixture(scope="session")
def tiny(python_of: Callable[[str], Path]) -> Callable[[str, str], Path]:
    """`tiny("xtts", "xtts")`: the folder that `tiny/xtts.py FOLDER`, run in the environment named first, has filled."""

    def make(environment: str, script: str) -> Path:
        python, source = python_of(environment), TINY / f"{script}.py"
        folder = ROOT / "build/tiny" / f"{script}-{sha256(source.read_bytes()).hexdigest()[:12]}"
        if not folder.exists():
            work = folder.with_name(f"{folder.name}.{os.getpid()}")
            work.mkdir(parents=True)
            run = subprocess.run([python, "-s", source, work], capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr[-2000:]
            try:
                work.rename(folder)
            except OSError:  # another worker was quicker
                assert folder.exists()
        return folder

    return make


@pytest.fixture
def open_engine(python_of: Callable[[str], Path]) -> Open:
    """`open_engine(engine, options, weights)`: the engine in its own process, for `with`."""

    def start(engine: Engine, options: Options, weights: Weights, device: str = "cpu") -> AbstractContextManager[Any]:
        assert engine.environment is not None
        return opened(engine, options, weights, device, python_of(engine.environment.name))

    return start
