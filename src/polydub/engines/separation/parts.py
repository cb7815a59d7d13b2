"""Dialogue part by part: each stretch of speech is judged by itself and what is near it.

So the dialogue at a moment does not depend on where a film is cut into blocks, and a film of any length takes little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from polydub.types import RATE_HZ, Samples, Span

CROSS = RATE_HZ // 20  # samples over which two parts that touch are mixed: no cut is heard
Answer = Callable[[int, int, int], Samples]


def parts(speech: Sequence[Span], frames: int, longest_s: float) -> Iterator[tuple[int, int]]:
    """(first sample, last + 1) of each part: one for each span, more of equal length for one longer than `longest_s`."""
    end = 0
    for span in speech:
        start, stop = max(end, round(span.start * RATE_HZ)), min(frames, round(span.end * RATE_HZ))
        count = -(-(stop - start) // round(longest_s * RATE_HZ))
        for n in range(count):
            yield start + (stop - start) * n // count, start + (stop - start) * (n + 1) // count
        end = max(end, stop)


def assembled(samples: Samples, speech: Sequence[Span], longest_s: float, answer: Answer) -> Samples:
    """What `answer(start, stop, lead)` gives for the parts of `samples` (channels, frames), zeros elsewhere.

    It answers with sound of the shape (channels, stop - start + lead), of which the `lead` samples before `start` are mixed
    into the part before, where two touch.
    """
    import numpy as np

    joined = np.zeros_like(samples)
    end = 0
    for start, stop in parts(speech, samples.shape[1], longest_s):
        lead = min(CROSS, start) if start == end else 0
        found = answer(start, stop, lead)
        fade = np.linspace(0, 1, lead, endpoint=False, dtype=np.float32)
        joined[:, start - lead : start] *= 1 - fade
        joined[:, start - lead : start] += found[:, :lead] * fade
        joined[:, start:stop] = found[:, lead:]
        end = stop
    return joined
