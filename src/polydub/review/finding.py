"""Which dub somebody means: by its folder, by the name of it, or by the film."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from polydub.errors import BadInput


def find_project(named: str, output: Path) -> Path:
    """The project folder that `named` stands for: a folder, a file in it, a name under `output`, or the film that was dubbed.

    Raises: BadInput where there is none, with the names of those that there are.
    """
    given = Path(named)
    places = [given, given.parent] if given.is_file() else [given]
    for place in (*places, output / named):
        if _is_project(place):
            return place
    if given.is_file():
        return _of_film(given, output)
    raise BadInput(f"there is no dub called {named}", _known(output))


def _is_project(folder: Path) -> bool:
    return (folder / "project.json").is_file()


def _of_film(film: Path, output: Path) -> Path:
    """The project of a film: made from this very file; where it was moved, the only one that is called like it."""
    folders = [p for p in (output / film.stem, *sorted(output.glob(f"{_plain(film.stem)}-??????"))) if _is_project(p)]
    for folder in folders:
        if _source(folder).get("path") == str(film.absolute()):
            return folder
    if len(folders) == 1:
        return folders[0]
    if folders:
        raise BadInput(f"{film} may be any of {', '.join(map(str, folders))}", "give the folder instead of the film")
    raise BadInput(f"{film} was not dubbed to {output}", f"dub it first: polydub dub {film} --to ..., or {_known(output)}")


def _plain(stem: str) -> str:
    """A name in which no character stands for others."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


def _source(folder: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads((folder / "project.json").read_text(encoding="utf-8")).get("source", {}))
    except (OSError, ValueError, AttributeError):
        return {}


def _known(output: Path) -> str:
    names = sorted(p.parent.name for p in output.glob("*/project.json"))
    if not names:
        return f"nothing was dubbed to {output} yet; --output names another folder"
    return f"in {output} there are: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
