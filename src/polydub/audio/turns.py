"""From speech and the labels of the windows in it to turns: the last step of embedded diarization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polydub.audio import clusters
from polydub.types import Span, Turn, seconds

LONG, SHORT = (1.6, 0.4), (1.0, 0.5)  # seconds, every so many seconds: to find speakers, to find where they change
MOST_CLUSTERED = 1500  # windows; their distances take 18 MB, and time grows with the square
LITTLE_S = 2.0  # less speech is one speaker
FAR = 0.3  # probability from which a frame is speech that is told apart, also from afar
TRIM_S = 0.05  # taken off the padding of speech at both ends: miss and false alarm are then nearest to each other


def name(number: int) -> str:
    """Of a speaker, by first appearance."""
    return f"SPEAKER_{number:02d}"


def turns(spans: Sequence[Span], labels: clusters.Labels) -> tuple[Turn, ...]:
    """Turns from the labels of all SHORT windows; the padding of speech is trimmed where it touches no other speech."""
    starts, ends = {span.start for span in spans}, {span.end for span in spans}
    made: list[Turn] = []
    at = 0
    for span in spans:
        around = clusters.windows(span, *SHORT)
        for part, label in clusters.runs(span, around, labels[at : at + len(around)]):
            start = part.start + (TRIM_S if part.start == span.start and span.start not in ends else 0.0)
            end = part.end - (TRIM_S if part.end == span.end and span.end not in starts else 0.0)
            _add(made, Turn(seconds(start), seconds(end), name(label)))
        at += len(around)
    return tuple(made)


def _add(made: list[Turn], turn: Turn) -> None:
    """Appends a turn, to the one before when the same speaker goes on; turns without length are dropped."""
    last = made[-1] if made else None
    if last and last.speaker == turn.speaker and last.end == turn.start:
        made[-1] = replace(last, end=turn.end)
    elif turn.end > turn.start:
        made.append(turn)
