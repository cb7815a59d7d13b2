"""What clients may call the engines: OpenAI's names for the best there is, `engine` and `engine:model` for one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polydub.engines import environments, registry
from polydub.engines.base import Engine, Kind
from polydub.errors import BadSettings, PolydubError
from polydub.server.problems import Problem

if TYPE_CHECKING:
    from polydub.config import Loaded
    from polydub.config.server import ServerSettings

BEST: dict[str, Kind] = {
    **dict.fromkeys(("tts-1", "tts-1-hd", "gpt-4o-mini-tts"), "tts"),
    **dict.fromkeys(("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"), "asr"),
    "gpt-4o-transcribe-diarize": "asr",
}
DIARIZING = "gpt-4o-transcribe-diarize"
MADE = 1_767_225_600  # 2026-01-01: `created` of every model; clients want a number, nobody needs the right one
_SERVED: tuple[Kind, ...] = ("tts", "asr", "separation")
_TRIALS = frozenset({"fake"})  # for tests: used by name where the settings let clients do so, not listed
_REMOTE = re.compile(r"[\w.:/@-]{1,200}")


@dataclass(frozen=True)
class Model:
    """A name that may be asked for. Attributes: engine: what answers, "" = the best that is there."""

    id: str
    kind: Kind
    engine: str


def asked(kind: Kind, model: str, loaded: Loaded) -> str:
    """What the settings would say to get what `model` names: an engine choice, or "auto". Raises: Problem 404.

    Nothing but a name goes through: options of engines may be paths and addresses, which are not for clients to set.
    """
    from polydub import config

    if model in (registry.AUTO, "") or BEST.get(model) == kind:
        return str(getattr(loaded.settings, config.CHOICES[kind]))
    name, colon, sub = model.partition(":")
    engine = registry.engines(kind).get(name)
    refused = name in _TRIALS and not loaded.settings.server.trials
    if refused or not isinstance(engine, Engine) or (colon and not _has(engine, sub)):
        raise unknown(model)
    return model


def refuse_trials(named: Mapping[str, object], settings: ServerSettings) -> None:
    """Refuses engines that are for tests among the settings of a job. Raises: BadSettings."""
    from polydub import config

    for name in config.CHOICES.values():
        if str(named.get(name, "")).partition(":")[0] in _TRIALS and not settings.trials:
            raise BadSettings(f"{name}: this server has no engine {named[name]!r}", "engines are in /api/engines")


def unknown(model: str) -> Problem:
    """404, as OpenAI answers."""
    shown = model if len(model) <= 100 else model[:100] + "..."
    return Problem(
        404, "model_not_found", f"there is no model {shown!r}", hint="GET /v1/models lists what there is", param="model"
    )


def _has(engine: Engine, model: str) -> bool:
    if engine.info.network:
        return bool(_REMOTE.fullmatch(model)) and "model" in engine.options.model_fields
    return any(model in models for models in engine.models.values())


def models(loaded: Loaded) -> tuple[Model, ...]:
    """What can be asked for and would be answered now: OpenAI's names, the engines that are ready, their models."""
    found: list[Model] = []
    for kind in _SERVED:
        ready = list(_ready(kind, loaded))
        if ready and kind != "separation":
            found.extend(Model(name, kind, "") for name, its in BEST.items() if its == kind)
        found.extend(ready)
    return tuple(found)


def model(name: str, loaded: Loaded) -> Model:
    """One of `models`, or an engine that is there without being listed. Raises: Problem 404."""
    listed = next((each for each in models(loaded) if each.id == name), None)
    if listed:
        return listed
    for kind in _SERVED:
        engine = registry.engines(kind).get(name)
        if isinstance(engine, Engine) and engine.info.name in _TRIALS and loaded.settings.server.trials:
            return Model(name, kind, name)
    raise unknown(name)


def _ready(kind: Kind, loaded: Loaded) -> Iterator[Model]:
    """Engines that could work at once: programs and packages are there, weights too, an address is set for services."""
    from polydub import config
    from polydub import models as weights

    settings = loaded.settings
    for name, engine in registry.engines(kind).items():
        if not isinstance(engine, Engine) or name in _TRIALS:
            continue
        given = config.engine_values(loaded, kind, name)
        if engine.info.network and (settings.offline or not registry.configured(given)):
            continue
        if engine.environment and environments.find(engine.environment, settings.environments_home) is None:
            continue
        subs = list(dict.fromkeys(sub for several in engine.models.values() for sub in several))
        there: list[str] = []
        for sub in subs or [""]:
            try:
                options = registry.build_options(engine, {**given, **({"model": sub} if sub else {})})
                ready = engine.check(options).ready and all(
                    weights.find(weight, settings.models_home) for weight in engine.weights(options)
                )
            except PolydubError:
                continue
            if ready:
                there.append(sub)
        if there:
            yield Model(name, kind, name)
        yield from (Model(f"{name}:{sub}", kind, name) for sub in there if sub)
