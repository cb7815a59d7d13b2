"""What is no media, damaged, silent or not there: one clear error or a notice, nothing lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Desk, ffmpeg, hls

from polydub.cli import run


class TestWhatIsNoMedia:
    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("text.mp4", b"This is only a text.\n" * 50, "a text file"),
            ("noise.mp4", bytes(range(256)) * 40, "not a video or sound file"),
            ("empty.mp4", b"", "empty"),
            ("zip.mkv", b"PK\x03\x04" + bytes(5000), "not a video or sound file"),
            ("page.webm", b"<html><body>404</body></html>", "a text file"),
            ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(2000), "not a video or sound file"),
        ],
    )
    def test_it_is_refused_in_words(self, desk: Desk, name: str, data: bytes, words: str) -> None:
        (desk.folder / name).write_bytes(data)
        assert desk.dub(name) == 2
        desk.says(words)

    def test_the_same_subtitles_and_flags_dub_a_real_film(self, desk: Desk, film: Path) -> None:
        assert desk.dub(film.name) == 0

    def test_an_mp4_whose_end_is_missing_is_refused(self, desk: Desk, film: Path) -> None:
        film.write_bytes(film.read_bytes()[:-2000])
        assert desk.dub(film.name) == 2
        desk.says("cut off")

    def test_of_a_truncated_film_what_is_there_is_dubbed_with_a_notice(self, desk: Desk, clip: Callable[..., Path]) -> None:
        cut = clip("cut", seconds=4.0)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        assert desk.dub(cut.name) == 0
        assert "sound-cut-short" in desk.notices

    def test_a_wrong_ending_does_not_matter(self, desk: Desk, film: Path) -> None:
        film.rename("film.mp3")
        assert desk.dub("film.mp3") == 0

    def test_a_film_without_sound_is_refused(self, desk: Desk, clip: Callable[..., Path]) -> None:
        assert desk.dub(clip("mute", sound="none", seconds=1.0).name) == 2
        desk.says("no audio track")

    def test_a_silent_film_is_dubbed_with_a_notice(self, desk: Desk, clip: Callable[..., Path]) -> None:
        assert desk.dub(clip("still", sound="silence", seconds=2.0).name) == 0
        assert "silent-source" in desk.notices
        assert "silent" in desk.err

    def test_sound_of_zero_length_is_refused(self, desk: Desk) -> None:
        assert ffmpeg("-f", "lavfi", "-i", "anullsrc", "-t", "0", "none.wav") == 0
        assert desk.dub("none.wav") == 2
        desk.says("zero length")

    def test_pipes_devices_and_folders_are_refused_without_waiting(self, desk: Desk, film: Path) -> None:
        os.mkfifo("pipe.mp4")
        Path("folder.mp4").mkdir()
        assert desk.dub("pipe.mp4") == 2
        desk.says("not a regular file")
        assert desk.dub("/dev/zero") == 2
        assert desk.dub("folder.mp4") == 2
        assert desk.dub(film.name, texts=("--transcript", "pipe.mp4")) == 2
        assert desk.dub(film.name, texts=("--transcript", ".")) == 2


class TestWhatIsNotThere:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("none.mp4",), "there is no file none.mp4"),
            (("*.mkv",), "no file matches *.mkv"),
            (("films",), "no videos or sound files in the folder films"),
            (("films/**/*.mp4",), "no file matches"),
            (("https://example.org/film.mp4",), "is an address"),
            (("film.mp4/inside.mp4",), "inside.mp4"),
        ],
    )
    def test_inputs_that_match_nothing_end_with_status_2(
        self, desk: Desk, film: Path, arguments: tuple[str, ...], words: str
    ) -> None:
        Path("films").mkdir()
        Path("films/readme.txt").write_text("no films here")
        assert desk.dub(*arguments) == 2
        desk.says(words)

    @pytest.mark.parametrize("flag", ["--transcript", "--translation"])
    def test_given_texts_that_are_not_there_are_named(self, desk: Desk, film: Path, flag: str) -> None:
        assert desk.dub(film.name, texts=(flag, "none.srt")) == 2
        desk.says("there is no file none.srt")

    @pytest.mark.parametrize("flags", [("--to", "klingonese"), ("--from", "klingonese"), ("--tts", "none"), ("--mt", "none")])
    def test_unknown_languages_and_engines_end_with_status_3(self, desk: Desk, film: Path, flags: tuple[str, str]) -> None:
        assert desk.dub(film.name, *flags) == 3
        desk.says(flags[1])


def test_a_batch_with_every_kind_of_bad_file_dubs_the_good_ones(desk: Desk, film: Path, clip: Callable[..., Path]) -> None:
    Path("in").mkdir()
    film.rename("in/good.mp4")
    clip("mute", sound="none", seconds=1.0).rename("in/mute.mkv")
    Path("in/empty.mp4").touch()
    Path("in/list.mp4").write_text(hls("good.mp4"))
    Path("in/text.mp4").write_text("text")
    for stem in ("good", "mute", "empty", "list", "text"):
        shutil.copy("good.srt", f"in/{stem}.srt")
    status = run(["dub", "in", *Desk.words, "--transcript", "in/{stem}.srt"])
    out, err = desk.capsys.readouterr()
    assert status == 1
    assert out == "Out/good/dub.es.mkv\n"
    assert sum(line.startswith("error: in/") for line in err.splitlines()) == 4
    assert "1 of 5 files dubbed" in err
