"""Letting a person hear a sound: whichever player the machine has, and a piece of a film as a file for it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from polydub.media.program import SAFE_INPUT, run, safe_link

# the first that is there and does not fail plays; all end by themselves and open no window
PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet", "--no-config"),
    ("play", "-q"),  # sox
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("afplay",),
)
_NO_SOUND = b"audio open failed"  # ffplay calls it a success


def play(sound: Path) -> str:
    """Plays a sound file to its end; the name of the player, "" where none is there or none could.

    A player may well be installed on a machine that has no loudspeaker.
    """
    for name, *options in PLAYERS:
        program = shutil.which(name)
        if program is None:
            continue
        command = [program, *options, str(sound.absolute())]
        played = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if played.returncode == 0 and _NO_SOUND not in played.stderr:
            return name
    return ""


def excerpt(film: Path, track: int, span: tuple[float, float], out: Path) -> None:
    """Writes the sound of a film between two moments, in seconds, as WAV. `track`: of its audio tracks, 0 = the first.

    Raises: UnreadableMedia, StoreError, EngineFailed.
    """
    start, end = span
    with tempfile.TemporaryDirectory(prefix="polydub-play-") as folder:
        link = safe_link(film, Path(folder))
        seek = ["-ss", f"{start:.3f}", "-t", f"{end - start:.3f}"]
        chosen = ["-map", f"0:a:{track}", "-c:a", "pcm_s16le", "-f", "wav", f"file:{out}"]
        run([*seek, *SAFE_INPUT, "-i", f"file:{link}", *chosen], stage="playing")
