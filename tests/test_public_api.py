"""`import polydub; polydub.dub(...)` is the command `polydub dub` without a shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import polydub
from polydub.errors import BadInput, PolydubError


def test_dub_gives_the_film_and_the_report(clip: Callable[..., Path], tmp_path: Path) -> None:
    subtitles = tmp_path / "anything.srt"
    subtitles.write_text("1\n00:00:00,500 --> 00:00:02,000\nHola.\n", encoding="utf-8")
    settings = {"to": "es", "tts": "fake", "output": str(tmp_path / "out")}
    (first,) = polydub.dub(clip("talk", seconds=3), translations={"Spanish": subtitles}, **settings)
    assert first.language == "es"
    assert first.film == tmp_path / "out" / "talk" / "dub.es.mkv"
    assert first.film.is_file()
    assert first.report.is_file()
    (second,) = polydub.dub(tmp_path / "talk.mkv", translations={"es": subtitles}, **settings)
    assert second.called == 0


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file") as caught:
        polydub.dub(tmp_path / "nothing.mp4", to="es")
    assert isinstance(caught.value, PolydubError)
    assert caught.value.hint
