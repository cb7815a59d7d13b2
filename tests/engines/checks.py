"""What engines that listen or separate may answer, as checks, and sounds to give them. test_faults.py proves the checks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from polydub.audio.signal import resample
from polydub.types import HEAR_HZ, RATE_HZ, VAD_FRAME, Audio, Samples, Segment, Span, Turn, Word

FAR_BELOW = 1e-4  # of the mixture's energy: -40 dB
GATE_S = 0.5  # round a span, within which dialogue may fade


def buzz(length_s: float, rate_hz: int = HEAR_HZ, channels: int = 1) -> Audio:
    """A voiced buzz in syllables."""
    at = np.arange(round(length_s * rate_hz)) / rate_hz
    one = sum(np.sin(2 * np.pi * 140 * n * at + n) / n for n in range(1, 12)) * np.sin(2 * np.pi * 2 * at) ** 2
    levels = np.linspace(0.05, 0.1, channels)[:, np.newaxis]
    return Audio((levels * one).astype(np.float32), rate_hz)


def silence(frames: int, rate_hz: int = HEAR_HZ, channels: int = 1) -> Audio:
    return Audio(np.zeros((channels, frames), np.float32), rate_hz)


def recorded(path: Path, rate_hz: int = HEAR_HZ) -> Audio:
    """A recording, mono, near full scale."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = resample(samples.T.mean(axis=0, keepdims=True), rate, rate_hz)
    return Audio(mono * np.float32(0.9 / np.abs(mono).max()), rate_hz)


def part(sound: Audio, start: float, end: float) -> Audio:
    return Audio(sound.samples[:, round(start * sound.rate_hz) : round(end * sound.rate_hz)], sound.rate_hz)


def check_probabilities(found: Sequence[float], samples: int) -> None:
    """One probability for each frame, the last of which may be short."""
    assert len(found) == math.ceil(samples / VAD_FRAME)
    assert all(isinstance(p, float) and 0 <= p <= 1 for p in found)


def check_segments(found: Iterable[Segment], duration: float) -> list[Segment]:
    """In order, inside the sound, words inside their segment and in order, all of it text that can be written."""
    segments = list(found)
    assert all(a.start <= b.start for a, b in pairwise(segments))
    for segment in segments:
        _inside(segment, Span(0.0, duration))
        assert segment.text.encode("utf-8").strip()
        assert all(a.start <= b.start for a, b in pairwise(segment.words))
        for word in segment.words:
            _inside(word, segment)
            assert word.text.encode("utf-8").strip()
            assert word.confidence is None or 0 <= word.confidence <= 1
    return segments


def _inside(span: Span, around: Span) -> None:
    assert math.isfinite(span.start) and math.isfinite(span.end)
    assert around.start <= span.start <= span.end <= around.end


def check_nothing_invented(found: Iterable[Segment]) -> None:
    """No words where nothing sounds."""
    assert not [segment.text for segment in found]


def check_no_loop(segments: Sequence[Segment]) -> None:
    """No text that follows itself again and again."""
    texts = [segment.text for segment in segments]
    assert not any(len(set(texts[n : n + 4])) == 1 for n in range(len(texts) - 3))


def check_words(found: Sequence[Word], text: str, duration: float) -> None:
    """Each word of the text once, as it is spelt, none before the one before it."""
    assert [word.text for word in found] == text.split()
    assert all(a.start <= b.start and a.end <= b.end for a, b in pairwise(found))
    for word in found:
        _inside(word, Span(0.0, duration))


def check_turns(found: Sequence[Turn], duration: float) -> None:
    """In order, inside the sound, each of somebody."""
    assert [turn.start for turn in found] == sorted(turn.start for turn in found)
    for turn in found:
        _inside(turn, Span(0.0, duration))
        assert turn.start < turn.end
        assert turn.speaker


def check_rows(rows: Samples, windows: Sequence[Span]) -> None:
    """One row of length 1 for each window."""
    assert rows.dtype == np.float32 and rows.ndim == 2 and len(rows) == len(windows)
    assert rows.shape[1] > 1
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)


def check_dialogue(dialogue: Samples | None, sound: Audio) -> Samples:
    """A part of the sound: of its shape, finite, no louder than makes sense, and the rest adds up to the sound."""
    assert dialogue is not None
    assert dialogue.shape == sound.samples.shape and dialogue.dtype == np.float32
    assert np.isfinite(dialogue).all()
    background = sound.samples - dialogue
    assert np.abs(background + dialogue - sound.samples).max(initial=0) < 2**-22
    return dialogue


def check_silent_outside(dialogue: Samples, sound: Audio, speech: Sequence[Span]) -> None:
    """Nothing where nobody speaks."""
    outside = np.ones(dialogue.shape[1], bool)
    for span in speech:
        outside[max(0, round((span.start - GATE_S) * RATE_HZ)) : round((span.end + GATE_S) * RATE_HZ)] = False
    assert energy(dialogue[:, outside]) <= FAR_BELOW * energy(sound.samples[:, outside])


def energy(samples: Samples) -> float:
    """Sum of squares."""
    return float(np.sum(np.square(samples, dtype=np.float64)))
