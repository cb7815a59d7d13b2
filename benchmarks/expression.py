"""Does a dub with --expressive source speak more like the original than one without, and is it understood as well?

People who read (LJ Speech, LibriSpeech) become one film, which espeak-ng says again in English. Pitch, movement and loudness of
original and dub are measured by a plain autocorrelation written here, not by polydub; the words by PocketSphinx. Texts are
PocketSphinx's own where there are none: they only have to be spoken.

`python benchmarks/expression.py [--data ../shared/data] [--strengths 0,1] [--lines 60]` prints one table.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly
from scipy.stats import spearmanr

from polydub import config
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.asr.pocketsphinx import ENGINE as RECOGNISER
from polydub.engines.pool import EnginePool
from polydub.text.heard import word_error
from polydub.text.syllables import syllables
from polydub.types import HEAR_HZ, Audio

RATE_HZ = 16_000
PAUSE_S = 0.9
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """A line of the film."""

    speaker: str
    text: str
    sound: Floats
    start: float

    @property
    def end(self) -> float:
        return self.start + len(self.sound) / RATE_HZ


def film(data: Path, most: int) -> list[Said]:
    """Real lines in turn, at most so many."""
    texts: dict[str, str] = {}
    with next(data.rglob("ljspeech/**/metadata.csv")).open(encoding="utf-8") as file:
        texts |= {row[0]: row[-1] for row in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)}
    files = sorted(data.rglob("ljspeech/**/*.wav")) + sorted(data.rglob("librispeech-speakers/**/*.flac"))
    found = list[tuple[str, str, Floats]]()
    with RECOGNISER.load(RECOGNISER.options(), {}, "cpu") as asr:
        for path in files[:: max(1, len(files) // most)] if most else files:
            samples, rate_hz = soundfile.read(path, dtype="float64")
            samples = resample_poly(samples, RATE_HZ, rate_hz) if rate_hz != RATE_HZ else samples
            if not 1.5 <= len(samples) / RATE_HZ <= 12:
                continue
            speaker = "LJ" if "ljspeech" in str(path) else path.parent.name
            audio = Audio(samples[np.newaxis].astype(np.float32), HEAR_HZ)
            text = texts.get(path.stem) or " ".join(s.text for s in asr.transcribe(audio, "en"))
            if len(text.split()) >= 3:
                found.append((speaker, text, samples))
    lines, at = list[Said](), 1.0
    for speaker, text, samples in found:
        lines.append(Said(speaker, text, samples, at))
        at += len(samples) / RATE_HZ + PAUSE_S
    return lines


def write(lines: Sequence[Said], folder: Path) -> tuple[Path, Path]:
    """The film and its transcript."""
    sound = np.zeros(round((lines[-1].end + 1) * RATE_HZ))
    for line in lines:
        at = round(line.start * RATE_HZ)
        sound[at : at + len(line.sound)] = line.sound
    soundfile.write(folder / "film.wav", 0.5 * sound / np.abs(sound).max(), RATE_HZ)
    segments = [{"start": x.start, "end": x.end, "speaker": x.speaker, "text": x.text} for x in lines]
    (folder / "film.en.json").write_text(json.dumps({"segments": segments}), encoding="utf-8")
    return folder / "film.wav", folder / "film.en.json"


def dub(media: Path, transcript: Path, out: Path, more: Mapping[str, object]) -> tuple[dict[str, Any], Floats]:
    """The report and the speech of a dub, at RATE_HZ."""
    values = {
        "to": "en",
        "source_language": "en",
        "no_translate": True,
        "tts": "espeak-ng",
        "output": str(out),
        "offline": True,
    }
    loaded = config.load(values | dict(more), job=None, environ={}, cwd=out, user_file=None)
    with closing(EnginePool()) as pool:
        dub_film(Job(media, transcript), loaded, pool, Ears())
    report = json.loads((out / "film" / "report.en.json").read_text(encoding="utf-8"))
    samples, rate_hz = soundfile.read(out / "film" / "stems" / "dub.en.flac", always_2d=True)
    return report, resample_poly(samples[:, 0], RATE_HZ, rate_hz)


def measured(sound: Floats, counted: int) -> tuple[float, float, float, float]:
    """log rate (syllables a second of sound that is no pause), dB, log2 of the median pitch, its spread in semitones."""
    size, hop = 640, 160
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]
    power = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    loud = power > np.percentile(power, 95) - 25
    spectrum = np.abs(np.fft.rfft(frames[loud] * np.hanning(size), 2048)) ** 2
    shape = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2048)) ** 2)[:300]
    likeness = np.fft.irfft(spectrum)[:, :300] / shape
    low, high = RATE_HZ // 400, RATE_HZ // 65
    lag = low + likeness[:, low:high].argmax(axis=1)
    voiced = likeness[np.arange(len(lag)), lag] > 0.6 * likeness[:, 0]
    octaves = np.log2(RATE_HZ / lag[voiced]) if voiced.any() else np.zeros(1)
    near = octaves[np.abs(octaves - np.median(octaves)) < 0.75]
    spread = 12 * float(np.percentile(near, 90) - np.percentile(near, 10))
    level = 10 * np.log10(np.mean(10 ** (power[loud] / 10)))
    return float(np.log2(counted / (loud.sum() * hop / RATE_HZ))), float(level), float(np.median(near)), spread


def departures(rows: Sequence[tuple[float, ...]], speakers: Sequence[str]) -> Floats:
    """Each line against the median of its speaker."""
    table = np.array(rows)
    for name in set(speakers):
        own = [n for n, s in enumerate(speakers) if s == name]
        table[own] -= np.median(table[own], axis=0)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[1] / "../shared/data")
    parser.add_argument("--strengths", default="0,0.5,1")
    parser.add_argument("--tts", default="espeak-ng")
    parser.add_argument("--lines", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RECOGNISER.load(RECOGNISER.options(), {}, "cpu") as asr:
        lines = film(asked.data / "media", asked.lines)
        media, transcript = write(lines, Path(folder))
        counts = [sum(syllables(word, "en") for word in x.text.split()) for x in lines]
        speakers = [x.speaker for x in lines]
        source = departures([measured(x.sound, n) for x, n in zip(lines, counts, strict=True)], speakers)
        print(f"{len(lines)} lines of {len(set(speakers))} speakers, {lines[-1].end:.0f} s")
        print("strength  correlation of rate, natural rate, level, pitch, movement; word errors, largest rate, overflow s")
        for strength in (float(x) for x in asked.strengths.split(",")):
            wish = {"expressive": "source" if strength else "off", "expressive_strength": strength, "tts": asked.tts}
            report, speech = dub(media, transcript, Path(folder), wish)
            rows, errors, naturals = list[tuple[float, ...]](), list[float](), list[float]()
            for line, count in zip(report["lines"], counts, strict=True):
                a, b = (round(t * RATE_HZ) for t in (line["start"], line["start"] + line["duration"]))
                rows.append(measured(speech[a:b], count))
                naturals.append(float(np.log2(count / line["natural_duration"])))
                heard = " ".join(
                    s.text
                    for s in asr.transcribe(
                        Audio(speech[np.newaxis, max(0, a - 3200) : b + 3200].astype(np.float32), HEAR_HZ), "en"
                    )
                )
                errors.append(word_error(line["text"], heard, "en"))
            dubbed = departures([(*row, natural) for row, natural in zip(rows, naturals, strict=True)], speakers)
            told = [spearmanr(source[:, n], dubbed[:, m])[0] for n, m in ((0, 0), (0, 4), (1, 1), (2, 2), (3, 3))]
            rates = [x["rate"] for x in report["lines"]]
            over = sum(x["overflow"] for x in report["lines"])
            print(
                f"{strength:8.2f}  "
                + "  ".join(f"{x:6.2f}" for x in told)
                + f"   {np.mean(errors):.3f}  {max(rates):.2f}  {over:.2f}"
            )


if __name__ == "__main__":
    main()
