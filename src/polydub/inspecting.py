"""How the engines stand on this machine: the rows of `polydub engines`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from polydub.config import Loaded, engine_values
from polydub.engines import devices, environments, fitting, registry
from polydub.engines.base import KINDS, Engine, Environment, Kind, Options, Weight
from polydub.engines.registry import Chosen, LackingWeights, Need
from polydub.errors import MissingExtra, MissingSecret, PolydubError, UnsupportedLanguage

READY, BROKEN, SETUP = "ready", "broken", "needs-setup"
# What is missing first: what is raised -> status, and what the table says of it.
STATUSES: Mapping[type[PolydubError], str] = MappingProxyType(
    {
        LackingWeights: "needs-weights",
        fitting.LackingEnvironment: "needs-environment",
        fitting.TooLittleMemory: "needs-memory",
        MissingSecret: "needs-key",
        MissingExtra: "needs-package",
        PolydubError: SETUP,  # a program of the system, a checkout, an accepted licence: the reason and the hint say which
    }
)
PLAIN = ("needs-weights", "needs-environment")  # which say all that the reason would


@dataclass(frozen=True)
class Row:
    """One engine as it stands on this machine.

    Attributes: status: "ready", "broken", or what it lacks first (STATUSES). languages: of all its models; None = any.
    weights: of all its models, and whether they are here. memory_mib: estimate on the processor, and on an accelerator.
    hint: the one command that mends it. package: what does the work, with its version where that is known.
    """

    kind: str
    name: str
    status: str
    summary: str = ""
    licence: str = ""
    network: bool = False
    languages: tuple[str, ...] | None = None
    weights: tuple[tuple[Weight, bool], ...] = ()
    devices: tuple[str, ...] = (devices.CPU,)
    memory_mib: tuple[int, int] = (0, 0)
    reason: str = ""
    hint: str = ""
    package: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can work now."""
        return self.status == READY

    def facts(self) -> dict[str, Any]:
        """For machines. `languages`: tags; of translators pairs "en>es", or tags when any of them goes to any other."""
        host, accelerator = self.memory_mib
        weights = [
            {"id": w.id, "bytes": w.bytes, "here": here, "licence": w.licence, "commercial_use": w.commercial_use}
            for w, here in self.weights
        ]
        return {
            "kind": self.kind,
            "name": self.name,
            "status": self.status,
            "licence": self.licence,
            "weights": weights,
            "languages": None if self.languages is None else _shorter(self.languages),
            "devices": list(self.devices),
            "memory": {"host_mib": host, "accelerator_mib": accelerator},
            "hint": self.hint,
        }


# What may be chosen beside engines, and works without one.
CHOICES: tuple[Row, ...] = (
    Row("asr", "given", READY, "a transcript tells what is said"),
    Row("separation", "none", READY, "the original is lowered under the speech"),
)


def rows(loaded: Loaded) -> list[Row]:
    """All registered engines, broken ones with the reason, and after those of its kind each choice that is none."""
    found: list[Row] = []
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            if isinstance(engine, registry.Broken):
                hint = "reinstall the package that brings it"
                found.append(Row(kind, name, BROKEN, reason=engine.reason, hint=hint))
            else:
                found.append(_row(engine, loaded))
        found.extend(row for row in CHOICES if row.kind == kind)
    return found


def _row(engine: Engine, loaded: Loaded) -> Row:
    from polydub import models

    info, values, home = engine.info, _values(engine, loaded), loaded.settings.models_home
    options = fitting.all_variants(engine, values)
    known = fitting.languages_of(engine, options)
    weights = dict.fromkeys(weight for each in options for weight in engine.weights(each))
    row = Row(
        info.kind,
        info.name,
        READY,
        info.summary,
        info.licence,
        info.network,
        None if known is None else tuple(sorted(known)),
        tuple((weight, models.find(weight, home) is not None) for weight in weights),
        tuple(sorted(info.devices)),
        info.memory_mib,
        package=_package(engine, loaded),
    )
    try:
        chosen(engine, loaded)
    except UnsupportedLanguage:
        return replace(row, status=SETUP, reason="no language is installed for it", hint=info.homepage)
    except PolydubError as error:
        status = next(word for kind, word in STATUSES.items() if isinstance(error, kind))
        return replace(row, status=status, reason=error.message.removeprefix(f"{info.name}: "), hint=error.hint)
    return row


def _package(engine: Engine, loaded: Loaded) -> str:
    """What does the work: a package with its version, of an environment as its lock says."""
    name = engine.info.package
    if engine.environment is None:
        return name
    environment = engine.environment
    here = environments.installed(environment, loaded.settings.environments_home)
    variant = here.variant if here else environment.variants[0]
    version = environments.pinned(environment, variant, name)
    return f"{name} {version}".strip() + f" in the environment {environment.name}" + f" ({variant})" * bool(here)


def _shorter(known: Iterable[str]) -> list[str]:
    """Pairs that are all there are between some languages, as these languages."""
    tags = sorted(known)
    sides = sorted({side for tag in tags for side in tag.split(">")})
    complete = len(sides) > 2 and all(">" in tag for tag in tags) and len(tags) == len(sides) * (len(sides) - 1)
    return sides if complete else tags


def _values(engine: Engine, loaded: Loaded) -> dict[str, object]:
    """What the settings say about its options."""
    info, model = engine.info, loaded.settings.asr_model
    values = engine_values(loaded, info.kind, info.name)
    takes_model = info.kind == "asr" and model and "model" in engine.options.model_fields
    return {**values, "model": model} if takes_model else values


def chosen(engine: Engine, loaded: Loaded) -> Chosen:
    """The engine as a dub would use it, in one of its languages. Raises what `registry.choose` raises."""
    info, values = engine.info, _values(engine, loaded)
    wanted = need(loaded, info.kind, registry.UNKNOWN, {info.name: values})
    language = a_language(engine, fitting.with_model(engine, values, wanted))
    return registry.choose(info.name, replace(wanted, language=language))


def a_language(engine: Engine, options: Options) -> str:
    """English, or the first that the engine has with these options; of pairs English to Spanish, or the first."""
    known = engine.languages(options)
    if known:
        return min(known, key=lambda tag: (tag not in ("en", "en>es"), not tag.startswith("en"), tag))
    return {"mt": "en>es", "tts": "en", "align": "en"}.get(engine.info.kind, registry.UNKNOWN)


def need(loaded: Loaded, kind: Kind, language: str, options: Mapping[str, Mapping[str, object]]) -> Need:
    """What an engine is wanted for, as the settings say."""
    from polydub import models

    settings = loaded.settings
    home = settings.models_home

    def find(weight: Weight) -> Path | None:
        return models.find(weight, home)

    def python(environment: Environment) -> Path | None:
        return environments.find(environment, settings.environments_home)

    found = Need(kind, language, options=options, mode=settings.mode, find=find, python=python, device=settings.device)
    return replace(found, free=devices.free_mib) if settings.check_memory else found


def configured(engine: Engine, loaded: Loaded) -> bool:
    """Whether settings name the address of an engine that uses the network."""
    return registry.configured(_values(engine, loaded))
