"""`polydub doctor`: programs, disk, devices, environments, settings, and whether the engines work."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import click

from polydub import inspecting
from polydub.choosing import check_weights
from polydub.cli import output
from polydub.cli.options import common, read
from polydub.config import Loaded
from polydub.engines import devices, environments, fitting, registry
from polydub.engines.base import KINDS, Batch, Engine, Kind, Part, Request
from polydub.engines.opening import opened
from polydub.engines.registry import Chosen
from polydub.errors import Missing, PolydubError
from polydub.inspecting import Row
from polydub.types import HEAR_HZ, RATE_HZ, Span

if TYPE_CHECKING:
    from polydub.types import Audio

LIGHT_MIB = 350  # what takes more takes its time to load: such engines work for a moment under --deep only


@dataclass(frozen=True)
class Check:
    """One thing that doctor looked at."""

    name: str
    state: Literal["ok", "missing", "bad"]
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Depth:
    """How engines are tried. Attributes: heavy: large ones, and those in environments, too. online: the network may be used."""

    heavy: bool = True
    online: bool = False


@click.command()
@click.option("--deep", is_flag=True, help="Let engines that are large or have an environment work for a moment, too.")
@click.option("--online", is_flag=True, help="With --deep: try services too whose address no setting names.")
@common
def doctor(deep: bool, online: bool, **given: Any) -> int:
    """Check programs, engines, disk and settings; each engine that is ready and small works for a moment.

    With --deep each engine that is ready does. Services are asked then, too, if settings name their address, unless the
    setting offline forbids it. The exit status is 4 when something is bad; what is missing is no failure.
    """
    loaded = read({}, given["job"])
    depth = Depth(deep, online)
    checks = [*_programs(), _disk(loaded), *_devices(loaded), *_environments(loaded), *_settings(loaded)]
    checks += [tried(row, loaded, depth) for row in inspecting.rows(loaded) if row not in inspecting.CHOICES]
    if given["as_json"]:
        output.result_json([asdict(check) for check in checks])
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


def _devices(loaded: Loaded) -> Iterable[Check]:
    """Accelerators and memory."""
    try:
        devices.require(loaded.settings.device)
    except PolydubError as error:
        yield Check("device", "bad", error.message, error.hint)
    cards = [f"{name}, {free / 1024:.1f} GiB free" for name, free in devices.cards()]
    found = cards or [name for name in devices.accelerators() if name != "cuda"]
    yield Check("device", "ok", "; ".join(found) or "no accelerator: engines work on the processor")
    free = devices.free_mib(devices.CPU)
    yield Check("memory", "ok", "unknown" if free is None else f"{free / 1024:.1f} GiB free, {os.cpu_count()} cores")


def _environments(loaded: Loaded) -> Iterable[Check]:
    """Those that are here, and whether they are as this version of polydub wants them."""
    home = loaded.settings.environments_home
    engines = [engine for kind in KINDS for engine in registry.engines(kind).values() if isinstance(engine, Engine)]
    for environment in sorted({e.environment for e in engines if e.environment}, key=lambda e: e.name):
        here, name = environments.installed(environment, home), f"environment {environment.name}"
        fix = f"polydub engines install {environment.name}"
        if here is not None:
            outdated = Check(name, "missing", "outdated: this version of polydub wants other packages", fix)
            yield Check(name, "ok", f"installed ({here.variant})") if here.current else outdated
        elif (home / environment.name).exists():
            yield Check(name, "missing", "not complete: its installation was interrupted", fix)


def tried(row: Row, loaded: Loaded, depth: Depth | None = None) -> Check:
    """Lets an engine work for a moment, if it is ready and `depth` allows it."""
    name, depth = f"{row.kind} {row.name}", depth or Depth()
    if not row.ready:
        return Check(name, "bad" if row.status == inspecting.BROKEN else "missing", row.reason, row.hint)
    began = time.monotonic()
    try:
        chosen = inspecting.chosen(registry.get(_kind(row), row.name), loaded)
        if why := _untried(chosen, loaded, depth):
            return Check(name, "ok", why)
        check_weights(chosen, loaded.settings.models_home)
        with opened(chosen.engine, chosen.options, chosen.weights, chosen.device, chosen.python) as engine:
            use = _USES.get(chosen.engine.info.kind)
            text = use(engine, inspecting.a_language(chosen.engine, chosen.options)) if use else "loaded"
    except PolydubError as error:
        return Check(name, "bad", error.message, error.hint)
    where = f" on {chosen.device}" if chosen.device != devices.CPU else ""
    return Check(name, "ok", f"{text} in {time.monotonic() - began:.2f} s{where}")


def _kind(row: Row) -> Kind:
    return next(kind for kind in KINDS if kind == row.kind)


def _untried(chosen: Chosen, loaded: Loaded, depth: Depth) -> str:
    """Why an engine that is ready is not tried; "" when it is."""
    engine = chosen.engine
    if engine.info.network:
        if loaded.settings.offline:
            return "ready; not tried, since the setting offline forbids it"
        wanted = depth.online or (depth.heavy and inspecting.configured(engine, loaded))
        return "" if wanted else "ready; not tried, since that would use the network: polydub doctor --deep --online"
    light = chosen.python is None and fitting.memory_mib(engine, chosen.options, devices.CPU) <= LIGHT_MIB
    return "" if depth.heavy or light else "ready; try it with: polydub doctor --deep"


def _detect(engine: Any, _: str) -> str:
    return f"judged {len(engine.probabilities(_buzz(HEAR_HZ)))} frames"


def _recognise(engine: Any, _: str) -> str:
    sound = _buzz(HEAR_HZ)
    for _ in engine.transcribe(sound, None):
        pass
    return f"listened to {sound.duration:.1f} s"


def _align(engine: Any, language: str) -> str:
    text = "one two three"
    found = engine.align(_buzz(HEAR_HZ), text, language)
    return f"aligned {len(found)} words" if found else f"compared {len(text.split())} words with a sound"


def _embed(engine: Any, _: str) -> str:
    sound = _buzz(HEAR_HZ)
    return f"described a voice by {engine.embed(sound, (Span(0.0, sound.duration),)).shape[1]} numbers"


def _tell_apart(engine: Any, _: str) -> str:
    import tempfile

    from polydub.audio.pcm import write_pcm

    sound = _buzz(HEAR_HZ)
    with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
        file = Path(folder) / "buzz.wav"
        write_pcm(file, [sound.samples])
        return f"heard {len(engine.diarize(file, None))} turns in {sound.duration:.1f} s"


def _separate(engine: Any, _: str) -> str:
    sound = _buzz(RATE_HZ)
    engine.separate(sound, (Span(0.2, 0.8),))
    return f"separated {sound.duration:.1f} s"


def _speak(engine: Any, language: str) -> str:
    audio = engine.synthesize(Part("One, two, three.", language, engine.voices(language)[0]))
    return f"spoke {audio.duration:.1f} s"


def _translate(engine: Any, language: str) -> str:
    source, target = language.split(">")
    engine.translate(Batch(source, target, (Request("1", "1, 2, 3."),)))
    return f"translated {language}"


def _look(engine: Any, _: str) -> str:
    import numpy as np

    frames = np.zeros((2, 180, 320, 3), np.uint8)
    engine.cuts(frames)
    return f"found {sum(map(len, engine.faces(frames)))} faces in {len(frames)} black pictures"


# What doctor lets an engine of each kind do; of the other kinds it only loads them.
_USES: Mapping[Kind, Callable[[Any, str], str]] = MappingProxyType(
    {
        "vad": _detect,
        "asr": _recognise,
        "align": _align,
        "embedding": _embed,
        "diarization": _tell_apart,
        "separation": _separate,
        "mt": _translate,
        "tts": _speak,
        "faces": _look,
    }
)


def _buzz(rate_hz: int) -> Audio:
    """A second of a buzz of 140 Hz in syllables, as far as an engine can tell: mono."""
    import numpy as np

    from polydub.types import Audio

    at = np.arange(rate_hz) / rate_hz
    buzz = sum(np.sin(2 * np.pi * 140 * n * at) / n for n in range(1, 9))
    return Audio((0.2 * buzz * np.sin(2 * np.pi * 2.5 * at) ** 2)[np.newaxis].astype(np.float32), rate_hz)
