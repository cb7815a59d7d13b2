"""The examples of `docs/how-to/python.md` run as they stand, one after the other in one program."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING

import imageio_ffmpeg
import pytest

import polydub
from polydub import review, voices

if TYPE_CHECKING:
    from polydub.sample import SampleFiles

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMES = {"polydub": polydub, "review": review, "voices": voices}


@pytest.fixture
def scratch(sample: SampleFiles, tmp_path: Path) -> Path:
    """A folder with what the page names: clip.mp4, clip.en.srt, clip.es.srt, anna.wav."""
    remux = ["-i", str(sample.video), "-map", "0:v", "-map", "0:a", "-c", "copy", str(tmp_path / "clip.mp4")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *remux], check=True, stdin=subprocess.DEVNULL)
    copy(sample.transcript, tmp_path / "clip.en.srt")
    copy(sample.translation, tmp_path / "clip.es.srt")
    polydub.speak(
        "We have waited a long time for this day, and many of us have come from far away to see it.",
        tmp_path / "anna.wav", to="en", tts="espeak-ng",
    )  # fmt: skip
    return tmp_path


@pytest.mark.slow
def test_they_run_and_leave_what_they_say(scratch: Path) -> None:
    program = "\n".join(EXAMPLES)
    environment = {**os.environ, "XDG_DATA_HOME": str(scratch / "data"), "POLYDUB_DOWNLOAD": "no"}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=scratch, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    said = ran.stdout
    assert said.startswith("Output/clip/dub.es.mkv\n1 1.0 SPEAKER_00 Buenos días")
    assert "bad-input there is no file no-such-film.mp4" in said
    assert "clip.mp4 remembered" in said and "no-such-film.mp4 failed there is no file" in said
    assert "line 6 was changed" in said
    assert "Eso era polydub." in (scratch / "clip.es.csv").read_text(encoding="utf-8")
    assert (scratch / "voices" / "Anna" / "voice.json").is_file() and (scratch / "dias.mp3").is_file()
    assert (scratch / "live" / "clip" / "stream" / "index.m3u8").is_file()
    assert said.splitlines()[-1].endswith("index.m3u8 3")


def test_they_name_only_what_is_exported() -> None:
    for example in EXAMPLES:
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in NAMES:
                assert node.attr in NAMES[node.value.id].__all__, f"{node.value.id}.{node.attr}"


def test_everything_that_is_exported_tells_what_it_does() -> None:
    for module in NAMES.values():
        for name in module.__all__:
            assert name == "__version__" or getattr(module, name).__doc__, f"{module.__name__}.{name}"
