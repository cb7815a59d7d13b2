"""`polydub lip-sync`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from polydub import finishing
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.dubbing import Ears

SETTINGS = ("lip_sync", "to", "device", "models", "environments", "format", "output", "store", "threads", "strict")


@click.command("lip-sync")
@click.argument("video", type=PATH)
@click.argument("audio", type=PATH)
@click.option("-o", "--out", type=PATH, help="File to write. [default: in the output folder]")
@settings_options(
    SETTINGS,
    to="Language of the speech: a code or a name (es, es-MX, Spanish).",
    lip_sync="Engine, as name[,option=value...]: latentsync, musetalk, wav2lip (a checkout of yours).",
)
@common
def lip_sync(video: Path, audio: Path, out: Path | None, **given: Any) -> int:
    """Move the mouths in a video to a finished speech track, which becomes its first sound.

    \b
    polydub lip-sync talk.mp4 spanish.wav --lip-sync wav2lip --out talk.es.mp4
    """
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    with Meter() as meter:
        done = finishing.lip_sync_films(video, audio, out, loaded, Ears(meter.show, meter.say))
    output.say_notices(done.notices, given["verbose"])
    if given["as_json"]:
        output.result_json({"file": str(done.film), "notices": [notice.text for notice in done.notices]})
    else:
        output.result(str(done.film))
    return 0
