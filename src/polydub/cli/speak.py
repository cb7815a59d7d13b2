"""`polydub speak`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from polydub import standalone
from polydub.cli import output
from polydub.cli.options import PATH, common, read, settings_options
from polydub.errors import BadInput

SETTINGS = ("to", "tts", "device", "offline")


@click.command()
@click.argument("text", required=False)
@click.option("--file", type=PATH, help="Speak this text file; - for stdin.")
@click.option("--voice", help="Voice, as `polydub engines --voices LANG` lists them. [default: the engine's first]")
@click.option("--rate", type=float, default=1.0, show_default=True, help="Speaking rate, 0.5 to 2; 1 is the voice's own.")
@click.option("-o", "--out", type=PATH, default=Path("speech.wav"), show_default=True, help="WAV or FLAC file.")
@settings_options(SETTINGS, to="Language of the text: a code or a name (es, es-MX, Spanish).")
@common
def speak(text: str | None, file: Path | None, out: Path, **given: Any) -> int:
    """Speak a text into a sound file.

    \b
    polydub speak "Hola a todos." --to es --out hello.wav
    """
    loaded = read({key: given[key] for key in SETTINGS}, given["job"])
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else standalone.read_text(file)
    if not (text or "").strip():
        raise BadInput("there is no text to speak", 'give it in quotes: polydub speak "Hello." --to en')
    utterance = standalone.Utterance(text or "", given["voice"], given["rate"])
    made = standalone.speak_text(utterance, loaded, out)
    if given["as_json"]:
        output.result_json({"file": str(out), "duration": made.duration, "voice": made.voice, "engine": made.engine})
    else:
        output.result(str(out))
    return 0
