"""The desk, a good film, and permissions that hold for root, too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import SRT, Desk


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An empty desk with good.srt."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.srt").write_text(SRT)
    return Desk(tmp_path, capsys)


@pytest.fixture
def film(desk: Desk, clip: Callable[..., Path]) -> Path:
    """A good film of two seconds with AAC sound."""
    return clip("film", seconds=2.0, suffix=".mp4")


@pytest.fixture
def mortal() -> tuple[str, ...]:
    """A prefix under which permissions hold for root, too."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("tests run as root, and setpriv cannot take its privileges away")
    return prefix
