"""`polydub sample`."""

from __future__ import annotations

from pathlib import Path

import click

from polydub.cli import output
from polydub.cli.options import PATH


@click.command()
@click.option("--output", "-o", "folder", type=PATH, default=Path("sample"), show_default=True,
              help="Folder to put it in.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def sample(folder: Path, as_json: bool, debug: bool) -> int:
    """Make a small video with two voices, music and subtitles, and a Spanish translation to dub it with."""
    from polydub.sample import make_sample

    made = make_sample(folder)
    files = {"video": made.video, "transcript": made.transcript, "translation": made.translation}
    if as_json:
        output.result_json({name: str(path) for name, path in files.items()})
    else:
        for path in files.values():
            output.result(str(path))
        output.say(f"now try: polydub dub {made.video} --to es --translation {made.translation}")
    return 0
