"""PocketSphinx: recognition of English without any download, and weak: about one word in three is wrong on clean speech.

The library decodes on one core and holds the interpreter's lock, so pieces are recognised by children of a program of its
own (`engines/pocketsphinx_worker.py`), one per core at most.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Info, Options, Weights
from polydub.engines.workers import Program, cores
from polydub.types import Audio, Segment, Word, seconds

NAME = "pocketsphinx"
WORKER = Path(__file__).parents[1] / "pocketsphinx_worker.py"
FRAME_S = 0.01
LEVEL = 0.9  # peak that every piece is brought to; the recogniser hears little in quiet sound
SILENT = 1e-3  # a peak below -60 dBFS is nobody's voice, only noise to be turned up
LEAST_S = 0.1  # shorter sound holds no word
BREATH_S = 0.4  # a pause of this length ends a segment
_ALTERNATE = re.compile(r"\(\d+\)$")
_FILLERS = ("<", "[", "+")  # "<sil>", "[NOISE]", "++uh++"


class PocketSphinxOptions(Options):
    """Options of PocketSphinx. None of them changes what is recognised."""

    workers: int = Field(
        0, ge=0, le=256, description="pieces recognised at once; 0 = one per core", json_schema_extra={"identity": False}
    )
    timeout_s: float = Field(
        600.0,
        gt=0,
        description="seconds one piece may take before its worker is replaced",
        json_schema_extra={"identity": False},
    )


class PocketSphinx:
    """The Transcriber: thread-safe, each call is a child of the worker."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def transcribe(self, speech: Audio, language: str | None) -> Iterator[Segment]:
        """Breath groups, lower case but for "I" and the first letter, without punctuation; word times are multiples of 10 ms.

        A word's confidence is its posterior probability among what else the recogniser thought of; it is often far too high.
        `language` is not looked at: everything is taken for English. The level of `speech` does not matter; a peak below
        -60 dBFS and sound shorter than 0.1 s give nothing. The same sound always gives the same words. Raises: EngineFailed.
        """
        import numpy as np

        samples = speech.samples[0]
        peak = float(np.abs(samples).max(initial=0.0))
        if speech.duration < LEAST_S or not peak >= SILENT:
            return
        pcm = (samples * np.float32(LEVEL * 32767 / peak)).round().astype(np.int16)
        answer = self._program.ask({}, pcm.tobytes())
        for group in breath_groups(words_of(answer["words"], speech.duration)):
            text = " ".join(word.text for word in group)
            yield Segment(group[0].start, group[-1].end, text=text, words=tuple(group))

    def identify(self, speech: Audio) -> tuple[str, float]:
        """English, of which it knows nothing."""
        return "en", 0.0


def words_of(found: Sequence[Any], duration: float) -> list[Word]:
    """Words from the worker's rows (name, first frame, last frame, probability), kept within `duration` s, without fillers."""
    words: list[Word] = []
    for name, first, last, probability in found:
        if not name.startswith(_FILLERS):
            start = min(first * FRAME_S, duration)
            end = min((last + 1) * FRAME_S, duration)
            text = _ALTERNATE.sub("", name)
            confidence = round(min(1.0, max(0.0, probability)), 3)
            words.append(Word(_floor(start), _floor(end), _capital(text) if re.match(r"i\b", text) else text, confidence))
    return words


def breath_groups(words: Sequence[Word]) -> list[list[Word]]:
    """`words` cut at pauses, the first letter of each group upper case."""
    groups: list[list[Word]] = []
    for word in words:
        if groups and seconds(word.start - groups[-1][-1].end) < BREATH_S:
            groups[-1].append(word)
        else:
            groups.append([Word(word.start, word.end, _capital(word.text), word.confidence)])
    return groups


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _floor(time: float) -> float:
    """On whole milliseconds, never later: rounding must not lead out of the sound."""
    return seconds(int(time * 1000 + 1e-6) / 1000)


def _check(_options: PocketSphinxOptions) -> Availability:
    if not hasattr(os, "fork"):
        return Availability(False, "PocketSphinx needs Linux or macOS: its worker forks", "use WSL or a container")
    if find_spec("pocketsphinx") is None:
        return Availability(False, "PocketSphinx is not installed", "pip install --force-reinstall pocketsphinx")
    return READY


def _remarks(_options: PocketSphinxOptions, _language: str) -> tuple[str, ...]:
    return (
        "PocketSphinx is a weak recogniser: about one word in three is wrong on clean speech, more with noise, music or "
        "accents; read what it wrote, or get a far better one with `polydub models pull faster-whisper-small`",
    )


@contextmanager
def _load(options: PocketSphinxOptions, _weights: Weights, _device: str) -> Generator[PocketSphinx]:
    command = [sys.executable, "-I", "-B", str(WORKER), "asr"]
    program = Program("PocketSphinx", command, options.workers or cores(), options.timeout_s)
    try:
        yield PocketSphinx(program)
    finally:
        program.close()


ENGINE = Engine(
    info=Info(
        kind="asr",
        name=NAME,
        summary="English without any download; weak: a demonstration rather than a tool",
        licence="BSD-2-Clause",
        homepage="https://github.com/cmusphinx/pocketsphinx",
        package="pocketsphinx",
        memory_mib=(180, 0),
        parallel=0,
        piece_s=15.0,
        features=frozenset({"word_times"}),
    ),
    options=PocketSphinxOptions,
    load=_load,
    check=_check,
    languages=lambda options: frozenset({"en"}),
    remarks=_remarks,
)
