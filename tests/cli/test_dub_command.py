"""`polydub dub` from what is typed to what lies on the disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest
from command_line import FAKES, SOURCE, Call, files

GIVEN = ("--transcript", "talk.en.srt", "--translation", "talk.es.srt")


def test_a_film_is_dubbed_and_only_its_path_is_on_stdout(polydub: Call, film: Path) -> None:
    told = polydub("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN)
    assert told.status == 0
    assert told.out == "Output/talk/dub.es.mkv\n"
    assert Path("Output/talk/dub.es.mkv").stat().st_size > 1000
    for name in (
        "report.es.json",
        "report.es.html",
        "script.es.json",
        "transcript.json",
        "subs/talk.es.srt",
        "stems/mix.es.flac",
    ):
        assert Path("Output/talk", name).is_file(), name
    assert "report: Output/talk/report.es.html" in told.err


def test_without_a_terminal_progress_is_one_line_for_each_finished_stage(polydub: Call, film: Path) -> None:
    lines = polydub("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN).err.splitlines()
    finished = [line.split(":")[0] for line in lines if ": done in " in line]
    assert {"probe", "extract", "synthesize", "fit", "mix", "mux"} <= set(finished)
    assert len(finished) == len(set(finished)), "short stages that come again are told once"


def test_a_second_run_does_nothing_and_says_the_same(polydub: Call, film: Path) -> None:
    command = ("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN, "--json")
    first, second = polydub(*command).json, polydub(*command).json
    assert first["files"][0]["dubs"][0].pop("calls") > 5
    assert second["files"][0]["dubs"][0].pop("calls") == 0
    assert first == second


def test_json_tells_files_languages_films_reports_and_notices(polydub: Call, film: Path) -> None:
    told = polydub("dub", film.name, "--to", "es,fr", *FAKES, "--transcript", "talk.en.srt", "--json")
    assert told.status == 0
    (row,) = told.json["files"]
    assert row["file"] == "talk.mkv"
    assert [dub["language"] for dub in row["dubs"]] == ["es", "fr"]
    for dub in row["dubs"]:
        assert set(dub) == {"language", "film", "report", "calls", "notices"}
        assert Path(dub["film"]).is_file()
        assert Path(dub["report"]).is_file()
        assert all(set(notice) == {"code", "text", "severity", "line"} for notice in dub["notices"])


def test_an_error_is_in_the_json_too(polydub: Call, film: Path) -> None:
    told = polydub("dub", film.name, "--to", "es", "--tts", "fake", "--json")
    assert told.status == 2
    assert told.json["files"][0]["error"]["code"] == "no-speech"
    assert "--transcript" in told.json["files"][0]["error"]["hint"]


def test_a_translation_for_each_language_is_found_by_its_name_or_told(polydub: Call, film: Path) -> None:
    Path("vo.srt").write_text(SOURCE.replace("Hello everybody.", "Bonjour"))
    given = ("--transcript", "talk.en.srt", "--translation", "talk.es.srt", "--translation", "French=vo.srt")
    assert polydub("dub", film.name, "--to", "es,fr", "--tts", "fake", *given).status == 0
    assert "Hola a todos." in Path("Output/talk/subs/talk.es.srt").read_text()
    assert "Bonjour" in Path("Output/talk/subs/talk.fr.srt").read_text()


def test_a_translation_whose_language_nobody_can_tell_is_refused(polydub: Call, film: Path) -> None:
    Path("vo.srt").write_text(SOURCE)
    polydub("dub", film.name, "--to", "es,fr", "--translation", "vo.srt").fails(3, "vo.srt", "--translation es=FILE")


@pytest.mark.parametrize("flags", [("--tgt-lang", "es", "--src-lang", "en", "--lufs-target", "-20")])
def test_flags_of_earlier_tools_work(polydub: Call, film: Path, flags: tuple[str, ...]) -> None:
    assert polydub("dub", film.name, *flags, "--tts", "fake", *GIVEN).status == 0
    assert '"target_lufs": -20.0' in Path("Output/talk/report.es.json").read_text()


def test_mp4_subtitle_formats_and_voice_arrive(polydub: Call, film: Path) -> None:
    chosen = ("--format", "mp4", "--subs", "target", "--subs-format", "vtt,ass", "--voice", "SPEAKER_00=high")
    told = polydub("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN, *chosen)
    assert told.out == "Output/talk/dub.es.mp4\n"
    assert sorted(p.name for p in Path("Output/talk/subs").iterdir()) == ["talk.es.ass", "talk.es.vtt"]
    assert '"voice": "high"' in Path("Output/talk/report.es.json").read_text()


def test_debug_keeps_a_file_for_each_line(polydub: Call, film: Path) -> None:
    assert polydub("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN, "--debug").status == 0
    assert {p.name for p in Path("Output/talk/debug/segments").iterdir()} == {"1.json", "2.json"}


class TestDryRun:
    def test_it_prints_the_plan_and_writes_nothing(self, polydub: Call, film: Path) -> None:
        before = files(film.parent)
        told = polydub("dub", film.name, "--to", "es", *FAKES, "--transcript", "talk.en.srt", "--dry-run")
        assert told.status == 0
        assert files(film.parent) == before
        assert not Path("Output").exists()
        assert "talk.mkv -> Output/talk/dub.es.mkv" in told.out
        assert "2 lines, 2 of them to be translated" in told.out
        assert "mt: fake" in told.out
        assert "tts: fake" in told.out

    def test_its_json_has_one_plan_for_each_language(self, polydub: Call, film: Path) -> None:
        told = polydub("dub", film.name, "--to", "es,fr", *FAKES, "--transcript", "talk.en.srt", "--dry-run", "--json")
        plans = told.json["files"][0]["plans"]
        assert [plan["language"] for plan in plans] == ["es", "fr"]
        keys = {"language", "folder", "film", "duration", "lines", "to_translate", "speakers", "engines", "notices"}
        assert set(plans[0]) == keys
        assert plans[0]["lines"] == plans[0]["to_translate"] == 2
        assert plans[0]["duration"] == pytest.approx(2.0, abs=0.1)

    def test_it_says_what_is_missing(self, polydub: Call, film: Path) -> None:
        told = polydub("dub", film.name, "--to", "ja", "--from", "ja", "--dry-run")
        told.fails(4, "understands", "polydub models pull faster-whisper")
        told = polydub("dub", film.name, "--to", "ja", "--mt", "openai", "--transcript", "talk.en.srt", "--dry-run")
        told.fails(4, "openai", "POLYDUB_OPENAI_API_KEY")

    def test_of_several_films_it_plans_those_it_can(self, polydub: Call, film: Path) -> None:
        Path("bad.mkv").write_text("no film")
        told = polydub(
            "dub", film.name, "bad.mkv", "--to", "es", *FAKES, "--transcript", "{stem}.en.srt", "--dry-run", "--json"
        )
        assert told.status == 1
        assert [sorted(row) for row in told.json["files"]] == [["file", "plans"], ["error", "file"]]


class TestBatch:
    def test_a_folder_and_a_pattern_give_the_same_films(self, polydub: Call, clip: Callable[..., Path]) -> None:
        Path("in").mkdir()
        for name in ("one", "two"):
            clip(name, seconds=2.0).rename(f"in/{name}.mkv")
            Path(f"in/{name}.srt").write_text(SOURCE)
        Path("in/notes.txt").write_text("not a film")
        rest = ("--to", "es", *FAKES, "--from", "en", "--transcript", "in/{stem}.srt", "--json")
        folder = polydub("dub", "in", *rest)
        pattern = polydub("dub", "in/*.mkv", *rest, "--output", "Other")
        assert [row["file"] for row in folder.json["files"]] == ["in/one.mkv", "in/two.mkv"]
        assert [row["file"] for row in pattern.json["files"]] == ["in/one.mkv", "in/two.mkv"]
        assert "2 of 2 files dubbed" in folder.err

    def test_a_bad_film_does_not_stop_the_others(self, polydub: Call, film: Path, clip: Callable[..., Path]) -> None:
        Path("bad.mkv").write_text("no film")
        clip("mute", sound="none", seconds=1.0)
        Path("bad.en.srt").write_text(SOURCE)
        Path("mute.en.srt").write_text(SOURCE)
        told = polydub("dub", "bad.mkv", "mute.mkv", film.name, "--to", "es", *FAKES, "--transcript", "{stem}.en.srt")
        assert told.status == 1
        assert told.out == "Output/talk/dub.es.mkv\n"
        assert "error: bad.mkv: this is a text file" in told.err
        assert "error: mute.mkv: this file has no audio track" in told.err
        assert "1 of 3 files dubbed" in told.err
        assert "Traceback" not in told.err

    def test_two_films_of_one_name_get_two_folders(self, polydub: Call, clip: Callable[..., Path]) -> None:
        for folder, seconds in (("a", 2.0), ("b", 2.2)):
            Path(folder).mkdir()
            clip("talk", seconds=seconds).rename(f"{folder}/talk.mkv")
            Path(f"{folder}.srt").write_text(SOURCE)
        told = polydub("dub", "a/talk.mkv", "b/talk.mkv", "--to", "es", *FAKES, "--transcript", "a.srt")
        told.fails(3, "cannot belong to all 2 videos", "{stem}")
        Path("talk.srt").write_text(SOURCE)
        told = polydub("dub", "a/talk.mkv", "b/talk.mkv", "--to", "es", *FAKES, "--from", "en", "--transcript", "{stem}.srt")
        assert told.status == 0
        first, second = (Path(line) for line in told.out.splitlines())
        assert first == Path("Output/talk/dub.es.mkv")
        assert second.parent.name.startswith("talk-")
        assert first.read_bytes() != second.read_bytes()

    def test_an_unknown_engine_stops_the_batch_before_it_begins(self, polydub: Call, film: Path) -> None:
        Path("two.mkv").write_bytes(film.read_bytes())
        polydub("dub", film.name, "two.mkv", "--to", "es", "--tts", "espeek").fails(3, "'espeek'", "'espeak-ng'")
        assert not Path("Output").exists()


EASY = ("--separation", "none", "--diarization", "none")  # what needs no weights


class TestStrict:
    def test_a_notice_ends_with_status_7(self, polydub: Call, film: Path) -> None:
        Path("talk.en.srt").write_text(SOURCE.replace("00:00:00,200", "-00:00:00,200"))
        command = ("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN)
        polydub(*command, "--strict").fails(7, "negative", "without --strict")
        told = polydub(*command)
        assert told.status == 0
        assert "note: 1 cue(s) had negative or reversed times" in told.err

    def test_without_a_notice_nothing_changes(self, polydub: Call, film: Path) -> None:
        assert polydub("dub", film.name, "--to", "es", "--tts", "fake", *GIVEN, *EASY, "--strict").status == 0


def test_verbose_also_tells_what_is_only_good_to_know(polydub: Call, film: Path) -> None:
    ffmpeg = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", film, "-i", "talk.en.srt")
    subprocess.run([*ffmpeg, "-c", "copy", "-metadata:s:s", "language=eng", "own.mkv"], check=True)
    command = ("dub", "own.mkv", "--to", "es", "--from", "en", *FAKES)
    told, more = polydub(*command), polydub(*command, "--verbose")
    assert told.status == more.status == 0
    assert "serves as the transcript" not in told.err
    assert "the file's own English subtitle track serves as the transcript" in more.err
