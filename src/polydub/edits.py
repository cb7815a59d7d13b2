"""What a person has set about a dub: `edits.<language>.json` in the project folder.

The file is for people too. It is read, changed and written under a lock of its own, so that edits of several processes do not
lose each other, also while the film is being made. Nothing here knows what a line becomes: that is `overlay`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AwareDatetime, Field, ValidationError

from polydub.errors import BadInput
from polydub.project import EDITS_LOCK, flocked, write
from polydub.spoken import P, Part, Spoken, checked, first, tree_of
from polydub.types import Expression

FORMAT = 2  # 1 had {"items": {"lines": {...}}} and no history
MOST_CHANGES = 1000  # that can be undone
Status = Literal["draft", "approved", "locked"]
Seconds = Annotated[float, Field(ge=0)]


class Conflict(BadInput):
    """Somebody else has changed the same line since it was looked at."""

    code, http_status = "conflict", 409


class Manner(Part):
    """How something is to be said, as far as a person told; units as in `types.Expression`."""

    rate: Annotated[float, Field(ge=0.5, le=2)] | None = None
    pitch: Annotated[float, Field(ge=-12, le=12)] | None = None
    energy_db: Annotated[float, Field(ge=-12, le=12)] | None = None
    pitch_range: Annotated[float, Field(ge=0, le=3)] | None = None
    emotion: str | None = None

    def over(self, expression: Expression) -> Expression:
        """`expression` with what is set here laid over it."""
        return replace(expression, **self.model_dump(exclude_none=True))


class LineEdit(Part):
    """What a person has set of one line; None = nothing. Times in seconds on the film's own clock.

    Attributes: short, long: other wordings of `text`. start, end: a set time is kept. take: number of the take that is heard.
    """

    text: str | None = None
    short: str | None = None
    long: str | None = None
    source_text: str | None = None
    speaker: Annotated[str, Field(min_length=1)] | None = None
    voice: str | None = None
    expression: Manner | None = None
    start: Seconds | None = None
    end: Seconds | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    take: Annotated[int, Field(ge=1)] | None = None
    status: Literal["draft", "approved"] = "draft"

    def changed(self, **fields: Any) -> LineEdit:
        """With these fields, checked. Raises BadInput for a value that cannot be used."""
        return _set(LineEdit, self, fields)


class SpeakerEdit(Part):
    """What a person has set of one speaker; None = nothing."""

    voice: str | None = None
    label: str | None = None
    expression: Manner | None = None

    def changed(self, **fields: Any) -> SpeakerEdit:
        """With these fields, checked. Raises BadInput for a value that cannot be used."""
        return _set(SpeakerEdit, self, fields)


class Split(Part):
    """A line in two: the first keeps the id, the second gets `second`. at: seconds on the film's own clock."""

    kind: Literal["split"]
    line: str
    second: str
    at: Seconds
    texts: tuple[str, str]
    source_texts: tuple[str, str]


class Merge(Part):
    """Two lines as one, which has the id of the first."""

    kind: Literal["merge"]
    line: str
    second: str
    text: str
    source_text: str


Cut = Annotated[Split | Merge, Field(discriminator="kind")]


class Lock(Part):
    """A line that stays as it is. spoken: how it was spoken; None = as the next render speaks it."""

    when: AwareDatetime
    spoken: Spoken | None = None


class Version(Part):
    """One take of a line. edit: what a person had set when it was made. why: what brought it about."""

    number: int
    when: AwareDatetime
    why: str
    spoken: Spoken
    edit: LineEdit = LineEdit()


class Patch(Part):
    """Parts of the edits as they were or became; None under an id = nothing is set there, `cuts` None = not touched."""

    lines: Mapping[str, LineEdit | None] = Field(default_factory=dict[str, LineEdit | None])
    speakers: Mapping[str, SpeakerEdit | None] = Field(default_factory=dict[str, SpeakerEdit | None])
    locks: Mapping[str, Lock | None] = Field(default_factory=dict[str, Lock | None])
    cuts: tuple[Cut, ...] | None = None


class Change(Part):
    """One action of a person. what: a short sentence for the history."""

    when: AwareDatetime
    what: str
    before: Patch
    after: Patch

    @property
    def lines(self) -> tuple[str, ...]:
        """Ids of the lines that it touched, in the order of their numbers."""
        cuts = self.before.cuts or (), self.after.cuts or ()
        cut = [id_ for some, others in (cuts, cuts[::-1]) for x in some if x not in others for id_ in (x.line, x.second)]
        return tuple(sorted({*self.after.lines, *self.after.locks, *cut}, key=lambda id_: (len(id_), id_)))


class Edits(Part):
    """Everything a person has set about the dub into one language. Lines and speakers by id.

    Attributes: next_id: no line had this number or a higher one. revision: number of changes, also of those that undid others;
    revisions: the last one of each line. history: changes, of which the first `done` are in force.
    """

    format: Literal[2]
    next_id: int = 1
    revision: int = 0
    revisions: Mapping[str, int] = Field(default_factory=dict[str, int])
    lines: Mapping[str, LineEdit] = Field(default_factory=dict[str, LineEdit])
    speakers: Mapping[str, SpeakerEdit] = Field(default_factory=dict[str, SpeakerEdit])
    cuts: tuple[Cut, ...] = ()
    locks: Mapping[str, Lock] = Field(default_factory=dict[str, Lock])
    takes: Mapping[str, tuple[Version, ...]] = Field(default_factory=dict[str, "tuple[Version, ...]"])
    history: tuple[Change, ...] = ()
    done: int = 0

    def line(self, id_: str) -> LineEdit:
        """What is set of a line."""
        return self.lines.get(id_, LineEdit())

    def status(self, id_: str) -> Status:
        """What a person thinks of a line."""
        return "locked" if id_ in self.locks else self.line(id_).status

    def with_line(self, id_: str, edit: LineEdit) -> Edits:
        """With this set of a line, and nothing where it sets nothing."""
        return self.model_copy(update={"lines": _with(self.lines, id_, edit if edit != LineEdit() else None)})

    def with_speaker(self, id_: str, edit: SpeakerEdit) -> Edits:
        """With this set of a speaker."""
        return self.model_copy(update={"speakers": _with(self.speakers, id_, edit if edit != SpeakerEdit() else None)})

    def with_lock(self, id_: str, lock: Lock | None) -> Edits:
        """With a line locked, or not."""
        return self.model_copy(update={"locks": _with(self.locks, id_, lock)})

    def renamed(self, ids: Mapping[str, str]) -> Edits:
        """With what is set of lines, their takes and history under new ids (old -> new); locks stay where they are.

        Where a new id has something of its own already, the old one keeps what it has.
        """
        changes = (patch for change in self.history for patch in (change.before, change.after))
        known = {*self.lines, *self.takes, *(id_ for patch in changes for id_ in (*patch.lines, *patch.locks))}
        names = {old: new for old, new in ids.items() if new not in known or new in ids}

        def moved(entries: Mapping[str, Any]) -> dict[str, Any]:
            return {names.get(id_, id_): entry for id_, entry in entries.items()}

        def past(patch: Patch) -> Patch:
            return patch.model_copy(update={"lines": moved(patch.lines), "locks": moved(patch.locks)})

        history = tuple(c.model_copy(update={"before": past(c.before), "after": past(c.after)}) for c in self.history)
        own = {"lines": moved(self.lines), "takes": moved(self.takes), "revisions": moved(self.revisions)}
        return self.model_copy(update={**own, "history": history})

    def with_take(self, id_: str, version: Version) -> Edits:
        """With one more take of a line."""
        return self.model_copy(update={"takes": {**self.takes, id_: (*self.takes.get(id_, ()), version)}})


def path(folder: Path, language: str) -> Path:
    """Where the edits of a language are kept."""
    return folder / f"edits.{language}.json"


def read(folder: Path, language: str) -> Edits:
    """The edits of a language; none when there is no file. Raises BadInput, StoreError for a file that cannot be used."""
    file = path(folder, language)
    tree = tree_of(file)
    if tree is None:
        return Edits(format=FORMAT)
    number = tree.get("format", 1)
    if isinstance(number, int) and number > FORMAT:
        raise BadInput(f"{file} was written by a newer polydub", "update polydub")
    return checked(Edits, file, _first_format(tree) if number == 1 else tree)


def change(
    folder: Path, language: str, what: str, alter: Callable[[Edits], Edits], expected: Mapping[str, int] | None = None
) -> Change | None:
    """One action of a person, to be undone as one; what had been undone before is gone. None when nothing changes by it.

    Args: alter: gives the edits as they shall be; what it raises leaves everything as it is. expected: the revisions of lines
    that the person saw (0 = never changed). Raises: Conflict when one of these has changed since; BadInput, StoreError.
    """
    with _held(folder, language) as old:
        stale = [id_ for id_, seen in (expected or {}).items() if old.revisions.get(id_, 0) != seen]
        if stale:
            raise Conflict(f"line {stale[0]} was changed in the meantime", "look at it again, then repeat the change")
        new = alter(old)
        made = Change(when=now(), what=what, before=_patch(new, old), after=_patch(old, new))
        if made.before == made.after:
            return None
        history = (*old.history[: old.done], made)[-MOST_CHANGES:]
        new = new.model_copy(update={"history": history, "done": len(history)})
        _keep(folder, language, _revised(new, made))
        return made


def undo(folder: Path, language: str, *, again: bool = False) -> Change:
    """Takes the last change back, or makes the last one that was taken back `again`. Raises BadInput when there is none."""
    with _held(folder, language) as old:
        at = old.done if again else old.done - 1
        if not 0 <= at < len(old.history):
            raise BadInput(f"there is nothing to {'redo' if again else 'undo'}", "polydub review list shows the lines")
        made = old.history[at]
        new = _patched(old, made.after if again else made.before)
        _keep(folder, language, _revised(new.model_copy(update={"done": at + again}), made))
        return made


def update(folder: Path, language: str, alter: Callable[[Edits], Edits]) -> Edits:
    """Adds what no person did: takes, what a lock holds. Not part of the history."""
    with _held(folder, language) as old:
        new = alter(old)
        if new != old:
            _keep(folder, language, new)
        return new


def now() -> datetime:
    """The present, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _held(folder: Path, language: str) -> Generator[Edits]:
    """The edits, which nobody else changes meanwhile."""
    if not folder.is_dir():
        raise BadInput(f"there is no project {folder}", "give the folder of a dubbed film, such as Output/talk")
    with flocked(folder / EDITS_LOCK):
        yield read(folder, language)


def _keep(folder: Path, language: str, edits: Edits) -> None:
    text = edits.model_dump_json(exclude_defaults=True, indent=1)
    write(path(folder, language), text + "\n")


def _revised(edits: Edits, made: Change) -> Edits:
    number = edits.revision + 1
    revisions = {**edits.revisions, **dict.fromkeys(made.lines, number)}
    return edits.model_copy(update={"revision": number, "revisions": revisions})


def _with(entries: Mapping[str, Any], id_: str, entry: Any) -> dict[str, Any]:
    kept = {key: value for key, value in entries.items() if key != id_}
    return kept if entry is None else kept | {id_: entry}


def _patch(old: Edits, new: Edits) -> Patch:
    """What `new` has otherwise than `old`."""
    parts: dict[str, Any] = {}
    for name in ("lines", "speakers", "locks"):
        was, is_ = cast("Mapping[str, Any]", getattr(old, name)), cast("Mapping[str, Any]", getattr(new, name))
        parts[name] = {id_: is_.get(id_) for id_ in sorted({*was, *is_}) if was.get(id_) != is_.get(id_)}
    return Patch(**parts, cuts=new.cuts if new.cuts != old.cuts else None)


def _patched(edits: Edits, patch: Patch) -> Edits:
    parts: dict[str, Any] = {"cuts": edits.cuts if patch.cuts is None else patch.cuts}
    for name in ("lines", "speakers", "locks"):
        entries = getattr(edits, name) | getattr(patch, name)
        parts[name] = {id_: entry for id_, entry in entries.items() if entry is not None}
    return edits.model_copy(update=parts)


def _first_format(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The first form of the file in the present one; what it holds besides lines' fields is refused by the check."""
    items = cast("Mapping[str, Any]", tree.get("items", {}))
    lines = cast("Mapping[str, Mapping[str, Any]]", items.get("lines", {}))
    new = {id_: {key: value for key, value in edit.items() if key != "locked"} for id_, edit in lines.items()}
    locks = {id_: {"when": "1970-01-01T00:00:00Z"} for id_, edit in lines.items() if edit.get("locked")}
    unknown = {key: value for key, value in tree.items() if key not in ("version", "items", "format")}
    return {"format": FORMAT, "lines": new, "locks": locks, **unknown}


def _set(kind: type[P], old: P, fields: Mapping[str, Any]) -> P:
    try:
        return kind.model_validate({name: getattr(old, name) for name in type(old).model_fields} | dict(fields))
    except ValidationError as error:
        raise BadInput(f"that cannot be set: {first(error)}", "see polydub review edit --help") from error
