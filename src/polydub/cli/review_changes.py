"""The actions of `polydub review` that change lines: edit, voice, time, split, merge, regen, use, approve, lock, undo ..."""

from __future__ import annotations

import sys
from typing import Any

import click

from polydub.cli.review_common import Action, Called, called, check_voices, finish, ids, on_dub, renders
from polydub.edits import Change, LineEdit, Manner, Patch
from polydub.errors import BadInput, BadSettings
from polydub.review import operations, reading
from polydub.review.rendering import features
from polydub.review.rows import read_time

_MANNER = {"rate": "rate", "pitch": "pitch", "energy": "energy_db", "emotion": "emotion"}
_FIELDS = {"text": "text", "source": "source_text", "speaker": "speaker", "seed": "seed"}


@click.command(cls=Action, short_help="Change what a line says, or how.")
@on_dub
@renders
@click.argument("lines", metavar="ID")
@click.argument("words", metavar="[TEXT]", required=False)
@click.option("--text", help="What is said; - reads it from stdin.")
@click.option("--source", help="What is said in the source; it is translated anew unless somebody wrote the text.")
@click.option("--speaker", metavar="NAME", help="Who says it.")
@click.option("--rate", metavar="NUMBER", help="Factor of the speaking rate, 0.5 to 2.")
@click.option("--pitch", metavar="SEMITONES", help="Higher or lower by so many semitones, -12 to 12.")
@click.option("--energy", metavar="DB", help="Louder or softer by so many decibels, -12 to 12.")
@click.option("--emotion", metavar="NAME", help="How it is said, as in [angry].")
@click.option("--seed", type=int, metavar="NUMBER", help="It decides what a speech engine leaves to chance.")
@click.option("--back", multiple=True, type=click.Choice([*_FIELDS, *_MANNER]), help="Take back what you set of this.")
def edit(lines: str, words: str | None, back: tuple[str, ...], **given: Any) -> int:
    """Change what a line says or how; without anything to change the text is opened in your editor.

    Rate, pitch, energy, emotion and speaker also take several lines.

    \b
    polydub review talk edit 3 "Otro texto."
    polydub review talk edit 3-8 --rate 1.1
    polydub review talk edit 3 --back text --back rate
    """
    call = called(given)
    named = ids(call, [lines])
    if words is not None and given["text"] is not None:
        raise BadSettings("the text was given twice", "give it either in quotes or with --text")
    fields: dict[str, Any] = _texts(words, given) | {name: None for key, name in _FIELDS.items() if key in back}
    if len(named) > 1 and (fields.get("text") is not None or fields.get("source_text") is not None):
        raise BadSettings("several lines cannot say the same", "give one line")
    manner: dict[str, Any] = {name: _manner(key, given[key]) for key, name in _MANNER.items() if given[key] is not None}
    manner |= {name: None for key, name in _MANNER.items() if key in back}
    if not fields and not manner:
        if len(named) > 1:
            raise BadSettings("nothing was given to change in these lines", "for example --rate 1.1")
        fields["text"] = _written(call, named[0])
    return finish(call, _edited(call, named, fields, manner))


def _texts(words: str | None, given: dict[str, Any]) -> dict[str, Any]:
    text = words if words is not None else given["text"]
    if text == "-":
        text = sys.stdin.read().strip()
    told = {"text": text, "source_text": given["source"], "speaker": given["speaker"], "seed": given["seed"]}
    return {name: value for name, value in told.items() if value is not None}


def _manner(key: str, value: str) -> str | float:
    return value if key == "emotion" else _number(value, f"--{key}")


def _written(call: Called, line: str) -> str:
    """The text as a person leaves it in their editor. Raises BadSettings where nobody sits at a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        hint = f'for example: polydub review {call.given["project"]} edit {line} "Another text."'
        raise BadSettings("nothing was given to change", hint)
    old = reading.row(call.dub, line).text
    new = click.edit(old + "\n", extension=".txt")
    return old if new is None else new.strip()


def _edited(call: Called, named: list[str], fields: dict[str, Any], manner: dict[str, Any]) -> Change | None:
    rows = {row.id: row for row in reading.listing(call.dub)}
    if len(named) == 1 and fields.get("text") == rows[named[0]].text and len(fields) == 1 and not manner:
        return None
    book = reading.state(call.dub).edits
    asked: dict[str, dict[str, Any]] = {}
    for id_ in named:
        asked[id_] = dict(fields)
        if manner:
            told = (book.line(id_).expression or Manner()).model_dump() | manner
            kept = {name: value for name, value in told.items() if value is not None}
            asked[id_]["expression"] = kept or None
    return operations.edit_many(call.dub, asked, {id_: rows[id_].revision for id_ in named})


def _number(text: str, flag: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise BadSettings(f"{flag} {text!r} is no number", "give a number such as 1.1") from None


@click.command(cls=Action, short_help="Give lines or a speaker another voice.")
@on_dub
@renders
@click.argument("who", metavar="ID|SPEAKER")
@click.argument("name", metavar="[VOICE]", required=False)
@click.option("--back", is_flag=True, help="Take back what you set.")
def voice(who: str, name: str | None, back: bool, **given: Any) -> int:
    """Give lines, or a speaker, another voice.

    \b
    polydub review talk voice 3,7 es+f2
    polydub review talk voice ANNA es+f2
    polydub review talk voice ANNA --back
    """
    if (name is None) != back:
        raise BadSettings("which voice is meant?", "give its name, or --back for the one without your choice")
    call = called(given)
    speakers = {row.speaker for row in reading.listing(call.dub)}
    lines = [] if who in speakers or not any(c.isdigit() for c in who) else ids(call, [who])
    if name is not None and (lines or who in speakers):
        check_voices(call, [name])
    if who in speakers:
        return finish(call, operations.speaker(call.dub, who, {"voice": name}))
    if not lines:
        raise BadInput(f"nobody in this film is called {who}", f"the speakers are: {', '.join(sorted(speakers))}")
    return finish(call, operations.voice(call.dub, name, lines))


@click.command(cls=Action, short_help="Set when a line is heard.")
@on_dub
@renders
@click.argument("line", metavar="ID")
@click.argument("start", metavar="[START]", required=False)
@click.argument("end", metavar="[END]", required=False)
@click.option("--by", metavar="SECONDS", help="Move it by so many seconds, -0.2 is earlier.")
@click.option("--back", is_flag=True, help="Take back what you set.")
def time(line: str, start: str | None, end: str | None, **given: Any) -> int:
    """Set when a line is heard: seconds, or a time such as 1:02.5; - leaves the start as it is.

    A start alone moves the line, an end that was set moves with it.

    \b
    polydub review talk time 3 62.5
    polydub review talk time 3 1:02.5 1:04
    polydub review talk time 3 --by -0.2
    polydub review talk time 3 --back
    """
    by = given["by"]
    if [by is not None, start is not None, given["back"]].count(True) != 1:
        raise BadSettings("when is the line to be heard?", "give its start, and perhaps its end; or --by SECONDS; or --back")
    call = called(given)
    row = reading.row(call.dub, line)
    if by is not None:
        moved = row.start + _number(by, "--by")
        if moved < 0:
            raise BadSettings(f"line {line} would begin before the film", f"it begins at {row.start} s")
        return finish(call, operations.edit(call.dub, line, _moved(call, row, round(moved, 3)), row.revision))
    if given["back"]:
        return finish(call, operations.time(call.dub, line))
    fields = {name: _moment(text) for name, text in (("start", start), ("end", end)) if text not in (None, "-")}
    if not fields:
        raise BadSettings("when is the line to be heard?", "give its start or its end")
    if (begins := fields.get("start")) is not None and "end" not in fields:
        fields = _moved(call, row, begins)
    return finish(call, operations.edit(call.dub, line, fields, row.revision))


def _moved(call: Called, row: reading.Row, start: float) -> dict[str, float | None]:
    """What is set of a line that begins at another time, and ends so much later where an end was set."""
    ends = reading.state(call.dub).edits.line(row.id).end is not None
    moved: dict[str, float | None] = {"start": start}
    return moved | {"end": round(row.end + start - row.start, 3)} if ends else moved


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return read_time(text) / 1000
    except ValueError:
        raise BadSettings(f"{text!r} is no time", "write seconds, or a time such as 1:02.345") from None


@click.command(cls=Action, short_help="Make two lines of one.")
@on_dub
@renders
@click.argument("line", metavar="ID")
@click.argument("texts", metavar="[FIRST SECOND]", nargs=-1)
@click.option("--at", metavar="TIME", help="Where the source is cut: seconds, or a time such as 1:02.5.")
def split(line: str, texts: tuple[str, ...], at: str | None, **given: Any) -> int:
    """Make two lines of one: give both texts, or the time at which it is cut, or both.

    \b
    polydub review talk split 3 "Hola a todos." "Empecemos."
    polydub review talk split 3 --at 62.5
    """
    if len(texts) not in (0, 2):
        raise BadSettings(f"a split line has two texts, not {len(texts)}", 'give both in quotes: split 3 "Hola." "Adios."')
    call = called(given)
    both = (texts[0], texts[1]) if texts else None
    return finish(call, operations.split(call.dub, line, both, _moment(at)))


@click.command(cls=Action, short_help="Make one line of two.")
@on_dub
@renders
@click.argument("line", metavar="ID")
@click.argument("other", metavar="ID")
def merge(line: str, other: str, **given: Any) -> int:
    """Make one line of two of one speaker that follow each other."""
    call = called(given)
    return finish(call, operations.merge(call.dub, line, other))


@click.command(cls=Action, short_help="Have lines spoken anew, by another seed.")
@on_dub
@renders
@click.argument("lines", metavar="ID...", nargs=-1, required=True)
def regen(lines: tuple[str, ...], **given: Any) -> int:
    """Have lines spoken anew with another seed; the takes there are stay (see `use`)."""
    call = called(given)
    return finish(call, operations.regen(call.dub, ids(call, lines), features(call.dub)))


@click.command(cls=Action, short_help="Choose an older take of a line.")
@on_dub
@renders
@click.argument("line", metavar="ID")
@click.argument("take", metavar="TAKE")
def use(line: str, take: str, **given: Any) -> int:
    """Choose an older take of a line: its text, voice and recording. Nothing is spoken."""
    number = take.removeprefix("v")
    if not number.isdecimal():
        raise BadSettings(f"{take!r} is no take", "takes have numbers: polydub review show tells them")
    call = called(given)
    return finish(call, operations.use(call.dub, line, int(number)))


def _everything(function: Any) -> Any:
    function = click.option("--all", "everything", is_flag=True, help="All lines.")(function)
    return click.argument("lines", metavar="ID...", nargs=-1)(function)


@click.command(cls=Action, short_help="Mark lines as approved.")
@on_dub
@_everything
@click.option("--draft", is_flag=True, help="Make them drafts again.")
def approve(lines: tuple[str, ...], everything: bool, draft: bool, **given: Any) -> int:
    """Mark lines as approved: `approve 1-20,25`. The film does not change by it."""
    call = called(given)
    wanted = ids(call, lines, everything=everything)
    return finish(call, operations.approve(call.dub, wanted, approved=not draft), rendering=False)


@click.command(cls=Action, short_help="Lock lines: text, take and time stay.")
@on_dub
@_everything
def lock(lines: tuple[str, ...], everything: bool, **given: Any) -> int:
    """Lock lines: text, take and time stay, whatever is done to the dub, also with new engines or a new transcript."""
    call = called(given)
    return finish(call, operations.lock(call.dub, ids(call, lines, everything=everything)), rendering=False)


@click.command(cls=Action, short_help="Let locked lines change again.")
@on_dub
@_everything
def unlock(lines: tuple[str, ...], everything: bool, **given: Any) -> int:
    """Let locked lines change again."""
    call = called(given)
    wanted = ids(call, lines, everything=everything)
    if everything:
        locked = reading.state(call.dub).edits.locks
        wanted = [id_ for id_ in wanted if id_ in locked]
    return finish(call, operations.unlock(call.dub, wanted) if wanted else None, rendering=False)


@click.command(cls=Action, short_help="Take the last change back.")
@on_dub
@renders
def undo(**given: Any) -> int:
    """Take the last change back; again for the one before."""
    call = called(given)
    change = operations.undo(call.dub)
    return finish(call, change, rendering=_audible(change), more={"done": "undone"})


@click.command(cls=Action, short_help="Make an undone change again.")
@on_dub
@renders
def redo(**given: Any) -> int:
    """Make the change again that was taken back last."""
    call = called(given)
    change = operations.redo(call.dub)
    return finish(call, change, rendering=_audible(change), more={"done": "redone"})


def _audible(change: Change) -> bool:
    """Whether the film is another one by it: approving and locking change nothing in it."""

    def heard(patch: Patch) -> list[LineEdit]:
        return [(edit or LineEdit()).model_copy(update={"status": "draft"}) for _, edit in sorted(patch.lines.items())]

    return heard(change.before) != heard(change.after) or bool(change.after.speakers) or change.after.cuts is not None


CHANGES = (edit, voice, time, split, merge, regen, use, approve, lock, unlock, undo, redo)
