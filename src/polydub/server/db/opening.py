"""Which database the settings mean; opened, and brought to this version's tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import exc

from polydub.config.server import ServerSettings
from polydub.errors import BadSettings, StoreError
from polydub.server.db.d1 import D1Records, d1_records
from polydub.server.db.migrating import migrate
from polydub.server.db.records import now_utc
from polydub.server.db.sql import SqlRecords, postgres_engine, sqlite_engine

FILE = "polydub.sqlite"


async def open_records(
    settings: ServerSettings, folder: Path, *, token: str = "", now: Callable[[], datetime] = now_utc
) -> SqlRecords | D1Records:
    """Records where `settings.database` says; tables are made or brought up to date.

    Args: folder: of the server, which exists; SQLite's file goes there. token: of Cloudflare's API, for d1.
    Raises: BadSettings: an address of no known database. StoreError: it cannot be opened.
    """
    where = settings.database
    if where == "d1":
        return await d1_records(settings, token, now)
    if where and not where.startswith(("postgresql://", "postgres://")):
        kind = where.partition("://")[0] if "://" in where else "that"
        raise BadSettings(
            f"the server cannot keep its records in {kind} (setting server.database)",
            "give postgresql://USER@HOST/NAME or d1, or leave it out for SQLite",
        )
    engine = postgres_engine(where.replace("postgres://", "postgresql://", 1)) if where else sqlite_engine(folder / FILE)
    try:
        await asyncio.to_thread(migrate, engine)
    except (exc.OperationalError, exc.DatabaseError) as error:
        engine.dispose()
        name = engine.url.render_as_string(hide_password=True)
        cause = next(iter(str(error.orig).strip().splitlines()), type(error).__name__)
        raise StoreError(f"the database {name} cannot be opened: {cause}", "check its address, and that it runs") from error
    return SqlRecords(engine, now)
