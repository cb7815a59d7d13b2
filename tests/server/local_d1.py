"""A stand-in for Cloudflare D1: its HTTP API over SQLite, for tests without the real thing (see `miniflare` in test_records).

As D1 it takes one statement a request, commits it, and tells errors with status 400 and a message.
"""

from __future__ import annotations

import json
import sqlite3

import httpx


class LocalD1:
    """`client()` speaks to it. `refuse`: answers that come before its own, the first at the next request."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.refuse: list[httpx.Response | Exception] = []
        self.statements: list[str] = []

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="https://d1.test")

    def close(self) -> None:
        self._database.close()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.refuse:
            refusal = self.refuse.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            return refusal
        wish = json.loads(request.content)
        self.statements.append(wish["sql"])
        try:
            cursor = self._database.execute(wish["sql"], wish["params"])
        except sqlite3.Error as error:
            message = f"{error}: SQLITE_CONSTRAINT" if isinstance(error, sqlite3.IntegrityError) else str(error)
            return httpx.Response(400, json={"result": [], "success": False, "errors": [{"code": 7500, "message": message}]})
        columns = [name for name, *_ in cursor.description or ()]
        found = {"columns": columns, "rows": [list(row) for row in cursor.fetchall()]}
        return httpx.Response(200, json={"result": [{"results": found, "success": True}], "success": True, "errors": []})
