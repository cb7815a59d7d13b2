"""Which engines there are, which one to use, and what of it belongs into a key.

Engines are found through the entry points `polydub.<kind>`, built-in ones too. Looking one up imports its module only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from polydub.engines import devices, environments, fitting, preferences
from polydub.engines.base import KINDS, Engine, Kind, Options, Weight, Weights
from polydub.engines.choices import Choice as Choice  # noqa: PLC0414 - whoever asks the registry needs these, too
from polydub.engines.choices import build_options as build_options  # noqa: PLC0414
from polydub.engines.choices import did_you_mean, parse_choice
from polydub.engines.fitting import NOUNS, UNKNOWN, LackingEnvironment, LackingWeights, Need
from polydub.engines.tags import match_language as match_language  # noqa: PLC0414
from polydub.errors import (
    BadSettings,
    Missing,
    MissingExtra,
    MissingProgram,
    MissingSecret,
    PolydubError,
    UnknownEngine,
    UnsupportedLanguage,
)
from polydub.types import Notice

AUTO = "auto"
# What `auto` tries in mode medium, best first. An engine that is not listed is only used by name.
PREFERENCE: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {kind: found for kind in KINDS if (found := preferences.order(kind, "medium"))}
)
ADDRESSES = ("base_url", "preset")  # option fields that say where an engine's service is


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry point that names no usable engine, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Of an engine that another worker has: its identity there, and what keeps it from working here."""

    identity: Mapping[str, Any]
    error: PolydubError


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine to use.

    Attributes: reason: one sentence for the report. weights: folders by id. lacking: weights with which `auto` would have
    chosen the best that can work here. python: that of its environment; None = it has none, and runs in this process.
    device: where it works. elsewhere: where it works at another worker only.
    """

    engine: Engine
    options: Options
    reason: str
    notices: tuple[Notice, ...] = ()
    weights: Weights = field(default_factory=dict[str, Path])
    lacking: tuple[Weight, ...] = ()
    python: Path | None = None
    device: str = devices.CPU
    elsewhere: Elsewhere | None = None


@cache
def _entries(kind: Kind) -> Mapping[str, EntryPoint]:
    found = entry_points(group=f"polydub.{kind}")
    return MappingProxyType({e.name: e for e in sorted(found, key=lambda e: e.name)})


@cache
def _row(kind: Kind, name: str) -> Engine | Broken:
    try:
        engine = _entries(kind)[name].load()
    except Exception as error:  # noqa: BLE001 - other people's modules are imported here, and may raise anything
        return Broken(name, f"{type(error).__name__}: {error}")
    if not isinstance(engine, Engine):
        return Broken(name, f"the entry point names a {type(engine).__name__}, not an Engine")
    if (engine.info.kind, engine.info.name) != (kind, name):
        return Broken(name, f"it calls itself {engine.info.kind} engine {engine.info.name!r}")
    return engine


def engines(kind: Kind) -> Mapping[str, Engine | Broken]:
    """All engines of a kind by name, sorted. Imports the module of each, once in a process."""
    return MappingProxyType({name: _row(kind, name) for name in _entries(kind)})


def get(kind: Kind, name: str) -> Engine:
    """One engine by name. Raises: UnknownEngine, naming the nearest; MissingExtra when it cannot be imported."""
    known = _entries(kind)
    noun = NOUNS[kind][0]
    if name not in known:
        listed = ", ".join(known) or "none"
        raise UnknownEngine(f"there is no {noun} {name!r}", f"{did_you_mean(name, known)}there are: {listed}")
    row = _row(kind, name)
    if isinstance(row, Broken):
        raise MissingExtra(f"{noun} {name!r} cannot be loaded: {row.reason}", "reinstall the package that brings it")
    return row


def identity(
    engine: Engine, options: Options, device: str, python: Path | None = None, revisions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What of an engine can change a result, as JSON values: it goes into the keys of remembered work.

    The name; the version of the package that does the work, or the lock of the environment that `python` belongs to; weights
    by revision, of which `revisions` tells those that are not pinned; options but for those marked as outside identity; the
    class of device ("cuda" for "cuda:1"). For engines that are part of polydub the package has no version: their stages have
    one, and a release of polydub must not make everything be done again.
    """
    info = engine.info
    known = {weight.id: weight.revision for weight in engine.weights(options)}
    return {
        "kind": info.kind,
        "name": info.name,
        "package": environments.identity(python) or (f"{info.package} {_version(info.package)}" if info.package else "polydub"),
        "version": engine.version(options),
        "revision": info.revision,
        "weights": {id: revision or (revisions or {}).get(id, "") for id, revision in known.items()},
        "options": options.identity(),
        "device": device.partition(":")[0],
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def choose(wanted: Choice | str, need: Need) -> Chosen:
    """The engine to use for `need`: the one wanted by name, or for "auto" the first in order that can do it.

    `auto` takes an engine that uses the network only when settings name its address, and never offline.
    Raises: UnknownEngine; UnsupportedLanguage, naming the nearest; Missing and its kinds, with the command that mends it;
    BadSettings for wrong options, a device that is not here, or a network engine under --offline; TooLittleMemory.
    """
    choice = parse_choice(wanted) if isinstance(wanted, str) else wanted
    if choice.name == AUTO:
        if choice.options:
            raise BadSettings("options were given for the engine 'auto'", "name the engine they are for")
        return _automatic(need)
    engine = get(need.kind, choice.name)
    return _use(engine, {**need.options.get(choice.name, {}), **choice.options}, need, "chosen by name")


def _automatic(need: Need) -> Chosen:
    order = preferences.order(need.kind, need.mode) if need.order is None else need.order
    noun, verb = NOUNS[need.kind]
    failed: list[tuple[str, PolydubError]] = []
    for name in order:
        try:
            engine = get(need.kind, name)
            given = need.options.get(name, {})
            if engine.info.network and not configured(given):
                raise BadSettings("it uses the network and is not configured", f"configure {name}")
            chosen = _use(engine, given, need, _why(name, order, failed))
            better = next(((other, error) for other, error in failed if isinstance(error, LackingWeights)), None)
            if better is None:
                return chosen
            notices = (_substitute(name, need.kind, *better), *chosen.notices)
            return replace(chosen, lacking=better[1].weights, notices=notices)
        except PolydubError as error:
            failed.append((name, error))
    if not failed:
        raise UnknownEngine(f"there is no {noun} for 'auto' to take", f"name one of: {', '.join(_entries(need.kind))}")
    # What says most first: an engine that works but lacks the language, then one that could be installed.
    failed.sort(key=lambda f: not isinstance(f[1], UnsupportedLanguage) and 1 + (not isinstance(f[1], Missing)))
    reasons = "; ".join(_because(name, error) for name, error in failed)
    hint = "; or ".join(error.hint for _, error in failed if error.hint)
    text = f"no {noun} {verb} {need.language!r} here: {reasons}"
    if weights := tuple(w for _, error in failed if isinstance(error, LackingWeights) for w in error.weights):
        raise LackingWeights(text, hint, weights)
    raise type(failed[0][1])(text, hint)


def _substitute(name: str, kind: Kind, better: str, error: LackingWeights) -> Notice:
    """What is told when the best that could work here only lacks its weights."""
    text = f"{name} stands in for {better}, the better {NOUNS[kind][0]}, whose weights are not here: {error.hint}"
    return Notice("substitute", text)


def _why(name: str, order: Sequence[str], failed: Sequence[tuple[str, PolydubError]]) -> str:
    if failed:
        absent = [other for other, error in failed if isinstance(error, LackingEnvironment)]
        told = [_because(other, error) for other, error in failed if other not in absent]
        return "passed over: " + "; ".join([*told, f"{', '.join(absent)} (not installed)"] if absent else told)
    others = [other for other in order if other != name]
    return f"preferred over {', '.join(others)}" if others else "the only one that auto takes"


def _because(name: str, error: PolydubError) -> str:
    return f"{name} ({error.message.removeprefix(name).removeprefix(':').strip()})"


def configured(given: Mapping[str, object]) -> bool:
    """Whether a person has set where the engine's service is. A key that merely lies in the environment is no such wish."""
    return any(given.get(name) for name in ADDRESSES)


def _use(engine: Engine, given: Mapping[str, object], need: Need, why: str) -> Chosen:
    """`engine` if it can run now and has the language. Raises as `choose`."""
    info = engine.info
    if info.network and need.offline:
        raise BadSettings(
            f"{info.name} uses the network, which --offline forbids", "choose another engine, or leave out --offline"
        )
    python = fitting.python_of(engine, need)
    options = fitting.with_model(engine, given, need)
    require(engine, options)
    spoken = fitting.spoken(engine, options, need, given)
    weights = {weight.id: folder for weight in engine.weights(options) if (folder := need.find(weight))}
    lacking = tuple(weight for weight in engine.weights(options) if weight.id not in weights)
    if lacking:
        ids = " ".join(weight.id for weight in lacking)
        raise LackingWeights(f"{info.name}: its weights are not here", f"polydub models pull {ids}", lacking)
    device, hindrance = devices.place(engine, need.device, python)
    if device.partition(":")[0] not in info.devices:
        text = f"{info.name} works on an NVIDIA card only{': ' * bool(hindrance)}{hindrance}"
        raise MissingProgram(text, f"choose another {NOUNS[need.kind][0]}")
    fitting.require_memory(engine, options, device, need)
    verb = NOUNS[need.kind][1]
    notices: list[Notice] = []
    if spoken.rpartition(">")[2].casefold() != need.language.rpartition(">")[2].casefold():
        notices.append(Notice("nearest-language", f"{info.name} has no {need.language}; it {verb} {spoken} instead", "info"))
    notices.extend(Notice("engine-remark", f"{info.name}: {text}") for text in engine.remarks(options, spoken))
    if hindrance:
        notices.append(Notice("device", f"{info.name} works on the processor: {hindrance}", "info"))
    if info.network:
        notices.append(Notice("network-engine", f"{info.name} sends what it works on to a service", "info"))
    ready = "reachable" if info.network else "installed"
    able = "" if spoken == UNKNOWN else f", {verb} {spoken}"
    reason = f"{info.name}: {ready}{able}; {why}"
    return Chosen(engine, options, reason, tuple(notices), weights, python=python, device=device)


def require(engine: Engine, options: Options) -> None:
    """Raises MissingSecret, MissingExtra or MissingProgram, with the command that mends it, unless the engine can run now."""
    available = engine.check(options)
    if available.ready:
        return
    info = engine.info
    lacks_secret = any(_empty(getattr(options, name, None)) for name in info.secrets)
    kind = MissingSecret if lacks_secret else MissingExtra if info.extra else MissingProgram
    reason = available.reason or "it cannot run here"
    raise kind(reason if info.name in reason else f"{info.name}: {reason}", available.fix)


def _empty(value: object) -> bool:
    return not (value.get_secret_value() if isinstance(value, SecretStr) else value)
