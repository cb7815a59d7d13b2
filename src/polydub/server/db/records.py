"""`Records` as statements of SQLAlchemy Core: each method is one statement, since D1 has no transactions."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from polydub.errors import StoreError
from polydub.server.contracts import Event, JobRow, JobState, Secret, User
from polydub.server.db.tables import DOCUMENTS, EVENTS, JOBS, SECRETS, USERS, columns_of, document, kept, noun_of, stamp

Row = Mapping[str, Any]
_TRIES = 20  # of an event's number, when others add events of the same job


class DatabaseAway(StoreError):
    """The database does not answer; it may again."""

    code, http_status, retryable = "database-away", 503, True


class Conflict(Exception):
    """A row of this key is there already."""


def now_utc() -> datetime:
    """The clock."""
    return datetime.now(UTC)


class TableRecords(ABC):
    """What all databases have in common. `run` executes a statement, commits it, and gives back the rows it returns."""

    def __init__(self, dialect: str, now: Callable[[], datetime] = now_utc) -> None:
        self._insert: Callable[[sa.Table], Any] = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._now = now

    @abstractmethod
    async def run(self, statement: sa.Executable) -> Sequence[Row]:
        """Raises: DatabaseAway, Conflict."""

    @abstractmethod
    async def close(self) -> None:
        """Nothing is asked afterwards."""

    async def ping(self) -> None:
        """Raises: DatabaseAway."""
        await self.run(sa.select(sa.literal(1).label("one")))

    async def add_user(self, user: User) -> bool:
        """False when somebody has the address already."""
        added = self._insert(USERS).values(columns_of(user)).on_conflict_do_nothing().returning(USERS.c.id)
        return bool(await self.run(added))

    async def user(self, id_: str) -> User | None:
        return await self._one_user(USERS.c.id == id_)

    async def user_by_email(self, email: str) -> User | None:
        return await self._one_user(USERS.c.email == email.lower())

    async def users(self) -> Sequence[User]:
        rows = await self.run(sa.select(USERS).order_by(USERS.c.created, USERS.c.id))
        return [noun_of(User, row) for row in rows]

    async def change_user(self, id_: str, **fields: Any) -> User | None:
        _known(User, fields)
        changed = sa.update(USERS).where(USERS.c.id == id_).values(kept(fields)).returning(*USERS.c)
        return _first(User, await self.run(changed))

    async def drop_user(self, id_: str) -> bool:
        gone = await self.run(sa.delete(USERS).where(USERS.c.id == id_).returning(USERS.c.id))
        await self.run(sa.delete(SECRETS).where(SECRETS.c.user == id_))
        return bool(gone)

    async def add_secret(self, secret: Secret) -> None:
        await self.run(sa.insert(SECRETS).values(columns_of(secret)))

    async def secret(self, kind: str, digest: str) -> Secret | None:
        found = sa.select(SECRETS).where(SECRETS.c.kind == kind, SECRETS.c.digest == digest)
        return _first(Secret, await self.run(found))

    async def secrets(self, user: str, kind: str) -> Sequence[Secret]:
        """Also those that are revoked or have expired; the newest first."""
        found = sa.select(SECRETS).where(SECRETS.c.user == user, SECRETS.c.kind == kind)
        rows = await self.run(found.order_by(SECRETS.c.created.desc(), SECRETS.c.id))
        return [noun_of(Secret, row) for row in rows]

    async def use_secret(self, id_: str, when: datetime) -> bool:
        unused = (SECRETS.c.id == id_, SECRETS.c.used.is_(None), SECRETS.c.revoked == 0)
        return bool(await self.run(sa.update(SECRETS).where(*unused).values(used=stamp(when)).returning(SECRETS.c.id)))

    async def touch_secret(self, id_: str, when: datetime) -> None:
        await self.run(sa.update(SECRETS).where(SECRETS.c.id == id_).values(used=stamp(when)))

    async def sweep_secrets(self, before: datetime) -> int:
        old = sa.delete(SECRETS).where(SECRETS.c.expires < stamp(before)).returning(SECRETS.c.id)
        return len(await self.run(old))

    async def revoke(self, *, id_: str = "", family: str = "", user: str = "") -> int:
        """Of one id, of a family, or of all that a user has; how many were valid before."""
        which = [column == value for column, value in _revoked(id_, family, user) if value]
        if not which:
            return 0
        valid = sa.update(SECRETS).where(*which, SECRETS.c.revoked == 0).values(revoked=1).returning(SECRETS.c.id)
        return len(await self.run(valid))

    async def add_job(self, row: JobRow) -> None:
        await self.run(sa.insert(JOBS).values(columns_of(row)))

    async def job(self, id_: str) -> JobRow | None:
        return _first(JobRow, await self.run(sa.select(JOBS).where(JOBS.c.id == id_)))

    async def jobs(
        self, *, owner: str = "", states: frozenset[JobState] = frozenset(), before: datetime | None = None, limit: int = 100
    ) -> Sequence[JobRow]:
        """The newest first; of one owner, in some states, made before a time: where these are given."""
        found = sa.select(JOBS).order_by(JOBS.c.created.desc(), JOBS.c.id).limit(limit)
        if owner:
            found = found.where(JOBS.c.owner == owner)
        if states:
            found = found.where(JOBS.c.state.in_(sorted(states)))
        if before:
            found = found.where(JOBS.c.created < stamp(before))
        return [noun_of(JobRow, row) for row in await self.run(found)]

    async def move_job(self, id_: str, to: JobState, *, when: frozenset[JobState], **fields: Any) -> JobRow | None:
        _known(JobRow, fields)
        values = kept({"updated": self._now(), **fields, "state": to})
        moved = sa.update(JOBS).where(JOBS.c.id == id_, JOBS.c.state.in_(sorted(when))).values(values)
        return _first(JobRow, await self.run(moved.returning(*JOBS.c)))

    async def drop_job(self, id_: str, *, when: frozenset[JobState]) -> bool:
        which = (JOBS.c.id == id_, JOBS.c.state.in_(sorted(when)))
        return bool(await self.run(sa.delete(JOBS).where(*which).returning(JOBS.c.id)))

    async def jobs_by_state(self) -> Mapping[JobState, int]:
        rows = await self.run(sa.select(JOBS.c.state, sa.func.count().label("n")).group_by(JOBS.c.state))
        return {row["state"]: int(row["n"]) for row in rows}

    async def count_jobs(self, owner: str, states: frozenset[JobState]) -> int:
        mine = (JOBS.c.owner == owner, JOBS.c.state.in_(sorted(states)))
        return int((await self.run(sa.select(sa.func.count().label("n")).select_from(JOBS).where(*mine)))[0]["n"])

    async def add_event(self, job: str, kind: str, data: Mapping[str, Any]) -> Event:
        at = self._now()
        number = sa.func.coalesce(sa.func.max(EVENTS.c.number), 0) + 1
        values = [sa.literal(value, sa.Text) for value in (job, kind, document(data), stamp(at))]
        chosen = sa.select(values[0], number, *values[1:]).where(EVENTS.c.job == job)
        added = sa.insert(EVENTS).from_select(["job", "number", "kind", "data", "at"], chosen).returning(EVENTS.c.number)
        for _ in range(_TRIES):
            try:
                given = int((await self.run(added))[0]["number"])
            except Conflict:
                continue
            return Event(job, given, cast("Any", kind), data, at)
        raise DatabaseAway(f"an event of job {job} could not be written", "try again")

    async def events(self, job: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        found = sa.select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.number > after).order_by(EVENTS.c.number).limit(limit)
        return [noun_of(Event, row) for row in await self.run(found)]

    async def drop_events(self, job: str) -> int:
        return len(await self.run(sa.delete(EVENTS).where(EVENTS.c.job == job).returning(EVENTS.c.number)))

    async def stray_events(self) -> Sequence[str]:
        known = sa.exists().where(JOBS.c.id == EVENTS.c.job)
        return [row["job"] for row in await self.run(sa.select(EVENTS.c.job).where(~known).distinct().order_by(EVENTS.c.job))]

    async def put(self, kind: str, id_: str, owner: str, document: Mapping[str, Any]) -> None:
        values = self._document(kind, id_, owner, document)
        changed = {"owner": values["owner"], "document": values["document"]}
        put = self._insert(DOCUMENTS).values(values)
        await self.run(put.on_conflict_do_update(index_elements=["kind", "id"], set_=changed))

    async def add(self, kind: str, id_: str, owner: str, document: Mapping[str, Any]) -> bool:
        values = self._document(kind, id_, owner, document)
        return bool(await self.run(self._insert(DOCUMENTS).values(values).on_conflict_do_nothing().returning(DOCUMENTS.c.id)))

    async def get(self, kind: str, id_: str) -> tuple[str, Mapping[str, Any]] | None:
        rows = await self.run(sa.select(DOCUMENTS).where(DOCUMENTS.c.kind == kind, DOCUMENTS.c.id == id_))
        return (rows[0]["owner"], json.loads(rows[0]["document"])) if rows else None

    async def kinds(self) -> Sequence[str]:
        rows = await self.run(sa.select(DOCUMENTS.c.kind).distinct().order_by(DOCUMENTS.c.kind))
        return [row["kind"] for row in rows]

    async def list(
        self, kind: str, owner: str = "", limit: int = 1000, *, newest: bool = False
    ) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
        found = sa.select(DOCUMENTS).where(DOCUMENTS.c.kind == kind)
        found = found.where(DOCUMENTS.c.owner == owner) if owner else found
        time = DOCUMENTS.c.created.desc() if newest else DOCUMENTS.c.created
        rows = await self.run(found.order_by(time, DOCUMENTS.c.id).limit(limit))
        return [(row["id"], row["owner"], json.loads(row["document"])) for row in rows]

    async def drop(self, kind: str, id_: str) -> bool:
        gone = sa.delete(DOCUMENTS).where(DOCUMENTS.c.kind == kind, DOCUMENTS.c.id == id_).returning(DOCUMENTS.c.id)
        return bool(await self.run(gone))

    async def drop_naming(self, kind: str, owner: str, id_: str) -> int:
        whose = (DOCUMENTS.c.kind == kind, DOCUMENTS.c.owner == owner)
        names = DOCUMENTS.c.document.contains(f'"{id_}', autoescape=True)  # 27 bytes; D1 takes patterns of up to 50
        return len(await self.run(sa.delete(DOCUMENTS).where(*whose, names).returning(DOCUMENTS.c.id)))

    def _document(self, kind: str, id_: str, owner: str, whole: Mapping[str, Any]) -> dict[str, Any]:
        return {"kind": kind, "id": id_, "owner": owner, "document": document(whole), "created": stamp(self._now())}

    async def _one_user(self, which: sa.ColumnElement[bool]) -> User | None:
        return _first(User, await self.run(sa.select(USERS).where(which)))


def _first(kind: Callable[..., Any], rows: Sequence[Row]) -> Any:
    return noun_of(kind, rows[0]) if rows else None


def _revoked(id_: str, family: str, user: str) -> tuple[tuple[sa.Column[Any], str], ...]:
    return ((SECRETS.c.id, id_), (SECRETS.c.family, family), (SECRETS.c.user, user))


def _known(kind: type, given: Mapping[str, Any]) -> None:
    unknown = set(given) - {field.name for field in fields(kind)}
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
