"""`polydub admin`: accounts, tokens and links of a server, on its own machine; it may run meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from polydub.cli import output
from polydub.cli.options import common
from polydub.cli.serve import ADDRESS, data_option, needs_server
from polydub.errors import BadInput, BadSettings

if TYPE_CHECKING:
    from polydub.config import Loaded
    from polydub.server.backup import Manifest
    from polydub.server.bootstrap import Opened
    from polydub.server.contracts import Services, User
    from polydub.server.retention import Doomed

Answer = TypeVar("Answer")
ROLES = click.Choice(["viewer", "editor", "admin"])


@click.group()
def admin() -> None:
    """Look after a server: tokens, accounts, links, backup. Run it where the server runs, with its settings."""


@admin.command()
@data_option
@click.option("--user", "email", help="Whose token; the first admin's when it is left out.")
@click.option("--name", default="made on the command line", show_default=True, help="What it is for.")
@click.option("--scopes", default="", help="What it may be used for: read, write, speech, metrics, admin; empty = everything.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long it holds.")
@common
def token(email: str | None, name: str, scopes: str, days: int, **given: Any) -> int:
    """Print a new API token; it is shown this once."""
    from polydub.server.access import SCOPES

    wanted = tuple(sorted({scope.strip() for scope in scopes.split(",") if scope.strip()}))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown:
        raise BadInput(f"there is no scope {unknown[0]}", f"the scopes are {', '.join(SCOPES)}")

    async def make(house: Opened) -> str:
        user = await _person(house, email)
        return (await house.accounts.new_token(user, name, wanted, days))[0]

    made = _within(given, make)
    output.result_json({"token": made, "scopes": list(wanted), "days": days}) if given["as_json"] else output.result(made)
    return 0


@admin.command("login-link")
@click.argument("email", required=False)
@data_option
@common
def login_link(email: str | None, **given: Any) -> int:
    """Print a link that logs somebody in, once, within minutes; the first admin when no EMAIL is given."""
    link = _within(given, lambda house: _link(house, email, "login"))
    output.result_json({"link": link}) if given["as_json"] else output.result(link)
    return 0


@admin.group()
def user() -> None:
    """Accounts: list, add, role, disable, enable, delete, reset, second-factor."""


@user.command("list")
@data_option
@common
def list_(**given: Any) -> int:
    """All accounts."""

    async def told(house: Opened) -> list[dict[str, Any]]:
        return [_row(user) for user in await house.services.records.users()]

    rows = _within(given, told)
    if given["as_json"]:
        output.result_json(rows)
        return 0
    for row in rows:
        state = "disabled" if row["disabled"] else row["role"]
        output.result(output.clean(f"{row['email']:<40}  {state:<8}  {row['created'][:10]}  {row['name']}"))
    return 0


@user.command()
@click.argument("email")
@click.option("--name", default="", help="What the person is called.")
@click.option("--role", type=ROLES, default="editor", show_default=True, help="What the person may do.")
@data_option
@common
def add(email: str, name: str, role: Any, **given: Any) -> int:
    """Open an account and print the link by which its owner comes in."""

    async def make(house: Opened) -> str:
        user = await house.accounts.open_account(email, name, role)
        await house.accounts.audit("account-opened", user.id, by="command line", role=role)
        return await _link(house, user.email, "login")

    link = _within(given, make)
    output.result_json({"email": email, "role": role, "link": link}) if given["as_json"] else output.result(link)
    return 0


@user.command()
@click.argument("email")
@click.argument("role", type=ROLES)
@data_option
@common
def role(email: str, role: Any, **given: Any) -> int:
    """Set what somebody may do."""
    return _change(given, email, role=role)


@user.command()
@click.argument("email")
@data_option
@common
def disable(email: str, **given: Any) -> int:
    """Log somebody out everywhere and let them in no more."""
    return _change(given, email, disabled=True)


@user.command()
@click.argument("email")
@data_option
@common
def enable(email: str, **given: Any) -> int:
    """Let somebody in again."""
    return _change(given, email, disabled=False)


@user.command()
@click.argument("email")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@data_option
@common
def delete(email: str, yes: bool, **given: Any) -> int:
    """Delete an account, its logins and tokens. Its jobs stay."""
    if not yes and not sys.stdin.isatty():
        raise BadSettings(f"the account {email} would be deleted for good", "say that you mean it with --yes")
    if not yes and not click.confirm(f"Delete the account {email}?", err=True):
        return 0

    async def drop(house: Opened) -> None:
        user = await _person(house, email)
        await _check_admin_stays(house.services, user)
        await house.accounts.drop(user.id, "command line")

    _within(given, drop)
    output.say(f"{email} is deleted")
    return 0


@user.command()
@click.argument("email")
@data_option
@common
def reset(email: str, **given: Any) -> int:
    """Print a token by which somebody sets a new password, once, within minutes."""
    made = _within(given, lambda house: _link(house, email, "reset"))
    output.result_json({"token": made}) if given["as_json"] else output.result(made)
    return 0


@user.command("second-factor")
@click.argument("email")
@click.option("--reset", is_flag=True, help="Take it away, and log out everywhere: for somebody who lost it.")
@data_option
@common
def second_factor(email: str, reset: bool, **given: Any) -> int:
    """Whether somebody has a second factor; --reset takes it away."""

    async def work(house: Opened) -> bool:
        user = await _person(house, email)
        if reset:
            await house.accounts.reset_factor(user.id, "command line")
        return await house.accounts.factor.on(user.id)

    on = _within(given, work)
    if given["as_json"]:
        output.result_json({"email": email, "second_factor": on})
    else:
        output.result(f"{email}: second factor {'on' if on else 'off'}")
    return 0


@admin.command()
@click.option("--dry-run", is_flag=True, help="Delete nothing; only say what would go.")
@click.option("--take-over", is_flag=True, help="Also where the folder or bucket belonged to another database until now.")
@data_option
@common
def retention(dry_run: bool, take_over: bool, **given: Any) -> int:
    """Delete what has been kept long enough: old films, logs, speech. A running server does this by itself."""

    async def work(services: Services) -> Sequence[Doomed]:
        from polydub.server.retention import sweep_beside

        return await sweep_beside(services, dry_run=dry_run, take=take_over)

    gone = _with_services(given, work)
    if given["as_json"]:
        output.result_json([asdict(row) for row in gone])
        return 0
    for row in gone:
        output.result(output.clean(f"{row.what:<18} {row.bytes:>14,}  {row.name}  ({row.reason})"))
    freed = sum(row.bytes for row in gone) / 1e6
    output.say(f"{len(gone)} {'would go' if dry_run else 'deleted'}, {freed:,.1f} MB")
    return 0


@admin.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--no-files", is_flag=True, help="Only accounts, jobs and checksums; the files are kept elsewhere.")
@data_option
@common
def backup(folder: Path, no_files: bool, **given: Any) -> int:
    """Write a backup into FOLDER, which must be new or empty. The server may run meanwhile."""

    async def work(services: Services) -> Manifest:
        from polydub.server.backup import write_backup

        return await write_backup(services, folder, files=not no_files)

    return _told(given, _with_services(given, work), f"backup in {folder}")


@admin.command()
@click.argument("folder", type=click.Path(path_type=Path))
@data_option
@common
def restore(folder: Path, **given: Any) -> int:
    """Put a backup into a new server: a data folder and database that hold nothing yet."""

    async def work(services: Services) -> Manifest:
        from polydub.server.backup import restore as put_back

        return await put_back(services, folder)

    return _told(given, _with_services(given, work), f"restored from {folder}")


def _told(given: dict[str, Any], manifest: Manifest, said: str) -> int:
    if given["as_json"]:
        output.result_json(manifest.model_dump(mode="json"))
    else:
        output.say(f"{said}: " + ", ".join(f"{part.rows} {name}" for name, part in manifest.parts.items()))
    return 0


@admin.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; only say which jobs it would be.")
@data_option
@common
def upgrade(dry_run: bool, **given: Any) -> int:
    """Begin jobs anew that wait for workers of another version of polydub. What is finished is kept.

    For the day when all workers are of this version: what the others left in the queues nobody else takes.
    """

    async def work(services: Services) -> Sequence[str]:
        from polydub.server.upgrading import upgrade_beside

        return await upgrade_beside(services, dry_run=dry_run)

    found = _with_services(given, work)
    if given["as_json"]:
        output.result_json({"jobs": found})
        return 0
    for id_ in found:
        output.result(output.clean(id_))
    output.say(f"{len(found)} job{'s' * (len(found) != 1)} {'would be ' * dry_run}begun anew")
    return 0


def _with_services(given: dict[str, Any], work: Callable[[Services], Awaitable[Answer]]) -> Answer:
    """Does something with database and files, without making accounts."""
    needs_server()
    from polydub.server.bootstrap import kept

    async def inside() -> Answer:
        async with kept(_loaded(given)) as services:
            return await work(services)

    return asyncio.run(inside())


def _loaded(given: dict[str, Any]) -> Loaded:
    from polydub.config import load_from_process

    data: Path | None = given["data"]
    return load_from_process({"server": {"data": data} if data else {}}, given["job"])


def _change(given: dict[str, Any], email: str, **changes: Any) -> int:
    async def change(services: Services) -> None:
        from polydub.server.accounts import Accounts
        from polydub.server.tokens import Keys

        records = services.records
        user = await _known(services, email)
        if changes.get("disabled") or changes.get("role", "admin") != "admin":
            await _check_admin_stays(services, user)
        await records.change_user(user.id, **changes)
        if changes.get("disabled"):
            await records.revoke(user=user.id)
        accounts = Accounts(records, services.settings, Keys.random(), now=services.now)
        await accounts.audit("account-changed", user.id, by="command line", **changes)

    _with_services(given, change)  # also where no admin is left
    told = ", ".join(f"{name} {value}".lower() for name, value in changes.items())
    output.say(f"{email}: {told}")
    return 0


def _within(given: dict[str, Any], work: Callable[[Opened], Awaitable[Answer]]) -> Answer:
    """Does something with what the server keeps."""
    needs_server()
    from polydub.server.bootstrap import opened

    async def inside() -> Answer:
        async with opened(_loaded(given), working=False) as house:
            if house.first_start:
                output.say(f"a new server was made in {house.services.folder}; --data names the folder of another one")
            return await work(house)

    return asyncio.run(inside())


async def _person(house: Opened, email: str | None) -> User:
    return house.admin if email is None else await _known(house.services, email)


async def _known(services: Services, email: str) -> User:
    user = await services.records.user_by_email(email.strip().lower())
    if user is None:
        raise BadInput(f"there is no account {email}", "polydub admin user list shows all")
    return user


async def _check_admin_stays(services: Services, user: User) -> None:
    """Raises: BadInput for the only admin, without whom the server does not start."""
    admins = [each.id for each in await services.records.users() if each.role == "admin" and not each.disabled]
    if admins == [user.id]:
        raise BadInput(f"{user.email} is the only admin", "make another one first: polydub admin user role EMAIL admin")


async def _link(house: Opened, email: str | None, kind: str) -> str:
    user = await _person(house, email)
    if user.disabled:
        raise BadInput(f"the account {user.email} is disabled", f"polydub admin user enable {user.email}")
    secret = await house.accounts.link(user, kind)
    if kind == "reset":
        return secret
    return f"{_address(house.services)}/login?token={secret}"


def _address(services: Services) -> str:
    """Where the server is: as its settings say, or where it was last, which may have been another port."""
    from polydub.server.bootstrap import address_of

    settings = services.settings
    try:
        last = (services.folder / ADDRESS).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        last = ""
    return settings.public_url or last or address_of(settings, settings.port)


def _row(user: User) -> dict[str, Any]:
    return {
        "id": user.id, "email": user.email, "name": user.name, "role": user.role, "disabled": user.disabled,
        "created": user.created.isoformat(),
    }  # fmt: skip
