"""What the conformance tests share: all registered engines as rows, and one of them as it can run here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polydub.engines.base import KINDS, Engine, Kind, Options, Weights
from polydub.engines.opening import opened
from polydub.engines.registry import Broken, build_options, engines

Having = Callable[[Engine], bool]
Marks = tuple[pytest.MarkDecorator, ...]
ROWS: list[tuple[Kind, str]] = [(kind, name) for kind in KINDS for name in engines(kind)]


def each(*kinds: Kind, having: Having = lambda engine: True) -> pytest.MarkDecorator:
    """The test gets `kind` and `name` of every engine, or of those of some kinds that are as `having` says."""
    return _rows(kinds, having, lambda engine: ())


def running(*kinds: Kind, having: Having = lambda engine: True) -> pytest.MarkDecorator:
    """As `each`, for tests that load the engine: those with an environment of their own are `neural` and `slow`."""
    apart = (pytest.mark.neural, pytest.mark.slow)
    return _rows(kinds, having, lambda engine: apart if engine.environment else ())


def _rows(kinds: Sequence[Kind], having: Having, marks: Callable[[Engine], Marks]) -> pytest.MarkDecorator:
    rows: list[Any] = []
    for kind, name in ROWS:
        if (not kinds or kind in kinds) and _is((kind, name), having):
            engine = engines(kind)[name]
            worn = () if isinstance(engine, Broken) else marks(engine)
            rows.append(pytest.param(kind, name, id=f"{kind}:{name}", marks=worn))
    return pytest.mark.parametrize(("kind", "name"), rows)


def has(feature: str) -> Having:
    """For `having`: the engine has the feature."""
    return lambda engine: feature in engine.info.features


def _is(row: tuple[Kind, str], having: Callable[[Engine], bool]) -> bool:
    engine = engines(row[0])[row[1]]
    return isinstance(engine, Broken) or having(engine)  # a broken one fails every test


def needs_weights(engine: Engine) -> bool:
    return bool(engine.weights(build_options(engine, {})))


def usable(kind: Kind, name: str) -> Engine:
    row = engines(kind)[name]
    assert not isinstance(row, Broken), row
    return row


@dataclass(frozen=True)
class Ready:
    """An engine that can run here; on `random` weights what it answers means nothing."""

    engine: Engine
    options: Options
    weights: Weights
    random: bool = False
    python: Path | None = None

    def load(self) -> AbstractContextManager[Any]:
        return opened(self.engine, self.options, self.weights, "cpu", self.python)
