"""Progress on stderr: one bar per stage with time left on a terminal, one line per finished stage elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from polydub.cli.output import say
from polydub.types import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Meter:
    """A context manager whose `show` is a sink for Progress. Stages that only remember are not shown."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        say(text)

    def show(self, progress: Progress) -> None:
        """Takes one event; called from any thread."""
        if self._quiet or (progress.done >= progress.total and progress.stage not in self._began):
            return
        with self._lock:
            if self._terminal:
                self._draw(progress)
            else:
                self._write(progress)

    def _write(self, progress: Progress) -> None:
        began = self._began.setdefault(progress.stage, time.monotonic())
        if progress.done >= progress.total and self._began[progress.stage] >= 0:
            say(f"{progress.stage}: done in {time.monotonic() - began:.1f} s")
            self._began[progress.stage] = time.monotonic()

    def _draw(self, progress: Progress) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:>14}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
                       TextColumn("left"), TimeRemainingColumn())  # fmt: skip
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
        self._began.setdefault(progress.stage, time.monotonic())
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=progress.total)
        self._bars.update(self._tasks[progress.stage], completed=progress.done, total=progress.total)
