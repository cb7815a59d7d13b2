"""What is done for a job, whatever engine of workflows carries it: plan, work, settle. Each may be done again at any time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from polydub.errors import PolydubError
from polydub.server import fetching, metrics, parts, requests, shared_store, watching
from polydub.server.contracts import Event, JobRow, JobState, Records, Storage
from polydub.server.db.records import DatabaseAway
from polydub.server.fanout import Fanout
from polydub.server.fetching import Fetcher
from polydub.server.hands import Hands
from polydub.server.logs import JOB
from polydub.server.patience import PAUSE_S, RECORDS, patient
from polydub.server.resident import told as as_told
from polydub.server.resident import unforeseen
from polydub.server.shelf import of_job
from polydub.server.watching import Publisher
from polydub.server.work import Crew, Message, Resident, died_repeatedly, persistent, settled

log = logging.getLogger(__name__)
STALE: Message = {"stale": True}  # of a step whose job no longer wants it
_ENDS: Mapping[str, JobState] = {"result": "done", "error": "failed"}
WORKING: frozenset[JobState] = frozenset({"queued", "running"})


@dataclass(frozen=True)
class Shares:
    """Of divided steps. ended: keeps what became of one; what is known of all, in order. stop: ends the other workflows of the
    attempt that a workflow belongs to."""

    ended: Callable[[Message, Message], Awaitable[Sequence[Message]]]
    stop: Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Others:
    """What is known of all workers.

    Attributes: served: for each queue how many steps each live worker does at once; besides "at:..." for each folder they work
    in. waiting: (priority, job) of what waits on a queue. many: there may be more of them tomorrow. shares: None = no step is
    divided.
    """

    served: Callable[[], Awaitable[Mapping[str, Sequence[int]]]]
    waiting: Callable[[str], Awaitable[Sequence[tuple[int, str]]]]
    many: bool = False
    shares: Shares | None = None


@dataclass(frozen=True)
class Place:
    """Where jobs are worked on. folder: this host's own."""

    records: Records
    storage: Storage
    fanout: Fanout
    folder: Path
    now: Callable[[], datetime]
    others: Others
    fetcher: Fetcher


class Steps:
    """The steps of jobs, done in residents. `crews`: by queue."""

    def __init__(self, place: Place, crews: Mapping[str, Crew], hands: Hands) -> None:
        self._place, self._crews, self._hands = place, crews, hands
        self._at_work: dict[str, asyncio.Task[Message]] = {}
        self._answering: set[asyncio.Task[BaseException | None]] = set()

    async def plan(self, call: Message) -> Message | None:
        """The first step of an attempt: None when nobody wants it any more."""
        row = await patient(lambda: self._place.records.job(call["job"]))
        return await self.first(call, row) if row is not None and self._wanted(row, call) else None

    async def first(self, call: Message, row: JobRow) -> Message:
        """The first step of this job's attempt."""
        first = fetching.wanted(row)
        following = self._next(call, row, fetching.STEP, fetching.QUEUE) if first else await self._main(call, row)
        await self._tell_waiting(row, following["queue"])
        return following

    async def _main(self, call: Message, row: JobRow) -> Message:
        """The step that does the work itself, or its first part."""
        heavy = not _divided(row) and await self._accelerated(row)
        return self._next(call, row, "work", "gpu" if heavy else "cpu")

    async def _accelerated(self, row: JobRow) -> bool:
        """Whether engines shall work on an accelerator that a worker has, or a worker to come."""
        others, device = self._place.others, row.request.get("settings", {}).get("device", "auto")
        named = device in ("cuda", "mps") and others.many
        return device != "cpu" and (named or "gpu" in await patient(others.served))

    @staticmethod
    def _next(call: Message, row: JobRow, step: str, queue: str) -> Message:
        own = {"priority": row.priority, "since": row.created.isoformat()}
        return {**call, "number": call.get("number", 0) + 1, "step": step, "queue": queue, **own}

    async def work(self, call: Message) -> Message:
        """Does a step in a resident; {"result": ...}, {"error": ...}, {"next": a call} or STALE.

        Cancelled, it leaves no process behind.
        """
        JOB.set(call["job"])
        task = self._at_work[call["job"]] = asyncio.create_task(self._work(call))
        try:
            await asyncio.wait({task})
        finally:
            if self._at_work.get(call["job"]) is task:  # else it is that of the next attempt
                del self._at_work[call["job"]]
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():  # by `stop`
            return STALE
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, PolydubError):
            return {"error": as_told(error)}
        log.error("job %s failed in a way that nobody foresaw", call["job"], exc_info=error)
        return {"error": unforeseen(error)}

    async def _work(self, call: Message) -> Message:
        job = call["job"]
        if call["step"] == fetching.STEP:
            return await self._fetch(call)
        async with self._crews[call["queue"]].resident(call["priority"], call["since"]) as resident:
            row = await self._begun(call)
            if row is None:
                return STALE
            folder = self._place.folder / "jobs" / job
            task = {"task": row.kind, "request": row.request, "folder": str(folder.absolute()), "threads": self._hands.threads}
            store = {"store": str((self._place.folder / "store").absolute()), "part": await self._part(call, row)}
            if row.kind == "dub":
                await self._bring(requests.read(row.request), folder)
            shown = Publisher(self._place.storage, row, folder)
            async with _Teller(self._place, job) as teller, shown:

                def hear(message: Message) -> None:
                    if "slice" in message:
                        self._asked(call, resident, message["slice"])
                    else:
                        teller.hear(message)

                try:
                    answer = await persistent(resident, {**task, **store, **shared_store.told(self._place.storage)}, hear)
                finally:
                    if "share" in call:  # one that was killed has left its folder
                        await _swept(folder, f"output.{call['share']['place']}")
        if "next" in answer:
            return parts.onward(call, answer["next"])
        if "result" in answer:
            await self._keep(job, folder, answer["result"], await shown.there())
            await _swept(folder, "output.*")
            files = answer["result"].get("files", ())
            return {"result": {**answer["result"], "bytes": sum(file["bytes"] for file in files)}}
        return answer

    async def _part(self, call: Message, row: JobRow) -> Message | None:
        """Which calls of a dub are made in this step; None = all."""
        if not _divided(row):
            return None
        return parts.part(call, accelerated=await self._accelerated(row), slice_=self._hands.slice)

    def _asked(self, call: Message, resident: Resident, name: str) -> None:
        """A step has had its slice: if somebody more urgent waits, or others are idle, it is told so.

        Shares but the first make room for every job that is as urgent: theirs keeps the place that it would have alone.
        """

        async def answer() -> None:
            priority, since, queue = call["priority"], call["since"], call["queue"]
            waiting = await self._place.others.waiting(queue)
            least = priority + bool(call.get("share", {}).get("place"))
            if self._crews[queue].waits(priority, since) or any(one < least and job != call["job"] for one, job in waiting):
                resident.say({"yield": name})
            elif not waiting and (idle := await self._idle(call)):
                resident.say({"yield": name, "idle": idle})

        task = asyncio.create_task(settled(answer()))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _idle(self, call: Message) -> int:
        """How many could be at this step at once if it were divided; 0 = it shall not be: there is one worker, they do not
        share what is finished, or a service sets how much it takes."""
        if self._place.others.shares is None or call["queue"] == "net" or "share" in call or "whole" in call:
            return 0
        served = await self._place.others.served()
        slots, folders = served.get(call["queue"], ()), [served[name] for name in served if name.startswith("at:")]
        share = len(folders) == 1 or bool(shared_store.told(self._place.storage))
        known = sum(map(len, folders)) >= len(slots)  # else one is too old to know of shares
        return sum(slots) if share and known and len(slots) > 1 else 0

    async def _fetch(self, call: Message) -> Message:
        job, records = call["job"], self._place.records
        async with self._crews[call["queue"]].resident(call["priority"], call["since"]):  # for its turn: no process is needed
            row = await self._begun(call)
            if row is None:
                return STALE
            async with _Teller(self._place, job) as teller:
                changed = await self._place.fetcher.fetch(row, teller.hear)
            moved = await patient(lambda: records.move_job(job, "running", when=frozenset({"running"}), **changed))
        return STALE if moved is None else {"next": await self._main(call, moved)}

    def stop(self, job: str) -> None:
        """Ends what this process does for a job, at once."""
        if task := self._at_work.get(job):
            task.cancel()

    @staticmethod
    def _wanted(row: JobRow, call: Message) -> bool:
        return row.attempt == call["attempt"] and row.state in WORKING

    async def _begun(self, call: Message) -> JobRow | None:
        """The job, now running; None when it was cancelled, paused or begun anew meanwhile."""
        records, job = self._place.records, call["job"]
        row = await patient(lambda: records.job(job))
        if row is None or not self._wanted(row, call):
            return None
        moved = await patient(lambda: records.move_job(job, "running", when=WORKING))
        if moved is not None and call["number"] == 1:
            told = {"attempt": row.attempt, "queue": call["queue"]}
            await patient(lambda: self._place.fanout.milestone(row, "started", told))
        return moved

    async def _bring(self, request: requests.Request, folder: Path) -> None:
        """Fetches what is not there yet, whole or not at all. Several shares of a step may do so at once."""
        for place, upload in requests.places(request, folder).items():
            key = f"uploads/{upload}"
            if place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            local = self._place.storage.local(key)
            with contextlib.suppress(OSError):  # another file system, or it has just come
                if local:
                    os.link(local, place)  # nobody writes to an upload that is complete
            if not place.exists():
                await self._place.storage.fetch(key, place)

    async def _keep(self, job: str, folder: Path, result: Mapping[str, Any], there: Set[str]) -> None:
        """Puts the files of a result into the storage, but for those of a stream that are there."""
        for file in result.get("files", ()):
            if file["name"].removeprefix(f"{watching.FOLDER}/") not in there:
                await self._place.storage.put_file(of_job(job, file["name"]), folder / result["folder"] / file["name"])

    async def settle(self, call: Message, outcome: Message) -> Message | None:
        """Makes the end of a step known; the next step of the job, None after the last. Twice is as good as once."""
        if "share" in outcome:
            outcome = await self._joined(call, outcome["share"])
        if "next" in outcome:
            return await self._goes_on(call, outcome["next"])
        kind = next((kind for kind in _ENDS if kind in outcome), None)
        if kind is None:
            return None
        if "share" in call:  # the others work in vain
            await self._shares.stop(parts.id_of(call))
        records, job, to = self._place.records, call["job"], _ENDS[kind]
        row = await records.job(job)
        if row is None or row.attempt != call["attempt"]:
            return None
        if row.state == to:  # killed between the two
            if await _told_already(records, job):
                return None
        elif await records.move_job(job, to, when=WORKING, finished=self._place.now(), **{kind: outcome[kind]}) is None:
            return None
        data = outcome[kind] if kind == "error" else {"attempt": row.attempt, **outcome[kind]}
        await self._place.fanout.milestone(row, to, data)
        return None

    @property
    def _shares(self) -> Shares:
        assert self._place.others.shares is not None  # noqa: S101 - else no step is divided
        return self._place.others.shares

    async def _joined(self, call: Message, share: Message) -> Message:
        """The outcome of a divided step, for who has ended last."""
        told = await self._shares.ended(call, share)
        return parts.joined(call, told) if len(told) == call["divided"]["of"] else STALE

    async def _goes_on(self, call: Message, following: Message) -> Message | None:
        row = await self._place.records.job(call["job"])
        if row is None or not self._wanted(row, call):
            return None
        await self._tell_waiting(row, following["queue"])
        return following

    async def _tell_waiting(self, row: JobRow, queue: str) -> None:
        """A job whose next step nobody does at present waits in its queue, and says so."""
        if queue in await self._place.others.served():
            return
        text = f"the job waits for a worker of the queue {queue}, and none is alive: polydub worker --queues {queue}"
        await self._place.records.move_job(row.id, "queued", when=frozenset({"running"}))
        await self._place.fanout.tell(row.id, "notice", {"code": "waits-for-worker", "text": text, "severity": "warning"})


def _divided(row: JobRow) -> bool:
    """Whether a job's work is divided by what it needs: a dub that is nothing but a dub."""
    return row.kind == "dub" and row.request.get("settings", {}).get("stream", "off") == "off"


async def _swept(folder: Path, names: str) -> None:
    """Without the folders in it that shares have worked in."""
    for share in folder.glob(names):
        await asyncio.to_thread(shutil.rmtree, share, ignore_errors=True)


async def fail(records: Records, fanout: Fanout, now: Callable[[], datetime], workflow: str) -> None:
    """Fails the job of a workflow that has killed its workers too often."""
    id_, attempt = workflow.split("/")[:2]
    row = await records.job(id_)
    if row is None or str(row.attempt) != attempt:
        return
    stage = str(row.progress.get("stage", ""))
    error = died_repeatedly(stage, "whatever took it has ended with it")["error"]
    if await records.move_job(id_, "failed", when=WORKING, error=error, finished=now()):
        await fanout.milestone(row, "failed", error)


async def _told_already(records: Records, job: str) -> bool:
    last: Event | None = None
    while found := await records.events(job, last.number if last else 0):
        last = found[-1]
    return last is not None and last.last


class _Teller:
    """Passes on what a resident says, without making it wait; of the progress of one stage only the newest is kept."""

    def __init__(self, place: Place, job: str) -> None:
        self._place, self._job = place, job
        self._progress: dict[str, Mapping[str, Any]] = {}
        self._notices: list[Mapping[str, Any]] = []
        self._more = asyncio.Event()
        self._ended = False

    def hear(self, message: Message) -> None:
        """Progress, a notice or figures."""
        metrics.heed(message)
        if progress := message.get("progress"):
            self._progress[progress["stage"]] = progress
        elif notice := message.get("notice"):
            self._notices.append(notice)
        self._more.set()

    async def __aenter__(self) -> _Teller:
        self._task = asyncio.create_task(self._pass_on())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._ended = True
        self._more.set()
        if kind is not None:
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=5)

    async def _pass_on(self) -> None:
        while not self._ended or self._progress or self._notices:
            await self._more.wait()
            self._more.clear()
            while self._progress or self._notices:
                error = await settled(self._one())
                if isinstance(error, asyncio.CancelledError):
                    return
                if isinstance(error, DatabaseAway):
                    RECORDS.away(error)
                    await asyncio.sleep(PAUSE_S)
                elif error is None:
                    RECORDS.back()
                else:
                    log.warning("progress of job %s could not be told: %s", self._job, error)

    async def _one(self) -> None:
        if self._notices:
            notice = self._notices.pop(0)
            try:
                await self._place.fanout.tell(self._job, "notice", notice)
            except DatabaseAway:
                self._notices.insert(0, notice)
                raise
            return
        progress = self._progress.pop(next(iter(self._progress)))
        if await self._place.records.move_job(self._job, "running", when=frozenset({"running"}), progress=progress):
            await self._place.fanout.tell(self._job, "progress", progress)
