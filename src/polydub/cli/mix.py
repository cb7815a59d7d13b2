"""`polydub mix`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from polydub import finishing
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.cli.progress import Meter
from polydub.dubbing import Ears

SETTINGS = (
    "to",
    "audio_track",
    "loudness",
    "lufs",
    "ducking_db",
    "ducking_attack_s",
    "ducking_release_s",
    "audio_bit_rate_kbps",
    "format",
    "store",
    "threads",
    "strict",
)


@click.command()
@click.argument("video", type=PATH)
@click.argument("speech", type=PATH)
@click.option("-o", "--out", type=PATH, help="File to write. [default: in the output folder]")
@settings_options(SETTINGS, to="Language of the speech: a code or a name (es, es-MX, Spanish).")
@common
def mix(video: Path, speech: Path, out: Path | None, **given: Any) -> int:
    """Lay a finished speech track over a video's own sound, which steps back under it.

    \b
    polydub mix talk.mp4 spanish.wav --to es --out talk.es.mkv
    """
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    with Meter() as meter:
        done = finishing.mix_films(video, speech, out, loaded, Ears(meter.show, meter.say))
    output.say_notices(done.notices, given["verbose"])
    if given["as_json"]:
        output.result_json({"file": str(done.film), "lufs": done.lufs, "true_peak_dbtp": done.true_peak})
    else:
        output.result(str(done.film))
        output.say(f"loudness {done.lufs:.1f} LUFS, true peak {done.true_peak:.1f} dBTP")
    return 0
