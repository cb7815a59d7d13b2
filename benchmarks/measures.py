"""What is measured. Every dub is a fresh process with an empty store, and follows a yardstick run of the same film."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import machine
from figures import Figure, fixed, table
from fixture import Film
from process import Bench, Cost

NULL = "fake,chars_per_s=20"  # at its own pace the fake voice would need more time than the fixture has
ESPEAK = "espeak-ng"
DEAF = ("--separation", "none", "--diarization", "none", "--voice-mode", "preset")
PEAK_MB = 400.0
LONG_PEAK = 1.2
HELPS = 9  # so short a run is measured more often


@dataclass
class Findings:
    """Everything that was found. `texts`: what is said below figures. `stages`: of the last dub with null engines."""

    figures: dict[str, list[Figure]] = field(default_factory=dict[str, list[Figure]])
    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    stages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    dub: Path | None = None

    def add(self, group: str, *figures: Figure) -> None:
        """Puts figures under a heading."""
        self.figures.setdefault(group, []).extend(figures)

    def tell(self, group: str, *lines: str) -> None:
        """Puts lines of Markdown below the figures of a heading."""
        self.figures.setdefault(group, [])
        self.texts.setdefault(group, []).extend(lines)

    def sections(self) -> Iterator[list[str]]:
        """Heading by heading, lines of Markdown."""
        for group, figures in self.figures.items():
            told = self.texts.get(group, [])
            yield [f"## {group}", *(["", *table(figures)] if figures else []), *(["", *told] if told else []), ""]

    def find(self, name: str) -> Figure:
        """The figure of that name. Raises KeyError."""
        return {f.name: f for several in self.figures.values() for f in several}[name]


@dataclass(frozen=True)
class Plan:
    """How it is measured: where, how often, and who hears what is going on."""

    work: Path
    repeats: int
    say: Callable[[str], None]

    def bench(self, cores: Sequence[int] = ()) -> Bench:
        """Runs commands on these processors, on all when empty."""
        return Bench(self.work, tuple(cores))

    def fresh(self, name: str) -> Path:
        """An output folder that does not exist."""
        folder = self.work / "out" / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def dub(film: Film, out: Path, tts: str) -> list[str | Path]:
    """The command that dubs `film` into Spanish without listening to it: the original is lowered under the speech."""
    return [machine.polydub(), "dub", film.video, "--to", "es", "--transcript", film.transcript, "--translation",
            film.translation, "--tts", tts, "--mt", "fake", *DEAF, "--output", out]  # fmt: skip


def yardstick(film: Film, work: Path) -> list[str | Path]:
    """Y: the picture copied, the sound encoded anew, by the ffmpeg that polydub uses."""
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", film.video, "-c:v", "copy", "-c:a", "aac",
            work / "yardstick.mkv"]  # fmt: skip


def report(film: Film, out: Path) -> dict[str, Any]:
    """The report of the last run."""
    path = out / film.video.stem / "report.es.json"
    return json.loads(path.read_text(encoding="utf-8")) | {"path": path}


def whole(plan: Plan, found: Findings, film: Film, group: str, target: tuple[float, float], cores: Sequence[int] = ()) -> None:
    """Whole dubs against Y, null engines and espeak-ng in turn; `target` is (a, b) of a Y + b seconds."""
    factor, extra = target
    bench = plan.bench(cores)
    runs: dict[str, list[Cost]] = {"Y": [], NULL: [], ESPEAK: []}
    alone: list[float] = []
    bench.cost(dub(film, plan.fresh("warm"), NULL))
    for n in range(plan.repeats):
        plan.say(f"{group}: {n + 1} of {plan.repeats}")
        runs["Y"].append(bench.cost(yardstick(film, plan.work)))
        for tts in (NULL, ESPEAK):
            out = plan.fresh(tts[:4])
            runs[tts].append(bench.cost(dub(film, out, tts)))
        alone.append(_engine_alone(bench, report(film, plan.work / "out" / ESPEAK[:4])["path"])[0])
    found.stages = report(film, plan.work / "out" / NULL[:4])["stages"]
    ys = tuple(c.wall_s for c in runs["Y"])
    words = f"{factor:g} Y" + (f" + {extra:g} s" if extra else "")
    limits = tuple(factor * y + extra for y in ys)
    spoken = tuple(limit + e for limit, e in zip(limits, alone, strict=True))
    calls = _engine_alone(bench, report(film, plan.work / "out" / ESPEAK[:4])["path"])[1]
    found.add(
        group,
        Figure("the yardstick Y", "s", ys, note=_cpu(runs["Y"])),
        Figure("whole dub, null engines", "s", tuple(c.wall_s for c in runs[NULL]), limits, words, ys, _cpu(runs[NULL])),
        Figure("espeak-ng alone (E)", "s", tuple(alone), note=f"{calls} distinct calls on the same cores"),
        Figure(
            "whole dub, espeak-ng", "s", tuple(c.wall_s for c in runs[ESPEAK]), spoken, words + " + E", ys, _cpu(runs[ESPEAK])
        ),
    )


def _cpu(costs: Sequence[Cost]) -> str:
    used = sorted(c.cpu_s for c in costs)[len(costs) // 2]
    return f"{used:.1f} core-seconds"


def _engine_alone(bench: Bench, report_file: Path) -> tuple[float, int]:
    """(seconds that loading and speaking take in a fresh process, number of calls)."""
    answer = bench.work / "engine.json"
    bench.cost([sys.executable, Path(__file__).with_name("engine_time.py"), report_file, answer])
    told = json.loads(answer.read_text())
    return told["seconds"], told["calls"]


def again(plan: Plan, found: Findings, film: Film) -> None:
    """A second run with nothing changed, and runs with one line of the translation changed."""
    bench, out = plan.bench(), plan.fresh("again")
    mine = Film(film.video, film.transcript, plan.work / "edited.es.srt", film.lines)
    original = film.translation.read_text(encoding="utf-8")
    mine.translation.write_text(original, encoding="utf-8")
    command = dub(mine, out, ESPEAK)
    bench.cost(command)
    found.dub = out / film.video.stem
    unchanged: list[float] = []
    for n in range(plan.repeats):
        plan.say(f"unchanged: {n + 1} of {plan.repeats}")
        unchanged.append(bench.cost(command).wall_s)
    ran = sum(stage["ran"] for stage in report(film, out)["stages"])
    edited: list[float] = []
    text, made = original, ""
    for n in range(plan.repeats):
        plan.say(f"one edited line: {n + 1} of {plan.repeats}")
        text = _edit(text, round(film.lines * (n + 1) / (plan.repeats + 1)))
        mine.translation.write_text(text, encoding="utf-8")
        edited.append(bench.cost(command).wall_s)
        stages = {stage["name"]: stage["ran"] for stage in report(film, out)["stages"] if stage["ran"]}
        made = ", ".join(f"{name} {count}" for name, count in stages.items())
    mine.translation.write_text(original, encoding="utf-8")
    bench.cost(command)  # what the quality is taken from
    found.add(
        "Once more",
        fixed("the same command again, nothing changed", "s", unchanged, 0.7, f"{ran} calls made"),
        fixed("one line of the translation edited", "s", edited, 3.0, f"calls made the last time: {made}"),
    )


def edited_long(plan: Plan, found: Findings, film: Film | None) -> None:
    """One line of a long film edited: until the new film lies there, and until everything is done."""
    if film is None:
        return
    bench, out = plan.bench(), plan.fresh("long")
    plan.say(f"{film.lines} lines, to be edited")
    bench.cost(dub(film, out, ESPEAK))
    made = out / film.video.stem / "dub.es.mkv"
    copying = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", made, "-map", "0", "-c", "copy",
               plan.work / "copy.mkv"]  # fmt: skip
    there: list[float] = []
    whole: list[float] = []
    copies: list[float] = []
    for n in range(max(2, plan.repeats)):
        plan.say(f"one edited line of {film.lines}: {n + 1}")
        copies.append(bench.cost(copying).wall_s)
        line = round(film.lines * (n + 1) / (max(2, plan.repeats) + 1))
        edit = [machine.polydub(), "review", made.parent, "edit", str(line), f"Una frase nueva, la número {n}."]
        began = time.time()
        whole.append(bench.cost(edit).wall_s)
        there.append(made.stat().st_mtime - began)
    shutil.rmtree(out)
    minutes = report_minutes(film)
    limits = tuple(copy + 2 for copy in copies)
    found.add(
        "Once more",
        Figure(f"`ffmpeg -c copy` of the dub of {film.lines} lines (C)", "s", tuple(copies), note=f"{minutes:.0f} minutes"),
        Figure("its line edited by `review edit`: the new film is there", "s", tuple(there), limits, "C + 2 s, with synthesis"),
        Figure("its line edited by `review edit`: stems and report, too", "s", tuple(whole)),
    )


def report_minutes(film: Film) -> float:
    """Length of a film, by its transcript."""
    last = film.transcript.read_text(encoding="utf-8").strip().split("\n\n")[-1].splitlines()[1].split(" --> ")[1]
    hours, minutes, _ = last.split(":")
    return int(hours) * 60 + int(minutes)


def _edit(srt: str, line: int) -> str:
    """The file with a word more in one line."""
    cues = srt.split("\n\n")
    cues[line - 1] = cues[line - 1].rstrip() + " Vale."
    return "\n\n".join(cues)


def start(plan: Plan, found: Findings) -> None:
    """What a user waits for before anything happens."""
    bench = plan.bench()
    times = [bench.cost([machine.polydub(), "--help"]).wall_s for _ in range(max(HELPS, plan.repeats) + 1)]
    found.add("Once more", fixed("`polydub --help`", "s", times[1:], 0.25))


def memory(plan: Plan, found: Findings, film: Film, long: Film | None) -> None:
    """Peak PSS of the process tree, in runs of their own: looking costs time. The long film once."""
    bench = plan.bench()

    def peaks(which: Film, repeats: int) -> list[float]:
        values: list[float] = []
        for n in range(repeats):
            plan.say(f"memory, {which.lines} lines: {n + 1} of {repeats}")
            values.append(bench.cost(dub(which, plan.fresh("memory"), ESPEAK), memory=True).peak_mb)
        shutil.rmtree(plan.work / "out" / "memory", ignore_errors=True)
        return values

    short = fixed(
        f"peak memory, {film.lines} lines", "MB", peaks(film, plan.repeats), PEAK_MB, "PSS of the whole process tree, espeak-ng"
    )
    found.add("Memory", short)
    if long:
        limit = round(LONG_PEAK * short.median)
        words = f"<= {LONG_PEAK:g} times the figure above"
        values = tuple(peaks(long, 1))
        found.add("Memory", Figure(f"peak memory, {long.lines} lines", "MB", values, (limit,) * len(values), words))


def cores() -> list[int]:
    """The processors this process may use."""
    return sorted(os.sched_getaffinity(0))
