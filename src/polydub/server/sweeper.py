"""Heartbeats of workers, and the work of dead ones given back to its queues (Postgres; one process needs none of this).

The rules are those of docs/decisions/jobs.md. Who wakes after he was declared dead is harmless: the engine of workflows parks
him, and the memo keeps the first result.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from dbos import DBOS, DBOSClient
from dbos import error as dbos_errors
from sqlalchemy.exc import SQLAlchemyError

from polydub.server.db.sql import sqlite_engine
from polydub.server.hands import APPLICATION, FILE
from polydub.server.mending import ACTIVE
from polydub.server.patience import Outage

log = logging.getLogger(__name__)
DEAD_AFTER_S, PERIOD_S = 5.0, 1.0
LOCK = 0x706F6C79  # of Postgres' advisory ones: "poly"
TIDY_S = 6 * 3600  # between two looks for shares of jobs that ended long ago
RECOVERIES = 3  # of one workflow, before it is taken for what kills its workers

_TABLES = (
    "create table if not exists polydub_heartbeat (id text primary key, seen double precision not null, offers text not null)",
    "create table if not exists polydub_recovery (id text primary key, times integer not null)",
    "create table if not exists polydub_share (step text, place integer, told text not null, at double precision not null, "
    "primary key (step, place))",
)
# A worker that is stopped in the middle of a round must not keep the lock from the others for ever.
_NOT_FOR_EVER = "set local idle_in_transaction_session_timeout = '15s'"
_NOW = "extract(epoch from clock_timestamp())"  # the clock of the database: those of the hosts differ
_BEAT = f"insert into polydub_heartbeat values (:me, {_NOW}, :offers) on conflict (id) do update set seen = {_NOW}"  # noqa: S608
_SILENT = f"select id from polydub_heartbeat where seen < {_NOW} - :dead_after"  # noqa: S608
_OFFERED = f"select offers from polydub_heartbeat where seen >= {_NOW} - :dead_after"  # noqa: S608
_ENDED = f"insert into polydub_share values (:step, :place, :told, {_NOW}) on conflict do nothing"  # noqa: S608
_TOLD = "select told from polydub_share where step = :step order by place"
_OLD = f"delete from polydub_share where at < {_NOW} - 30 * 86400"  # noqa: S608
_COUNT = (
    "insert into polydub_recovery values (:id, 1) on conflict (id) do update set times = polydub_recovery.times + 1 "
    "returning times"
)


@dataclass
class Swept:
    """What a sweeper has done since it was made, for metrics."""

    dead: int = 0
    given_back: int = 0
    given_up: int = 0
    errors: int = 0
    alive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """A worker. id: of its executor, new at each start. offers: queues and how many steps of each it does at once, and "at:..."
    for the folder it works in."""

    id: str
    offers: Mapping[str, int]


@dataclass(frozen=True)
class Terms:
    """Seconds: without a beat a worker is dead after `dead_after_s`; beats come every `period_s`."""

    dead_after_s: float = DEAD_AFTER_S
    period_s: float = PERIOD_S


class Sweeper:
    """Beats for this worker and looks after the others, in a thread of its own.

    Args: url: postgresql://... queue_of: the queue of a workflow by its id, for
    rows that have lost theirs. give_up: called with the id of a workflow that has killed its workers too often, after it was
    cancelled.
    """

    def __init__(self, url: str, me: Member, queue_of: Callable[[str], str], give_up: Callable[[str], None],
                 terms: Terms | None = None) -> None:  # fmt: skip
        self._me, self._queue_of, self._give_up, self._terms = me, queue_of, give_up, terms or Terms()
        self.swept = Swept()
        self._outage = Outage(log, "the database of the queues")
        self._url, self._client = url, cast("DBOSClient | None", None)
        driver = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(driver, pool_size=1, max_overflow=1, pool_pre_ping=True)
        self._stop, self._tidied = threading.Event(), -TIDY_S
        self._thread = threading.Thread(target=self._run, name="polydub-sweeper", daemon=True)

    def first_beat(self) -> None:
        """Before any work is taken: who dies between the two has work but no row. Raises: SQLAlchemyError."""
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"select pg_advisory_xact_lock({LOCK})"))
            for statement in _TABLES:
                connection.execute(sa.text(statement))
        self._beat()

    def start(self) -> None:
        """Begins to beat and to look."""
        self._thread.start()

    def close(self, *, leave: bool = True) -> None:
        """Ends; with `leave` the worker is no longer expected to beat."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(5)
        if leave:
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.text("delete from polydub_heartbeat where id = :me"), {"me": self._me.id})
            except SQLAlchemyError as error:
                log.warning("the heartbeat could not be taken away: %s", error)
        if self._client:
            self._client.destroy()
        self._engine.dispose()

    def _beat(self) -> None:
        offers = ",".join(offer for offer, number in self._me.offers.items() for _ in range(number))
        with self._engine.begin() as connection:
            connection.execute(sa.text(_BEAT), {"me": self._me.id, "offers": offers})

    def offered(self) -> dict[str, list[int]]:
        """What live workers offer, and how much each of them."""
        with self._engine.begin() as connection:
            rows = connection.execute(sa.text(_OFFERED), {"dead_after": self._terms.dead_after_s}).scalars().all()
        found: dict[str, list[int]] = {}
        for row in rows:
            for offer, number in Counter(str(row).split(",")).items():
                found.setdefault(offer, []).append(number)
        return found

    def share_ended(self, step: str, place: int, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Keeps what became of a share of a step, the first time; gives what is kept of all its shares. Each is kept before it
        looks, so that the last one sees all."""
        with self._engine.begin() as connection:
            connection.execute(sa.text(_ENDED), {"step": step, "place": place, "told": json.dumps(told)})
        with self._engine.begin() as connection:
            return [json.loads(row) for row in connection.execute(sa.text(_TOLD), {"step": step}).scalars()]

    def _run(self) -> None:
        """Looks only after twice the limit of beats without a break: after an outage of the database, or a stop of this very
        process, the rows of all who live are stale."""
        dead_after_s = self._terms.dead_after_s
        healthy_since: float | None = None
        last = time.monotonic()
        while not self._stop.wait(self._terms.period_s):
            try:
                self._beat()
                self._outage.back()
                now = time.monotonic()
                if healthy_since is None or now - last > dead_after_s:
                    healthy_since = now
                last = now
                if now - healthy_since > 2 * dead_after_s:
                    self._sweep()
            except (SQLAlchemyError, dbos_errors.DBOSException, OSError) as error:
                healthy_since = None
                self.swept.errors += 1
                self._outage.away(error)

    def _sweep(self) -> None:
        """One sweeper at a time. The row of a dead worker goes last, with the lock: any failure repeats the whole."""
        given_up: list[str] = []
        with self._engine.begin() as connection:
            connection.execute(sa.text(_NOT_FOR_EVER))
            if not connection.execute(sa.text(f"select pg_try_advisory_xact_lock({LOCK})")).scalar():
                return
            if time.monotonic() - self._tidied > TIDY_S:
                connection.execute(sa.text(_OLD))
                self._tidied = time.monotonic()
            silent = connection.execute(sa.text(_SILENT), {"dead_after": self._terms.dead_after_s}).scalars().all()
            if silent:
                self._forget(connection)
            for dead in silent:
                moved = self._bury(connection, dead, given_up)
                connection.execute(sa.text("delete from polydub_heartbeat where id = :dead"), {"dead": dead})
                self.swept.dead += 1
                log.warning("worker %s is dead: %d of its workflows were given back", dead, moved)
            alive = connection.execute(sa.text("select id from polydub_heartbeat order by id")).scalars().all()
            self.swept.alive = tuple(alive)
        for id_ in given_up:
            self._give_up(id_)

    def _forget(self, connection: sa.Connection) -> None:
        """The counts of workflows that have ended: there is nobody left whom they could kill."""
        ids = connection.execute(sa.text("select id from polydub_recovery")).scalars().all()
        if not ids:
            return
        going = self._looker.list_workflows(workflow_ids=list(ids), status=ACTIVE, load_input=False, load_output=False)
        for ended in set(ids) - {workflow.workflow_id for workflow in going}:
            connection.execute(sa.text("delete from polydub_recovery where id = :id"), {"id": ended})

    @property
    def _looker(self) -> DBOSClient:
        if self._client is None:
            self._client = DBOSClient(system_database_url=self._url, system_database_pool_size=1, retry_connection_errors=False)
        return self._client

    def _bury(self, connection: sa.Connection, dead: str, given_up: list[str]) -> int:
        lost = self._looker.list_workflows(status=["PENDING"], executor_id=dead, load_input=False, load_output=False)
        for workflow in lost:
            id_ = workflow.workflow_id
            if connection.execute(sa.text(_COUNT), {"id": id_}).scalar_one() > RECOVERIES:
                self._looker.cancel_workflow(id_)
                given_up.append(id_)
                self.swept.given_up += 1
            else:
                self._looker.resume_workflow(id_, queue_name=workflow.queue_name or self._queue_of(id_))
                self.swept.given_back += 1
        return len(lost)


async def waiting(queue: str) -> Sequence[tuple[int, str]]:
    """(priority, job) of what waits on a queue."""
    told: dict[str, Any] = {"status": "ENQUEUED", "load_input": False, "load_output": False}
    found = await asyncio.to_thread(lambda: DBOS.list_workflows(queue_name=queue, **told))
    return [(workflow.priority or 0, workflow.workflow_id.partition("/")[0]) for workflow in found]


async def stop_others(id_: str) -> None:
    """Ends what else is done in the attempt of a workflow."""

    def stop() -> None:
        attempt = "/".join(id_.split("/")[:2]) + "/"
        found = DBOS.list_workflows(workflow_id_prefix=attempt, status=ACTIVE, load_input=False, load_output=False)
        DBOS.cancel_workflows([one.workflow_id for one in found if one.workflow_id != id_])

    await asyncio.to_thread(stop)


def hand_back(url: str, executor: str, queue_of: Callable[[str], str]) -> None:
    """Gives what a worker that ends was at back to its queues; where the database is away, the others see that he is dead."""
    try:
        client = DBOSClient(system_database_url=url, application_name=APPLICATION, retry_connection_errors=False)
        with ExitStack() as stack:
            stack.callback(client.destroy)
            mine = client.list_workflows(status=["PENDING"], executor_id=executor, load_input=False, load_output=False)
            for workflow in mine:
                id_ = workflow.workflow_id
                client.resume_workflow(id_, queue_name=workflow.queue_name or queue_of(id_))
    except (SQLAlchemyError, dbos_errors.DBOSException) as error:
        log.warning("what this worker was at is not handed back: %s", error)


@asynccontextmanager
async def queues(url: str, folder: Path) -> AsyncGenerator[DBOSClient | None]:
    """The queues, to look into and tidy up beside a server that runs or not: of a Postgres, or of a folder.

    None where the folder has none. Raises what the database says.
    """
    engine = sqlite_engine(folder / FILE) if not url and (folder / FILE).exists() else None
    if not url and engine is None:
        yield None
        return
    if url:
        await asyncio.to_thread(DBOS.migrate, url)
    client = await asyncio.to_thread(
        DBOSClient, system_database_url=url or None, system_database_engine=engine, application_name=APPLICATION
    )
    try:
        yield client
    finally:
        await asyncio.to_thread(client.destroy)
        if engine is not None:
            engine.dispose()
