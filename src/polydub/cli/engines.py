"""`polydub engines`: the table of them, their voices, and the environments that some have of their own."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from polydub import inspecting
from polydub.cli import output
from polydub.cli.doctor import Depth, tried
from polydub.cli.explain import explained
from polydub.cli.options import common, read, settings_options
from polydub.config import Loaded, engine_values
from polydub.engines import environments, registry
from polydub.engines.base import KINDS, Engine, Environment
from polydub.engines.opening import opened
from polydub.errors import BadSettings, EngineFailed, Missing, UnknownEngine
from polydub.inspecting import Row


class _Name(click.ParamType[str]):
    """An engine's name or an environment's, completed by the shell."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in _by_name() if name.startswith(incomplete)]


@click.group(invoke_without_command=True)
@click.option("--voices", metavar="LANGUAGE", help="List the voices for a language instead.")
@click.option("--tts", default="auto", show_default=True, help="The engine whose voices to list.")
@click.option("--explain", is_flag=True, help="Show what auto takes in each mode instead, and why.")
@common
@click.pass_context
def engines(context: click.Context, voices: str | None, tts: str, explain: bool, **given: Any) -> int:
    """Show the engines: what is there, what is missing, and the one command that mends it.

    Some engines need an environment of their own: packages that do not go together with polydub's.
    """
    if context.invoked_subcommand:
        return 0
    loaded = read({}, given["job"])
    if voices:
        return _show_voices(voices, tts, loaded, given["as_json"])
    if explain:
        return explained(loaded, given["as_json"])
    found = inspecting.rows(loaded)
    if given["as_json"]:
        output.result_json({"engines": [row.facts() for row in found]})
        return 0
    wide = [max(len(cells[n]) for cells in map(_cells, found)) for n in range(3)]
    for row in found:
        for line in _lines(row, wide, given["verbose"]):
            output.result(output.clean(line))
    return 0


@engines.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Name())
@click.option(
    "--variant",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Packages for which hardware; auto = cuda where there is an NVIDIA driver.",
)
@settings_options(("environments", "offline"))
@common
def install(names: tuple[str, ...], variant: str, **given: Any) -> int:
    """Make the environments of engines.

    NAME is an engine or an environment. Every package has the version that polydub was tested with, and its hash. What was
    interrupted or is older than this version of polydub is made anew.
    """
    loaded = _read(given, "environments", "offline")
    wish = environments.Wish(variant, loaded.settings.offline, output.say)
    rows: list[dict[str, Any]] = []
    for environment in _environments(names):
        with _pip_is_heard(given["verbose"]):
            here = environments.install(environment, loaded.settings.environments_home, wish)
        folder = here.python.parents[1]
        rows.append({"name": environment.name, "variant": here.variant, "path": str(folder), "engines": _users(environment)})
        if not given["as_json"]:
            output.result(str(folder))
    if given["as_json"]:
        output.result_json(rows)
    return 0


@engines.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Name())
@settings_options(("environments",))
@common
def remove(names: tuple[str, ...], **given: Any) -> int:
    """Delete the environments of engines.

    Models stay: see polydub models remove.
    """
    from polydub.models import size

    loaded = _read(given, "environments")
    rows: list[dict[str, Any]] = []
    for environment in _environments(names):
        freed = environments.remove(environment, loaded.settings.environments_home)
        output.say(f"{environment.name}: {size(freed)} freed")
        rows.append({"name": environment.name, "freed_bytes": freed})
    if given["as_json"]:
        output.result_json(rows)
    return 0


@engines.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=_Name())
@settings_options(("environments", "models", "device"))
@common
def test(names: tuple[str, ...], **given: Any) -> int:
    """Load engines with the weights that are here, and let each work for a moment.

    The exit status is 5 when one fails, 4 when one lacks something.
    """
    loaded = _read(given, "environments", "models", "device")
    wanted = {(engine.info.kind, engine.info.name) for engine in _engines(names)}
    depth = Depth(online=not loaded.settings.offline)
    checks = [tried(row, loaded, depth) for row in inspecting.rows(loaded) if (row.kind, row.name) in wanted]
    if given["as_json"]:
        output.result_json([asdict(check) for check in checks])
    for check in checks if not given["as_json"] else ():
        fix = f" (mend it with: {check.fix})" if check.fix else ""
        output.result(output.clean(f"{check.state:<8} {check.name}: {check.text}{fix}"))
    states = {check.state for check in checks}
    return EngineFailed.exit_status if "bad" in states else Missing.exit_status if "missing" in states else 0


def _read(given: dict[str, Any], *settings: Literal["environments", "offline", "models", "device"]) -> Loaded:
    return read({name: given[name] for name in settings}, given["job"])


def _by_name() -> dict[str, list[Engine]]:
    """Engines by their own name and by that of their environment."""
    found: dict[str, list[Engine]] = {}
    for kind in KINDS:
        for engine in registry.engines(kind).values():
            if isinstance(engine, Engine):
                names = {engine.info.name, engine.environment.name if engine.environment else engine.info.name}
                for name in names:
                    found.setdefault(name, []).append(engine)
    return found


def _engines(names: Sequence[str]) -> Iterator[Engine]:
    """Raises: UnknownEngine, naming the nearest."""
    known = _by_name()
    for name in dict.fromkeys(names):
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "see them with: polydub engines"
            raise UnknownEngine(f"there is no engine and no environment {name!r}", hint)
        yield from known[name]


def _environments(names: Sequence[str]) -> list[Environment]:
    """Each once. Raises: UnknownEngine; BadSettings for an engine without one."""
    found: dict[str, Environment] = {}
    for name in dict.fromkeys(names):
        own = [engine.environment for engine in _engines([name]) if engine.environment]
        if not own:
            raise BadSettings(f"{name} needs no environment of its own", f"see whether it works: polydub engines test {name}")
        found.update({environment.name: environment for environment in own})
    return list(found.values())


def _users(environment: Environment) -> list[str]:
    return [f"{engine.info.kind} {engine.info.name}" for engine in _by_name()[environment.name] if engine.environment]


class _Heard(logging.Handler):
    """Shows log lines to a person."""

    def emit(self, record: logging.LogRecord) -> None:
        output.say(record.getMessage())


@contextmanager
def _pip_is_heard(verbose: bool) -> Generator[None]:
    log, handler = logging.getLogger(environments.__name__), _Heard(logging.INFO)
    if verbose:
        log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _cells(row: Row) -> tuple[str, str, str]:
    return row.kind, row.name, row.status


def _lines(row: Row, wide: Iterable[int], verbose: bool) -> Iterable[str]:
    cells = " ".join(f"{cell:<{width}}" for cell, width in zip(_cells(row), wide, strict=True))
    facts = [_spoken(row) + ", network" * row.network, row.licence if verbose else row.licence.partition(";")[0]]
    yield f"{cells} {'; '.join(filter(None, facts))}"
    if verbose:
        yield from (f"     {text}" for text in _more(row) if text)
    if not row.ready:
        reason = row.reason if verbose or row.status not in inspecting.PLAIN else ""
        yield "     " + "; ".join(filter(None, [reason, f"mend it with: {row.hint}" if row.hint else ""]))


def _more(row: Row) -> Iterable[str]:
    """What --verbose says besides."""
    from polydub.models import size

    host, accelerator = row.memory_mib
    yield row.summary
    yield f"by {row.package}" if row.package else ""
    yield f"takes about {host} MiB of memory" + f", or {accelerator} MiB of a card's" * bool(accelerator) if host else ""
    for weight, here in row.weights:
        use = "" if weight.commercial_use else ", no commercial use"
        yield f"{weight.id}: {size(weight.bytes)}, {weight.licence}{use}{', here' if here else ''}"
    yield " ".join(row.languages or ())


def _spoken(row: Row) -> str:
    if row in inspecting.CHOICES:
        return row.summary
    if row.languages is None:
        return "any language"
    count, noun = len(row.languages), "pair" if row.kind == "mt" else "language"
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _show_voices(language: str, tts: str, loaded: Loaded, as_json: bool) -> int:
    from polydub import languages

    tag = languages.parse(language)
    options = {name: engine_values(loaded, "tts", name) for name in registry.engines("tts")}
    need = replace(inspecting.need(loaded, "tts", tag, options), offline=loaded.settings.offline)
    chosen = registry.choose(tts, need)
    with opened(chosen.engine, chosen.options, chosen.weights, "cpu", chosen.python) as engine:
        found = engine.voices(tag)
    if as_json:
        output.result_json([{"name": v.name, "label": v.label, "settings": dict(v.settings)} for v in found])
    else:
        for v in found:
            output.result(f"{v.name:<10} {v.label}")
    return 0
