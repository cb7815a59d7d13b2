"""Streaming: how soon the first segment can be played, how far the work keeps ahead of playback, what it needs."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import machine
from figures import Figure, fixed, least
from fixture import Film
from measures import DEAF, ESPEAK, NULL, Findings, Plan
from process import Bench

GROUP = "Streaming"
FIRST_S = 2.0  # of what polydub itself may take until the first segment is there
POLL_S = 0.02


def streamed(plan: Plan, found: Findings, film: Film) -> None:
    """Streams a film with null engines and with espeak-ng."""
    bench = plan.bench()
    for tts, words, limit in ((NULL, "null engines", FIRST_S), (ESPEAK, "espeak-ng", None)):
        first: list[float] = []
        ahead: list[float] = []
        peaks: list[float] = []
        for n in range(plan.repeats):
            plan.say(f"a stream with {words}: {n + 1} of {plan.repeats}")
            out = plan.fresh("stream")
            seen, wall_s, peak = _watched(bench, [*_command(film, out, tts)], out / film.video.stem / "stream")
            first.append(seen)
            made = json.loads((out / film.video.stem / "stream" / "manifest.json").read_text(encoding="utf-8"))
            ahead.append(made["duration"] / wall_s)
            peaks.append(peak)
        name = f"first segment, {words}"
        found.add(
            GROUP,
            fixed(name, "s", first, limit) if limit else Figure(name, "s", tuple(first)),
            least(f"whole stream, {words}", "x real time", ahead, 1.0),
            Figure(f"peak memory, {words}", "MB", tuple(peaks)),
        )


def _command(film: Film, out: Path, tts: str) -> list[str | Path]:
    return [machine.polydub(), "dub", film.video, "--to", "es", "--from", "en", "--transcript", film.transcript,
            "--translation", film.translation, "--tts", tts, "--mt", "fake", *DEAF, "--stream", "segments",
            "--output", out]  # fmt: skip


def _watched(bench: Bench, command: list[str | Path], folder: Path) -> tuple[float, float, float]:
    """Seconds until the playlist names a segment, seconds in all, peak memory in MB."""
    seen: list[float] = []
    over = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        playlist = folder / "index.m3u8"
        while not over.wait(POLL_S):
            if playlist.exists() and "#EXTINF" in playlist.read_text(encoding="utf-8"):
                seen.append(time.monotonic() - began)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        cost = bench.cost(command, memory=True)
    finally:
        over.set()
        watcher.join()
    if not seen:
        raise subprocess.SubprocessError("no segment was seen")
    return seen[0], cost.wall_s, cost.peak_mb
