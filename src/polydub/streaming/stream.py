"""A stream from begin to end. Three threads: one listens to piece n + 1 while piece n is spoken and n - 1 is mixed."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from polydub import __version__, calls
from polydub.choosing import Chooser, Person, check_choices
from polydub.dubbing import Ears, Job, logged, wanted
from polydub.engines.base import Kind
from polydub.engines.registry import UNKNOWN
from polydub.errors import Cancelled, NoSpeech, PolydubError
from polydub.media.intake import Intake
from polydub.project import open_project
from polydub.runner import How, Run
from polydub.slowing import Footage
from polydub.speaking import Said
from polydub.stages import translate
from polydub.streaming import sources, whole, work
from polydub.streaming.carry import Heard, Spoken
from polydub.streaming.levels import Level
from polydub.streaming.outcome import Streamed
from polydub.streaming.pieces import Cutter, Piece
from polydub.streaming.report import Account
from polydub.streaming.segments import Done, Manifest, Reel, packets_of
from polydub.streaming.sources import Film, Stores
from polydub.types import Artifact, Notice, Progress, Voice, seconds
from polydub.wants import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polydub.config import Loaded
    from polydub.engines.pool import EnginePool

AHEAD = 2  # pieces that wait between two threads
_TICK_S = 0.2
_SILENT = "silent-source"  # told of the stream when it is true of all pieces
# settings that do not change what is made
_PLACES = {"output", "store", "threads", "jobs", "models", "environments", "download", "offline", "strict", "idle_s", "stream"}


class _PieceRun(Run):
    """The run of one piece: the next one needs the same engines again."""

    def release(self, kind: Kind) -> None:
        """Engines stay loaded."""


class _Choose:
    """One chooser for all pieces, which work side by side."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser, self._lock = chooser, threading.Lock()

    def __call__(self, run: Run, wants: Mapping[Kind, str]) -> None:
        """As `Choose`."""
        with self._lock:
            self._chooser(run, wants)

    def listener(self, run: Run, language: str) -> None:
        """As `Choose`."""
        with self._lock:
            self._chooser.listener(run, language)


@dataclass(frozen=True)
class _Item:
    """A piece on its way."""

    task: work.Task
    film: Footage
    heard: Heard
    said: work.Performance | None = None
    voices: Mapping[str, Voice] = field(default_factory=dict[str, Voice])

    @property
    def run(self) -> Run:
        return self.task.run

    @property
    def piece(self) -> Piece:
        return self.task.piece

    @property
    def want(self) -> Wanted:
        return self.task.want


def stream(job: Job, loaded: Loaded, pool: EnginePool, ears: Ears) -> Streamed:
    """Dubs one film piece by piece. Raises: PolydubError."""
    settings = loaded.settings
    sources.check_wishes(settings)
    check_choices(settings)
    sources.check(job.media)
    name = Path("stdin") if job.media == sources.STDIN else job.media
    with ExitStack() as stack:
        identity = Artifact(calls.digest([str(name.absolute())]), name.suffix, 0)
        project = stack.enter_context(open_project(settings.output, name, identity, ears.say))
        if job.media == sources.STDIN:
            stack.callback(_tidied, project.folder)
        stack.enter_context(logged(project.folder))
        place = project.folder / ".polydub-stream"
        place.mkdir(exist_ok=True)
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        film = sources.opened(job.media, settings.audio_track, place)
        kept = None if film.media is None else settings.store or settings.output / ".polydub"
        stores = Stores(kept, place, ears.store)
        stack.callback(stores.close)
        if ears.reconsider:
            project.engines(settings.to[0]).clear()
        chooser = Chooser(loaded, project.engines(settings.to[0]), Person(cache(ears.ask), ears.progress))
        made = _Stream(_Order(job, loaded, pool, _Choose(chooser)), film, stores, place).run(ears)
        project.save()
        return made


def _tidied(folder: Path) -> None:
    """Removes the folder of a film that came through a pipe where nothing was made of it: no later run knows it again."""
    if {path.name for path in folder.iterdir()} <= {"project.json", ".lock"}:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Order:
    """What was asked for, and who does it."""

    job: Job
    loaded: Loaded
    pool: EnginePool
    choose: _Choose


class _Stream:
    """One stream in the making."""

    def __init__(self, order: _Order, film: Film, stores: Stores, place: Path) -> None:
        job, loaded = order.job, order.loaded
        self._job, self._loaded, self._pool, self._choose = job, loaded, order.pool, order.choose
        self._film, self._stores, self._place = film, stores, place
        self._target = loaded.settings.to[0]
        self._stop, self._called, self._texts = threading.Event(), 0, work.Given(None)
        self._first_made = threading.Event()
        self._first_made.set()
        self._runs: set[Run] = set()
        self._heard: queue.Queue[_Item | None] = queue.Queue(AHEAD)
        self._said: queue.Queue[_Item | None] = queue.Queue(AHEAD)
        self._level, self._whole = Level(), whole.Whole()
        self._steps: list[Future[None]] = []
        folder = place.parent / "stream"
        folder.mkdir(exist_ok=True)
        told = {k: v for k, v in loaded.settings.model_dump(mode="json").items() if k not in _PLACES}
        key = calls.digest([film.key, told, str(job.transcript), {k: str(v) for k, v in job.translations.items()}, __version__])
        source = "-" if film.media is None else film.media.name
        manifest = Manifest(key if film.key else "", source, self._target)
        self._reel = Reel(folder, manifest, loaded.settings.chunk_seconds, film)
        self._reel.note(film.notices)
        self._account = Account(folder, self._target, film)
        self._result: Path | None = None
        self._silent: list[Notice] | None = None

    def run(self, ears: Ears) -> Streamed:
        """Does it. Raises what stopped it, when everything that was finished can be played."""
        parts = self._place / "picture"
        parts.mkdir()
        interrupted = True
        with Intake(self._film.source, self._film.track, self._film.layout, parts, self._film.came) as intake:
            cutter, threads = self._cutter(intake), ThreadPoolExecutor(3, "polydub-stream")
            for begin in (lambda: self._listen(cutter), self._speak, lambda: self._mix(intake)):
                self._steps.append(threads.submit(copy_context().run, begin))  # each looks at the one before it
            try:
                while not wait(self._steps[-1:], _TICK_S).done:
                    ears.progress(self._progress())
                interrupted = False
            finally:
                self._end(intake, threads)
                self._reel.close(*self._state(interrupted=interrupted))
                self._account.close(self._reel.manifest)
        self._steps[-1].result()
        return self._streamed()

    def _end(self, intake: Intake, threads: ThreadPoolExecutor) -> None:
        """Ends what still works, at once."""
        self._stop.set()
        if not all(step.done() for step in self._steps):
            for run in list(self._runs):
                run.cancel()
            intake.__exit__(None, None, None)
        threads.shutdown(wait=True)
        for run in list(self._runs):
            run.__exit__(Cancelled, None, None)

    def _state(self, *, interrupted: bool) -> tuple[str, PolydubError | None]:
        """How it ended."""
        error = self._steps[-1].exception()
        if interrupted or isinstance(error, Cancelled):
            return "stopped", None
        return ("failed" if error else "finished"), error if isinstance(error, PolydubError) else None

    def _progress(self) -> Progress:
        done = round(self._reel.manifest.duration)
        total = round(self._film.samples / 48_000) if self._film.samples else done + 1
        return Progress("stream", done, max(total, 1))

    def _streamed(self) -> Streamed:
        manifest, folder = self._reel.manifest, self._reel.folder
        counts = len(manifest.pieces), len(manifest.segments)
        files = folder / "index.m3u8", folder / "manifest.json", self._result
        notices = tuple(manifest.notices)
        return Streamed(self._target, *files, *counts, manifest.duration, notices, self._called, self._account.path)

    def _cutter(self, intake: Intake) -> Cutter:
        settings = self._loaded.settings
        with self._new_run(0) as run:
            given = self._read(run)
            self._runs.discard(run)
            self._reel.note(run.notices)
        self._texts = work.Given(given if given.script.segments else None)
        self._language = given.script.language
        return Cutter(
            intake, self._film.samples, (settings.chunk_seconds, settings.overlap_seconds), work.spans(self._texts.read)
        )

    def _read(self, run: Run) -> translate.Given:
        """The texts that were given or lie in the film. Raises: BadInput."""
        want, film = self._want(run), self._film
        source = film.source
        own = want.texts.transcript is None and film.samples is not None and any(t.text for t in source.of("subtitle"))
        if own and film.media:
            source = replace(source, media=run.adopt(film.media))
        else:
            source = replace(source, duration=source.duration if film.samples else 1e6)
            want = replace(want, texts=replace(want.texts, own_tracks=False))
        read = run.step(translate.read_script, source, want.texts, want.source_language, want.target)
        if film.samples is None and read.script.segments and not read.timed:
            from polydub.errors import BadInput

            raise BadInput("the texts have no times, and nobody knows how long the film is", "give subtitles with times")
        return translate.in_language_of(read, film.track)

    def _new_run(self, piece: int) -> Run:
        settings = self._loaded.settings
        run = _PieceRun(self._stores.of(piece), self._place.parent, How(settings.threads, settings.strict), self._pool)
        self._runs.add(run)
        if self._stop.is_set():
            run.cancel()
        return run

    def _want(self, run: Run) -> Wanted:
        job = replace(self._job, media=self._film.media or Path("stdin"))
        return wanted(self._target, job, self._loaded, run.store)

    # the three threads

    def _listen(self, cutter: Cutter) -> None:
        try:
            before = Heard(self._language)
            for number in count():
                self._let_first_pass()
                run = self._new_run(number)
                self._choose(run, {"vad": UNKNOWN})
                piece = cutter.next(run, self._place)
                if piece is None or self._stop.is_set():
                    break
                task = work.Task(piece, self._texts, run, self._want(run), self._choose)
                film, before = work.heard(task, before)
                self._put(self._heard, _Item(task, film, before))
                if piece.last:
                    break
        finally:
            self._put(self._heard, None)

    def _speak(self) -> None:
        try:
            before, store = Spoken(), None
            for item in self._coming(self._heard, self._steps[0]):
                self._let_first_pass()
                sources.brought(before, item.run.store, store)
                store = item.run.store
                said, before = work.spoken(item.task, item.film, before)
                names = {name: voice.label or voice.name for name, voice in before.voices.items()}
                self._reel.manifest.speakers.update(names)
                if item.piece.number == 0:
                    self._first_made.clear()
                self._put(self._said, replace(item, said=said, voices=before.voices))
        finally:
            self._put(self._said, None)

    def _mix(self, intake: Intake) -> None:
        last: _Item | None = None
        for item in self._coming(self._said, self._steps[1]):
            if last:
                self._done(last)
            self._finish(item, intake)
            self._first_made.set()
            last = item
        if last is None:
            raise NoSpeech("there is no sound in this film", "give a film with sound")
        self._close_film(last)
        self._done(last)

    def _let_first_pass(self) -> None:
        """Begins nothing while the first piece is mixed and written: somebody waits to see it."""
        while not self._first_made.wait(_TICK_S) and not self._stop.is_set():
            pass

    def _put(self, to: queue.Queue[_Item | None], item: _Item | None) -> None:
        while True:
            try:
                return to.put(item, timeout=_TICK_S)
            except queue.Full:
                if self._stop.is_set():
                    return None

    def _coming(self, where: queue.Queue[_Item | None], made_by: Future[None]) -> Iterator[_Item]:
        """What comes, in order. Raises what ended it."""
        while True:
            try:
                item = where.get(timeout=_TICK_S)
            except queue.Empty:
                if self._stop.is_set():
                    raise Cancelled("stopped", "run the same command again to continue: finished work is kept") from None
                continue
            if item is None:
                made_by.result()
                return
            yield item

    def _finish(self, item: _Item, intake: Intake) -> None:
        """Mixes a piece and makes the segments that are complete with it."""
        assert item.said is not None  # noqa: S101 - what the other thread adds
        sound, self._level = work.sounding(item.task, item.said, self._level)
        if item.piece.last:
            self._reel.note(intake.drain(self._film.samples))
        manifest = self._reel.manifest
        made = self._level.made.lufs
        manifest.loudness_lufs = round(made, 2) if made > -70 else None
        manifest.spoken = item.heard.language
        silent = [notice for notice in item.run.notices if notice.code == _SILENT]
        self._reel.note([notice for notice in item.run.notices if notice not in silent])
        self._silent = silent if self._silent is None else self._silent and silent
        self._account.add(item.task, item.said, item.voices)
        cues = _cues(item.said.said, item.piece)
        self._reel.add(item.run, Done(item.piece, packets_of(item.run, sound.aac), cues), list(intake.parts()))
        if self._loaded.settings.stream == "final" and self._film.media is not None:
            self._whole.add(item.piece, item.said, sound.aac, item.heard.language)

    def _done(self, item: _Item) -> None:
        """Lets a piece go."""
        self._called += sum(c.ran for c in item.run.counts.values())
        self._runs.discard(item.run)
        item.run.__exit__(None, None, None)
        item.piece.sound.unlink(missing_ok=True)
        self._stores.done(item.piece.number - AHEAD)

    def _close_film(self, last: _Item) -> None:
        """What is done when all pieces are: the whole film, and a word about its loudness."""
        self._reel.note([*(self._silent or ()), *self._level.missed(last.want.mixing)])
        if self._loaded.settings.stream == "final":
            made = whole.start_film(last.task, last.film, self._whole, self._reel, self._film.media)
            self._result = made.result()
            self._reel.manifest.film = self._result.name


def _cues(said: Said, piece: Piece) -> list[tuple[float, float, str]]:
    """Subtitles of what is said, on the film's clock."""
    texts = {phrase.id: phrase.text for phrase in said.phrases}
    rows = [(p.start + piece.at, p.start + p.duration + piece.at, texts[p.id]) for p in said.placed if p.id in texts]
    return sorted((seconds(start), seconds(end), text) for start, end, text in rows)
