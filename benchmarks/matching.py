"""How near matched voices come to real speakers, how far they stay from each other, and what it costs.

OPENBLAS_NUM_THREADS=1 python benchmarks/matching.py --weights FOLDER     (with encoder.safetensors; else: fingerprint)

The variable keeps the encoder's small matrices from being spread over cores that already work on other voices.

Nine people of ../shared/data: the first half of what each says is the portrait, the second half stands for the person when
it is judged who is nearest. Voices are judged by a sentence that matching has not heard. Every run starts with an empty store.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from polydub import matching
from polydub.audio import match as spectra
from polydub.audio import signal
from polydub.engines import registry
from polydub.engines.base import Kind, Weights
from polydub.engines.pool import Tool
from polydub.media.flac import read_flac, write_flac
from polydub.runner import Run
from polydub.stages import match, speak
from polydub.stages.match import Portrait
from polydub.store import Store
from polydub.types import BLOCK, HEAR_HZ, Part, Samples, Span, Speaker, Speech, Take, Turn, Voice

SHARED = Path(os.environ.get("POLYDUB_SHARED_DATA") or machine.ROOT / "../shared/data").resolve()
PEOPLE = {
    **{name: f"librispeech-speakers/{name}/*.flac" for name in ("1688", "1998", "2033", "2414", "2609")},
    "LJ": "ljspeech/LJ001-000*.wav",
    "Carter": "voices/en-Carter_man.wav",
    "Maya": "voices/en-Maya_woman.wav",
    "JFK": "whisper-jfk/jfk.flac",
}
SENTENCES = {
    "de": "Der Präsident kündigte gestern an, dass die neuen Maßnahmen im kommenden März in Kraft treten werden.",
    "en": "The president announced yesterday that the new measures will come into force in March, sources say.",
    "es": "El presidente anunció ayer que las nuevas medidas entrarán en vigor el próximo mes de marzo.",
    "fr": "Le président a annoncé hier que les nouvelles mesures entreront en vigueur au mois de mars prochain.",
}
DNSMOS_HZ, DNSMOS_SAMPLES = 16_000, 144_160
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One film of `speakers` people dubbed into `language`; pairs are (voices in the engine's order, matched voices).

    Attributes: seconds: per speaker, wall. likeness: mean cosine to the own speaker. nearest: share of voices whose nearest
    speaker is the right one. alike, alike_max: cosines among the voices. semitones: mean error of the median pitch.
    spectrum_db: mean distance of long-term spectra. dnsmos: mean overall score. people: cosines of real people: two halves
    of one, different ones in the mean and at most.
    """

    language: str
    encoder: str
    speakers: int
    seconds: float
    likeness: tuple[float, float]
    nearest: tuple[float, float]
    alike: tuple[float, float]
    alike_max: tuple[float, float]
    semitones: tuple[float, float]
    spectrum_db: tuple[float, float]
    dnsmos: tuple[float, float]
    people: tuple[float, float, float]


def measure(weights: Weights, languages: Sequence[str] = tuple(SENTENCES), names: Sequence[str] = tuple(PEOPLE)) -> list[Row]:
    """A row for each language. `weights`: of the speaker encoder; without any the fingerprint is measured."""
    with tempfile.TemporaryDirectory(prefix="polydub-matching-") as folder:
        encoder = "resemblyzer" if weights else "fingerprint"
        store = Store(Path(folder) / "people")
        with _run(store, encoder, weights) as run:
            halves = {name: _portraits(run, SHARED / "media", PEOPLE[name]) for name in names}
        store.close()
        return [_row(Path(folder) / language, halves, encoder, weights, language) for language in languages]


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table: voices as they come, then matched."""
    lines = ["| into | people | s a speaker | likeness | right one nearest | alike, mean | alike, most | pitch off, semitones |"
             " spectrum off, dB | DNSMOS | real people: same, mean, most |",
             "|---|---:|---:|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        pairs = (row.likeness, row.nearest, row.alike, row.alike_max, row.semitones, row.spectrum_db, row.dnsmos)
        cells = [f"{before:.2f} -> **{after:.2f}**" for before, after in pairs]
        real = ", ".join(f"{x:.2f}" for x in row.people)
        lines.append(f"| {row.language} ({row.encoder}) | {row.speakers} | {row.seconds:.1f} | {' | '.join(cells)} | {real} |")
    return lines


def _row(folder: Path, halves: Mapping[str, tuple[Portrait, Portrait]], encoder: str, weights: Weights, language: str) -> Row:
    store = Store(folder)
    with _run(store, encoder, weights) as run:
        people = {name: first for name, (first, _) in halves.items()}
        began = time.perf_counter()
        found = matching.match_voices(run, people, language)
        seconds = (time.perf_counter() - began) / len(people)
        listed = run.step(speak.cast, tuple(Speaker(name) for name in people), language, {}).voices
        plain = [listed[name] for name in people]
        sides = [_judge(run, voices, halves, language) for voices in (plain, [m.voice for m in found.values()])]
    store.close()
    pairs: dict[str, Any] = {name: (sides[0][name], sides[1][name]) for name in sides[0]}
    return Row(language, encoder, len(people), seconds, people=_real(halves), **pairs)


def _judge(
    run: Run, voices: Sequence[Voice], halves: Mapping[str, tuple[Portrait, Portrait]], language: str
) -> dict[str, float]:
    """Everything that is measured of one set of voices, by a sentence that was not used to choose them."""
    takes = run.map(speak.synthesize, [Part(SENTENCES[language], language, voice) for voice in voices])
    (heard,) = run.map(match.audition, [takes])
    firsts, seconds = zip(*halves.values(), strict=True)
    prints, own = _prints(heard), _prints(firsts)
    apart = ~np.eye(len(heard), dtype=bool)
    among = prints @ prints.T
    pitch = [
        abs(12 * np.log2(a.median_hz / b.median_hz)) for a, b in zip(heard, firsts, strict=True) if a.median_hz and b.median_hz
    ]
    return {
        "likeness": float(np.mean(np.sum(prints * own, axis=1))),
        "nearest": float(np.mean((prints @ _prints(seconds).T).argmax(axis=1) == np.arange(len(heard)))),
        "alike": float(among[apart].mean()),
        "alike_max": float(among[apart].max()),
        "semitones": float(np.mean(pitch)),
        "spectrum_db": float(
            np.mean([spectra.distance_db(a.spectrum, b.spectrum) for a, b in zip(heard, firsts, strict=True)])
        ),
        "dnsmos": float(np.mean([dnsmos(_sound(run, take)) for take in takes])),
    }


def _real(halves: Mapping[str, tuple[Portrait, Portrait]]) -> tuple[float, float, float]:
    firsts, seconds = zip(*halves.values(), strict=True)
    cosines = _prints(firsts) @ _prints(seconds).T
    apart = ~np.eye(len(cosines), dtype=bool)
    return float(np.diag(cosines).mean()), float(cosines[apart].mean()), float(cosines[apart].max())


def _prints(portraits: Sequence[Portrait]) -> Numbers:
    return np.array([p.voiceprint for p in portraits])


def _sound(run: Run, take: Take) -> Samples:
    whole = read_flac(run.store.path(take.sound), 0, BLOCK)
    return signal.resample(whole, 48_000, DNSMOS_HZ)[0]


def _portraits(run: Run, media: Path, pattern: str) -> tuple[Portrait, Portrait]:
    """Of the first and of the second half of one person's recordings."""
    sounds = [_read(file) for file in sorted(media.glob(pattern))]
    if len(sounds) == 1:
        half = sounds[0].shape[1] // 2
        sounds = [sounds[0][:, :half], sounds[0][:, half:]]
    middle = len(sounds) // 2
    return _portrait(run, sounds[:middle]), _portrait(run, sounds[middle:])


def _portrait(run: Run, sounds: Sequence[Samples]) -> Portrait:
    """As of a film in which nobody else speaks."""
    whole = np.concatenate(sounds, axis=1)
    blocks = []
    with run.store.scratch() as scratch:
        for at in range(-(-3 * whole.shape[1] // BLOCK)):
            part = whole[:, -(-at * BLOCK // 3) : -(-(at + 1) * BLOCK // 3)]
            write_flac(scratch / "block.flac", part, HEAR_HZ)
            blocks.append(run.store.keep(scratch / "block.flac"))
    speech = Speech(tuple(blocks), whole.shape[1], (Span(0, whole.shape[1] / HEAR_HZ),))
    return run.step(match.portray, match.best_excerpts([Turn(0, speech.duration, "1")], speech, "1"))


def _read(file: Path) -> Samples:
    samples, rate_hz = sf.read(file, dtype="float32", always_2d=True)
    return signal.resample(np.ascontiguousarray(samples.mean(axis=1)[np.newaxis]), rate_hz, HEAR_HZ)


def _run(store: Store, encoder: str, weights: Weights) -> Run:
    run = Run(store, store.folder)
    run.tools["tts"], run.tools["embedding"] = _tool("tts", "espeak-ng", {}), _tool("embedding", encoder, weights)
    return run


def _tool(kind: Kind, name: str, weights: Weights) -> Tool:
    engine = registry.get(kind, name)
    options = engine.options()
    return Tool(engine, options, registry.identity(engine, options, "cpu"), "cpu", weights)


def dnsmos(sound: Samples, data: Path = SHARED) -> float:
    """Overall score of DNSMOS P.835 (Reddy et al., ICASSP 2022), 1 to 5."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnxruntime.InferenceSession(str(data / "models/dnsmos/sig_bak_ovr.onnx"), options)
    whole = np.tile(sound, -(-DNSMOS_SAMPLES // len(sound)))[:DNSMOS_SAMPLES]
    raw = float(model.run(None, {model.get_inputs()[0].name: whole[np.newaxis]})[0][0][2])
    return -0.06766283 * raw**2 + 1.11546468 * raw + 0.04602535


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder of Resemblyzer's weights")
    parser.add_argument("--languages", nargs="+", default=list(SENTENCES), choices=list(SENTENCES))
    parser.add_argument("--people", nargs="+", default=list(PEOPLE), choices=list(PEOPLE))
    given = parser.parse_args()
    weights = {"resemblyzer": given.weights.resolve()} if given.weights else {}
    print("\n".join(table(measure(weights, given.languages, given.people))))


if __name__ == "__main__":
    main()
