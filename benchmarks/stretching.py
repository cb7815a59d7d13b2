"""How well speech survives being made faster or slower, by several time-stretchers, on ../shared/data.

python benchmarks/stretching.py [--data FOLDER]

Read speech at 48 kHz is stretched whole and heard by PocketSphinx, whose errors on the unstretched recordings are the floor;
DNSMOS P.835 judges what it sounds like. Programs and packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import jiwer
import numpy as np
import recognition
import soundfile
from figures import Figure, number
from matching import dnsmos
from measures import Findings, Plan
from recognition import DATA, Said, heard_text, plain

from polydub.audio.signal import resample
from polydub.audio.stretch import stretch
from polydub.engines.registry import get
from polydub.media.program import program
from polydub.types import HEAR_HZ, RATE_HZ, Audio, Samples

RATES = (0.9, 1.1, 1.2, 1.3)
Stretcher = Callable[[Samples, int], Samples]


def signalsmith(samples: Samples, frames: int) -> Samples:
    """Signalsmith Stretch through python-stretch (MIT)."""
    module: Any = importlib.import_module("python_stretch")
    tool = module.Signalsmith.Stretch()
    tool.preset(samples.shape[0], RATE_HZ)
    tool.setTimeFactor(samples.shape[1] / frames)
    return _exactly(np.asarray(tool.process(samples), np.float32), frames)


def rubberband(samples: Samples, frames: int) -> Samples:
    """Rubber Band R3 as a program (GPL)."""
    return _by_program(
        samples, frames, lambda here, there: ["rubberband", "-q", "-3", "-D", f"{frames / RATE_HZ}", here, there]
    )


def atempo(samples: Samples, frames: int) -> Samples:
    """The filter of ffmpeg that is no more than overlap-add."""
    factor = samples.shape[1] / frames

    def command(here: str, there: str) -> list[str]:
        return [str(program()), "-v", "error", "-i", here, "-af", f"atempo={factor}", "-c:a", "pcm_f32le", there]

    return _by_program(samples, frames, command)


def _by_program(samples: Samples, frames: int, command: Callable[[str, str], list[str]]) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        here, there = f"{folder}/a.wav", f"{folder}/b.wav"
        soundfile.write(here, samples.T, RATE_HZ, "FLOAT")
        subprocess.run(command(here, there), check=True, capture_output=True)
        return _exactly(soundfile.read(there, dtype="float32", always_2d=True)[0].T, frames)


def _exactly(samples: Samples, frames: int) -> Samples:
    return np.pad(samples, ((0, 0), (0, max(0, frames - samples.shape[1]))))[:, :frames]


def stretchers() -> dict[str, Stretcher]:
    """Those that can be run here, polydub's own first."""
    found: dict[str, Stretcher] = {"polydub (WSOLA)": stretch}
    if importlib.util.find_spec("python_stretch"):
        found["Signalsmith (python-stretch)"] = signalsmith
    if shutil.which("rubberband"):
        found["Rubber Band R3 (program)"] = rubberband
    return {**found, "ffmpeg atempo": atempo}


@dataclass(frozen=True)
class Row:
    """One stretcher: by rate, words wrong in per cent and DNSMOS; seconds of work for a second of sound."""

    wrong: Mapping[float, float]
    score: Mapping[float, float]
    seconds: float


def measure(data: Path = DATA) -> tuple[int, dict[str, Row]]:
    """Number of words, and a row for each stretcher; "unstretched" has only the rate 1."""
    read = _recordings(data)
    engine, rows = get("asr", "pocketsphinx"), dict[str, Row]()
    silero = get("vad", "silero")
    with engine.load(engine.options(), {}, "cpu") as asr, silero.load(silero.options(), {}, "cpu") as vad:

        def judged(sounds: Sequence[Samples]) -> tuple[float, float]:
            small = [resample(sound, RATE_HZ, HEAR_HZ) for sound in sounds]
            heard = [heard_text(vad, asr, Audio(sound, HEAR_HZ), engine.info.piece_s) for sound in small]
            wrong = 100 * jiwer.wer([plain(said.text) for said in read], [plain(text) for text in heard])
            return wrong, mean(dnsmos(sound[0], data) for sound in small)

        wrong, score = judged([said.sound.samples for said in read])
        rows["unstretched"] = Row({1.0: wrong}, {1.0: score}, 0.0)
        for name, tool in stretchers().items():
            began, by_rate = time.monotonic(), dict[float, list[Samples]]()
            for rate in RATES:
                by_rate[rate] = [tool(s.sound.samples, round(s.sound.samples.shape[1] / rate)) for s in read]
            took = (time.monotonic() - began) / len(RATES) / sum(s.sound.duration for s in read)
            found = {rate: judged(sounds) for rate, sounds in by_rate.items()}
            rows[name] = Row({r: f[0] for r, f in found.items()}, {r: f[1] for r, f in found.items()}, took)
    return sum(len(plain(said.text).split()) for said in read), rows


def _recordings(data: Path) -> list[Said]:
    """The read texts at 48 kHz."""
    sets = recognition.recordings(data, RATE_HZ)
    return [*sets["ljspeech"], *sets["jfk"], *sets["sonnet"]]


def table(words: int, rows: Mapping[str, Row]) -> list[str]:
    """A Markdown table: words wrong / DNSMOS at each rate."""
    base = rows["unstretched"]
    lines = [
        f"{words} words; unstretched {base.wrong[1.0]:.1f} % wrong, DNSMOS {base.score[1.0]:.2f}. "
        "Per cent of words wrong / DNSMOS:",
        "",
        "| stretcher | " + " | ".join(f"rate {rate}" for rate in RATES) + " | mean | seconds for a second |",
        "|---" * (len(RATES) + 3) + "|",
    ]
    for name, row in rows.items():
        if name != "unstretched":
            cells = [f"{row.wrong[rate]:.1f} / {row.score[rate]:.2f}" for rate in RATES]
            both = f"{mean(row.wrong.values()):.1f} / {mean(row.score.values()):.2f}"
            lines.append(f"| {name} | {' | '.join(cells)} | {both} | {row.seconds:.3f} |")
    return lines


def figures(words: int, rows: Mapping[str, Row]) -> list[Figure]:
    """What polydub's own does, with the best of the others as its bar (2 points are noise on so few words)."""
    own = rows["polydub (WSOLA)"]
    others = [row for name, row in rows.items() if name not in ("unstretched", "polydub (WSOLA)")]
    wrong, best = mean(own.wrong.values()), min(mean(row.wrong.values()) for row in others) + 2
    score, top = mean(own.score.values()), max(mean(row.score.values()) for row in others) - 0.05
    return [
        Figure(
            "words wrong after stretching, mean of four rates", "%", (wrong,), (best,), f"<= best other + 2 = {number(best)} %"
        ),
        Figure("DNSMOS after stretching", "of 5", (score,), (top,), f">= best other - 0.05 = {number(top)}", more=True),
        Figure("work for a second of sound", "s", (own.seconds,)),
    ]


def stretched(plan: Plan, found: Findings, data: Path) -> None:
    """Figures and table for the page."""
    plan.say("stretching")
    words, rows = measure(data)
    found.add("Stretching speech", *figures(words, rows))
    found.tell("Stretching speech", *table(words, rows))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="where the recordings are")
    sys.stdout.write("\n".join([*table(*measure(parser.parse_args().data)), ""]))


if __name__ == "__main__":
    main()
