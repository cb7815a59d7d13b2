"""`polydub review`: looking at lines and hearing them. What changes them is in `review_changes` and `review_files`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polydub.cli import output, review_text
from polydub.cli.options import PATH
from polydub.cli.review_changes import CHANGES
from polydub.cli.review_common import Called, ProjectFirst, called, ids, line_facts, on_dub, render, renders, typed
from polydub.cli.review_files import FILES
from polydub.errors import BadSettings
from polydub.review import comparing, playing, reading

if TYPE_CHECKING:
    from polydub.edits import Version
    from polydub.store import Store


@click.group(cls=ProjectFirst)
def review() -> None:
    """See, change, lock and speak anew the lines of a dub.

    PROJECT is the folder of a dub (Output/talk), its name there (talk), or the film. Lines are named by the numbers that
    `list` shows; several as 1-20,25.

    \b
    polydub review talk list
    polydub review talk edit 3 "Otro texto."
    polydub review talk undo
    """


for _command in (*CHANGES, *FILES):
    review.add_command(_command)


@review.command("list", short_help="Show the lines.")
@on_dub
@click.option("--status", type=click.Choice(["draft", "approved", "locked"]), help="Only lines of this status.")
@click.option("--speaker", metavar="NAME", help="Only what this speaker says.")
@click.option("--notices", is_flag=True, help="Only lines that a person should look at.")
@click.option("--changed", is_flag=True, help="Only lines that were changed since the last render.")
@click.option("--search", metavar="TEXT", help="Only lines with this in their text or source, in any case.")
@click.option("-w", "--wide", is_flag=True, help="Show whole texts.")
def list_(**given: Any) -> int:
    """Show the lines: number, time, speaker, status (ok = approved), take, rate, text.

    A ! stands before lines that a person should look at, a * before those that were changed since the last render.
    """
    call = called(given)
    rows = reading.listing(call.dub)
    shown = [row for row in rows if _wanted(row, given)]
    if call.as_json:
        lines = [line_facts(row) for row in shown]
        output.result_json({"project": str(call.dub.folder), "language": call.dub.language, "lines": lines})
        return 0
    for line in review_text.table(shown, wide=given["wide"]):
        output.result(line)
    pending = sum(row.pending for row in rows)
    if pending:
        output.say(f"{pending} line{'s' * (pending > 1)} not rendered yet: {typed(call, 'render')}")
    if not shown and rows:
        output.say(f"none of {len(rows)} lines is like that")
    return 0


def _wanted(row: reading.Row, given: dict[str, Any]) -> bool:
    search, speaker = (given["search"] or "").casefold(), given["speaker"]
    return (
        (not given["status"] or row.status == given["status"])
        and (not speaker or row.speaker.casefold() == speaker.casefold())
        and (not given["notices"] or bool(row.notices))
        and (not given["changed"] or row.pending)
        and (search in row.text.casefold() or search in row.source_text.casefold())
    )


@review.command()
@on_dub
@click.argument("line", metavar="ID")
def show(line: str, **given: Any) -> int:
    """Show everything about a line."""
    call = called(given)
    row = reading.row(call.dub, line)
    changed = comparing.changes(call.dub, [line])
    versions = [_take(version) for version in reading.state(call.dub).edits.takes.get(line, ())]
    if call.as_json:
        output.result_json(line_facts(row) | {"versions": versions, "changed": changed[0].fields if changed else {}})
        return 0
    for text in review_text.everything(row, changed, versions):
        output.result(text)
    return 0


def _take(version: Version) -> dict[str, Any]:
    natural = [some[0] for some in version.spoken.takes.values()]
    return {
        "number": version.number,
        "text": version.spoken.text,
        "voice": version.spoken.voice,
        "duration": round(sum(take.duration for take in natural), 3),
        "seed": version.spoken.line.seed,
        "why": version.why,
        "when": version.when.isoformat(),
    }


@review.command(short_help="Show what was changed, or how takes differ.")
@on_dub
@click.argument("lines", metavar="[ID]...", nargs=-1)
@click.option("--takes", "compared", is_flag=True, help="Compare the takes of a line; which ones may follow its ID.")
def diff(lines: tuple[str, ...], compared: bool, **given: Any) -> int:
    """Show what a person changed, of these lines or of all; or how takes of one line differ.

    \b
    polydub review talk diff
    polydub review talk diff 3 --takes        all takes of line 3
    polydub review talk diff 3 --takes 1 2    two of them
    """
    call = called(given)
    if compared:
        return _diff_takes(call, lines)
    wanted = ids(call, lines) if lines else []
    found = comparing.changes(call.dub, wanted)
    if call.as_json:
        output.result_json({"lines": [{"line": x.line, "new": x.new, "gone": x.gone, "fields": x.fields} for x in found]})
        return 0
    for text in review_text.changes(found):
        output.result(text)
    if not found:
        output.say("nothing was changed")
    return 0


def _diff_takes(call: Called, words: tuple[str, ...]) -> int:
    if not words or not all(word.removeprefix("v").isdecimal() for word in words[1:]):
        raise BadSettings("which takes are to be compared?", "give a line and their numbers: diff 3 --takes 1 2")
    numbers = [int(word.removeprefix("v")) for word in words[1:]]
    with _store(call) as store:
        found = comparing.compare_takes(call.dub, store, words[0], numbers)
    if call.as_json:
        facts = [{**line_facts(take), "file": str(take.file)} for take in found]
        output.result_json({"line": words[0], "takes": facts})
        return 0
    for text in review_text.take_table(found):
        output.result(text)
    if not found:
        output.say(f"line {words[0]} has no takes yet: it has some once it was changed")
    return 0


def _store(call: Called) -> closing[Store]:
    from polydub.store import Store

    return closing(Store(call.store))


@review.command(short_help="Play a line.")
@on_dub
@click.argument("line", metavar="ID")
@click.option("--take", type=int, metavar="N", help="This take alone; without it the line as it is in the film.")
@click.option("--original", is_flag=True, help="What is said in the source.")
@click.option("-o", "--out", type=PATH, help="Write the sound to this file instead of playing it.")
def play(line: str, take: int | None, original: bool, out: Path | None, **given: Any) -> int:
    """Play a line; where nothing can play, tell in which file it is."""
    from polydub.media.play import play as heard

    call = called(given)
    if original:
        file = playing.original_file(call.dub, line)
    elif take is not None:
        with _store(call) as store:
            file = playing.take_file(call.dub, store, line, take)
    else:
        file = playing.line_file(call.dub, line)
    if out is not None:
        from polydub import project

        project.write(out, file.read_bytes())
    player = "" if out else heard(file)
    if call.as_json:
        output.result_json({"line": line, "file": str(out or file), "player": player or None})
        return 0
    output.result(str(out or file))
    if not player and not out:
        output.say("nothing here could play it: listen to that file")
    if take is None and not original and reading.row(call.dub, line).pending:
        output.say(f"this is what the last render says; line {line} was changed since")
    return 0


@review.command(short_help="Show all changes.")
@on_dub
def history(**given: Any) -> int:
    """Show what was changed, the newest first."""
    call = called(given)
    book = reading.state(call.dub).edits
    if call.as_json:
        rows = [{"what": x.what, "when": x.when.isoformat(), "lines": list(x.lines)} for x in book.history]
        output.result_json({"changes": rows, "done": book.done})
        return 0
    for text in review_text.past(book.history, book.done):
        output.result(text)
    if not book.history:
        output.say("nothing was changed yet")
    return 0


@review.command("render", short_help="Make the film with all that is noted.")
@on_dub
@renders
def render_(**given: Any) -> int:
    """Make the film with all that is noted; only what changed is done again."""
    if given["no_render"]:
        raise BadSettings("nothing is left to do with --no-render", "leave it out")
    call = called(given)
    made = render(call)
    if call.as_json:
        output.result_json({"project": str(call.dub.folder), "language": call.dub.language, "rendered": True} | made)
    else:
        output.result(made["film"])
    return 0
