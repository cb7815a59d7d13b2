"""A server for tests: real records on SQLite, real accounts with cheap passwords, storage and jobs that do nothing."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
from fastapi import FastAPI

from polydub.config.server import ServerSettings
from polydub.server.accounts import Accounts
from polydub.server.app import create_app
from polydub.server.bootstrap import NoJobs
from polydub.server.contracts import JobRow, Records, Role, Services, User
from polydub.server.db import open_records
from polydub.server.db.records import DatabaseAway
from polydub.server.passwords import Passwords
from polydub.server.tokens import Keys

BASE = "http://127.0.0.1:8000"
PASSWORD = "quiet orange staircase"


async def until(true: Callable[[], Any], what: str, limit_s: float = 60.0) -> None:
    """Waits until something is true, or awaits true; fails with a sentence when it does not become so."""
    end = time.monotonic() + limit_s
    while True:
        found = true()
        if await found if inspect.isawaitable(found) else found:
            return
        assert time.monotonic() < end, f"{what}: not within {limit_s:.0f} s"
        await asyncio.sleep(0.005)


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, **amount: float) -> None:
        self.time += timedelta(**amount)


class NoStorage:
    """Keeps nothing."""

    async def put_file(self, key: str, file: Path) -> None: ...
    async def fetch(self, key: str, to: Path) -> None: ...
    async def size(self, key: str) -> int | None:
        return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        yield b""

    async def delete(self, key: str) -> None: ...
    async def keys(self, prefix: str) -> Sequence[str]:
        return []

    async def presigned(self, key: str, *, method: Literal["GET", "PUT"], seconds: int, name: str = "") -> str | None:
        return None

    def local(self, key: str) -> Path | None:
        return None


class Away:
    """Records that cannot be reached when something is first put into them."""

    def __init__(self, records: Records) -> None:
        self.records, self.times = records, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    async def put(self, *what: Any) -> None:
        if self.times:
            self.times -= 1
            raise DatabaseAway("the database does not answer")
        await self.records.put(*what)


class IdleJobs(NoJobs):
    """Takes every job and does nothing."""

    async def submit(self, row: JobRow) -> None: ...
    async def queue_depth(self) -> Mapping[str, int]:
        return {"jobs": 3}


@dataclass
class House:
    """The server and who lives in it."""

    services: Services
    accounts: Accounts
    app: FastAPI
    clock: Clock
    people: dict[str, User] = field(default_factory=dict)

    def client(self, token: str = "", **headers: str) -> httpx.AsyncClient:
        """A client that shows a token. Faults of the server become 500, as over a network."""
        shown = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("127.0.0.1", 5000))
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers={**shown, **headers})

    async def person(self, role: Role, name: str = "") -> User:
        """An account with the password `PASSWORD`, made at its first use."""
        name = name or role
        if name not in self.people:
            self.people[name] = await self.accounts.register(f"{name}@example.org", name, PASSWORD, role)
        return self.people[name]

    async def token(self, role: Role, name: str = "", scopes: tuple[str, ...] = ()) -> str:
        """An API token of somebody."""
        return (await self.accounts.new_token(await self.person(role, name), "test", scopes, 90))[0]

    async def as_(self, role: Role, name: str = "", scopes: tuple[str, ...] = ()) -> httpx.AsyncClient:
        """A client with an API token of somebody of a role: `house.as_("editor")`, `house.as_("editor", "bo")`."""
        return self.client(await self.token(role, name, scopes))

    async def page(self, role: Role, name: str = "") -> httpx.AsyncClient:
        """A page that has logged in: it has the cookie and sends the csrf header."""
        await self.person(role, name)
        client = self.client()
        wish = {"email": f"{name or role}@example.org", "password": PASSWORD, "session": True}
        answer = await client.post("/api/auth/login", json=wish)
        client.headers["x-csrf-token"] = answer.json()["csrf"]
        return client


@asynccontextmanager
async def open_house(folder: Path, *, records: Records | None = None, **parts: Any) -> AsyncIterator[House]:
    """A house in `folder`. `parts`: storage, jobs, speech or webhook_secret of one's own; the rest are server settings."""
    secret = parts.pop("webhook_secret", "")
    own = {name: parts.pop(name) for name in ("storage", "jobs", "speech") if name in parts}
    settings = ServerSettings(**{"requests_a_minute": 100_000, "logins_a_minute": 100_000, "data": folder, **parts})
    clock = Clock()
    kept: Any = records or await open_records(settings, folder, now=clock)
    storage, jobs = own.get("storage", NoStorage()), own.get("jobs", IdleJobs())
    services = Services(settings, kept, storage, jobs, folder, clock, own.get("speech"))
    accounts = Accounts(kept, settings, Keys.random(), now=clock, passwords=Passwords(memory_kib=64, rounds=1))
    try:
        yield House(services, accounts, create_app(services, accounts=accounts, webhook_secret=secret), clock)
    finally:
        if records is None:
            await kept.close()
