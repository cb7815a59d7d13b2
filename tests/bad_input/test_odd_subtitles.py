"""Subtitles that are odd, wrong or none: repaired with a notice, or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import SRT, Desk


def late(text: str) -> str:
    return text.replace("00:00:01,100 --> 00:00:01,900", "00:00:09,000 --> 00:00:12,000")


TEXTS: dict[str, tuple[str | bytes, int, str]] = {  # what the file holds, lines in the dub, notice
    "overlap": (SRT.replace("00:00:01,100", "00:00:00,500"), 2, ""),
    "negative": (SRT.replace("00:00:00,200", "-00:00:00,200"), 2, "cue-times-repaired"),
    "reversed": (SRT.replace("00:00:00,200 --> 00:00:01,000", "00:00:01,000 --> 00:00:00,200"), 2, "cue-times-repaired"),
    "unsorted": (SRT.replace("00:00:01,100 --> 00:00:01,900", "00:00:00,000 --> 00:00:00,100"), 2, "cues-unsorted"),
    "no-length": (SRT.replace("--> 00:00:01,000", "--> 00:00:00,200"), 2, "zero-length-cues"),
    "twice": (SRT + "\n" + SRT, 2, "duplicate-cues"),
    "bad-time": (SRT.replace("00:00:01,100", "00:xx:01,100"), 1, "bad-cue-time"),
    "empty-cue": (SRT.replace("Hello everybody.", ""), 1, "empty-cues"),
    "html": (SRT.replace("Hello everybody.", '<font color="red"><b>Hello</b></font> &amp; {\\an8}all'), 2, ""),
    "cp1252": (SRT.replace("Hello", "El niño dice «adiós»").encode("cp1252"), 2, "encoding-guessed"),
    "utf-16": (SRT.encode("utf-16"), 2, ""),
    "bom-crlf": (("\ufeff" + SRT.replace("\n", "\r\n")).encode(), 2, ""),
    "bad-bytes": (SRT.encode() + b"\xff\x81\xfe\n", 2, "encoding-guessed"),
    "longer-than-the-film": (late(SRT), 1, "cue-after-end"),
    "runs-over-the-end": (SRT.replace("00:00:01,900", "00:00:30,000"), 2, ""),
    "far-too-long": (SRT.replace("See you soon.", "word " * 60), 2, "overflow"),
}


class TestSubtitles:
    @pytest.mark.parametrize("what", TEXTS)
    def test_odd_subtitles_are_repaired_with_a_notice(self, desk: Desk, film: Path, what: str) -> None:
        text, lines, notice = TEXTS[what]
        Path("odd.srt").write_bytes(text if isinstance(text, bytes) else text.encode())
        assert desk.dub(film.name, "--verbose", texts=("--transcript", "odd.srt")) == 0
        assert len(desk.report["lines"]) == lines
        assert not notice or notice in desk.notices
        assert all(line["start"] >= 0 and line["duration"] > 0 for line in desk.report["lines"])  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("empty.srt", b"", "no subtitles"),
            ("blank.srt", b"\n \n\n", "no subtitles"),
            ("prose.srt", b"This is no subtitle file.\n", "no subtitles"),
            ("all-empty.srt", SRT.replace("Hello everybody.", "").replace("See you soon.", "").encode(), "no subtitles"),
            ("bytes.srt", bytes(range(256)) * 20, "no subtitles"),
            ("other.srt", SRT.replace("00:00:0", "00:10:0").encode(), "after the end of the film"),
            ("broken.json", b'{"segments": [', "JSON"),
            ("wrong.json", b'{"segments": [{"start": "x", "end": 1, "text": "a"}]}', "$.segments[0].start"),
            ("deep.json", b"[" * 200_000, "JSON"),
            ("binary.txt", b"\0\1\2\0", "not text"),
        ],
    )
    @pytest.mark.parametrize("role", ["transcript", "translation"])
    def test_files_that_hold_none_end_with_status_2(
        self, desk: Desk, film: Path, role: str, name: str, data: bytes, words: str
    ) -> None:
        Path(name).write_bytes(data)
        assert desk.dub(film.name, texts=(f"--{role}", name)) == 2
        desk.says(words)

    def test_of_two_given_files_the_bad_one_is_named(self, desk: Desk, film: Path) -> None:
        Path("empty.srt").touch()
        assert desk.dub(film.name, texts=("--transcript", "good.srt", "--translation", "empty.srt")) == 2
        desk.says("translation: ")
