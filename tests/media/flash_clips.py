"""Clips whose picture flashes and whose sound beeps at known moments, and short ways to read them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np

from polydub.media import ffmpeg
from polydub.types import RATE_HZ, Artifact, Samples, Source, Track

FLASH = "color=black:s=160x90:r={fps}:d=4,drawbox=c=white:t=fill:enable='between(t,2,2.3)',format=yuv420p"
BEEP = "aevalsrc='if(between(t,2,2.3),0.5*sin(2*PI*1000*t),0)':s=48000:d=4"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25")


def ff(*arguments: object) -> None:
    """ffmpeg, without any of polydub's own walls."""
    command = [str(ffmpeg.program()), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)


def flash_clip(path: Path, *output: object, video_at: float = 0, audio_at: float = 0, fps: int = 25) -> Path:
    """Four seconds that flash and beep 2 s after each stream's start."""
    inputs = ["-itsoffset", video_at, "-f", "lavfi", "-i", FLASH.format(fps=fps)]
    inputs += ["-itsoffset", audio_at, "-f", "lavfi", "-i", BEEP]
    codecs = () if "-c:v" in output else X264
    ff(*inputs, "-map", "0:v", "-map", "1:a", *codecs, *output, path)
    return path


def artifact(path: Path) -> Artifact:
    return Artifact("0" * 64, path.suffix, path.stat().st_size if path.is_file() else 0)


def probe(path: Path) -> Source:
    return ffmpeg.probe(artifact(path), path)


def decode(path: Path, channels: int = 1, track: Track | None = None) -> Samples:
    source = probe(path)
    blocks = ffmpeg.decode_blocks(private_link(path), track or source.of("audio")[0], source, channels)
    return np.concatenate(list(blocks), axis=1)


def onset(samples: Samples) -> float:
    """Second at which the beep begins."""
    return float(np.flatnonzero(np.abs(samples[0]) > 0.25)[0] / RATE_HZ)


def flash_at(path: Path) -> float:
    """Container time of the first bright picture."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.to_ndarray(format="gray").mean() > 100:
                return float(frame.pts * frame.time_base)
    raise AssertionError("no flash")


def beep_at(path: Path, track: int = 0) -> float:
    """Container time of the beep in an audio track."""
    with av.open(str(path)) as container:
        to_float = av.AudioResampler("fltp", "mono", RATE_HZ)
        for frame in container.decode(audio=track):
            began = float(frame.pts * frame.time_base)
            for part in to_float.resample(frame):
                loud = np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.25)
                if len(loud):
                    return began + float(loud[0]) / RATE_HZ
    raise AssertionError("no beep")


def tone(seconds: float, channels: int = 1, hz: float = 440.0) -> Samples:
    """A tone that swells and fades, as float32."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = 0.4 * np.sin(2 * np.pi * hz * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * t))
    return np.repeat(wave[np.newaxis].astype(np.float32), channels, axis=0)


def private_link(path: Path) -> Path:
    """A safe link beside `path`."""
    folder = path.parent / "private"
    folder.mkdir(exist_ok=True)
    return ffmpeg.safe_link(path, folder)
