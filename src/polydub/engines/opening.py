"""Where an engine is loaded: in this process, or in one of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from polydub.engines.base import Engine, Options, Weights


def opened(engine: Engine, options: Options, weights: Weights, device: str, python: Path | None) -> AbstractContextManager[Any]:
    """The loaded engine, for `with`: by `python` in a process of its own, here when that is None.

    Raises: what loading raises; EngineFailed when the process dies or hangs; MissingExtra when it cannot be started.
    """
    if python is None:
        return engine.load(options, weights, device)
    from polydub.engines.sidecar import host

    return host.opened(engine, options, weights, device, python)
