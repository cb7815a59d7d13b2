"""Click options made from the settings, so that flags, help and reference come from one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from polydub.config import Flag, Loaded, flags, load_from_process

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(names: Sequence[str]) -> Callable[[F], F]:
    """Adds the flags of the settings `names`; values arrive as keyword arguments, None when not given."""
    table = {flag.key: flag for flag in flags()}

    def add(function: F) -> F:
        for name in reversed(names):
            function = _option(table[name])(function)
        return function

    return add


def common(function: F) -> F:
    """--job, --json, --verbose, --debug."""
    for option in (
        click.option("--debug", is_flag=True, help="Show where an error came from; keep debug files."),
        click.option("-v", "--verbose", is_flag=True, help="Say more."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        click.option("--job", type=click.Path(path_type=Path), help="Job file (TOML or JSON) with settings."),
    ):
        function = option(function)
    return function


def _option(flag: Flag) -> Callable[[F], F]:
    names = [flag.name, *flag.hidden]
    if flag.kind == "switch":
        return click.option(f"{flag.name}/{flag.negative}", flag.key, default=None, help=flag.help)
    shown = flag.help + (f" [{flag.limits}]" if flag.limits else "") + _default(flag)
    several = flag.kind in ("list", "pairs")
    # values are checked by the settings themselves, so that every layer gives the same sentence
    metavar = "|".join(flag.choices) if flag.choices else {"pairs": "SPEAKER=NAME"}.get(flag.kind, flag.kind.upper())
    return click.option(*names, flag.key, default=None, multiple=several, metavar=metavar, help=shown)


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
