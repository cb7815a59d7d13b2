"""Records on SQLite or Postgres: SQLAlchemy's plain engine in threads of its own.

Threads and not an async driver: a statement that was begun ends and is committed whatever becomes of the request that
asked, one hop to a thread serves a whole statement (aiosqlite needs one for each call), and both databases take one path.
SQLite has one thread: statements take microseconds, and two would wait for each other's locks by sleeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event, exc

from polydub.server.db.records import Conflict, DatabaseAway, Row, TableRecords, now_utc
from polydub.server.db.tables import text_of

_PRAGMAS = ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL")
_CONNECTIONS = 8  # of one process to Postgres
_CONNECT_S = 5


class SqlRecords(TableRecords):
    """Records on an engine made by `sqlite_engine` or `postgres_engine`."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime] = now_utc) -> None:
        super().__init__(engine.dialect.name, now)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._alone = engine.dialect.name == "sqlite"
        self._kept: sa.Connection | None = None  # of the one thread: taking one from the pool costs as much as a statement
        self._threads = ThreadPoolExecutor(1 if self._alone else _CONNECTIONS, thread_name_prefix="records")

    async def run(self, statement: sa.Executable) -> Sequence[Row]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, statement)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._give_back()
        self._engine.dispose()

    def _run(self, statement: sa.Executable) -> Sequence[Row]:
        try:
            if not self._alone:
                with self._engine.connect() as connection:
                    return _rows(connection.execute(statement))
            self._kept = self._kept or self._engine.connect()
            try:
                return _rows(self._kept.execute(statement))
            except BaseException:
                self._give_back()
                raise
        except exc.IntegrityError as error:
            raise Conflict from error
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise DatabaseAway("the database does not answer", "try again; the server's log says more") from error

    def _give_back(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            connection.close()


def _rows(result: sa.CursorResult[Any]) -> Sequence[Row]:
    return [dict(row) for row in result.mappings()] if result.returns_rows else []


def sqlite_engine(file: Path) -> sa.Engine:
    """A database in a file of a local disk, with WAL; ":memory:" for none that is kept."""
    engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 30})
    event.listen(engine, "connect", _prepared)
    _cleaned(engine)
    return engine


def postgres_engine(url: str) -> sa.Engine:
    """A Postgres database; connections that died while idle are replaced."""
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=_CONNECT_S,
        connect_args={"connect_timeout": _CONNECT_S, "application_name": "polydub"},
    )
    _cleaned(engine)
    return engine


def _prepared(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"  # where there is a transaction it waits at its start, not in its middle
    for pragma in _PRAGMAS:
        connection.execute("PRAGMA " + pragma).close()


def _cleaned(engine: sa.Engine) -> None:
    """Texts with NUL or half characters are refused by Postgres and by SQLite's driver: replaced before."""

    def clean(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement, _clean(parameters)

    event.listen(engine, "before_cursor_execute", clean, retval=True)


def _clean(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {name: text_of(value) for name, value in cast("dict[str, Any]", parameters).items()}
    return tuple(map(text_of, cast("tuple[Any, ...]", parameters))) if isinstance(parameters, tuple) else parameters
