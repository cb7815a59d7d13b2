"""Who asks, and whether they may: every route names a policy, objects are checked against their owner.

    @router.get("/things/{id_}")
    async def thing(id_: str, who: Annotated[Principal, Depends(policy("viewer"))], ...) -> ...:
        row = mine(who, await records.job(id_), "job")      # 404 for what is somebody else's

A route without a policy does not start the server (`server.app`) and fails a test.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from fastapi import Request

from polydub.server.contracts import Principal, Role, Services
from polydub.server.problems import Problem, forbidden, not_found, unauthenticated
from polydub.server.tokens import csrf_of

if TYPE_CHECKING:
    from polydub.server.accounts import Accounts

Level = Literal["public", "viewer", "editor", "admin"]
SCOPES: Mapping[str, str] = {
    "read": "See jobs, files, voices and everything else of one's own.",
    "write": "Start and change jobs, upload, edit lines, keep voices.",
    "speech": "Use the speech services under /v1 and /api/transcribe, /api/separate.",
    "metrics": "Read /metrics (of an admin's token).",
    "admin": "Everything that an admin may (of an admin's token).",
}
_RANK: Mapping[str, int] = {"public": 0, "viewer": 1, "editor": 2, "admin": 3}
_SCOPE: Mapping[str, str] = {"viewer": "read", "editor": "write", "admin": "admin"}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What somebody may do who has to get a second factor first.
_FIRST = ("/api/auth/second-factor", "/api/auth/me", "/api/auth/password", "/api/auth/logout", "/api/auth/again")
SECURE_COOKIE, PLAIN_COOKIE, CSRF_HEADER = "__Host-polydub", "polydub_session", "x-csrf-token"


@dataclass(frozen=True)
class Policy:
    """A dependency that lets a request pass or not. `role` "public" lets everybody pass and looks at no credentials."""

    role: Level
    scope: str = ""

    async def __call__(self, request: Request) -> Principal | None:
        """The one who asks; None on public routes. Raises: Problem 401, 403, 429."""
        if self.role == "public":
            return None
        who = await principal(request)
        if who is None:
            raise unauthenticated()
        request.scope["polydub.account"] = who.user.id
        accounts_of(request).throttle.account(who.user.id)
        if _RANK[who.user.role] < _RANK[self.role]:
            raise forbidden(f"this needs the role {self.role}, yours is {who.user.role}")
        if who.via == "session" and request.method not in _SAFE:
            _same_page(request)
        if who.via != "token" and not request.url.path.startswith(_FIRST) and await accounts_of(request).lacks_factor(who.user):
            problem = forbidden("this server wants a second factor of you", "second_factor_needed")
            problem.hint = "begin with POST /api/auth/second-factor"
            raise problem
        if who.scopes and self.scope not in who.scopes and "admin" not in who.scopes:
            raise forbidden(f"this API token has not the scope {self.scope}", "scope_missing")
        return who


def policy(role: Level, scope: str = "") -> Policy:
    """What a route asks of its callers.

    Args: role: the least role that passes; "public" = anybody. scope: what an API token with scopes must have; empty =
    "read" for viewers, "write" for editors, "admin" for admins.
    """
    return Policy(role, scope or _SCOPE.get(role, ""))


class _Owned(Protocol):
    @property
    def owner(self) -> str: ...


Row = TypeVar("Row", bound=_Owned)


def owned(who: Principal, owner: str | None, what: str = "object") -> None:
    """Passes for the owner of something and for admins. Raises: Problem 404 for others, and for None (there is no such)."""
    if owner is None or (who.user.id != owner and who.user.role != "admin"):
        raise not_found(what)


def mine(who: Principal, row: Row | None, what: str = "object") -> Row:
    """The row itself, when it is there and `who` may see it. Raises: Problem 404."""
    if row is None:
        raise not_found(what)
    owned(who, row.owner, what)
    return row


def may(who: Principal, role: Role) -> bool:
    """Whether somebody's role is at least this one."""
    return _RANK[who.user.role] >= _RANK[role]


def services_of(request: Request) -> Services:
    """What the routes work with; a dependency: `Annotated[Services, Depends(services_of)]`."""
    return request.app.state.services


def accounts_of(request: Request) -> Accounts:
    """Accounts and their secrets; a dependency."""
    return request.app.state.accounts


async def principal(request: Request) -> Principal | None:
    """Who asks, by the header Authorization or else by the cookie; None when neither is there. Raises: Problem 401."""
    known: Principal | None = request.scope.get("polydub.principal")
    if known is not None:
        return known
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    accounts = accounts_of(request)
    if kind:
        who = await accounts.by_bearer(token.strip()) if kind.lower() == "bearer" else None
        if who is None:
            raise unauthenticated("the token is wrong, expired or revoked", "invalid_token")
    else:
        session = session_cookie(request)
        who = await accounts.by_session(session) if session else None
    request.scope["polydub.principal"] = who
    return who


def is_https(request: Request) -> bool:
    """Whether the browser reaches the server by https."""
    return request.url.scheme == "https" or services_of(request).settings.public_url.startswith("https:")


def session_cookie(request: Request) -> str:
    """The value of the session's cookie, empty when there is none. The plain one counts only where https is not spoken."""
    return request.cookies.get(SECURE_COOKIE if is_https(request) else PLAIN_COOKIE, "")


def same_origin(request: Request) -> None:
    """Refuses what another site's page sends. Raises: Problem 403."""
    settings = services_of(request).settings
    origin = request.headers.get("origin", "")
    if origin and origin in settings.cors_origins:
        return
    site = request.headers.get("sec-fetch-site", "")
    own = {f"{request.url.scheme}://{request.url.netloc}", _origin(settings.public_url)}
    if site not in ("", "same-origin", "none") or (origin and origin not in own):
        raise forbidden("the request comes from another site", "cross_site")


def _same_page(request: Request) -> None:
    same_origin(request)
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), csrf_of(session_cookie(request)).encode()):
        problem: Problem = forbidden(f"the header {CSRF_HEADER} is missing or wrong", "csrf")
        problem.hint = "send the csrf that GET /api/auth/me tells"
        raise problem


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
