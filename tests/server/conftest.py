from __future__ import annotations

import pytest
from postgres import cluster, postgres

__all__ = ["cluster", "postgres"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
