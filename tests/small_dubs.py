"""Dubs of small generated films with the fake engines, for the tests of the pipeline; as a program, one that can be killed.

`python small_dubs.py FOLDER SETTINGS [STAGE MOMENT]` dubs `FOLDER/film.mkv` with settings in JSON; it kills itself when the
stage begins or ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polydub import config
from polydub.dubbing import Ears, Job, Outcome, dub_film
from polydub.engines.pool import EnginePool
from polydub.types import RATE_HZ, Part, Progress, Voice

Cue = tuple[float, float, str]

TALK: Sequence[Cue] = (
    (0.5, 1.9, "ANNA: Hello there, how are you?"),
    (2.2, 3.2, "BOB: I am quite well today, thank you very much."),  # too long for its place: it must be sped up
    (3.4, 4.9, "ANNA: Good."),  # too short: it may be slowed down
    (5.0, 5.8, "BOB: See you soon."),
)


TALKERS = {
    "ANN": Voice("espeak-ng", "en-us+f2", "en", settings={"pitch": 75, "range": 60}),
    "BOB": Voice("espeak-ng", "en-us+m3", "en", settings={"pitch": 25, "range": 60}),
}
DIALOGUE = (
    ("ANN", "Good morning to you. We have waited a long time for this day."),
    ("BOB", "So have I. The road over the mountains was closed until yesterday."),
    ("ANN", "Then sit down with us, and tell everybody what you have seen."),
    ("BOB", "There is not much to tell. It was cold, and the nights were dark."),
)


def spoken_film(media: Path, said: Sequence[tuple[str, str]] = DIALOGUE, pause_s: float = 0.8, channels: int = 1) -> list[Cue]:
    """Writes a film in which `said` (speaker of TALKERS, text) is spoken, one after the other; tells when."""
    import imageio_ffmpeg
    import numpy as np
    import soundfile

    from polydub.audio.signal import resample
    from polydub.engines.tts.espeak import ENGINE

    pause = np.zeros((1, round(pause_s * RATE_HZ)), np.float32)
    parts, cues, at = [pause], list[Cue](), pause.shape[1]
    with ENGINE.load(ENGINE.options(), {}, "cpu") as tts:
        for speaker, text in said:
            audio = tts.synthesize(Part(text, "en", TALKERS[speaker]))
            sound = resample(audio.samples, audio.rate_hz, RATE_HZ)
            cues.append((at / RATE_HZ, (at + sound.shape[1]) / RATE_HZ, f"{speaker}: {text}"))
            parts += [sound, pause]
            at += sound.shape[1] + pause.shape[1]
    wav = media.with_suffix(".speech.wav")
    soundfile.write(wav, np.repeat(np.concatenate(parts, axis=1), channels, axis=0).T, RATE_HZ, subtype="PCM_16")
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=96x64:rate=10:duration={at / RATE_HZ}", "-c:v", "libx264", "-g", "10")
    codecs = ("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le", "-fflags", "+bitexact")
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", wav, *picture, *codecs, media], check=True
    )
    wav.unlink()
    return cues


@contextmanager
def small_disk(place: Path, kib: int) -> Generator[Path]:
    """A disk of that size at `place`; the test is skipped where nobody may mount one."""
    import pytest

    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def srt(cues: Sequence[Cue]) -> str:
    """A subtitle file."""

    def time(s: float) -> str:
        ms = round(s * 1000)
        return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"

    return "".join(f"{n}\n{time(start)} --> {time(end)}\n{text}\n\n" for n, (start, end, text) in enumerate(cues, 1))


def long_talk(seconds: float, every_s: float = 4.0) -> list[Cue]:
    """A line every few seconds, of changing length."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    count = int((seconds - 3) / every_s)
    return [(n * every_s + 0.5, n * every_s + 3.3, " ".join(words[n % 5 : n % 5 + 4 + n % 3]) + f" {n}.") for n in range(count)]


@dataclass
class Film:
    """A film in a folder of its own, with a transcript, and perhaps a translation, beside it; results go to `out`."""

    folder: Path
    media: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def project(self) -> Path:
        return self.out / self.media.stem

    @property
    def transcript(self) -> Path:
        return self.folder / f"{self.media.stem}.en.srt"

    @property
    def translation(self) -> Path:
        return self.folder / f"{self.media.stem}.es.srt"

    def say(self, cues: Sequence[Cue], translated: Sequence[str] | None = None) -> Film:
        """Writes the transcript, and the translation if there is one."""
        self.transcript.write_text(srt(cues), encoding="utf-8")
        if translated is not None:
            texts = [(start, end, text) for (start, end, _), text in zip(cues, translated, strict=True)]
            self.translation.write_text(srt(texts), encoding="utf-8")
        return self

    def dub(
        self,
        settings: Mapping[str, object] | None = None,
        sink: Callable[[Progress], None] | None = None,
        reconsider: bool = False,
    ) -> Dub:
        """One run, with the fake engines unless `settings` say otherwise."""
        values = {"to": "es", "output": str(self.out), "tts": "fake", "mt": "fake", "asr": "fake"} | dict(settings or {})
        loaded = config.load(values, job=None, environ={}, cwd=self.folder, user_file=None)
        translations = {"": self.translation} if self.translation.exists() else {}
        transcript = self.transcript if self.transcript.exists() else None
        ears = Ears(sink or (lambda p: None), reconsider=reconsider)
        pool = EnginePool()
        try:
            (outcome,) = dub_film(Job(self.media, transcript, translations), loaded, pool, ears)
        finally:
            pool.close()
        return Dub(outcome, self.project)


@dataclass(frozen=True)
class Dub:
    """What a run left, and how much work it was."""

    outcome: Outcome
    project: Path

    @property
    def film(self) -> Path:
        return self.outcome.film

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.project / "report.es.json").read_text(encoding="utf-8"))

    @property
    def ran(self) -> dict[str, int]:
        """Calls made, by stage, in order."""
        return {stage["name"]: stage["ran"] for stage in self.report["stages"]}

    @property
    def called(self) -> set[str]:
        """Stages that made calls."""
        return {name for name, calls in self.ran.items() if calls}

    def stem(self, name: str) -> Path:
        return self.project / "stems" / f"{name}.es.flac"


def main(arguments: Sequence[str]) -> None:
    folder, settings = Path(arguments[0]), json.loads(arguments[1])
    stage, moment = arguments[2:] or ("", "")

    def sink(progress: Progress) -> None:
        ended = progress.done >= progress.total
        if progress.stage == stage and (moment == "begin" or ended):
            os.kill(os.getpid(), signal.SIGKILL)

    Film(folder, folder / "film.mkv").dub(settings, sink)


if __name__ == "__main__":
    main(sys.argv[1:])
