"""Schemathesis makes requests from the OpenAPI document: none ends in a fault, every answer is as the document says.

What a route answers is the task of its own tests; this one asks for what nobody thought of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import schemathesis
import uvicorn
from house import open_house
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from polydub import config
from polydub.server.speech import House as Speech

pytestmark = pytest.mark.slow
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/offset+octet-stream")
def part_of_a_file(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


ENDS_THE_LOGIN = "/api/auth/logout"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server on loopback, and an admin's token."""
    import asyncio

    told: list[Any] = []

    async def serve(folder: Path) -> None:
        engines = {"tts": "fake", "asr": "fake", "separation": "mask", "download": "no", "models": str(folder / "models")}
        speech = Speech(config.load(engines, job=None, environ={}, cwd=folder, user_file=None), folder)
        async with open_house(folder, speech=speech, webhook_secret="whsec_" + "QUJD" * 11) as house:
            told_uvicorn = uvicorn.Config(
                house.app, port=0, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=5
            )
            server = uvicorn.Server(told_uvicorn)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            told.extend([f"http://127.0.0.1:{port}", await house.token("admin"), server])
            await serving
        speech.close()

    folder = tmp_path_factory.mktemp("served")
    thread = Thread(target=lambda: asyncio.run(serve(folder)), daemon=True)
    thread.start()
    while len(told) < 3:
        thread.join(0.02)
        assert thread.is_alive()
    yield told[0], told[1]
    told[2].should_exit = True
    thread.join(60)
    assert not thread.is_alive(), "the server does not end"


def tried(operation: Any, token: str) -> str:
    """Sends what fits the document and what does not; "" or what was wrong with an answer."""

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def ask(case: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
        case.call_and_validate(checks=CHECKS, timeout=30)

    try:
        ask()
    except (FailureGroup, ExceptionGroup) as error:
        return f"{operation.label}: {error} {getattr(error, 'exceptions', '')}"
    return ""


def test_the_server_keeps_to_its_document(served: tuple[str, str]) -> None:
    document = schemathesis.openapi.from_url(f"{served[0]}/openapi.json").exclude(path=ENDS_THE_LOGIN)
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 20
    wrong = [text for operation in operations if (text := tried(operation, served[1]))]
    assert not wrong, "\n\n".join(wrong)
