"""`polydub lip-sync VIDEO AUDIO`: what is refused, and that it writes nothing then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Call


def test_it_says_what_is_missing(polydub: Call, film: Path) -> None:
    nobody = polydub("lip-sync", film, film)
    assert (nobody.status, "nobody said what shall move the lips" in nobody.err, "--lip-sync wav2lip" in nobody.err) == (
        3,
        True,
        True,
    )
    assert polydub("lip-sync", film, "none.wav", "--lip-sync", "fake").status == 2
    assert polydub("lip-sync", film, film, "--lip-sync", "fake", "-o", "x.avi").status == 3
    same = polydub("lip-sync", film, film, "--lip-sync", "fake,faces=fake", "-o", film)
    assert (same.status, "one of the inputs" in same.err) == (3, True)


@pytest.mark.slow
def test_the_film_is_told(polydub: Call, film: Path) -> None:
    told = polydub("lip-sync", film, film, "--lip-sync", "fake,faces=fake", "-o", "moved.mkv", "--json")
    assert (told.status, json.loads(told.out)["file"]) == (0, "moved.mkv")
    assert Path("moved.mkv").stat().st_size > 1000
