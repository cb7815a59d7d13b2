"""The tables. Only texts and whole numbers, so that every database keeps them alike: times are ISO 8601 in UTC with
microseconds (they sort as they happened), documents are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from polydub.server.contracts import Event, JobRow, Secret, User

METADATA = sa.MetaData()

USERS = sa.Table(
    "users",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("disabled", sa.Integer, nullable=False),
    sa.Column("preferences", sa.Text, nullable=False),
)
SECRETS = sa.Table(
    "secrets",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("expires", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("family", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("used", sa.Text),
    sa.Column("revoked", sa.Integer, nullable=False),
    sa.Index("secrets_by_digest", "kind", "digest", unique=True),
    sa.Index("secrets_by_user", "user", "kind"),
    sa.Index("secrets_by_family", "family"),
    sa.Index("secrets_by_end", "expires"),
)
JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("updated", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("progress", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("finished", sa.Text),
    sa.Index("jobs_by_owner", "owner", "created"),
    sa.Index("jobs_by_state", "state", "created"),
    sa.Index("jobs_by_time", "created"),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)
DOCUMENTS = sa.Table(
    "documents",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Index("documents_by_owner", "kind", "owner", "created"),
    sa.Index("documents_by_time", "kind", "created"),
)

_TIMES = frozenset({"created", "updated", "expires", "used", "finished", "at"})
_DOCUMENTS = frozenset({"preferences", "request", "progress", "error", "result", "data", "scopes"})
_FLAGS = frozenset({"disabled", "revoked"})
Noun = TypeVar("Noun", User, Secret, JobRow, Event)


def stamp(when: datetime) -> str:
    """A time as it is kept; naive times are refused."""
    if when.tzinfo is None:
        raise ValueError("a time without a zone")
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unstamp(text: str) -> datetime:
    """A time as it was kept."""
    return datetime.fromisoformat(text)


def document(value: Any) -> str:
    """JSON in ASCII, so that no character of it is one that a database refuses."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a noun as columns."""
    return {name: _kept(name, value) for name, value in values.items()}


def columns_of(noun: User | Secret | JobRow | Event) -> dict[str, Any]:
    """A whole noun as columns."""
    return kept({field.name: getattr(noun, field.name) for field in fields(noun)})


def noun_of(kind: Callable[..., Noun], row: Mapping[str, Any]) -> Noun:
    """A row as a noun."""
    return kind(**{name: _told(name, value) for name, value in row.items()})


def text_of(value: Any) -> Any:
    """A text without what databases refuse: NUL and lone halves of characters become U+FFFD."""
    if not isinstance(value, str):
        return value
    return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _kept(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return stamp(value)
    if name in _DOCUMENTS:
        return document(value)
    return int(value) if name in _FLAGS else text_of(value)


def _told(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return unstamp(value)
    if name in _DOCUMENTS:
        return tuple(json.loads(value)) if name == "scopes" else json.loads(value)
    return bool(value) if name in _FLAGS else value
