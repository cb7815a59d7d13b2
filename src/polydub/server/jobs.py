"""Durable jobs on DBOS, which lives only here and in `sweeper`.

Two generic workflows whose bodies never change: `job` plans an attempt and puts its first step on the queue of its resource;
`step` does one and puts the next one there. Nothing waits in between, so that a thousand jobs in a queue cost nothing, and a
worker that dies leaves nothing but the steps it was at. What is finished is in the memo: a step that is begun anew goes on
where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets as random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, SetEnqueueOptions, SetWorkflowID
from dbos import error as dbos_errors

from polydub.config.server import ServerSettings
from polydub.server import parts
from polydub.server.contracts import OPEN, Event, JobRow, JobState, Records, Storage
from polydub.server.db.records import now_utc
from polydub.server.db.sql import sqlite_engine
from polydub.server.fanout import Fanout, PostgresLine
from polydub.server.fetching import Fetcher
from polydub.server.hands import APPLICATION, FILE, QUEUES, Hands, hands_of, hold, postgres
from polydub.server.mending import ACTIVE, Mender, Past
from polydub.server.patience import patient
from polydub.server.requests import TooManyJobs
from polydub.server.steps import WORKING, Others, Place, Shares, Steps, fail
from polydub.server.sweeper import Member, Sweeper, hand_back, stop_others, waiting
from polydub.server.work import Crew, Message

log = logging.getLogger(__name__)
T = TypeVar("T")
VERSION = "1"  # a protocol number: it is raised when `job` or `step` must change, never otherwise
ALONE = "embedded"  # executor of the one process that works on a SQLite file: at its next start it recovers its own work
POLL_S = {"jobs": 0.2, "cpu": 0.2, "gpu": 0.2, "net": 0.5}  # of queues, among several workers
POLL_ALONE_S = {"jobs": 2.0, "cpu": 0.5, "gpu": 1.0, "net": 1.0}  # where nobody but this process is kept busy by it
AHEAD = 4  # steps that the one process takes from a queue for each of its slots: it looks only twice a second
PLANS = 6  # jobs that a process plans at once: more of them only make those wait who submit
_HERE: list[Worker] = []  # DBOS is one in a process, and so is this


@DBOS.step(name="plan")
async def _plan(call: dict[str, Any]) -> Any:
    return await _HERE[0].at_home(lambda: patient(lambda: _HERE[0].steps.plan(call)))


@DBOS.step(name="work", preemptible=True)
async def _work(call: dict[str, Any]) -> Any:
    return await _HERE[0].at_home(lambda: _HERE[0].work(call))


@DBOS.step(name="settle")
async def _settle(call: dict[str, Any], outcome: dict[str, Any]) -> Any:
    return await _HERE[0].at_home(lambda: patient(lambda: _HERE[0].steps.settle(call, outcome)))


@DBOS.workflow(name="job")
async def job(call: dict[str, Any]) -> None:
    """What the queue `jobs` carries: {"job", "attempt"}."""
    await _follow(await _plan(call))


@DBOS.workflow(name="step")
async def step(call: dict[str, Any]) -> None:
    """What the queues of resources carry: a call of `Steps`."""
    await _follow(await _settle(call, await _work(call)))


async def _follow(call: Message | None) -> None:
    for each in parts.shares(call) if call is not None else ():
        with SetWorkflowID(parts.id_of(each)), SetEnqueueOptions(priority=each["priority"]):
            await DBOS.enqueue_workflow_async(each["queue"], step, dict(each))


class Worker:
    """This process's part of the work: DBOS, residents, and on Postgres the sweeper. One in a process."""

    def __init__(self, url: str, place: Place, hands: Hands, gave_up: Callable[[str], Awaitable[None]]) -> None:
        self.url, self._hands, self._gave_up = url, hands, gave_up
        self.crews = {queue: Crew(hands.slots[queue], hands.program) for queue in hands.queues}
        self.steps = Steps(place, self.crews, hands)
        self.executor = f"{socket.gethostname()}-{os.getpid()}-{random.token_hex(4)}" if url else ALONE
        self.engine = None if url else sqlite_engine(place.folder / FILE)
        self._at = "at:" + quote(f"{socket.gethostname()}:{place.folder.resolve()}")  # a comma would end it
        self.sweeper: Sweeper | None = None
        self.closing: list[Callable[[], Awaitable[None]]] = []
        self._home = asyncio.get_running_loop()
        self._closing = False

    async def start(self) -> None:
        """Begins to take work. Raises what the database says against it."""
        if _HERE:
            raise RuntimeError("there is a worker in this process already")
        _HERE.append(self)
        if self.url:
            member = Member(self.executor, {**self._hands.served, self._at: 1})
            self.sweeper = Sweeper(self.url, member, parts.queue_of, self._give_up)
            await asyncio.to_thread(self.sweeper.first_beat)
        await asyncio.to_thread(self._launch)  # from the thread of this loop DBOS would take the loop for its own
        if self.sweeper:
            self.sweeper.start()

    def _launch(self) -> None:
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self.url or "sqlite:///jobs.sqlite",
            "executor_id": self.executor,
            "application_version": VERSION,
            "log_level": "ERROR",
            "console_log_level": "ERROR",
            "notification_listener_polling_interval_sec": 2.0,  # nothing here waits for one; its thread delays the end
        }
        if self.engine is not None:
            config["system_database_engine"] = self.engine
        DBOS(config=config)
        logging.getLogger("dbos").addFilter(_says_more)
        DBOS.listen_queues(["jobs", *self._hands.queues])
        DBOS.launch()
        alone = not self.url
        for queue in QUEUES:
            slots = PLANS if queue == "jobs" else self._hands.slots.get(queue, 1) * (AHEAD if alone else 1)
            if queue in ("jobs", *self._hands.queues) or not DBOS.retrieve_queue(queue):
                DBOS.register_queue(
                    queue,
                    worker_concurrency=slots,
                    polling_interval_sec=(POLL_ALONE_S if alone else POLL_S)[queue],
                    on_conflict="always_update",
                )

    async def at_home(self, what: Callable[[], Awaitable[T]]) -> T:
        """Does something in the loop of this process, where records and residents live; DBOS has one of its own."""

        async def done() -> T:
            return await what()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done(), self._home))

    async def work(self, call: Message) -> Message:
        """A step; while this process ends nothing becomes known of it."""
        outcome = await self.steps.work(call)
        if self._closing and not ("result" in outcome or "next" in outcome):
            await asyncio.Event().wait()
        return outcome

    def _give_up(self, id_: str) -> None:
        future = asyncio.run_coroutine_threadsafe(_awaited(self._gave_up(id_)), self._home)
        with contextlib.suppress(TimeoutError):
            future.result(30)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of its residents."""
        return tuple(pid for crew in self.crews.values() for pid in crew.pids)

    async def close(self, patience_s: int = 0) -> None:
        """Takes no more work, waits for what is under way, and gives the rest back: others, or the next start, go on."""
        ending = asyncio.create_task(asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=patience_s))
        if patience_s:
            await asyncio.wait({ending}, timeout=patience_s)
        self._closing = True
        await asyncio.gather(*(crew.close() for crew in self.crews.values()))
        await ending
        if self.url:
            await asyncio.to_thread(hand_back, self.url, self.executor, parts.queue_of)
        if self.sweeper:
            await asyncio.to_thread(self.sweeper.close)
        if self.engine is not None:
            self.engine.dispose()
        _HERE.clear()
        for close in self.closing:
            await close()


def _says_more(record: logging.LogRecord) -> bool:
    """Leaves out that a workflow was cancelled, which somebody wanted and DBOS calls an error."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (dbos_errors.DBOSWorkflowCancelledError, dbos_errors.DBOSAwaitedWorkflowCancelledError))


async def _awaited(what: Awaitable[T]) -> T:
    return await what


class DurableJobs(Past):
    """The `Jobs` of a server. `worker`: of this process; None where `polydub worker` does the work."""

    def __init__(self, records: Records, fanout: Fanout, settings: ServerSettings, now: Callable[[], datetime]) -> None:
        self._records, self.fanout, self._settings, self._now = records, fanout, settings, now
        self.worker: Worker | None = None
        self.closing: list[Callable[[], Awaitable[None]]] = []
        self._gates: dict[str, asyncio.Lock] = {}

    async def submit(self, row: JobRow) -> None:
        """Keeps the job and puts it into the queue. Raises: TooManyJobs."""
        async with self._gates.setdefault(row.owner, asyncio.Lock()):
            have = await self._records.count_jobs(row.owner, WORKING)
            if have >= (limit := self._settings.jobs_a_user):
                hint = "wait until one of them is done, or cancel one"
                raise TooManyJobs(f"{have} jobs are waiting or running, and {limit} may", hint)
            await self._records.add_job(row)
        told = {"attempt": row.attempt, "priority": row.priority}
        await asyncio.gather(self.fanout.milestone(row, "queued", told), self.enqueue(row))

    async def enqueue(self, row: JobRow) -> None:
        """Of an attempt that is in the queue already nothing becomes of it. The process that works itself plans at once."""
        call: Message = {"job": row.id, "attempt": row.attempt}
        first = await self.worker.steps.first(call, row) if self.worker else None
        options: EnqueueOptions = {
            "workflow_name": "step" if first else "job",
            "queue_name": first["queue"] if first else "jobs",
            "app_version": VERSION,
            "workflow_id": parts.id_of(first) if first else f"{row.id}/{row.attempt}",
            "priority": row.priority,
        }
        await self.client.enqueue_async(options, first or call)

    async def cancel(self, id_: str) -> bool:
        """Ends a job for good, within two seconds also what it runs; False when it had ended."""
        row = await self._records.move_job(id_, "cancelled", when=OPEN, finished=self._now())
        if row is None:
            return False
        await self._stop(row)
        await self.fanout.milestone(row, "cancelled", {"attempt": row.attempt})
        return True

    async def pause(self, id_: str) -> bool:
        """Takes a job out of the queue or away from its worker; what is finished is kept for `again`."""
        row = await self._records.move_job(id_, "paused", when=WORKING)
        if row is None:
            return False
        await self._stop(row)
        await self.fanout.milestone(row, "paused", {"attempt": row.attempt})
        return True

    async def _stop(self, row: JobRow) -> None:
        if self.worker:
            self.worker.steps.stop(row.id)
        attempt = f"{row.id}/{row.attempt}"
        steps = await self.client.list_workflows_async(
            workflow_id_prefix=attempt + "/", status=ACTIVE, load_input=False, load_output=False
        )
        await self.client.cancel_workflows_async([attempt, *(workflow.workflow_id for workflow in steps)])

    async def again(self, id_: str) -> JobRow | None:
        """A new attempt of a job that has ended or is paused; None where there is none such."""
        row = await self._records.job(id_)
        if row is None:
            return None
        fresh: dict[str, Any] = {"error": None, "result": None, "finished": None, "progress": {}}
        ended: frozenset[JobState] = frozenset({"paused", "done", "failed", "cancelled"})
        moved = await self._records.move_job(id_, "queued", when=ended, attempt=row.attempt + 1, **fresh)
        if moved is not None:
            await self._queued(moved)
        return moved

    async def anew(self, id_: str) -> bool:
        """Begins a job that waits or runs anew, in one step: where this process is killed after it, the mender goes on."""
        row = await self._records.job(id_)
        moved = row and await self._records.move_job(id_, "queued", when=WORKING, attempt=row.attempt + 1, progress={})
        if row and moved:
            await self._stop(row)
            await self._queued(moved)
        return moved is not None

    async def _queued(self, row: JobRow) -> None:
        await self.fanout.milestone(row, "queued", {"attempt": row.attempt, "priority": row.priority})
        await self.enqueue(row)

    def listen(self, id_: str, after: int = 0) -> AsyncIterator[Event]:
        """See `Fanout.listen`."""
        return self.fanout.listen(id_, after)

    async def tell(self, id_: str, kind: str, data: Mapping[str, Any]) -> Event:
        """See `Fanout.tell`."""
        return await self.fanout.tell(id_, kind, data)

    async def queue_depth(self) -> Mapping[str, int]:
        """Jobs that wait, by queue."""
        waiting = await self.client.list_workflows_async(status=["ENQUEUED"], load_input=False, load_output=False)
        depth: dict[str, int] = dict.fromkeys(QUEUES, 0)
        for workflow in waiting:
            if workflow.queue_name in depth:
                depth[workflow.queue_name] += 1
        return depth

    async def gave_up(self, workflow: str) -> None:
        """Fails the job of a workflow that was given up. Called in the loop of the records."""
        await fail(self._records, self.fanout, self._now, workflow)

    async def close(self) -> None:
        """Ends the work of this process; what is under way goes on at the next start, or at another worker."""
        for close in reversed(self.closing):
            await close()

    async def disconnect(self) -> None:
        """Gives the connections to the queues back."""
        await asyncio.to_thread(self.client.destroy)


@dataclass(frozen=True)
class Kept:
    """What jobs are kept in. folder: of this host."""

    settings: ServerSettings
    records: Records
    storage: Storage
    folder: Path
    now: Callable[[], datetime] = now_utc


async def open_jobs(settings: ServerSettings, records: Records, storage: Storage, folder: Path,
                    now: Callable[[], datetime]) -> DurableJobs:  # fmt: skip
    """The jobs of a server: with all work done in this process, or on Postgres by `polydub worker`.

    Called in the loop that the records are used in. Raises: Busy where another process has the folder; what the database says.
    """
    return await start_jobs(Kept(settings, records, storage, folder, now), hands_of(settings))


async def start_jobs(kept: Kept, hands: Hands) -> DurableJobs:
    """As `open_jobs`; `hands` do the work where it is done in this process."""
    url, fanout = postgres(kept.settings), Fanout(kept.records)
    jobs = DurableJobs(kept.records, fanout, kept.settings, kept.now)
    if url:
        await asyncio.to_thread(DBOS.migrate, url)
        jobs.client = await asyncio.to_thread(_client, url)
        line = PostgresLine(url, fanout.give, fanout.resync)
        line.listen()
        fanout.line = line
        jobs.closing += [jobs.disconnect, line.close]
    else:
        release = hold(kept.folder)

        async def served() -> Mapping[str, Sequence[int]]:
            return {queue: (slots,) for queue, slots in hands.served.items()}

        others = Others(served, waiting)
        place = Place(kept.records, kept.storage, fanout, kept.folder, kept.now, others, Fetcher(kept))
        jobs.worker = Worker("", place, hands, jobs.gave_up)
        try:
            await jobs.worker.start()
        except BaseException:
            release()
            raise
        jobs.client = DBOSClient(system_database_engine=jobs.worker.engine, application_name=APPLICATION)

        async def let_go() -> None:
            release()

        jobs.closing += [let_go, jobs.worker.close, jobs.disconnect]
    mender = Mender(kept.records, jobs.client, jobs.enqueue, jobs.gave_up)
    mender.start()
    jobs.closing.append(mender.close)
    return jobs


async def open_worker(kept: Kept, hands: Hands) -> Worker:
    """A worker that takes jobs from a Postgres; its `close` closes the line of events, too."""
    url = postgres(kept.settings)
    await asyncio.to_thread(DBOS.migrate, url)
    fanout = Fanout(kept.records)
    fanout.line = line = PostgresLine(url, fanout.give, fanout.resync)

    def sweeper() -> Sweeper:
        assert worker.sweeper is not None  # noqa: S101 - on Postgres there is one
        return worker.sweeper

    async def served() -> Mapping[str, Sequence[int]]:
        return await asyncio.to_thread(lambda: sweeper().offered())

    async def ended(call: Message, told: Message) -> Sequence[Message]:
        return await asyncio.to_thread(lambda: sweeper().share_ended(parts.group(call), call["share"]["place"], told))

    async def gave_up(workflow: str) -> None:
        await fail(kept.records, fanout, kept.now, workflow)
        await stop_others(workflow)

    others = Others(served, waiting, many=True, shares=Shares(ended, stop_others))
    place = Place(kept.records, kept.storage, fanout, kept.folder, kept.now, others, Fetcher(kept))
    worker = Worker(url, place, hands, gave_up)
    worker.closing.append(line.close)
    await worker.start()
    return worker


def _client(url: str) -> DBOSClient:
    return DBOSClient(system_database_url=url, application_name=APPLICATION)
