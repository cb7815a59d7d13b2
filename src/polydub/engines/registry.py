"""Which engines there are, which one to use, and what of it belongs into a key.

Engines are found through the entry points `polydub.<kind>`, built-in ones too. Looking one up imports its module only.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr, ValidationError

from polydub.engines import environments
from polydub.engines.base import Engine, Environment, Kind, Options, Weight, Weights
from polydub.engines.tags import match_language, nearest_languages
from polydub.errors import (
    BadSettings,
    Missing,
    MissingExtra,
    MissingProgram,
    MissingSecret,
    MissingWeights,
    PolydubError,
    UnknownEngine,
    UnsupportedLanguage,
)
from polydub.types import Notice

AUTO = "auto"
# What `auto` tries, best first. An engine that is not listed is only used by name.
PREFERENCE: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "vad": ("silero",),
        "asr": ("faster-whisper", "pocketsphinx"),
        "align": ("pocketsphinx", "syllables"),
        "embedding": ("resemblyzer", "fingerprint"),
        "separation": ("deepfilternet", "mask"),
        "mt": ("openai", "apertium"),
        "tts": ("espeak-ng",),
        "faces": ("yunet",),
    }
)
UNKNOWN = "und"  # the language that nobody told; every engine may be asked for it
ADDRESSES = ("base_url", "preset")  # option fields that say where an engine's service is
NOUNS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        "vad": ("speech detector", "handles"),
        "asr": ("recognition engine", "understands"),
        "align": ("alignment engine", "aligns"),
        "embedding": ("speaker encoder", "handles"),
        "mt": ("translation engine", "translates"),
        "tts": ("speech engine", "speaks"),
        "separation": ("separation engine", "handles"),
        "diarization": ("diarization engine", "handles"),
        "faces": ("face finder", "handles"),
        "lipsync": ("lip-sync engine", "handles"),
    }
)


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry point that names no usable engine, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person typed: an engine's name, or "auto", and options for it."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Need:
    """What an engine is wanted for.

    Attributes: language: BCP-47 tag, for mt a pair "en>es". options: engine name -> option values from settings; they
    are overridden by those of the choice. order: what `auto` tries, best first; None = PREFERENCE. mode: low, medium or
    high, for engines with models. find: where a model's weights lie, None when they are not here. python: that of an
    environment, None when it is not installed.
    """

    kind: Kind
    language: str
    offline: bool = False
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    order: Sequence[str] | None = None
    mode: str = "medium"
    find: Callable[[Weight], Path | None] = lambda weight: None
    python: Callable[[Environment], Path | None] = lambda environment: None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine to use.

    Attributes: reason: one sentence for the report. weights: folders by id. lacking: weights with which `auto` would have
    chosen better. python: that of its environment; None = it has none, and runs in this process.
    """

    engine: Engine
    options: Options
    reason: str
    notices: tuple[Notice, ...] = ()
    weights: Weights = field(default_factory=dict[str, Path])
    lacking: tuple[Weight, ...] = ()
    python: Path | None = None


class LackingWeights(MissingWeights):
    """MissingWeights that knows which."""

    def __init__(self, message: str, hint: str, weights: tuple[Weight, ...]) -> None:
        super().__init__(message, hint)
        self.weights = weights


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
        raise UnknownEngine(f"there is no {noun} {name!r}", f"{_did_you_mean(name, known)}there are: {listed}")
    row = _row(kind, name)
    if isinstance(row, Broken):
        raise MissingExtra(f"{noun} {name!r} cannot be loaded: {row.reason}", "reinstall the package that brings it")
    return row


def parse_choice(text: str) -> Choice:
    """ "name[:model][,key=value...]" taken apart; `model` is the option of that name. The model may hold ":" but no ",".

    Raises: BadSettings.
    """
    syntax = "write name[:model][,option=value...], such as openai:llama3,timeout_s=30"
    head, *rest = text.strip().split(",")
    name, colon, model = head.strip().partition(":")
    if not name or (colon and not model):
        raise BadSettings(f"engine choice {text.partition(',')[0]!r} lacks a name", syntax)
    options: dict[str, str] = {"model": model} if model else {}
    for part in rest:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BadSettings(f"engine choice for {name!r} has a part without option=value", syntax)
        if key in options:
            raise BadSettings(f"engine choice for {name!r} sets {key!r} twice", syntax)
        options[key] = value.strip()
    return Choice(name, options)


def build_options(engine: Engine, values: Mapping[str, object]) -> Options:
    """The engine's options from plain values; strings such as "3" or "true" are read as what the field wants.

    Raises: BadSettings that names the field, what is wrong and, for an unknown field, the nearest one; never the value.
    """
    try:
        return engine.options.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    fields = engine.options.model_fields
    if first["type"] == "extra_forbidden":
        listed = ", ".join(fields) or "none"
        hint = f"{_did_you_mean(name, fields)}its options are: {listed}"
        raise BadSettings(f"{engine.info.name} has no option {name!r}", hint)
    described = fields[name].description if name in fields else None
    wrong = first["msg"][:1].lower() + first["msg"][1:]
    raise BadSettings(f"{engine.info.name} option {name!r}: {wrong}", f"{name}: {described}" if described else "")


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
    BadSettings for wrong options, or a network engine under --offline.
    """
    choice = parse_choice(wanted) if isinstance(wanted, str) else wanted
    if choice.name == AUTO:
        if choice.options:
            raise BadSettings("options were given for the engine 'auto'", "name the engine they are for")
        return _automatic(need)
    engine = get(need.kind, choice.name)
    return _use(engine, {**need.options.get(choice.name, {}), **choice.options}, need, "chosen by name")


def _automatic(need: Need) -> Chosen:
    order = PREFERENCE.get(need.kind, ()) if need.order is None else need.order
    noun, verb = NOUNS[need.kind]
    failed: list[tuple[str, PolydubError]] = []
    for name in order:
        try:
            engine = get(need.kind, name)
            given = need.options.get(name, {})
            if engine.info.network and not _configured(given):
                raise BadSettings("it uses the network and is not configured", f"configure {name}")
            chosen = _use(engine, given, need, _why(name, order, failed))
            lacking = tuple(w for _, error in failed if isinstance(error, LackingWeights) for w in error.weights)
            return replace(chosen, lacking=lacking, notices=(*_substitutes(name, need.kind, failed), *chosen.notices))
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


def _substitutes(name: str, kind: Kind, failed: Sequence[tuple[str, PolydubError]]) -> Iterable[Notice]:
    """One notice for each better engine that only lacks its weights."""
    for better, error in failed:
        if isinstance(error, LackingWeights):
            text = f"{name} stands in for {better}, the better {NOUNS[kind][0]}, whose weights are not here: {error.hint}"
            yield Notice("substitute", text)


def _why(name: str, order: Sequence[str], failed: Sequence[tuple[str, PolydubError]]) -> str:
    if failed:
        return "passed over: " + "; ".join(_because(other, error) for other, error in failed)
    others = [other for other in order if other != name]
    return f"preferred over {', '.join(others)}" if others else "the only one that auto takes"


def _because(name: str, error: PolydubError) -> str:
    return f"{name} ({error.message.removeprefix(name).removeprefix(':').strip()})"


def _configured(given: Mapping[str, object]) -> bool:
    """Whether a person has set where the engine's service is. A key that merely lies in the environment is no such wish."""
    return any(given.get(name) for name in ADDRESSES)


def _use(engine: Engine, given: Mapping[str, object], need: Need, why: str) -> Chosen:
    """`engine` if it can run now and has the language. Raises as `choose`."""
    info = engine.info
    if info.network and need.offline:
        raise BadSettings(
            f"{info.name} uses the network, which --offline forbids", "choose another engine, or leave out --offline"
        )
    python = _python(engine, need)
    options = _with_model(engine, given, need)
    require(engine, options)
    spoken = _spoken(engine, options, need.language)
    weights = {weight.id: folder for weight in engine.weights(options) if (folder := need.find(weight))}
    lacking = tuple(weight for weight in engine.weights(options) if weight.id not in weights)
    if lacking:
        ids = " ".join(weight.id for weight in lacking)
        raise LackingWeights(f"{info.name}: its weights are not here", f"polydub models pull {ids}", lacking)
    verb = NOUNS[need.kind][1]
    notices: list[Notice] = []
    if spoken.rpartition(">")[2].casefold() != need.language.rpartition(">")[2].casefold():
        notices.append(Notice("nearest-language", f"{info.name} has no {need.language}; it {verb} {spoken} instead", "info"))
    notices.extend(Notice("engine-remark", f"{info.name}: {text}") for text in engine.remarks(options, spoken))
    if info.network:
        notices.append(Notice("network-engine", f"{info.name} sends what it works on to a service", "info"))
    ready = "reachable" if info.network else "installed"
    able = "" if spoken == UNKNOWN else f", {verb} {spoken}"
    return Chosen(engine, options, f"{info.name}: {ready}{able}; {why}", tuple(notices), weights, python=python)


def _python(engine: Engine, need: Need) -> Path | None:
    """That of the engine's environment; None when it has none. Raises: MissingExtra when it is not installed."""
    if engine.environment is None:
        return None
    python = need.python(engine.environment)
    if python is None:
        name = engine.info.name
        text = f"{name}: its environment is not installed, or not as this version of polydub wants it"
        raise MissingExtra(text, f"polydub engines install {name}")
    return python


def _with_model(engine: Engine, given: Mapping[str, object], need: Need) -> Options:
    """The engine's options; unless a model was named, the best for the mode whose weights are here, else the best of all."""
    models = engine.models.get(need.mode, ())
    if given.get("model") or not models:
        return build_options(engine, given)
    fit = [build_options(engine, {**given, "model": model}) for model in models]
    return next((options for options in fit if all(map(need.find, engine.weights(options)))), fit[0])


def _spoken(engine: Engine, options: Options, language: str) -> str:
    """The tag by which the engine serves a language. Raises UnsupportedLanguage, naming the nearest."""
    known = engine.languages(options)
    spoken = language if known is None or language == UNKNOWN else match_language(language, known)
    if spoken is None:
        near = nearest_languages(language, known or ())
        verb = NOUNS[engine.info.kind][1]
        raise UnsupportedLanguage(f"{engine.info.name} has no {language!r}", f"it {verb}: {near}" if near else "")
    return spoken


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


def _did_you_mean(wanted: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""
