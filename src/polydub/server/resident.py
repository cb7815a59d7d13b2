"""A process that works on jobs with engines kept loaded: `python -m polydub.server.resident`, started by `server.work`.

It reads one task a line on stdin and answers with lines on the pipe that its stdout was: progress, notices, and at last a
result, an error, or who goes on ("next"). A line {"yield": NAME} tells it that somebody more urgent waits, {"yield": NAME,
"idle": N} that nobody does and N could be at the step at once. It leads a process group of its own, which is killed as a whole,
by itself when stdin ends: its parent has gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

from polydub.errors import PolydubError
from polydub.server.advice import for_clients, in_settings, noticed
from polydub.server.logs import JOB, start_logs
from polydub.types import Progress

if TYPE_CHECKING:
    from polydub.dubbing import Outcome
    from polydub.duty import Duty, HandedOver
    from polydub.engines.pool import EnginePool

log = logging.getLogger(__name__)
EVERY_S = 0.5  # progress of one stage is told at most this often
_YIELDS: set[str] = set()  # steps that somebody more urgent waits for
_IDLE: dict[str, int] = {}  # steps that several could work on at once
SHARE = 500  # of 1000: the system takes this process before the server where memory runs out

Message = Mapping[str, Any]
Tell = Callable[[Message], None]
Task = Callable[[Message, Tell], Message]


class Throttle:
    """Lets the first and the last progress of a stage through, and what is between them twice a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._told = clock, dict[str, float]()

    def __call__(self, progress: Progress) -> bool:
        now = self._clock()
        if progress.done < progress.total and now - self._told.get(progress.stage, -EVERY_S) < EVERY_S:
            return False
        self._told[progress.stage] = now
        return True


class Dubber:
    """Dubs films, one after the other, with the engines of the last ones still loaded."""

    def __init__(self) -> None:
        self._pool: EnginePool | None = None

    def __call__(self, message: Message, tell: Tell) -> Message:
        """Message: request, folder of the job, store, threads, and what `shared_store.told` tells of a bucket.

        Message may hold "part": which calls of the dub are made here (see `part_of`). Returns what `JobRow.result` holds, or
        {"next": who goes on with what}. Raises: PolydubError.
        """
        from polydub import config
        from polydub.dubbing import Ears, dub_film
        from polydub.duty import HandedOver
        from polydub.engines.pool import EnginePool
        from polydub.server import requests, shared_store, watching

        folder = Path(message["folder"])
        job, values = requests.to_job(requests.read(message["request"]), folder)
        duty = part_of(message, tell)
        output = folder / (f"output.{duty.share.place}" if duty and duty.share else "output")
        host = {"output": str(output), "store": message["store"], "threads": message["threads"], "download": "no"}
        loaded = config.load_from_process(values | host)
        if self._pool is None:
            self._pool = EnginePool(loaded.settings.idle_s, loaded.settings.threads or len(os.sched_getaffinity(0)))
        passes = Throttle()

        def progress(progress: Progress) -> None:
            if not told_elsewhere(progress, duty) and passes(progress):
                tell({"progress": {"stage": progress.stage, "done": progress.done, "total": progress.total}})

        def say(text: str) -> None:
            tell({"notice": {"code": "waiting", "text": text.replace(str(folder), job.media.stem), "severity": "info"}})

        began = time.monotonic()
        pool, ears = self._pool, Ears(progress, say, store=shared_store.opener(message), duty=duty)
        if loaded.settings.stream != "off":
            dub = shared_store.until_whole(lambda: watching.dub(job, loaded, pool, ears, tell))
            project = dub.pop("project")
            return {"dubs": [dub], "folder": str(project.relative_to(folder)), "files": files(project)}
        try:
            outcomes = shared_store.until_whole(lambda: dub_film(job, loaded, pool, ears))
        except HandedOver as over:
            assert duty is not None  # noqa: S101 - without one nobody hands over
            if duty.share:
                shutil.rmtree(output, ignore_errors=True)
            return {"next": onward(over, duty, message["part"]["spent"] + time.monotonic() - began)}
        spent = float(message["part"]["spent"]) if message.get("part") else 0.0
        tell({"figures": figures(outcomes, spent + time.monotonic() - began)})
        dubs: list[dict[str, Any]] = []
        for outcome in outcomes:
            for notice in outcome.notices:
                tell({"notice": noticed(notice) | {"language": outcome.language}})
            names = {"film": outcome.film.name, "report": outcome.report.name, "duration": outcome.facts.source.duration}
            dubs.append({"language": outcome.language, **names, "calls": outcome.called, "lines": len(outcome.facts.lines)})
        project = outcomes[0].film.parent
        return {"dubs": dubs, "folder": str(project.relative_to(folder)), "files": files(project)}


def part_of(message: Message, tell: Tell) -> Duty | None:
    """Which calls this process makes, as "part" of a message tells: {"name", "here", "accelerated", "stays", "pins", "counts",
    "calls", "seconds", "spent", "idle", and of one that is divided "share"}; None = all."""
    from polydub.duty import Duty, Share, Slice

    part: dict[str, Any] | None = message.get("part")
    if part is None:
        return None
    name = part["name"]
    slice_ = Slice(
        part["calls"], part["seconds"], lambda: tell({"slice": name}), lambda: name in _YIELDS, lambda: _IDLE.pop(name, 0)
    )
    share = Share(**part["share"]) if "share" in part else None
    return Duty(part["here"], part["accelerated"], part["pins"], part["counts"], slice_, part["stays"], share=share)


def told_elsewhere(progress: Progress, duty: Duty | None) -> bool:
    """Whether an earlier step has told it, or the first share tells it for all of them."""
    if duty is None:
        return False
    return bool((duty.share and duty.share.place) or (duty.made and 0 < progress.done == progress.remembered))


def onward(over: HandedOver, duty: Duty, spent: float) -> dict[str, Any]:
    """What is told of a step that has handed over: see `parts.onward`."""
    known = {"queue": over.to, "pins": duty.pins, "counts": duty.counts, "spent": round(spent, 3)}
    if duty.share:
        return known | {"ended": not duty.ends, "met": duty.share.met}
    return known | ({"divided": dict(zip(("map", "of"), over.divided, strict=True))} if over.divided else {})


def figures(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """How long a job took, for `metrics.heed`: of stages that made something, in all languages."""
    stages: dict[str, float] = {}
    for count in (count for outcome in outcomes for count in outcome.facts.stages if count.ran):
        stages[count.name] = stages.get(count.name, 0.0) + count.seconds
    return {"stages": stages, "seconds": seconds, "film": outcomes[0].facts.source.duration}


def files(project: Path) -> list[dict[str, Any]]:
    """What a project folder holds for people, in order of their names: {"name", "bytes"}."""
    paths = (p for p in project.rglob("*") if p.is_file() and not p.is_symlink())
    shown = sorted(p.relative_to(project) for p in paths)
    parts = [p for p in shown if not any(part.startswith(".") for part in p.parts) and p.name != "project.json"]
    return [{"name": p.as_posix(), "bytes": (project / p).stat().st_size} for p in parts if not p.name.startswith("job.log")]


def serve(tasks: Mapping[str, Task]) -> None:
    """Works on the tasks that come by stdin, until it ends."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(SHARE), encoding="ascii")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, lines), daemon=True).start()
    gate = threading.Lock()

    def tell(message: Message) -> None:
        with gate:
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    def done(message: Message) -> Message:
        JOB.set(Path(message["folder"]).name)
        return tasks[message["task"]](message, tell)

    with ThreadPoolExecutor(1, "polydub-job") as worker:
        while True:
            message = json.loads(lines.get())
            JOB.set(Path(message["folder"]).name)
            work = worker.submit(done, message)
            error = work.exception()
            _YIELDS.clear()
            _IDLE.clear()
            if error is None:
                result = work.result()
                tell(result if "next" in result else {"result": result})
            elif isinstance(error, PolydubError):
                tell({"error": anonymous(told(error), message)})
            else:
                log.error("a job failed in a way that nobody foresaw", exc_info=error)
                tell({"error": unforeseen(error)})


def told(error: PolydubError) -> dict[str, Any]:
    """An error as it goes into records and events."""
    place = {"stage": error.stage, "line": error.line, "engine": error.engine}
    plain = {"code": error.code, "message": in_settings(error.message), "hint": for_clients(error.hint)}
    plain |= {"retryable": error.retryable}
    return plain | {key: value for key, value in place.items() if value}


def anonymous(error: dict[str, Any], message: Message) -> dict[str, Any]:
    """An error without the places of this host: files are named as they are called in the folder of the job."""
    for place in filter(None, (message.get("folder"), message.get("store"))):
        for part in ("message", "hint"):
            error[part] = error[part].replace(f"{place}/", "").replace(str(place), "the server's folder")
    return error


def unforeseen(error: BaseException) -> dict[str, Any]:
    """The error of a job for what is a fault of ours; its traceback is for the log."""
    text = f"something went wrong inside polydub: {type(error).__name__}"
    return {"code": "internal", "message": text, "hint": "ask whoever runs this server: its log tells more", "retryable": False}


def _listen(stdin: TextIO, lines: SimpleQueue[str]) -> None:
    for line in stdin:
        if line.startswith('{"yield"'):
            told = json.loads(line)
            if "idle" in told:
                _IDLE[told["yield"]] = told["idle"]
            else:
                _YIELDS.add(told["yield"])
        else:
            lines.put(line)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """What `python -m polydub.server.resident` does."""
    from polydub.config import one_thread_a_call

    one_thread_a_call()
    start_logs(logging.WARNING)
    serve({"dub": Dubber()})


if __name__ == "__main__":
    main()
