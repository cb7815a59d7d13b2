"""The command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import SOURCE, TARGET, Call, Told

from polydub.cli import run


@pytest.fixture
def polydub(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`polydub("dub", "talk.mkv", "--to", "es")` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Told:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Told(status, *capsys.readouterr())

    return call


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Path:
    """talk.mkv of two seconds, with talk.en.srt and talk.es.srt beside it."""
    (tmp_path / "talk.en.srt").write_text(SOURCE)
    (tmp_path / "talk.es.srt").write_text(TARGET)
    return clip("talk", seconds=2.0)
