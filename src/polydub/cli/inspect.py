"""`polydub engines` and `polydub doctor`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import click

from polydub.cli import output
from polydub.cli.options import common, read
from polydub.config import Loaded, engine_values
from polydub.engines import registry
from polydub.engines.base import KINDS, Batch, Engine, Kind, Part, Request
from polydub.errors import BadSettings, Missing, PolydubError


@dataclass(frozen=True)
class Row:
    """One engine as it stands on this machine."""

    kind: Kind
    name: str
    ready: bool
    summary: str
    licence: str
    network: bool
    languages: tuple[str, ...] | None
    reason: str
    fix: str


def rows(loaded: Loaded) -> list[Row]:
    """All registered engines; broken ones with the reason."""
    found: list[Row] = []
    for kind in KINDS:
        for name, engine in registry.engines(kind).items():
            if isinstance(engine, registry.Broken):
                found.append(Row(kind, name, False, "", "", False, (), engine.reason, ""))
            else:
                found.append(_row(engine, loaded))
    return found


def _row(engine: Engine, loaded: Loaded) -> Row:
    info = engine.info
    options = registry.build_options(engine, engine_values(loaded, info.kind, info.name))
    state = engine.check(options)
    known = engine.languages(options)
    spoken = None if known is None else tuple(sorted(known))
    return Row(info.kind, info.name, state.ready, info.summary, info.licence, info.network, spoken, state.reason, state.fix)


@click.command()
@click.option("--voices", metavar="LANGUAGE", help="List the voices for a language instead.")
@click.option("--tts", default="auto", show_default=True, help="The engine whose voices to list.")
@common
def engines(voices: str | None, tts: str, **given: Any) -> int:
    """Show the engines: what is there, what is missing, and the one command that mends it."""
    loaded = read({}, given["job"])
    if voices:
        return _show_voices(voices, tts, loaded, given["as_json"])
    found = rows(loaded)
    if given["as_json"]:
        output.result_json([_json(row) for row in found])
        return 0
    for row in found:
        spoken = (
            "any language" if row.languages is None else f"{len(row.languages)} {'pairs' if row.kind == 'mt' else 'languages'}"
        )
        state = "ready" if row.ready else "missing"
        network = ", uses the network" if row.network else ""
        output.result(output.clean(f"{row.kind:<4} {row.name:<12} {state:<8} {spoken}{network}; {row.licence}"))
        if given["verbose"] and row.summary:
            output.result(f"     {row.summary}")
        if given["verbose"] and row.languages:
            output.result(f"     {' '.join(row.languages)}")
        if not row.ready:
            output.result(output.clean(f"     {row.reason}" + (f"; mend it with: {row.fix}" if row.fix else "")))
    return 0


def _json(row: Row) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return values | {"languages": None if row.languages is None else list(row.languages)}


def _show_voices(language: str, tts: str, loaded: Loaded, as_json: bool) -> int:
    from polydub import languages

    tag = languages.parse(language)
    options = {name: engine_values(loaded, "tts", name) for name in registry.engines("tts")}
    need = registry.Need("tts", tag, loaded.settings.offline, options)
    chosen = registry.choose(tts, need)
    with chosen.engine.load(chosen.options, {}, "cpu") as engine:
        found = engine.voices(tag)
    if as_json:
        output.result_json([{"name": v.name, "label": v.label, "settings": dict(v.settings)} for v in found])
    else:
        for v in found:
            output.result(f"{v.name:<10} {v.label}")
    return 0


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
    """Check programs, engines, disk and settings; each engine that is there works for a moment."""
    loaded = read({}, given["job"])
    checks = [*_programs(), _disk(loaded), *_settings(loaded), *_engines(loaded)]
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


def _engines(loaded: Loaded) -> Iterable[Check]:
    for row in rows(loaded):
        name = f"{row.kind} {row.name}"
        if not row.ready:
            yield Check(name, "missing", row.reason, row.fix)
        elif row.network:
            yield Check(name, "ok", "configured; not tried, since that would use the network")
        else:
            yield _try(name, row, loaded)


def _try(name: str, row: Row, loaded: Loaded) -> Check:
    """Lets an engine work for a moment."""
    engine = registry.get(row.kind, row.name)
    began = time.monotonic()
    try:
        options = registry.build_options(engine, engine_values(loaded, row.kind, row.name))
        with engine.load(options, {}, "cpu") as loaded_engine:
            text = _use(row, loaded_engine)
    except PolydubError as error:
        return Check(name, "bad", error.message, error.hint)
    return Check(name, "ok", f"{text} in {time.monotonic() - began:.2f} s")


def _use(row: Row, engine: Any) -> str:
    if row.kind == "tts":
        voice = engine.voices("en")[0]
        audio = engine.synthesize(Part("One, two, three.", "en", voice))
        return f"spoke {audio.duration:.1f} s"
    if row.kind == "mt":
        pair = sorted(row.languages or ("en>es",))[0]
        source, target = pair.split(">")
        engine.translate(Batch(source, target, (Request("1", "1, 2, 3."),)))
        return f"translated {pair}"
    raise BadSettings(f"doctor does not know how to try a {row.kind} engine")
