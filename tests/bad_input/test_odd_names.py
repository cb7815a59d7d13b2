"""Names that are commands, flags, patterns or no text at all: dubbed like any other, never executed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from desk import Desk

NAMES = {
    "spaces": " two  words ",
    "quotes": 'it\'s "said"',
    "newline": "two\nlines",
    "command": "$(touch canary) `touch canary`;touch canary|touch canary&",
    "emoji": "😀 fête 日本",
    "dash": "-x",
    "flag": "--output",
    "percent": "%s%n%x%d",
    "protocol": "concat:film.mp4|film.mp4",
    "pattern": "[a-z]*?{1,2}",
    "filter": "a,b;c[x]'y\\:z=1",
    "escape": "\x1b[31mred\x07",
    "dots": "..mp4",
    "latin-1": os.fsdecode(b"caf\xe9"),
    "long": "x" * 200,
}


class TestNames:
    @pytest.mark.parametrize("what", NAMES)
    def test_any_name_is_dubbed_and_none_is_executed(self, desk: Desk, film: Path, what: str) -> None:
        (desk.folder / "in").mkdir()
        try:
            media = film.rename(desk.folder / "in" / f"{NAMES[what]}.mp4")
            subtitles = shutil.copy("good.srt", f"in/{NAMES[what]}.srt")
        except OSError:
            pytest.skip("this disk does not allow such a name")
        assert desk.dub(media, texts=("--transcript", subtitles)) == 0
        assert not list(desk.folder.rglob("canary"))
        (folder,) = (p for p in (desk.folder / "Out").iterdir() if p.name != ".polydub")
        made = {p.name for p in folder.iterdir()}
        assert {"dub.es.mkv", "report.es.html", "script.es.json"} <= made
        assert "\x1b" not in desk.err

    def test_a_leading_dash_needs_two_dashes_or_a_folder_before_it(self, desk: Desk, film: Path) -> None:
        film.rename("-x.mp4")
        assert desk.dub("-x.mp4") == 3
        assert desk.dub("--", "-x.mp4") == 0
        assert desk.dub("./-x.mp4") == 0
        assert [p.name for p in Path("Out").iterdir() if p.name != ".polydub"] == ["-x"]

    def test_a_name_that_is_too_long_for_what_is_made_of_it_is_told(self, desk: Desk, film: Path) -> None:
        name = "x" * 251 + ".mp4"
        film.rename(name)
        assert desk.dub(name) in (0, 6)
        assert desk.dub("x" * 300 + ".mp4") == 2

    def test_names_of_speakers_and_texts_are_only_texts(self, desk: Desk, film: Path) -> None:
        evil = "$(touch canary) <script>alert(1)</script> '; touch canary #"
        Path("evil.vtt").write_text(f"WEBVTT\n\n00:00.200 --> 00:01.000\n<v ../../up>{evil.replace('<', '&lt;')}\n")
        assert desk.dub(film.name, "--debug", texts=("--transcript", "evil.vtt")) == 0
        assert not list(desk.folder.rglob("canary"))
        assert "<script>alert(1)" not in Path("Out/film/report.es.html").read_text()
        assert set(desk.folder.iterdir()) == {film, desk.folder / "good.srt", desk.folder / "evil.vtt", desk.folder / "Out"}
