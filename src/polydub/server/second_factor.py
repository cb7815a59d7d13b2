"""The second factor: six digits that an app makes of the time (TOTP, RFC 6238), or one of ten recovery codes.

What lasts is documents of the account: its secret, and the hashes of its recovery codes. A code is good once, on all hosts:
the step of time that it was of is added as a document, a recovery code is deleted, and of two who do that one succeeds.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from polydub.server.contracts import Records, Secret, User
from polydub.server.problems import Problem, too_many
from polydub.server.tokens import digest, new_id, new_secret

STEP_S, DIGITS = 30, 6  # what all apps know; so is SHA-1, whose weakness is none of HMAC's (RFC 6194)
RECOVERY_CODES = 10
OFFER = timedelta(minutes=10)  # from showing the secret to the first code of it
MISSES, MISS = 20, timedelta(days=1)  # wrong codes of an account: a guesser who has the password gets 1 of 25,000 a day
ISSUER = "polydub"
KIND, OFFERED, STEP, RECOVERY = "second-factor", "second-factor-offer", "second-factor-step", "recovery-code"
_CODE = re.compile(r"\d{6}", re.ASCII)
_RECOVERY = re.compile(r"[a-z2-7]{24}")

Audit = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Offer:
    """A secret for an app, shown until its first code has come. Attributes: uri: the same, to be drawn as a QR code."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


def code_at(secret: bytes, step: int) -> str:
    """The code of a step of 30 s since 1970: HOTP of it (RFC 4226, 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = mac[-1] & 0xF
    return str((int.from_bytes(mac[at : at + 4], "big") & 0x7FFFFFFF) % 10**DIGITS).zfill(DIGITS)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """Which step a code is of: the present one or the one before, as RFC 6238 (5.2) has it; None for no or another code."""
    step, key = int(now.timestamp()) // STEP_S, base64.b32decode(secret)
    right = [each for each in (step, step - 1) if hmac.compare_digest(code_at(key, each), code)]
    return right[0] if right else None


def plain(code: str) -> str:
    """A code as it is compared: without spaces and dashes, in lower case. Only ASCII, since hmac compares no other texts."""
    return re.sub(r"[\s-]", "", code).lower().encode("ascii", "replace").decode()


def uri_of(secret: str, email: str) -> str:
    """What apps read from a QR code."""
    facts = {"secret": secret, "issuer": ISSUER, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_S}
    return f"otpauth://totp/{ISSUER}:{quote(email)}?{urlencode(facts)}"


class SecondFactor:
    """Second factors of accounts. `audit`: takes what happened, and the account."""

    def __init__(self, records: Records, now: Callable[[], datetime], audit: Audit) -> None:
        self._records, self._now, self._audit = records, now, audit

    async def on(self, user: str) -> bool:
        """Whether an account has one."""
        return await self._records.get(KIND, user) is not None

    async def left(self, user: str) -> int:
        """Recovery codes that were not used."""
        return len(await self._records.list(RECOVERY, user))

    async def offer(self, user: User) -> Offer:
        """A new secret, which counts from its first code on. Raises: Problem 409 when there is one."""
        if await self.on(user.id):
            raise _on_already()
        secret = base64.b32encode(secrets.token_bytes(20)).decode()
        until = self._now() + OFFER
        await self._records.put(OFFERED, user.id, user.id, {"secret": secret, "until": until.isoformat()})
        return Offer(secret, uri_of(secret, user.email))

    async def confirm(self, user: User, code: str) -> tuple[str, ...]:
        """Turns it on by the first code of the secret that was offered; recovery codes. Raises: Problem 403, 409."""
        if await self.on(user.id):
            raise _on_already()
        found = await self._records.get(OFFERED, user.id)
        if found is None or datetime.fromisoformat(found[1]["until"]) <= self._now():
            raise Problem(409, "no_second_factor_offered", "no second factor was begun, or too long ago", hint="begin anew")
        if not await self._is_code(user.id, found[1]["secret"], plain(code)):
            raise wrong_code(403)
        if not await self._records.drop(OFFERED, user.id):
            raise _on_already()
        await self._records.put(KIND, user.id, user.id, {"secret": found[1]["secret"], "since": self._now().isoformat()})
        await self._audit("second-factor-on", user.id)
        return await self.new_recovery_codes(user.id)

    async def new_recovery_codes(self, user: str) -> tuple[str, ...]:
        """Ten, each good once; the ones before are no longer. They have 120 bits: SHA-256 is enough to keep them."""
        await self._drop_all(RECOVERY, user)
        made = [base64.b32encode(secrets.token_bytes(15)).decode().lower() for _ in range(RECOVERY_CODES)]
        for code in made:
            await self._records.put(RECOVERY, digest(code), user, {})
        await self._audit("recovery-codes-made", user)
        return tuple("-".join(code[at : at + 6] for at in range(0, 24, 6)) for code in made)

    async def right(self, user: str, code: str) -> bool:
        """Whether a code is right; it is used up. Raises: Problem 429 after 20 wrong ones within a day."""
        code = plain(code)
        if _RECOVERY.fullmatch(code):
            return await self._use_recovery(user, digest(code))
        await self._count(user)
        found = await self._records.get(KIND, user)
        if found and await self._is_code(user, found[1]["secret"], code):
            await self._records.revoke(family=_misses(user))
            return True
        await self._audit("second-factor-failed", user)
        return False

    async def off(self, user: str) -> bool:
        """Turns it off and forgets all of it; False when there was none."""
        gone = await self._records.drop(KIND, user)
        await self._records.drop(OFFERED, user)
        await self._records.revoke(family=_misses(user))
        for kind in (RECOVERY, STEP):
            await self._drop_all(kind, user)
        if gone:
            await self._audit("second-factor-off", user)
        return gone

    async def _is_code(self, user: str, secret: str, code: str) -> bool:
        step = step_of(secret, code, self._now()) if _CODE.fullmatch(code) else None
        if step is None or not await self._records.add(STEP, f"{user}-{step}", user, {"step": step}):
            return False
        for id_, _, document in await self._records.list(STEP, user):
            if document["step"] < step - 1:  # of a time that is past
                await self._records.drop(STEP, id_)
        return True

    async def _use_recovery(self, user: str, id_: str) -> bool:
        found = await self._records.get(RECOVERY, id_)
        if found is None or found[0] != user or not await self._records.drop(RECOVERY, id_):
            await self._audit("second-factor-failed", user)
            return False
        await self._audit("recovery-code-used", user)
        return True

    async def _count(self, user: str) -> None:
        """Counts a code as a wrong one before it is looked at: of many that come at once none escapes. Raises: Problem 429."""
        now = self._now()
        miss = Secret(new_id(), user, "miss", digest(new_secret()), now, now + MISS, family=_misses(user))
        await self._records.add_secret(miss)
        ends = sorted(s.expires for s in await self._records.secrets(user, "miss") if not s.revoked and s.expires > now)
        if len(ends) > MISSES:
            await self._records.revoke(id_=miss.id)
            problem = too_many("too many wrong codes of this account", (ends[0] - now).total_seconds(), "too_many_codes")
            problem.hint = "use a recovery code, or ask an admin to reset the second factor"
            raise problem

    async def _drop_all(self, kind: str, user: str) -> None:
        for id_, _, _ in await self._records.list(kind, user):
            await self._records.drop(kind, id_)


def wrong_code(status: int) -> Problem:
    """401 at login, 403 for who is logged in."""
    return Problem(status, "wrong_code", "the code is wrong, or was used before", hint="wait for the next one", param="code")


def _on_already() -> Problem:
    return Problem(409, "second_factor_on", "the account has a second factor", hint="turn it off first, to use another app")


def _misses(user: str) -> str:
    return f"miss-{user}"
