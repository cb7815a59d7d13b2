"""What a stream leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polydub.types import Notice


@dataclass(frozen=True)
class Streamed:
    """What a stream left. `film`: the whole film, or None where only segments were wanted. `called`: calls that were made.
    `report`: what is said in it, line by line."""

    language: str
    playlist: Path
    manifest: Path
    film: Path | None
    pieces: int
    segments: int
    duration: float
    notices: tuple[Notice, ...]
    called: int
    report: Path | None = None
