"""Progress on stderr.

Of one film: a bar for each stage with the time left, or a line for each finished stage where there is no terminal. Of a
batch: a bar for each film that is at work and one for all of them, or a line for each finished film.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
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
    "name-voices": "cast",
    "keep-voices": "cast",
    "portray-recordings": "match voices",
    "hear-recording": "check recordings",
    "judge-recording": "check recordings",
    "stock": "match voices",
    "near": "match voices",
    "portray": "match voices",
    "audition": "match voices",
    "likeness": "match voices",
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
    "nonspeech": "measure",
    "prosody": "listen to how it is said",
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
    "find-pause": "find speech",
    "extract-piece": "read sound",
    "stream-init": "segments",
    "stream-media": "segments",
    "stream-chunk": "segments",
    "stream-whole": "mux",
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


class Films:
    """A context manager that shows a batch. `Film` is the sink of one of its films; `above` is around all that is printed."""

    def __init__(self, total: int) -> None:
        self._total, self._ended, self._worked = total, 0, 0
        self._terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._bars: Bars | None = None
        self._all: TaskID | None = None
        self._printing = threading.RLock()
        self._answers: dict[str, bool] = {}

    def __enter__(self) -> Films:
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:<20}"), TextColumn("{task.fields[stage]:<19}"), BarColumn(bar_width=12),
                       TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))  # fmt: skip
            # what is on stdout may go elsewhere, so it is printed between a stop and a start
            self._bars = Bars(
                *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._all = self._bars.add_task(f"0 of {self._total} films", total=self._total, stage="", left="")
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    @contextmanager
    def above(self) -> Generator[None]:
        """Bars are away while something is printed, by one thread at a time."""
        with self._printing:
            if self._bars:
                self._bars.stop()
            try:
                yield
            finally:
                if self._bars:
                    self._bars.start()

    def ask(self, question: str) -> bool:
        """A yes or no question, put once for all films; False where nobody sits at a terminal."""
        if not (self._terminal and sys.stdin.isatty()):
            return False
        import click

        with self.above():
            if question not in self._answers:
                self._answers[question] = click.confirm(question, err=True)
            return self._answers[question]

    def begin(self, name: str) -> Film:
        """A film is at work from now on."""
        task = self._bars.add_task(short(name, 20), total=100, stage="", left="") if self._bars else None
        return Film(self._bars, task)

    def end(self, film: Film | None, *, worked: bool) -> str:
        """A film is done; which of how many that is, "[3/12]". `worked`: it took time, which tells how long others take."""
        self._ended += 1
        self._worked += worked
        if self._bars and self._all is not None:
            if film and film.task is not None:
                self._bars.remove_task(film.task)
            seconds = (time.monotonic() - self._began) / max(self._worked, 1) * (self._total - self._ended)
            left = f"left {clock(seconds)}" if self._worked else ""
            self._bars.update(self._all, completed=self._ended, description=f"{self._ended} of {self._total} films", left=left)
        return f"[{self._ended}/{self._total}]"


class Film:
    """The bar of one film: the stage that began last, of those at work."""

    def __init__(self, bars: Bars | None, task: TaskID | None) -> None:
        self._bars, self.task = bars, task
        self._running: dict[str, Progress] = {}
        self._lock = threading.Lock()

    def show(self, progress: Progress) -> None:
        """Takes one event; called from any thread."""
        if self._bars is None or self.task is None:
            return
        name = _NAMES.get(progress.stage, progress.stage)
        with self._lock:
            if progress.done < progress.total:
                self._running[name] = progress
            elif self._running.pop(name, None) is None:
                return
            shown = next(reversed(self._running), None)
            if shown is not None:
                at = self._running[shown]
                self._bars.update(self.task, stage=shown[:19], completed=at.done, total=at.total)


def short(name: str, width: int) -> str:
    """A file's name in so many columns; the end tells it apart from others."""
    from rich.cells import cell_len, set_cell_size

    name = clean(name)
    while cell_len(name) > width and "/" in name:
        name = name.partition("/")[2]
    return name if cell_len(name) <= width else set_cell_size(name, width - 2) + ".."


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:03", "2:03"."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
