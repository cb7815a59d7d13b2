"""What a person can do to lines. Each operation checks, writes the edits file as one change that can be undone, and tells it.

Nothing is spoken here: `rendering.render` makes the film again. All take line ids as `listing` gives them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from polydub import edits, overlay
from polydub.edits import Change, Edits, LineEdit, Lock, Manner, Merge, SpeakerEdit, Split, Version
from polydub.errors import BadInput, BadSettings
from polydub.review.reading import Reviewed, State, state, words
from polydub.stages.speak import other_seed
from polydub.text import tags
from polydub.types import Line, seconds

Fields = Mapping[str, Any]  # of LineEdit; None takes back what was set


def edit(dub: Reviewed, line: str, fields: Fields, expected: int | None = None) -> Change | None:
    """Sets fields of a line: text, source_text, speaker, voice, expression (Manner), start, end, seed, status.

    None as a value takes back what a person had set. A new text or voice is no longer the take that was chosen.
    Args: expected: the line's revision that the person saw. Returns None when nothing changes.
    Raises: BadInput for an unknown line, a locked one, or a value that cannot be used; Conflict.
    """
    return edit_many(dub, {line: fields}, None if expected is None else {line: expected})


def edit_many(
    dub: Reviewed,
    lines: Mapping[str, Fields],
    expected: Mapping[str, int] | None = None,
    what: str = "",
    locked: Collection[str] = (),
) -> Change | None:
    """As `edit`, of several lines as one change. what: for the history. locked: lines that are locked with it."""
    names = sorted({name for fields in lines.values() for name in fields})
    told = what or f"{', '.join(names)} of {_lines(tuple(lines))}"

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        for id_, fields in lines.items():
            book = book.with_line(id_, _edited(now, id_, fields))
            book = _first_takes(now, book, id_)
        for id_ in locked:
            book = _with_lock(now, book, id_, fresh=bool(lines.get(id_, {}).keys() - {"status"}))
        return book

    return edits.change(dub.folder, dub.language, told, alter, expected)


def voice(dub: Reviewed, name: str | None, lines: Sequence[str]) -> Change | None:
    """Gives lines a voice of their own by name; None = the speaker's again."""
    return edit_many(dub, {line: {"voice": name} for line in lines}, what=f"voice of {_lines(lines)}")


def speaker(dub: Reviewed, name: str, fields: Mapping[str, Any]) -> Change | None:
    """Sets a speaker's voice, label or expression (Manner); None takes back. Raises BadInput for somebody unknown."""

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        known = sorted({x.speaker for x in now.lines})
        if name not in known:
            raise BadInput(f"nobody in this film is called {name}", f"the speakers are: {', '.join(known)}")
        changed = book.speakers.get(name, SpeakerEdit()).changed(**fields)
        if changed.expression and "expression" in fields:
            changed = changed.changed(expression=_felt(changed.expression))
        for x in now.lines:
            if x.speaker == name and not x.voice and x.id not in book.locks:
                book = _first_takes(now, book, x.id)
        return book.with_speaker(name, changed)

    return edits.change(dub.folder, dub.language, f"{', '.join(fields)} of {name}", alter)


def time(dub: Reviewed, line: str, start: float | None = None, end: float | None = None) -> Change | None:
    """Sets when a line is heard, seconds on the film's own clock; without both the machine decides again.

    The start is kept whatever it costs; the end by speaking faster as far as the limits allow. A start alone moves the line.
    """
    return edit_many(dub, {line: {"start": start, "end": end}}, what=f"time of line {line}")


def split(dub: Reviewed, line: str, texts: tuple[str, str] | None = None, at: float | None = None) -> Change | None:
    """Makes two lines of one. texts: what they say; None = the text, cut where `at` is. at: seconds on the film's own clock,
    where the source is cut; None = in proportion to the texts.

    The source's text is cut between its words, where their times are known, else in proportion. The second line gets a number
    that no line had; what was set of voice and expression belongs to both.
    Raises: BadInput for a locked line, a text of one word, an empty half, or a time outside of the line; BadSettings.
    """
    if texts is None and at is None:
        raise BadSettings("where is the line to be split?", "give both texts, or a time with --at")

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        says = _open(now, line)
        old = next(x for x in overlay.cut(now.film.written, book)[0] if x.id == line)  # a set time belongs to the whole line
        first, second = _halves(line, texts or cut_text(says.text, (at - old.start) / (old.end - old.start) if at else 0.5))
        share = len(first) / (len(first) + len(second))
        cut_at = seconds(old.start + share * (old.end - old.start) if at is None else at)
        if not old.start < cut_at < old.end:
            raise BadInput(f"{cut_at} s is not inside line {line}", f"it lasts from {old.start} to {old.end} s")
        source = _cut_source(dub, says.source_text, old, cut_at)
        id_ = str(now.next_id())
        cut = Split(kind="split", line=line, second=id_, at=cut_at, texts=(first, second), source_texts=source)
        book = _first_takes(now, book, line)
        kept = book.line(line).changed(**_UNCUT)
        book = book.with_line(line, kept).with_line(id_, kept)
        return book.model_copy(update={"cuts": (*book.cuts, cut), "next_id": int(id_) + 1})

    return edits.change(dub.folder, dub.language, f"split of line {line}", alter)


_UNCUT = {"text": None, "short": None, "long": None, "source_text": None, "start": None, "end": None, "take": None}


def merge(dub: Reviewed, line: str, other: str) -> Change | None:
    """Makes one line of two of one speaker that follow each other; it has the id of the earlier one, and both texts.

    Raises: BadInput for locked lines, lines of two speakers, or lines with others of the speaker between them.
    """

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        first, second = sorted((_open(now, line), _open(now, other)), key=lambda x: (x.start, x.end))
        if first.speaker != second.speaker or first.id == second.id:
            raise BadInput(f"lines {line} and {other} are not two of one speaker", "give them one speaker first")
        own = [x.id for x in now.lines if x.speaker == first.speaker]
        if own.index(second.id) != own.index(first.id) + 1:
            raise BadInput(f"{first.speaker} says something else between lines {line} and {other}", "merge neighbours")
        cut = Merge(
            kind="merge",
            line=first.id,
            second=second.id,
            text=" ".join(filter(None, (first.text, second.text))),
            source_text=" ".join(filter(None, (first.source_text, second.source_text))),
        )
        book = _first_takes(now, _first_takes(now, book, first.id), second.id)
        book = book.with_line(first.id, book.line(first.id).changed(**_UNCUT)).with_line(second.id, LineEdit())
        return book.model_copy(update={"cuts": (*book.cuts, cut)})

    return edits.change(dub.folder, dub.language, f"merge of lines {line} and {other}", alter)


def regen(dub: Reviewed, lines: Sequence[str], features: frozenset[str] | None = None) -> Change | None:
    """Has lines spoken anew with a new seed; the takes there are stay.

    Args: features: of the speech engine (`Info.features`); None = not known. Raises: BadSettings for an engine that says the
    same each time.
    """
    if features is not None and "seed" not in features:
        raise BadSettings(
            "this speech engine says a text the same way each time, so there is nothing to be had by speaking it anew",
            "change the text, the voice (review voice), the rate or pitch (review edit --rate, --pitch), or the engine (--tts)",
        )

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        for id_ in lines:
            old = _open(now, id_)
            used = {old.seed, *(v.spoken.line.seed for v in book.takes.get(id_, ()))}
            seed = next(s for n in range(1, 1000) if (s := other_seed(0, 1000 + n)) not in used)
            book = _first_takes(now, book, id_)
            book = book.with_line(id_, book.line(id_).changed(seed=seed, take=None))
        return book

    return edits.change(dub.folder, dub.language, f"new take of {_lines(lines)}", alter)


def use(dub: Reviewed, line: str, number: int) -> Change | None:
    """Chooses an older take: its text, voice and recording; nothing is spoken. Raises BadInput when there is none."""

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        _open(now, line)
        found = next((v for v in book.takes.get(line, ()) if v.number == number), None)
        if found is None:
            known = ", ".join(str(v.number) for v in book.takes.get(line, ())) or "none yet"
            raise BadInput(f"line {line} has no take {number}", f"its takes are: {known}")
        old, own = book.line(line), found.edit
        times = {"start": old.start, "end": old.end, "status": old.status, "source_text": old.source_text}
        return book.with_line(line, own.changed(**times, text=found.spoken.text, take=number))

    return edits.change(dub.folder, dub.language, f"take {number} of line {line}", alter)


def approve(dub: Reviewed, lines: Sequence[str], *, approved: bool = True) -> Change | None:
    """Marks lines as approved, or as drafts again."""
    status = "approved" if approved else "draft"

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        for id_ in lines:
            now.line(id_)
            book = book.with_line(id_, book.line(id_).changed(status=status))
        return book

    return edits.change(dub.folder, dub.language, f"{status}: {_lines(lines)}", alter)


def lock(dub: Reviewed, lines: Sequence[str]) -> Change | None:
    """Locks lines as the last render speaks them: text, take and time stay, whatever is done to the dub.

    A line that was changed since is locked as the next render speaks it.
    """

    def alter(book: Edits) -> Edits:
        now = state(dub, book)
        for id_ in lines:
            book = _with_lock(now, book, id_)
        return book

    return edits.change(dub.folder, dub.language, f"lock of {_lines(lines)}", alter)


def unlock(dub: Reviewed, lines: Sequence[str]) -> Change | None:
    """Lets lines change again. Raises BadInput for one that is not locked."""

    def alter(book: Edits) -> Edits:
        for id_ in lines:
            if id_ not in book.locks:
                state(dub, book).line(id_)
                raise BadInput(f"line {id_} is not locked", "polydub review list shows which are")
            book = book.with_lock(id_, None)
        return book

    return edits.change(dub.folder, dub.language, f"unlock of {_lines(lines)}", alter)


def undo(dub: Reviewed) -> Change:
    """Takes the last change back. Raises BadInput when there is none."""
    return edits.undo(dub.folder, dub.language)


def redo(dub: Reviewed) -> Change:
    """Makes the change again that was taken back last. Raises BadInput when there is none."""
    return edits.undo(dub.folder, dub.language, again=True)


def cut_text(text: str, share: float) -> tuple[str, str]:
    """A text in two, between two words, as near as can be to that share of its characters, 0 to 1.

    One half is empty for a text of less than two words. Where words are written together it is cut between characters.
    """
    text = " ".join(text.split())
    places = [n for n, mark in enumerate(text) if mark == " "] or ([] if text.isascii() else list(range(1, len(text))))
    if not places:
        return text, ""
    at = min(places, key=lambda n: abs(n - share * len(text)))
    return text[:at].strip(), text[at:].strip()


def _halves(line: str, texts: tuple[str, str]) -> tuple[str, str]:
    first, second = (" ".join(part.split()) for part in texts)
    if not first or not second:
        raise BadInput(f"one half of line {line} would say nothing", "give both texts, each with at least one word")
    return first, second


def _cut_source(dub: Reviewed, text: str, line: Line, at: float) -> tuple[str, str]:
    """What the source says before and after a moment: by its words' times, or in proportion."""
    heard = words(dub, line.id)
    parts = text.split()
    if heard and len(heard) == len(parts):
        before = sum(w.start + w.end < 2 * at for w in heard)
        return " ".join(parts[:before]), " ".join(parts[before:])
    return cut_text(text, (at - line.start) / (line.end - line.start))


def _open(now: State, id_: str) -> Line:
    """A line that may be changed. Raises BadInput for an unknown or a locked one."""
    line = now.line(id_)
    if id_ in now.edits.locks:
        raise BadInput(f"line {id_} is locked", f"unlock it first: polydub review unlock ... {id_}")
    return line


_SOUND = {"text", "source_text", "speaker", "voice", "expression", "seed"}


def _edited(now: State, id_: str, fields: Fields) -> LineEdit:
    """What is set of a line with these fields. Raises BadInput."""
    own = dict(fields)
    if set(own) != {"status"}:
        _open(now, id_)
    line = now.line(id_)
    for name in ("text", "source_text", "short", "long", "speaker", "voice"):
        if isinstance(own.get(name), str):
            own[name] = " ".join(own[name].split())
    if own.keys() & _SOUND:
        own.setdefault("take", None)
    if "text" in own:
        own = {"short": None, "long": None} | own
    changed = now.edits.line(id_).changed(**own)
    if changed.expression and "expression" in own:
        changed = changed.changed(expression=_felt(changed.expression))
    start = line.start if changed.start is None else changed.start
    if changed.end is not None and changed.end <= start:
        raise BadInput(f"line {id_} would end before it begins", f"it begins at {start} s: give a later end")
    if changed.start is not None and start >= now.film.film_s:
        raise BadInput(f"line {id_} would begin after the film", f"the film is {now.film.film_s} s long")
    return changed


def _felt(manner: Manner) -> Manner:
    """With the emotion by its name in `tags.EMOTIONS`. Raises BadInput for one that is none."""
    if not manner.emotion:
        return manner
    name = tags.NAMES.get(manner.emotion.strip().casefold(), "")
    if name not in tags.EMOTIONS:
        raise BadInput(f"{manner.emotion!r} is no emotion", f"there are: {', '.join(tags.EMOTIONS)}")
    return manner.model_copy(update={"emotion": name})


def _with_lock(now: State, book: Edits, id_: str, *, fresh: bool = False) -> Edits:
    """With a line locked; `fresh`: it is changed at the same time, so that the next render speaks it first."""
    now.line(id_)
    if id_ in book.locks:
        return book
    spoken = None if fresh or now.pending(id_) else now.film.lines.get(id_)
    return book.with_lock(id_, Lock(when=edits.now(), spoken=spoken))


def _first_takes(now: State, book: Edits, id_: str) -> Edits:
    """With how a line was spoken before its first change as its first take."""
    spoken = now.film.lines.get(id_)
    if spoken is None or id_ in book.takes or now.pending(id_):
        return book
    first = Version(number=1, when=edits.now(), why="before the first change", spoken=spoken, edit=now.edits.line(id_))
    return book.with_take(id_, first)


def _lines(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
    return f"line{'s' * (len(ids) > 1)} {shown}"
