from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conformity import Ready, usable

from polydub import models
from polydub.engines.base import Engine, Kind, Weights
from polydub.engines.registry import build_options
from tiny_weights import python_of, tiny

ROOT = Path(__file__).resolve().parents[2]
# Where real weights may lie: what `polydub models pull ID --models build/models` fetched, and the shared data.
HOMES = (
    Path(os.environ.get("POLYDUB_TEST_MODELS") or ROOT / "build/models").resolve(),
    Path(os.environ.get("POLYDUB_SHARED_DATA") or ROOT / "../shared/data").resolve() / "models",
)


@dataclass(frozen=True)
class Made:
    """What an engine runs with where its real weights are not: option values, and folders by the ids of weights."""

    values: Mapping[str, object]
    weights: Weights = field(default_factory=dict[str, Path])


def _tiny_whisper(folder: Path) -> Made:
    from tiny_whisper import write_tiny_whisper

    return Made({"model": str(write_tiny_whisper(folder))})


def _tiny_unas(folder: Path) -> Made:
    from test_separation import tiny_unas

    return Made({}, {"ul-unas": tiny_unas(folder)})


def _tiny_deepfilternet(folder: Path) -> Made:
    from test_separation import tiny_weights as tiny_nets

    return Made({}, {"deepfilternet3": tiny_nets(folder, 1, 1)})


def _checkout(name: str, **values: object) -> Callable[[Path], Made]:
    """A stand-in for the checkout of a lip-syncing program."""

    def make(folder: Path) -> Made:
        from lipsync_stand_in import checkout

        return Made({"folder": checkout(name, folder / "checkout"), **values})

    return make


def _apart(environment: str, script: str, part: str = "", **values: object) -> Callable[[Path], Made]:
    """Weights that the engine's own libraries have written, and its option `model` that names them."""
    return lambda _: Made({"model": str(tiny(environment, script) / part), "threads": 1, **values})


# Engines that run on weights made here, random ones or such that know a few notes, where the real ones are not.
MADE: Mapping[tuple[Kind, str], Callable[[Path], Made]] = {
    ("asr", "faster-whisper"): _tiny_whisper,
    ("asr", "kyutai"): _apart("transformers", "kyutai"),
    ("asr", "sherpa-onnx"): _apart("sherpa-onnx", "sherpa_asr", "tdt"),
    ("diarization", "pyannote"): _apart("pyannote", "pyannote_pipelines", "vbx"),
    ("diarization", "sherpa-onnx"): _apart("sherpa-onnx", "sherpa_diarization"),
    ("separation", "deepfilternet"): _tiny_deepfilternet,
    ("separation", "demucs"): _apart("separation", "htdemucs", "one"),
    ("separation", "mdx23"): _apart("separation", "mdx23", members="roformer:mel.ckpt"),
    ("separation", "ul-unas"): _tiny_unas,
    ("lipsync", "latentsync"): _checkout("latentsync"),
    ("lipsync", "musetalk"): _checkout("musetalk"),
    ("lipsync", "wav2lip"): _checkout("wav2lip", smooth=False),
    ("mt", "argos"): _apart("ctranslate2", "argos", max_length=24),
    ("mt", "nllb"): _apart("ctranslate2", "nllb", max_length=24),
    ("mt", "opus-mt"): _apart("ctranslate2", "opus_mt", max_length=24),
    ("tts", "kokoro"): _apart("kokoro", "kokoro"),
    ("tts", "piper"): _apart("piper", "piper_voices"),
    ("tts", "vibevoice"): _apart("transformers", "vibevoice", "ends", num_steps=4),
    ("tts", "xtts"): _apart("xtts", "xtts", agree_terms=True),
}
# Engines for which no small weights can be made.
NOT_MADE: Mapping[tuple[Kind, str], str] = {
    ("tts", "chatterbox"): "weights of its only size take 3 GB, and random ones never end a sentence; "
    "tests/neural/test_chatterbox.py works its library with fewer layers",
}


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Engine, Any], Weights]:
    """`weights_of(engine, options)`: the folders of its real weights by id; the test is skipped where some are not here."""

    def find(engine: Engine, options: Any) -> Weights:
        found = real_weights(engine, options)
        lacking = [weight.id for weight in engine.weights(options) if weight.id not in found]
        if lacking:
            pytest.skip(f"not run: no weights (polydub models pull {' '.join(lacking)} --models build/models)")
        return found

    return find


def real_weights(engine: Engine, options: Any) -> Weights:
    """Those of its weights that are here."""
    places = {weight.id: [models.find(weight, home) for home in HOMES] for weight in engine.weights(options)}
    return {id: folder for id, found in places.items() if (folder := next(filter(None, found), None))}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind, str], Made | None]:
    """What an engine runs with on weights made here; None for an engine that has none such."""
    known: dict[tuple[Kind, str], Made] = {}

    def make(kind: Kind, name: str) -> Made | None:
        if (kind, name) in MADE and (kind, name) not in known:
            known[kind, name] = MADE[kind, name](tmp_path_factory.mktemp(name))
        return known.get((kind, name))

    return make


@pytest.fixture(scope="session")
def python_for() -> Callable[[Engine], Path | None]:
    """The Python of an engine's environment, None when it has none; the test is skipped where it is not installed."""
    return lambda engine: python_of(engine.environment.name) if engine.environment else None


@pytest.fixture
def ready(
    weights_of: Callable[[Engine, Any], Weights],
    made: Callable[[Kind, str], Made | None],
    python_for: Callable[[Engine], Path | None],
) -> Callable[[Kind, str], Ready]:
    """`ready(kind, name)`: the engine as it can run here, on real weights or on made ones; else the test is skipped."""

    def get(kind: Kind, name: str) -> Ready:
        engine = usable(kind, name)
        if engine.info.network:
            pytest.skip(f"not run: {name} uses the network; its own tests ask a server of theirs")
        python = python_for(engine)
        options = build_options(engine, {})
        available = engine.check(options)
        real = real_weights(engine, options)
        whole = available.ready and len(real) == len(engine.weights(options))
        given = None if whole else made(kind, name)
        if given:
            return Ready(engine, build_options(engine, given.values), given.weights, True, python)
        if not whole and (kind, name) in NOT_MADE:
            pytest.skip(f"not run: {NOT_MADE[kind, name]}")
        if not available.ready:
            pytest.skip(f"not run: {available.reason}")
        return Ready(engine, options, weights_of(engine, options), False, python)

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
