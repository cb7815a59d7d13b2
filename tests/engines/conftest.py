from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def _children() -> set[int]:
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """Gives the living child processes that this test started."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    before = _children()
    return lambda: _children() - before
