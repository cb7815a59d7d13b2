"""`polydub config`, `polydub clean`, `polydub completion`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from polydub.cli import output
from polydub.cli.options import common, read, settings_options
from polydub.errors import BadSettings, StoreError


@click.group()
def config() -> None:
    """Show the settings and where they come from."""


@config.command()
@common
def show(**given: Any) -> int:
    """Every setting with its value and its origin."""
    from polydub.config import describe

    rows = describe(read({}, given["job"]))
    if given["as_json"]:
        output.result_json([{"key": r.key, "value": r.value, "origin": r.origin} for r in rows])
        return 0
    wide = max(len(r.key) for r in rows)
    for r in rows:
        output.result(output.clean(f"{r.key:<{wide}}  {r.value:<24}  {r.origin}"))
    return 0


@click.command()
@settings_options(("output", "store"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common
def clean(yes: bool, **given: Any) -> int:
    """Delete remembered work; the dubs themselves stay. The next run does everything again."""
    settings = read({"output": given["output"], "store": given["store"]}, given["job"]).settings
    store = settings.store or settings.output / ".polydub"
    if not (store / "memo.sqlite").is_file():
        output.say(f"there is no remembered work in {store}")
        return 0
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    if not yes and not click.confirm(f"Delete {size / 1e6:.0f} MB of remembered work in {store}?", err=True):
        return 0
    _delete(store)
    output.say(f"{size / 1e6:.0f} MB freed")
    return 0


def _delete(store: Path) -> None:
    """Removes what a store consists of and nothing else that might lie in the folder."""
    try:
        for part in ("memo.sqlite", "memo.sqlite-wal", "memo.sqlite-shm", "projects.lock"):
            (store / part).unlink(missing_ok=True)
        for part in ("artifacts", "scratch"):
            if (store / part).exists():
                shutil.rmtree(store / part)
        if not any(store.iterdir()):
            store.rmdir()
    except OSError as error:
        raise StoreError(f"{store} cannot be deleted: {error.strerror}", "check its permissions") from error


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(polydub completion bash)"
    """
    from click.shell_completion import get_completion_class

    from polydub.cli.app import app

    made = get_completion_class(shell)
    if made is None:
        raise BadSettings(f"no completion for {shell}")
    output.result(made(app, {}, "polydub", "_POLYDUB_COMPLETE").source())
    return 0
