"""When lines are audible in the source, and what is spoken as one take: a line, or a part of it between two pauses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from polydub.types import Line, Phrase, Span


@dataclass(frozen=True, slots=True)
class Mouth(Span):
    """When a line is audible in the source: from its first sound to its last.

    Attributes: id: of the line. pauses: silences inside it that a listener notices, in order.
    """

    id: str = ""
    pauses: tuple[Span, ...] = ()


def phrases(lines: Sequence[Line], mouths: Mapping[str, Mouth], predict: Callable[[Line, str], float]) -> tuple[Phrase, ...]:
    """What is to be spoken, in the order of `lines`; lines without text are left out.

    `mouths` are by line id; a line without one is taken to be audible in its whole span. `predict` tells how many seconds
    a text takes in the voice of a line.
    """
    return tuple(Phrase(x.start, x.end, x.id, x.speaker, x.text) for x in lines if x.text.strip())
