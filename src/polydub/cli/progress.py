"""Progress on stderr: one bar per stage with time left on a terminal, one line per finished stage elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from polydub.cli.output import clean, say
from polydub.types import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

# Small stages that a reader takes for one; the report names them all.
_NAMES = {
    "read-script": "read texts",
    "read-glossary": "read texts",
    "number": "read texts",
    "detect": "find speech",
    "speech": "find speech",
    "embed": "tell speakers apart",
    "cluster": "tell speakers apart",
    "identify": "transcribe",
    "sentences": "transcribe",
    "stock": "match voices",
    "near": "match voices",
    "portray": "match voices",
    "audition": "match voices",
    "gauge": "match voices",
    "rank": "match voices",
    "choose-voices": "match voices",
    "part": "stems",
    "silence": "stems",
    "locate": "align",
    "speech-track": "measure",
    "survey": "measure",
    "source-levels": "measure",
    "first-gain": "measure",
    "measure-block": "measure",
    "set-gain": "measure",
    "mix-block": "mix",
    "programme": "mix",
    "shape": "stretch",
    "voiced": "find speech",
    "mouths": "find speech",
    "wordings": "translate",
    "recall-wordings": "choose wordings",
    "learn-paces": "choose wordings",
    "choose-wordings": "choose wordings",
    "draft-fit": "fit",
    "slow-down": "slow down",
    "retime": "slow down",
    "residue": "measure",
    "room-decay": "measure",
    "coding-loss": "measure",
    "diarize": "tell speakers apart",
    "read-turns": "tell speakers apart",
    "hear-take": "synthesize",
    "lip-index": "lip-sync",
    "lip-cells": "lip-sync",
    "find-faces": "find faces",
    "lip-plan": "lip-sync",
    "lip-sound": "lip-sync",
    "lip-parts": "lip-sync",
    "lip-encode": "lip-sync",
    "lip-join": "lip-sync",
    "drawable": "draw subtitles",
    "burn": "draw subtitles",
    "subtitle": "subtitles",
    "stem": "stems",
}
_WORTH_TELLING_S = 0.5


class Meter:
    """A context manager whose `show` is a sink for Progress. Stages that only remember are not shown."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._running: dict[str, float] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._asking = False

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        if self._bars:
            self._bars.console.print(clean(text), markup=False, highlight=False)
        else:
            say(text)

    def ask(self, question: str) -> bool:
        """A yes or no question above the bars; False where nobody sits at a terminal."""
        if not (self._terminal and sys.stdin.isatty()):
            return False
        import click

        self._asking = True  # what goes on meanwhile draws no bar over the question
        if self._bars:
            self._bars.stop()
        try:
            return click.confirm(question, err=True)
        finally:
            self._asking = False
            if self._bars:
                self._bars.start()

    def show(self, progress: Progress) -> None:
        """Takes one event; called from any thread."""
        name = _NAMES.get(progress.stage, progress.stage)
        ended = progress.done >= progress.total
        with self._lock:
            if ended and name not in self._running:
                return
            fresh = name not in self._running
            began = self._running.setdefault(name, time.monotonic())
            if ended:
                del self._running[name]
            if self._terminal and not self._asking:
                self._draw(name, progress, fresh)
            elif ended and not self._terminal:
                self._write(name, time.monotonic() - began)

    def _write(self, name: str, seconds: float) -> None:
        """A stage that comes again, as mixing does, gets another line only if it took a while."""
        if name not in self._told or seconds >= _WORTH_TELLING_S:
            self._told.add(name)
            say(f"{name}: done in {seconds:.1f} s")

    def _draw(self, name: str, progress: Progress, fresh: bool) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:>14}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
                       TextColumn("left"), TimeRemainingColumn())  # fmt: skip
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=progress.total)
        elif fresh:
            self._bars.reset(self._tasks[name], total=progress.total)
        self._bars.update(self._tasks[name], completed=progress.done, total=progress.total)
