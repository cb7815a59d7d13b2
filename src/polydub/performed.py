"""What a render said, kept for the next one and for people: recordings, takes of edited lines, what locks hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from polydub import edits, overlay, spoken
from polydub.edits import Edits, Lock, Version
from polydub.pipeline import Result
from polydub.runner import Run
from polydub.spoken import Spoken, SpokenFilm
from polydub.text import tags
from polydub.types import PLAIN, Line, Phrase, Placement, Span, seconds


def begun(run: Run, folder: Path, language: str) -> None:
    """Puts what a person has set into a run. Raises BadInput, StoreError for a damaged file."""
    book = run.book = edits.read(folder, language)
    ids = cast("dict[str, Any] | None", run.state.get("ids", {}).get("value"))
    if ids:  # a number that a split gave is never given again
        ids["next"] = max(ids["next"], book.next_id)


def voices(run: Run) -> tuple[str, ...]:
    """Names of the voices that a person has set, of speakers and lines."""
    book: Edits | None = run.book
    if book is None:
        return ()
    return tuple(edit.voice for edit in (*book.lines.values(), *book.speakers.values()) if edit.voice)


def finished(run: Run, result: Result) -> tuple[Version, ...]:
    """Keeps how all lines were said, and adds takes of edited lines that have changed; tells these."""
    film = spoken_film(run, result)
    spoken.write_spoken(run.project, result.language, film)
    laid, book = result.footage.laid, cast("Edits | None", run.book)
    if laid is None or book is None or not (book.lines or book.cuts or book.locks or book.takes or book.speakers):
        return ()
    locks = {lock: line for line, lock in laid.locks.items()}
    new = edits.update(run.project, result.language, lambda now: recorded(now, book, film, locks))
    old = {(id_, v.number) for id_, versions in book.takes.items() for v in versions}
    return tuple(v for id_, versions in new.takes.items() for v in versions if (id_, v.number) not in old)


def spoken_film(run: Run, result: Result) -> SpokenFilm:
    """How every line was said."""
    footage, said, casting = result.footage, result.said, result.cast.casting
    laid, given = footage.laid, footage.listened.given.marks
    own = {x.id: x for x in (laid.lines if laid else footage.lines)}
    phrases, placed = dict[str, list[Phrase]](), dict[str, list[Placement]]()
    for phrase in said.phrases:
        phrases.setdefault(phrase.line, []).append(phrase)
    for placement in said.placed:
        placed.setdefault(placement.line, []).append(placement)
    lines: dict[str, Spoken] = {}
    for line in (x for x in footage.lines if x.id in phrases):
        ids = [p.id for p in phrases[line.id]]
        lines[line.id] = Spoken(
            line=own[line.id],
            span=Span(line.start, line.end),
            text=said.choices[line.id].text,
            voice=(casting.lines.get(line.id) or casting.voices[line.speaker]).name,
            phrases=tuple(phrases[line.id]),
            takes={id_: (said.natural[id_], *([said.asked[id_]] if id_ in said.asked else [])) for id_ in ids},
            shaped={id_: said.takes[id_] for id_ in ids},
            placed=tuple(placed[line.id]),
        )
    return SpokenFilm(
        revision=run.book.revision if run.book else 0,
        next_id=run.finish()["ids"]["value"]["next"],
        film_s=seconds(footage.clock.back(footage.source.duration)),
        written=laid.written if laid else footage.lines,
        lines=lines,
        marks={x.id: mark for x in own.values() if run.book and (mark := overlay.mark(run.book, x))},
        tones={x.id: marks for x in own.values() if (marks := tags.told(x.text, given.get(x.id), x.source_text))},
        manners={x.id: x.expression for x in footage.lines if x.expression != PLAIN},
    )


def recorded(now: Edits, then: Edits, film: SpokenFilm, locks: Mapping[str, str]) -> Edits:
    """`now` with takes and locks of a render that was made with the edits `then`; `locks`: where each lock's line is."""
    changed = {*then.takes, *then.lines, *(x for cut in then.cuts for x in (cut.line, cut.second))}
    for id_ in sorted(changed, key=lambda name: (len(name), name)):
        said, versions = film.lines.get(id_), now.takes.get(id_, ())
        if said is None or id_ in then.locks or not (versions or overlay.sounds(then, id_)):
            continue
        if not any(v.spoken.same_sound(said) for v in versions):
            number = versions[-1].number + 1 if versions else 1
            made = Version(number=number, when=edits.now(), why=_why(then, said.line), spoken=said, edit=then.line(id_))
            now = now.with_take(id_, made)
    kept = {id_: lock for id_, lock in then.locks.items() if id_ in locks and now.locks.get(id_) == lock}
    now = now.renamed({id_: locks[id_] for id_ in kept if locks[id_] != id_})
    for id_ in kept:  # all first: a lock may go to where another one was; those that are lost or were changed meanwhile stay
        now = now.with_lock(id_, None)
    for id_, lock in kept.items():
        line = locks[id_]
        now = now.with_lock(line, Lock(when=lock.when, spoken=lock.spoken or film.lines.get(line)))
    return now


def _why(book: Edits, line: Line) -> str:
    """The last change of a line or of who speaks it."""
    done = reversed(book.history[: book.done])
    return next((x.what for x in done if line.id in x.lines or line.speaker in x.after.speakers), "made anew")
