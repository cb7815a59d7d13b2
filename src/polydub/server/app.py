"""The application: routes, the door before them, one shape for all errors, and the OpenAPI document."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any, cast

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from polydub.errors import Missing, PolydubError, StoreError
from polydub.server.access import CSRF_HEADER, SECURE_COOKIE
from polydub.server.accounts import Accounts
from polydub.server.advice import next_step
from polydub.server.contracts import Services
from polydub.server.door import Door, answer_headers
from polydub.server.metrics import Metrics
from polydub.server.parameters import refuse_unknown
from polydub.server.patience import said_away
from polydub.server.policies import policy_of, routes_of
from polydub.server.problems import ErrorBody, Problem, body_of, headers_of, reason
from polydub.server.routes import MODULES
from polydub.server.tokens import Keys

LOG = logging.getLogger("polydub.server")
_ABOUT = (
    "Dubbing, speech services and accounts. Errors have one shape on every path; see `ErrorBody`. Under /api, parameters and "
    "fields that a path does not know are refused: 422 with the code `unknown_parameter` or `invalid_value`."
)
TAGS = {
    "accounts": "Log in, tokens, passwords.",
    "admin": "Accounts of others, audit log.",
    "operations": "Is it there, is it ready, how busy is it.",
    "jobs": "Dubs: start, follow, stop, fetch.",
    "catalogue": "What a job may name: engines, languages, settings.",
    "uploads": "Files, at once or in parts that survive anything (tus 1.0).",
    "review": "Lines of a dub: see, change, lock, speak anew.",
    "streams": "Dubs that are watched while they are made (HLS).",
    "speech": "Speech services as OpenAI's clients know them.",
    "services": "Transcription and separation with progress.",
    "voices": "Voices, presets, characters, glossaries.",
    "webhooks": "What others are told, and what they tell.",
}
_WORDS = {
    400: ("bad_request", "the request is not well formed"),
    404: ("no_such_path", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not know this method"),
    406: ("not_acceptable", "there is no answer in a form that the client takes"),
    408: ("too_slow", "the body comes too slowly"),
    413: ("too_large", "the body is too large"),
    415: ("unsupported_media_type", "the body is of a kind that is not taken here"),
    416: ("bad_range", "the range lies outside the file"),
}


def create_app(services: Services, *, accounts: Accounts | None = None, only: str = "", webhook_secret: str = "") -> FastAPI:
    """The server's application.

    Args: accounts: made with keys that end with the process when None (tests). only: "all", "speech" or "separation"; empty =
    what the settings say. webhook_secret: what webhooks from remote workers are signed with; empty = none are taken.
    """
    settings = services.settings
    modules = MODULES[only or settings.only]
    app = FastAPI(
        title="polydub",
        version=version("polydub"),
        description=_ABOUT,
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        responses={"default": {"model": ErrorBody, "description": "What is wrong."}, 422: {"model": ErrorBody}},
        generate_unique_id_function=lambda route: route.name,
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.accounts = accounts or Accounts(services.records, settings, Keys.random(), now=services.now)
    app.state.metrics = Metrics()
    _add_house(app, services, modules, webhook_secret)
    for name in modules:
        router = import_module(f"polydub.server.routes.{name}").router
        app.include_router(router, dependencies=[Depends(refuse_unknown)])
    templates: dict[Any, str] = {}
    for route in routes_of(app):
        policy_of(route)
        templates[route.endpoint] = route.path or ""
    _handle_errors(app)
    if settings.cors_origins:
        _allow_origins(app, settings.cors_origins)
    state = app.state
    app.add_middleware(Door, settings=settings, accounts=state.accounts, metrics=state.metrics, templates=templates)
    if settings.trusted_proxies:
        app.add_middleware(cast("Any", ProxyHeadersMiddleware), trusted_hosts=list(settings.trusted_proxies))
    cast("Any", app).openapi = lambda: _openapi(app)
    return app


def _add_house(app: FastAPI, services: Services, modules: tuple[str, ...], webhook_secret: str) -> None:
    """What some routes have besides the services, for the whole process."""
    if "uploads" in modules:
        from polydub.server.uploads import Uploads

        app.state.uploads = Uploads(services)
    if "webhooks" in modules:
        from polydub.server.incoming import Incoming, Noted
        from polydub.server.webhooks import Webhooks

        app.state.webhooks = Webhooks(services)
        app.state.incoming = Incoming(services.records, webhook_secret, Noted(services.records, services.jobs.tell))
    if "presets" in modules:
        from polydub.server.presets import Presets

        app.state.presets = Presets(services, app.state.uploads)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """While the server runs: what waits to be delivered is, and presets are made."""
    async with AsyncExitStack() as stack:
        for name in ("webhooks", "presets"):
            if service := getattr(app.state, name, None):
                await stack.enter_async_context(service.running())
        yield


def _allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_credentials=True,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "authorization", "content-type", CSRF_HEADER, "x-request-id", "last-event-id", "range", "idempotency-key",
            "tus-resumable", "upload-length", "upload-offset", "upload-metadata", "upload-checksum", "upload-defer-length",
        ],
        expose_headers=[
            "x-request-id", "retry-after", "location", "content-range", "content-disposition", "content-language",
            "x-polydub-engine", "x-polydub-notices", "x-polydub-voice",
            "tus-resumable", "tus-version", "tus-extension", "tus-max-size", "upload-offset", "upload-length", "upload-expires",
        ],
        max_age=600,
    )  # fmt: skip


def _handle_errors(app: FastAPI) -> None:
    app.add_exception_handler(PolydubError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(StarletteHTTPException, _of_http)
    app.add_exception_handler(Exception, _of_a_fault)


def answer(request: Request, error: PolydubError) -> JSONResponse:
    """An error as every path answers it."""
    return JSONResponse(body_of(error, request.url.path), error.http_status, dict(headers_of(error)))


async def _of_ours(request: Request, error: Exception) -> JSONResponse:
    told = cast("PolydubError", error)
    if told.http_status >= 500 and not isinstance(told, Missing) and not said_away(told):
        LOG.error("%s: %s", told.code, told.message, exc_info=told)
    if isinstance(told, StoreError) and told.http_status == 500:  # its message names places of this machine
        told = Problem(500, "store", "the server cannot read or write what it keeps", hint="the server's log says more")
    return answer(request, told)


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    first = cast("RequestValidationError", error).errors()[0]
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    place = [str(part) for part in first["loc"]]
    if place == ["body"] and first["type"] != "missing" and kind != "application/json" and not kind.startswith("multipart/"):
        code, words = _WORDS[415]
        return answer(request, Problem(415, code, words, hint="send Content-Type: application/json"))
    if first["type"] == "json_invalid":
        return answer(request, Problem(400, "bad_json", "the body is no JSON", param="body"))
    param = ".".join(part for part in place[1:]) or place[0]
    said = f"{param}: {reason(first)}"
    return answer(request, Problem(422, "invalid_value", said, hint=next_step(first["type"]), param=param))


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    told = cast("HTTPException", error)
    code, words = _WORDS.get(told.status_code, ("refused", str(told.detail)))
    hint = "GET /openapi.json lists all paths" if told.status_code in (404, 405) else ""
    response = answer(request, Problem(told.status_code, code, words, hint=hint))
    response.headers.update(told.headers or {})
    return response


async def _of_a_fault(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours. The framework raises it again after the answer, and uvicorn logs it too, but knows no request id."""
    facts = {"request": request.scope.get("polydub.request", ""), "path": request.url.path[:200]}
    LOG.error("a fault of the server", exc_info=error, extra={"facts": facts})
    problem = Problem(500, "internal", "something went wrong in the server", hint="its log says more, under the request id")
    response = answer(request, problem)
    path, scheme = request.url.path, request.url.scheme
    response.headers.update(answer_headers(request.app.state.services.settings, path, scheme, "application/json"))
    response.headers["x-request-id"] = request.scope.get("polydub.request", "")
    return response


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        document.setdefault("components", {})["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API token (pd_...) or an access token."},
            "session": {"type": "apiKey", "in": "cookie", "name": SECURE_COOKIE, "description": "The studio's session."},
        }
        for route in routes_of(app):
            rule = policy_of(route)
            for method in route.methods or ():
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None and rule.role != "public":
                    operation["security"] = [{"bearer": []}, {"session": []}]
                    operation["x-role"], operation["x-scope"] = rule.role, rule.scope
        app.openapi_schema = _readable(document)
    return app.openapi_schema


def _readable(document: dict[str, Any]) -> dict[str, Any]:
    """For what makes clients of it: parameters without Python's underscores, and a schema for what is no JSON."""
    told: dict[str, Any] = json.loads(json.dumps(document).replace("{id_}", "{id}"))
    for operation in (one for methods in told["paths"].values() for one in methods.values()):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "id_":
                parameter["name"], parameter["schema"]["title"] = "id", "Id"
        for answer_ in operation["responses"].values():
            for kind, content in answer_.get("content", {}).items():
                binary = {} if kind.startswith("text/") else {"format": "binary"}
                content.setdefault("schema", {"type": "string", **binary})
    return told
