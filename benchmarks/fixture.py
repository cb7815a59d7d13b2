"""Films to measure with: many short lines of English over a tone bed, with English and long Spanish subtitles.

    python benchmarks/fixture.py 160 build/bench/s160

Beside a folder `../shared/bench` with `make_fixture.py`, and with `espeak-ng` and `ffmpeg` installed, the film is that
program's, on which the figures of other systems were measured. Elsewhere an equivalent one is made with the engine and the
ffmpeg that polydub brings: lines of the same lengths, the same gaps, Spanish that needs more time than there is.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from machine import ROOT
from numpy.typing import NDArray

from polydub.audio.signal import resample
from polydub.engines.base import Part, Voice
from polydub.engines.tts.espeak import ENGINE

PEERS_MAKER = ROOT / "../shared/bench/make_fixture.py"
RATE_HZ = 44_100
SEED = 11
PACE = 185 / 175  # of the English lines, to espeak-ng's default
GAPS_S = (0.1, 0.3, 0.6, 1.5)
LINES = (
    ("Good morning and welcome.", "Muy buenos días y bienvenidos."),
    ("This week we visit a small harbour where the boats are repaired by hand in winter.",
     "Esta semana visitamos un pequeño puerto pesquero en el que los barcos se reparan a mano durante todo el largo invierno."),
    ("The first boat was built here more than ninety years ago.",
     "El primer barco se construyó aquí hace ya más de noventa años."),
    ("When the weather turns bad, the whole village comes to help.",
     "Cuando el tiempo empeora de repente, todos los vecinos del pueblo bajan al muelle para ayudar."),
    ("Every plank is measured twice before it is cut.", "Cada tablón se mide siempre dos veces antes de cortarlo."),
    ("Come and see the workshop.", "Vengan a conocer el taller."),
    ("The old engine still runs on the fuel it was made for.",
     "El viejo motor todavía funciona con el mismo combustible para el que fue diseñado en su día."),
    ("That is all for today, see you soon.", "Esto es todo por hoy, hasta muy pronto."),
)  # fmt: skip
# Of each line in fewer words, as it is, in more words: one of them takes 0.88 to 1.03 of the time that the English takes.
WORDINGS = (
    ("Buenos días.", "Buenos días y bienvenidos.", "Muy buenos días a todos y bienvenidos a este programa."),
    ("Visitamos un pequeño puerto donde los barcos se reparan a mano en invierno.", LINES[1][1],
     "Esta misma semana visitamos con ustedes un pequeño puerto pesquero de la costa en el que los barcos se reparan a mano "
     "durante todo el largo invierno."),
    ("El primer barco tiene noventa años.", "El primer barco se construyó aquí hace noventa años.",
     "El primer barco se construyó aquí hace ya más de noventa años y todavía navega."),
    ("Cuando el tiempo empeora, todo el pueblo viene a ayudar.", LINES[3][1],
     "Cuando el tiempo empeora de repente, como tantas veces en esta costa, todos los vecinos del pueblo bajan al muelle para "
     "ayudar."),
    ("Cada tabla se mide dos veces.", "Cada tablón se mide dos veces antes de cortarlo.",
     "Cada uno de los tablones se mide siempre dos veces antes de cortarlo con la sierra."),
    ("Entren.", "Vean el taller.", "Vengan a conocer el taller."),
    ("El viejo motor aún funciona con su combustible.", LINES[6][1],
     "El viejo motor de siempre todavía funciona sin ningún problema con el mismo combustible para el que fue diseñado en su "
     "día."),
    ("Es todo, hasta pronto.", "Esto es todo por hoy, hasta pronto.",
     "Y esto es todo por hoy, muchas gracias a todos y hasta muy pronto."),
)  # fmt: skip


@dataclass(frozen=True)
class Film:
    """A film with its subtitles. `like_peers`: it is the very film that the other systems were measured on."""

    video: Path
    transcript: Path
    translation: Path
    lines: int
    like_peers: bool = False

    @classmethod
    def at(cls, stem: Path, *, like_peers: bool = False) -> Film:
        """The film whose files begin with `stem`: .mp4, .en.srt, .es.srt. Raises FileNotFoundError."""
        video, transcript, translation = (stem.with_name(stem.name + ending) for ending in (".mp4", ".en.srt", ".es.srt"))
        for file in (video, translation):
            file.stat()
        return cls(video, transcript, translation, transcript.read_text(encoding="utf-8").count("-->"), like_peers)


def film(lines: int, stem: Path) -> Film:
    """The film of `lines` lines; made if it is not there."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    note = stem.with_name(stem.name + ".made.json")
    if not note.exists():
        theirs = PEERS_MAKER.is_file() and shutil.which("espeak-ng") and shutil.which("ffmpeg")
        if theirs:
            subprocess.run([sys.executable, PEERS_MAKER, str(lines), stem], check=True, stdout=subprocess.DEVNULL)
            for sound in stem.parent.glob(f"{stem.name}_*.wav"):
                sound.unlink()
        else:
            _make(lines, stem)
        note.write_text(json.dumps({"like_peers": bool(theirs)}))
    return Film.at(stem, like_peers=json.loads(note.read_text())["like_peers"])


def easy(lines: int, stem: Path) -> Film:
    """A film of `lines` lines whose translation, a JSON file, has every text in three lengths; made if it is not there."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    texts = stem.with_name(stem.name + ".es.json")
    if not texts.exists():
        _make(lines, stem)
        spans = [_span(cue) for cue in stem.with_name(stem.name + ".en.srt").read_text(encoding="utf-8").strip().split("\n\n")]
        entries = [
            {"start": start, "end": end} | dict(zip(("short", "text", "long"), WORDINGS[n % len(WORDINGS)], strict=True))
            for n, (start, end) in enumerate(spans)
        ]
        texts.write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return replace(Film.at(stem), translation=texts)


def clip(source: Film, stem: Path, seconds: int = 60) -> Film:
    """A film of 1920x1080 at 30 pictures a second and about 6 Mbit/s, with the first `seconds` of another's sound and lines."""
    video = stem.with_name(stem.name + ".mp4")
    if not video.exists():
        scratch = stem.with_name(stem.name + ".part.mp4")
        picture = f"testsrc2=s=1920x1080:r=30:d={seconds},noise=alls=6:allf=t"
        _ffmpeg("-f", "lavfi", "-i", picture, "-t", str(seconds), "-i", source.video, "-map", "0:v", "-map", "1:a",
                "-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k",
                "-ac", "2", "-ar", "48000", "-t", str(seconds), scratch)  # fmt: skip
        scratch.replace(video)
    for ending, its in ((".en.srt", source.transcript), (".es.srt", source.translation)):
        cues = [cue for cue in its.read_text(encoding="utf-8").split("\n\n") if "-->" in cue and _span(cue)[1] < seconds]
        stem.with_name(stem.name + ending).write_text("\n\n".join(cues) + "\n", encoding="utf-8")
    return Film.at(stem)


def _span(cue: str) -> tuple[float, float]:
    start, end = cue.splitlines()[1].split(" --> ")
    return _seconds(start), _seconds(end)


def _seconds(stamped: str) -> float:
    hours, minutes, rest = stamped.replace(",", ".").split(":")
    return round(3600 * int(hours) + 60 * int(minutes) + float(rest), 3)


def _make(count: int, stem: Path) -> None:
    """The equivalent film."""
    dice = random.Random(SEED)
    said = _speak()
    plan: list[tuple[float, float, str, str]] = []
    at = 1.0
    for n in range(count):
        sound, (english, spanish) = said[n % len(LINES)], LINES[n % len(LINES)]
        plan.append((at, at + sound.size / RATE_HZ, english, spanish))
        at = plan[-1][1] + dice.choice(GAPS_S)
    time_s = np.arange(round((at + 2) * RATE_HZ), dtype=np.float32) / RATE_HZ
    sound = (0.05 * np.sin(2 * np.pi * 220 * time_s) * (0.7 + 0.3 * np.sin(np.pi * time_s))).astype(np.float32)
    for n, (start, *_) in enumerate(plan):
        first = round(start * RATE_HZ)
        sound[first : first + said[n % len(LINES)].size] += 0.6 * said[n % len(LINES)]
    with tempfile.TemporaryDirectory(dir=stem.parent) as folder:
        wav, video = Path(folder, "mix.wav"), Path(folder, "film.mp4")
        _write_wav(wav, sound)
        _ffmpeg("-f", "lavfi", "-i", f"testsrc=s=640x360:r=25:d={sound.size / RATE_HZ:.3f}", "-i", wav, "-c:v", "libx264",
                "-preset", "ultrafast", "-c:a", "aac", "-shortest", video)  # fmt: skip
        video.replace(stem.with_name(stem.name + ".mp4"))
    for ending, column in ((".en.srt", 2), (".es.srt", 3)):
        cues = [f"{n}\n{stamp(row[0])} --> {stamp(row[1])}\n{row[column]}\n" for n, row in enumerate(plan, 1)]
        stem.with_name(stem.name + ending).write_text("\n".join(cues), encoding="utf-8")


def _speak() -> list[NDArray[np.float32]]:
    """The English lines at RATE_HZ."""
    with ENGINE.load(ENGINE.options(), {}, "cpu") as speech:
        voice: Voice = speech.voices("en")[0]
        takes = [speech.synthesize(Part(english, "en", voice, PACE)) for english, _ in LINES]
    return [resample(take.samples, take.rate_hz, RATE_HZ)[0] for take in takes]


def _write_wav(path: Path, samples: NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def stamp(seconds: float) -> str:
    """As SRT writes it."""
    whole, ms = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{ms:03d}"


def _ffmpeg(*words: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-nostdin", "-y", *words], check=True)


if __name__ == "__main__":
    made = film(int(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(f"{made.video}: {made.lines} lines\n")
