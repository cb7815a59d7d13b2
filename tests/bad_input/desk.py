"""A folder where polydub is called with bad input, and what must hold whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import pytest

from polydub.cli import run

SRT = "1\n00:00:00,200 --> 00:00:01,000\nHello everybody.\n\n2\n00:00:01,100 --> 00:00:01,900\nSee you soon.\n"
FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-v", "error", "-y")
PROGRAM = (sys.executable, "-c", "from polydub.cli import main; main()")


@dataclass
class Desk:
    """A folder with good subtitles in it, where polydub is called; `Out` is the only place that it may write to."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    words: tuple[str, ...] = ("--to", "es", "--from", "en", "--tts", "fake", "--mt", "fake", "--output", "Out")
    err: str = ""
    out: str = ""

    def dub(self, *arguments: str | Path, texts: tuple[str | Path, ...] = ("--transcript", "good.srt")) -> int:
        """The exit status of `polydub dub`; asserts what must hold whatever happens."""
        before = self.look()
        self.capsys.readouterr()
        status = run([str(a) for a in ("dub", *self.words, *texts, *arguments)])
        self.out, self.err = self.capsys.readouterr()
        self.check(status)
        assert self.look() == before, "a file outside the output folder changed"
        return status

    def check(self, status: int) -> None:
        assert "Traceback" not in self.err
        assert "unexpected" not in self.err
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (status not in (0, 130)), self.err
        assert bool(self.out) == (status == 0)
        if status:
            assert "hint: " in self.err, "an error says what to do"

    def says(self, *words: str) -> None:
        """Asserts that the last call told these words."""
        for word in words:
            assert word in self.err

    def look(self) -> dict[str, tuple[int, bytes]]:
        """Every file outside the output folder: when it was changed, what it holds."""
        found = (p for p in self.folder.rglob("*") if p.is_file() and "Out" not in p.relative_to(self.folder).parts)
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if os.access(p, os.R_OK) else b"") for p in found}

    @property
    def report(self) -> dict[str, list[dict[str, object]]]:
        """The report of the only film in the output folder."""
        (path,) = (self.folder / "Out").glob("*/report.es.json")
        return json.loads(path.read_text())

    @property
    def notices(self) -> set[object]:
        return {notice["code"] for notice in self.report["notices"]}


def ffmpeg(*arguments: str | Path) -> int:
    return subprocess.run([*FFMPEG, *map(str, arguments)], capture_output=True, check=False).returncode


def hls(*targets: str) -> str:
    parts = "".join(f"#EXTINF:2,\n{target}\n" for target in targets)
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n{parts}#EXT-X-ENDLIST\n"


def process(*arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """`polydub dub` with the desk's words in a process of its own."""
    words = ("dub", *Desk.words, "--transcript", "good.srt", *map(str, arguments))
    return subprocess.Popen(
        [*before, *PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
