"""What listening costs: a reading dubbed with and without its texts, and the memory that an hour of film takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import films
import machine
from figures import Figure, fixed
from fixture import Film
from measures import ESPEAK, LONG_PEAK, Findings, Plan, cores
from process import Cost
from quality import length
from weights import Homes

GIVEN, HEARD = 0.30, 0.60  # of real time, on so many cores:
CORES = 4
SHORT_MIN, HOUR_MIN = 10, 60
WEIGHTS = ("resemblyzer", "deepfilternet3")
READING = "A reading of 53 s: listening, speakers, separation and matched voices"
LONG = "The memory of a long film: with recognition, speakers and separation"

TALK = """Six people speak in turn over music and noise; speech is recognised, speakers are told apart, the sound is separated
and voices are matched. PSS of the whole process tree, looked at 20 times a second, once for each film."""
FAKE = """
The recogniser is the fake one, which is quick and needs no memory of its own; `make bench ARGS="--long"` takes PocketSphinx."""


def dub(film: Film, out: Path, models: Path, asr: str = "") -> list[str | Path]:
    """Dubs with everything that listens; the texts are given unless `asr` names who shall hear them."""
    given: list[str | Path] = ["--transcript", film.transcript, "--translation", film.translation]
    heard: list[str | Path] = ["--asr", asr, "--from", "en"]
    return [machine.polydub(), "dub", film.video, "--to", "es", *(heard if asr else given), "--tts", ESPEAK, "--mt", "fake",
            "--models", models, "--download", "no", "--output", out]  # fmt: skip


def defaults(plan: Plan, found: Findings, clip: Film, group: str, homes: Homes) -> None:
    """The clip once more, and this time polydub listens, separates and matches voices."""
    runs: list[Cost] = []
    for n in range(plan.repeats):
        plan.say(f"{group}, with listening: {n + 1} of {plan.repeats}")
        runs.append(plan.bench().cost(dub(clip, plan.fresh("defaults"), homes.full)))
    walls = tuple(c.wall_s for c in runs)
    note = f"the defaults: {_work(plan, clip, 'defaults')}; {_cpu(runs)}"
    found.add(group, Figure("whole dub, espeak-ng, with speakers, separation and matched voices", "s", walls, note=note))


def reading(plan: Plan, found: Findings, data: Path, homes: Homes) -> None:
    """Whole dubs of the reading, in times of its length."""
    film = films.reading(data, plan.work / "reading")
    rows = (
        ("texts given, with weights", GIVEN, homes.full, ""), ("texts given, without weights", GIVEN, homes.bare, ""),
        ("no texts, with weights", HEARD, homes.full, "pocketsphinx"),
        ("no texts, without weights", HEARD, homes.bare, "pocketsphinx"),
    )  # fmt: skip
    for name, limit, home, asr in rows:
        reason = homes.lacks(*WEIGHTS) if home == homes.full else ""
        if reason:
            found.tell(READING, f"{name}: {reason}.")
        else:
            found.add(READING, _read(plan, film, name, limit, dub(film, plan.work / "out/reading", home, asr)))


def _read(plan: Plan, film: Film, name: str, limit: float, command: Sequence[str | Path]) -> Figure:
    bench, whole = plan.bench(cores()[:CORES]), length(film.video)
    runs: list[Cost] = []
    for n in range(plan.repeats):
        plan.say(f"reading, {name}: {n + 1} of {plan.repeats}")
        plan.fresh("reading")
        runs.append(bench.cost(command))
    seconds = sorted(c.wall_s for c in runs)[len(runs) // 2]
    note = f"{seconds:.1f} s, {_cpu(runs)}; {_work(plan, film, 'reading')}"
    shares = tuple(c.wall_s / whole for c in runs)
    if len(cores()) < CORES:
        return Figure(name, "x real time", shares, note=f"{note}; the target is for {CORES} cores")
    return fixed(name, "x real time", shares, limit, note)


def _cpu(runs: Sequence[Cost]) -> str:
    return f"{sorted(c.cpu_s for c in runs)[len(runs) // 2]:.1f} core-seconds"


def _report(plan: Plan, film: Film, out: str) -> dict[str, list[dict[str, object]]]:
    path = plan.work / "out" / out / film.video.stem / "report.es.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _work(plan: Plan, film: Film, out: str) -> str:
    """Who worked, and the five stages that took longest."""
    told = _report(plan, film, out)
    engines = ", ".join(str(e["name"]) for e in told["engines"] if e["kind"] not in ("tts", "mt", "vad"))
    slow = sorted(told["stages"], key=lambda s: -float(str(s["seconds"])))[:5]
    return f"{engines}; longest: " + ", ".join(f"{s['name']} {float(str(s['seconds'])):.1f} s" for s in slow)


def hour(plan: Plan, found: Findings, data: Path, homes: Homes, *, long: bool) -> None:
    """Peak PSS of the process tree for an hour of film against one of ten minutes; `long`: PocketSphinx hears them."""
    asr = "pocketsphinx" if long else "fake"
    short, other = (_peak(plan, data, homes, asr, minutes) for minutes in (SHORT_MIN, HOUR_MIN))
    words = f"<= {LONG_PEAK:g} times the figure above"
    found.add(LONG, short, replace(other, limits=(LONG_PEAK * short.median,), target=words))
    found.tell(LONG, TALK if long else TALK + FAKE)
    if lacking := homes.lacks(*WEIGHTS):
        found.tell(LONG, "", lacking.replace("not measured", "Measured without the neural engines") + ".")


def _peak(plan: Plan, data: Path, homes: Homes, asr: str, minutes: int) -> Figure:
    """Once: such peaks differ by a few per cent from run to run."""
    video = films.spoken(data, minutes, plan.work.parent / f"talk{minutes}")
    film = Film(video, video, video, 0)
    plan.say(f"memory, {minutes} minutes of talk, {asr}")
    cost = plan.bench().cost(dub(film, plan.fresh("talk"), homes.full, asr), memory=True)
    told = _report(plan, film, "talk")
    made = f"lines {len(told['lines'])}, speakers {len(told['speakers'])}, {cost.wall_s:.0f} s, {cost.cpu_s:.0f} core-seconds"
    note = f"{made}; {_work(plan, film, 'talk')}"
    shutil.rmtree(plan.work / "out/talk", ignore_errors=True)
    return Figure(f"peak memory, {minutes} minutes of film", "MB", (cost.peak_mb,), note=note)
