"""Engines for divided jobs, as a package of their own: one that works on a card, one that is a service, each with a gate.

The card is a program that answers as the driver's does, and libraries that can be loaded and do nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

PLUGIN = """
import json, os, time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from polydub.engines.mt import fake as mt
from polydub.engines.tts import fake as tts

HOME = Path(os.environ["DIVIDED_HOME"])

def note(engine, text, device, rate=1.0):
    told = {"engine": engine, "text": text, "rate": rate, "device": device, "at": time.time()}
    told["host"] = os.environ.get("DIVIDED_HOST", "")
    with (HOME / "calls.txt").open("a") as log:
        log.write(json.dumps(told) + "\\n")
    for gate in HOME.glob(f"hold-{engine}-*"):
        while gate.exists() and gate.read_text() in text:
            time.sleep(0.02)
    for wrong in HOME.glob(f"fail-{engine}-*"):
        if wrong.read_text() in text:
            raise RuntimeError("the voice is hoarse")

class Speech(tts.FakeSpeech):
    device = "cpu"
    def synthesize(self, part):
        note("carded", part.text, self.device, part.rate)
        time.sleep(float((HOME / "pace").read_text() or 0) if (HOME / "pace").exists() else 0)
        return super().synthesize(part)

@contextmanager
def speech(options, weights, device):
    engine = Speech()
    engine.device = device
    yield engine

class Service(mt.FakeTranslation):
    def candidates(self, batch):
        note("afar", batch.requests[0].text, "net")
        return super().candidates(batch)
    def translate(self, batch):
        note("afar", batch.requests[0].text, "net")
        return super().translate(batch)

@contextmanager
def service(options, weights, device):
    yield Service(options)

carded = replace(tts.ENGINE.info, name="carded", devices=frozenset({"cpu", "cuda"}), parallel=1)
CARDED = replace(tts.ENGINE, info=carded, load=speech)
AFAR = replace(mt.ENGINE, info=replace(mt.ENGINE.info, name="afar", network=True, batch=2), load=service)
"""
LIBRARIES = ("libcublas.so.12", "libcudnn.so.9")


def installed(folder: Path) -> dict[str, str]:
    """Installs the engines; what programs that shall have them find in their environment."""
    package = folder / "plugin"
    info = package / "divided_engines-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: divided-engines\nVersion: 1.0\n")
    entries = "[polydub.tts]\ncarded = divided_engines:CARDED\n[polydub.mt]\nafar = divided_engines:AFAR\n"
    (info / "entry_points.txt").write_text(entries)
    (package / "divided_engines.py").write_text(PLUGIN)
    (folder / "home").mkdir()
    return {"PYTHONPATH": str(package), "DIVIDED_HOME": str(folder / "home")}


def card(folder: Path, path: str) -> dict[str, str]:
    """A card, for programs with this environment. `path`: where programs are found besides."""
    place = folder / "card"
    place.mkdir()
    program = place / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '24000, A card, GPU-1'\n", encoding="ascii")
    program.chmod(0o755)
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    some = next(line.split()[-1] for line in maps if "/libm.so" in line or "/libc.so" in line)
    for library in LIBRARIES:
        (place / library).symlink_to(some)
    return {"PATH": f"{place}:{path}", "LD_LIBRARY_PATH": str(place)}


def calls(folder: Path, engine: str = "") -> list[dict[str, object]]:
    """Calls of the engines, in order of time."""
    log = folder / "home" / "calls.txt"
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    return [call for call in told if engine in ("", call["engine"])]


def hold(folder: Path, engine: str, text: str) -> Path:
    """Calls of an engine with this text wait until the file that is given back is deleted."""
    gate = folder / "home" / f"hold-{engine}-{text}"
    gate.write_text(text, encoding="utf-8")
    return gate


def pace(folder: Path, seconds: float) -> None:
    """From now on every line takes so long to speak."""
    new = folder / "home" / "new-pace"
    new.write_text(str(seconds), encoding="ascii")
    new.replace(folder / "home" / "pace")


def fail(folder: Path, engine: str, text: str) -> None:
    """Calls of an engine with this text fail."""
    (folder / "home" / f"fail-{engine}-{text}").write_text(text, encoding="utf-8")


def queues(data: Path, job: str) -> list[str]:
    """The queues that the steps of a job were put on, in order; of a server on SQLite."""
    with closing(sqlite3.connect(data / "jobs.sqlite")) as records:
        found = records.execute("select workflow_uuid from workflow_status where workflow_uuid like ?", (f"{job}/%/%",))
        numbered: Iterator[list[str]] = (id_.split("/")[2].split("-") for (id_,) in found.fetchall())
        return [queue for _, queue in sorted((int(number), queue) for number, queue in numbered)]


def merged(*environments: Mapping[str, str]) -> dict[str, str]:
    """Several environments as one."""
    return {name: value for environment in environments for name, value in environment.items()}
