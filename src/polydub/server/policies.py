"""The policy of every route, read from the application itself."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from polydub.server.access import Policy

_DOCUMENT = "/openapi.json"


def routes_of(app: FastAPI) -> list[RouteContext]:
    """All routes but the OpenAPI document; those of routers with their whole path."""
    return [route for route in iter_route_contexts(app.routes) if route.path != _DOCUMENT]


def policy_of(route: RouteContext) -> Policy:
    """The policy of a route. Raises: RuntimeError when it has none or several: such a server does not start."""
    found = list(_policies(route.dependant)) if isinstance(route.original_route, APIRoute) else []
    if len(found) != 1:
        methods = " ".join(sorted(route.methods or ()))
        raise RuntimeError(f"{methods} {route.path} has {len(found)} policies: give it one Depends(policy(...))")
    return found[0]


def _policies(dependant: Dependant) -> Iterator[Policy]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Policy):
            yield inner.call
        yield from _policies(inner)
