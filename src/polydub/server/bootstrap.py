"""From settings to a server: its folder, keys, database, first admin; what it needs is opened, served, and closed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from polydub.config import Loaded, require_secrets
from polydub.config.server import ServerSettings
from polydub.errors import BadSettings, PolydubError, StoreError
from polydub.server.accounts import Accounts
from polydub.server.app import create_app
from polydub.server.contracts import Event, JobRow, Secret, Services, User
from polydub.server.db import open_records
from polydub.server.db.records import now_utc
from polydub.server.hands import postgres
from polydub.server.leaving import Leaving
from polydub.server.passwords import check_list
from polydub.server.storage import open_storage
from polydub.server.tokens import Keys, digest, new_id

if TYPE_CHECKING:
    from polydub.server.retention import Doomed

LOG = logging.getLogger("polydub.server")
FIRST_ADMIN = "admin@localhost"
KEYS, HOST_TOKEN = "keys.json", "API_TOKEN"
SHORTEST_TOKEN = 32
FIRST_SWEEP_S, SWEEP_S = 600, 6 * 3600
FAREWELL_S = 10  # that open requests have to end when the server is stopped
CLOSING_S, CLOSING_ALONE_S = 5, 60  # that the rest then has; work that was done in this process takes longer to put down


@dataclass(frozen=True)
class Opened:
    """What is open: services, accounts, and whether the first admin has just been made."""

    services: Services
    accounts: Accounts
    admin: User
    first_start: bool


def settled(loaded: Loaded) -> Loaded:
    """The settings with the database's address from its secret, where it is there. Raises: MissingSecret, BadSettings."""
    server = loaded.settings.server
    address = loaded.secrets.get("database_url")
    if address:
        server = server.model_copy(update={"database": address.get_secret_value()})
    if server.breached_passwords:
        check_list(server.breached_passwords)
    wanted = ["jwt_keys"]
    wanted += ["d1_token"] if server.database == "d1" else []
    wanted += ["s3_access_key_id", "s3_secret_access_key"] if server.storage else []
    require_secrets(loaded, wanted)
    return replace(loaded, settings=loaded.settings.model_copy(update={"server": server}))


def folder_of(settings: ServerSettings) -> Path:
    """The server's folder, made for its owner alone. Raises: StoreError when it cannot be written."""
    folder = settings.data.expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".{new_id()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"the server's folder {folder} cannot be written: {error.strerror or error}", "name another with --data"
        ) from error
    return folder


@asynccontextmanager
async def kept(loaded: Loaded) -> AsyncGenerator[Services]:
    """What the server keeps, database and files, without accounts being made or work being done. Raises as `opened`."""
    loaded = settled(loaded)
    settings = loaded.settings.server
    folder = folder_of(settings)
    token = loaded.secrets.get("d1_token")
    records = await open_records(settings, folder, token=token.get_secret_value() if token else "")
    try:
        yield Services(settings, records, open_storage(settings, loaded.secrets, folder), NoJobs(), folder, now_utc)
    finally:
        await records.close()


@asynccontextmanager
async def opened(loaded: Loaded, *, working: bool = True) -> AsyncGenerator[Opened]:
    """Everything open, closed afterwards in the opposite order. `working`: jobs and engines too, not only what is kept.

    Raises: BadSettings, MissingSecret, StoreError (Busy where another server has the folder).
    """
    loaded = settled(loaded)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(kept(loaded))
        settings, folder, storage = services.settings, services.folder, services.storage
        if working and settings.only == "all":
            from polydub.server.jobs import open_jobs

            jobs = await open_jobs(settings, services.records, storage, folder, now_utc)
            stack.push_async_callback(jobs.close)
            services = replace(services, jobs=jobs)
        if working:
            from polydub.server.speech import House

            speech = House(loaded, folder, queue=settings.queue_length)
            stack.push_async_callback(asyncio.to_thread, speech.close)
            services = replace(services, speech=speech)
        accounts = Accounts(services.records, settings, _keys(loaded, folder), now=now_utc)
        admin, first = await first_admin(accounts)
        await _host_token(accounts, admin, loaded)
        yield Opened(services, accounts, admin, first)


async def first_admin(accounts: Accounts) -> tuple[User, bool]:
    """The oldest admin who is not disabled, made where there is none; and whether it was made."""
    for user in await accounts.records.users():
        if user.role == "admin" and not user.disabled:
            return user, False
    user = User(new_id(), FIRST_ADMIN, "admin", "admin", accounts.now())
    if not await accounts.records.add_user(user):  # another process was quicker, or it was disabled or changed
        known = await accounts.records.user_by_email(FIRST_ADMIN)
        if known is None or known.disabled or known.role != "admin":
            mend = f"user enable {FIRST_ADMIN}" if known and known.disabled else f"user role {FIRST_ADMIN} admin"
            raise BadSettings("the server has no admin", f"polydub admin {mend}")
        return known, False
    await accounts.audit("account-opened", user.id, by="first start", role="admin")
    return user, True


async def serve(loaded: Loaded, begun: Callable[[Mapping[str, str]], None], leaving: Leaving) -> None:
    """Serves until it is told to stop (SIGTERM, SIGINT), then ends what is open within `FAREWELL_S` seconds.

    Args: begun: called once requests are taken, with "url" and "data", and "link" and "minutes" on the first start. leaving:
    begins when it is told to stop.
    Raises: what `opened` raises; BadSettings: the port is taken.
    """
    settings = loaded.settings.server
    listener = listening(settings)
    with contextlib.closing(listener):
        async with opened(loaded) as house:
            secret = loaded.secrets.get("webhook_secret")
            app = create_app(
                house.services, accounts=house.accounts, webhook_secret=secret.get_secret_value() if secret else ""
            )
            url = settings.public_url or address_of(settings, listener.getsockname()[1])
            facts = {"url": url, "data": str(house.services.folder)}
            if house.first_start:
                facts["minutes"] = str(settings.link_minutes)
                facts["link"] = f"{url}/login?token={await house.accounts.link(house.admin, 'login')}"
            limit_s = FAREWELL_S + (CLOSING_S if postgres(house.services.settings) else CLOSING_ALONE_S)
            keeping = asyncio.create_task(_keep_house(house.services))
            try:
                await _run(app, listener, lambda: begun(facts), lambda: leaving.begin(limit_s))
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)


async def _keep_house(services: Services) -> None:
    from polydub.server.belonging import warn
    from polydub.server.retention import sweep

    async def swept() -> Sequence[Doomed]:
        gone = await sweep(services)
        await services.records.sweep_secrets(services.now())
        return gone

    await warn(services)
    await sweeping(swept)


async def sweeping(sweep: Callable[[], Awaitable[Sequence[Doomed]]], first_s: float = FIRST_SWEEP_S,
                   then_s: float = SWEEP_S) -> None:  # fmt: skip
    """Deletes what has been kept long enough, for the first time after `first_s` seconds, then every `then_s`."""
    wait_s = first_s
    while True:
        await asyncio.sleep(wait_s)
        wait_s = then_s
        try:
            gone = await sweep()
            LOG.info("swept", extra={"facts": {"removed": len(gone), "bytes": sum(row.bytes for row in gone)}})
        except (PolydubError, OSError) as error:
            LOG.warning("old files and rows stay until the next time: %s", error)


def listening(settings: ServerSettings) -> socket.socket:
    """A socket at the settings' host and port. Raises: BadSettings."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # without it asyncio leaves Nagle's delay on
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL or not settings.port
        own = "give an address of this machine: --host 127.0.0.1, or 0.0.0.0 for others, too"
        hint = own if elsewhere else f"give another one: --port {settings.port + 1}"
        why = error.strerror or error
        raise BadSettings(f"port {settings.port} of {settings.host} cannot be had: {why}", hint) from error
    return listener


def address_of(settings: ServerSettings, port: int) -> str:
    """Where this machine reaches the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{port}"


class _Uvicorn(uvicorn.Server):
    """Signals stop it; they are not sent again afterwards, since there is more to close than uvicorn knows."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Also begins to leave."""
        self._stopping()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for number in caught:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)


async def _run(app: Any, listener: socket.socket, begun: Callable[[], None], stopping: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="none", lifespan="on",
        timeout_graceful_shutdown=FAREWELL_S, timeout_keep_alive=15,
    )  # fmt: skip
    server = _Uvicorn(config, stopping)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        begun()
    await serving


def _keys(loaded: Loaded, folder: Path) -> Keys:
    given = loaded.secrets.get("jwt_keys")
    if given:
        return Keys.written(given.get_secret_value())
    if loaded.settings.server.database:
        LOG.warning("access tokens of this host are not known to others: set POLYDUB_JWT_KEYS on all of them")
    return Keys.kept(folder / KEYS)


async def _host_token(accounts: Accounts, admin: User, loaded: Loaded) -> None:
    """The token that the environment names (API_TOKEN) opens the server as its first admin; no other of that name does."""
    given = loaded.secrets.get("api_token")
    token = given.get_secret_value() if given else ""
    if token and len(token) < SHORTEST_TOKEN:
        raise BadSettings(f"API_TOKEN has fewer than {SHORTEST_TOKEN} characters", "take a longer one")
    known = await accounts.records.secret("token", digest(token)) if token else None
    if known and known.revoked:
        raise BadSettings("API_TOKEN is one that was revoked", "take a new one")
    for old in await accounts.records.secrets(admin.id, "token"):
        if old.name == HOST_TOKEN and not old.revoked and (known is None or old.id != known.id):
            await accounts.records.revoke(id_=old.id)
    if token and known is None:
        now = accounts.now()
        row = Secret(new_id(), admin.id, "token", digest(token), now, now.replace(year=now.year + 100, day=1), HOST_TOKEN)
        await accounts.records.add_secret(row)


class NoJobs:
    """Jobs of a server that has none: speech services alone, and commands that only look after what is kept."""

    async def submit(self, row: JobRow) -> None:
        raise BadSettings("this server takes no jobs", "start it without --only")

    async def cancel(self, id_: str) -> bool:
        return False

    async def pause(self, id_: str) -> bool:
        return False

    async def again(self, id_: str) -> JobRow | None:
        return None

    async def listen(self, id_: str, after: int = 0) -> AsyncIterator[Event]:
        for event in ():
            yield event

    async def tell(self, id_: str, kind: str, data: Mapping[str, Any]) -> Event:
        raise BadSettings("this server takes no jobs", "start it without --only")

    async def queue_depth(self) -> Mapping[str, int]:
        return {}

    async def ended(self, before: datetime) -> Sequence[str]:
        return ()

    async def forget(self, ids: Sequence[str]) -> None:
        """There is nothing."""

    async def close(self) -> None:
        """Nothing is open."""
