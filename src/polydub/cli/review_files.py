"""`polydub review PROJECT export` and `import`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from polydub.cli import output, review_text
from polydub.cli.options import PATH
from polydub.cli.review_common import Action, called, check_voices, finish, on_dub, renders
from polydub.errors import BadSettings
from polydub.review import exporting, importing


@click.command("export", cls=Action, short_help="Write the lines to a file: CSV, XLSX, SRT, VTT.")
@on_dub
@click.argument("file", type=PATH, required=False)
@click.option("--takes", is_flag=True, help="Write all takes as WAV files into the project's folder `review`.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def export(file: Path | None, takes: bool, force: bool, **given: Any) -> int:
    """Write the lines to FILE for somebody to work on: .csv, .xlsx, .srt or .vtt.

    \b
    polydub review talk export talk.es.xlsx
    polydub review talk import talk.es.xlsx
    """
    call = called(given)
    if file is None and not takes:
        raise BadSettings("which file shall the lines go to?", "give its name: export talk.es.csv, .xlsx, .srt or .vtt")
    told: dict[str, Any] = {"project": str(call.dub.folder), "language": call.dub.language}
    if file is not None:
        told |= {"file": str(file), "lines": exporting.export_lines(call.dub, file, overwrite=force)}
    files: list[Path] = []
    if takes:
        from polydub.review.takes import export_takes
        from polydub.store import Store

        with closing(Store(call.store)) as store:
            files = [take.file for take in export_takes(call.dub, store)]
        told["takes"] = [str(path) for path in files]
    if call.as_json:
        output.result_json(told)
        return 0
    for path in ([file] if file else []) + files:
        output.result(str(path))
    if takes and not files:
        output.say("there are no takes yet: a line has some once it was changed")
    return 0


@click.command("import", cls=Action, short_help="Take over what was changed in such a file.")
@on_dub
@renders
@click.argument("file", type=PATH)
@click.option("--force", is_flag=True, help="Take the file's version of lines that were changed here as well.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def import_(file: Path, force: bool, dry_run: bool, **given: Any) -> int:
    """Take over what somebody changed in an exported FILE; one undo takes it all back.

    Lines that were changed here since the export stay as they are and are listed, unless --force. Locked lines always stay.
    """
    call = called(given)
    brought = importing.import_lines(call.dub, file, lambda names: check_voices(call, names), force=force, dry_run=dry_run)
    groups = {"taken": brought.taken, "conflicts": brought.conflicts, "locked": brought.locked}
    if not call.as_json:
        _tell(brought, dry_run=dry_run, forced=force)
    facts: dict[str, Any] = {name: [_facts(x) for x in found] for name, found in groups.items()}
    facts |= {"missing": list(brought.missing), "dry_run": dry_run}
    if dry_run:
        if call.as_json:
            output.result_json({"project": str(call.dub.folder), "language": call.dub.language} | facts)
        return 0
    return finish(call, brought.change, rendering=any(x.field != "status" for x in brought.taken), more=facts)


def _tell(brought: importing.Import, *, dry_run: bool, forced: bool) -> None:
    would = "would be changed:" if dry_run else "changed:"
    conflict = "changed here as well, so nothing of these lines is taken (--force takes the file's):"
    told = review_text.differences(brought.taken, would)
    told += [] if forced else review_text.differences(brought.conflicts, conflict)
    told += review_text.differences(brought.locked, "locked, so they stay as they are:")
    for text in told:
        (output.result if dry_run else output.say)(text)
    if dry_run and not brought.taken:
        output.say("nothing would be changed")
    if brought.missing:
        several = "lines are" if len(brought.missing) > 1 else "line is"
        output.say(f"{len(brought.missing)} {several} not in the file and stay: {', '.join(brought.missing[:20])}")


def _facts(difference: importing.Difference) -> dict[str, Any]:
    return {
        "line": difference.line,
        "field": difference.field,
        "from": review_text.shown(difference, difference.here),
        "to": review_text.shown(difference, difference.there),
        "where": difference.where,
    }


FILES = (export, import_)
