"""Parameters of queries that a path does not know: refused, as unknown fields of bodies are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from polydub.server.problems import Problem


async def refuse_unknown(request: Request) -> None:
    """A dependency. Raises: Problem 422 for the first parameter of the query that the path does not know.

    Only under /api: clients of OpenAI send some to /v1 that only others know. And not where something else than JSON is
    fetched: pages, players and listeners to events add parameters of their own to what they open.
    """
    route = request.scope["route"]
    if not request.url.query or not request.url.path.startswith("/api/") or not isinstance(route, APIRoute):
        return
    if request.method in ("GET", "HEAD") and not isinstance(route.response_class, DefaultPlaceholder):
        return
    known = tuple(dict.fromkeys(_names(route.dependant)))
    for name in request.query_params:
        if name not in known:
            told, hint = name[:100], f"it takes {', '.join(known)}" if known else "it takes none"
            raise Problem(422, "unknown_parameter", f"this path has no parameter {told}", hint=hint, param=told)


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        model: Any = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from model.model_fields
        else:
            yield field.alias
    for inner in dependant.dependencies:
        yield from _names(inner)
