"""`polydub models`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from polydub.cli import output
from polydub.cli.options import common, read, settings_options
from polydub.cli.progress import Meter
from polydub.engines.base import Weight
from polydub.errors import BadSettings, MissingWeights, StoreError
from polydub.types import Progress


class _Id(click.ParamType[str]):
    """A model's id, completed by the shell; whether there is one of that name is said by what looks for it."""

    name = "id"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from polydub.models import catalogue

        return [CompletionItem(k.weight.id) for k in catalogue() if k.weight.id.startswith(incomplete)]


@click.group()
def models() -> None:
    """List, pull, verify and remove model weights."""


@models.command("list")
@settings_options(("models",))
@common
def list_(**given: Any) -> int:
    """Show all models: size, licence, languages, whether here.

    PINNED says whether polydub knows length and sha256 of every file; of the others the newest is taken when they are pulled,
    with the hashes that the hub promises.
    """
    from polydub.models import catalogue, find, sized

    home = _home(given)
    found = [(known, find(known.weight, home)) for known in catalogue()]
    if given["as_json"]:
        output.result_json(
            [
                _facts(known.weight, path) | {"languages": list(known.languages), "engines": list(known.engines)}
                for known, path in found
            ]
        )
        return 0
    rows = [("MODEL", "SIZE", "LICENCE", "COMMERCIAL USE", "LANGUAGES", "PINNED", "HERE", "USED BY", "PATH")]
    for known, path in found:
        w = known.weight
        free = "yes" if w.commercial_use else "no"
        here = ("yes", str(path)) if path else ("no", "")
        pinned = "yes" if w.files else "newest at pull"
        users = ", ".join(known.engines)
        rows.append((w.id, sized(w), w.licence, free, _spoken(known.languages), pinned, here[0], users, here[1]))
    wide = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        output.result(output.clean("  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True)).rstrip()))
    return 0


@models.command()
@click.argument("ids", nargs=-1, required=True, metavar="MODEL...", type=_Id())
@click.option("--accept-licence", is_flag=True, help="Agree to licences that forbid commercial use.")
@settings_options(("models", "offline"))
@common
def pull(ids: tuple[str, ...], accept_licence: bool, **given: Any) -> int:
    """Download models and check them.

    What was interrupted is continued; what is here is checked only.
    """
    from polydub.models import described, known
    from polydub.models import pull as fetch

    loaded = read({"models": given["models"], "offline": given["offline"]}, given["job"])
    home, offline = loaded.settings.models_home, loaded.settings.offline
    wanted = [known(id).weight for id in dict.fromkeys(ids)]
    rows: list[dict[str, Any]] = []
    for weight in wanted:
        output.say(described(weight))
        if not (weight.commercial_use or accept_licence or offline):  # offline it is not fetched, so nothing is agreed to
            _agree(weight)
        with Meter() as meter:

            def tell(done: int, total: int, name: str = weight.id, meter: Meter = meter) -> None:
                meter.show(Progress(name, done, total))

            path = fetch(weight, home, tell, offline)
        rows.append(_facts(weight, path))
        if not given["as_json"]:
            output.result(str(path))
    if given["as_json"]:
        output.result_json(rows)
    return 0


@models.command()
@click.argument("ids", nargs=-1, metavar="[MODEL...]", type=_Id())
@settings_options(("models",))
@common
def verify(ids: tuple[str, ...], **given: Any) -> int:
    """Compare models with their hashes.

    Without a name all that are here. The exit status is 6 when one is damaged, 4 when one that was named is not here.
    """
    from polydub.models import catalogue, comparable, find, known
    from polydub.models import verify as problems_of

    home = _home(given)
    named = [known(id).weight for id in dict.fromkeys(ids)]
    weights = named or [k.weight for k in catalogue() if find(k.weight, home) or (home / k.weight.id).exists()]
    rows: list[dict[str, Any]] = []
    for weight in weights:
        there = find(weight, home) is not None or (home / weight.id).exists()
        problems = problems_of(weight, home)
        path = find(weight, home)
        state = "not here" if not there else "damaged" if problems else "ok"
        if state == "ok" and path and not comparable(weight, path):
            state, problems = "unchecked", ["it was put there by hand, and nobody has promised what it should hold"]
        rows.append(_facts(weight, path) | {"state": state, "problems": problems})
        if not given["as_json"]:
            output.result(output.clean(f"{weight.id}: {state}" + (f": {'; '.join(problems)}" if there and problems else "")))
    if given["as_json"]:
        output.result_json(rows)
    elif not rows:
        output.say("no model is here")
    damaged = [row["id"] for row in rows if row["state"] == "damaged"]
    if damaged:
        output.say(f"mend it with: polydub models pull {' '.join(damaged)}")
        return StoreError.exit_status
    return MissingWeights.exit_status if any(row["state"] == "not here" for row in rows) else 0


@models.command()
@click.argument("ids", nargs=-1, required=True, metavar="MODEL...", type=_Id())
@settings_options(("models",))
@common
def remove(ids: tuple[str, ...], **given: Any) -> int:
    """Delete models.

    Also what was pulled of them so far. The cache of the Hugging Face hub is left alone.
    """
    from polydub.models import known, size
    from polydub.models import remove as delete

    home = _home(given)
    rows: list[dict[str, Any]] = []
    for weight in [known(id).weight for id in dict.fromkeys(ids)]:
        freed = delete(weight, home)
        output.say(f"{weight.id}: {size(freed)} freed")
        rows.append({"id": weight.id, "freed_bytes": freed})
    if given["as_json"]:
        output.result_json(rows)
    return 0


def _home(given: dict[str, Any]) -> Path:
    return read({"models": given["models"]}, given["job"]).settings.models_home


def _facts(weight: Weight, path: Path | None) -> dict[str, Any]:
    from polydub.models import revision

    facts = {"id": weight.id, "bytes": weight.bytes, "licence": weight.licence, "commercial_use": weight.commercial_use}
    facts |= {"revision": revision(weight, path) if path else weight.revision or None, "pinned": bool(weight.files)}
    return facts | {"source": weight.source, "path": str(path) if path else None}


def _spoken(languages: tuple[str, ...]) -> str:
    """A few of them: "en, es", "en, es, fr and 97 more"; "any" where nobody says."""
    few = ", ".join(languages[:3])
    return f"{few} and {len(languages) - 3} more" if len(languages) > 4 else ", ".join(languages) or "any"


def _agree(weight: Weight) -> None:
    """Raises: BadSettings unless a person agrees."""
    try:
        if click.confirm(f"{weight.id} must not be used commercially ({weight.licence}). Do you agree?", err=True):
            return
    except click.Abort:
        if sys.stdin.isatty():
            raise
        output.say("")
    raise BadSettings(
        f"{weight.id} was not downloaded, since nobody agreed to its licence ({weight.licence})",
        f"agree with: polydub models pull {weight.id} --accept-licence",
    )
