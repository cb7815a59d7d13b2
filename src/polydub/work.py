"""What a stage is, and what it may touch besides its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_type_hints

from pydantic import TypeAdapter

from polydub.engines.base import Kind
from polydub.store import Store
from polydub.types import Artifact, Notice

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Stage(Generic[P, R]):
    """A function that may be remembered. Raise `version` whenever its results change."""

    name: str
    version: int
    function: Callable[..., R]
    engine: Kind | None

    def __call__(self, *args: Any) -> R:
        """The bare function: work, engine (if the stage has one), arguments."""
        return self.function(*args)

    @property
    def returns(self) -> TypeAdapter[Any]:
        """How its results are written and read."""
        return _adapter(self.function)


@cache
def _adapter(function: Callable[..., Any]) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(function)["return"])


def stage(name: str, *, version: int = 1) -> Callable[[Callable[Concatenate[Work, P], R]], Stage[P, R]]:
    """Marks `function(work, *arguments)` as a stage."""

    def mark(function: Callable[Concatenate[Work, P], R]) -> Stage[P, R]:
        return Stage(name, version, function, None)

    return mark


def engine_stage(name: str, kind: Kind, *, version: int = 1) -> Callable[[Callable[Concatenate[Work, Any, P], R]], Stage[P, R]]:
    """Marks `function(work, engine, *arguments)` as a stage; the runner injects the loaded engine of `kind`."""

    def mark(function: Callable[Concatenate[Work, Any, P], R]) -> Stage[P, R]:
        return Stage(name, version, function, kind)

    return mark


class Work:
    """What a stage may touch besides its arguments: a scratch folder, the store's files, notices, progress.

    Attributes: scratch: private folder, gone afterwards. jobs: threads the stage may use for itself.
    """

    def __init__(self, store: Store, scratch: Path, jobs: int, report: Callable[[float], None]) -> None:
        self._store, self.scratch, self.jobs, self._report = store, scratch, jobs, report
        self.notices: list[Notice] = []

    def path(self, artifact: Artifact) -> Path:
        """Where the file lies; read only."""
        return self._store.path(artifact)

    def keep(self, file: Path) -> Artifact:
        """Move a finished file of the scratch folder into the store."""
        return self._store.keep(file)

    def notice(self, notice: Notice) -> None:
        """Tell the user; remembered with the result."""
        self.notices.append(notice)

    def progress(self, share: float) -> None:
        """How much of this call is done, 0 to 1. Raises Cancelled when the user stopped the run."""
        self._report(share)
