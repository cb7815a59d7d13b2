"""Several windows of a long sound decoded by Whisper at once, which a card does in little more time than one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from logging import getLogger
from typing import Any

from polydub.types import HEAR_HZ

WINDOW_S = 28.0  # a little less than Whisper's 30 s
BREATH_S = 2.0  # a longer silence is not decoded
EDGE_MS = 200  # heard before and after speech
LEAST_S = 0.1
NO_MEMORY = "out of memory"  # in what CTranslate2 says; it has no class for it
log = getLogger(__name__)
Clip = tuple[int, int]  # first sample, sample after the last


def clips(samples: Any, step: int) -> list[Clip]:
    """Where somebody speaks in `samples` (HEAR_HZ), in windows of at most WINDOW_S whose lengths are multiples of `step`."""
    from faster_whisper import vad  # pyright: ignore[reportMissingTypeStubs]

    detector: Any = vad
    options = detector.VadOptions(
        max_speech_duration_s=WINDOW_S - 2 * EDGE_MS / 1000, min_silence_duration_ms=160, speech_pad_ms=EDGE_MS
    )
    spans: list[Clip] = [(int(span["start"]), int(span["end"])) for span in detector.get_speech_timestamps(samples, options)]
    merged: list[Clip] = []
    for start, end in spans:
        if merged and end - merged[-1][0] <= WINDOW_S * HEAR_HZ and start - merged[-1][1] <= BREATH_S * HEAR_HZ:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    whole = [(start, start + (end - start) // step * step) for start, end in merged]
    return [(start, end) for start, end in whole if end - start >= LEAST_S * HEAR_HZ]


def decoded(
    model: Any, samples: Any, found: list[Clip], settings: Mapping[str, Any], size: int
) -> Iterator[tuple[Clip, list[Any]]]:
    """For each clip what faster-whisper answers, `size` clips at a time; times count from the clip's start.

    settings: of BatchedInferencePipeline.transcribe, with the language. Where a card has too little memory for so many, half
    as many are decoded at a time from then on. Raises: what CTranslate2 raises, want of memory for a single clip too.
    """
    first = 0
    while first < len(found):
        some = found[first : first + size]
        try:
            answers = _answers(model, samples, some, settings)
        except RuntimeError as error:
            if len(some) == 1 or NO_MEMORY not in str(error).lower():
                raise
            size = max(1, len(some) // 2)
            log.warning("faster-whisper: %s; decoding %d windows at once from now on", error, size)
            continue
        yield from answers
        first += len(some)


def _answers(model: Any, samples: Any, some: list[Clip], settings: Mapping[str, Any]) -> list[tuple[Clip, list[Any]]]:
    """As `decoded`, all clips at a time."""
    from faster_whisper import BatchedInferencePipeline  # pyright: ignore[reportMissingTypeStubs]

    begin = some[0][0]
    marks = [{"start": (start - begin) / HEAR_HZ, "end": (end - begin) / HEAR_HZ} for start, end in some]
    pipeline: Any = BatchedInferencePipeline(model)
    segments, _ = pipeline.transcribe(
        samples[begin : some[-1][1]], clip_timestamps=marks, batch_size=len(some), without_timestamps=False, **settings
    )
    heard = {seek: list(group) for seek, group in groupby(segments, key=lambda segment: segment.seek)}
    return [
        (clip, [_moved(answer, -mark["start"]) for answer in heard.get(int(mark["start"] * model.frames_per_second), [])])
        for clip, mark in zip(some, marks, strict=True)
    ]


def _moved(answer: Any, by_s: float) -> Any:
    """The answer, a dataclass of faster-whisper with words, `by_s` seconds later."""
    for part in (answer, *(answer.words or ())):
        part.start, part.end = float(part.start) + by_s, float(part.end) + by_s
    return answer
