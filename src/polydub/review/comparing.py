"""What a person changed against what the machine had made, and how two takes of a line differ."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polydub.edits import Manner, Version
from polydub.errors import BadInput, StoreError
from polydub.review import reading
from polydub.review.reading import Reviewed, State
from polydub.review.takes import export_takes, takes
from polydub.store import Store
from polydub.types import Line

_FIELDS = ("start", "end", "speaker", "source_text", "text", "voice")


@dataclass(frozen=True)
class Changed:
    """A line as a person set it, against the machine's. fields: name -> (the machine's, now); times in seconds.

    Attributes: new: it was made by a split, so there is nothing to compare it with. gone: it was merged into another one.
    """

    line: str
    fields: dict[str, tuple[Any, Any]]
    new: bool = False
    gone: bool = False


@dataclass(frozen=True)
class TakeFacts:
    """One take of a line: what it says, and what can be measured of it.

    Attributes: duration: seconds at the voice's own rate. loudness: LUFS, ungated. pitch: median in Hz, 0.0 where nothing is
    voiced. why: what brought it about. file: the take as sound.
    """

    number: int
    text: str
    voice: str
    seed: int
    why: str
    duration: float
    loudness: float
    pitch: float
    file: Path


def changes(dub: Reviewed, lines: Collection[str] = ()) -> tuple[Changed, ...]:
    """The lines that a person changed, of these or of all. Raises BadInput, StoreError."""
    now = reading.state(dub)
    for id_ in lines:
        now.line(id_)
    machine = {x.id: x for x in now.film.written}
    found = [_changed(now, x, machine.get(x.id)) for x in now.lines]
    ids = {x.id for x in now.lines}
    found += [Changed(id_, {}, gone=True) for id_ in machine if id_ not in ids]
    wanted = [x for x in found if not lines or x.line in lines]
    return tuple(x for x in wanted if x.fields or x.gone)


def _changed(now: State, line: Line, machine: Line | None) -> Changed:
    fields: dict[str, tuple[Any, Any]] = {}
    for name in _FIELDS:
        before, after = getattr(machine, name, None), getattr(line, name)
        if before != after and (after or before):
            fields[name] = (before, after)
    edit = now.edits.line(line.id)
    fields |= {name: (None, value) for name, value in (edit.expression or Manner()).model_dump(exclude_none=True).items()}
    if edit.seed is not None:
        fields["seed"] = (getattr(machine, "seed", None), edit.seed)
    status = now.edits.status(line.id)
    if status != "draft":
        fields["status"] = ("draft", status)
    return Changed(line.id, fields, new=machine is None)


def compare_takes(dub: Reviewed, store: Store, line: str, numbers: Collection[int] = ()) -> tuple[TakeFacts, ...]:
    """Takes of a line side by side, all or those of these numbers; their sounds are written as files.

    Raises: BadInput for a line or a take that is not there; StoreError where its sound is gone.
    """
    reading.state(dub).line(line)
    versions = {v.number: v for v in takes(dub, line)}
    missing = [n for n in numbers if n not in versions]
    if missing:
        known = ", ".join(map(str, versions)) or "none: a line has takes once it was changed"
        raise BadInput(f"line {line} has no take {missing[0]}", f"its takes are: {known}")
    files = {x.number: x.file for x in export_takes(dub, store, [line])}
    chosen = list(numbers) or list(versions)
    gone = [n for n in chosen if n not in files]
    if gone:
        raise StoreError(f"the sound of take {gone[0]} of line {line} is gone", "speak the line anew: polydub review regen")
    return tuple(_facts(versions[n], files[n]) for n in chosen)


def _facts(version: Version, file: Path) -> TakeFacts:
    from polydub.audio import loudness, pitch
    from polydub.media.ffmpeg import read_flac
    from polydub.types import RATE_HZ

    samples = read_flac(file, 0, 1 << 40)
    _, f0 = pitch.track(samples[0], RATE_HZ)
    duration = round(samples.shape[1] / RATE_HZ, 3)
    level = round(max(loudness.whole(samples), -120.0), 1)
    said = version.spoken
    return TakeFacts(
        version.number, said.text, said.voice, said.line.seed, version.why, duration, level, round(pitch.median_hz(f0), 1), file
    )
