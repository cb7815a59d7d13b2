"""Click options made from the settings, so that flags, help and reference come from one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from polydub.config import Flag, Loaded, flags, load_from_process

F = TypeVar("F", bound=Callable[..., Any])
NAME = click.Path(readable=False)  # completed by the shell; whether it can be read is said by what reads it
PATH = click.Path(readable=False, path_type=Path)


def settings_options(names: Sequence[str], **helps: str) -> Callable[[F], F]:
    """Adds the flags of the settings `names`; values arrive as keyword arguments, None when not given.

    `helps` replaces the help of single settings where a command means them differently.
    """
    table = {flag.key: flag for flag in flags()}

    def add(function: F) -> F:
        for name in reversed(names):
            function = _option(table[name], helps.get(name, table[name].help))(function)
        return function

    return add


def common(function: F) -> F:
    """--job, --json, --verbose, --debug."""
    for option in (
        click.option("--debug", is_flag=True, help="Show where an error came from; keep debug files."),
        click.option("-v", "--verbose", is_flag=True, help="Say more."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        click.option("--job", type=PATH, help="Job file (TOML or JSON) with settings."),
    ):
        function = option(function)
    return function


def _option(flag: Flag, meaning: str) -> Callable[[F], F]:
    if flag.kind == "switch":
        return click.option(f"{flag.name}/{flag.negative}", flag.key, default=None, help=meaning)
    shown = meaning + (f" [{flag.limits}]" if flag.limits else "") + _default(flag)
    several = flag.kind in ("list", "numbers", "pairs")
    # values are checked by the settings themselves, so that every layer gives the same sentence
    metavar = (
        "|".join(flag.choices)
        if flag.choices
        else {"pairs": "SPEAKER=NAME", "numbers": "[SPEAKER=]NUMBER"}.get(flag.kind, flag.kind.upper())
    )
    kind = NAME if flag.kind == "path" else _Words(flag.choices)
    return click.option(flag.name, flag.key, default=None, multiple=several, metavar=metavar, help=shown, type=kind)


class _Words(click.types.StringParamType):
    """A text that the shell completes from `words`."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self._words if word.startswith(incomplete)]


def _default(flag: Flag) -> str:
    if flag.default in (None, (), {}, ""):
        return ""
    value = ",".join(cast("tuple[str, ...]", flag.default)) if flag.kind == "list" else flag.default
    return f" [default: {value}]"


def read(values: Mapping[str, object], job: Path | None) -> Loaded:
    """The settings of this call."""
    import logging

    loaded = load_from_process({key: value for key, value in values.items() if value not in (None, ())}, job)
    logging.getLogger("polydub").setLevel(logging.INFO)
    logging.getLogger("polydub").propagate = False
    return loaded
