"""The second factor of one's own account: seen, begun, confirmed, turned off; and one's password shown once more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from polydub.server.access import accounts_of, policy
from polydub.server.accounts import Accounts
from polydub.server.contracts import Principal
from polydub.server.proving import prove, prove_again
from polydub.server.routes.auth import address_of, no_token

router = APIRouter(prefix="/api/auth", tags=["accounts"])
House = Annotated[Accounts, Depends(accounts_of)]
Viewer = Annotated[Principal, Depends(policy("viewer"))]
_TEXT = 300


class Proof(BaseModel):
    """Who is logged in shows again who they are."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"password": "three unrelated words", "code": "123456"}]}
    )
    password: str = Field(default="", max_length=1000, description="Empty where the account has none.")
    code: str = Field(default="", max_length=_TEXT, description="Six digits, or a recovery code, if there is one.")


class FirstCode(BaseModel):
    """What the app shows now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "123456"}]})
    code: str = Field(max_length=_TEXT)


class FactorFacts(BaseModel):
    """Whether there is a second factor. `wanted`: the server lets this account do nothing else before it has one."""

    on: bool
    recovery_codes: int = Field(description="How many are left.")
    wanted: bool


class OfferedFactor(BaseModel):
    """A secret for the app, shown this once; good for ten minutes until its first code comes."""

    secret: str = Field(description="Base32, to be typed into an app.")
    uri: str = Field(description="otpauth:// address, to be shown as a QR code.")


class RecoveryCodes(BaseModel):
    """Codes that stand for the app once each, shown this once: to be kept where the app is not."""

    recovery_codes: list[str]


@router.get("/second-factor", operation_id="get_second_factor")
async def second_factor(who: Viewer, accounts: House) -> FactorFacts:
    """Whether one has a second factor."""
    user = who.user.id
    return FactorFacts(
        on=await accounts.factor.on(user),
        recovery_codes=await accounts.factor.left(user),
        wanted=await accounts.lacks_factor(who.user),
    )


@router.post("/second-factor", status_code=201)
async def begin_second_factor(request: Request, wish: Proof, who: Viewer, accounts: House) -> OfferedFactor:
    """A new secret for an app (TOTP: SHA-1, 6 digits, 30 s). It counts once a code of it has come. Not by API token."""
    await _proved(request, wish, who, accounts)
    offer = await accounts.factor.offer(who.user)
    return OfferedFactor(secret=offer.secret, uri=offer.uri)


@router.post("/second-factor/confirm")
async def confirm_second_factor(request: Request, wish: FirstCode, who: Viewer, accounts: House) -> RecoveryCodes:
    """Turns it on by its first code, and ends every other login. Not by API token."""
    no_token(who)
    accounts.throttle.login(address_of(request), who.user.email)
    codes = await accounts.factor.confirm(who.user, wish.code)
    await accounts.end_logins(who.user.id, but=who.credential)
    return RecoveryCodes(recovery_codes=list(codes))


@router.post("/second-factor/recovery-codes")
async def new_recovery_codes(request: Request, wish: Proof, who: Viewer, accounts: House) -> RecoveryCodes:
    """Ten new recovery codes instead of those before. Not by API token."""
    await _proved(request, wish, who, accounts)
    made = await accounts.factor.new_recovery_codes(who.user.id) if await accounts.factor.on(who.user.id) else ()
    return RecoveryCodes(recovery_codes=list(made))


@router.post("/second-factor/off", status_code=204)
async def drop_second_factor(request: Request, wish: Proof, who: Viewer, accounts: House) -> None:
    """Turns it off, and ends every other login; its code is needed for this, or a recovery code. Not by API token."""
    await _proved(request, wish, who, accounts)
    await accounts.factor.off(who.user.id)
    await accounts.end_logins(who.user.id, but=who.credential)


@router.post("/again", status_code=204, operation_id="confirm_identity")
async def again(request: Request, wish: Proof, who: Viewer, accounts: House) -> None:
    """Shows the password once more: what needs a login of the last ten minutes can be done again. Not by API token."""
    no_token(who)
    accounts.throttle.login(address_of(request), who.user.email)
    await prove_again(accounts, who, wish.password, wish.code)


async def _proved(request: Request, wish: Proof, who: Principal, accounts: Accounts) -> None:
    no_token(who)
    accounts.throttle.login(address_of(request), who.user.email)
    await prove(accounts, who, wish.password, wish.code)
