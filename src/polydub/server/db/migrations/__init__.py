"""Alembic's folder: `env` runs the steps in `versions`."""
