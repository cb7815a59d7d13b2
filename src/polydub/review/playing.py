"""What is heard of a line: a take, the line as it lies in the dub, or the original, each as a file to be played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from polydub.errors import BadInput
from polydub.review import reading
from polydub.review.reading import Reviewed
from polydub.review.takes import export_takes
from polydub.store import Store

_AROUND_S = 0.15  # before and after: a line that begins at once is hard to judge


def take_file(dub: Reviewed, store: Store, line: str, number: int) -> Path:
    """A take of a line, alone. Raises BadInput when there is none."""
    reading.state(dub).line(line)
    files = {x.number: x.file for x in export_takes(dub, store, [line])}
    if number not in files:
        known = ", ".join(map(str, files)) or "none: a line has takes once it was changed"
        raise BadInput(f"line {line} has no take {number}", f"its takes are: {known}")
    return files[number]


def line_file(dub: Reviewed, line: str) -> Path:
    """The line as the last render mixed it, cut out of the film. Raises BadInput where nothing is said in it."""
    row = reading.row(dub, line)
    if row.at is None or row.duration is None:
        raise BadInput(f"nothing is spoken for line {line}", "give it a text: polydub review edit")
    names = (f"dub.{dub.language}.mkv", f"dub.{dub.language}.mp4", f"stems/mix.{dub.language}.flac")  # several dubs in one film
    found = next((file for name in names if (file := dub.folder / name).is_file()), None)
    if found is None:
        raise BadInput(f"there is no film in {dub.folder}", "make it again: polydub review render")
    return _cut(dub, (found, 0), (row.at, row.at + row.duration), f"{line}_dub")


def original_file(dub: Reviewed, line: str) -> Path:
    """What is said in the source while the line is. Raises BadInput where the film is gone."""
    row = reading.row(dub, line)
    source = _json(dub.folder / "project.json").get("source", {})
    film = Path(source.get("path", ""))
    if not film.is_file():
        raise BadInput(f"the film {film} is gone", "move it back to where it was dubbed from")
    track = _json(dub.folder / f"report.{dub.language}.json").get("source", {}).get("audio_track", 0)
    return _cut(dub, (film, track), (row.start, row.end), f"{line}_original")


def _cut(dub: Reviewed, sound: tuple[Path, int], span: tuple[float, float], name: str) -> Path:
    from polydub.media.play import excerpt

    out = dub.folder / "review" / f"{name}.wav"
    out.parent.mkdir(exist_ok=True)
    excerpt(*sound, (max(0.0, span[0] - _AROUND_S), span[1] + _AROUND_S), out)
    return out


def _json(file: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read: {error}", "dub the film once more") from error
