"""`polydub dub` with many films: tables, JSON, bars, Ctrl-C, kill -9, lists of films."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import FAKES, PROGRAM, SOURCE, Call, files, interrupt, members, program, start
from test_terminal import on_a_terminal

from polydub.cli.batch import table

EASY = ("--separation", "none", "--diarization", "none", "--from", "en")
GIVEN = ("--to", "es", *FAKES, *EASY, "--transcript", "{stem}.en.srt")
DELIVERED = re.compile(r"(dub\.|stems/|subs/|script\.|transcript\.json)")


@pytest.fixture
def season(clip: Callable[..., Path], tmp_path: Path) -> list[Path]:
    """ep1.mkv to ep3.mkv of two seconds with ep1.en.srt ..."""
    for number in (1, 2, 3):
        (tmp_path / f"ep{number}.en.srt").write_text(SOURCE.replace("everybody", f"number {number}"))
    return [clip(f"ep{number}", seconds=2.0) for number in (1, 2, 3)]


def delivered(folder: Path) -> Mapping[str, bytes]:
    """What must be the same whoever disturbed the work."""
    return {name: content for name, content in files(folder).items() if DELIVERED.search(name)}


class TestTelling:
    def test_each_film_is_one_line_as_it_ends_and_a_row_of_the_table(self, polydub: Call, season: list[Path]) -> None:
        Path("bad.mkv").write_text("no film")
        Path("bad.en.srt").write_text(SOURCE)
        told = polydub("dub", "ep1.mkv", "bad.mkv", "ep2.mkv", *GIVEN)
        assert told.status == 1
        lines = told.err.splitlines()
        assert not [line for line in lines if ": done in " in line and not line.startswith("[")], "no lines of stages"
        assert [line.split(": done")[0] for line in lines if line.startswith("[")] == [
            "[1/3] ep1.mkv -> es",
            "[3/3] ep2.mkv -> es",
        ]
        at = lines.index(next(line for line in lines if line.startswith("file ")))
        rows = [line.split() for line in lines[at + 1 : at + 5]]
        assert [(row[0], row[2]) for row in rows if row[0] != "this"] == [
            ("ep1.mkv", "done"),
            ("bad.mkv", "failed"),
            ("ep2.mkv", "done"),
        ]
        assert rows[1][:3] == ["bad.mkv", "es", "failed"]
        assert lines[at + 3] == "  this is a text file, not a media file"
        assert all(len(line) <= 80 for line in lines[at : at + 5])

    def test_what_is_done_is_remembered_and_only_the_rest_is_made(self, polydub: Call, season: list[Path]) -> None:
        assert polydub("dub", "ep1.mkv", "ep2.mkv", *GIVEN).status == 0
        told = polydub("dub", "ep*.mkv", *GIVEN, "--json")
        assert [row["status"] for row in told.json["files"]] == ["remembered", "remembered", "done"]
        assert told.json["counts"] == {"done": 1, "remembered": 2, "failed": 0, "open": 0}
        assert "[1/3] ep1.mkv -> es: nothing was left to do" in told.err
        assert "3 of 3 files dubbed; nothing was left to do for 2 of them" in told.err

    def test_the_json_has_a_row_for_each_film(self, polydub: Call, season: list[Path]) -> None:
        Path("bad.mkv").write_text("no film")
        Path("bad.en.srt").write_text(SOURCE)
        told = polydub("dub", "ep1.mkv", "bad.mkv", *GIVEN, "--json", "--jobs", "2")
        good, bad = told.json["files"]
        assert set(good) == {"file", "status", "seconds", "dubs"}
        (dub,) = good["dubs"]
        assert set(dub) == {"language", "film", "report", "calls", "notices", "duration", "lines"}
        assert (dub["lines"], dub["duration"]) == (2, pytest.approx(2.0, abs=0.1))
        assert set(bad) == {"file", "status", "seconds", "error"}
        assert (bad["status"], bad["error"]["code"]) == ("failed", "unreadable-media")

    def test_what_is_the_same_for_all_films_is_noted_once(self, polydub: Call, season: list[Path]) -> None:
        told = polydub("dub", "ep1.mkv", "ep2.mkv", "--to", "es", *FAKES, "--transcript", "{stem}.en.srt")
        assert told.err.count("note: mask stands in") == 1

    def test_a_film_without_its_engine_fails_alone(self, polydub: Call, season: list[Path]) -> None:
        Path("films.csv").write_text("file,tts\nep1.mkv,\nep2.mkv,piper\nep3.mkv,\n")
        told = polydub("dub", "films.csv", *GIVEN)
        if "piper" in polydub("engines", "--json").out and told.status == 1:
            assert [line.split()[2] for line in told.err.splitlines() if re.match(r"ep\d", line)] == ["done", "failed", "done"]
        else:
            told.fails(told.status, "row 3", "piper")

    def test_several_at_once_leave_the_bytes_of_one_after_the_other(self, polydub: Call, season: list[Path]) -> None:
        assert polydub("dub", "ep*.mkv", *GIVEN, "--jobs", "3").status == 0
        assert polydub("dub", "ep*.mkv", *GIVEN, "--output", "Other").status == 0
        assert delivered(Path("Output")) == delivered(Path("Other"))


def test_a_table_has_80_columns_whatever_the_names_are(polydub: Call, clip: Callable[..., Path], tmp_path: Path) -> None:
    names = ["\u6620\u753b" * 20, "a long name of a lecture about nothing in particular", "e\x1b[31m"]
    for name in names:
        clip(name, seconds=1.0)
        Path(f"{name}.en.srt").write_text(SOURCE)
    told = polydub("dub", *(f"{name}.mkv" for name in names), *GIVEN)
    assert told.status == 0
    from rich.cells import cell_len

    lines = told.err.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("file ")))
    assert all(cell_len(line) <= 80 for line in lines[at : at + 4])
    assert "\x1b" not in told.err
    assert table([], 80) == ["file            to    status      length    took lines notes film"]


def test_on_a_terminal_there_is_a_bar_for_each_film_and_one_for_all(tmp_path: Path, season: list[Path]) -> None:
    status, out, shown = on_a_terminal("dub", "ep1.mkv", "ep2.mkv", *GIVEN, "--jobs", "2", cwd=tmp_path)
    assert status == 0
    assert sorted(out.splitlines()) == ["Output/ep1/dub.es.mkv", "Output/ep2/dub.es.mkv"]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "0 of 2 films" in text
    assert "1 of 2 films" in text
    assert re.search(r"ep1\.mkv +\w", text)
    assert "[2/2]" in text


@pytest.fixture
def long_season(clip: Callable[..., Path], tmp_path: Path) -> list[Path]:
    """Films with enough lines to be stopped between them."""
    films = [clip(f"ep{number}", seconds=10.0, fps=5, channels=1) for number in (1, 2, 3)]
    for film in films:
        cues = (
            f"{n}\n00:00:0{n // 2},{n % 2 * 500:03} --> 00:00:0{n // 2},{n % 2 * 500 + 450}\nLine {n}.\n\n" for n in range(18)
        )
        film.with_suffix(".en.srt").write_text("".join(cues).replace("Line", f"{film.stem[2:]} of"))
    return films


LONG = (
    "dub", "ep1.mkv", "ep2.mkv", "ep3.mkv", "--to", "en", "--no-translate", "--tts", "espeak-ng", *EASY,
    "--transcript", "{stem}.en.srt", "--download", "no", "--jobs", "2",
)  # fmt: skip


def wait_for(process: subprocess.Popen[str], folder: Path, artifacts: int) -> None:
    """Until so much is remembered, or the process has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if sum(1 for _ in folder.rglob("*.flac")) >= artifacts:
            break
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.slow
@pytest.mark.parametrize("artifacts", [1, 40])
def test_ctrl_c_ends_a_batch_at_once_tells_what_is_open_and_the_next_run_goes_on(
    tmp_path: Path, long_season: list[Path], artifacts: int
) -> None:
    process = start(*LONG, cwd=tmp_path)
    wait_for(process, tmp_path / "Output/.polydub/artifacts", artifacts)
    told, seconds = interrupt(process)
    assert told.status == 130, told.err
    assert seconds < 2
    assert "Traceback" not in told.err
    assert re.search(r"error: stopped: \d of 3 films are done, [123] still open", told.err)
    assert told.err.rstrip().endswith("run the same command again to continue: finished work is kept")
    assert not members(process.pid), "a child was left behind"
    kept = files(tmp_path / "Output/.polydub/artifacts")
    assert program(*LONG, cwd=tmp_path).status == 0
    assert kept.items() <= files(tmp_path / "Output/.polydub/artifacts").items()
    assert program(*LONG, "--output", "Other", cwd=tmp_path).status == 0
    assert delivered(tmp_path / "Output") == delivered(tmp_path / "Other")


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
@pytest.mark.slow
def test_a_batch_killed_at_any_moment_ends_with_the_same_bytes(tmp_path: Path, long_season: list[Path]) -> None:
    assert program(*LONG, "--output", "Other", cwd=tmp_path).status == 0
    whole = sum(1 for _ in (tmp_path / "Other/.polydub/artifacts").rglob("*.flac"))
    for artifacts in sorted(random.Random(6).sample(range(whole), 4)):
        process = start(*LONG, cwd=tmp_path)
        wait_for(process, tmp_path / "Output/.polydub/artifacts", artifacts)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    told = program(*LONG, "--json", cwd=tmp_path)
    assert told.status == 0, told.err
    assert {row["status"] for row in told.json["files"]} <= {"done", "remembered"}
    assert delivered(tmp_path / "Output") == delivered(tmp_path / "Other")
    assert not list((tmp_path / "Output/.polydub/scratch").glob("p-*"))


class TestInputs:
    def test_recursive_takes_films_of_folders_in_a_folder_but_none_that_were_dubbed(
        self, polydub: Call, season: list[Path]
    ) -> None:
        for film, folder in zip(season, ("in", "in/b", "in/.hidden"), strict=True):
            Path(folder).mkdir()
            film.rename(Path(folder, film.name))
        command = ("dub", "in", *GIVEN, "--json", "--output", "in/out")
        assert len(polydub(*command).json["files"]) == 1
        for _ in range(2):
            told = polydub(*command, "--recursive")
            assert [row["file"] for row in told.json["files"]] == ["in/ep1.mkv", "in/b/ep2.mkv"]
        told = polydub("dub", "in/**/*.mkv", *GIVEN, "--json", "--output", "in/out")
        assert [row["file"] for row in told.json["files"]] == ["in/b/ep2.mkv", "in/ep1.mkv"]

    def test_a_folder_without_films_says_how_to_look_deeper(self, polydub: Call) -> None:
        Path("in/b").mkdir(parents=True)
        polydub("dub", "in", "--to", "es").fails(2, "no videos", "--recursive")
        polydub("dub", "in", "--to", "es", "--recursive").fails(2, "no videos")

    def test_standard_input_is_streamed_or_refused(self, polydub: Call) -> None:
        polydub("dub", "-", "--to", "es").fails(2, "standard input", "--stream")


LISTS: Mapping[str, Callable[[list[dict[str, Any]]], str]] = {
    "films.csv": lambda rows: "file,to,--max-rate,transcript\n" + "".join(
        f'{row["file"]},"{row.get("to", "")}",{row.get("max_rate", "")},{row["transcript"]}\n' for row in rows
    ),
    "films.tsv": lambda rows: "file\tto\tmax-rate\ttranscript\n" + "".join(
        "\t".join((row["file"], row.get("to", ""), str(row.get("max_rate", "")), row["transcript"])) + "\n" for row in rows
    ),
    "films.jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "films.json": json.dumps,
}  # fmt: skip


class TestLists:
    @pytest.mark.parametrize("name", LISTS)
    def test_each_row_has_options_of_its_own_and_files_lie_beside_the_list(
        self, polydub: Call, season: list[Path], name: str
    ) -> None:
        Path("there").mkdir()
        for file in [*season, *(film.with_suffix(".en.srt") for film in season)]:
            file.rename(Path("there", file.name))
        rows = [
            {"file": "ep1.mkv", "transcript": "ep1.en.srt"},
            {"file": "ep2.mkv", "to": "es,fr", "max_rate": 1.1, "transcript": "{stem}.en.srt"},
        ]
        Path("there", name).write_text(LISTS[name](rows))
        told = polydub("dub", f"there/{name}", "--to", "de", *FAKES, *EASY, "--json")
        assert told.status == 0, told.err
        first, second = told.json["files"]
        assert [dub["language"] for dub in first["dubs"]] == ["de"]
        assert [dub["language"] for dub in second["dubs"]] == ["es", "fr"]
        assert second["dubs"][0]["film"] == "Output/ep2/dub.es.mkv"

    def test_a_list_of_names_is_read_with_an_at_sign(self, polydub: Call, season: list[Path]) -> None:
        Path("films.txt").write_text("# the season\nep1.mkv\n\n  ep2.mkv\n", encoding="utf-8-sig")
        told = polydub("dub", "@films.txt", *GIVEN, "--json")
        assert [row["file"] for row in told.json["files"]] == ["ep1.mkv", "ep2.mkv"]

    def test_settings_that_name_files_are_relative_to_the_list_too(self, polydub: Call, season: list[Path]) -> None:
        Path("there").mkdir()
        Path("there/films.json").write_text(json.dumps([{"file": "../ep1.mkv", "output": "out", "from": "en"}]))
        assert polydub("dub", "there/films.json", *GIVEN).out == "there/out/ep1/dub.es.mkv\n"

    def test_semicolons_and_translations_of_several_languages(self, polydub: Call, season: list[Path]) -> None:
        for tag in ("es", "fr"):
            Path(f"t.{tag}.srt").write_text(SOURCE.replace("Hello everybody.", f"Said in {tag}."))
        Path("films.csv").write_text('file;to;translation\nep1.mkv;es,fr;"es=t.es.srt;t.fr.srt"\n')
        told = polydub("dub", "films.csv", *FAKES, *EASY)
        assert told.status == 0, told.err
        for tag in ("es", "fr"):
            assert f"Said in {tag}." in Path(f"Output/ep1/subs/ep1.{tag}.srt").read_text()

    def test_a_plan_of_a_list_has_a_row_for_each_film(self, polydub: Call, season: list[Path]) -> None:
        Path("films.csv").write_text("file,to\nep1.mkv,\nep2.mkv,fr\n")
        told = polydub("dub", "films.csv", *GIVEN, "--dry-run", "--json")
        assert [row["plans"][0]["language"] for row in told.json["files"]] == ["es", "fr"]
        assert not Path("Output").exists()

    @pytest.mark.parametrize(
        ("name", "text", "status", "words"),
        [
            ("l.csv", "file,tto\nep1.mkv,es\n", 3, ("l.csv, row 2", "tto", "did you mean to?")),
            ("l.csv", "name,to\nep1.mkv,es\n", 2, ("l.csv", "no column called file")),
            ("l.csv", "file,to\nep1.mkv,es\ngone.mkv,es\n", 2, ("l.csv, row 3", "gone.mkv")),
            ("l.csv", "file,max_rate\nep1.mkv,\nep2.mkv,9\n", 3, ("l.csv, row 3", "max_rate", "at most 1.3")),
            ("l.csv", "file,tts\nep1.mkv,espeek\n", 3, ("l.csv, row 2", "'espeek'", "'espeak-ng'")),
            ("l.csv", "file,jobs\nep1.mkv,2\n", 3, ("l.csv, row 2", "whole batch", "--jobs")),
            ("l.csv", "file,from,--from\nep1.mkv,en,en\n", 2, ("two columns", "from")),
            ("l.csv", "file,to\nep1.mkv,es,fr\n", 2, ("l.csv, row 2", "more cells")),
            ("l.csv", "file,to\nep1.mkv,xx\n", 3, ("l.csv, row 2", "'xx'")),
            ("l.csv", "file,transcript\nep1.mkv,gone.srt\n", 2, ("l.csv, row 2", "gone.srt")),
            ("l.csv", "file,tts\nep1.mkv,fake\nep1.mkv,espeak-ng\n", 3, ("l.csv, row 2 and l.csv, row 3", "same film")),
            ("l.csv", 'file,to\n"ep1".mkv,es\n', 2, ("l.csv is damaged",)),
            ("l.csv", "", 2, ("l.csv", "file")),
            ("l.csv", "file,to\n", 2, ("l.csv names no films",)),
            ("l.jsonl", '{"file": "ep1.mkv"}\n{"file": 3}\n', 2, ("l.jsonl, line 2", "names no file")),
            ("l.jsonl", '{"file": "ep1.mkv"}\n{"file"\n', 2, ("l.jsonl, line 2 is damaged",)),
            ("l.json", '{"file": "ep1.mkv"}', 2, ("l.json is not a list",)),
            ("l.json", "[3]", 2, ("l.json, entry 1",)),
            ("l.json", '[{"file": "ep1.mkv", "transcript": ["a", "b"]}]', 2, ("entry 1", "several transcripts")),
            ("l.json", '[{"file": "ep1.mkv", "transcript": 3}]', 2, ("entry 1", "transcript")),
            ("l.json", '[{"file": "ep1.mkv", "lufs": true, "api_key": "x"}]', 3, ("entry 1", "api_key")),
        ],
    )
    def test_what_is_wrong_is_told_with_its_row_before_anything_begins(
        self, polydub: Call, season: list[Path], name: str, text: str, status: int, words: tuple[str, ...]
    ) -> None:
        Path(name).write_text(text)
        polydub("dub", name, *GIVEN).fails(status, *words)
        assert not Path("Output").exists()

    def test_a_list_that_is_not_there_or_no_text_is_told(self, polydub: Call) -> None:
        polydub("dub", "@gone.txt", "--to", "es").fails(2, "there is no list gone.txt")
        Path("bytes.csv").write_bytes(b"file\n\xff\xfe\n")
        polydub("dub", "bytes.csv", "--to", "es").fails(2, "bytes.csv is not UTF-8")

    def test_one_text_cannot_belong_to_all_films_of_a_list(self, polydub: Call, season: list[Path]) -> None:
        Path("films.txt").write_text("ep1.mkv\nep2.mkv\n")
        polydub("dub", "@films.txt", "--to", "es", "--transcript", "ep1.en.srt").fails(3, "cannot belong to all 2 videos")


def test_a_film_of_its_own_looks_as_ever(polydub: Call, season: list[Path]) -> None:
    Path("films.txt").write_text("ep1.mkv\n")
    alone, listed = polydub("dub", "ep1.mkv", *GIVEN), polydub("dub", "@films.txt", *GIVEN, "--output", "Other")
    for told in (alone, listed):
        assert "mux: done in " in told.err
        assert "film" not in told.err.split("report:")[0].splitlines()[0]
        assert "files dubbed" not in told.err
    assert PROGRAM
