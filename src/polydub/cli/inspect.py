"""How the engines stand on this machine, and `polydub doctor`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import click

from polydub.cli import output
from polydub.cli.options import common, read
from polydub.config import Loaded, engine_values
from polydub.engines import environments, registry
from polydub.engines.base import KINDS, Batch, Engine, Environment, Kind, Part, Request, Weight
from polydub.engines.opening import opened
from polydub.engines.registry import Chosen, LackingWeights, Need
from polydub.errors import Missing, PolydubError
from polydub.types import HEAR_HZ, RATE_HZ, Span

if TYPE_CHECKING:
    from polydub.types import Audio


@dataclass(frozen=True)
class Row:
    """One engine as it stands on this machine; `lacking` are the ids of the weights without which it is not ready."""

    kind: Kind
    name: str
    ready: bool
    summary: str
    licence: str
    network: bool
    languages: tuple[str, ...] | None
    lacking: tuple[str, ...] = ()
    reason: str = ""
    fix: str = ""

    @property
    def state(self) -> str:
        """In a word or two."""
        return "ready" if self.ready else "weights missing" if self.lacking else "missing"


def rows(loaded: Loaded) -> list[Row]:
    """All registered engines; broken ones with the reason."""
    found: list[Row] = []
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            if isinstance(engine, registry.Broken):
                found.append(Row(kind, name, False, "", "", False, (), reason=engine.reason))
            else:
                found.append(_row(engine, loaded))
    return found


def _row(engine: Engine, loaded: Loaded) -> Row:
    info = engine.info
    known = engine.languages(registry.build_options(engine, _values(engine, loaded)))
    spoken = None if known is None else tuple(sorted(known))
    facts = (info.summary, info.licence, info.network, spoken)
    try:
        _chosen(engine, loaded)
    except Missing as error:
        lacking = tuple(w.id for w in error.weights) if isinstance(error, LackingWeights) else ()
        reason = error.message.removeprefix(f"{info.name}: ")
        return Row(info.kind, info.name, False, *facts, lacking, reason, error.hint)
    return Row(info.kind, info.name, True, *facts)


def _values(engine: Engine, loaded: Loaded) -> dict[str, object]:
    """What the settings say about its options."""
    info, model = engine.info, loaded.settings.asr_model
    values = engine_values(loaded, info.kind, info.name)
    takes_model = info.kind == "asr" and model and "model" in engine.options.model_fields
    return {**values, "model": model} if takes_model else values


def _chosen(engine: Engine, loaded: Loaded) -> Chosen:
    """The engine as a dub would use it, in any of its languages. Raises Missing and its kinds."""
    info, values = engine.info, _values(engine, loaded)
    known = engine.languages(registry.build_options(engine, values))
    language = min(known) if known else "en>es" if info.kind == "mt" else registry.UNKNOWN
    return registry.choose(info.name, need(loaded, info.kind, language, {info.name: values}))


def need(loaded: Loaded, kind: Kind, language: str, options: Mapping[str, Mapping[str, object]]) -> Need:
    """What an engine is wanted for, as the settings say."""
    from polydub import models

    home = loaded.settings.models_home

    def find(weight: Weight) -> Path | None:
        return models.find(weight, home)

    def python(environment: Environment) -> Path | None:
        return environments.find(environment, loaded.settings.environments_home)

    return Need(kind, language, options=options, mode=loaded.settings.mode, find=find, python=python)


@dataclass(frozen=True)
class Check:
    """One thing that doctor looked at."""

    name: str
    state: Literal["ok", "missing", "bad"]
    text: str
    fix: str = ""


@click.command()
@common
def doctor(**given: Any) -> int:
    """Check programs, engines, disk and settings; each engine that is ready works for a moment."""
    loaded = read({}, given["job"])
    checks = [*_programs(), _disk(loaded), *_settings(loaded), *(tried(row, loaded) for row in rows(loaded))]
    if given["as_json"]:
        output.result_json([{"name": c.name, "state": c.state, "text": c.text, "fix": c.fix} for c in checks])
    else:
        for c in checks:
            output.result(output.clean(f"{c.state:<8} {c.name}: {c.text}" + (f" (mend it with: {c.fix})" if c.fix else "")))
    return Missing.exit_status if any(c.state == "bad" for c in checks) else 0


def _programs() -> Iterable[Check]:
    from polydub.media import ffmpeg

    try:
        yield Check("ffmpeg", "ok", f"{ffmpeg.version()}, {ffmpeg.program().name}")
    except PolydubError as error:
        yield Check("ffmpeg", "bad", error.message, error.hint)


def _disk(loaded: Loaded) -> Check:
    folder = loaded.settings.output.absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return Check("disk", "bad", f"{existing} cannot be written", "choose another folder with --output")
    free = shutil.disk_usage(existing).free / 1e9
    state = "ok" if free > 2 else "bad"
    return Check("disk", state, f"{free:.1f} GB free for {loaded.settings.output}", "" if state == "ok" else "free some space")


def _settings(loaded: Loaded) -> Iterable[Check]:
    for variable in loaded.reserved:
        yield Check("settings", "missing", f"{variable} is set, but this version does not use it yet")


def tried(row: Row, loaded: Loaded) -> Check:
    """Lets an engine work for a moment, if it is ready and works without the network."""
    name = f"{row.kind} {row.name}"
    if not row.ready:
        return Check(name, "missing", row.reason, row.fix)
    if row.network:
        return Check(name, "ok", "configured; not tried, since that would use the network")
    began = time.monotonic()
    try:
        chosen = _chosen(registry.get(row.kind, row.name), loaded)
        wanted = loaded.settings.device
        device = wanted if wanted in chosen.engine.info.devices else "cpu"
        with opened(chosen.engine, chosen.options, chosen.weights, device, chosen.python) as engine:
            use = _USES.get(row.kind)
            text = use(engine, row) if use else "loaded"
    except PolydubError as error:
        return Check(name, "bad", error.message, error.hint)
    return Check(name, "ok", f"{text} in {time.monotonic() - began:.2f} s")


def _detect(engine: Any, _: Row) -> str:
    return f"judged {len(engine.probabilities(_buzz(HEAR_HZ)))} frames"


def _recognise(engine: Any, _: Row) -> str:
    sound = _buzz(HEAR_HZ)
    for _ in engine.transcribe(sound, None):
        pass
    return f"listened to {sound.duration:.1f} s"


def _align(engine: Any, row: Row) -> str:
    text = "one two three"
    found = engine.align(_buzz(HEAR_HZ), text, _language(row))
    return f"aligned {len(found)} words" if found else f"compared {len(text.split())} words with a sound"


def _embed(engine: Any, _: Row) -> str:
    sound = _buzz(HEAR_HZ)
    return f"described a voice by {engine.embed(sound, (Span(0.0, sound.duration),)).shape[1]} numbers"


def _tell_apart(engine: Any, _: Row) -> str:
    import tempfile

    from polydub.audio.pcm import write_pcm

    sound = _buzz(HEAR_HZ)
    with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
        file = Path(folder) / "buzz.wav"
        write_pcm(file, [sound.samples])
        return f"heard {len(engine.diarize(file, None))} turns in {sound.duration:.1f} s"


def _separate(engine: Any, _: Row) -> str:
    sound = _buzz(RATE_HZ)
    engine.separate(sound, (Span(0.4, 1.6),))
    return f"separated {sound.duration:.1f} s"


def _speak(engine: Any, row: Row) -> str:
    language = _language(row)
    audio = engine.synthesize(Part("One, two, three.", language, engine.voices(language)[0]))
    return f"spoke {audio.duration:.1f} s"


def _translate(engine: Any, row: Row) -> str:
    pair = sorted(row.languages or ("en>es",))[0]
    source, target = pair.split(">")
    engine.translate(Batch(source, target, (Request("1", "1, 2, 3."),)))
    return f"translated {pair}"


# What doctor lets an engine of each kind do; of the other kinds it only loads them.
_USES: Mapping[Kind, Callable[[Any, Row], str]] = MappingProxyType(
    {
        "vad": _detect,
        "asr": _recognise,
        "align": _align,
        "embedding": _embed,
        "diarization": _tell_apart,
        "separation": _separate,
        "mt": _translate,
        "tts": _speak,
    }
)


def _language(row: Row) -> str:
    """English, or the first that the engine has."""
    return "en" if not row.languages or "en" in row.languages else row.languages[0]


def _buzz(rate_hz: int) -> Audio:
    """Two seconds of a buzz of 140 Hz in syllables, as far as an engine can tell: mono."""
    import numpy as np

    from polydub.types import Audio

    at = np.arange(2 * rate_hz) / rate_hz
    buzz = sum(np.sin(2 * np.pi * 140 * n * at) / n for n in range(1, 9))
    return Audio((0.2 * buzz * np.sin(2 * np.pi * 2.5 * at) ** 2)[np.newaxis].astype(np.float32), rate_hz)
