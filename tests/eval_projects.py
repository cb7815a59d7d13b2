"""Small films, dubs and project folders whose figures are known, for the tests of the evaluation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import soundfile
from numpy.typing import NDArray

from polydub.report.model import LoudnessFacts, Output, Report, ReportLine, Run, SourceFacts, timing_scores
from polydub.types import RATE_HZ

SECONDS = 6.0
SAID = ((0.5, 1.8), (2.6, 3.8), (4.2, 5.4))
SUBTITLES = "1\n00:00:00,500 --> 00:00:01,900\nHola a todos,\namigos.\n\n2\n00:00:02,600 --> 00:00:05,400\nHasta pronto.\n"


def line(number: int, slot: tuple[float, float], **changed: object) -> ReportLine:
    """A line that is dubbed exactly where it is said, but for what is `changed`."""
    values: dict[str, Any] = {
        "id": str(number), "speaker": "A", "source_text": "hello to everybody!", "text": "hola a todos vosotros",
        "cue_start": slot[0], "cue_end": slot[1], "source_start": slot[0], "source_end": slot[1], "start": slot[0],
        "duration": slot[1] - slot[0], "natural_duration": slot[1] - slot[0], "rate": 1.0, "shift": 0.0, "overflow": 0.0,
        "voice": "v",
    }  # fmt: skip
    return ReportLine(**(values | changed))


def lines() -> tuple[ReportLine, ...]:
    return tuple(line(n, slot) for n, slot in enumerate(SAID, 1))


def report(said: Sequence[ReportLine], **loudness: float) -> Report:
    """A report of a dub into Spanish."""
    levels: dict[str, Any] = {
        "target_lufs": -16.0, "before_lufs": -20.0, "after_lufs": -16.1, "before_true_peak_dbtp": -3.0,
        "after_true_peak_dbtp": -1.4, "true_peak_limit_dbtp": -1.0, "range_lu": 3.0, "dialogue_lufs": -18.0, "gain_db": 2.0,
    }  # fmt: skip
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Report(
        run=Run(started=now, finished=now, host="h", cpus=1, polydub_version="0"),
        source=SourceFacts(
            name="film.mkv", duration=SECONDS, width=96, height=64, fps=25.0, codec="mpeg4", audio_track=0, language="en"
        ),
        target_language="es", engines=(), stages=(), notices=(), loudness=LoudnessFacts(**(levels | loudness)),
        lines=tuple(said), timing=timing_scores(said), outputs=(Output(path="dub.es.mkv", kind="video", bytes=1),),
    )  # fmt: skip


def spans_curve(spans: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """1 inside `spans`, 0 outside."""
    at = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    return sum((((at >= a) & (at < b)).astype(np.float64) for a, b in spans), np.zeros(len(at)))


def voice(seed: int, spans: Sequence[tuple[float, float]] = SAID) -> NDArray[np.float32]:
    """A buzz in `spans`: one of the source (seed 1) or of the dub (any other)."""
    at = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * (110 + 40 * seed) * n * at + seed * n) / n for n in range(1, 15))
    return (0.12 * spans_curve(spans) * buzz).astype(np.float32)


def music() -> NDArray[np.float32]:
    """What is heard besides."""
    noise = np.convolve(np.random.default_rng(3).standard_normal(round(SECONDS * RATE_HZ)), np.ones(16) / 16, "same")
    return (0.15 * noise).astype(np.float32)


def sound_file(path: Path, mono: NDArray[np.float32]) -> Path:
    soundfile.write(path, mono, RATE_HZ, subtype="PCM_24")
    return path


def film(path: Path, mono: NDArray[np.float32], *extra: str, language: str = "eng") -> Path:
    """A film of 96 x 64 with that sound, kept exactly; `extra`: arguments before the output."""
    wave = sound_file(path.with_suffix(".flac"), mono)
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=96x64:rate=25:duration={SECONDS}")
    codecs = ("-c:v", "mpeg4", "-c:a", "flac", "-metadata:s:a:0", f"language={language}", "-fflags", "+bitexact")
    encode(*picture, "-i", str(wave), *codecs, *extra, str(path))
    wave.unlink()
    return path


def encode(*arguments: str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *arguments], check=True)


def project(folder: Path, dubbed: Sequence[tuple[float, float]] = SAID) -> Path:
    """A finished project: the film beside it, a dub with the voice in `dubbed`, stems, texts, report."""
    source = film(folder / "film.mkv", voice(1) + music())
    place = folder / "out" / "film"
    for name in ("stems", "subs"):
        (place / name).mkdir(parents=True)
    film(place / "dub.es.mkv", voice(2, dubbed) + music(), language="spa")
    for name, sound in (("dialogue", voice(1)), ("dub.es", voice(2, dubbed)), ("background.es", music())):
        sound_file(place / "stems" / f"{name}.flac", sound)
    (place / "subs" / "film.es.srt").write_text(SUBTITLES)
    said = [
        line(n, slot, start=at[0], duration=round(at[1] - at[0], 3))
        for n, (slot, at) in enumerate(zip(SAID, dubbed, strict=True), 1)
    ]
    (place / "report.es.json").write_text(report(said, target_lufs=-18.0).model_dump_json())
    segments = [{"start": a, "end": b, "kind": "speech", "text": "hello"} for a, b in SAID]
    (place / "transcript.json").write_text(json.dumps({"language": "en", "segments": segments}))
    (place / "project.json").write_text(json.dumps({"source": {"path": str(source)}}))
    return place
