"""What a person has set, laid over what the machine has made."""

from __future__ import annotations

from collections.abc import Sequence

from polydub.runner import Run
from polydub.stages import translate
from polydub.types import Line


def laid_over(run: Run, written: Sequence[Line]) -> tuple[Line, ...]:
    """The lines that are spoken. Raises: BadInput for an edit that no line can take."""
    return translate.by_hand(written, run.edited("lines", written))
