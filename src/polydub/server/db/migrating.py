"""Brings a database to the tables of this version, by Alembic's steps in `migrations/versions`."""

from __future__ import annotations

import io
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from polydub.errors import StoreError

_LOCK = 7_205_113  # any number, the same on all hosts: one of them migrates a Postgres database, the others wait
VERSION_TABLE = "alembic_version"


def migrate(engine: sa.Engine, to: str = "head") -> None:
    """To `to`, in one transaction; nothing happens when it is there. Raises: StoreError when it is of a later version."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text(f"select pg_advisory_xact_lock({_LOCK})"))
        _refuse_later(_version(connection))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def script(since: str) -> list[str]:
    """The statements that bring SQLite's dialect from a version ("" = an empty database) to this one, for D1."""
    _refuse_later(since or None)
    if since == head():
        return []
    out = io.StringIO()
    config = _config(out)
    command.upgrade(config, f"{since or 'base'}:head", sql=True)
    lines = (line for line in out.getvalue().splitlines() if not line.startswith("--"))
    statements = (part.strip() for part in "\n".join(lines).split(";\n"))
    return [s.rstrip(";") for s in statements if s and s.rstrip(";") not in ("BEGIN", "COMMIT")]


def head() -> str:
    """The version that this program wants."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config(out: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=out) if out else Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def _refuse_later(version: str | None) -> None:
    known = {revision.revision for revision in ScriptDirectory.from_config(_config()).walk_revisions()}
    if version and version not in known:
        raise StoreError(
            f"the database is of a later version of polydub ({version})", "update polydub, or restore a backup of this version"
        )
