"""The weights that tests make are made once, anew when what makes them changes, and a failure leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_weights

pytestmark = [pytest.mark.neural, pytest.mark.slow]
SCRIPT = """
import sys
from pathlib import Path
from neighbour import TEXT
Path(sys.argv[1], "made.txt").write_text(TEXT)
assert TEXT != "bad", "nothing good"
"""


def test_a_changed_neighbour_makes_them_anew_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    scripts, made = tmp_path / "scripts", tmp_path / "made"
    scripts.mkdir()
    (scripts / "script.py").write_text(SCRIPT)

    def make(text: str) -> Path:
        (scripts / "neighbour.py").write_text(f"TEXT = {text!r}")
        return tiny_weights.tiny("piper", "script", scripts, made)

    first = make("one")
    (first / "mark").touch()
    assert make("one") == first and (first / "mark").exists()
    assert (make("another") / "made.txt").read_text() == "another"
    with pytest.raises(AssertionError, match="nothing good"):
        make("bad")
    assert len([path for path in made.iterdir() if path.is_dir()]) == 2
