"""Many films: so many at once, with one set of loaded engines for all. A film that fails fails alone."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from polydub.dubbing import Ears, Job, check_file, check_together, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import BadSettings, Cancelled, PolydubError
from polydub.project import open_project
from polydub.store import Store
from polydub.types import Notice, Progress

if TYPE_CHECKING:
    from polydub.config import Loaded

PATIENCE_S = 1.2  # how long a batch that is stopped waits for its films; a second and a half of two are left for the rest
Status = Literal["done", "remembered", "failed", "open"]


class Made(Protocol):
    """What a film in one language left: a dub's Outcome, or what a stream left. called: calls of stages that were made."""

    @property
    def language(self) -> str: ...
    @property
    def notices(self) -> tuple[Notice, ...]: ...
    @property
    def called(self) -> int: ...


@dataclass(frozen=True)
class Task:
    """One film of a batch with its own settings. `place`: where it was asked for ("films.csv, row 3"), "" = by its name."""

    job: Job
    loaded: Loaded
    place: str = ""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return str(self.job.media)


@dataclass(frozen=True)
class Row:
    """What became of one film: `remembered` = nothing was left to do, `open` = the batch was stopped before it was done.

    Attributes: outcomes: one for each language, of films that are done. seconds: time taken; 0 where nothing was begun.
    """

    task: Task
    status: Status
    outcomes: tuple[Made, ...] = ()
    error: PolydubError | None = None
    seconds: float = 0.0


class Stopped(Cancelled):
    """The user stopped a batch. `rows`: every film, in order."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        left = sum(row.status == "open" for row in rows)
        done = sum(row.status in ("done", "remembered") for row in rows)
        super().__init__(
            f"stopped: {done} of {len(rows)} films are done, {left} still open",
            "run the same command again to continue: finished work is kept",
        )


Dubber = Callable[[Job, "Loaded", EnginePool, Ears], Sequence[Made]]


@dataclass(frozen=True)
class Batch:
    """What is to be done. jobs: films at once. threads: of all together; 0 = one for each core. dub: how one is made."""

    tasks: tuple[Task, ...]
    jobs: int = 1
    threads: int = 0
    dub: Dubber = dub_film


def run_batch(batch: Batch, pool: EnginePool, ears: Callable[[Task], Ears], told: Callable[[Row], None]) -> list[Row]:
    """Dubs all films and returns a row for each, in order.

    `ears` are asked for when a film begins; `told` hears of each film as it ends, in the calling thread. Threads are shared
    by the films that are at work. Films of one folder (one file twice) are dubbed one after the other.
    Raises: Stopped after KeyboardInterrupt, within two seconds. What is finished stays remembered.
    """
    work = _AtWork(batch, pool, ears)
    try:
        while work.goes_on():
            for row in work.finished(0.5):
                told(row)
    except KeyboardInterrupt:
        work.stop.set()
        for row in work.finished(PATIENCE_S, everything=True):
            if row.status != "open":
                told(row)
        raise Stopped(work.all_rows()) from None
    finally:
        work.close()
    return work.all_rows()


def checked(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """The tasks without those that say the same as an earlier one.

    Raises: BadSettings, naming the place, for settings that cannot be, and for two tasks that would write one film.
    """
    kept: list[Task] = []
    by_film: dict[tuple[Path, Path, str], Task] = {}
    for task in tasks:
        settings, media = task.loaded.settings, task.job.media
        with located(task.place):
            if not settings.to:
                raise BadSettings("nobody said which language to dub into", "say so with --to, for example --to es")
            check_together(settings)
        names = ["dub"] if settings.together else [f"dub.{target}" for target in settings.to]
        films = [(settings.output.absolute(), media.absolute(), f"{name}.{settings.format}") for name in names]
        earlier = next((by_film[film] for film in films if film in by_film), None)
        if earlier is None:
            by_film.update(dict.fromkeys(films, task))
            kept.append(task)
        elif (earlier.job, earlier.loaded.settings) != (task.job, settings):
            raise BadSettings(
                f"{earlier.place or earlier.name} and {task.place or task.name} would write the same film of {media}",
                "give one of them another language or another output",
            )
    return tuple(kept)


@contextmanager
def located(place: str) -> Generator[None]:
    """Puts the place that something was asked for at before the message of an error."""
    try:
        yield
    except PolydubError as error:
        if place:
            error.message = f"{place}: {error.message}"
        raise


@dataclass(frozen=True)
class _Film:
    """A film at work: its place in the batch, those that must wait for it, when it began, its share of the threads."""

    number: int
    after: deque[int]
    began: float
    threads: int


class _AtWork:
    """The films that are being dubbed, and those that wait for their turn."""

    def __init__(self, batch: Batch, pool: EnginePool, ears: Callable[[Task], Ears]) -> None:
        self._batch, self._pool, self._ears = batch, pool, ears
        self._threads = batch.threads or len(os.sched_getaffinity(0))
        self.stop = threading.Event()
        self._rows: dict[int, Row] = {}
        self._waiting = deque(_lanes(batch.tasks))
        self._at_work: dict[Future[Sequence[Made]], _Film] = {}
        self._workers = ThreadPoolExecutor(batch.jobs, "polydub-film")

    def goes_on(self) -> bool:
        """Begins as many films as may be at work; False when all are done."""
        while self._waiting and len(self._at_work) < self._batch.jobs:
            self._begin(self._waiting.popleft())
        return bool(self._at_work)

    def _begin(self, lane: deque[int]) -> None:
        """The first film of a lane, with its share of the threads that no film has."""
        number = lane.popleft()
        task = self._batch.tasks[number]
        others = min(self._batch.jobs - len(self._at_work), len(self._waiting) + 1)
        free = self._threads - sum(film.threads for film in self._at_work.values())
        threads = max(1, -(-free // others))
        settings = task.loaded.settings.model_copy(update={"threads": threads})
        loaded, ears = replace(task.loaded, settings=settings), self._stoppable(self._ears(task))
        future = self._workers.submit(self._batch.dub, task.job, loaded, self._pool, ears)
        self._at_work[future] = _Film(number, lane, time.monotonic(), threads)

    def _stoppable(self, ears: Ears) -> Ears:
        """Ears by which a film learns that the batch is stopped; its stages tell of their progress all the time."""

        def progress(progress: Progress) -> None:
            if self.stop.is_set():
                raise Cancelled("stopped", "run the same command again to continue: finished work is kept")
            ears.progress(progress)

        return replace(ears, progress=progress)

    def finished(self, timeout_s: float, *, everything: bool = False) -> list[Row]:
        """The films that end within this time: the first of them, or all. What waits for one of them may begin."""
        done, _ = wait(self._at_work, timeout_s, ALL_COMPLETED if everything else FIRST_COMPLETED)
        return [self._row(future) for future in sorted(done, key=lambda future: self._at_work[future].number)]

    def _row(self, future: Future[Sequence[Made]]) -> Row:
        film = self._at_work.pop(future)
        if film.after:
            self._waiting.appendleft(film.after)
        task, error, seconds = self._batch.tasks[film.number], future.exception(), time.monotonic() - film.began
        if isinstance(error, Cancelled):
            if not self.stop.is_set():  # a film that stops by itself was stopped by a person
                raise KeyboardInterrupt
            row = Row(task, "open", seconds=seconds)
        elif isinstance(error, Exception):
            row = Row(task, "failed", error=_told(error), seconds=seconds)
        else:
            outcomes = tuple(future.result())
            called = sum(outcome.called for outcome in outcomes)
            row = Row(task, "done" if called else "remembered", outcomes, seconds=seconds)
        self._rows[film.number] = row
        return row

    def all_rows(self) -> list[Row]:
        """A row for each film, in order."""
        return [self._rows.get(number) or Row(task, "open") for number, task in enumerate(self._batch.tasks)]

    def close(self) -> None:
        """Stops what is still at work, without waiting for it."""
        self.stop.set()
        self._workers.shutdown(wait=False, cancel_futures=True)


def _told(error: Exception) -> PolydubError:
    """What a film failed of as a sentence; a fault of ours is none of its neighbours'."""
    if isinstance(error, PolydubError):
        return error
    told = PolydubError(f"unexpected {type(error).__name__}: {error}", "run it again with --debug and report what it shows")
    told.__cause__ = error
    return told


def _lanes(tasks: Sequence[Task]) -> Iterator[deque[int]]:
    """Numbers of tasks that may be at work at once; those of one folder follow one another.

    Of several files of one name the first gets the folder of that name, whichever is done first.
    """
    alike: dict[tuple[Path, str], dict[Path, list[int]]] = {}
    for number, task in enumerate(tasks):
        media = task.job.media
        files = alike.setdefault((task.loaded.settings.output.absolute(), media.stem), {})
        files.setdefault(media.absolute(), []).append(number)
    lanes: dict[object, deque[int]] = {}
    for (output, stem), files in alike.items():
        for file, numbers in files.items():
            folder = _reserved(tasks[numbers[0]]) if len(files) > 1 else output / stem
            lanes.setdefault(folder or file, deque()).extend(numbers)
    return iter(sorted((deque(sorted(lane)) for lane in lanes.values()), key=lambda lane: lane[0]))


def _reserved(task: Task) -> Path | None:
    """The folder that a film gets among others of its name; None where it cannot be dubbed, which it will say itself."""
    settings = task.loaded.settings
    try:
        check_file(task.job.media)
        store = Store(settings.store or settings.output / ".polydub")
        try:
            with open_project(settings.output, task.job.media, store.adopt(task.job.media), lambda text: None) as project:
                return project.folder
        finally:
            store.close()
    except PolydubError:
        return None
