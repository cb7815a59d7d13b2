"""What others are told, as Standard Webhooks: signed, tried again for days, logged, and sent anew on request.

An announcement is a row of the outbox before anything is sent, one for each webhook that wants it, so that a killed server
loses none. Whoever receives gets it at least once, always under the same webhook-id.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
from standardwebhooks import Webhook as Signer

from polydub.errors import BadInput, PolydubError
from polydub.server.contracts import Records, Services
from polydub.server.patience import RECORDS, said_away
from polydub.server.problems import Problem, not_found
from polydub.server.tokens import new_id
from polydub.server.urls import Limits, World, allowing, checked, client

LOG = logging.getLogger("polydub.server.webhooks")
KIND, OUTBOX, LOGGED = "webhook", "outbox", "delivery"  # of documents in the records
EVENTS = ("job.queued", "job.started", "job.paused", "job.done", "job.failed", "job.cancelled", "preset.done", "preset.failed")
TEST = "webhook.test"
MOST = 20  # webhooks of one account
MOST_WAITING = 100_000
# Standard Webhooks' own proposal: about three days.
PAUSES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
LIMITS = Limits(seconds=20.0, connect_s=5.0, silent_s=15.0)
LEASE = timedelta(seconds=60)  # after which another process takes over what one has begun to send
OLD_SECRET = timedelta(hours=24)  # after a new secret the old one signs as well, so that receivers can change in peace
AT_ONCE = 8
POLL_S = 5.0
_ANSWER = 400  # characters of an answer that are kept


@dataclass(frozen=True, slots=True)
class Hook:
    """Who is told. Attributes: events: empty = all. secret: whsec_ and Base64. before: the secret until `until`."""

    id: str
    owner: str
    url: str
    secret: str = field(repr=False)
    created: datetime
    events: tuple[str, ...] = ()
    description: str = ""
    enabled: bool = True
    reason: str = ""  # why it is not enabled
    before: str = field(default="", repr=False)
    until: datetime | None = None

    def wants(self, event: str) -> bool:
        """Whether it is told of such an event."""
        return self.enabled and (not self.events or event in self.events or event == TEST)


@dataclass(frozen=True, slots=True)
class Try:
    """One time it was sent. Attributes: status: HTTP's, 0 = no answer. said: the answer's beginning, or what went wrong."""

    at: datetime
    status: int
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """One announcement to one webhook. Attributes: message: its webhook-id. body: what is signed and sent. due: next try."""

    id: str
    owner: str
    hook: str
    event: str
    message: str
    body: str
    created: datetime
    due: datetime
    state: Literal["waiting", "done", "failed"] = "waiting"
    tries: tuple[Try, ...] = ()


def new_secret() -> str:
    """192 random bits, as Standard Webhooks writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


async def announce(records: Records, now: datetime, owner: str, event: str, data: Mapping[str, Any]) -> int:
    """Puts an event into the outbox for each webhook of `owner` that wants it; how many."""
    hooks = [hook_of(*row) for row in await records.list(KIND, owner)]
    wanting = [hook for hook in hooks if hook.wants(event)]
    for hook in wanting:
        delivery = _delivery(now, hook, event, data)
        await records.put(OUTBOX, delivery.id, owner, document(delivery))
    return len(wanting)


def _delivery(now: datetime, hook: Hook, event: str, data: Mapping[str, Any]) -> Delivery:
    body = json.dumps({"type": event, "timestamp": now.isoformat(), "data": data}, ensure_ascii=False, separators=(",", ":"))
    return Delivery(new_id(), hook.owner, hook.id, event, f"msg_{new_id()}", body, now, now)


class Webhooks:
    """Webhooks of a server: kept, tested, delivered. One per process: `app.state.webhooks`."""

    def __init__(self, services: Services, world: World | None = None, limits: Limits = LIMITS) -> None:
        """`world`: None = the internet, and what the setting webhook_hosts lists."""
        self._services, self._limits = services, limits
        self._world = world or allowing(services.settings.webhook_hosts)
        self._bell = asyncio.Event()
        self._dice = random.Random()  # noqa: S311 - of pauses

    # kept

    async def of(self, owner: str) -> Sequence[Hook]:
        """An account's webhooks, oldest first."""
        rows = [hook_of(*row) for row in await self._services.records.list(KIND, owner)]
        return sorted(rows, key=lambda hook: hook.created)

    async def get(self, id_: str) -> Hook:
        """Raises: Problem 404."""
        found = await self._services.records.get(KIND, id_)
        if found is None:
            raise not_found("webhook")
        return hook_of(id_, *found)

    async def add(self, owner: str, url: str, events: tuple[str, ...], description: str) -> Hook:
        """A new one, with its secret. Raises: BadInput for an address that is not called, Problem 409 for too many."""
        if len(await self.of(owner)) >= MOST:
            raise Problem(409, "too_many_webhooks", f"an account has at most {MOST} webhooks", hint="delete one")
        hook = Hook(new_id(), owner, self._address(url), new_secret(), self._services.now(), events, description)
        await self._keep(hook)
        return hook

    async def change(self, hook: Hook, **fields: Any) -> Hook:
        """Another address, other events, enabled or not. Raises: BadInput."""
        if "url" in fields:
            fields["url"] = self._address(fields["url"])
        if fields.get("enabled"):
            fields["reason"] = ""
        changed = replace(hook, **fields)
        await self._keep(changed)
        return changed

    async def renew(self, hook: Hook) -> Hook:
        """A new secret; for a day the old one signs as well."""
        until = self._services.now() + OLD_SECRET
        return await self.change(hook, secret=new_secret(), before=hook.secret, until=until)

    async def drop(self, hook: Hook) -> None:
        """Deletes it and what it has not been told."""
        await self._services.records.drop(KIND, hook.id)
        for delivery in await self.waiting(hook.owner):
            if delivery.hook == hook.id:
                await self._services.records.drop(OUTBOX, delivery.id)

    def _address(self, url: str) -> str:
        return str(checked(url, self._limits, self._world))

    async def _keep(self, hook: Hook) -> None:
        await self._services.records.put(KIND, hook.id, hook.owner, hook_document(hook))

    # sent

    async def waiting(self, owner: str = "") -> Sequence[Delivery]:
        """What is still to be sent, of one account or of all."""
        rows = await self._services.records.list(OUTBOX, owner, MOST_WAITING)
        return sorted((delivery_of(*row) for row in rows), key=lambda each: each.created)

    async def log(self, hook: Hook, limit: int = 100) -> Sequence[Delivery]:
        """What was and will be sent to a webhook, newest first."""
        rows = await self._services.records.list(LOGGED, hook.owner, MOST_WAITING)
        every = [*(delivery_of(*row) for row in rows), *await self.waiting(hook.owner)]
        mine = {each.id: each for each in every if each.hook == hook.id}
        return sorted(mine.values(), key=lambda each: each.created, reverse=True)[:limit]

    async def test(self, hook: Hook) -> Delivery:
        """Sends a test now, once, and tells how it went."""
        data = {"webhook": hook.id, "message": "This is a test."}
        delivery = _delivery(self._services.now(), hook, TEST, data)
        return await self._attempt(delivery, replace(hook, enabled=True), once=True)

    async def replay(self, hook: Hook, delivery_id: str) -> Delivery:
        """Sends something again, under its old webhook-id. Raises: Problem 404."""
        before = next((each for each in await self.log(hook, MOST_WAITING) if each.id == delivery_id), None)
        if before is None:
            raise not_found("delivery")
        now = self._services.now()
        again = replace(before, due=now, state="waiting")
        await self._services.records.put(OUTBOX, again.id, again.owner, document(again))
        self.ring()
        return again

    def ring(self) -> None:
        """Something is in the outbox: the one who delivers need not wait for the next look."""
        self._bell.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Delivers while this lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                await self.deliver_due()
                RECORDS.back()
            except (PolydubError, OSError) as error:
                if not said_away(error):
                    LOG.exception("webhooks could not be delivered now")
            with suppress(TimeoutError):  # not wait_for, which before Python 3.12 loses a cancellation that comes with the bell
                async with asyncio.timeout(POLL_S):
                    await self._bell.wait()
            self._bell.clear()

    async def deliver_due(self) -> int:
        """Sends all that is due, some at once; how many were tried."""
        now = self._services.now()
        due = [each for each in await self.waiting() if each.due <= now]
        slots = asyncio.Semaphore(AT_ONCE)

        async def send(delivery: Delivery) -> None:
            async with slots:
                try:
                    found = await self._services.records.get(KIND, delivery.hook)
                    await self._attempt(delivery, hook_of(delivery.hook, *found) if found else None)
                except (PolydubError, OSError, ValueError):  # the others are sent all the same
                    LOG.exception("delivery %s could not be sent now", delivery.id)

        await asyncio.gather(*(send(each) for each in due))
        return len(due)

    async def _attempt(self, delivery: Delivery, hook: Hook | None, *, once: bool = False) -> Delivery:
        """Sends once, and notes what came of it."""
        if hook is None or not hook.enabled:
            return await self._end(replace(delivery, state="failed"))
        leased = replace(delivery, due=self._services.now() + LEASE)
        await self._services.records.put(OUTBOX, delivery.id, delivery.owner, document(leased))
        tried, wait_s = await self._send(delivery, hook)
        delivery = replace(delivery, tries=(*delivery.tries, tried))
        if 200 <= tried.status < 300:
            return await self._end(replace(delivery, state="done"))
        if tried.status == 410:
            with suppress(Problem):  # deleted meanwhile
                await self.change(await self.get(hook.id), enabled=False, reason="the address answered 410 Gone")
        if tried.status == 410 or once or len(delivery.tries) > len(PAUSES_S):
            return await self._end(replace(delivery, state="failed"))
        pause = max(wait_s, PAUSES_S[len(delivery.tries) - 1] * self._dice.uniform(0.8, 1.2))
        delivery = replace(delivery, due=self._services.now() + timedelta(seconds=pause))
        await self._services.records.put(OUTBOX, delivery.id, delivery.owner, document(delivery))
        return delivery

    async def _end(self, delivery: Delivery) -> Delivery:
        await self._services.records.put(LOGGED, delivery.id, delivery.owner, document(delivery))
        await self._services.records.drop(OUTBOX, delivery.id)
        return delivery

    async def _send(self, delivery: Delivery, hook: Hook) -> tuple[Try, float]:
        """What came of it, and the seconds that the receiver asks to wait."""
        now, begun = self._services.now(), asyncio.get_running_loop().time()
        status, said, wait_s = 0, "", 0.0
        try:
            checked(hook.url, self._limits, self._world)
            headers = signed(delivery, hook, now)
            async with (
                asyncio.timeout(self._limits.seconds),
                client(self._limits, self._world) as web,
                web.stream("POST", hook.url, content=delivery.body.encode(), headers=headers) as answer,
            ):
                status, wait_s = answer.status_code, _wait(answer.headers.get("retry-after", ""), now)
                said = await _beginning(answer)
        except TimeoutError:
            said = f"no answer in {self._limits.seconds:g} s"
        except BadInput as error:
            said = error.message
        except httpx.HTTPError as error:
            said = f"no answer ({type(error).__name__})"
        return Try(now, status, said, round(asyncio.get_running_loop().time() - begun, 3)), wait_s


def signed(delivery: Delivery, hook: Hook, now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    moment = now.astimezone(UTC).replace(microsecond=0)
    keys = [hook.secret, *([hook.before] if hook.before and hook.until and now < hook.until else [])]
    return {
        "content-type": "application/json",
        "webhook-id": delivery.message,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Signer(key).sign(delivery.message, moment, delivery.body) for key in keys),
    }


async def _beginning(answer: httpx.Response) -> str:
    async for piece in answer.aiter_raw(4096):
        text = piece[: 4 * _ANSWER].decode("utf-8", "replace")
        return "".join(c if c.isprintable() else " " for c in text)[:_ANSWER]
    return ""


def _wait(text: str, now: datetime) -> float:
    """Seconds of a Retry-After, at most an hour."""
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return max(0.0, min(seconds, 3600.0))


def hook_of(id_: str, owner: str, kept: Mapping[str, Any]) -> Hook:
    """From what the records hold."""
    until = kept.get("until")
    return Hook(
        id_,
        owner,
        kept["url"],
        kept["secret"],
        datetime.fromisoformat(kept["created"]),
        tuple(kept["events"]),
        kept["description"],
        bool(kept["enabled"]),
        kept.get("reason", ""),
        kept.get("before", ""),
        datetime.fromisoformat(until) if until else None,
    )


def hook_document(hook: Hook) -> Mapping[str, Any]:
    """What the records hold."""
    return {
        "url": hook.url,
        "secret": hook.secret,
        "created": hook.created.isoformat(),
        "events": list(hook.events),
        "description": hook.description,
        "enabled": hook.enabled,
        "reason": hook.reason,
        "before": hook.before,
        "until": hook.until.isoformat() if hook.until else None,
    }


def delivery_of(id_: str, owner: str, kept: Mapping[str, Any]) -> Delivery:
    """From what the records hold."""
    tries = tuple(Try(datetime.fromisoformat(t["at"]), t["status"], t["said"], t["seconds"]) for t in kept["tries"])
    created, due = (datetime.fromisoformat(kept[name]) for name in ("created", "due"))
    texts = (kept["hook"], kept["event"], kept["message"], kept["body"])
    return Delivery(id_, owner, *texts, created, due, kept["state"], tries)


def document(delivery: Delivery) -> Mapping[str, Any]:
    """What the records hold."""
    return {
        "hook": delivery.hook,
        "event": delivery.event,
        "message": delivery.message,
        "body": delivery.body,
        "created": delivery.created.isoformat(),
        "due": delivery.due.isoformat(),
        "state": delivery.state,
        "tries": [{"at": t.at.isoformat(), "status": t.status, "said": t.said, "seconds": t.seconds} for t in delivery.tries],
    }
