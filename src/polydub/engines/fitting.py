"""Whether an engine fits a need: its environment, the model for mode and language, weights, device, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from polydub.engines import devices
from polydub.engines.base import Engine, Environment, Kind, Options, Weight
from polydub.engines.choices import build_options
from polydub.engines.tags import match_language, nearest_languages
from polydub.errors import EngineFailed, MissingExtra, MissingWeights, UnsupportedLanguage

UNKNOWN = "und"  # the language that nobody told; every engine may be asked for it
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
class Need:
    """What an engine is wanted for.

    Attributes: language: BCP-47 tag, for mt a pair "en>es". options: engine name -> option values from settings; they
    are overridden by those of the choice. order: what `auto` tries, best first; None = that of `preferences`. mode: low,
    medium or high. find: where a model's weights lie, None when they are not here. python: that of an environment, None
    when it is not installed. device: where it shall work. free: memory in MiB that is free on a device; None = unknown, or
    not to be looked at.
    """

    kind: Kind
    language: str
    offline: bool = False
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    order: Sequence[str] | None = None
    mode: str = "medium"
    find: Callable[[Weight], Path | None] = lambda weight: None
    python: Callable[[Environment], Path | None] = lambda environment: None
    device: str = devices.CPU
    free: Callable[[str], int | None] = lambda device: None


class LackingWeights(MissingWeights):
    """MissingWeights that knows which."""

    def __init__(self, message: str, hint: str, weights: tuple[Weight, ...]) -> None:
        super().__init__(message, hint)
        self.weights = weights


class LackingEnvironment(MissingExtra):
    """MissingExtra of an engine whose environment is not installed."""


class TooLittleMemory(EngineFailed):
    """An engine needs more memory than is free."""


def python_of(engine: Engine, need: Need) -> Path | None:
    """That of the engine's environment; None when it has none. Raises: LackingEnvironment when it is not installed."""
    if engine.environment is None:
        return None
    python = need.python(engine.environment)
    if python is None:
        name = engine.info.name
        text = f"{name}: its environment is not installed, or not as this version of polydub wants it"
        raise LackingEnvironment(text, f"polydub engines install {name}")
    return python


def variants(engine: Engine, given: Mapping[str, object], mode: str) -> tuple[Options, ...]:
    """The engine's options: as given, or when no model was named, with each of its models for a mode, best first."""
    models = engine.models.get(mode, ())
    if given.get("model") or not models:
        return (build_options(engine, given),)
    return tuple(build_options(engine, {**given, "model": model}) for model in models)


def all_variants(engine: Engine, given: Mapping[str, object]) -> tuple[Options, ...]:
    """As `variants`, with the models of every mode."""
    found = [options for mode in (engine.models or {"": ()}) for options in variants(engine, given, mode)]
    return tuple(options for at, options in enumerate(found) if options not in found[:at])


def with_model(engine: Engine, given: Mapping[str, object], need: Need) -> Options:
    """The engine's options, with the best model for the mode that has the language and whose weights are here.

    Where there is none, a model that lacks its weights comes before one that lacks the language; of several the one that has
    the language exactly ("es-MX" rather than "es-ES") comes first.
    """

    def rank(options: Options) -> tuple[bool, bool, bool]:
        known = engine.languages(options)
        spoken = _served(known, need.language)
        here = all(map(need.find, engine.weights(options)))
        return spoken is None, not here, not (known is None or need.language in known)

    return min(variants(engine, given, need.mode), key=rank)  # of equals the first


def _served(known: frozenset[str] | None, language: str) -> str | None:
    return language if known is None or language == UNKNOWN else match_language(language, known)


def languages_of(engine: Engine, options: Sequence[Options]) -> frozenset[str] | None:
    """What an engine has with one or another of several options; None = any language."""
    found = [engine.languages(each) for each in options]
    return None if None in found else frozenset[str]().union(*(known for known in found if known is not None))


def spoken(engine: Engine, options: Options, need: Need, given: Mapping[str, object]) -> str:
    """The tag by which the engine serves the language. Raises UnsupportedLanguage, naming the nearest of all its models."""
    found = _served(engine.languages(options), need.language)
    if found is None:
        near = nearest_languages(need.language, languages_of(engine, variants(engine, given, need.mode)) or ())
        verb = NOUNS[engine.info.kind][1]
        raise UnsupportedLanguage(f"{engine.info.name} has no {need.language!r}", f"it {verb}: {near}" if near else "")
    return found


def memory_mib(engine: Engine, options: Options, device: str) -> int:
    """What an engine takes where it works: what it says of itself, and its weights once at least."""
    weights = sum(weight.bytes for weight in engine.weights(options)) // devices.MIB
    return max(engine.info.memory_mib[device != devices.CPU], weights)


def require_memory(engine: Engine, options: Options, device: str, need: Need) -> None:
    """Raises TooLittleMemory when less is free where the engine shall work than it needs."""
    free, wanted = need.free(device), memory_mib(engine, options, device)
    if free is None or free >= wanted:
        return
    where = "this machine" if device == devices.CPU else f"the card ({device})"
    smaller = "close other programs, choose a smaller model or --mode low" + ", or --device cpu" * (device != devices.CPU)
    text = f"{engine.info.name} needs about {_size(wanted)} of memory, and {where} has {_size(free)} free"
    raise TooLittleMemory(text, f"{smaller}; or try all the same: POLYDUB_CHECK_MEMORY=no")


def _size(mib: int) -> str:
    return f"{mib} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"
