"""How a dub was spoken in its last finished render: the recordings of every line, as the next render and people need them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polydub.errors import BadInput, StoreError
from polydub.project import write
from polydub.types import Artifact, Expression, Line, Phrase, Placement, Span, Take

_NAME = re.compile("[0-9a-f]{64}")


class Part(BaseModel):
    """A part of a file that people keep: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


P = TypeVar("P", bound=Part)


class Spoken(Part):
    """How a line was spoken in a render.

    Attributes: line: as it was laid over the machine's result, times on the film's own clock. span: on the clock of the film
    that was made, as are phrases and placements. text: what is said. voice: its name. takes: by id of phrase, the one at the
    voice's own rate first. shaped: as they are heard.
    """

    line: Line
    span: Span
    text: str
    voice: str
    phrases: tuple[Phrase, ...]
    takes: Mapping[str, tuple[Take, ...]]
    shaped: Mapping[str, Take] = Field(default_factory=dict[str, Take])
    placed: tuple[Placement, ...] = ()

    @model_validator(mode="after")
    def _names_of_files(self) -> Spoken:
        if not all(_NAME.fullmatch(one.sha256) and one.suffix == ".flac" for one in self.artifacts()):
            raise ValueError("a recording is named by 64 hexadecimal digits and .flac")
        if not all(self.takes.get(p.id) for p in self.phrases):
            raise ValueError("a phrase has no recording")
        return self

    def artifacts(self) -> tuple[Artifact, ...]:
        """The files of it."""
        return tuple(take.sound for some in (*self.takes.values(), tuple(self.shaped.values())) for take in some)

    def same_sound(self, other: Spoken) -> bool:
        """Whether both are the same recording, wherever it is placed."""
        natural = [[some[0].sound for some in spoken.takes.values()] for spoken in (self, other)]
        return natural[0] == natural[1]


class SpokenFilm(Part):
    """What the last finished render said.

    Attributes: revision: of the edits that it was made with. next_id: as in `Edits`. film_s: length of the film as given.
    written: the lines before anything that a person had set. lines: those that say something, by id. marks: what stands for all
    that a person had set of a line, where that was anything. tones: names of marks such as [angry] that lines have, whether or
    not they counted. manners: how lines are said, where that is not plainly.
    """

    revision: int
    next_id: int
    film_s: float
    written: tuple[Line, ...]
    lines: Mapping[str, Spoken]
    marks: Mapping[str, str] = Field(default_factory=dict[str, str])
    tones: Mapping[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    manners: Mapping[str, Expression] = Field(default_factory=dict[str, Expression])


def read_spoken(folder: Path, language: str) -> SpokenFilm | None:
    """What the last finished render said; None when there was none, or another version of polydub wrote it."""
    file = folder / _spoken(language)
    try:
        known = file.stat()
        return _film(file, (known.st_dev, known.st_ino, known.st_mtime_ns, known.st_size))
    except (OSError, ValidationError):
        return None  # the next render writes it anew


@lru_cache(1)  # one action asks for it several times, and of a long film reading it takes a tenth of a second
def _film(file: Path, version: tuple[int, ...]) -> SpokenFilm:
    """What is in the file in this `version` of it."""
    return SpokenFilm.model_validate_json(file.read_bytes())


def write_spoken(folder: Path, language: str, film: SpokenFilm) -> None:
    """Keep what a render said."""
    write(folder / _spoken(language), film.model_dump_json(exclude_defaults=True) + "\n")


def tree_of(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None when there is no file. Raises BadInput, StoreError for anything else."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError, RecursionError) as error:
        raise StoreError(f"{file} cannot be read: {error}", f"correct {file.name}, or move it away") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{file} holds no edits", f"correct {file.name}, or move it away")
    return cast("dict[str, Any]", tree)


def checked(kind: type[P], file: Path, tree: Mapping[str, Any]) -> P:
    """What a file holds. Raises BadInput, naming the file and the place in it."""
    try:
        return kind.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise BadInput(f"{file} cannot be used: {first(error)}", f"correct {file.name}, or move it away") from error


def first(error: ValidationError) -> str:
    """Where the first fault is and what it is."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg'].replace('Input should be', 'it must be')}"


def _spoken(language: str) -> str:
    return f".spoken.{language}.json"
