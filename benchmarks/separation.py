"""How well dialogue and background are told apart: SI-SDR on mixes of ../shared/data and on the sample film.

    python benchmarks/separation.py --data ../shared/data

The mixes are 8 voices over 8 backgrounds at several ratios, 48 kHz mono, with 1.5 s without speech before and after; all
that is made of them is made by the engines that polydub registers, with the speech that its own detector finds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from machine import ROOT
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.signal import lfilter

from polydub.audio import activity
from polydub.audio.signal import resample
from polydub.engines.base import Separator, SpeechDetector
from polydub.engines.registry import get
from polydub.sample import make_sample, music
from polydub.types import HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Span

DATA = Path(os.environ.get("POLYDUB_SHARED_DATA") or ROOT / "../shared/data").resolve()
WEIGHTS = "models"
LONGEST_S, QUIET_S = 8, 1.5
SNRS_DB = (0.0, 5.0, 10.0)
ON = 0.3  # probability from which a frame is speech, as when a film is dubbed
VOICES = {
    "LJ001-0001": "ljspeech/LJ001-0001.wav", "LJ001-0003": "ljspeech/LJ001-0003.wav", "jfk": "whisper-jfk/jfk.flac",
    "Carter": "voices/en-Carter_man.wav", "Maya": "voices/en-Maya_woman.wav", "1688": "librispeech-speakers/1688",
    "1998": "librispeech-speakers/1998", "2414": "librispeech-speakers/2414",
}  # fmt: skip

Mono = NDArray[np.float32]  # (n,) at RATE_HZ
Method = Callable[[Mono, Sequence[Span]], Mono]


@dataclass(frozen=True)
class Mix:
    """One voice over one background; `speech` + `bed` is what an engine hears."""

    bed_name: str
    voice: str
    snr_db: float
    speech: Mono
    bed: Mono


@dataclass(frozen=True)
class Row:
    """Means over mixes. SI-SDR in dB of the dialogue, of the background, and of the background where an engine was at work
    and where it was not; what is left of the voice in the background, dB; share of frames in which a detector still finds
    speech there; seconds for each second of sound.
    """

    dialogue: float
    background: float
    speaking: float
    outside: float
    leak: float
    still_speech: float
    rtf: float


def decoded(file: Path, stream: int = 0, channels: int = 1) -> NDArray[np.float32]:
    """(channels, n) at RATE_HZ of a sound stream of `file`, by ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(file), "-map", f"0:a:{stream}",
               "-ac", str(channels), "-ar", str(RATE_HZ), "-f", "f32le", "-"]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.ascontiguousarray(np.frombuffer(raw, np.float32).reshape(-1, channels).T)


def backgrounds(media: Path) -> dict[str, Mono]:
    """Music, noise and something steady, by name."""
    (film,) = (media / "museval").rglob("*.stem.mp4")
    rock = np.sum([decoded(film, stream)[0] for stream in (1, 2, 3)], axis=0)
    found = {
        "rock (museval, without vocals)": rock,
        "song (demucs)": decoded(media / "demucs/test.mp3")[0],
        "music (ina)": decoded(media / "ina/musanmix.wav")[0][: 20 * RATE_HZ],
        "noise (speechbrain)": decoded(media / "speechbrain/noise1.wav")[0],
    }
    for name in ("0119", "0174"):
        noisy, clean = (decoded(media / f"ul-unas/{kind}/{name}.wav")[0] for kind in ("noisy", "clean"))
        found[f"noise (ul-unas {name})"] = noisy - clean
    (room,) = media.rglob("empty.mp3")
    found["room"] = decoded(room)[0]
    frames = 12 * RATE_HZ
    hum = sum(0.05 / k * np.sin(2 * np.pi * 110 * k * np.arange(frames) / RATE_HZ + k) for k in range(1, 6))
    hiss = 0.02 * lfilter([1], [1, -0.95], np.random.default_rng(0).normal(size=frames))
    found["hum and hiss"] = (hum + hiss).astype(np.float32)
    return found


def mixes(data: Path, snrs_db: Sequence[float]) -> Iterator[Mix]:
    """Every voice over every background (looped where it is too short) at every ratio, with a peak of 0.5."""
    media = data / "media"
    beds = backgrounds(media)
    quiet = np.zeros(round(QUIET_S * RATE_HZ), np.float32)
    for voice, place in VOICES.items():
        file = media / place
        said = decoded(min(file.iterdir()) if file.is_dir() else file)[0][: LONGEST_S * RATE_HZ]
        speech = np.concatenate([quiet, said, quiet])
        spoken = _spoken(speech)
        for name, bed in beds.items():
            looped = np.resize(bed, len(speech))
            ratio = np.sqrt((speech[spoken] ** 2).mean() / (looped**2).mean())
            for snr_db in snrs_db:
                under = looped * (ratio * 10 ** (-snr_db / 20))
                level = 0.5 / np.abs(speech + under).max()
                yield Mix(name, voice, snr_db, (speech * level).astype(np.float32), (under * level).astype(np.float32))


def _spoken(speech: Mono) -> NDArray[np.bool_]:
    return np.abs(speech) > 0.01 * np.abs(speech).max()


def si_sdr(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, of all channels together (Le Roux et al. 2019)."""
    true, found = (np.ravel(x).astype(np.float64) - np.mean(x) for x in (reference, estimate))
    part = (found @ true) / (true @ true + 1e-12) * true
    return float(10 * np.log10((part @ part + 1e-12) / ((found - part) @ (found - part) + 1e-12)))


def spans(vad: SpeechDetector, mono: Mono) -> tuple[Span, ...]:
    """Where `vad` hears speech, brought to a peak of 0.9 first."""
    probabilities = _probabilities(vad, mono)
    times = np.arange(len(probabilities)) * VAD_FRAME / HEAR_HZ
    return activity.spans(probabilities, times, len(mono) / RATE_HZ, activity.Rules(on=ON))


def _probabilities(vad: SpeechDetector, mono: Mono) -> NDArray[np.float64]:
    low = resample(mono[None], RATE_HZ, HEAR_HZ)
    louder = np.float32(0.9 / max(1e-4, float(np.abs(low).max())))
    return np.array(vad.probabilities(Audio(low * louder, HEAR_HZ)))


def methods(data: Path, open_: ExitStack) -> dict[str, Method]:
    """What is compared, by name: doing nothing, the mask, and the nets whose weights are there."""

    def by(separator: Separator) -> Method:
        def separate(mix: Mono, speech: Sequence[Span]) -> Mono:
            found = separator.separate(Audio(mix[None]), speech)
            return np.zeros_like(mix) if found is None else found[0]

        return separate

    loaded: dict[str, Method] = {"nothing": lambda mix, _: np.zeros_like(mix)}
    for name in ("mask", "deepfilternet", "ul-unas"):
        engine = get("separation", name)
        options = engine.options()
        weights = {weight.id: data / WEIGHTS / weight.id for weight in engine.weights(options)}
        if not all(folder.is_dir() for folder in weights.values()):
            continue
        loaded[name] = by(open_.enter_context(engine.load(options, weights, "cpu")))
    return loaded


def measured(mix: Mix, vad: SpeechDetector, method: Method) -> Row:
    """One method on one mix."""
    whole = mix.speech + mix.bed
    speech = spans(vad, whole)
    began = time.perf_counter()
    dialogue = method(whole, speech)
    took = time.perf_counter() - began
    left = whole - dialogue
    apart = ~binary_dilation(_spoken(mix.speech), iterations=RATE_HZ // 20)
    at_work = np.zeros(len(whole), np.bool_)
    for span in speech:
        at_work[round(span.start * RATE_HZ) : round(span.end * RATE_HZ)] = True
    power = float(mix.speech @ mix.speech)
    return Row(
        dialogue=si_sdr(mix.speech, dialogue),
        background=si_sdr(mix.bed, left),
        speaking=si_sdr(mix.bed[at_work], left[at_work]),
        outside=si_sdr(mix.bed[apart], left[apart]),
        leak=20 * float(np.log10(abs(left @ mix.speech) / power + 1e-6)),
        still_speech=float(np.mean(_probabilities(vad, left) >= 0.5)),
        rtf=took / len(whole) * RATE_HZ,
    )


def mean(rows: Sequence[Row]) -> Row:
    """Figure by figure."""
    return Row(*(float(np.mean(values)) for values in zip(*map(astuple, rows), strict=True)))


Found = Mapping[str, Mapping[str, Sequence[Row]]]


def measure(data: Path, snrs_db: Sequence[float] = SNRS_DB) -> Found:
    """All rows by method and background. A core is busy with each mix; takes about a core-minute for each ratio."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    cores = len(os.sched_getaffinity(0))
    with ExitStack() as open_, ThreadPoolExecutor(cores) as threads:
        vad = _detector(open_)
        compared = methods(data, open_)

        def compare(mix: Mix) -> dict[str, Row]:
            return {name: measured(mix, vad, method) for name, method in compared.items()}

        made = mixes(data, snrs_db)
        while several := list(islice(made, 4 * cores)):
            for mix, rows in zip(several, threads.map(compare, several), strict=True):
                for name, row in rows.items():
                    found[name][mix.bed_name].append(row)
    return found


def sample(data: Path) -> dict[str, float]:
    """Background SI-SDR gain in dB over the film's own sound, by method, on polydub's sample film as it is delivered."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_:
        sound = decoded(make_sample(Path(folder)).video, channels=2)
        bed = music(sound.shape[1]).samples
        speech = spans(_detector(open_), sound.mean(axis=0))
        before = si_sdr(bed, sound)
        gains: dict[str, float] = {}
        for name, method in methods(data, open_).items():
            dialogue = np.stack([method(channel, speech) for channel in sound])
            gains[name] = si_sdr(bed, sound - dialogue) - before
        return gains


def _detector(open_: ExitStack) -> SpeechDetector:
    engine = get("vad", "silero")
    return open_.enter_context(engine.load(engine.options(), {}, "cpu"))


def tables(found: Found) -> list[str]:
    """Markdown: the means by method, then dialogue / background by background."""
    lines = [
        "| | dialogue | background | while speaking | outside | leak | still speech | RTF, 1 thread |",
        "|---|" + "---:|" * 7,
    ]
    for name, beds in found.items():
        row = mean([row for rows in beds.values() for row in rows])
        figures = [f"{value:.1f}" for value in astuple(row)[:5]]
        lines.append(f"| {name} | " + " | ".join([*figures, f"{row.still_speech:.2f}", f"{row.rtf:.3f}"]) + " |")
    beds = list(next(iter(found.values())))
    lines += ["", f"| dialogue / background, dB | {' | '.join(beds)} |", "|---|" + "---:|" * len(beds)]
    for name, rows in found.items():
        cells = (mean(rows[bed]) for bed in beds)
        lines.append(f"| {name} | " + " | ".join(f"{cell.dialogue:.1f} / {cell.background:.1f}" for cell in cells) + " |")
    return lines


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with media/ and models/")
    parser.add_argument("--snr", type=float, nargs="+", default=SNRS_DB, metavar="DB", help="voice to background")
    given = parser.parse_args()
    lines = tables(measure(given.data, given.snr))
    lines += ["", "| | gain of the background on the sample film, dB |", "|---|---:|"]
    lines += [f"| {name} | {gain:.1f} |" for name, gain in sample(given.data).items()]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
