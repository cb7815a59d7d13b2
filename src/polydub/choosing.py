"""Which engine does what in a run: settings, what `auto` took last time, weights that are here or may be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from polydub import calls
from polydub.duty import Duty, HandedOver
from polydub.engines import devices, environments, fitting, preferences, registry
from polydub.engines.base import Environment, Kind, Weight
from polydub.engines.pool import Tool
from polydub.engines.registry import AUTO, Chosen, Elsewhere, LackingWeights, Need
from polydub.errors import BadSettings, Cancelled, EngineFailed, Missing, PolydubError, UnknownEngine, UnsupportedLanguage
from polydub.runner import Run
from polydub.types import Notice, Progress

if TYPE_CHECKING:
    from polydub.config import Loaded, Settings

EMBEDDED = "embedded"  # diarization by polydub itself, with an embedding engine: "embedded:resemblyzer"
NONE = "none"
GIVEN = "given"  # recognition by nobody: what is said stands in a transcript
FAILED = "failed"  # of a choice that no worker needs to try again
LISTENER = "listener"  # under which the recogniser of the dub is told to other workers

Found = Chosen | LackingWeights | None


class OtherEngine(PolydubError):
    """A worker has an engine that another chose for the same dub, but not just the same: its results would be others."""

    code, exit_status, http_status, retryable = "other-engine", 4, 503, True


@dataclass(frozen=True)
class Person:
    """Whom to ask and tell while engines are chosen. `ask`: a yes or no question; False where nobody can answer."""

    ask: Callable[[str], bool] = lambda question: False
    progress: Callable[[Progress], None] = lambda progress: None


class Chooser:
    """Puts engines into a run. What `auto` takes is kept in `kept`, so that the next run takes the same."""

    def __init__(self, loaded: Loaded, kept: dict[str, str], person: Person | None = None) -> None:
        self._loaded, self._kept, self._person = loaded, kept, person or Person()
        self._held: Callable[[str], int] = lambda device: 0  # MiB that the run's own engines take there
        self._duty: Duty | None = None

    def __call__(self, run: Run, wants: Mapping[Kind, str]) -> None:
        """The engine for each kind, for a language or pair ("und" when none is known). Raises what `registry.choose` raises.

        Weights that would serve better are offered once for all kinds.
        """
        self._held, self._duty = run.held_mib, run.duty
        found = self._all(wants)
        lacking = tuple(dict.fromkeys(weight for row in found.values() for weight in _lacking(row)))
        if lacking and self._agreed(lacking):
            run.note(*self._fetched(lacking))
            found = self._all(wants)
        for kind, row in found.items():
            if isinstance(row, LackingWeights):
                if self._duty:
                    self._duty.pin(_key(kind, wants.get(kind, registry.UNKNOWN)), _failed(row))
                raise row
            self._use(run, kind, wants.get(kind, registry.UNKNOWN), row)

    def check(self, run: Run, wants: Mapping[Kind, str]) -> None:
        """Raises what a call would, where nothing can be fetched; puts nothing into the run."""
        self._held = run.held_mib
        for row in self._all(wants).values():
            if isinstance(row, LackingWeights):
                raise row

    def listener(self, run: Run, language: str) -> None:
        """A recogniser of the dub takes the place of the source's; none does where nobody here understands it well."""
        run.tools.pop("asr", None)
        self._held, self._duty = run.held_mib, run.duty
        chosen = self._shared("asr", LISTENER, language, lambda: self._listener(language))
        if isinstance(chosen, Chosen):
            self._take(run, "asr", chosen)

    def _listener(self, language: str) -> Chosen | None:
        asked = self._asked("asr")
        order = [name for name in preferences.order("asr", self._loaded.settings.mode) if name != "pocketsphinx"]
        try:
            return registry.choose(AUTO if asked == GIVEN else asked, replace(self._need("asr", language), order=order))
        except (Missing, UnsupportedLanguage, BadSettings, EngineFailed):
            return None

    def _all(self, wants: Mapping[Kind, str]) -> dict[Kind, Chosen | LackingWeights]:
        """One for each kind, and an encoder of voices where diarization is done with one."""
        found: dict[Kind, Chosen | LackingWeights] = {kind: self._choose(kind, tag) for kind, tag in wants.items()}
        told = found.get("diarization")
        if isinstance(told, Chosen) and "stages" in told.engine.info.features and "embedding" not in found:
            found["embedding"] = self._choose("embedding", wants["diarization"])
        return found

    def _asked(self, kind: Kind) -> str:
        """What the settings say about a kind."""
        from polydub import config

        settings = self._loaded.settings
        if kind == "embedding":
            choice = registry.parse_choice(settings.diarization)
            return choice.options.get("model", AUTO) if choice.name == EMBEDDED else AUTO
        if kind == "faces":  # an option of the lip-sync engine
            choice = registry.parse_choice(settings.lip_sync)
            given = {**config.engine_values(self._loaded, "lipsync", choice.name), **choice.options}
            return str(given.get("faces") or registry.PREFERENCE[kind][0])
        asked = str(getattr(settings, config.CHOICES[kind])) if kind in config.CHOICES else AUTO
        if kind == "asr" and asked == AUTO and settings.asr_model:  # who names a model names the engine that has it
            return _with_model(settings.asr_model)
        return AUTO if asked == NONE else asked

    def _need(self, kind: Kind, language: str) -> Need:
        from polydub import config, models

        settings = self._loaded.settings
        names = [n for n, e in registry.engines(kind).items() if not isinstance(e, registry.Broken)]
        options = {name: config.engine_values(self._loaded, kind, name) for name in names}
        if kind == "asr" and settings.asr_model:
            for name in (n for n in names if "model" in registry.get(kind, n).options.model_fields):
                options[name] = {**options[name], "model": settings.asr_model}
        home = settings.models_home

        def find(weight: Weight) -> Path | None:
            return models.find(weight, home)

        def python(environment: Environment) -> Path | None:
            return environments.find(environment, settings.environments_home)

        need = Need(kind, language, settings.offline, options, None, settings.mode, find, python, settings.device)
        return replace(need, free=self._free_mib) if settings.check_memory else need

    def _free_mib(self, device: str) -> int | None:
        """What is free, and what the run's own engines take: they stay for this need, or are unloaded for it."""
        free = devices.free_mib(device)
        return None if free is None else free + self._held(device)

    def _choose(self, kind: Kind, language: str) -> Chosen | LackingWeights:
        found = self._shared(kind, _key(kind, language), language, lambda: self._decide(kind, language))
        assert found is not None  # noqa: S101 - `_decide` finds one, or raises
        return found

    def _shared(self, kind: Kind, key: str, language: str, decide: Callable[[], Found]) -> Found:
        """What `decide` finds; where several workers make the dub, what the first of them found. Raises: HandedOver."""
        duty = self._duty
        if duty is None:
            return decide()
        if (pin := duty.pinned(key)) is not None:
            if FAILED in pin:
                raise _failure(pin[FAILED])
            return self._again(kind, language, pin) if pin else None
        asked = registry.parse_choice(self._asked(kind)).name
        engine = None if asked in (AUTO, GIVEN) else registry.get(kind, asked)
        duty.may_choose(engine, self._loaded.settings.device)
        try:
            found = decide()
        except (Missing, EngineFailed) as error:
            if isinstance(error, Missing) and engine and engine.info.network and duty.here != "net":
                raise HandedOver("net") from None  # its key may be where the network is
            duty.pin(key, _failed(error))
            raise
        if not isinstance(found, LackingWeights):
            duty.pin(key, _pin(found) if found else {})
        return found

    def _again(self, kind: Kind, language: str, pin: Mapping[str, Any]) -> Chosen:
        """The engine that another worker, or this one, has chosen; `elsewhere` where this one has not just the same."""
        asked, need = self._asked(kind), self._need(kind, language)
        choice = registry.parse_choice(pin["choice"] if asked in (AUTO, GIVEN) else asked)
        notices = tuple(Notice(**notice) for notice in pin["notices"])
        there = str(pin["device"]).partition(":")[0]
        if need.device.partition(":")[0] != there:  # "auto", or a card that this engine has no use for
            need = replace(need, device=there)
        try:
            chosen = replace(registry.choose(choice, need), reason=pin["reason"], notices=notices, lacking=())
            if calls.digest(tool(chosen).identity) == calls.digest(pin["identity"]):
                return chosen
            text = f"{choice.name} is another here than where it was chosen for this job"
            error: PolydubError = OtherEngine(text, "give all workers the same version, weights and settings of it; then retry")
        except (Missing, BadSettings, EngineFailed, UnsupportedLanguage) as found:
            error = found
        engine = registry.get(kind, choice.name)
        options = fitting.with_model(engine, {**need.options.get(choice.name, {}), **choice.options}, need)
        away = Elsewhere(pin["identity"], error)
        return Chosen(engine, options, pin["reason"], notices, device=pin["device"], elsewhere=away)

    def _decide(self, kind: Kind, language: str) -> Chosen | LackingWeights:
        asked, need, key = self._asked(kind), self._need(kind, language), _key(kind, language)
        if (kind, asked) == ("asr", GIVEN):
            raise BadSettings("--asr given allows no recognition, and no transcript was given", "give one with --transcript")
        try:
            if asked != AUTO or key not in self._kept:
                return registry.choose(asked, need)
            chosen = registry.choose(self._kept[key], need)
        except LackingWeights as error:
            return error
        except (Missing, UnknownEngine) as error:
            if asked == AUTO:
                error.hint = "; ".join(filter(None, (error.hint, f"or let {kind} be chosen anew: --reconsider")))
            raise
        except UnsupportedLanguage:
            if asked != AUTO or key not in self._kept:
                raise
            for name in (key, f"{key}.reason", f"{key}.substitute"):  # another language was told since
                self._kept.pop(name, None)
            return self._decide(kind, language)
        said = self._kept.get(f"{key}.substitute")
        if said and (better := registry.choose(AUTO, need).engine.info.name) != (mine := chosen.engine.info.name):
            said = f"{mine} stands in for {better}, which is better and here now: take it with --reconsider"
        notices = (Notice("substitute", said), *chosen.notices) if said else chosen.notices
        return replace(chosen, reason=self._kept[f"{key}.reason"], notices=notices)

    def _use(self, run: Run, kind: Kind, language: str, chosen: Chosen) -> None:
        key = _key(kind, language)
        if self._asked(kind) == AUTO and key not in self._kept:
            self._kept[key] = _named(chosen)
            self._kept[f"{key}.reason"] = chosen.reason
            if said := next((n.text for n in chosen.notices if n.code == "substitute"), ""):
                self._kept[f"{key}.substitute"] = said
        self._take(run, kind, chosen)
        run.note(*chosen.notices)

    def _take(self, run: Run, kind: Kind, chosen: Chosen) -> None:
        if chosen.elsewhere is None:
            check_weights(chosen, self._loaded.settings.models_home)
        run.tools[kind] = tool(chosen)

    def _agreed(self, lacking: Sequence[Weight]) -> bool:
        """Whether the weights may be fetched: as `download` says, after one question for all."""
        from polydub import models

        settings = self._loaded.settings
        if settings.offline or settings.download == "no":
            return False
        rows = "\n".join(f"  {models.described(weight)}" for weight in lacking)
        question = f"These weights would serve better and can be downloaded:\n{rows}\nDownload them now?"
        free = all(weight.commercial_use for weight in lacking)
        return (settings.download == "yes" and free) or self._person.ask(question)

    def _fetched(self, lacking: Sequence[Weight]) -> Iterator[Notice]:
        """Fetches weights; those that cannot be had are told, and what stands in for them is used."""
        from polydub import models

        for weight in lacking:
            try:
                models.pull(weight, self._loaded.settings.models_home, partial(self._pulled, weight.id))
            except PolydubError as error:
                if isinstance(error, Cancelled):
                    raise
                yield Notice("download-failed", f"{weight.id} could not be downloaded: {error.message}")

    def _pulled(self, name: str, done: int, total: int) -> None:
        self._person.progress(Progress(f"pull {name}", done, total))


def _key(kind: Kind, language: str) -> str:
    """Under which name a choice is kept: what translates and speaks may be another for each language."""
    return f"{kind} {language}" if kind in ("mt", "tts") else kind


def _named(chosen: Chosen) -> str:
    model = getattr(chosen.options, "model", None)
    return f"{chosen.engine.info.name}:{model}" if model and chosen.engine.models else chosen.engine.info.name


def _pin(chosen: Chosen) -> dict[str, Any]:
    """What other workers are told of a choice."""
    notices = [asdict(notice) for notice in chosen.notices]
    known = {"choice": _named(chosen), "device": chosen.device, "reason": chosen.reason, "notices": notices}
    return known | {"identity": dict(tool(chosen).identity)}


def _failed(error: PolydubError) -> dict[str, Any]:
    """What other workers are told of a choice that could not be made: some dubs go on without it (see `lipsyncing.ready`)."""
    return {FAILED: {"missing": isinstance(error, Missing), "message": error.message, "hint": error.hint}}


def _failure(told: Mapping[str, Any]) -> PolydubError:
    return (Missing if told["missing"] else EngineFailed)(told["message"], told["hint"])


def _lacking(row: Chosen | LackingWeights) -> Sequence[Weight]:
    return row.weights if isinstance(row, LackingWeights) else row.lacking


def check_weights(chosen: Chosen, home: Path) -> None:
    """Raises: StoreError for weights that are not what they should be: nothing may be made with them, and remembered."""
    weights = chosen.engine.weights(chosen.options)
    if not weights:
        return
    from polydub import models

    for weight in weights:
        models.require_intact(weight, chosen.weights[weight.id], home)


def tool(chosen: Chosen) -> Tool:
    """A chosen engine as a run needs it."""
    reason = chosen.reason if chosen.device == devices.CPU else f"{chosen.reason}; it works on {chosen.device}"
    if there := chosen.elsewhere:
        return Tool(chosen.engine, chosen.options, there.identity, chosen.device, {}, reason, elsewhere=there.error)
    identity = registry.identity(chosen.engine, chosen.options, chosen.device, chosen.python, _revisions(chosen))
    return Tool(chosen.engine, chosen.options, identity, chosen.device, chosen.weights, reason, chosen.python)


def _with_model(model: str) -> str:
    """The recogniser that has a model of this name; the first that has models where nobody knows the name."""
    known = {name: registry.get("asr", name).models for name in preferences.order("asr", "medium")}
    first = next(name for name, models in known.items() if models)
    return next((name for name, models in known.items() if any(model in names for names in models.values())), first)


def _revisions(chosen: Chosen) -> Mapping[str, str]:
    """Of weights that are not pinned, as their folders tell."""
    unpinned = [weight for weight in chosen.engine.weights(chosen.options) if not weight.revision]
    if not unpinned:
        return {}
    from polydub import models

    return {weight.id: models.revision(weight, chosen.weights[weight.id]) for weight in unpinned}


def check_choices(settings: Settings, *, accelerated: bool = False) -> None:
    """Raises BadSettings, UnknownEngine or MissingExtra when an engine or a device that was chosen by name is not there.

    `accelerated`: another worker has the device.
    """
    from polydub import config

    if not accelerated:
        devices.require(settings.device)
    for name in get_args(config.EngineKind):
        kind = cast("Kind", name)
        choice = registry.parse_choice(str(getattr(settings, config.CHOICES[kind])))
        if choice.name == AUTO or (choice.name == NONE and kind in ("diarization", "separation", "lipsync")):
            continue
        if (kind, choice.name) == ("asr", GIVEN):
            continue
        engine = registry.get(kind, choice.name)
        if kind == "asr" and settings.asr_model and "model" not in engine.options.model_fields:
            raise BadSettings(f"{choice.name} has no models to choose from", "leave out --asr-model, or name another --asr")
        if choice.name == EMBEDDED and choice.options.get("model", AUTO) != AUTO:
            registry.get("embedding", choice.options["model"])
