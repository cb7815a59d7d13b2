"""Records on Cloudflare D1 over its HTTP API: no transactions there, every method is one statement and needs none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from polydub.config.server import ServerSettings
from polydub.errors import BadSettings, MissingSecret, StoreError
from polydub.server.db.migrating import VERSION_TABLE, script
from polydub.server.db.records import Conflict, DatabaseAway, Row, TableRecords, now_utc
from polydub.server.db.tables import text_of

_CLOUDFLARE = "https://api.cloudflare.com/client/v4"
_TRIES, _PAUSE_S = 3, 0.3
_BUSY = frozenset({429, 500, 502, 503, 504})
# In the order of sqlite3's positional marks, and with lists spelled out.
_DIALECT = sqlite.dialect(paramstyle="qmark")


class D1Records(TableRecords):
    """Records of a D1 database."""

    def __init__(self, client: httpx.AsyncClient, path: str, now: Callable[[], datetime] = now_utc) -> None:
        super().__init__("sqlite", now)
        self._client, self._path = client, path

    async def run(self, statement: sa.Executable) -> Sequence[Row]:
        text, values = _compiled(statement)
        return await self.send(text, values)

    async def send(self, text: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        """One statement. A refusal for now is tried again only where D1 has surely not run it. Raises as `run`."""
        for attempt in range(_TRIES):
            try:
                answer = await self._client.post(self._path, json={"sql": text, "params": list(values)})
            except httpx.ConnectError as error:
                if attempt + 1 == _TRIES:
                    raise DatabaseAway("D1 does not answer", "try again") from error
            except httpx.HTTPError as error:
                raise DatabaseAway("D1 did not finish its answer", "try again") from error
            else:
                if answer.status_code != 429 or attempt + 1 == _TRIES:
                    return _rows(answer)
            await asyncio.sleep(_PAUSE_S * 2**attempt)
        raise DatabaseAway("D1 does not answer", "try again")

    async def close(self) -> None:
        await self._client.aclose()

    async def migrate(self) -> None:
        """Tables of this version, statement by statement: begun ones are gone on with."""
        known = await self.send("select name from sqlite_master where type = 'table' and name = ?", [VERSION_TABLE])
        version = ""
        if known:
            rows = await self.send(f"select version_num from {VERSION_TABLE}")  # noqa: S608 - a constant
            version = str(rows[0]["version_num"]) if rows else ""
        for statement in script(version):
            again = statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
            again = again.replace("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1)
            await self.send(again.replace("CREATE UNIQUE INDEX ", "CREATE UNIQUE INDEX IF NOT EXISTS ", 1))


async def d1_records(settings: ServerSettings, token: str, now: Callable[[], datetime]) -> D1Records:
    """The D1 database of the settings, with this version's tables. Raises: BadSettings, MissingSecret, StoreError."""
    missing = [name for name in ("d1_account", "d1_database") if not getattr(settings, name)]
    if missing:
        raise BadSettings(f"database is d1, but server.{missing[0]} is not set", "Cloudflare's dashboard shows it")
    if not token and not settings.d1_url:
        raise MissingSecret("the token for D1 is not set: POLYDUB_D1_TOKEN", "make one with the permission D1 Edit")
    client = httpx.AsyncClient(
        base_url=settings.d1_url or _CLOUDFLARE,
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(30, connect=5),
    )
    records = D1Records(client, f"/accounts/{settings.d1_account}/d1/database/{settings.d1_database}/raw", now)
    try:
        await records.migrate()
    except BaseException:
        await client.aclose()
        raise
    return records


def _compiled(statement: Any) -> tuple[str, list[Any]]:
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled), [text_of(compiled.params[name]) for name in compiled.positiontup or ()]


def _rows(answer: httpx.Response) -> Sequence[Row]:
    try:
        whole: dict[str, Any] = answer.json()
        if not whole["success"]:
            raise _error(answer.status_code, "; ".join(str(e.get("message")) for e in whole["errors"]))
        found = whole["result"][-1]["results"]
        return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DatabaseAway(f"D1 answered {answer.status_code} and no rows", "try again") from error


def _error(status: int, message: str) -> Exception:
    if "UNIQUE constraint failed" in message:
        return Conflict(message)
    if status in (401, 403):
        return StoreError("D1 refuses the token", "check POLYDUB_D1_TOKEN and its permission D1 Edit")
    if status in _BUSY:
        return DatabaseAway(f"D1 cannot answer now ({status})", "try again")
    return StoreError(f"D1 refused a statement ({status}): {message[:200]}", "check server.d1_account and server.d1_database")
