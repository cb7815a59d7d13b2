"""Engines with an environment of their own, run as they run for a user: in a process of their own, with that Python.

Where the environment is missing its tests are skipped; the weights are tiny ones (see tiny_weights.py). What all engines have
in common is tested by the conformance suite, whose rows with such an environment are marked `neural`, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import tiny_weights
from polydub.engines.base import Engine, Options, Weights
from polydub.engines.sidecar.host import opened

Open = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="session")
def python_of() -> Callable[[str], Path]:
    """`python_of("xtts")`: the Python of an environment; the test is skipped where it is not installed."""
    return tiny_weights.python_of


@pytest.fixture(scope="session")
def tiny() -> Callable[[str, str], Path]:
    """`tiny("xtts", "xtts")`: the folder that `tiny/xtts.py FOLDER`, run in the environment named first, has filled."""
    return tiny_weights.tiny


@pytest.fixture
def open_engine() -> Open:
    """`open_engine(engine, options, weights)`: the engine in its own process, for `with`."""

    def start(engine: Engine, options: Options, weights: Weights, device: str = "cpu") -> AbstractContextManager[Any]:
        assert engine.environment is not None
        return opened(engine, options, weights, device, tiny_weights.python_of(engine.environment.name))

    return start
