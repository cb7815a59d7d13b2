"""Measures how fast long films are mixed, and in how much memory; nothing of it depends on engines. Prints a table.

python benchmarks/mixing.py --minutes 180 --short 30

The film is synthetic: a few blocks of stereo sound and dialogue that come again and again, and 20 takes a minute from a
handful of recordings. Each figure is of a fresh process, beside a run of `ffmpeg -c:a aac`,
which works on one core.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import pickle
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from figures import Figure, least, table
from measures import Findings, Plan
from numpy.typing import NDArray
from process import Bench

from polydub.audio.roomtone import LocalTone
from polydub.cli.dub import share_memory
from polydub.media.aac import AacBlock, Cut
from polydub.media.flac import write_flac
from polydub.runner import Run
from polydub.stages import render
from polydub.stages.bedding import Bedding, Block, Laying, blocks
from polydub.store import Store
from polydub.types import BLOCK, RATE_HZ, Artifact, Samples, Sound, Span
from polydub.wants import Mixing
from polydub.work import Stage, Work, stage

WAYS = ("mix-block", "mix-block without the encoder", "measure-block")
FILM = "film"
REAL_TIME = {WAYS[0]: 40.0, WAYS[1]: 60.0}
PEAK_MB, GROWTH = 400.0, 1.1
TAKE_EVERY_S, DISTINCT = 3.0, 4
CHANNELS = 2
YARD_MINUTES = 5


def main() -> int:
    """Measures and prints; with --way, does the work of one measurement."""
    share_memory()  # as the program does
    given = _arguments()
    if given.way == FILM:
        made = render.masters(film(Store(given.work / "store"), given.minutes), 3.0, Mixing())
        (given.work / "film.pickle").write_bytes(pickle.dumps(made))
        return 0
    if given.way:
        mix(given.work, given.way)
        return 0
    work = Path(tempfile.mkdtemp(prefix="polydub-mixing-", dir=given.work))
    bench = Bench(work, tuple(sorted(os.sched_getaffinity(0)))[: given.cores])
    try:
        sys.stdout.write("\n".join([*table(list(measured(bench, given))), ""]))
    finally:
        shutil.rmtree(work)
    return 0


def long_film(plan: Plan, found: Findings) -> None:
    """A film of three hours beside one of half an hour, for the page."""
    plan.say("mixing a film of three hours")
    given = argparse.Namespace(minutes=180, short=30)
    work = Path(tempfile.mkdtemp(prefix="polydub-mixing-", dir=plan.work))
    try:
        found.add("Mixing alone: 180 minutes in stereo", *measured(Bench(work, ()), given))
    finally:
        shutil.rmtree(work)


def measured(bench: Bench, given: argparse.Namespace) -> Iterator[Figure]:
    """Speed and memory of each way for the long film, and memory for the short one."""
    peaks: dict[int, float] = {}
    for minutes, ways in ((given.short, WAYS[:1]), (given.minutes, WAYS[:2])):
        for way in ways:
            y = bench.cost(yardstick(bench.work)).wall_s * minutes / YARD_MINUTES
            out = bench.work / "film"
            command = [sys.executable, __file__, "--minutes", str(minutes), "--work", out, "--way"]
            bench.cost([*command, FILM])
            cost = bench.cost([*command, way], memory=True)
            shutil.rmtree(out)
            peaks.setdefault(minutes, cost.peak_mb)
            speed = minutes * 60 / cost.wall_s
            note = f"{cost.cpu_s:.0f} core-seconds; {cost.wall_s / y:.2f} x ffmpeg -c:a aac; peak {cost.peak_mb:.0f} MB"
            name = f"{way}, {minutes} min"
            limit = REAL_TIME.get(way)
            yield (
                least(name, "x real time", [speed], limit, note) if limit else Figure(name, "x real time", (speed,), note=note)
            )
    for minutes, peak in peaks.items():
        yield Figure(f"peak memory, {minutes} min", "MB", (peak,), (PEAK_MB,), f"<= {PEAK_MB:g} MB")
    growth = peaks[given.minutes] / peaks[given.short]
    yield Figure("growth of memory", "x", (growth,), (GROWTH,), f"<= {GROWTH:g}")


def yardstick(work: Path) -> list[str | Path]:
    """ffmpeg's encoder, at its defaults, for YARD_MINUTES of sound."""
    sound = work / "yardstick.flac"
    if not sound.exists():
        write_flac(sound, _noise(BLOCK, 1, CHANNELS))
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i", sound, "-t",
            str(YARD_MINUTES * 60), "-c:a", "aac", "-f", "null", "-"]  # fmt: skip


def mix(folder: Path, way: str) -> None:
    """Renders the film that was made in `folder`; what is finished is thrown away."""
    store = Store(folder / "store")
    masters = pickle.loads((folder / "film.pickle").read_bytes())
    step: Stage[..., Any] = {WAYS[0]: render.mix_block, WAYS[1]: bare, WAYS[2]: render.measure_block}[way]
    with Run(store, folder / "project") as run:
        for made in run.flow(step, masters):
            if isinstance(made, render.Rendered):  # backgrounds repeat, the others do not
                for file in (made.dub, made.mix):
                    store.path(file).unlink(missing_ok=True)


@stage("mix-block-bare")
def bare(work: Work, master: render.Master) -> render.Rendered:
    """`mix_block` with all its work but the encoder's."""
    return render.finished(work, master, _unencoded)


def _unencoded(samples: Samples, cut: Cut, kbit_s: int, folder: Path, layout: str) -> AacBlock:
    begin = cut.first - cut.start
    return AacBlock(f"{cut.first}".encode(), samples[:, begin : begin + cut.frames])


def film(store: Store, minutes: int) -> tuple[Block, ...]:
    """The blocks of the film: its dialogue is taken out, holes are filled, something is left over in places."""
    rng = np.random.default_rng(0)
    count = -(-minutes * 60 * RATE_HZ // BLOCK)
    sounds: list[Artifact] = []
    voices: list[Artifact] = []
    for n in range(DISTINCT):
        voice = _speech(BLOCK, n) * np.ones((CHANNELS, 1), np.float32)
        voices.append(_kept(store, voice))
        sounds.append(_kept(store, voice + _noise(BLOCK, n, CHANNELS)))
    takes = [_kept(store, _speech(round(RATE_HZ * seconds), 100 + n)) for n, seconds in enumerate((1.2, 1.8, 2.3, 2.6, 3.1))]
    lengths = [round(RATE_HZ * seconds) for seconds in (1.2, 1.8, 2.3, 2.6, 3.1)]
    laid: list[Laying] = []
    for start in np.arange(1.0, minutes * 60 - 4, TAKE_EVERY_S):
        n = int(rng.integers(len(takes)))
        laid.append(Laying(takes[n], round((start + float(rng.random())) * RATE_HZ), lengths[n], round(float(rng.normal()), 2)))
    talk = [Span(x.start / RATE_HZ, x.start / RATE_HZ + 2.0) for x in laid]
    tones = tuple(LocalTone(-55.0, (-69.0,) * 26, float(time)) for time in range(0, minutes * 60, 15))
    sound = Sound(tuple(islice(cycle(sounds), count)), CHANNELS, minutes * 60 * RATE_HZ)
    bedding = Bedding(12.0, tuple(islice(cycle(voices), count)), tones=tones, residue_db=(-60.0, -12.0) * count)
    return tuple(blocks(sound, laid, talk, bedding))


def _kept(store: Store, samples: Samples) -> Artifact:
    with store.scratch() as scratch:
        write_flac(scratch / "sound.flac", samples)
        return store.keep(scratch / "sound.flac")


def _noise(frames: int, seed: int, channels: int) -> Samples:
    return (np.random.default_rng(seed).normal(size=(channels, frames)) * 0.01).astype(np.float32)


def _speech(frames: int, seed: int) -> NDArray[np.float32]:
    """Noise in syllables, (1, frames)."""
    time = np.arange(frames) / RATE_HZ
    swell = np.clip(np.sin(2 * np.pi * 2.1 * time) + 0.3, 0, None) * (np.sin(2 * np.pi * 0.17 * time + seed) > -0.5)
    return (_noise(frames, seed, 1) * 8 * swell).astype(np.float32)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=180, help="length of the long film (default 180)")
    parser.add_argument("--short", type=int, default=30, help="length of the short film (default 30)")
    parser.add_argument("--cores", type=int, default=4, help="processors to use (default 4)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="folder for what is made on the way")
    parser.add_argument("--way", choices=(FILM, *WAYS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
