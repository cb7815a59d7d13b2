"""What a person has set, laid over what the machine has made. Precedence: lock > edit > given file > engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from polydub.edits import Edits, LineEdit, Lock, Merge, SpeakerEdit, Split
from polydub.runner import Run
from polydub.spoken import Spoken
from polydub.stages.timing import Held
from polydub.stages.translate import Given, unmarked
from polydub.store import Store
from polydub.types import PLAIN, Line, Notice, Segment, Span, Speaker, Word, seconds
from polydub.wants import Wanted

SAME_TIME = 0.5  # share of the longer of two spans that both share, from which they are the same line
SHORTEST_S = 0.1  # of a line with a set time
Anew = Callable[[Given], Sequence[Line]]  # writes the lines of a script, translated where they have no text


@dataclass(frozen=True)
class Laid:
    """The script and the lines as a person wants them.

    Attributes: written: the lines before. sources: the same as `lines` at the times at which the source says them. held: what
    is fixed besides, by line id. locks: id of a line now -> id of its lock. heard: the script before, which tells when somebody
    speaks.
    """

    given: Given
    lines: tuple[Line, ...]
    written: tuple[Line, ...]
    sources: tuple[Line, ...]
    held: Mapping[str, Held]
    locks: Mapping[str, str]
    heard: Given


def laid_over(run: Run, given: Given, written: Sequence[Line], anew: Anew) -> Laid:
    """The script and the lines that are spoken. A text of the source that was corrected is translated anew, it alone.

    What belongs to no line is told and waits. Raises: what `anew` raises.
    """
    book: Edits | None = run.book
    if book is None:
        return Laid(given, tuple(written), tuple(written), tuple(written), {}, {}, given)
    lines, notices = current(written, book)
    lines = _translated(lines, given, book, anew)
    locked = _locked(lines, book)
    run.note(*notices, *locked.notices)
    held = {id_: held for id_, lock in locked.found.items() if (held := _recording(run, id_, book.locks[lock].spoken))}
    for line in locked.lines:
        if not _fixed(book, locked.found.get(line.id)) and (own := _held(run, line, book.line(line.id), book)):
            held[line.id] = own
    spans = {x.id: (x.start, x.end) for x in cut(written, book)[0]}
    sources = tuple(replace(x, start=spans[x.id][0], end=spans[x.id][1]) for x in locked.lines)
    ordered = tuple(sorted(sources, key=lambda x: (x.start, x.end)))
    lines = tuple(
        _where_it_was(x, book.locks[locked.found[x.id]]) if x.id in locked.found and x.id not in held else x
        for x in locked.lines
    )
    return Laid(_script(given, lines, book), lines, tuple(written), ordered, held, locked.found, given)


def current(written: Sequence[Line], book: Edits) -> tuple[tuple[Line, ...], tuple[Notice, ...]]:
    """The lines with what a person has set, before locks, in order of time; and what could not be laid over any."""
    lines, notices = cut(written, book)
    by_id = {x.id: x for x in lines}
    gone = [id_ for id_ in book.lines if id_ not in by_id]
    if gone:
        first = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
        text = f"what was set of line{'s' * (len(gone) > 1)} {first} waits: there is no such line any more"
        notices.append(Notice("edit-lost", text))
    made = tuple(_with(x, book.lines[x.id]) if x.id in book.lines else x for x in lines)
    return tuple(sorted(made, key=lambda x: (x.start, x.end))), tuple(notices)


def mark(book: Edits, line: Line) -> str:
    """Stands for all that is set of a line as far as it changes the film; "" = nothing."""
    own = book.line(line.id).model_dump(exclude_none=True, exclude={"status"})
    who = book.speakers.get(line.speaker, SpeakerEdit()).model_dump(exclude_none=True, exclude={"label"})
    cuts = [one.model_dump() for one in book.cuts if line.id in (one.line, one.second)]
    return sha256(repr((own, who, cuts)).encode("utf-8", "surrogatepass")).hexdigest()[:16] if own or who or cuts else ""


def sounds(book: Edits, id_: str) -> bool:
    """Whether what a person has set makes a line sound otherwise."""
    edit, halves = book.line(id_), {x for one in book.cuts for x in (one.line, one.second)}
    own = (edit.text, edit.source_text, edit.speaker, edit.voice, edit.expression, edit.seed, edit.take)
    return id_ in halves or any(value is not None for value in own)


def _with(line: Line, edit: LineEdit) -> Line:
    """A line with what is set of it. A text by hand is given, and the machine's other wordings of the old one are gone."""
    own = {name: value for name in ("source_text", "speaker", "voice", "seed") if (value := getattr(edit, name)) is not None}
    if edit.text is not None and edit.text != line.text:
        own |= {"text": edit.text, "given": True, "short": "", "long": ""}
    own |= {name: value for name in ("short", "long") if (value := getattr(edit, name)) is not None}
    if edit.expression:
        own["expression"] = edit.expression.over(line.expression)
    if edit.start is not None or edit.end is not None:
        start = line.start if edit.start is None else edit.start
        end = start + (line.end - line.start) if edit.end is None else edit.end
        own |= {"start": seconds(start), "end": seconds(max(end, start + SHORTEST_S)), "pinned": True}
    return replace(line, **own)


def cut(written: Sequence[Line], book: Edits) -> tuple[list[Line], list[Notice]]:
    """The lines split and merged, in the order in which that was done."""
    lines, notices = list(written), list[Notice]()
    for one in book.cuts:
        at = next((n for n, x in enumerate(lines) if x.id == one.line), None)
        other = next((n for n, x in enumerate(lines) if x.id == one.second), None)
        if isinstance(one, Split) and at is not None and other is None and lines[at].start < one.at < lines[at].end:
            lines[at : at + 1] = _split(lines[at], one)
        elif isinstance(one, Merge) and at is not None and other is not None:
            lines[at] = _merged(lines[at], lines[other], one)
            del lines[other]
        else:
            what = "split" if isinstance(one, Split) else "merged with the next one"
            notices.append(Notice("edit-lost", f"line {one.line} is no longer {what}: it is not where it was", line=one.line))
    return lines, notices


def _split(line: Line, cut: Split) -> tuple[Line, Line]:
    both = replace(line, given=True, short="", long="")
    first = replace(both, end=cut.at, text=cut.texts[0], source_text=cut.source_texts[0])
    return first, replace(both, start=cut.at, id=cut.second, text=cut.texts[1], source_text=cut.source_texts[1])


def _merged(line: Line, other: Line, cut: Merge) -> Line:
    start, end = min(line.start, other.start), max(line.end, other.end)
    return replace(line, start=start, end=end, text=cut.text, source_text=cut.source_text, given=True, short="", long="")


def _translated(lines: Sequence[Line], given: Given, book: Edits, anew: Anew) -> tuple[Line, ...]:
    """`lines`; those whose source a person corrected are translated anew where nobody wrote what they say."""
    made: list[Line] = []
    for x in lines:
        edit = book.line(x.id)
        if edit.source_text is None or edit.text is not None or x.given or _fixed(book, x.id):
            made.append(x)
            continue
        alone = Segment(x.start, x.end, x.id, x.speaker, x.source_text)
        script = replace(given.script, segments=(alone,))
        (said,) = anew(unmarked(Given(script, {}, given.timed, given.written)))
        made.append(replace(x, text=said.text, short=said.short, long=said.long))
    return tuple(made)


# locks


@dataclass(frozen=True)
class _Locked:
    """Lines with locks laid over them; found: id of a line -> id of its lock."""

    lines: tuple[Line, ...]
    found: Mapping[str, str]
    notices: tuple[Notice, ...]


def _fixed(book: Edits, lock: str | None) -> bool:
    """Whether there is a lock of that id that holds how its line was spoken; one that waits for a render fixes nothing yet."""
    kept = book.locks.get(lock) if lock else None
    return kept is not None and kept.spoken is not None


def _locked(lines: Sequence[Line], book: Edits) -> _Locked:
    """Each lock finds its line by id, or by time where the transcript is another one."""
    found, notices = dict[str, str](), list[Notice]()
    spans = {x.id: Span(x.start, x.end) for x in lines}
    for id_, lock in sorted(book.locks.items(), key=lambda item: (len(item[0]), item[0])):
        line = _of(id_, lock, lines, spans, found)
        if line is None:
            text = (
                f"the lock of line {id_} is lost: no line lies where it was"
                if lock.spoken
                else f"there is no line {id_} to lock"
            )
            notices.append(Notice("lock-lost", text, line=id_))
        else:
            found[line] = id_
    names = {x.speaker for x in lines}
    made = [_as_locked(x, book.locks[found[x.id]], names) if x.id in found else x for x in lines]
    made, covered = _uncovered(made, found, {x.id for x in lines if x.id in book.locks})
    return _Locked(tuple(sorted(made, key=lambda x: (x.start, x.end))), found, (*notices, *covered))


def _of(id_: str, lock: Lock, lines: Sequence[Line], spans: Mapping[str, Span], found: Mapping[str, str]) -> str | None:
    """The line that a lock belongs to."""
    ids = [x.id for x in lines if x.id not in found]
    if lock.spoken is None:
        return id_ if id_ in ids else None
    own = Span(lock.spoken.line.start, lock.spoken.line.end)
    if id_ in ids and (_same(own, spans[id_]) or lock.spoken.line.pinned):
        return id_
    best = max(ids, key=lambda one: own.overlap(spans[one]), default=None)
    return best if best is not None and _same(own, spans[best]) else None


def _where_it_was(line: Line, lock: Lock) -> Line:
    """A locked line whose recording is gone: it begins where that began."""
    if lock.spoken is None or not lock.spoken.placed:
        return line
    start = seconds(line.start + lock.spoken.placed[0].start - lock.spoken.span.start)
    return replace(line, start=start, end=max(line.end, seconds(start + SHORTEST_S)), pinned=True)


def _same(a: Span, b: Span) -> bool:
    return a.overlap(b) >= SAME_TIME * max(a.duration, b.duration) > 0


def _as_locked(line: Line, lock: Lock, speakers: Iterable[str]) -> Line:
    if lock.spoken is None:
        return line  # what it says in this render will be locked
    kept = lock.spoken.line
    speaker = kept.speaker if kept.speaker in speakers else line.speaker
    return replace(kept, id=line.id, speaker=speaker, text=lock.spoken.text, short="", long="", given=True, locked=True)


def _uncovered(lines: Sequence[Line], found: Mapping[str, str], known: set[str]) -> tuple[list[Line], list[Notice]]:
    """Lines of a new transcript that say again what a locked line says are silent."""
    held = [x for x in lines if x.id in found and found[x.id] != x.id]  # under another id: the transcript is another one
    made, notices = list[Line](), list[Notice]()
    for x in lines:
        own = Span(x.start, x.end)
        over = next((h for h in held if h.id != x.id and h.speaker == x.speaker and _mostly(own, h)), None)
        if over is not None and x.id not in found and x.text.strip():
            text = f"nothing is spoken for line {x.id}: the locked line {over.id} says it"
            notices.append(Notice("lock-covers", text, line=x.id))
            made.append(replace(x, text="", short="", long=""))
        else:
            made.append(x)
    return made, notices


def _mostly(a: Span, b: Span) -> bool:
    return a.overlap(b) >= SAME_TIME * a.duration > 0


def _held(run: Run, line: Line, edit: LineEdit, book: Edits) -> Held | None:
    """What is fixed of a line that is not locked: a chosen take, a set end."""
    version = next((v for v in book.takes.get(line.id, ()) if v.number == edit.take), None)
    own = _recording(run, line.id, version.spoken) if version and version.spoken.text == line.text else None
    ends = edit.end is not None
    if own is None:
        return Held(ends=True) if ends else None
    return replace(own, shaped={}, placed=(), ends=ends)


def _recording(run: Run, id_: str, spoken: Spoken | None) -> Held | None:
    """A recording for the line `id_`; None, and a notice, where a file of it is gone."""
    if spoken is None:
        return None
    if not whole(run.store, spoken):
        text = f"the recording of line {id_} is gone from the store: it is spoken anew"
        run.note(Notice("take-lost", text, line=id_))
        return None
    old = spoken.line.id

    def named(name: str) -> str:
        return id_ + name.removeprefix(old)

    return Held(
        spoken.span,
        tuple(replace(p, id=named(p.id)) for p in spoken.phrases),
        {named(name): takes for name, takes in spoken.takes.items()},
        {named(name): take for name, take in spoken.shaped.items()},
        tuple(replace(p, id=named(p.id)) for p in spoken.placed),
    )


def whole(store: Store, spoken: Spoken) -> bool:
    """Whether every file of a recording is there."""
    return all(map(store.has, spoken.artifacts()))


# the script


def _script(given: Given, lines: Sequence[Line], book: Edits) -> Given:
    """What is said in the source as a person corrected it: texts, speakers, splits, merges; its times stay the source's."""
    touched = {id_ for id_, edit in book.lines.items() if edit.source_text is not None or edit.speaker is not None}
    if not touched and not book.cuts and not book.speakers and not book.locks:
        return given
    by_id = {x.id: x for x in lines}
    segments = list(given.script.segments)
    for cut in book.cuts:
        segments = _cut_segments(segments, cut, by_id)
    segments = [
        replace(s, speaker=by_id[s.id].speaker, text=by_id[s.id].source_text if s.id in touched else s.text)
        if s.kind == "speech" and s.id in by_id
        else s
        for s in segments
    ]
    known = {x.id: x for x in given.script.speakers}
    names = [*known, *dict.fromkeys(x.speaker for x in lines if x.speaker not in known)]
    speakers = [known.get(name, Speaker(name, name)) for name in names]
    labels = {name: edit.label for name, edit in book.speakers.items() if edit.label}
    speakers = [replace(x, label=labels.get(x.id, x.label)) for x in speakers]
    return replace(given, script=replace(given.script, segments=tuple(segments), speakers=tuple(speakers)))


def _cut_segments(segments: Sequence[Segment], cut: Split | Merge, lines: Mapping[str, Line]) -> list[Segment]:
    at = next((n for n, s in enumerate(segments) if s.id == cut.line and s.kind == "speech"), None)
    other = next((n for n, s in enumerate(segments) if s.id == cut.second and s.kind == "speech"), None)
    made = list(segments)
    if at is None:
        return made
    first = made[at]
    if isinstance(cut, Merge):
        if other is not None and cut.second not in lines:
            last = made[other]
            words = tuple(sorted((*first.words, *last.words), key=lambda w: w.start))
            start, end = min(first.start, last.start), max(first.end, last.end)
            made[at] = replace(first, start=start, end=end, text=cut.source_text, words=words)
            del made[other]
    elif other is None and first.start < cut.at < first.end:
        parts: tuple[tuple[Word, ...], tuple[Word, ...]] = (
            tuple(w for w in first.words if w.start + w.end < 2 * cut.at),
            tuple(w for w in first.words if w.start + w.end >= 2 * cut.at),
        )
        made[at : at + 1] = (
            replace(first, end=cut.at, text=cut.source_texts[0], words=parts[0]),
            replace(first, start=cut.at, id=cut.second, text=cut.source_texts[1], words=parts[1]),
        )
    return made


# speakers


def of_speakers(run: Run, want: Wanted, speakers: Sequence[Speaker]) -> Wanted:
    """`want` with the voices and manners that a person has set for speakers."""
    book: Edits | None = run.book
    if book is None or not book.speakers:
        return want
    known = {s.id for s in speakers}
    for name in sorted(set(book.speakers) - known):
        run.note(Notice("edit-lost", f"what was set of {name} waits: nobody in this film is called that"))
    own = {name: edit for name, edit in book.speakers.items() if name in known}
    voices = {**want.voicing.voices, **{name: edit.voice for name, edit in own.items() if edit.voice}}
    asked = dict(want.acting.asked)
    for name, edit in own.items():
        if edit.expression:
            asked[name] = edit.expression.over(asked.get(name, asked.get("*", PLAIN)))
    return replace(want, voicing=replace(want.voicing, voices=voices), acting=replace(want.acting, asked=asked))
