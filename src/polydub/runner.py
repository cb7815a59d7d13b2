"""The memo runner: `run.step(f, x)` reads as `f(x)`, is done once and remembered.

The key of a call is the hash of the stage's name and version, the identity of its engine and the arguments; files
enter by content. `map` does the same item by item, `start` is `step` without waiting. An engine is opened on the
first call that is not remembered. Stages run in threads (their heavy parts leave the interpreter lock), as many as
their resource allows; nothing here knows what a stage does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic_core import ValidationError, to_jsonable_python

from polydub import calls
from polydub.calls import NOTICES, Call, Count, Previous
from polydub.duty import Duty, HandedOver
from polydub.engines.base import Kind
from polydub.engines.pool import EnginePool, Tool
from polydub.errors import Cancelled, EngineFailed, PolydubError, StrictNotice
from polydub.store import Remembered, Store, writing
from polydub.types import Artifact, Notice, Progress
from polydub.work import P, R, Stage, Work

T = TypeVar("T")
COMMIT_S = 0.2  # finished items are written to the memo at least this often


class Handle(Generic[R]):
    """A result that is being made; later steps accept it as an argument."""

    def __init__(self, future: Future[R]) -> None:
        self._future = future

    def result(self) -> R:
        """Wait for it. Raises what the stage raised."""
        while True:
            done, _ = wait([self._future], timeout=0.5)  # short waits let Ctrl-C through
            if done:
                return self._future.result()


@dataclass(frozen=True)
class How:
    """How a run behaves. jobs: threads, 0 = one per core. strict: warnings become errors. sink: receives Progress.

    duty: which calls are made here, None = all.
    """

    jobs: int = 0
    strict: bool = False
    sink: Callable[[Progress], None] = lambda progress: None
    duty: Duty | None = None


class Run:
    """One dub in the making: its store, engines, edits, counts and notices.

    Args:
        store: where results are remembered.
        project: the project folder (edits, state, deliveries).
        how: threads, strictness, progress.
        pool: loaded engines, shared between runs; its owner closes it.

    Attributes: tools: the engine chosen for each kind, filled before a stage needs it. book: what a person has set
    (`edits.Edits`), which `overlay` lays over. state: what `finish` of the last run returned.
    """

    def __init__(self, store: Store, project: Path, how: How | None = None, pool: EnginePool | None = None) -> None:
        how = how or How()
        self.store, self.project, self.sink, self.strict, self.duty = store, project, how.sink, how.strict, how.duty
        self.jobs = how.jobs or len(os.sched_getaffinity(0))
        self.tools: dict[Kind, Tool] = {}
        self.counts: dict[str, Count] = {}
        self.book: Any = None
        self.state: dict[str, Any] = {}
        self._new_state: dict[str, Any] = {}
        self._pool = pool or EnginePool()
        self._owns_pool = pool is None
        known = (copy_context(),)  # of the thread that makes it: which film it works for
        self._threads = ThreadPoolExecutor(self.jobs, "polydub-work", calls.know, known)
        self._steps = ThreadPoolExecutor(64, "polydub-step", calls.know, known)  # these only wait
        self._stop = threading.Event()
        self._notices: list[tuple[int, tuple[Notice, ...]]] = []
        self._calls = 0
        self._lock = threading.Lock()

    # lifetime

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not HandedOver:  # then what is under way is finished: the next worker need not begin it anew
            self.cancel()
        patient = kind is not KeyboardInterrupt  # an engine that hangs must not keep a user who wants to stop
        self._steps.shutdown(wait=patient, cancel_futures=kind is not HandedOver)
        self._threads.shutdown(wait=patient, cancel_futures=True)
        if self.duty:
            self.duty.keep(self.counts)
        if self._owns_pool:
            self._pool.close()

    def cancel(self) -> None:
        """Stop as soon as possible; what is finished stays remembered."""
        self._stop.set()

    def check(self) -> None:
        """Raises Cancelled after `cancel`."""
        if self._stop.is_set():
            raise Cancelled("stopped", "run the same command again to continue: finished work is kept")

    @property
    def notices(self) -> tuple[Notice, ...]:
        """All notices so far, in the order of the calls, each once."""
        ordered = [notice for _, notices in sorted(self._notices, key=lambda pair: pair[0]) for notice in notices]
        return tuple(dict.fromkeys(ordered))

    def note(self, *notices: Notice) -> None:
        """Add notices that belong to no stage. Raises StrictNotice under --strict."""
        self._take_notices(self._number(), notices)

    # the user's files

    def adopt(self, file: Path) -> Artifact:
        """A file of the user's as an argument: known by content, left where it is."""
        return self.store.adopt(file)

    def previous(self, name: str) -> Any:
        """What the step that gets this argument returned in the last finished run with other arguments, else None."""
        return Previous(name)

    # steps

    def step(self, stage: Stage[P, R], *args: Any) -> R:
        """`stage(*args)`, remembered. Arguments may be handles."""
        return self.start(stage, *args).result()

    def start(self, stage: Stage[P, R], *args: Any) -> Handle[R]:
        """As `step`, without waiting."""
        number = self._number(stage)
        return Handle(self._steps.submit(lambda: self._one(number, stage, args)))

    def map(
        self, stage: Stage[P, R], items: Sequence[Any] | Handle[Any], *args: Any, lines: Sequence[str] = ()
    ) -> tuple[R, ...]:
        """`stage(item, *args)` for each item, remembered one by one, in order. `lines`: ids of the items, for errors."""
        return tuple(self._flow(self._number(stage), stage, [(item, *args) for item in _resolve(items)], lines))

    def flow(self, stage: Stage[P, R], items: Sequence[Any], *args: Any) -> Iterator[R]:
        """As `map`, yielding each result in order as soon as it is there."""
        return self._flow(self._number(stage), stage, [(item, *args) for item in items])

    def start_map(self, stage: Stage[P, R], items: Sequence[Any], *args: Any) -> Handle[tuple[R, ...]]:
        """As `map`, without waiting."""
        number = self._number(stage)
        return Handle(self._steps.submit(lambda: tuple(self._flow(number, stage, [(item, *args) for item in items]))))

    def deliver(self, stage: Stage[P, str], target: Path, *args: Any) -> Handle[Path]:
        """A step whose result is one file, named by the stage in its scratch folder, which goes to `target` and nowhere else.

        It is made again when the arguments changed or the file at `target` is gone or was touched. Does not wait.
        """
        number = self._number(stage)
        return Handle(self._steps.submit(lambda: self._deliver(number, stage, target, args)))

    def record(self, name: str, value: Any) -> None:
        """What the next run shall get as `previous(name)` instead of the step's own result."""
        self._new_state[name]["value"] = to_jsonable_python(value)

    def release(self, kind: Kind) -> None:
        """This run will not call the engine of `kind` again."""
        if kind in self.tools:
            self._pool.release(self.tools[kind])
            if self.duty:
                self.duty.release(self.tools[kind])

    def finish(self) -> dict[str, Any]:
        """What the next run may ask for with `previous`; to be written when the whole run has succeeded."""
        return {**self.state, **self._new_state}

    # inside

    def _number(self, stage: Stage[..., Any] | None = None) -> int:
        with self._lock:
            self._calls += 1
            if stage:
                self.counts.setdefault(stage.name, Count())  # here, so that their order is that of the source
            return self._calls

    def _add(self, stage: Stage[..., Any], *, seconds: float = 0.0, ran: int = 0, remembered: int = 0) -> None:
        with self._lock:
            count = self.counts[stage.name]
            count.seconds += seconds
            count.ran += ran
            count.remembered += remembered

    def _take_notices(self, number: int, notices: Sequence[Notice]) -> None:
        with self._lock:
            self._notices.append((number, tuple(notices)))
        worrying = [notice for notice in notices if notice.severity == "warning"]
        if self.strict and worrying:
            raise StrictNotice(worrying[0].text, "mend it, or run without --strict")

    def _call(self, stage: Stage[..., Any], args: Sequence[Any]) -> Call:
        """Resolves handles and Previous, and computes the key."""
        values = [_resolve(arg) for arg in args]
        identity = dict(self.tools[stage.engine].identity) if stage.engine else None
        inputs = [stage.name, stage.version, identity, [None if isinstance(v, Previous) else v for v in values]]
        key = digest = calls.digest(inputs)
        for at, value in enumerate(values):
            if isinstance(value, Previous):
                last = self.state.get(value.name, {})
                used = last.get("previous") if last.get("inputs") == digest else last.get("value")
                values[at] = None if used is None else calls.told(stage, used)
                used = None if values[at] is None else used
                self._new_state[value.name] = {"inputs": digest, "previous": used}
                key = calls.digest([key, used])
                return Call(stage, key, tuple(values), value.name)
        return Call(stage, key, tuple(values), None)

    def _one(self, number: int, stage: Stage[..., Any], args: Sequence[Any]) -> Any:
        (result,) = self._flow(number, stage, [args])
        return result

    def _flow(
        self, number: int, stage: Stage[..., Any], items: Sequence[Sequence[Any]], lines: Sequence[str] = ()
    ) -> Iterator[Any]:
        """The results in order of the items, each as soon as it and all before it are there."""
        began = time.monotonic()
        made = [self._call(stage, args) for args in items]
        names = dict(zip((call.key for call in made), lines, strict=False))
        results: dict[str, Any] = {}
        notices: dict[str, tuple[Notice, ...]] = {}
        rows = self.store.look_up([call.key for call in made])
        for key, row in rows.items():
            with suppress(ValidationError):  # a damaged row is made anew
                result = stage.returns.validate_json(row.output)
                if all(map(self.store.has, calls.artifacts(result))):
                    notices[key] = NOTICES.validate_json(row.notices)
                    results[key] = result
        self.store.forget([key for key in rows if key not in results])
        missing = {call.key: call for call in made if call.key not in results}
        self._add(stage, remembered=len(made) - len(missing))
        self.sink(Progress(stage.name, len(made) - len(missing), len(made), len(results)))
        given = 0
        todo, keys = [replace(c, line=names.get(k)) for k, c in missing.items()], [call.key for call in made]
        for key, result, told in self._make(stage, todo, keys):
            results[key], notices[key] = result, told
            while given < len(made) and made[given].key in results:
                yield results[made[given].key]
                given += 1
        self._add(stage, seconds=time.monotonic() - began)
        self._take_notices(number, [notice for call in made for notice in notices[call.key]])
        for call in made:
            if call.remembers:
                self._new_state[call.remembers]["value"] = to_jsonable_python(results[call.key])
        for call in made[given:]:
            yield results[call.key]

    def _deliver(self, number: int, stage: Stage[..., str], target: Path, args: Sequence[Any]) -> Path:
        began = time.monotonic()
        call = self._call(stage, args)
        row = self.store.look_up([call.key]).get(call.key)
        remembered = row is not None and self.store.delivered(target) == call.key
        if row and remembered:
            notices = NOTICES.validate_json(row.notices)
        else:
            self._begin(stage, (call.key,))
            self.sink(Progress(stage.name, 0, 100))
            with writing(target.parent):
                target.parent.mkdir(parents=True, exist_ok=True)
            with self.store.scratch(near=target.parent) as scratch:
                name, notices = self._run_stage(call, scratch)
                self.store.deliver(scratch / name, target, call.key)
            self.store.forget([call.key])
            self.store.remember([Remembered(call.key, stage.name, "null", NOTICES.dump_json(notices).decode())])
        self.sink(Progress(stage.name, 100, 100, 100 * remembered))
        self._add(stage, seconds=time.monotonic() - began, ran=not remembered, remembered=remembered)
        self._take_notices(number, notices)
        return target

    def _make(self, stage: Stage[..., Any], missing: list[Call],
              keys: Sequence[str]) -> Iterator[tuple[str, Any, tuple[Notice, ...]]]:  # fmt: skip
        """Runs the calls of a map that are not remembered, yields their results and remembers them in small groups. Raises:
        HandedOver, when all that is under way is done, for those that are another worker's; nothing is yielded then."""
        self._begin(stage, keys if missing else ())
        total, done = len(keys), (known := len(keys) - len(missing))
        mine, over = self.duty.mine(missing, keys) if self.duty else (missing, None)
        waiting = {self._threads.submit(self._once, call, alone=total == 1): call for call in mine}
        rows: list[Remembered] = []
        began = committed = time.monotonic()
        try:
            while waiting:
                finished, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                self.check()
                for future in finished:
                    result, notices = future.result()
                    rows.append(calls.row(waiting.pop(future), result, notices))
                    self._add(stage, ran=1)
                    if not over:  # as the next run will read it: 40 for a float field would give steps another key than 40.0
                        yield rows[-1].key, stage.returns.validate_json(rows[-1].output), notices
                done += len(finished)
                self.sink(Progress(stage.name, done, total, known))
                if rows and (not waiting or time.monotonic() - committed > COMMIT_S):
                    self.store.remember(rows)
                    rows, committed = [], time.monotonic()
                rate = (done - known) / max(time.monotonic() - began, 1e-6)
                over = (self.duty.take_back(waiting, keys, rate) if self.duty else None) or over
        finally:
            for future, call in waiting.items():
                if not future.cancel() and future.done() and not future.exception():
                    rows.append(calls.row(call, *future.result()))  # finished while another failed
            if rows:
                self.store.remember(rows)
        if over:
            self._add(stage, seconds=time.monotonic() - began)
            raise over

    def _begin(self, stage: Stage[..., Any], keys: Sequence[str]) -> None:
        """Before calls are made. Raises: HandedOver where they are another worker's."""
        if self.duty and keys:
            self.duty.begin(self.tools[stage.engine] if stage.engine else None, tuple(self.tools.values()), keys)

    def _once(self, call: Call, *, alone: bool) -> tuple[Any, tuple[Notice, ...]]:
        self.check()
        with self.store.scratch() as scratch:
            made = self._run_stage(call, scratch, alone=alone)
        if self.duty:
            self.duty.slice.count()
        return made

    def held_mib(self, device: str) -> int:
        """Memory that engines of this run's pool take on a device."""
        return self._pool.held_mib(device)

    def _run_stage(self, call: Call, scratch: Path, *, alone: bool = True) -> tuple[Any, tuple[Notice, ...]]:
        """Calls the function itself, with its engine if it has one."""
        stage = call.stage

        def report(share: float) -> None:
            self.check()
            if alone:
                self.sink(Progress(stage.name, round(100 * share), 100))

        work = Work(self.store, scratch, self.jobs, report)
        tool = self.tools[stage.engine] if stage.engine else None
        try:
            with writing(scratch):
                if tool is None:
                    result = stage.function(work, *call.args)
                else:
                    with self._pool.borrow(tool, self.jobs, self.check) as engine:
                        result = stage.function(work, engine, *call.args)
                        if remark := getattr(engine, "remark", ""):  # of this run, not of the result: not remembered
                            self.note(Notice("less-at-once", remark, "info"))
        except PolydubError as error:
            error.stage, error.line = error.stage or stage.name, error.line or call.line
            error.engine = error.engine or (tool.engine.info.name if tool else None)
            raise
        except Exception as error:  # an engine may raise anything; our own faults pass through
            if tool is None:
                raise
            failed = _failed(tool, stage.name, error)
            failed.line = call.line
            raise failed from error
        return result, tuple(replace(notice, stage=notice.stage or stage.name) for notice in work.notices)


def _failed(tool: Tool, what: str, error: Exception) -> EngineFailed:
    """What an engine raised that is no sentence for the user, as one."""
    name = tool.engine.info.name
    failed = EngineFailed(f"{name} failed in {what}: {error}", "try again with --debug, or choose another engine")
    failed.stage, failed.engine = what, name
    return failed


@contextmanager
def engine_at_work(tool: Tool, what: str) -> Generator[None]:
    """Around what an engine does outside of a stage. Raises: EngineFailed for what is no PolydubError."""
    try:
        yield
    except PolydubError:
        raise
    except Exception as error:  # an engine may raise anything
        raise _failed(tool, what, error) from error


def _resolve(value: Any) -> Any:
    return cast("Handle[Any]", value).result() if isinstance(value, Handle) else value
