from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conformity import Ready, usable

from polydub import models
from polydub.engines.base import Engine, Kind, Weights
from polydub.engines.registry import build_options

ROOT = Path(__file__).resolve().parents[2]
# Where real weights may lie: what `polydub models pull ID --models build/models` fetched, and the shared data.
HOMES = (
    Path(os.environ.get("POLYDUB_TEST_MODELS") or ROOT / "build/models").resolve(),
    Path(os.environ.get("POLYDUB_SHARED_DATA") or ROOT / "../shared/data").resolve() / "models",
)

# Where environments may lie: what `polydub engines install NAME --environments build/engines` made.
ENVIRONMENTS = Path(os.environ.get("POLYDUB_TEST_ENVIRONMENTS") or ROOT / "build/engines").resolve()


def _tiny_whisper(folder: Path) -> Mapping[str, object]:
    from tiny_whisper import write_tiny_whisper

    return {"model": str(write_tiny_whisper(folder))}


# Engines that run on random weights made here, in the folder given: the option values that name them.
MADE: Mapping[tuple[Kind, str], Callable[[Path], Mapping[str, object]]] = {("asr", "faster-whisper"): _tiny_whisper}


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Engine, Any], Weights]:
    """`weights_of(engine, options)`: the folders of its real weights by id; the test is skipped where some are not here."""

    def find(engine: Engine, options: Any) -> Weights:
        found = {w.id: next((p for home in HOMES if (p := models.find(w, home))), None) for w in engine.weights(options)}
        lacking = [id for id, folder in found.items() if folder is None]
        if lacking:
            pytest.skip(f"not run: no weights (polydub models pull {' '.join(lacking)} --models build/models)")
        return {id: folder for id, folder in found.items() if folder}

    return find


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind, str], Mapping[str, object] | None]:
    """Option values that name weights made here; None for an engine that has none such."""
    known: dict[tuple[Kind, str], Mapping[str, object]] = {}

    def make(kind: Kind, name: str) -> Mapping[str, object] | None:
        if (kind, name) in MADE and (kind, name) not in known:
            known[kind, name] = MADE[kind, name](tmp_path_factory.mktemp(name))
        return known.get((kind, name))

    return make


@pytest.fixture(scope="session")
def python_for() -> Callable[[Engine], Path | None]:
    """The Python of an engine's environment, None when it has none; the test is skipped where it is not installed."""

    def find(engine: Engine) -> Path | None:
        if engine.environment is None:
            return None
        name = engine.environment.name
        python = ENVIRONMENTS / name / "bin/python"
        if not python.exists():
            pytest.skip(f"not run: no environment (polydub engines install {name} --environments build/engines)")
        return python

    return find


@pytest.fixture
def ready(
    weights_of: Callable[[Engine, Any], Weights],
    made: Callable[[Kind, str], Mapping[str, object] | None],
    python_for: Callable[[Engine], Path | None],
) -> Callable[[Kind, str], Ready]:
    """`ready(kind, name)`: the engine as it can run here, on real or on made weights; else the test is skipped."""

    def get(kind: Kind, name: str) -> Ready:
        engine = usable(kind, name)
        if engine.info.network:
            pytest.skip(f"not run: {name} uses the network")
        values = made(kind, name)
        options = build_options(engine, values or {})
        available = engine.check(options)
        if not available.ready:
            pytest.skip(f"not run: {available.reason}")
        python = python_for(engine)
        return Ready(engine, options, weights_of(engine, options), values is not None, python)

    return get


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


@pytest.fixture
def nothing_left(children: Callable[[], set[int]]) -> Iterator[None]:
    """After the test no process that it started lives."""
    yield
    assert not children()
