"""What the conformance tests share: all registered engines as rows, and one of them as it can run here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polydub.engines.base import KINDS, Engine, Kind, Options, Weights
from polydub.engines.opening import opened
from polydub.engines.registry import Broken, build_options, engines

ROWS = [(kind, name) for kind in KINDS for name in engines(kind)]


def each(*kinds: Kind, having: Callable[[Engine], bool] = lambda engine: True) -> pytest.MarkDecorator:
    """The test gets `kind` and `name` of every engine, or of those of some kinds that are as `having` says."""
    rows = [row for row in ROWS if (not kinds or row[0] in kinds) and _is(row, having)]
    return pytest.mark.parametrize(("kind", "name"), rows, ids=[f"{kind}:{name}" for kind, name in rows])


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
