"""What admins do with accounts, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from polydub.server.access import accounts_of, policy
from polydub.server.accounts import Accounts
from polydub.server.contracts import Principal, User
from polydub.server.problems import Problem, forbidden, not_found
from polydub.server.proving import check_recent
from polydub.server.routes.auth import Person, no_token

router = APIRouter(prefix="/api/admin", tags=["admin"])
House = Annotated[Accounts, Depends(accounts_of)]
Admin = Annotated[Principal, Depends(policy("admin"))]
_TEXT = 300


class NewPerson(BaseModel):
    """An account that an admin opens; without a password it needs a link."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"email": "bo@example.org", "role": "viewer"}]})
    email: str = Field(max_length=_TEXT)
    name: str = Field(default="", max_length=_TEXT)
    role: Literal["viewer", "editor", "admin"] = "editor"


class Change(BaseModel):
    """What an admin may change about an account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "editor"}]})
    role: Literal["viewer", "editor", "admin"] | None = None
    disabled: bool | None = None


class Link(BaseModel):
    """A one-time link: its path on this server and, for a password, the token to send."""

    path: str
    token: str
    expires_minutes: int


class AuditLine(BaseModel):
    """Something that happened to an account."""

    action: str
    user: str
    at: datetime
    facts: dict[str, Any]


@router.get("/users", operation_id="list_users")
async def users(who: Admin, accounts: House) -> list[Person]:
    """All accounts, the oldest first."""
    return [Person.of(user) for user in await accounts.records.users()]


@router.post("/users", status_code=201)
async def add_user(wish: NewPerson, who: Admin, accounts: House) -> Person:
    """Opens an account without a password: send its owner a link."""
    user = await accounts.open_account(wish.email, wish.name, wish.role)
    await accounts.audit("account-opened", user.id, by=who.user.id, role=wish.role)
    return Person.of(user)


@router.patch("/users/{id_}")
async def change_user(id_: str, wish: Change, who: Admin, accounts: House) -> Person:
    """Sets the role, disables or enables; a disabled account is logged out everywhere. Not oneself. An admin
    is made by a login of the last ten minutes, or one that was shown again since: `/api/auth/again`."""
    _not_oneself(who, id_)
    if wish.role == "admin":  # for whom there may be a link already
        await _check_login(accounts, who)
    changes = wish.model_dump(exclude_none=True)
    user = await accounts.records.change_user(id_, **changes) if changes else await accounts.records.user(id_)
    if user is None:
        raise not_found("account")
    if user.disabled:
        await accounts.records.revoke(user=id_)
    await accounts.audit("account-changed", id_, by=who.user.id, **changes)
    return Person.of(user)


@router.delete("/users/{id_}", status_code=204, operation_id="delete_user")
async def drop_user(id_: str, who: Admin, accounts: House) -> None:
    """Deletes an account and all its logins and tokens; its jobs stay until they are removed by themselves. Not oneself."""
    _not_oneself(who, id_)
    if not await accounts.drop(id_, who.user.id):
        raise not_found("account")


@router.post("/users/{id_}/login-link", status_code=201, operation_id="create_login_link")
async def login_link(id_: str, who: Admin, accounts: House) -> Link:
    """A link that logs the account's owner in, once, within `link_minutes`; a second factor is asked for besides. For an admin
    it is made by a login of the last ten minutes, or one that was shown again since: `/api/auth/again`."""
    token = await accounts.link(await _guest(accounts, who, id_), "login")
    return Link(path=f"/login?token={token}", token=token, expires_minutes=accounts.settings.link_minutes)


@router.post("/users/{id_}/password-reset", status_code=201, operation_id="create_password_reset")
async def password_reset(id_: str, who: Admin, accounts: House) -> Link:
    """A token by which the account's owner sets a new password, once, within `link_minutes`. For an admin as a login link."""
    token = await accounts.link(await _guest(accounts, who, id_), "reset")
    return Link(path="/api/auth/password/reset", token=token, expires_minutes=accounts.settings.link_minutes)


@router.delete("/users/{id_}/second-factor", status_code=204)
async def reset_second_factor(id_: str, who: Admin, accounts: House) -> None:
    """Takes the second factor from somebody who lost it, and ends their logins. Make sure who asks. Not by API token, and not
    from oneself: that needs its code, `/api/auth/second-factor/off`."""
    no_token(who)
    _not_oneself(who, id_)
    if not await accounts.reset_factor(id_, who.user.id):
        raise not_found("second factor")


@router.get("/audit", operation_id="list_audit")
async def audit(
    request: Request, who: Admin, accounts: House, user: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[AuditLine]:  # fmt: skip
    """What happened to accounts, the newest first."""
    lines = [dict(document) for _, _, document in await accounts.records.list("audit", user, limit, newest=True)]
    return [AuditLine(action=line.pop("action"), user=line.pop("user"), at=line.pop("at"), facts=line) for line in lines]


async def _guest(accounts: Accounts, who: Principal, id_: str) -> User:
    """Whom a link is for."""
    user = await accounts.records.user(id_)
    if user is None or user.disabled:
        raise not_found("account")
    if user.role == "admin":
        await _check_login(accounts, who)
    return user


async def _check_login(accounts: Accounts, who: Principal) -> None:
    """A stolen API token or an old login must not become a new login of an admin."""
    if who.via == "token":
        raise forbidden("admins are a matter of logins, an API token does not do", "login_needed")
    await check_recent(accounts, who)


def _not_oneself(who: Principal, id_: str) -> None:
    if who.user.id == id_:
        raise Problem(409, "oneself", "an admin cannot change or delete the own account", hint="ask another admin")
