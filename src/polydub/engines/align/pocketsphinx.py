"""PocketSphinx: when each word of a known English text is spoken.

Words that its dictionary does not have (names, numbers, rare words) are pronounced by espeak-ng, which is GPL and stays a
separate program (`phonemes_worker.py`).
"""

from __future__ import annotations

import math
import os
import re
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Info, Options, Weights
from polydub.engines.workers import Program, cores
from polydub.text.arpabet import arpabet, readings, tokens
from polydub.types import Audio, Word, seconds

NAME = "pocketsphinx"
ALIGNER = Path(__file__).parents[1] / "pocketsphinx_worker.py"
PHONEMES = Path(__file__).with_name("phonemes_worker.py")
FRAME_S = 0.01
LEVEL, SILENT = 0.9, 1e-3  # peak that sound is brought to; a lower peak than this is silence
# Mean ln likelihood of a word's frames, relative to the sound that fits best. Medians over a text in clean speech: -3 to -5.4
# where it is what is said, -7.7 and lower where it is not; with noise or music 10 dB below the speech: -5.7 and -6.5
# (benchmarks/recognition.py). A word at MATCH gets a confidence of 0.5.
MATCH, STEEPNESS = -6.2, 2.0
_ALTERNATE = re.compile(r"\(\d+\)$")


class AlignOptions(Options):
    """Options of the aligner. None of them changes its answers."""

    workers: int = Field(
        0, ge=0, le=256, description="texts aligned at once; 0 = one per core", json_schema_extra={"identity": False}
    )
    timeout_s: float = Field(600.0, gt=0, description="seconds one text may take", json_schema_extra={"identity": False})


@dataclass(frozen=True, slots=True)
class _Heard:
    """A token found in the sound: seconds, and the mean ln likelihood of its frames."""

    start: float
    end: float
    score: float


class PocketSphinxAligner:
    """The Aligner: thread-safe, each call is a child of the worker."""

    def __init__(self, aligner: Program, phonemes: Program) -> None:
        self._aligner, self._phonemes = aligner, phonemes
        self._known: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def align(self, speech: Audio, text: str, language: str) -> tuple[Word, ...] | None:
        """Times of the whitespace-separated words of `text`, multiples of 10 ms; a confidence below 0.5 is a doubtful word.

        Words of mere punctuation take no time, at the end of the word before. None when the text is not what is said: no
        path through the sound, or half of the words unlike it. A text without words gives them all at 0, without
        confidence. `language` is not looked at: everything is taken for English. Raises: EngineFailed.
        """
        words = text.split()
        spoken = [list(tokens(word)) for word in words]
        heard = self._heard(speech, [token for several in spoken for token in several])
        if heard is None:
            return None
        rest = iter(heard)
        made: list[Word] = []
        at = 0.0
        for word, several in zip(words, spoken, strict=True):
            found = [h for _ in several if (h := next(rest)) is not None]
            if found:
                score = sum(h.score * (h.end - h.start) for h in found) / sum(h.end - h.start for h in found)
                made.append(Word(found[0].start, found[-1].end, word, round(confidence(score), 3)))
                at = found[-1].end
            else:
                made.append(Word(at, at, word))
        scored = [w.confidence for w in made if w.confidence is not None]
        return tuple(made) if not scored or median(scored) >= confidence(MATCH) else None

    def _heard(self, speech: Audio, spoken: Sequence[str]) -> list[_Heard | None] | None:
        """Each token's place in the sound (None: it has no sound); None when there is no path through it."""
        import numpy as np

        samples = speech.samples[0]
        peak = float(np.abs(samples).max(initial=0.0))
        if not spoken:
            return []
        if not peak >= SILENT:
            return None
        pcm = (samples * np.float32(LEVEL * 32767 / peak)).round().astype(np.int16).tobytes()
        answer = self._ask(spoken, pcm)
        if "missing" in answer:
            self._pronounce(answer["missing"])
            answer = self._ask(spoken, pcm)
        said = [token for token in spoken if self._known.get(token) != ()]
        rows = [row for row in answer["words"] if not row[0].startswith(("<", "["))]
        if [_ALTERNATE.sub("", name) for name, *_ in rows] != said or not said:
            return None
        found = iter(_row(row, speech.duration) for row in rows)
        return [next(found) if self._known.get(token) != () else None for token in spoken]

    def _ask(self, spoken: Sequence[str], pcm: bytes) -> Mapping[str, Any]:
        extra = {token: self._known[token] for token in dict.fromkeys(spoken) if self._known.get(token)}
        said = [token for token in spoken if self._known.get(token) != ()]
        return self._aligner.ask({"words": said, "extra": extra}, pcm) if said else {"words": []}

    def _pronounce(self, missing: Sequence[str]) -> None:
        """Asks espeak-ng for tokens that the dictionary does not have; what has no sound gets no pronunciation."""
        with self._lock:
            new = [(token, reading) for token in missing if token not in self._known for reading in readings(token)]
            if not new:
                return
            answer = self._phonemes.ask({"texts": [reading for _, reading in new]})
            found: dict[str, list[str]] = {token: [] for token, _ in new}
            for (token, _), ipa in zip(new, answer["phonemes"], strict=True):
                phones = " ".join(arpabet(ipa))
                if phones and phones not in found[token]:
                    found[token].append(phones)
            self._known.update({token: tuple(several) for token, several in found.items()})


def _row(row: Sequence[Any], duration: float) -> _Heard:
    _, first, last, score = row
    end = min((last + 1) * FRAME_S, duration)
    return _Heard(seconds(min(first * FRAME_S, end)), int(end * 1000 + 1e-6) / 1000, score)


def confidence(score: float) -> float:
    """0 to 1 for a mean ln likelihood of frames: 0.5 at MATCH."""
    return 1 / (1 + math.exp(STEEPNESS * (MATCH - score)))


def _check(_options: AlignOptions) -> Availability:
    if not hasattr(os, "fork"):
        return Availability(False, "PocketSphinx needs Linux or macOS: its worker forks", "use WSL or a container")
    for package, name in (("pocketsphinx", "PocketSphinx"), ("espeakng_loader", "espeak-ng")):
        if find_spec(package) is None:
            return Availability(False, f"{name} is not installed", f"pip install --force-reinstall {package.replace('_', '-')}")
    return READY


def _version(_options: AlignOptions) -> str:
    """Of espeak-ng, whose pronunciations move the words."""
    try:
        return f"espeakng-loader {version('espeakng-loader')}"
    except PackageNotFoundError:
        return ""


@contextmanager
def _load(options: AlignOptions, _weights: Weights, _device: str) -> Generator[PocketSphinxAligner]:
    import espeakng_loader  # pyright: ignore[reportMissingTypeStubs]

    library, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    command = [sys.executable, "-I", "-B", str(ALIGNER), "align"]
    pronounce = [sys.executable, "-I", "-S", "-B", str(PHONEMES), library, data, "en-us"]
    aligner = Program("PocketSphinx", command, options.workers or cores(), options.timeout_s)
    phonemes = Program("espeak-ng", pronounce, 1, options.timeout_s)
    try:
        yield PocketSphinxAligner(aligner, phonemes)
    finally:
        aligner.close()
        phonemes.close()


ENGINE = Engine(
    info=Info(
        kind="align",
        name=NAME,
        summary="times of English words to about 30 ms",
        licence="BSD-2-Clause",
        homepage="https://github.com/cmusphinx/pocketsphinx",
        package="pocketsphinx",
        memory_mib=(150, 0),
        parallel=0,
    ),
    options=AlignOptions,
    load=_load,
    check=_check,
    languages=lambda options: frozenset({"en"}),
    version=_version,
)
