from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import House, open_house
from postgres import cluster, postgres

__all__ = ["cluster", "postgres"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A server as it is without any settings."""
    async with open_house(tmp_path) as made:
        yield made
