"""`polydub translate`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from polydub import project, standalone
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.dubbing import Ears, language_of_name
from polydub.errors import BadSettings

SETTINGS = (
    "to",
    "source_language",
    "mt",
    "glossary",
    "summary",
    "device",
    "models",
    "environments",
    "store",
    "offline",
    "strict",
    "threads",
)


@click.command()
@click.argument("file", type=PATH)
@click.option("-o", "--out", type=PATH, help="File to write; - for stdout. [default: NAME.LANG.srt beside FILE]")
@settings_options(
    SETTINGS,
    to="Languages to translate into: codes or names (es, es-MX, Spanish), several with commas.",
    source_language="Language of the subtitles: a code or a name; auto = as the file or its name tells.",
)
@common
def translate(file: Path, out: Path | None, **given: Any) -> int:
    """Translate a subtitle file, or the subtitles inside a video, keeping numbers and times.

    \b
    polydub translate talk.en.srt --to es
    polydub translate talk.mkv --to es --from en --out -
    """
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    targets = loaded.settings.to
    if len(targets) > 1 and out is not None:
        raise BadSettings("several languages cannot go into one file", "leave out --out, or translate one language at a time")
    rows: list[dict[str, Any]] = []
    for target in targets or ("",):
        with Meter() as meter:
            done = standalone.translate_file(file, target, loaded, Ears(meter.show, meter.say))
        path = out or _beside(file, target, done)
        output.say_notices(done.notices, given["verbose"])
        if done.usage.calls:
            output.say(output.usage(done.usage))
        if str(path) == "-":
            output.result(done.text.rstrip("\n"))
        else:
            if out is None and path.exists() and path.read_bytes() != done.text.encode("utf-8", "backslashreplace"):
                raise BadSettings(f"{path} exists already", f"keep it with another name, or replace it: --out {path}")
            _protect(path, file)
            project.write(path, done.text)
            rows.append({"language": target, "file": str(path), "lines": done.lines, "usage": asdict(done.usage)})
            if not given["as_json"]:
                output.result(str(path))
    if given["as_json"]:
        output.result_json({"files": rows})
    return 0


def _beside(file: Path, target: str, done: standalone.Translated) -> Path:
    """NAME.LANG.srt beside the file. Raises BadSettings when there is another such file, perhaps somebody's own work."""
    stem = file.stem.rpartition(".")[0] if language_of_name(file) else file.stem
    path = file.with_name(f"{stem}.{target}.{done.format}")
    if path.exists() and path.read_bytes() != done.text.encode():
        raise BadSettings(f"{path} is there already, with another text", f"to replace it: --out {shlex.quote(str(path))}")
    return path


def _protect(path: Path, file: Path) -> None:
    if path.exists() and path.samefile(file):
        raise BadSettings(f"{path} is the file to translate itself", "choose another name with --out")
