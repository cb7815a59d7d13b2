"""A lip-sync engine for tests and trials: a mouth is drawn that opens with the sound; no weights, the same every time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

from polydub.engines.base import READY, Engine, Info, Options, Weights
from polydub.engines.lipsync.job import Command, read_job, run

PROGRAM = Path(__file__).with_name("fake_worker.py")


class FakeOptions(Options):
    """Options of the fake lip-sync engine."""

    fault: Literal["", "crash", "nothing", "half", "size", "hang"] = Field(default="", description="How it goes wrong.")
    timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds that one stretch may take.", json_schema_extra={"identity": False}
    )
    faces: str = Field(default="yunet", min_length=1, description="Face finder: yunet or fake.")


class FakeLips:
    """A LipSyncer that runs a small program of its own, as the real ones do."""

    def __init__(self, options: FakeOptions) -> None:
        self._options = options

    def sync(self, job: Path, tick: Callable[[], None]) -> None:
        """As the Protocol says; goes wrong as it was told to."""
        arguments = (sys.executable, str(PROGRAM), str(job), self._options.fault)
        run(Command("fake", arguments, read_job(job).work, self._options.timeout_s, {}), tick)


@contextmanager
def _load(options: FakeOptions, _weights: Weights, _device: str) -> Generator[FakeLips]:
    yield FakeLips(options)


ENGINE = Engine(
    info=Info(
        kind="lipsync",
        name="fake",
        summary="draws a mouth that opens with the sound, for tests and trials",
        licence="Apache-2.0",
        homepage="",
        memory_mib=(150, 0),
        parallel=2,
    ),
    options=FakeOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
