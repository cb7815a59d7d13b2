"""The takes of lines: which there are, and as sound files to be listened to."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polydub import edits, project
from polydub.edits import Version
from polydub.overlay import whole
from polydub.review.reading import Reviewed
from polydub.spoken import Spoken
from polydub.store import Store
from polydub.types import RATE_HZ

FOLDER = "review"


@dataclass(frozen=True)
class Exported:
    """A take as a file: `review/<id>_v<N>.wav`, 48 kHz, mono, 24 bits, at the voice's own rate."""

    line: str
    number: int
    file: Path


def takes(dub: Reviewed, line: str) -> tuple[Version, ...]:
    """The versions of a line, the oldest first; none of a line that was never edited."""
    return edits.read(dub.folder, dub.language).takes.get(line, ())


def export_takes(dub: Reviewed, store: Store, lines: Sequence[str] | None = None) -> tuple[Exported, ...]:
    """Writes the takes of these lines (None = all) that are not yet there as files; tells all that are there.

    Those whose sound is gone from the store are left out. Raises StoreError when they cannot be written.
    """
    found: list[Exported] = []
    for id_, versions in edits.read(dub.folder, dub.language).takes.items():
        for version in versions if lines is None or id_ in lines else ():
            file = path(dub, id_, version.number)
            if not _there(file, version):
                if not whole(store, version.spoken):
                    continue
                project.write(file, wav(store, version.spoken))
            found.append(Exported(id_, version.number, file))
    return tuple(found)


def path(dub: Reviewed, line: str, number: int) -> Path:
    """Where a take lies, or would lie, as a file. A project of several languages has them apart."""
    several = len(list(dub.folder.glob("script.*.json"))) > 1
    folder = dub.folder / FOLDER / dub.language if several else dub.folder / FOLDER
    return folder / f"{re.sub(r'[^0-9A-Za-z-]', '_', line)}_v{number}.wav"


def wav(store: Store, spoken: Spoken) -> bytes:
    """A line as it was spoken, at the voice's own rate: WAV, 48 kHz, mono, 24 bits; its phrases with the source's pauses."""
    import numpy as np
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    from polydub.media.flac import read_flac

    parts: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    until: float | None = None
    for phrase in spoken.phrases:
        take = spoken.takes[phrase.id][0]
        if until is not None:
            parts.append(np.zeros(round(max(0.0, phrase.start - until) * RATE_HZ), np.float32))
        parts.append(read_flac(store.path(take.sound), 0, round(take.duration * RATE_HZ))[0])
        until = phrase.end
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), RATE_HZ, subtype="PCM_24", format="WAV")
    return file.getvalue()


def _there(file: Path, version: Version) -> bool:
    """Whether a take was written already; an older file of that name is of another take, from before the edits were deleted."""
    try:
        return file.stat().st_mtime >= version.when.timestamp()
    except OSError:
        return False
