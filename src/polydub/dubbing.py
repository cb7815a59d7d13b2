"""One film, all its languages: finds the project, chooses engines, runs the pipeline, writes the small files and the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from polydub import lipsyncing, listening, performed, request
from polydub.casting import check_voices, matches
from polydub.choosing import NONE, Chooser, Person, check_choices
from polydub.duty import Duty
from polydub.engines.base import Kind
from polydub.engines.pool import EnginePool
from polydub.errors import BadSettings, NoSpeech, PolydubError
from polydub.pipeline import Result, dub, language_pair, same_language, start_film, untranslated
from polydub.project import Project, open_folder, open_project
from polydub.request import Job, check_file, language_of_name, wanted
from polydub.runner import How, Run
from polydub.stages import listen, translate
from polydub.store import Store
from polydub.types import Notice, Progress
from polydub.wants import Wanted

if TYPE_CHECKING:
    from polydub.config import Loaded, Settings
    from polydub.edits import Version
    from polydub.remembering import Memory
    from polydub.report.model import Report

log = logging.getLogger(__name__)
__all__ = ["Ears", "Job", "Outcome", "Plan", "check_file", "check_together", "dub_film", "language_of_name", "plan", "wanted"]


@dataclass(frozen=True)
class Outcome:
    """What one film's dub into one language left. `facts`: what the report tells. `takes`: new ones of edited lines."""

    language: str
    film: Path
    report: Path
    facts: Report
    notices: tuple[Notice, ...]
    called: int
    takes: tuple[Version, ...] = ()


@dataclass(frozen=True)
class Ears:
    """Who hears of the work, and how it is done.

    Attributes: progress: of stages. say: single lines such as waiting for another process. ask: a yes or no question,
    False where nobody can answer. reconsider: `auto` chooses engines anew. debug: a file for each line is kept in
    `debug/segments`. store: opens the store of a folder. duty: which calls are made here, None = all.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    say: Callable[[str], None] = lambda text: None
    ask: Callable[[str], bool] = lambda question: False
    reconsider: bool = False
    debug: bool = False
    store: Callable[[Path], Store] = Store
    duty: Duty | None = None


def dub_film(job: Job, loaded: Loaded, pool: EnginePool, ears: Ears, folder: Path | None = None) -> list[Outcome]:
    """Dubs one film into every wanted language, one after the other; into the project `folder`, if that is told.

    Raises: PolydubError; HandedOver as `ears.duty` says. What is finished stays remembered, so that the same call continues.
    """
    settings = loaded.settings
    if not settings.to:
        raise BadSettings("nobody said which language to dub into", "say so with --to, for example --to es")
    check_choices(settings, accelerated=ears.duty is not None and ears.duty.accelerated)
    check_together(settings)
    check_file(job.media)
    with ExitStack() as stack:
        store = ears.store(settings.store or settings.output / ".polydub")
        stack.callback(store.close)
        content = store.adopt(job.media)
        if folder is None:
            project = stack.enter_context(open_project(settings.output, job.media, content, ears.say))
        else:
            project = stack.enter_context(open_folder(folder, job.media, content, ears.say))
        stack.enter_context(logged(project.folder))
        place = _Place(store, project, pool, replace(ears, ask=cache(ears.ask)), loaded)  # no question is asked twice
        try:
            if settings.together:
                return _together(job, loaded, place, stack)
            outcomes: dict[str, Outcome] = {}
            for target in _order(place):
                with ExitStack() as own:
                    outcomes[target] = _finished(_begun(target, job, loaded, place, own), job, place)
            return [outcomes[target] for target in settings.to]
        except PolydubError as error:
            log.error("%s in %s, line %s: %s", error.code, error.stage or "-", error.line or "-", error.message)
            raise


@dataclass(frozen=True)
class _Place:
    store: Store
    project: Project
    pool: EnginePool
    ears: Ears
    loaded: Loaded


@dataclass(frozen=True)
class _Begun:
    """A dub whose report has not been written yet."""

    started: datetime
    run: Run
    want: Wanted
    result: Result
    memory: Memory | None = None


def _together(job: Job, loaded: Loaded, place: _Place, stack: ExitStack) -> list[Outcome]:
    """All languages in one film, which is made when the last one is done."""
    begun = {target: _begun(target, job, loaded, place, stack) for target in _order(place)}
    dubs = [begun[target] for target in loaded.settings.to]
    last = dubs[-1]
    film = start_film(last.run, [dub.result for dub in dubs], last.want).result()
    return [_finished(replace(dub, result=replace(dub.result, film=film)), job, place) for dub in dubs]


def _order(place: _Place) -> Sequence[str]:
    targets = place.loaded.settings.to
    return place.ears.duty.order(targets) if place.ears.duty else targets


def _begun(target: str, job: Job, loaded: Loaded, place: _Place, stack: ExitStack) -> _Begun:
    settings, project, started = loaded.settings, place.project, datetime.now(UTC)
    log.info("dubbing into %s", target)
    duty = place.ears.duty and place.ears.duty.of(target)
    run = Run(place.store, project.folder, How(settings.threads, settings.strict, place.ears.progress, duty), place.pool)
    stack.enter_context(run)
    run.state = project.state(target)
    performed.begun(run, project.folder, target)
    if place.ears.reconsider:
        project.engines(target).clear()
        run.state.pop("cast", None)
    want = wanted(target, job, loaded, place.store, performed.voices(run))
    choose = Chooser(loaded, project.engines(target), Person(place.ears.ask, place.ears.progress))
    memory = _memory(project, loaded) if want.voicing.characters else None
    made = dub(run, job.media, want, choose, memory)
    if duty:
        duty.finish()
    return _Begun(started, run, want, made, memory)


def _memory(project: Project, loaded: Loaded) -> Memory:
    from polydub.remembering import Memory

    return Memory(loaded, project.folder.name, project.memory["source"]["sha256"])


def _finished(begun: _Begun, job: Job, place: _Place) -> Outcome:
    """Writes the small files; from now on the next run knows of this one."""
    from polydub.report.files import Wrapping, write_files

    run, result, target = begun.run, begun.result, begun.want.target
    if run.duty:
        run.duty.sum_up(run.counts)
    assert result.film is not None  # noqa: S101 - made by whoever calls
    if begun.memory:
        begun.memory.remember(run, result.cast, begun.want)
    report, facts = write_files(run, result, begun.want, Wrapping(job.media, begun.started, place.ears.debug))
    takes = performed.finished(run, result)
    place.project.requests[target] = request.remembered(job, place.loaded)
    place.project.save()
    place.project.save_state(target, run.finish())
    _log_run(run)
    called = sum(c.ran for c in run.counts.values())
    return Outcome(target, result.film, report, facts, run.notices, called, takes)


def _log_run(run: Run) -> None:
    """What was done, for `job.log`; nothing that is said in the film."""
    for tool in run.tools.values():
        log.info("%s", tool.reason)
    for name, count in run.counts.items():
        log.info("%s: %d made, %d remembered, %.2f s", name, count.ran, count.remembered, count.seconds)
    for notice in run.notices:
        level = logging.WARNING if notice.severity == "warning" else logging.INFO
        log.log(level, "%s, line %s", notice.code, notice.line or "-")


def check_together(settings: Settings) -> None:
    """Raises BadSettings for what one film of several languages cannot have: a picture that belongs to one of them."""
    if settings.together and len(settings.to) > 1:
        if settings.stretch_video:
            raise BadSettings("a picture that is slowed down for one language fits no other", "leave --together out")
        if settings.burn_in in ("target", "both"):
            raise BadSettings(
                "subtitles of one language in the picture do not suit a film of several",
                "use --burn-in source, or no --together",
            )
        if settings.lip_sync != NONE:
            raise BadSettings("lips that move to one language fit no other", "leave --together or --lip-sync out")


_LOGGED: ContextVar[Path | None] = ContextVar("logged", default=None)  # of the film that a thread works for


class logged:
    """While entered, log records also go to `job.log` of the project folder: 1 MB, three older files kept.

    Of several films at once each log has its own film's records, and those of threads that no film started.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "job.log"
        self._handler: logging.Handler | None = None

    def __enter__(self) -> None:
        from logging.handlers import RotatingFileHandler

        self._handler = RotatingFileHandler(self._path, maxBytes=1_000_000, backupCount=3, encoding="utf-8", delay=True)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._handler.addFilter(lambda record: _LOGGED.get() in (None, self._path))
        self._token = _LOGGED.set(self._path)
        logging.getLogger("polydub").addHandler(self._handler)

    def __exit__(self, *exception: object) -> None:
        if self._handler:
            logging.getLogger("polydub").removeHandler(self._handler)
            _LOGGED.reset(self._token)
            self._handler.close()


@dataclass(frozen=True)
class Plan:
    """What a dub would do: nothing is written to the output folder to find out. `lines` is None when they will be heard."""

    media: Path
    target: str
    folder: Path
    film: Path
    duration: float
    lines: int | None
    to_translate: int
    speakers: tuple[str, ...]
    engines: Mapping[str, str]
    notices: tuple[Notice, ...]


def plan(job: Job, loaded: Loaded, scratch: Path) -> list[Plan]:
    """Plans one film, one plan for each target; the store lies in `scratch`. Raises what the dub itself would raise at once."""
    settings = loaded.settings
    if not settings.to:
        raise BadSettings("nobody said which language to dub into", "say so with --to, for example --to es")
    check_file(job.media)
    store = Store(scratch / "store")
    try:
        return [_plan(target, job, loaded, store) for target in settings.to]
    finally:
        store.close()


def _plan(target: str, job: Job, loaded: Loaded, store: Store) -> Plan:
    settings = loaded.settings
    folder = settings.output / job.media.stem
    with Run(store, store.folder) as run:
        want = wanted(target, job, loaded, store)
        source = run.step(listen.probe, run.adopt(job.media))
        track = listen.audio_track(source, want.audio_track)
        read = run.step(translate.read_script, source, want.texts, want.source_language, target)
        read = translate.in_language_of(read, track)
        speech = [s for s in read.script.segments if s.kind == "speech"]
        if speech and not any(read.texts.get(s.id, s.text).strip() for s in speech):
            raise NoSpeech("there is nothing to say: no line has a text", "give --transcript or --translation with text in it")
        choose = Chooser(replace(loaded, settings=settings.model_copy(update={"download": "no"})), {})
        lipsyncing.ready(run, want, choose)
        choose(run, {"tts": target})
        check_voices(run, want)
        needed: dict[Kind, str] = listening.kinds(read, want, matching=matches(run, want))
        missing = untranslated(read)
        spoken = read.script.language
        if (missing or (not speech and spoken != "und")) and not same_language(read, want):
            needed["mt"] = language_pair(read, want)
        choose(run, needed)
        engines = {kind: tool.reason for kind, tool in run.tools.items()}
        name = "dub" if settings.together else f"dub.{target}"
        return Plan(job.media, target, folder, folder / f"{name}.{settings.format}", source.duration,
                    len(speech) if speech else None, len(missing), tuple(s.id for s in read.script.speakers),
                    engines, run.notices)  # fmt: skip
