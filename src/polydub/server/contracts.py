"""What the parts of the server know of each other: nouns and Protocols. Times are UTC; ids are URL-safe and say nothing.

Every change of state is one statement, since not every database has transactions: `move_job` and its like tell by their
result whether they happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from polydub.config.server import ServerSettings

Role = Literal["viewer", "editor", "admin"]
JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
OPEN: frozenset[JobState] = frozenset({"queued", "running", "paused"})


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account. Attributes: email: in lower case, unique. password: its hash, "" = no login by password."""

    id: str
    email: str
    name: str
    role: Role
    created: datetime
    password: str = field(default="", repr=False)
    disabled: bool = False
    preferences: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and by what: a studio's session, an access token (JWT) or an API token with `scopes` (empty = all)."""

    user: User
    via: Literal["session", "jwt", "token"]
    credential: str  # id of the session or token
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Secret:
    """A session, a refresh token, an API token, a login or reset link: kept as a hash, never as it is.

    Attributes: kind: which of them; a "family" is a login by which access and refresh tokens are made, a "challenge" waits for
    the second factor, "again" says that the login `family` has shown its password once more, a "miss" is a wrong code. family:
    what came from one login. digest: SHA-256 of the secret, hex. used: when it was used (up) or last used.
    """

    id: str
    user: str
    kind: Literal["session", "family", "refresh", "token", "login", "reset", "challenge", "again", "miss"]
    digest: str = field(repr=False)
    created: datetime
    expires: datetime
    name: str = ""
    family: str = ""
    scopes: tuple[str, ...] = ()
    used: datetime | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class JobRow:
    """One dub of one film into one or more languages, as it was asked for.

    Attributes: request: a pure description (see `server.requests`). attempt: 1, 2, ... after retry, resume and upgrade.
    priority: 1 (first) to 9. progress: of the running stage, {"stage", "done", "total"}. result: names and facts of outputs.
    """

    id: str
    owner: str
    kind: Literal["dub", "transcribe", "separate", "speak"]
    title: str
    request: Mapping[str, Any]
    state: JobState
    created: datetime
    updated: datetime
    attempt: int = 1
    priority: int = 5
    progress: Mapping[str, Any] = field(default_factory=dict[str, Any])
    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    finished: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; numbers rise by 1 from 1 within it, so that a listener can ask for what it missed."""

    job: str
    number: int
    kind: Literal["queued", "started", "progress", "notice", "line", "done", "failed", "cancelled", "paused"]
    data: Mapping[str, Any]
    at: datetime

    @property
    def last(self) -> bool:
        """Whether nothing comes after it in this attempt."""
        return self.kind in ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is coming or has come. Attributes: offset: bytes that are safe. digest: SHA-256 when complete."""

    id: str
    owner: str
    name: str
    length: int | None
    offset: int
    created: datetime
    expires: datetime
    digest: str = ""
    media: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self.length is not None and self.offset == self.length and bool(self.digest)


class Records(Protocol):
    """Accounts, secrets, jobs, uploads and what else is a row: on SQLite, Postgres or D1.

    Anything with an id and an owner that is no more than a JSON document (presets, glossaries, webhooks, deliveries, audit)
    is kept by `put`, `get`, `list`, `drop` under its kind.
    """

    async def add_user(self, user: User) -> bool: ...
    async def user(self, id_: str) -> User | None: ...
    async def user_by_email(self, email: str) -> User | None: ...
    async def users(self) -> Sequence[User]: ...
    async def change_user(self, id_: str, **fields: Any) -> User | None: ...

    async def drop_user(self, id_: str) -> bool:
        """Deletes an account and its secrets; what it owns stays until it is removed by itself."""
        ...

    async def add_secret(self, secret: Secret) -> None: ...
    async def secret(self, kind: str, digest: str) -> Secret | None: ...
    async def secrets(self, user: str, kind: str) -> Sequence[Secret]: ...
    async def use_secret(self, id_: str, when: datetime) -> bool:
        """Marks a secret as used; False when it was before: of two who try, one succeeds."""
        ...

    async def touch_secret(self, id_: str, when: datetime) -> None:
        """Writes down when a secret that may be used again was last used."""
        ...

    async def sweep_secrets(self, before: datetime) -> int:
        """Deletes the secrets that have expired before then; how many."""
        ...

    async def revoke(self, *, id_: str = "", family: str = "", user: str = "") -> int: ...

    async def add_job(self, row: JobRow) -> None: ...
    async def job(self, id_: str) -> JobRow | None: ...
    async def jobs(
        self, *, owner: str = "", states: frozenset[JobState] = frozenset(), before: datetime | None = None, limit: int = 100
    ) -> Sequence[JobRow]: ...
    async def move_job(self, id_: str, to: JobState, *, when: frozenset[JobState], **fields: Any) -> JobRow | None:
        """The row as it is after the change; None when it was in none of the states `when`."""
        ...

    async def drop_job(self, id_: str, *, when: frozenset[JobState]) -> bool:
        """Deletes the row of a job that is in one of these states, and no more than the row; of two who try, one succeeds."""
        ...

    async def jobs_by_state(self) -> Mapping[JobState, int]:
        """How many there are in each state that any is in."""
        ...

    async def count_jobs(self, owner: str, states: frozenset[JobState]) -> int: ...
    async def add_event(self, job: str, kind: str, data: Mapping[str, Any]) -> Event: ...
    async def events(self, job: str, after: int = 0, limit: int = 1000) -> Sequence[Event]: ...

    async def drop_events(self, job: str) -> int:
        """Deletes what happened to a job; how many."""
        ...

    async def stray_events(self) -> Sequence[str]:
        """Ids of jobs that are no more, and of which events are left."""
        ...

    async def put(self, kind: str, id_: str, owner: str, document: Mapping[str, Any]) -> None: ...
    async def add(self, kind: str, id_: str, owner: str, document: Mapping[str, Any]) -> bool:
        """`put` of something new; False, and nothing changed, when it is there already: of two who try, one succeeds."""
        ...

    async def get(self, kind: str, id_: str) -> tuple[str, Mapping[str, Any]] | None: ...
    async def list(
        self, kind: str, owner: str = "", limit: int = 1000, *, newest: bool = False
    ) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
        """(id, owner, document) of a kind, the oldest first, or the newest."""
        ...

    async def kinds(self) -> Sequence[str]:
        """Kinds of documents there are."""
        ...

    async def drop(self, kind: str, id_: str) -> bool: ...
    async def drop_naming(self, kind: str, owner: str, id_: str) -> int:
        """Deletes documents of a kind and an owner that name a job; how many. `id_`: as `new_id` makes them."""
        ...

    async def ping(self) -> None: ...


class Storage(Protocol):
    """Files by key ("uploads/<id>", "jobs/<id>/<name>"): in a folder, or in a bucket of S3 or R2."""

    async def put_file(self, key: str, file: Path) -> None: ...
    async def fetch(self, key: str, to: Path) -> None: ...
    async def size(self, key: str) -> int | None: ...
    def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]: ...
    async def delete(self, key: str) -> None: ...
    async def keys(self, prefix: str) -> Sequence[str]: ...
    async def presigned(self, key: str, *, method: Literal["GET", "PUT"], seconds: int, name: str = "") -> str | None:
        """A URL by which a client reaches the object itself; None where there is none, and the server serves it."""
        ...

    def local(self, key: str) -> Path | None:
        """Where the file lies, if it lies on this machine."""
        ...


class Jobs(Protocol):
    """Durable work: what was submitted ends, whatever dies meanwhile."""

    async def submit(self, row: JobRow) -> None: ...
    async def cancel(self, id_: str) -> bool: ...
    async def pause(self, id_: str) -> bool: ...
    async def again(self, id_: str) -> JobRow | None:
        """A new attempt of a job that has ended or is paused; finished stages are remembered."""
        ...

    def listen(self, id_: str, after: int = 0) -> AsyncIterator[Event]:
        """Events of a job from number `after` + 1 on, as they happen, up to its last one."""
        ...

    async def tell(self, id_: str, kind: str, data: Mapping[str, Any]) -> Event:
        """Keeps an event of a job, and gives it to those who listen."""
        ...

    async def queue_depth(self) -> Mapping[str, int]: ...
    async def ended(self, before: datetime) -> Sequence[str]:
        """Ids of what the queues remember of work that ended before then."""
        ...

    async def forget(self, ids: Sequence[str]) -> None:
        """Lets the queues forget work that has ended; the rows of its jobs stay."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Services:
    """What routes work with; `app.state.services`. now: the clock. folder: where this host keeps what it needs."""

    settings: ServerSettings
    records: Records
    storage: Storage
    jobs: Jobs
    folder: Path
    now: Callable[[], datetime]
    speech: Any = None  # server.speech.House: engines for requests, with admission control
