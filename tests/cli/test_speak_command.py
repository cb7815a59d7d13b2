"""`polydub speak` in every format, as a file and as a stream."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import soundfile
from command_line import PROGRAM

from polydub.text import chunks

WORDS = ("Hola a todos.", "--to", "es", "--tts", "fake")
SECONDS = 13 / 15 + 0.1  # that the fake voice takes
LONG = " ".join(f"Esta es la frase {n} de un texto bastante largo." for n in range(60))


def speak(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PROGRAM, "speak", *arguments], cwd=folder, capture_output=True, check=False)


@pytest.mark.parametrize(("name", "kind"), [("a.mp3", "MP3"), ("a.opus", "OGG"), ("a.FLAC", "FLAC"), ("a.wav", "WAV")])
def test_the_ending_is_the_format(tmp_path: Path, name: str, kind: str) -> None:
    told = speak(tmp_path, *WORDS, "--out", name)
    assert (told.returncode, told.stdout) == (0, f"{name}\n".encode()), told.stderr
    info = soundfile.info(tmp_path / name)
    assert info.format == kind and abs(info.duration - SECONDS) < 0.06


def test_a_stream_into_a_file_gives_the_same_file(tmp_path: Path) -> None:
    for name, more in (("a.wav", ()), ("b.wav", ("--stream",))):
        assert speak(tmp_path, LONG, *WORDS[1:], "--out", name, *more).returncode == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_stdout_gets_a_wav_without_a_length_and_nothing_else(tmp_path: Path) -> None:
    told = speak(tmp_path, *WORDS, "--out", "-")
    assert told.returncode == 0 and told.stdout[:4] == b"RIFF" and told.stdout[40:44] == b"\xff\xff\xff\xff"
    assert (len(told.stdout) - 44) / 2 / 22_050 == pytest.approx(SECONDS, abs=0.01)


def test_a_long_text_is_spoken_in_pieces_with_a_short_pause(tmp_path: Path) -> None:
    assert speak(tmp_path, LONG, *WORDS[1:], "--out", "a.wav").returncode == 0
    pieces = chunks.split(LONG, language="es")
    assert len(pieces) > 2
    expected = sum(len(piece) / 15 + 0.1 for piece in pieces) + (len(pieces) - 1) * chunks.PAUSE_S
    assert soundfile.info(tmp_path / "a.wav").duration == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--out", "a.aac"), b".opus"), (("--out", "a"), b".wav"), (("--out", "a.mp3", "--stream"), b"cannot be streamed")],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: tuple[str, ...], words: bytes) -> None:
    told = speak(tmp_path, *WORDS, *arguments)
    assert told.returncode == 3 and words in told.stderr and not list(tmp_path.glob("a*"))


def test_json_tells_when_the_first_sound_was_there(tmp_path: Path) -> None:
    told = json.loads(speak(tmp_path, *WORDS, "--out", "a.pcm", "--stream", "--json").stdout)
    assert told["rate"] == 22_050 and 0 <= told["first_sound"] < 60
    assert (tmp_path / "a.pcm").stat().st_size == pytest.approx(2 * 22_050 * SECONDS, abs=100)
