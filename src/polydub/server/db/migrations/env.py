"""What Alembic runs: on the connection it was given, or into a script of statements for SQLite's dialect."""

from __future__ import annotations

from alembic import context

from polydub.server.db.tables import METADATA


def _run() -> None:
    if context.is_offline_mode():
        context.configure(dialect_name="sqlite", target_metadata=METADATA, literal_binds=True)
    else:
        context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
    with context.begin_transaction():
        context.run_migrations()


_run()
