"""A lip-syncing program for tests and trials: draws a mouth that opens with the sound. Alone: `python fake_worker.py job.json`.

It goes wrong on purpose where it is told to: `python fake_worker.py job.json FAULT`.
"""

from __future__ import annotations

import json
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

DARK, RED = 30, 200  # luma and Cr of the mouth


def openings(path: Path, fps: Fraction, frames: int) -> list[float]:
    """How far the mouth is open in each frame, 0 to 1, by the energy of the sound."""
    with wave.open(str(path), "rb") as file:
        rate = file.getframerate()
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64) / 32768
    step = int(rate / fps)
    parts = [sound[round(n / fps * rate) :][:step] for n in range(frames)]
    return [min(1.0, 6 * float(np.sqrt(np.square(part).mean()))) if len(part) else 0.0 for part in parts]


def drawn(samples: np.ndarray[Any, Any], face: list[int], opening: float) -> None:
    """Draws into the planes of a yuv420p picture (height * 3 / 2, width)."""
    height = samples.shape[0] * 2 // 3
    x, y, width, tall = face
    rows, columns = np.ogrid[:height, : samples.shape[1]]
    across = (columns - (x + width / 2)) / max(1.0, 0.2 * width)
    down = (rows - (y + 0.78 * tall)) / max(1.0, tall * (0.02 + 0.12 * opening))
    mouth = across**2 + down**2 <= 1
    samples[:height][mouth] = DARK
    red = samples.reshape(-1)[height * samples.shape[1] * 5 // 4 :].reshape(height // 2, -1)
    red[mouth[::2, ::2]] = RED


def main(job_file: str, fault: str = "") -> int:
    """Does the job. Returns the exit status."""
    job = json.loads(Path(job_file).read_text())
    if fault == "crash":
        sys.stderr.write("the mouth fell off\n")
        return 7
    if fault == "hang":
        time.sleep(3600)
    if fault == "nothing":
        return 0
    fps, wanted = Fraction(*job["fps"]), job["frames"] // 2 if fault == "half" else job["frames"]
    size = (job["width"] // 4 * 2, job["height"]) if fault == "size" else (job["width"], job["height"])
    moving = openings(Path(job["audio"]), fps, job["frames"])
    source: Any = av.open(job["video"])
    out: Any = av.open(job["out"], "w", format="mp4", options={"fflags": "+bitexact"})
    with source, out:
        made = out.add_stream("libx264", rate=fps)
        made.width, made.height, made.pix_fmt = *size, "yuv420p"
        made.options = {"preset": "ultrafast", "crf": "10", "x264-params": "threads=4:lookahead-threads=1"}
        for number, frame in enumerate(source.decode(video=0)):
            if number >= wanted:
                break
            samples = frame.to_ndarray(format="yuv420p")
            drawn(samples, job["face"], moving[number])
            picture = av.VideoFrame.from_ndarray(samples, format="yuv420p").reformat(*size)
            picture.pts, picture.time_base = number, 1 / fps
            out.mux(made.encode(picture))
        out.mux(made.encode(None))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
