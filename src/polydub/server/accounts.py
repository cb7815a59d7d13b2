"""Accounts: who logs in, by what, for how long; every change is written to the audit log.

Two ways to be logged in. A page has a *session*: a cookie that stands for a row. A client has a *family*: an access token
(JWT, minutes) and a refresh token that is used once and replaced; a refresh token used twice was stolen, and ends its
family. Programs have API tokens. All are kept as hashes, and all end with their row: access tokens too.

Where an account has a second factor, a password or a link gets a challenge only, which its code turns into a login.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from polydub.config.server import ServerSettings
from polydub.server.contracts import Principal, Records, Role, Secret, User
from polydub.server.passwords import Passwords, check
from polydub.server.problems import Problem, forbidden, not_found, unauthenticated
from polydub.server.second_factor import SecondFactor, wrong_code
from polydub.server.throttle import Throttle
from polydub.server.tokens import OPAQUE, Keys, digest, new_id, new_secret

LOG = logging.getLogger("polydub.server.audit")
LONGEST_LOGIN = timedelta(days=180)  # however often it is renewed
CHALLENGE = timedelta(minutes=5)  # from the password to the code
_TOUCH = timedelta(minutes=1)  # the last use of a session or token is written down so often
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client gets at login: both are shown once."""

    access: str
    refresh: str
    seconds: int


class Accounts:
    """What is done with accounts. `passwords`: how they are hashed; tests take less effort."""

    def __init__(
        self,
        records: Records,
        settings: ServerSettings,
        keys: Keys,
        *,
        now: Callable[[], datetime],
        passwords: Passwords | None = None,
    ) -> None:
        self.records, self.settings, self.keys, self.now = records, settings, keys, now
        self.passwords = passwords or Passwords()
        self.throttle = Throttle(settings)
        self.factor = SecondFactor(records, now, self.audit)
        self._asked: dict[str, asyncio.Future[Principal | None]] = {}

    # ---------------------------------------------------------------- who asks

    async def by_bearer(self, token: str) -> Principal | None:
        """The holder of an access token or API token; None when it is not valid. Who ask at one moment share the answer."""
        asked = self._asked.get(token)
        if asked is None:
            asked = self._asked[token] = asyncio.ensure_future(self._by_bearer(token))
            asked.add_done_callback(lambda _: self._asked.pop(token, None))
        return await asyncio.shield(asked)

    async def _by_bearer(self, token: str) -> Principal | None:
        if token.count(".") == 2:
            return await self._by_access_token(token)
        secret = await self._valid("token", token)
        user = await self._active(secret.user) if secret else None
        if secret is None or user is None:
            return None
        await self._touch(secret)
        return Principal(user, "token", secret.id, frozenset(secret.scopes))

    async def by_session(self, cookie: str) -> Principal | None:
        """The one whose page has this cookie; None when it is not valid, or has not been used for `refresh_days`."""
        secret = await self._valid("session", cookie) if OPAQUE.fullmatch(cookie) else None
        if secret is None or (secret.used or secret.created) + self._idle <= self.now():
            return None
        user = await self._active(secret.user)
        if user is None:
            return None
        await self._touch(secret)
        return Principal(user, "session", secret.id)

    async def _by_access_token(self, token: str) -> Principal | None:
        claims = self.keys.read(token, self.now())
        if claims is None:
            return None
        family = await self._valid("family", str(claims["sid"]))
        if family is None or family.user != claims["sub"]:
            return None
        user = await self._active(family.user)
        return Principal(user, "jwt", family.id) if user else None

    # ---------------------------------------------------------------- logging in and out

    async def register(self, email: str, name: str, password: str, role: Role = "editor") -> User:
        """A new account. Raises: Problem 409 when the address has one, 422."""
        email = checked_email(email)
        await self._check_password(password, email, name)
        user = User(new_id(), email, name.strip() or email.partition("@")[0], role, self.now())
        user = replace(user, password=await self.passwords.hash(password))
        if not await self.records.add_user(user):
            raise Problem(409, "email_taken", "there is an account of this address", hint="log in", param="email")
        await self.audit("registered", user.id)
        return user

    async def open_account(self, email: str, name: str, role: Role) -> User:
        """A new account without a password: its owner comes by a link. Raises: Problem 409, 422."""
        email = checked_email(email)
        user = User(new_id(), email, name.strip() or email.partition("@")[0], role, self.now())
        if not await self.records.add_user(user):
            raise Problem(409, "email_taken", "there is an account of this address", param="email")
        return user

    async def login(self, email: str, password: str, *, session: bool = False) -> User:
        """Who has this password. `session`: what is wanted, for after the second factor.

        Raises: Problem 401; the same, and as late, for a wrong password and an unknown address. Another one, with a challenge
        for `answer`, where the account has a second factor.
        """
        user = await self.records.user_by_email(email.strip().lower())
        right, renewed = await self.passwords.verify(password, user.password if user and not user.disabled else "")
        if user is None or not right:
            await self.audit("login-failed", user.id if user else "")
            problem = unauthenticated("the address or the password is wrong", "wrong_login")
            problem.hint = "try again; an admin can give a link to set a new password"
            raise problem
        if renewed:
            await self.records.change_user(user.id, password=renewed)
        await self._challenge(user, session)
        return user

    async def login_by_link(self, secret: str, *, session: bool = False) -> User:
        """Who has this one-time link, which is used up. Raises: Problem 401, as `login` does."""
        user = await self.by_link("login", secret)
        await self._challenge(user, session)
        return user

    async def answer(self, challenge: str, code: str) -> tuple[User, bool]:
        """Whose second factor this is, and whether a session is wanted. A challenge is good for one login.

        Raises: Problem 401, 429.
        """
        row = await self._valid("challenge", challenge)
        user = await self._active(row.user) if row else None
        refused = unauthenticated("the challenge is wrong, was used before, or is too old", "invalid_challenge")
        refused.hint = "log in again"
        if row is None or user is None or row.used:
            raise refused
        if not await self.factor.right(user.id, code):
            raise wrong_code(401)
        if not await self.records.use_secret(row.id, self.now()):
            raise refused
        return user, row.name == "session"

    async def _challenge(self, user: User, session: bool) -> None:
        if not await self.factor.on(user.id):
            return
        secret = new_secret()
        row = Secret(new_id(), user.id, "challenge", digest(secret), self.now(), self.now() + CHALLENGE)
        await self.records.add_secret(replace(row, name="session" if session else "tokens"))
        problem = unauthenticated("the code of the second factor is needed", "second_factor_required")
        problem.hint = "send it with the challenge to /api/auth/login/second-factor"
        problem.challenge = secret
        raise problem

    async def begin_session(self, user: User) -> str:
        """The value of a new session's cookie."""
        secret = new_secret()
        await self._keep("session", secret, user.id, LONGEST_LOGIN)
        await self.audit("login", user.id, by="session")
        return secret

    async def begin_family(self, user: User) -> Pair:
        """The first tokens of a new login."""
        family = new_id()
        row = Secret(family, user.id, "family", digest(family), self.now(), self.now() + LONGEST_LOGIN, family=family)
        await self.records.add_secret(row)
        await self.audit("login", user.id, by="tokens")
        return await self._pair(user.id, family)

    async def refresh(self, token: str) -> tuple[User, Pair]:
        """New tokens for a refresh token, which is used up. Raises: Problem 401; a second use ends the whole login."""
        secret = await self.records.secret("refresh", digest(token))
        refused = unauthenticated("the refresh token is wrong, expired or revoked", "invalid_token")
        if secret is None or secret.revoked or secret.expires <= self.now():
            raise refused
        if not await self.records.use_secret(secret.id, self.now()):
            await self.records.revoke(family=secret.family)
            await self.audit("refresh-token-reused", secret.user, family=secret.family)
            raise refused
        family = await self._valid("family", secret.family)
        user = await self._active(secret.user)
        if family is None or user is None:
            raise refused
        return user, await self._pair(user.id, family.id)

    async def end(self, who: Principal) -> None:
        """Logs out: the session, the family or the API token that somebody asks with is no longer valid."""
        await self.records.revoke(family=who.credential) if who.via == "jwt" else await self.records.revoke(id_=who.credential)
        await self.audit("logout", who.user.id)

    async def end_refresh(self, token: str) -> None:
        """Logs out by a refresh token; nothing happens when it is none."""
        secret = await self.records.secret("refresh", digest(token))
        if secret:
            await self.records.revoke(family=secret.family)
            await self.audit("logout", secret.user)

    async def logins(self, user: str) -> list[Secret]:
        """Sessions and families that are valid, the newest first."""
        found = [*await self.records.secrets(user, "session"), *await self.records.secrets(user, "family")]
        valid = [s for s in found if not s.revoked and s.expires > self.now()]
        return sorted(valid, key=lambda s: s.created, reverse=True)

    async def end_login(self, user: str, id_: str) -> None:
        """Ends one of somebody's sessions or families. Raises: Problem 404."""
        login = next((s for s in await self.logins(user) if s.id == id_), None)
        if login is None:
            raise not_found("login")
        await self._end(login)
        await self.audit("logout", user, login=id_)

    async def end_logins(self, user: str, but: str = "") -> None:
        """Ends all sessions and families of somebody, but one."""
        for login in await self.logins(user):
            if login.id != but:
                await self._end(login)

    async def lacks_factor(self, user: User) -> bool:
        """Whether the server wants a second factor of somebody who has none."""
        wanted = self.settings.second_factor
        asked = wanted == "everyone" or (wanted == "admins" and user.role == "admin")
        return asked and not await self.factor.on(user.id)

    # ---------------------------------------------------------------- passwords and links

    async def change_password(self, who: Principal, old: str, new: str) -> None:
        """Ends every other login. An account that has no password yet needs no old one. Raises: Problem 403, 422."""
        if who.user.password and not (await self.passwords.verify(old, who.user.password))[0]:
            await self.audit("password-change-failed", who.user.id)
            raise forbidden("the old password is wrong", "wrong_password")
        await self._set_password(who.user, new)
        await self.end_logins(who.user.id, but=who.credential)

    async def link(self, user: User, kind: str) -> str:
        """The secret of a link that logs in ("login") or sets a new password ("reset"), once, within `link_minutes`."""
        secret = new_secret()
        await self._keep("login" if kind == "login" else "reset", secret, user.id, self.link_life)
        await self.audit(f"{kind}-link-made", user.id)
        return secret

    async def by_link(self, kind: str, secret: str) -> User:
        """The one that a link is for; it is used up. Raises: Problem 401."""
        row = await self._valid(kind, secret)
        user = await self._active(row.user) if row else None
        if row is None or user is None or not await self.records.use_secret(row.id, self.now()):
            problem = unauthenticated("the link is wrong, was used before, or is too old", "invalid_link")
            problem.hint = "make a new one: polydub admin login-link"
            raise problem
        return user

    async def reset_password(self, secret: str, new: str) -> None:
        """Sets a new password by a link and ends every login. Raises: Problem 401, 422."""
        row = await self._valid("reset", secret)
        user = await self._active(row.user) if row else None
        if user:
            await self._check_password(new, user.email, user.name)  # before the link is used up
        user = await self.by_link("reset", secret)
        await self._set_password(user, new)
        await self.end_logins(user.id)

    async def _set_password(self, user: User, new: str) -> None:
        await self._check_password(new, user.email, user.name)
        await self.records.change_user(user.id, password=await self.passwords.hash(new))
        await self.audit("password-changed", user.id)

    async def _check_password(self, password: str, email: str, name: str) -> None:
        await asyncio.to_thread(check, password, email, name, self.settings.breached_passwords)

    # ---------------------------------------------------------------- API tokens

    async def new_token(self, user: User, name: str, scopes: tuple[str, ...], days: int) -> tuple[str, Secret]:
        """A new API token: it is shown this once."""
        id_ = new_id()[:16]
        token = f"pd_{id_}_{new_secret()}"
        secret = Secret(
            id_, user.id, "token", digest(token), self.now(), self.now() + timedelta(days=days), name, scopes=scopes
        )
        await self.records.add_secret(secret)
        await self.audit("token-made", user.id, token=id_, scopes=list(scopes))
        return token, secret

    async def drop_token(self, user: str, id_: str) -> None:
        """Raises: Problem 404."""
        tokens = await self.records.secrets(user, "token")
        if not any(t.id == id_ and not t.revoked for t in tokens):
            raise not_found("token")
        await self.records.revoke(id_=id_)
        await self.audit("token-revoked", user, token=id_)

    # ---------------------------------------------------------------- the rest

    async def audit(self, action: str, user: str, **facts: Any) -> None:
        """One line in the audit log: what, who, when, and facts that hold no secret."""
        at = self.now().isoformat()
        await self.records.put("audit", new_id(), user, {"action": action, "user": user, "at": at, **facts})
        LOG.info(action, extra={"facts": {"user": user, **facts}})

    @property
    def open_to_all(self) -> bool:
        """Whether people may register."""
        if self.settings.registration == "auto":
            return self.settings.for_itself
        return self.settings.registration == "open"

    async def drop(self, user: str, by: str) -> bool:
        """Deletes an account, its logins, tokens and second factor; False when there is none. `by`: who wants it."""
        if not await self.records.drop_user(user):
            return False
        await self.factor.off(user)
        await self.audit("account-deleted", user, by=by)
        return True

    async def reset_factor(self, user: str, by: str) -> bool:
        """Takes the second factor from somebody who lost it, and ends all logins; False when there was none."""
        if not await self.factor.off(user):
            return False
        await self.end_logins(user)
        await self.audit("second-factor-reset", user, by=by)
        return True

    @property
    def link_life(self) -> timedelta:
        """How long a one-time link holds."""
        return timedelta(minutes=self.settings.link_minutes)

    @property
    def _idle(self) -> timedelta:
        return timedelta(days=self.settings.refresh_days)

    async def _end(self, login: Secret) -> None:
        await self.records.revoke(family=login.id) if login.kind == "family" else await self.records.revoke(id_=login.id)

    async def _pair(self, user: str, family: str) -> Pair:
        life = timedelta(minutes=self.settings.access_minutes)
        refresh = new_secret()
        await self._keep("refresh", refresh, user, self._idle, family)
        access = self.keys.sign({"sub": user, "sid": family}, self.now(), life)
        return Pair(access, refresh, int(life.total_seconds()))

    async def _keep(self, kind: Any, secret: str, user: str, life: timedelta, family: str = "") -> None:
        row = Secret(new_id(), user, kind, digest(secret), self.now(), self.now() + life, family=family)
        await self.records.add_secret(row)

    async def _valid(self, kind: str, secret: str) -> Secret | None:
        row = await self.records.secret(kind, digest(secret))
        return row if row and not row.revoked and row.expires > self.now() else None

    async def _active(self, id_: str) -> User | None:
        user = await self.records.user(id_)
        return user if user and not user.disabled else None

    async def _touch(self, secret: Secret) -> None:
        now = self.now()
        if secret.used is None or secret.used + _TOUCH <= now:
            await self.records.touch_secret(secret.id, now)


def checked_email(email: str) -> str:
    """An address in lower case. Raises: Problem 422."""
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise Problem(422, "bad_email", "that is no e-mail address", hint="write it as name@host", param="email")
    return email
