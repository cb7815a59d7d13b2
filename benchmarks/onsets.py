"""How well the moments at which lines become audible are found, against clean recordings laid over music and noise.

    python benchmarks/onsets.py --data ../shared/data

Recordings of three readers follow each other after pauses of 0.1 to 1.5 s; their spans are given wrongly, each end by up to
0.3 s. What is true is where the clean recording is within 30 dB of its loud level for 80 ms: a breath is no speech.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
from figures import Figure, fixed, table
from machine import ROOT
from numpy.typing import NDArray

from polydub.audio import activity, onsets
from polydub.audio.signal import resample
from polydub.audio.trim import trim
from polydub.engines.base import Separator, SpeechDetector
from polydub.engines.registry import get
from polydub.spans import bridged
from polydub.stages import separate
from polydub.types import BLOCK, HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Samples, Span, seconds

DATA = Path(os.environ.get("POLYDUB_SHARED_DATA") or ROOT / "../shared/data").resolve()
READERS = ("ljspeech", "librispeech-speakers/2033", "librispeech-speakers/2414")  # whose pauses are quiet
JITTER_S = 0.3
PAUSES_S = (0.1, 1.5)
SNRS_DB = (10.0, 5.0, 0.0)
HARD = {f"{bed} {snr} dB below" for bed in ("music", "noise") for snr in (5, 0)}  # may be no worse than given by 20 ms
VOICE_DB = -30.0
LOUD = 0.25**2 * 10 ** (-25 / 10)
SILENT_DB, PAUSE_S = -35.0, 0.35  # what is a pause of the clean recording: its level below the loud one, its length


@dataclass(frozen=True)
class Reading:
    """Recordings one after another, where they are audible, and the pauses in them."""

    sound: Samples
    lines: tuple[Span, ...]
    pauses: tuple[Span, ...]


def _recordings(data: Path) -> Iterator[Samples]:
    for reader in READERS:
        for file in sorted((data / "media" / reader).iterdir()):
            if file.suffix in (".wav", ".flac"):
                samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
                sound = resample(samples.T.mean(axis=0, keepdims=True), rate_hz, HEAR_HZ)[0]
                yield 0.25 * sound / np.sqrt(np.mean(sound**2))


def _voice(sound: Samples) -> tuple[float, float]:
    """First and last moment of the voice: within 30 dB of the loud level for 80 ms; clicks and breath are no speech."""
    step = HEAR_HZ // 100
    power = np.mean(np.square(sound[: len(sound) // step * step].reshape(-1, step)), axis=1)
    heard = [n / 100 for n in np.flatnonzero(power > np.percentile(power, 95) * 10 ** (VOICE_DB / 10))]
    runs = [s for s in bridged([Span(t, t + 0.01) for t in heard], 0.055) if s.duration >= 0.08]
    return runs[0].start, runs[-1].end


def reading(data: Path) -> Reading:
    """All recordings, cut to what is audible, with pauses between them that are drawn at random."""
    chance = np.random.default_rng(4)
    recordings = list(_recordings(data))
    parts, lines, pauses = [np.zeros(HEAR_HZ, np.float32)], list[Span](), list[Span]()
    at = HEAR_HZ
    for n in chance.permutation(len(recordings)):
        start, end = trim(recordings[n], HEAR_HZ)
        sound = recordings[n][start:end]
        first, last = _voice(sound)
        lines.append(Span(seconds(at / HEAR_HZ + first), seconds(at / HEAR_HZ + last)))
        pauses.extend(Span(seconds(at / HEAR_HZ + p.start), seconds(at / HEAR_HZ + p.end)) for p in _silences(sound))
        low, high = np.log(PAUSES_S)
        gap = np.zeros(round(float(np.exp(chance.uniform(low, high))) * HEAR_HZ), np.float32)
        parts += [sound, gap]
        at += len(sound) + len(gap)
    return Reading(np.concatenate(parts), tuple(lines), tuple(pauses))


def _silences(sound: Samples) -> Iterator[Span]:
    """Where a clean recording is silent for PAUSE_S."""
    step = HEAR_HZ // 100
    power = np.mean(np.square(sound[: len(sound) // step * step].reshape(-1, step)), axis=1)
    quiet = power < np.percentile(power, 95) * 10 ** (SILENT_DB / 10)
    for silent, group in groupby(enumerate(quiet), key=lambda pair: bool(pair[1])):
        frames = [n for n, _ in group]
        if silent and len(frames) >= PAUSE_S * 100 and frames[0] > 0 and frames[-1] < len(quiet) - 1:
            yield Span(frames[0] / 100, (frames[-1] + 1) / 100)


def _beds(data: Path) -> dict[str, Samples]:
    from separation import backgrounds

    wanted = {"music": "rock (museval, without vocals)", "noise": "noise (speechbrain)"}
    found = backgrounds(data / "media")
    return {name: resample(found[kind][np.newaxis], 48_000, HEAR_HZ)[0] for name, kind in wanted.items()}


def _over(speech: Samples, bed: Samples, snr_db: float) -> Samples:
    """`speech` over the bed (looped) at this ratio of their powers while somebody speaks."""
    looped = np.resize(bed, len(speech))
    spoken = np.abs(speech) > 0
    ratio = np.mean(np.square(speech[spoken])) / np.mean(np.square(looped)) / 10 ** (snr_db / 10)
    return (speech + looped * np.float32(np.sqrt(ratio))).astype(np.float32)


def spoken(vad: SpeechDetector, sound: Samples) -> tuple[Span, ...]:
    """Where somebody speaks, by the rules of a dub."""
    louder = Audio((sound * np.float32(0.9 / np.abs(sound).max()))[np.newaxis], HEAR_HZ)
    chances = vad.probabilities(louder)
    times = [n * VAD_FRAME / HEAR_HZ for n in range(len(chances))]
    return activity.spans(chances, times, len(sound) / HEAR_HZ, onsets.VOICED)


def dialogue(separator: Separator, vad: SpeechDetector, sound: Samples) -> Samples:
    """What a separation engine takes for dialogue, as a dub asks it to: block by block, where somebody may speak."""
    louder = Audio((sound * np.float32(0.9 / np.abs(sound).max()))[np.newaxis], HEAR_HZ)
    chances = vad.probabilities(louder)
    times = [n * VAD_FRAME / HEAR_HZ for n in range(len(chances))]
    far = activity.spans(chances, times, len(sound) / HEAR_HZ, activity.Rules(on=0.3, longest_s=separate.CUT_S))
    whole, parts = resample(sound[np.newaxis], HEAR_HZ, RATE_HZ), list[Samples]()
    for start in range(0, whole.shape[1], BLOCK):
        low, stop = max(0, start - separate.CONTEXT), min(whole.shape[1], start + BLOCK)
        mix = np.ascontiguousarray(whole[:, low : stop + separate.CONTEXT])
        begin, end = low / RATE_HZ, (low + mix.shape[1]) / RATE_HZ
        near = [Span(max(s.start, begin) - begin, min(s.end, end) - begin) for s in far if s.start < end and s.end > begin]
        found = separator.separate(Audio(mix), near)
        parts.append((mix if found is None else found)[:, start - low : stop - low])
    return resample(np.concatenate(parts, axis=1), RATE_HZ, HEAR_HZ)[0]


def jittered(lines: Sequence[Span]) -> tuple[Span, ...]:
    """`lines` as a careless person would time them."""
    chance = np.random.default_rng(5)
    moved = [(s.start + chance.uniform(-JITTER_S, JITTER_S), s.end + chance.uniform(-JITTER_S, JITTER_S)) for s in lines]
    return tuple(Span(seconds(start), seconds(end)) for start, end in moved)


@dataclass(frozen=True)
class Found:
    """What was made of one mix: errors of onsets and ends in seconds, given and found; pauses found, true and false ones."""

    given: NDArray[np.float64]
    onsets: NDArray[np.float64]
    ends: NDArray[np.float64]
    pauses: tuple[int, int]
    cost: float


def find(voiced: Sequence[Span], sound: Samples, truth: Reading) -> Found:
    """Finds the lines of a reading, whose spans are given wrongly, in `sound`; `voiced` is where speech was detected."""
    given = jittered(truth.lines)
    before = time.perf_counter()
    found: list[onsets.Audible] = []
    for n, line in enumerate(given):
        early = max(line.start - JITTER_S, middle(given[n - 1]) if n else 0.0)
        late = min(line.end + JITTER_S, middle(given[n + 1]) if n + 1 < len(given) else len(sound) / HEAR_HZ)
        first = max(0.0, round(line.start - 3, 1))
        part = sound[round(first * HEAR_HZ) : round((line.end + 3) * HEAR_HZ)]
        near = [Span(s.start - first, s.end - first) for s in voiced if s.start > first and s.start < line.end + 3]
        here = onsets.audible(
            onsets.bands(part), near, Span(line.start - first, line.end - first), Span(early - first, late - first)
        )
        found.append(onsets.Audible(here.start + first, here.end + first, tuple(
            Span(p.start + first, p.end + first) for p in here.pauses)))  # fmt: skip
    cost = (time.perf_counter() - before) / (len(sound) / HEAR_HZ)
    heard = [p for line in found for p in line.pauses]
    right = sum(any(p.overlap(h) > p.duration / 2 for h in heard) for p in truth.pauses)
    wrong = sum(_loud(truth.sound, p) > 0.5 for p in heard)
    lines = truth.lines
    return Found(
        np.array([g.start - t.start for g, t in zip(given, lines, strict=True)]),
        np.array([f.start - t.start for f, t in zip(found, lines, strict=True)]),
        np.array([f.end - t.end for f, t in zip(found, lines, strict=True)]),
        (right, wrong),
        cost,
    )


def _loud(sound: Samples, span: Span) -> float:
    """The share of `span` in which a clean recording, of an RMS of 0.25, is loud."""
    step = HEAR_HZ // 100
    part = sound[round(span.start * HEAR_HZ) :][: max(1, round(span.duration * 100)) * step]
    return float(np.mean(np.mean(np.square(part[: len(part) // step * step].reshape(-1, step)), axis=1) > LOUD))


def middle(span: Span) -> float:
    """The middle of a span."""
    return (span.start + span.end) / 2


def measure(data: Path = DATA) -> list[Figure]:
    """Errors of the audible onset, as given and as found, on the clean readings and over music and noise; pauses; the cost."""
    truth, beds, silero = reading(data), _beds(data), get("vad", "silero")
    sounds = {"clean": truth.sound}
    for name, bed in beds.items():
        sounds |= {f"{name} {snr:g} dB below": _over(truth.sound, bed, snr) for snr in SNRS_DB}
    made: list[Figure] = []
    costs: list[float] = []
    with silero.load(silero.options(), {}, "cpu") as vad:
        for name, sound in sounds.items():
            found = find(spoken(vad, sound), sound, truth)
            made += _figures(name, found, truth)
            costs.append(found.cost)
        made += _separated(data, vad, {name: sounds[name] for name in sorted(HARD)}, truth)
    return [*made, fixed("finding them, for a second of sound", "s", costs, 0.01, "without speech detection")]


def _separated(data: Path, vad: SpeechDetector, sounds: Mapping[str, Samples], truth: Reading) -> list[Figure]:
    """The same where speech is detected in the dialogue that a separation engine took out."""
    engine = get("separation", "deepfilternet")
    options, folder = engine.options(), data / "models/deepfilternet3"
    if not folder.is_dir():
        return []
    made: list[Figure] = []
    with engine.load(options, {weight.id: folder for weight in engine.weights(options)}, "cpu") as separator:
        for name, sound in sounds.items():
            found = find(spoken(vad, dialogue(separator, vad, sound)), sound, truth)
            made += [replace(f, name=f"{f.name}, detected in the dialogue") for f in _figures(name, found, truth)]
    return made


def _figures(name: str, found: Found, truth: Reading) -> list[Figure]:
    middle, most = (float(np.percentile(np.abs(found.onsets), p)) for p in (50, 95))
    given = [1000 * float(np.percentile(np.abs(found.given), p)) for p in (50, 95)]
    right, wrong = found.pauses
    ends = float(np.median(np.abs(found.ends)))
    limits = (given[0] + 20, given[1] + 20) if name in HARD else (40.0, 150.0)
    note = f"{len(truth.lines)} lines; as given {given[0]:.0f} ms; the end of a line {1000 * ends:.0f} ms"
    heard = f"as given {given[1]:.0f} ms; {right} of {len(truth.pauses)} pauses of {PAUSE_S:g} s found, {wrong} that are none"
    return [
        fixed(f"audible onset, {name}, median error", "ms", [1000 * middle], limits[0], note),
        fixed(f"audible onset, {name}, 95th percentile", "ms", [1000 * most], limits[1], heard),
    ]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="where the recordings are")
    data: Path = parser.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"there is no {data}")
    sys.stdout.write("\n".join([*table(measure(data)), ""]))


if __name__ == "__main__":
    main()
