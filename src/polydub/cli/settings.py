"""`polydub config`, `polydub clean`, `polydub completion`."""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from polydub.cli import output
from polydub.cli.options import common, read, settings_options
from polydub.errors import BadSettings, Busy, StoreError


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
@settings_options(("output", "store"), output="Folder of the results, whose remembered work is deleted.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common
def clean(yes: bool, **given: Any) -> int:
    """Delete remembered work; the dubs themselves stay. The next run does everything again."""
    settings = read({"output": given["output"], "store": given["store"]}, given["job"]).settings
    store = settings.store or settings.output / ".polydub"
    there = (store / "memo.sqlite").is_file()
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file()) if there else 0
    if there and not yes and not _agreed(f"Delete {size / 1e6:.0f} MB of remembered work in {store}?"):
        return 0
    if there:
        _check_idle(store)
        _delete(store)
    output.say(f"{size / 1e6:.0f} MB freed" if there else f"there is no remembered work in {store}")
    if given["as_json"]:
        output.result_json({"store": str(store), "freed_bytes": size})
    return 0


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        output.say("")
        raise BadSettings("nothing was deleted, since nobody answered", "agree beforehand: polydub clean --yes") from None


def _check_idle(store: Path) -> None:
    """Raises Busy while another process works with the store: each holds a lock in its part of the scratch folder."""
    for lock in store.glob("scratch/*/lock"):
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another process is working with {store}", "wait until it is done, or stop it") from None


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
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    In ~/.bashrc:                    eval "$(polydub completion bash)"
    In ~/.zshrc:                     eval "$(polydub completion zsh)"
    In ~/.config/fish/config.fish:   polydub completion fish | source
    """
    from click.shell_completion import get_completion_class

    from polydub.cli.app import app

    made = get_completion_class(shell)
    if made is None:
        raise BadSettings(f"no completion for {shell}")
    output.result(made(app, {}, "polydub", "_POLYDUB_COMPLETE").source())
    return 0
