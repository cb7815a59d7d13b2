"""`polydub speak`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from polydub import aloud
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options

SETTINGS = ("to", "tts", "device", "models", "environments", "offline", "voices")


@click.command()
@click.argument("text", required=False)
@click.option("--file", type=PATH, help="Speak this text file; - for stdin.")
@click.option(
    "--voice",
    help="Voice of the engine, as `polydub voices list --engine NAME` shows them, or of the library, or an alias. "
    "[default: the engine's first]",
)
@click.option("--rate", type=float, default=1.0, show_default=True, help="Speaking rate, 0.5 to 2; 1 is the voice's own.")
@click.option(
    "-o",
    "--out",
    type=PATH,
    default=Path("speech.wav"),
    show_default=True,
    help="File to write: its ending (.wav, .flac, .mp3, .opus, .pcm) is its format; - is stdout, as WAV.",
)
@click.option("--stream", is_flag=True, help="Write the sound while it is made (.wav and .pcm).")
@settings_options(SETTINGS, to="Language of the text: a code or a name (es, es-MX, Spanish).")
@common
def speak(text: str | None, file: Path | None, out: Path, **given: Any) -> int:
    """Speak a text into a sound file.

    \b
    polydub speak "Hola a todos." --to es --out hello.mp3
    polydub speak "Hola a todos." --to es --voice anna --tts xtts
    polydub speak --file book.txt --to es --out - | ffplay -nodisp -autoexit -
    """
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else aloud.read_text(file)
    utterance = aloud.Utterance(text or "", given["voice"], given["rate"])
    to_stdout = str(out) == "-"
    form = "wav" if to_stdout else aloud.form_of(out)
    target = sys.stdout.buffer if to_stdout else out
    made = aloud.speak_text(utterance, loaded, target, form, given["stream"])
    output.say_notices(made.notices, given["verbose"])
    if to_stdout:
        return 0
    if given["as_json"]:
        told: dict[str, object] = {"file": str(out), "duration": made.duration, "voice": made.voice, "engine": made.engine}
        told |= {"rate": made.rate_hz} if form == "pcm" else {}
        told |= {"first_sound": made.first_s} if given["stream"] else {}
        output.result_json(told)
    else:
        output.result(str(out))
    return 0
