"""How well the fixture is dubbed, beside what other systems made of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

RATE_LIMIT = 1.3
ROUNDING = 0.0005  # rates in the report have four digits


@dataclass(frozen=True)
class Quality:
    """Timing from the report's lines, length and levels from the delivered file itself. Seconds, LUFS, dBTP."""

    lines: int
    needed: int
    over_limit: int
    max_rate: float
    talk_over: int
    talk_over_s: float
    shift_mean_s: float
    shift_p50_s: float
    shift_p95_s: float
    shift_max_s: float
    source_s: float
    length_s: float
    lufs_before: float
    lufs: float
    peak_dbtp: float
    sound: str


def quality(report: Path, film: Path, source: Path) -> Quality:
    """Measures one dub. Talk-over is counted against every later line, whoever speaks it."""
    lines: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["lines"]
    lines = sorted((x for x in lines if x["duration"] > 0), key=lambda x: x["start"])
    shifts = sorted(abs(x["shift"]) for x in lines)
    talk = [max(0.0, round(a["start"] + a["duration"] - b["start"], 3)) for a, b in pairwise(lines)]
    rates = [x["rate"] for x in lines]
    lufs, peak = levels(film)
    before, _ = levels(source)
    return Quality(
        lines=len(lines),
        needed=sum(_needed(lines)),
        over_limit=sum(rate > RATE_LIMIT + ROUNDING for rate in rates),
        max_rate=max(rates),
        talk_over=sum(t > 0 for t in talk),
        talk_over_s=sum(talk),
        shift_mean_s=sum(shifts) / len(shifts),
        shift_p50_s=_percentile(shifts, 0.5),
        shift_p95_s=_percentile(shifts, 0.95),
        shift_max_s=shifts[-1],
        source_s=length(source),
        length_s=length(film),
        lufs_before=before,
        lufs=lufs,
        peak_dbtp=peak,
        sound=sound(film),
    )


def _needed(lines: Sequence[dict[str, Any]]) -> list[bool]:
    """Of each line but the last, whether keeping its onset and the next one's takes a rate above the limit."""
    return [
        a["natural_duration"] > RATE_LIMIT * (b["source_start"] - a["source_start"])
        for a, b in pairwise(sorted(lines, key=lambda x: x["source_start"]))
    ]


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def levels(film: Path) -> tuple[float, float]:
    """(integrated loudness in LUFS, true peak in dBTP) of the first sound track, by ffmpeg's ebur128."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-nostdin", "-i", str(film), "-map", "0:a:0",
               "-af", "ebur128=peak=true:framelog=quiet", "-f", "null", "-"]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stderr
    summary = said[said.rindex("Summary:") :]
    found = re.search(r"I:\s+(-?[\d.]+|-inf) LUFS.*Peak:\s+(-?[\d.]+|-inf) dBFS", summary, re.DOTALL)
    if not found:
        raise ValueError(f"no summary of ebur128 for {film.name}")
    return float(found[1]), float(found[2])


def length(film: Path) -> float:
    """Length of the container in seconds."""
    with av.open(str(film)) as container:
        return (container.duration or 0) / 1e6


def sound(film: Path) -> str:
    """Codec, rate and channels of the first sound track."""
    with av.open(str(film)) as container:
        track = container.streams.audio[0]
        return f"{track.codec_context.name.upper()} {track.rate / 1000:g} kHz {track.layout.name}"


# Each measured once, in 2026, on another run of a shared 4-core machine at load average 7 to 18: seconds are +-30..50 %.
PEERS: tuple[tuple[str, str, str, str, str], ...] = (
    ("", "open-dubbing 0.2.3", "pyvideotrans 4.05", "VideoLingo 3.0", "VoiceStudio, planner only"),
    ("lines faster than 1.3 times the voice's own pace", "0", "63", "48 of 132 clips", "63 (14 if it slows the picture)"),
    ("highest rate", "1.30", "2.01", "1.67", "1.80 (1.43 if it slows the picture)"),
    ("lines that run into the next one", "50", "0", "0", "0"),
    ("talk-over in all", "34.0 s", "0", "0", "0 (2.4 s of speech cut off)"),
    ("shift of the onset, mean", "0", "0", "0.40 s", "0"),
    ("shift of the onset, median", "0", "0", "not known", "0"),
    ("shift of the onset, 95th percentile", "0", "0", "1.51 s", "0"),
    ("shift of the onset, greatest", "0", "0", "2.05 s", "0"),
    ("output minus source length", "-2.00 s", "-6.00 s: the last sentence is lost", "0.00 s", "0 (or +61.9 s)"),
    ("loudness", "-17.0 LUFS", "-22.9 LUFS", "-25.5 LUFS", "-"),
    ("true peak", "-2.4 dBFS", "-2.3 dBFS", "-5.1 dBFS", "-"),
    ("sound of the dub", "AAC 44.1 kHz stereo, through MP3", "AAC 48 kHz stereo", "AAC mono, through MP3", "-"),
    ("whole dub, wall time", "272 s + 18 s to import", "79 s (240 s with its defaults)", "171 s", "-"),
    ("peak memory", "1,076 MB (RSS)", "569 MB (largest process)", "249 MB (RSS)", "-"),
)  # fmt: skip


def beside_peers(q: Quality, wall_s: float, peak_mb: float) -> list[str]:
    """A Markdown table: polydub first."""
    own = (
        "polydub", f"{q.over_limit}", f"{q.max_rate:.2f}", f"{q.talk_over}", f"{q.talk_over_s:.2f} s",
        f"{q.shift_mean_s:.2f} s", f"{q.shift_p50_s:.2f} s", f"{q.shift_p95_s:.2f} s", f"{q.shift_max_s:.2f} s",
        f"{q.length_s - q.source_s:+.3f} s", f"{q.lufs:.1f} LUFS", f"{q.peak_dbtp:.1f} dBTP", q.sound,
        f"{wall_s:.0f} s", f"{peak_mb:.0f} MB (PSS, all processes)",
    )  # fmt: skip
    rows = [f"| {name} | {mine} | " + " | ".join(others) + " |" for (name, *others), mine in zip(PEERS, own, strict=True)]
    return [rows[0], "|---|" + "---|" * len(PEERS[0]), *rows[1:]]
