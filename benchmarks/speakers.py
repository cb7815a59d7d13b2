"""Who speaks when: diarization error and equal error rate of the embedded speaker encoders on real speech.

OPENBLAS_NUM_THREADS=1 python benchmarks/speakers.py --data ../shared/data --weights FOLDER

FOLDER holds what `polydub models pull resemblyzer` pulled; without it only the fingerprint is measured.

Diarization goes through the product's own stages, from a sound file to turns. Its error is that of pyannote.metrics: no
collar, overlapping speech counted. Meetings are 30-s clips of AMI, annotated by people. Dialogues are 14 turns of 1 to 6 s
by 2 to 4 of five LibriSpeech speakers, with pauses; their truth is what the detector hears in each clean turn alone, at 0.5
and without padding. The five speakers are all there are: the fingerprint's constants come from them, and every trial of one
speaker with itself is within one chapter, one recording, which makes it easier.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from figures import Figure, fixed, table
from numpy.typing import NDArray
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from polydub import listening, models
from polydub.audio import activity
from polydub.engines import registry
from polydub.engines.base import Kind, SpeakerEncoder, SpeechDetector
from polydub.engines.pool import Tool
from polydub.runner import Run
from polydub.stages import listen
from polydub.store import Store
from polydub.types import HEAR_HZ, VAD_FRAME, Audio, Samples, Span, Turn

ENCODERS = ("resemblyzer", "fingerprint")
DIALOGUES, TURNS, ALONE_TURNS = 12, 14, 10
LENGTHS_S = (None, 5.0, 3.0, 1.6)  # of an utterance's middle; None = all of it
LIMITS = {("resemblyzer", "meetings"): 50.0, ("resemblyzer", "dialogues"): 17.0}  # percent
EER_LIMITS = {("resemblyzer", None): 2.0, ("resemblyzer", 1.6): 4.0}


@dataclass(frozen=True)
class Clip:
    """A sound, mono at HEAR_HZ, and who speaks in it when."""

    sound: Samples
    truth: tuple[Turn, ...]


@dataclass(frozen=True)
class Utterance:
    """One recording of a speaker; utterances of one chapter were recorded together."""

    speaker: str
    chapter: str
    sound: Samples


def main() -> int:
    """Prints Markdown; the exit status is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with media/ami and media/librispeech-speakers"
    )
    parser.add_argument("--weights", type=Path, required=True, help="folder of pulled models")
    given = parser.parse_args()
    missed = False
    for name, figures in speakers(given.data, given.weights):
        sys.stdout.write("\n".join([f"## {name}", "", *table(figures), "", ""]))
        missed = missed or any(figure.met is False for figure in figures)
    return int(missed)


def speakers(data: Path, weights: Path) -> Iterator[tuple[str, list[Figure]]]:
    """The figures of each encoder whose weights are there, under a title."""
    utterances = librispeech(data / "media/librispeech-speakers")
    with _engine("vad", "silero", weights) as vad:
        sets = {
            "meetings": meetings(data / "media/ami"),
            "dialogues": dialogues(utterances, vad),
            "one speaker": alone(utterances, vad),
        }
    for name in ENCODERS:
        if _tool("embedding", name, weights) is None:
            continue
        figures = [figure for title, clips in sets.items() for figure in diarization(name, title, clips, weights)]
        with _engine("embedding", name, weights) as encoder:
            figures += equal_error(name, encoder, utterances)
        yield f"Speakers: {name}", figures


def _tool(kind: Kind, name: str, home: Path) -> Tool | None:
    engine = registry.get(kind, name)
    options = engine.options()
    folders = {weight.id: models.find(weight, home) for weight in engine.weights(options)}
    found = {id: folder for id, folder in folders.items() if folder}
    return Tool(engine, options, {"name": name}, weights=found) if len(found) == len(folders) else None


def _engine(kind: Kind, name: str, home: Path) -> Any:
    tool = _tool(kind, name, home)
    assert tool, f"{name} has no weights"
    return tool.engine.load(tool.options, tool.weights, "cpu")


def librispeech(folder: Path) -> list[Utterance]:
    """All utterances; file names are SPEAKER-CHAPTER-NUMBER."""
    files = sorted(folder.glob("*/*.flac"))
    return [Utterance(f.parent.name, f.stem.rpartition("-")[0], soundfile.read(f, dtype="float32")[0]) for f in files]


def meetings(folder: Path) -> list[Clip]:
    """The clips of AMI with what people annotated."""
    truth: dict[str, list[Turn]] = {}
    for line in (folder / "ref.rttm").read_text(encoding="utf-8").splitlines():
        _, clip, _, start, length, _, _, speaker, *_ = line.split()
        truth.setdefault(clip, []).append(Turn(float(start), float(start) + float(length), speaker))
    return [Clip(soundfile.read(folder / f"{clip}.wav", dtype="float32")[0], tuple(t)) for clip, t in sorted(truth.items())]


def dialogues(utterances: Sequence[Utterance], vad: SpeechDetector) -> list[Clip]:
    """Simulated dialogues between 2, 3, 4, 2, 3 ... speakers."""
    people = sorted({u.speaker for u in utterances})
    made: list[Clip] = []
    for number in range(DIALOGUES):
        chosen = np.random.default_rng(5 + number).choice(people, 2 + number % 3, replace=False)
        made.append(_dialogue([u for u in utterances if u.speaker in chosen], vad, 100 + number, TURNS))
    return made


def alone(utterances: Sequence[Utterance], vad: SpeechDetector) -> list[Clip]:
    """Streams in which one speaker talks, two of each."""
    people = sorted({u.speaker for u in utterances})
    return [_dialogue([u for u in utterances if u.speaker == p], vad, seed, ALONE_TURNS) for seed in (7, 8) for p in people]


def _dialogue(utterances: Sequence[Utterance], vad: SpeechDetector, seed: int, turns: int) -> Clip:
    """`turns` cuts of equal loudness with 0.05 to 0.6 s between them, over faint noise; three times of four another speaks."""
    random = np.random.default_rng(seed)
    parts, truth, at, last = [np.zeros(HEAR_HZ // 2, np.float32)], list[Turn](), 0.5, ""
    for _ in range(turns):
        others = [u for u in utterances if u.speaker != last]
        same = [u for u in utterances if u.speaker == last]
        pool = others if others and (not same or random.random() < 0.75) else same
        one = pool[random.integers(len(pool))]
        length = int(random.uniform(1.0, 6.0) * HEAR_HZ)
        start = int(random.integers(0, max(1, len(one.sound) - length)))
        cut = one.sound[start : start + length] * np.float32(0.05 / np.sqrt(np.mean(one.sound**2)))
        truth += [Turn(at + s.start, at + s.end, one.speaker) for s in _speech(cut, vad)]
        pause = np.zeros(int(random.uniform(0.05, 0.6) * HEAR_HZ), np.float32)
        parts += [cut, pause]
        at, last = at + (len(cut) + len(pause)) / HEAR_HZ, one.speaker
    sound = np.concatenate(parts)
    return Clip((sound + random.normal(0, 0.0005, len(sound))).astype(np.float32), tuple(truth))


def _speech(sound: Samples, vad: SpeechDetector) -> tuple[Span, ...]:
    found = vad.probabilities(Audio((sound * np.float32(0.9 / np.abs(sound).max()))[None], HEAR_HZ))
    times = np.arange(len(found)) * VAD_FRAME / HEAR_HZ
    return activity.spans(found, times, len(sound) / HEAR_HZ, activity.Rules(min_silence_s=0.2, pad_s=0.0))


def diarization(name: str, title: str, clips: Sequence[Clip], weights: Path) -> list[Figure]:
    """The error over all clips of a set in percent of the speech in them, its parts, and how often the count is right."""
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    right = 0
    for clip, turns in zip(clips, _diarized(name, clips, weights), strict=True):
        whole = Timeline([Segment(0, len(clip.sound) / HEAR_HZ)])
        metric(_annotation(clip.truth), _annotation(turns), uem=whole)
        right += len({t.speaker for t in turns}) == len({t.speaker for t in clip.truth})
    total: float = metric["total"]
    parts = ", ".join(f"{part} {100 * metric[key] / total:.1f}" for part, key in PARTS.items())
    note = f"{parts}; number of speakers right in {right} of {len(clips)}"
    limit = LIMITS.get((name, title))
    what, values = f"DER, {title} ({len(clips)} clips)", (100 * abs(metric),)
    figures = [fixed(what, "%", values, limit, note) if limit else Figure(what, "%", values, note=note)]
    if title == "one speaker" and name == "resemblyzer":
        figures.append(
            fixed("one speaker taken for several", f"of {len(clips)}", (float(len(clips) - right),), len(clips) / 10)
        )
    return figures


PARTS = {"missed": "missed detection", "false": "false alarm", "confused": "confusion"}


def _annotation(turns: Sequence[Turn]) -> Annotation:
    made = Annotation()
    for number, turn in enumerate(turns):
        made[Segment(turn.start, turn.end), number] = turn.speaker
    return made


def _diarized(name: str, clips: Sequence[Clip], weights: Path) -> Iterator[tuple[Turn, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        with Run(store, Path(folder)) as run:
            for kind, engine in (("vad", "silero"), ("embedding", name)):
                tool = _tool(kind, engine, weights)
                assert tool, f"{engine} has no weights"
                run.tools[kind] = tool
            for clip in clips:
                file = Path(folder) / "clip.wav"
                soundfile.write(file, clip.sound, HEAR_HZ, "PCM_24")
                source = run.step(listen.probe, run.adopt(file))
                heard = run.step(listen.extract, source, listen.audio_track(source, None))
                yield listening.start_diarization(run, listening.detect(run, heard), None).result().turns
        store.close()


def equal_error(name: str, encoder: SpeakerEncoder, utterances: Sequence[Utterance]) -> list[Figure]:
    """Equal error rates by length of the two sounds compared, trials of one chapter apart from the others."""
    first, second = np.triu_indices(len(utterances), 1)
    same = np.array([utterances[a].speaker == utterances[b].speaker for a, b in zip(first, second, strict=True)])
    together = np.array([utterances[a].chapter == utterances[b].chapter for a, b in zip(first, second, strict=True)])
    figures: list[Figure] = []
    for length in LENGTHS_S:
        rows = np.concatenate([encoder.embed(Audio(u.sound[None], HEAR_HZ), [_middle(u.sound, length)]) for u in utterances])
        alike = (rows @ rows.T)[first, second]
        for kind, chosen in (("same chapter", same & together), ("other chapter", same & ~together)):
            if chosen.any():
                rate, threshold = eer(alike[chosen], alike[~same])
                what = f"EER, {'whole utterances' if length is None else f'{length:g} s'}, {kind}"
                note = f"{chosen.sum()} trials against {(~same).sum()}, at distance {1 - threshold:.2f}"
                limit = EER_LIMITS.get((name, length))
                figures.append(
                    fixed(what, "%", (100 * rate,), limit, note) if limit else Figure(what, "%", (100 * rate,), note=note)
                )
    return figures


def _middle(sound: Samples, length_s: float | None) -> Span:
    whole = len(sound) / HEAR_HZ
    kept = whole if length_s is None else min(length_s, whole)
    return Span((whole - kept) / 2, (whole + kept) / 2)


def eer(same: NDArray[Any], different: NDArray[Any]) -> tuple[float, float]:
    """The rate at which as many of the `same` are below a threshold as of the `different` above it, and the threshold."""
    at = np.unique(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), at) / len(same)
    false = 1 - np.searchsorted(np.sort(different), at) / len(different)
    nearest = int(np.abs(missed - false).argmin())
    return float(missed[nearest] + false[nearest]) / 2, float(at[nearest])


if __name__ == "__main__":
    raise SystemExit(main())
