"""A dub as it is to be reviewed: its folder, its lines as they are set now, and how they were spoken last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from polydub import edits, languages, overlay
from polydub.edits import Edits, Status
from polydub.errors import BadInput, BadSettings, StoreError
from polydub.spoken import SpokenFilm, read_spoken, tree_of
from polydub.text import tags
from polydub.types import Expression, Line, Notice, Span


@dataclass(frozen=True)
class Reviewed:
    """The dub of one film into one language: the project folder and the BCP-47 tag."""

    folder: Path
    language: str


@dataclass(frozen=True)
class Row:
    """One line of a dub as a person sees it; times in seconds on the film's own clock.

    Attributes: start, end: of the line, as set. pinned: a person set them. text: to be said; said: what the last render says.
    voice: by name; own_voice: the line's own, "" = the speaker's. pending: changed since the last render. at, duration, rate,
    shift, overflow: where and how fast the last render says it, on the clock of the film it made; None where it says nothing.
    takes: numbers of its versions; take: the one chosen by hand; heard: the one in the last render. notices: what that told
    about it. revision: for `expected`. marks: such as [angry] and [pause], by name, as they stand in the texts now; where they
    have been taken out, those that the last render had. spoken_as: how that says it; None = plainly, or not at all.
    """

    id: str
    status: Status
    pending: bool
    start: float
    end: float
    pinned: bool
    speaker: str
    source_text: str
    text: str
    said: str
    voice: str
    own_voice: str
    expression: Expression
    seed: int
    at: float | None
    duration: float | None
    rate: float | None
    shift: float | None
    overflow: float | None
    takes: tuple[int, ...]
    take: int | None
    heard: int | None
    notices: tuple[str, ...]
    revision: int
    marks: tuple[str, ...]
    spoken_as: Expression | None


@dataclass(frozen=True)
class State:
    """Everything there is to know of a dub: what is set, what was spoken, the lines as they are set now."""

    edits: Edits
    film: SpokenFilm
    lines: tuple[Line, ...]
    notices: tuple[Notice, ...]

    def line(self, id_: str) -> Line:
        """The line of that id. Raises BadInput when there is none."""
        found = self._by_id.get(id_)
        if found is None:
            known = f"the lines are {self.lines[0].id} to {self.lines[-1].id}" if self.lines else "the dub has no lines"
            raise BadInput(f"there is no line {id_}", f"{known}: see polydub review PROJECT list")
        return found

    @cached_property
    def _by_id(self) -> Mapping[str, Line]:
        return {x.id: x for x in self.lines}

    def pending(self, id_: str) -> bool:
        """Whether a line was changed since the last render, in a way that changes the film."""
        return overlay.mark(self.edits, self.line(id_)) != self.film.marks.get(id_, "")

    def next_id(self) -> int:
        """A number that no line had."""
        return max(self.edits.next_id, self.film.next_id, *(int(x.id) + 1 for x in self.lines if x.id.isdecimal()), 1)


def open_review(folder: Path, language: str | None = None) -> Reviewed:
    """The dub in a project folder; `language` where there are several. Raises BadInput, BadSettings."""
    found = sorted(p.name.removeprefix("script.").removesuffix(".json") for p in folder.glob("script.*.json"))
    if not found:
        raise _nothing(folder)
    if language is None:
        if len(found) > 1:
            raise BadSettings(
                f"{folder} has dubs in {', '.join(found)}", f"say which with --lang, for example --lang {found[0]}"
            )
        return Reviewed(folder, found[0])
    near = languages.nearest(languages.parse(language), found)
    if near is None:
        raise BadSettings(f"{folder} has no dub in {language}", f"it has {', '.join(found)}")
    return Reviewed(folder, near)


def _nothing(folder: Path) -> BadInput:
    """What to say of a folder without a dub."""
    if not folder.is_dir():
        return BadInput(f"there is no folder {folder}", "give the folder of a dubbed film, such as Output/talk")
    if (folder / "stream" / "manifest.json").is_file():
        told = next((f"; the lines of the stream are in {path}" for path in sorted(folder.glob("stream/report.*.json"))), "")
        hint = f"dub the film as a whole, with the same command without --stream{told}"
        return BadInput(f"{folder} is a stream, and only dubs of whole films can be reviewed", hint)
    return BadInput(f"no dub in {folder} is finished", "run its command again: it goes on where it was stopped")


def state(dub: Reviewed, book: Edits | None = None) -> State:
    """What there is to know of a dub; `book`: with these edits instead of the file's. Raises BadInput, StoreError."""
    book = book or edits.read(dub.folder, dub.language)
    film = read_spoken(dub.folder, dub.language)
    if film is None:
        raise BadInput(
            f"{dub.folder} was dubbed by an earlier polydub, which did not keep what a review needs",
            "dub the film once more with the same settings: nothing is spoken again",
        )
    lines, notices = overlay.current(film.written, book)
    return State(book, film, lines, notices)


def listing(dub: Reviewed) -> tuple[Row, ...]:
    """All lines in order of time. Raises BadInput, StoreError."""
    now = state(dub)
    script, made = _json(dub, "script"), report(dub)
    voices = cast("Mapping[str, str]", script.get("voices", {}))
    rows = {one["id"]: one for one in cast("list[dict[str, Any]]", made.get("lines", []))}
    told: dict[str, list[str]] = {}
    for one in cast("list[dict[str, Any]]", made.get("notices", [])):
        if one.get("line"):
            told.setdefault(one["line"], []).append(one["text"])
    return tuple(_row(now, x, (voices, rows.get(x.id, {})), tuple(told.get(x.id, ()))) for x in now.lines)


def report(dub: Reviewed) -> dict[str, Any]:
    """The report of the last render. Raises StoreError when it cannot be read."""
    return _json(dub, "report")


def row(dub: Reviewed, line: str) -> Row:
    """One line. Raises BadInput when there is none of that id."""
    state(dub).line(line)
    return next(x for x in listing(dub) if x.id == line)


def words(dub: Reviewed, line: str) -> tuple[Span, ...]:
    """When each word of a line is said in the source; none where nobody knows."""
    segments = cast("list[dict[str, Any]]", (tree_of(dub.folder / "transcript.json") or {}).get("segments", []))
    found = next((s["words"] for s in segments if s["id"] == line), ())
    return tuple(Span(w["start"], w["end"]) for w in cast("list[dict[str, float]]", found))


def _row(now: State, x: Line, known: tuple[Mapping[str, str], Mapping[str, Any]], notices: tuple[str, ...]) -> Row:
    voices, heard = known
    book, spoken, pending = now.edits, now.film.lines.get(x.id), now.pending(x.id)
    lock = book.locks.get(x.id)
    kept = lock.spoken if lock else None
    fresh = spoken.line if spoken and not pending else x  # a text that was translated anew is known from the render only
    if kept:
        fresh = kept.line
    speaker = book.speakers.get(fresh.speaker)
    audible = bool(heard.get("duration"))
    versions = book.takes.get(x.id, ())
    return Row(
        id=x.id,
        status=book.status(x.id),
        pending=pending,
        start=fresh.start,
        end=fresh.end,
        pinned=fresh.pinned,
        speaker=fresh.speaker,
        source_text=fresh.source_text,
        text=kept.text if kept else fresh.text,
        said=str(heard.get("text", "")),
        voice=kept.voice
        if kept
        else fresh.voice or (speaker.voice if speaker and speaker.voice else voices.get(fresh.speaker, "")),
        own_voice=fresh.voice,
        expression=fresh.expression,
        seed=fresh.seed,
        at=heard["start"] if audible else None,
        duration=heard["duration"] if audible else None,
        rate=heard["rate"] if audible else None,
        shift=heard["shift"] if audible else None,
        overflow=heard["overflow"] if audible else None,
        takes=tuple(v.number for v in versions),
        take=book.line(x.id).take,
        heard=next((v.number for v in reversed(versions) if spoken and v.spoken.same_sound(spoken)), None),
        notices=notices,
        revision=book.revisions.get(x.id, 0),
        marks=tags.names(fresh.text) or now.film.tones.get(x.id, ()) or tags.names(fresh.source_text),
        spoken_as=now.film.manners.get(x.id),
    )


def _json(dub: Reviewed, name: str) -> dict[str, Any]:
    file = dub.folder / f"{name}.{dub.language}.json"
    try:
        return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}", "dub the film once more: the file is written anew") from error
