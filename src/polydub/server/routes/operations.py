"""Is the server there, is it ready, how busy is it."""

from __future__ import annotations

from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from polydub.errors import StoreError
from polydub.server.access import policy, services_of
from polydub.server.belonging import OtherDatabase, claim
from polydub.server.contracts import Principal, Services
from polydub.server.metrics import Scene

router = APIRouter(tags=["operations"])
PUBLIC = [Depends(policy("public"))]
KIND = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """One word."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the server needs, and whether it is there."""

    ready: bool
    database: bool
    storage: bool
    note: str | None = None


@router.get("/healthz", dependencies=PUBLIC)
async def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get(
    "/readyz", dependencies=PUBLIC, response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "Something is not there."}},
)  # fmt: skip
async def readyz(response: Response, services: Annotated[Services, Depends(services_of)]) -> Readiness:
    """Requests can be served: the database and the storage answer. `note`: what else an operator should look at."""
    database = await _database(services)
    storage = await _storage(services)
    if not (database and storage):
        response.status_code = 503
    ready = database and storage
    return Readiness(ready=ready, database=database, storage=storage, note=await _note(services) if ready else None)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, who: Annotated[Principal, Depends(policy("admin", "metrics"))]) -> Response:
    """Figures for Prometheus; it asks with an API token of the scope metrics."""
    services = services_of(request)
    worker, speech = getattr(services.jobs, "worker", None), services.speech
    scene = Scene(
        "server",
        await services.jobs.queue_depth(),
        await services.records.jobs_by_state(),
        worker.crews if worker else {},
        desks=speech.desks() if speech else {},
    )
    text = await anyio.to_thread.run_sync(request.app.state.metrics.text, scene)
    return Response(text, media_type=KIND)


async def _database(services: Services) -> bool:
    try:
        await services.records.ping()
    except StoreError:
        return False
    return True


async def _storage(services: Services) -> bool:
    try:
        await services.storage.size("readiness")
    except StoreError:
        return False
    return True


async def _note(services: Services) -> str | None:
    """Without the names of places: everybody may ask."""
    try:
        await claim(services, only_look=True)
    except OtherDatabase:
        return "the data belongs to another database, so nothing old is deleted; the server's log says what to do"
    except StoreError:
        return None
    return None
