"""Who is logged in shows once more who they are, before what would let a thief of the login stay."""

from __future__ import annotations

from datetime import timedelta

from polydub.server.accounts import Accounts
from polydub.server.contracts import Principal, Secret
from polydub.server.problems import forbidden
from polydub.server.second_factor import wrong_code
from polydub.server.tokens import digest, new_id, new_secret

RECENT = timedelta(minutes=10)


async def prove(accounts: Accounts, who: Principal, password: str, code: str = "") -> None:
    """The password, and the second factor where there is one. Without a password a login of just now will do.

    Raises: Problem 403, 429.
    """
    if not who.user.password:
        await check_recent(accounts, who)
    elif not (await accounts.passwords.verify(password, who.user.password))[0]:
        await accounts.audit("password-check-failed", who.user.id)
        raise forbidden("the password is wrong", "wrong_password")
    if await accounts.factor.on(who.user.id) and not await accounts.factor.right(who.user.id, code):
        raise wrong_code(403)


async def prove_again(accounts: Accounts, who: Principal, password: str, code: str = "") -> None:
    """As `prove`; the login counts as one of just now afterwards."""
    await prove(accounts, who, password, code)
    now = accounts.now()
    shown = Secret(new_id(), who.user.id, "again", digest(new_secret()), now, now + RECENT, family=who.credential)
    await accounts.records.add_secret(shown)


async def check_recent(accounts: Accounts, who: Principal) -> None:
    """Passes a login of the last ten minutes, and one that has been proved again since. Raises: Problem 403."""
    now = accounts.now()
    login = next((s for s in await accounts.logins(who.user.id) if s.id == who.credential), None)
    if login and login.created + RECENT > now:
        return
    shown = await accounts.records.secrets(who.user.id, "again")
    if any(s.family == who.credential and not s.revoked and s.expires > now for s in shown):
        return
    problem = forbidden("this login is not of the last ten minutes", "login_again")
    problem.hint = "send the password to /api/auth/again, or log in again"
    raise problem
