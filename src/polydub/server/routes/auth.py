"""Accounts: register, log in and out, tokens, passwords, and what is known of oneself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from polydub.server.access import (
    PLAIN_COOKIE,
    SCOPES,
    SECURE_COOKIE,
    accounts_of,
    is_https,
    policy,
    same_origin,
    session_cookie,
)
from polydub.server.accounts import Accounts
from polydub.server.contracts import Principal, Secret, User
from polydub.server.problems import Problem, forbidden, unauthenticated
from polydub.server.proving import check_recent
from polydub.server.tokens import csrf_of

router = APIRouter(tags=["accounts"])
PUBLIC = [Depends(policy("public"))]
House = Annotated[Accounts, Depends(accounts_of)]
Viewer = Annotated[Principal, Depends(policy("viewer"))]
Writer = Annotated[Principal, Depends(policy("viewer", "write"))]
MAX_TOKENS = 50
_TEXT = 300
_STRICT = ConfigDict(extra="forbid")


class Registration(BaseModel):
    """A new account."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={"examples": [{"email": "ana@example.org", "password": "three unrelated words", "name": "Ana"}]}
    )
    email: str = Field(max_length=_TEXT)
    password: str = Field(max_length=1000, description="12 to 256 characters of any kind.")
    name: str = Field(default="", max_length=_TEXT)


class Login(BaseModel):
    """Who wants in."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={"examples": [{"email": "ana@example.org", "password": "three unrelated words"}]}
    )
    email: str = Field(max_length=_TEXT)
    password: str = Field(max_length=1000)
    session: bool = Field(default=False, description="true = a cookie for a page of the server's own, instead of tokens.")


class Renewal(BaseModel):
    """A refresh token."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"refresh_token": "..."}]})
    refresh_token: str = Field(max_length=_TEXT)


class PasswordChange(BaseModel):
    """A new password for the account that asks."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={
            "examples": [{"old_password": "three unrelated words", "new_password": "four other unrelated words"}]
        }
    )
    old_password: str = Field(default="", max_length=1000, description="Empty where the account has none yet.")
    new_password: str = Field(max_length=1000)


class PasswordReset(BaseModel):
    """A new password by a link that an admin made."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"token": "...", "password": "three unrelated words"}]})
    token: str = Field(max_length=_TEXT)
    password: str = Field(max_length=1000)


class Profile(BaseModel):
    """What one may change about oneself."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"name": "Ana", "preferences": {"theme": "dark"}}]})
    name: str | None = Field(default=None, min_length=1, max_length=_TEXT)
    preferences: dict[str, Any] | None = Field(default=None, description="Whatever the studio keeps; at most 64 KB.")


class TokenWish(BaseModel):
    """An API token to be made."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"name": "build server", "scopes": ["read", "write"]}]})
    name: str = Field(min_length=1, max_length=_TEXT)
    scopes: list[Literal["read", "write", "speech", "metrics", "admin"]] = Field(
        default=[], max_length=5, description="What it may be used for; empty = everything that the account may."
    )
    expires_days: int = Field(default=90, ge=1, le=3650)


class Person(BaseModel):
    """An account as others see it."""

    id: str
    email: str
    name: str
    role: Literal["viewer", "editor", "admin"]
    created: datetime
    disabled: bool = False

    @classmethod
    def of(cls, user: User) -> Person:
        """Without its password."""
        return cls(id=user.id, email=user.email, name=user.name, role=user.role, created=user.created, disabled=user.disabled)


class Me(BaseModel):
    """Who one is to the server."""

    user: Person
    via: Literal["session", "jwt", "token"]
    scopes: list[str]
    preferences: dict[str, Any]
    has_password: bool
    csrf: str | None = Field(default=None, description="What a page sends as x-csrf-token with every change.")


class Entry(BaseModel):
    """A login that worked: tokens, or a cookie and its csrf."""

    user: Person
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a word of the protocol
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: int | None = Field(default=None, description="Seconds that the access token holds.")
    csrf: str | None = None


class TokenFacts(BaseModel):
    """An API token, without itself."""

    id: str
    name: str
    scopes: list[str]
    created: datetime
    expires: datetime
    used: datetime | None

    @classmethod
    def of(cls, secret: Secret) -> TokenFacts:
        """What may be shown."""
        return cls(
            id=secret.id, name=secret.name, scopes=list(secret.scopes), created=secret.created, expires=secret.expires,
            used=secret.used,
        )  # fmt: skip


class NewToken(TokenFacts):
    """An API token, shown this once."""

    token: str


class LoginFacts(BaseModel):
    """A session or a client that is logged in."""

    id: str
    kind: Literal["session", "client"]
    created: datetime
    used: datetime | None
    current: bool


@router.post("/api/auth/register", status_code=201, dependencies=PUBLIC)
async def register(request: Request, wish: Registration, accounts: House) -> Entry:
    """Opens an account, where the server lets people do so, and logs in."""
    if not accounts.open_to_all:
        raise forbidden("accounts are opened by an admin on this server", "registration_closed")
    accounts.throttle.login(address_of(request))
    user = await accounts.register(wish.email, wish.name, wish.password)
    return await enter(request, Response(), user, False)


@router.post("/api/auth/login", dependencies=PUBLIC)
async def login(request: Request, response: Response, wish: Login, accounts: House) -> Entry:
    """Logs in: tokens for clients, a cookie for the studio.

    Where the account has a second factor the answer is 401 with the code `second_factor_required` and a `challenge`, which goes
    to `/api/auth/login/second-factor` with the code.
    """
    accounts.throttle.login(address_of(request), wish.email.strip().lower())
    if wish.session:
        same_origin(request)
    user = await accounts.login(wish.email, wish.password, session=wish.session)
    return await enter(request, response, user, wish.session)


@router.post("/api/auth/refresh", dependencies=PUBLIC)
async def refresh(request: Request, wish: Renewal, accounts: House) -> Entry:
    """New tokens for a refresh token, which is used up. Used twice, it ends the login that it came from."""
    user, pair = await accounts.refresh(wish.refresh_token)
    return Entry(user=Person.of(user), access_token=pair.access, refresh_token=pair.refresh, expires_in=pair.seconds)


@router.post("/api/auth/logout", status_code=204)
async def logout(request: Request, response: Response, who: Viewer, accounts: House) -> None:
    """Ends the session or the client's login; an API token that asks for it is revoked."""
    await accounts.end(who)
    drop_cookie(request, response)


@router.get("/api/auth/me", operation_id="get_me")
async def me(request: Request, who: Viewer) -> Me:
    """Who asks, what they may do, and what a page must send with changes."""
    csrf = csrf_of(session_cookie(request)) if who.via == "session" else None
    return Me(
        user=Person.of(who.user), via=who.via, scopes=sorted(who.scopes), preferences=dict(who.user.preferences),
        has_password=bool(who.user.password), csrf=csrf,
    )  # fmt: skip


@router.patch("/api/auth/me")
async def change_me(request: Request, wish: Profile, who: Writer, accounts: House) -> Me:
    """Changes one's own name and preferences."""
    changes = wish.model_dump(exclude_none=True)
    if len(wish.model_dump_json()) > 64_000:
        raise Problem(413, "too_large", "the preferences are larger than 64 KB", param="preferences")
    user = await accounts.records.change_user(who.user.id, **changes) if changes else who.user
    if user is None:
        raise unauthenticated()
    return await me(request, Principal(user, who.via, who.credential, who.scopes))


@router.post("/api/auth/password", status_code=204)
async def change_password(request: Request, wish: PasswordChange, who: Viewer, accounts: House) -> None:
    """Sets a new password, and ends every other login. Where there is none yet, a login of the last ten minutes sets it. Not by
    API token."""
    no_token(who)
    accounts.throttle.login(address_of(request), who.user.email)
    if not who.user.password:
        await check_recent(accounts, who)
    await accounts.change_password(who, wish.old_password, wish.new_password)


@router.post("/api/auth/password/reset", status_code=204, dependencies=PUBLIC)
async def reset_password(request: Request, wish: PasswordReset, accounts: House) -> None:
    """Sets a new password by a link that an admin made, and ends every login."""
    accounts.throttle.login(address_of(request))
    await accounts.reset_password(wish.token, wish.password)


@router.get("/api/auth/tokens", operation_id="list_tokens")
async def tokens(who: Viewer, accounts: House) -> list[TokenFacts]:
    """One's API tokens that are valid, the newest first."""
    return [TokenFacts.of(s) for s in await _tokens_of(accounts, who.user.id)]


@router.post("/api/auth/tokens", status_code=201, operation_id="create_token")
async def new_token(wish: TokenWish, who: Viewer, accounts: House) -> NewToken:
    """Makes an API token; it is shown this once. A login older than ten minutes shows its password first: `/api/auth/again`;
    an account without one logs in anew. Not by API token."""
    no_token(who)
    await check_recent(accounts, who)
    if who.user.role != "admin" and {"admin", "metrics"} & set(wish.scopes):
        raise forbidden("these scopes are for admins", "scope_missing")
    if len(await _tokens_of(accounts, who.user.id)) >= MAX_TOKENS:
        raise Problem(409, "too_many_tokens", f"there are {MAX_TOKENS} tokens already", hint="delete one")
    token, secret = await accounts.new_token(who.user, wish.name, tuple(sorted(set(wish.scopes))), wish.expires_days)
    return NewToken(token=token, **TokenFacts.of(secret).model_dump())


@router.delete("/api/auth/tokens/{id_}", status_code=204, operation_id="delete_token")
async def drop_token(id_: str, who: Viewer, accounts: House) -> None:
    """Revokes one of one's API tokens."""
    no_token(who)
    await accounts.drop_token(who.user.id, id_)


@router.get("/api/auth/sessions", operation_id="list_sessions")
async def sessions(who: Viewer, accounts: House) -> list[LoginFacts]:
    """Where one is logged in."""
    return [
        LoginFacts(
            id=s.id, kind="session" if s.kind == "session" else "client", created=s.created, used=s.used,
            current=s.id == who.credential,
        )
        for s in await accounts.logins(who.user.id)
    ]  # fmt: skip


@router.delete("/api/auth/sessions/{id_}", status_code=204, operation_id="delete_session")
async def drop_session(id_: str, who: Viewer, accounts: House) -> None:
    """Logs out somewhere. A login older than ten minutes shows its password first: `/api/auth/again`."""
    no_token(who)
    await check_recent(accounts, who)
    await accounts.end_login(who.user.id, id_)


@router.get("/api/auth/scopes", dependencies=PUBLIC, operation_id="list_scopes")
async def scopes() -> dict[str, str]:
    """What API tokens can be made for."""
    return dict(SCOPES)


async def enter(request: Request, response: Response, user: User, session: bool) -> Entry:
    """Somebody who has shown who they are is logged in, by tokens or by a cookie of `response`."""
    accounts = accounts_of(request)
    if not session:
        pair = await accounts.begin_family(user)
        return Entry(user=Person.of(user), access_token=pair.access, refresh_token=pair.refresh, expires_in=pair.seconds)
    before = session_cookie(request)
    earlier = await accounts.by_session(before) if before else None
    if earlier:
        await accounts.end(earlier)
    secret = await accounts.begin_session(user)
    https = is_https(request)
    response.set_cookie(
        SECURE_COOKIE if https else PLAIN_COOKIE, secret, max_age=accounts.settings.refresh_days * 86400,
        path="/", secure=https, httponly=True, samesite="lax",
    )  # fmt: skip
    return Entry(user=Person.of(user), csrf=csrf_of(secret))


def drop_cookie(request: Request, response: Response) -> None:
    """The browser forgets its session."""
    https = is_https(request)
    response.delete_cookie(SECURE_COOKIE if https else PLAIN_COOKIE, path="/", secure=https, httponly=True, samesite="lax")


async def _tokens_of(accounts: Accounts, user: str) -> list[Secret]:
    now = accounts.now()
    return [s for s in await accounts.records.secrets(user, "token") if not s.revoked and s.expires > now]


def no_token(who: Principal) -> None:
    """A stolen API token must not make itself another, nor take over the account."""
    if who.via == "token":
        raise forbidden("this needs a login, an API token does not do", "login_needed")


def address_of(request: Request) -> str:
    """Whom the limits of logins count."""
    return request.client.host if request.client else ""
