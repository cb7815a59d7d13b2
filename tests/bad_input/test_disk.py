"""Permissions, full disks, damaged memory, and several processes at once: nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Desk, process

from polydub.cli import run


class TestDisk:
    def ends(self, desk: Desk, running: subprocess.Popen[str], status: int, *words: str) -> None:
        desk.out, desk.err = running.communicate(timeout=60)
        assert running.returncode == status, desk.err
        desk.check(status)
        desk.says(*words)

    def test_a_file_that_may_not_be_read_is_named(self, desk: Desk, film: Path, mortal: tuple[str, ...]) -> None:
        film.chmod(0)
        self.ends(desk, process(film.name, before=mortal), 2, "film.mp4 cannot be read: Permission denied")
        film.chmod(0o600)
        Path("good.srt").chmod(0)
        self.ends(desk, process(film.name, before=mortal), 2, "good.srt cannot be read: Permission denied")

    def test_a_folder_that_may_not_be_read_is_named(self, desk: Desk, film: Path, mortal: tuple[str, ...]) -> None:
        Path("films").mkdir(mode=0)
        self.ends(desk, process("films", before=mortal), 2, "films", "ermission")
        Path("films").chmod(0o700)

    @pytest.mark.parametrize("place", ["Out", "Out/below"])
    def test_an_output_folder_that_may_not_be_written_is_named(
        self, desk: Desk, film: Path, mortal: tuple[str, ...], place: str
    ) -> None:
        Path("Out").mkdir(mode=0o555)
        self.ends(desk, process(film.name, "--output", place, before=mortal), 6, "permission denied", "--output")
        assert not list(Path("Out").iterdir())

    def test_a_project_folder_that_may_not_be_written_is_named(self, desk: Desk, film: Path, mortal: tuple[str, ...]) -> None:
        assert desk.dub(film.name) == 0
        Path("Out/film").chmod(0o555)
        self.ends(desk, process(film.name, "--max-rate", "1.2", before=mortal), 6, "permission denied")
        Path("Out/film").chmod(0o755)

    def test_an_input_folder_that_may_not_be_written_is_no_hindrance(
        self, desk: Desk, film: Path, mortal: tuple[str, ...]
    ) -> None:
        Path("films").mkdir()
        film.rename("films/film.mp4")
        Path("films").chmod(0o555)
        self.ends(desk, process("films/film.mp4", before=mortal), 0)
        Path("films").chmod(0o755)

    def test_a_file_in_the_place_of_a_folder_is_kept(self, desk: Desk, film: Path) -> None:
        Path("file").write_text("mine")
        assert desk.dub(film.name, "--output", "file") == 6
        desk.says("a file is in the way")
        assert desk.dub(film.name, "--output", "file/below") == 6
        assert desk.dub(film.name, "--store", "file") == 6
        assert Path("file").read_text() == "mine"
        Path("Out").mkdir(exist_ok=True)
        Path("Out/film").write_text("mine too")
        assert desk.dub(film.name) == 0
        assert Path("Out/film").read_text() == "mine too"

    @pytest.mark.parametrize(
        "room", ["100k", *(pytest.param(f"{kb}k", marks=pytest.mark.slow) for kb in (400, 800, 1200, 1600, 2400, 3600, 5000))]
    )
    def test_on_a_full_disk_it_stops_and_goes_on_when_there_is_room(
        self, desk: Desk, clip: Callable[..., Path], room: str
    ) -> None:
        film = clip("film", seconds=40.0, fps=5)
        Path("Out").mkdir()
        program = "import sys; from polydub.cli import run; sys.exit(run(sys.argv[1:]))"
        script = (
            f'mount -t tmpfs -o size={room} none Out || exit 77; "$@"; echo "first $?" >&2;'
            'mount -o remount,size=200m Out; "$@"; echo "second $?" >&2; ls Out/film >&2'
        )
        own = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-r", "-m")
        words = ("dub", *Desk.words, "--transcript", "good.srt", film.name)
        command = [*own, "sh", "-c", script, "sh", sys.executable, "-c", program, *words]
        if not shutil.which("unshare"):
            pytest.skip("needs unshare")
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if ran.returncode == 77 or "unshare failed" in ran.stderr:
            pytest.skip("may not mount a small disk here")
        first, second = ran.stderr.split("first 6\n")
        assert "error: " in first
        assert "full" in first or "No space left" in first
        assert "Traceback" not in ran.stderr
        assert "unexpected" not in ran.stderr
        assert "second 0\n" in second
        assert "dub.es.mkv" in second

    def test_a_damaged_memory_is_told_and_can_be_cleaned(self, desk: Desk, film: Path) -> None:
        assert desk.dub(film.name) == 0
        memo = Path("Out/.polydub/memo.sqlite")
        for left in memo.parent.glob("memo.sqlite-*"):
            left.unlink()
        memo.write_bytes(b"this is no database" * 1000)
        assert desk.dub(film.name) == 6
        desk.says("polydub clean")
        assert run(["clean", "--yes", "--output", "Out"]) == 0
        assert desk.dub(film.name) == 0

    def test_a_damaged_project_is_told(self, desk: Desk, film: Path) -> None:
        assert desk.dub(film.name) == 0
        Path("Out/film/project.json").write_text('{"source": ')
        assert desk.dub(film.name) == 6
        desk.says("project.json")


class TestAtTheSameTime:
    def test_two_processes_on_one_film_both_succeed_with_one_result(self, desk: Desk, film: Path) -> None:
        running = [process(film.name, "--tts", "espeak-ng") for _ in range(3)]
        told = [(p.communicate(timeout=100), p.returncode) for p in running]
        for (out, err), status in told:
            assert status == 0, err
            assert out == "Out/film/dub.es.mkv\n"
            assert "Traceback" not in err
        together = Path("Out/film/dub.es.mkv").read_bytes()
        shutil.rmtree("Out")
        assert desk.dub(film.name, "--tts", "espeak-ng") == 0
        assert Path("Out/film/dub.es.mkv").read_bytes() == together

    def test_two_films_of_one_name_at_once_get_two_folders(self, desk: Desk, film: Path, clip: Callable[..., Path]) -> None:
        other = clip("other", seconds=2.4)
        Path("b").mkdir()
        other.rename("b/film.mkv")
        running = [process(path) for path in (film.name, "b/film.mkv")]
        results = {p.communicate(timeout=100)[0] for p in running}
        assert [p.returncode for p in running] == [0, 0]
        assert len(results) == 2
        assert "Out/film/dub.es.mkv\n" in results
