"""What remote workers tell the server: signed as Standard Webhooks, taken once.

It becomes events of the job, or moves a preset. Nothing here moves a job: `Receiver` is what a runner of remote work puts in
the place of `Noted`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator
from standardwebhooks import Webhook as Signer
from standardwebhooks import WebhookVerificationError

from polydub.errors import BadSettings
from polydub.server import presets
from polydub.server.contracts import OPEN, Event, Records
from polydub.server.problems import Problem, not_found

KIND = "received"  # of documents in the records: ids of messages that were taken
BODY = 1_000_000  # bytes
SHORTEST_KEY = 24  # bytes, as Standard Webhooks asks
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Facts = Annotated[dict[str, Any], Field(default_factory=dict, max_length=100)]


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JobStep(_Told):
    """A remote worker has got on with a job."""

    model_config = _example(job="5f0c2f9f2b1d4c6e8a7b9c0d", step="separate", done=1, total=4)
    job: Id
    step: str = Field(min_length=1, max_length=100, description="Name of the stage.")
    done: float = Field(default=0, ge=0, description="Of `total`.")
    total: float = Field(default=0, ge=0, description="0 = nobody knows.")
    data: Facts

    @model_validator(mode="after")
    def _no_more_than_all(self) -> JobStep:
        if self.total and self.done > self.total:
            raise ValueError("done is more than total")
        return self


class JobComplete(_Told):
    """A remote worker has finished its part of a job."""

    model_config = _example(job="5f0c2f9f2b1d4c6e8a7b9c0d", status="done", message="4 stems")
    job: Id
    status: Literal["done", "failed"]
    message: str = Field(default="", max_length=2000)
    data: Facts


class PresetComplete(_Told):
    """A voice preset is being made elsewhere, or has been."""

    model_config = _example(preset="5f0c2f9f2b1d4c6e8a7b9c0d", status="training", message="epoch 1 of 3")
    preset: Id
    status: Literal["training", "done", "failed"]
    message: str = Field(default="", max_length=2000)
    data: Facts


class Receiver(Protocol):
    """What becomes of a message; it may come again after a crash, so that doing it twice must do no harm.

    Raises: Problem 404 for a job or preset that is not there.
    """

    async def job_step(self, told: JobStep) -> None: ...
    async def job_complete(self, told: JobComplete) -> None: ...
    async def preset_complete(self, told: PresetComplete) -> None: ...


class Noted:
    """Keeps messages as events of their job, and moves presets. `tell`: gives events also to those who listen."""

    def __init__(self, records: Records, tell: Callable[[str, str, Mapping[str, Any]], Awaitable[Event]] | None = None) -> None:
        self._records, self._tell = records, tell or records.add_event

    async def job_step(self, told: JobStep) -> None:
        """As an event "progress" that says "remote". Raises: Problem 404; 409 when the job has ended."""
        await self._open(told.job)
        data = {"stage": told.step, "done": told.done, "total": told.total, "remote": True, **_apart(told.data)}
        await self._tell(told.job, "progress", data)

    async def job_complete(self, told: JobComplete) -> None:
        """As an event "notice" with the code remote-done or remote-failed. Raises: Problem 404, 409."""
        await self._open(told.job)
        severity = "info" if told.status == "done" else "warning"
        data = {"code": f"remote-{told.status}", "text": told.message, "severity": severity, "remote": True}
        await self._tell(told.job, "notice", {**data, **_apart(told.data)})

    async def preset_complete(self, told: PresetComplete) -> None:
        """Moves the preset, only forward. Raises: Problem 404."""
        training = {"status": told.status, "message": told.message, **_apart(told.data)}
        await presets.told(self._records, told.preset, told.status, training)

    async def _open(self, job: str) -> None:
        row = await self._records.job(job)
        if row is None:
            raise not_found("job")
        if row.state not in OPEN:
            raise Problem(409, "job_ended", f"the job is {row.state}")


def _apart(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"data": data} if data else {}


def _checked(secret: str) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith("whsec_") or len(key) < SHORTEST_KEY:
        text = f"POLYDUB_WEBHOOK_SECRET is not whsec_ and {SHORTEST_KEY} bytes or more in base64"
        raise BadSettings(text, 'make one: echo "whsec_$(openssl rand -base64 32)"')
    return secret


class Incoming:
    """Checks and takes messages. `secret`: whsec_..., several with spaces between while they are changed; empty = none.

    Raises: BadSettings for a secret of another form, with which no message would ever fit.
    """

    def __init__(self, records: Records, secret: str, receiver: Receiver | None = None) -> None:
        self._records, self._secrets = records, [_checked(one) for one in secret.split()]
        self._receiver = receiver or Noted(records)
        self._turns: dict[str, asyncio.Lock] = {}

    async def take(self, kind: type[BaseModel], body: bytes, headers: Mapping[str, str], now: datetime) -> bool:
        """Acts on a message; False when it was taken before.

        Raises: Problem 403 when no secret is set, 401 for a wrong signature or one of more than 5 minutes ago,
        pydantic's ValidationError, what the receiver raises.
        """
        self._verify(body, headers)
        told = kind.model_validate_json(body)
        key = hashlib.sha256(headers["webhook-id"].encode()).hexdigest()
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with turn:
                if await self._records.get(KIND, key) is not None:
                    return False
                await self._act(told)
                await self._records.put(KIND, key, "", {"at": now.isoformat()})
                return True
        finally:
            if not turn.locked():
                self._turns.pop(key, None)

    async def _act(self, told: BaseModel) -> None:
        match told:
            case JobStep():
                await self._receiver.job_step(told)
            case JobComplete():
                await self._receiver.job_complete(told)
            case PresetComplete():
                await self._receiver.preset_complete(told)
            case _:
                raise TypeError(type(told).__name__)

    def _verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        if not self._secrets:
            raise Problem(
                403, "no_webhook_secret", "this server takes no webhooks", hint="set POLYDUB_WEBHOOK_SECRET where it runs"
            )
        given = {name: headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
        for secret in self._secrets:
            try:
                Signer(secret).verify(body, given, json_parse=False)
                return
            except (WebhookVerificationError, ValueError):  # the latter for headers that are nonsense
                continue
        raise Problem(401, "bad_signature", "the signature does not fit, or is older than 5 minutes")
