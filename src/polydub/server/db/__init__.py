"""Records on a database: SQLite, Postgres or Cloudflare D1; one set of tables, one set of statements."""

from polydub.server.db.opening import open_records

__all__ = ["open_records"]
