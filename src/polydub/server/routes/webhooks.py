"""Webhooks: who is told what (`/api/webhooks`), and what remote workers tell (`/api/webhook/...`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from polydub.server.access import mine, policy, services_of
from polydub.server.contracts import Principal
from polydub.server.incoming import BODY, Incoming, JobComplete, JobStep, PresetComplete
from polydub.server.problems import ErrorBody, Problem, reason
from polydub.server.webhooks import EVENTS, Delivery, Hook, Webhooks

router = APIRouter(tags=["webhooks"])
Url = Annotated[str, Field(min_length=8, max_length=2000, examples=["https://studio.example.org/hooks/polydub"])]


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @field_validator("events", check_fields=False)
    @classmethod
    def _known(cls, events: list[str] | None) -> list[str] | None:
        unknown = sorted(set(events or ()) - set(EVENTS))
        if unknown:
            raise ValueError(f"there is no event {unknown[0]}; there are {', '.join(EVENTS)}")
        return events


class WebhookWish(_Wish):
    """A webhook that is to be."""

    url: Url
    events: list[str] = Field(default=[], max_length=50, description="Empty = all of them.", examples=[["job.done"]])
    description: str = Field(default="", max_length=200)


class WebhookChange(_Wish):
    """What is to be otherwise."""

    url: Url | None = None
    events: list[str] | None = Field(default=None, max_length=50)
    description: str | None = Field(default=None, max_length=200)
    enabled: bool | None = Field(default=None, examples=[False])


class WebhookFacts(BaseModel):
    """Who is told what."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    reason: str = Field(description="Why it is not enabled, when the server has seen to that.")
    created: datetime


class WebhookSecret(WebhookFacts):
    """With the secret that signs; it is shown this once."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class TryFacts(BaseModel):
    """One time it was sent."""

    at: datetime
    status: int = Field(description="HTTP's; 0 = no answer.")
    said: str = Field(description="The answer's beginning, or what went wrong.")
    seconds: float


class DeliveryFacts(BaseModel):
    """One announcement."""

    id: str
    event: str
    message: str = Field(description="Its webhook-id, the same at every try.")
    state: str = Field(description="waiting, done or failed.")
    created: datetime
    due: datetime = Field(description="Of the next try, while it waits.")
    tries: list[TryFacts]
    body: str


class Taken(BaseModel):
    """What became of a message."""

    taken: bool = Field(description="False: it was taken before.")


def webhooks_of(request: Request) -> Webhooks:
    """The server's webhooks; a dependency."""
    if not hasattr(request.app.state, "webhooks"):
        request.app.state.webhooks = Webhooks(services_of(request))
    return request.app.state.webhooks


def incoming_of(request: Request) -> Incoming:
    """What takes messages; a dependency. Without one set up no secret is known."""
    if not hasattr(request.app.state, "incoming"):
        request.app.state.incoming = Incoming(services_of(request).records, "")
    return request.app.state.incoming


Viewer = Annotated[Principal, Depends(policy("viewer"))]
Editor = Annotated[Principal, Depends(policy("editor"))]
Service = Annotated[Webhooks, Depends(webhooks_of)]


async def _mine(id_: str, who: Principal, service: Webhooks) -> Hook:
    return mine(who, await service.get(id_), "webhook")


def _facts(hook: Hook) -> dict[str, Any]:
    names = ("id", "url", "description", "enabled", "reason", "created")
    return {**{name: getattr(hook, name) for name in names}, "events": list(hook.events)}


def _delivery(delivery: Delivery) -> DeliveryFacts:
    tries = [TryFacts(at=t.at, status=t.status, said=t.said, seconds=t.seconds) for t in delivery.tries]
    names = ("id", "event", "message", "state", "created", "due", "body")
    return DeliveryFacts(**{name: getattr(delivery, name) for name in names}, tries=tries)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in statuses}


@router.get("/api/webhooks", summary="List webhooks", responses=_errors(401))
async def list_webhooks(who: Viewer, service: Service) -> list[WebhookFacts]:
    """Yours, oldest first."""
    return [WebhookFacts(**_facts(hook)) for hook in await service.of(who.user.id)]


@router.post("/api/webhooks", status_code=201, summary="Add a webhook", responses=_errors(401, 403, 409, 422))
async def add_webhook(wish: WebhookWish, who: Editor, service: Service) -> WebhookSecret:
    """Answers with its secret: keep it, it is not shown again. Addresses of private networks are called only where the server's
    settings list them."""
    hook = await service.add(who.user.id, wish.url, tuple(dict.fromkeys(wish.events)), wish.description)
    return WebhookSecret(**_facts(hook), secret=hook.secret)


@router.get("/api/webhooks/{id_}", summary="Facts of a webhook", responses=_errors(401, 404))
async def get_webhook(id_: str, who: Viewer, service: Service) -> WebhookFacts:
    """Without its secret."""
    return WebhookFacts(**_facts(await _mine(id_, who, service)))


@router.patch("/api/webhooks/{id_}", summary="Change a webhook", responses=_errors(401, 403, 404, 422))
async def change_webhook(id_: str, wish: WebhookChange, who: Editor, service: Service) -> WebhookFacts:
    """What is left out stays."""
    fields: dict[str, Any] = {name: value for name, value in wish.model_dump().items() if value is not None}
    if "events" in fields:
        fields["events"] = tuple(dict.fromkeys(fields["events"]))
    return WebhookFacts(**_facts(await service.change(await _mine(id_, who, service), **fields)))


@router.delete("/api/webhooks/{id_}", status_code=204, summary="Delete a webhook", responses=_errors(401, 403, 404))
async def delete_webhook(id_: str, who: Editor, service: Service) -> None:
    """Also what it has not been told yet."""
    await service.drop(await _mine(id_, who, service))


@router.post("/api/webhooks/{id_}/secret", summary="Give a webhook a new secret", responses=_errors(401, 403, 404))
async def renew_webhook_secret(id_: str, who: Editor, service: Service) -> WebhookSecret:
    """For 24 hours messages are signed by the old one as well."""
    hook = await service.renew(await _mine(id_, who, service))
    return WebhookSecret(**_facts(hook), secret=hook.secret)


@router.post("/api/webhooks/{id_}/test", summary="Send a test", responses=_errors(401, 403, 404))
async def test_webhook(id_: str, who: Editor, service: Service) -> DeliveryFacts:
    """Sends `webhook.test` now, once, and tells what the address answered."""
    return _delivery(await service.test(await _mine(id_, who, service)))


@router.get("/api/webhooks/{id_}/deliveries", summary="What was sent", responses=_errors(401, 404))
async def list_deliveries(
    id_: str, who: Viewer, service: Service, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[DeliveryFacts]:
    """Newest first, with every try."""
    deliveries: Sequence[Delivery] = await service.log(await _mine(id_, who, service), limit)
    return [_delivery(each) for each in deliveries]


@router.post(
    "/api/webhooks/{id_}/deliveries/{delivery}/replay",
    status_code=202,
    summary="Send something again",
    responses=_errors(401, 403, 404),
)
async def replay_delivery(id_: str, delivery: str, who: Editor, service: Service) -> DeliveryFacts:
    """Under its old webhook-id."""
    return _delivery(await service.replay(await _mine(id_, who, service), delivery))


async def _take(kind: type[BaseModel], request: Request) -> Taken:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY:
            raise Problem(413, "too_large", f"a message has at most {BODY} bytes")
    headers: Mapping[str, str] = request.headers
    try:
        taken = await incoming_of(request).take(kind, bytes(body), headers, services_of(request).now())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise Problem(422, "invalid_value", f"{place}: {reason(first)}", param=place) from None
    return Taken(taken=taken)


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    told = [{"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names]
    body = {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}
    return {"parameters": told, "requestBody": body}


_INCOMING: dict[str, Any] = {"dependencies": [Depends(policy("public"))], "responses": _errors(401, 403, 404, 409, 413, 422)}


@router.post("/api/webhook/job-step", summary="A remote worker got on", openapi_extra=_schema(JobStep), **_INCOMING)
async def incoming_job_step(request: Request) -> Taken:
    """An event `progress` of the job, with `remote`; 409 for one that has ended.

    Signed as Standard Webhooks with the server's POLYDUB_WEBHOOK_SECRET, not more than five minutes ago: `webhook-signature` is
    "v1," and the Base64 of the HMAC-SHA256 of "ID.TIMESTAMP.BODY" by the Base64-decoded part of the secret after "whsec_". A
    webhook-id is taken once.
    """
    return await _take(JobStep, request)


@router.post("/api/webhook/job-complete", summary="A remote worker is done", openapi_extra=_schema(JobComplete), **_INCOMING)
async def incoming_job_complete(request: Request) -> Taken:
    """An event `notice` of the job, with the code remote-done or remote-failed; its state stays. Signed as for job-step."""
    return await _take(JobComplete, request)


@router.post("/api/webhook/preset-complete", summary="A preset moves on", openapi_extra=_schema(PresetComplete), **_INCOMING)
async def incoming_preset_complete(request: Request) -> Taken:
    """Moves the preset, only forward: once it is READY or FAILED nothing changes it. Signed as for job-step."""
    return await _take(PresetComplete, request)
