"""How lines are said: by marks in their text, by how the original says them, by what a person asks for."""

from __future__ import annotations

from polydub.runner import Run
from polydub.slowing import Footage
from polydub.wants import Wanted


def expressed(run: Run, film: Footage, want: Wanted) -> Footage:
    """`film` whose lines tell how they are said."""
    return film
