from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from postgres import cluster, postgres

from small_dubs import TALK, srt

__all__ = ["cluster", "postgres"]


@pytest.fixture
def film(clip: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """`film(folder, number)` -> the request of a dub of a small film, whose uploads lie in the folder; no two sound alike."""

    def make(folder: Path, number: int = 1, **settings: Any) -> dict[str, Any]:
        uploads, name = folder / "files" / "uploads", f"film{number}"
        uploads.mkdir(parents=True, exist_ok=True)
        clip(name, seconds=6 + number / 5).rename(uploads / name)
        cues = [(start + number / 100, end + number / 100, f"{text} {number}" + " yes" * number) for start, end, text in TALK]
        (uploads / f"{name}-text").write_text(srt(cues), encoding="utf-8")
        fakes = {"tts": "fake", "mt": "fake", "asr": "fake"}
        return {
            "input": {"upload": name, "name": f"{name}.mkv"},
            "to": ["es"],
            "transcript": {"upload": f"{name}-text", "name": f"{name}.en.srt"},
            "settings": fakes | settings,
        }

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a server, which is there."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
