"""The folder of one film: whose it is, who may work in it, and what a killed run leaves in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from polydub import project
from polydub.errors import StoreError
from polydub.project import Project, open_project
from polydub.store import Store
from polydub.types import Artifact


def no_wait(text: str) -> None:
    raise AssertionError(text)


class Desk:
    """Opens projects under `folder/out`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.out, self._stack = folder, folder / "out", stack
        self.store = Store(folder / "store")

    def media(self, name: str | bytes, content: str = "film") -> Path:
        file = self.folder / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def open(self, media: Path) -> Project:
        return self._stack.enter_context(open_project(self.out, media, self.store.adopt(media), no_wait))

    def name(self, media: Path) -> str:
        """Opens, saves and closes; the name of the folder."""
        with open_project(self.out, media, self.store.adopt(media), no_wait) as opened:
            opened.save()
            return opened.folder.relative_to(self.out).as_posix()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        made = Desk(tmp_path, stack)
        yield made
    made.store.close()


@pytest.mark.parametrize(
    ("media", "folder"),
    [("talk.mkv", "talk"), ("a.b.mp4", "a.b"), ("noext", "noext"), (".hidden", ".hidden"), ("-x $(y) 'q'.mp4", "-x $(y) 'q'")],
)
def test_a_folder_is_called_like_its_film(desk: Desk, media: str, folder: str) -> None:
    assert desk.name(desk.media(media)) == folder


@pytest.mark.parametrize(
    ("name", "folder"), [(b"new\nline.mkv", "new\nline"), (b"caf\xe9.mkv", "caf_")], ids=["newline", "latin-1"]
)
def test_films_may_have_any_name(desk: Desk, name: bytes, folder: str) -> None:
    try:
        media = desk.media(name)
    except OSError:
        pytest.skip("this disk does not allow such a name")
    assert desk.name(media) == desk.name(media) == folder


def test_the_same_film_gets_the_same_folder_again(desk: Desk) -> None:
    media = desk.media("talk.mkv")
    assert desk.name(media) == desk.name(media) == "talk"
    media.write_text("a better cut")
    assert desk.name(media) == "talk", "a film that was edited in place is the same film"
    moved = desk.media("elsewhere/talk.mkv", "a better cut")
    assert desk.name(moved) == "talk", "a film that was copied is the same film"


def test_two_films_of_one_name_get_two_folders(desk: Desk) -> None:
    one, two, three = desk.media("talk.mkv", "one"), desk.media("b/talk.mp4", "two"), desk.media("c/talk.mkv", "three")
    names = [desk.name(media) for media in (one, two, three)]
    assert names == ["talk", f"talk-{desk.store.adopt(two).sha256[:6]}", f"talk-{desk.store.adopt(three).sha256[:6]}"]
    assert [desk.name(media) for media in (three, two, one)] == names[::-1]


def test_an_empty_folder_of_that_name_is_used_and_a_file_is_not(desk: Desk) -> None:
    (desk.out / "empty").mkdir(parents=True)
    (desk.out / "taken").write_text("mine")
    assert desk.name(desk.media("empty.mkv")) == "empty"
    assert desk.name(desk.media("taken.mkv", "other")).startswith("taken-")
    assert (desk.out / "taken").read_text() == "mine"


def test_two_files_in_the_way_are_told(desk: Desk) -> None:
    media = desk.media("taken.mkv")
    desk.out.mkdir()
    (desk.out / "taken").write_text("mine")
    (desk.out / f"taken-{desk.store.adopt(media).sha256[:6]}").write_text("mine, too")
    with pytest.raises(StoreError, match="in the way"):
        desk.name(media)


def test_a_film_whose_name_is_too_long_for_a_folder_is_told(desk: Desk) -> None:
    content = desk.store.adopt(desk.media("short.mkv"))
    with pytest.raises(StoreError, match="too long") as caught, open_project(desk.out, Path("n" * 260), content, no_wait):
        pass
    assert caught.value.hint


def test_state_engines_and_requests_are_kept_by_language(desk: Desk) -> None:
    media = desk.media("talk.mkv")
    with open_project(desk.out, media, desk.store.adopt(media), no_wait) as opened:
        assert (opened.state("es"), opened.requests, opened.engines("es")) == ({}, {}, {})
        opened.engines("es")["tts"] = "espeak-ng"
        opened.requests["es"] = {"settings": {"tts": "espeak-ng"}}
        opened.save()
        opened.save_state("es", {"placed": {"value": [1]}})
    again = desk.open(media)
    assert again.engines("es") == {"tts": "espeak-ng"}
    assert again.state("es") == {"placed": {"value": [1]}}
    assert again.requests == {"es": {"settings": {"tts": "espeak-ng"}}}
    assert (again.engines("fr"), again.state("fr")) == ({}, {})


def test_a_damaged_project_file_is_told_and_left_alone(desk: Desk) -> None:
    media = desk.media("talk.mkv")
    desk.name(media)
    (desk.out / "talk" / "project.json").write_text('{"source": ')
    with pytest.raises(StoreError, match=r"project\.json cannot be read") as caught:
        desk.name(media)
    assert "project.json" in caught.value.hint
    assert (desk.out / "talk" / "project.json").read_text() == '{"source": '


# two processes


HOLD = """
import sys
from pathlib import Path
from polydub.project import open_project
from polydub.types import Artifact
out, media = Path(sys.argv[1]), Path(sys.argv[2])
def waiting(text):
    print("waits:", text, flush=True)
with open_project(out, media, Artifact("ab" * 32, ".mkv", 4), waiting) as opened:
    print("holds", opened.folder.name, flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


def process(*arguments: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(HOLD), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def release(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    return out.strip()


def test_of_two_processes_on_one_project_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    first = process(tmp_path / "out", tmp_path / "talk.mkv")
    assert hear(first) == "holds talk"
    second = process(tmp_path / "out", tmp_path / "talk.mkv")
    assert hear(second) == f"waits: {tmp_path / 'out' / 'talk'} is in use by process {first.pid}: waiting for it"
    assert release(first) == "done"
    assert hear(second) == "holds talk"
    assert release(second) == "done"


def test_processes_on_different_films_do_not_wait(tmp_path: Path) -> None:
    first, second = process(tmp_path / "out", tmp_path / "talk.mkv"), process(tmp_path / "out", tmp_path / "song.mkv")
    assert (hear(first), hear(second)) == ("holds talk", "holds song")
    assert (release(first), release(second)) == ("done", "done")


def test_the_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    killed = process(tmp_path / "out", tmp_path / "talk.mkv")
    assert hear(killed) == "holds talk"
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    nextone = process(tmp_path / "out", tmp_path / "talk.mkv")
    assert hear(nextone) == "holds talk"
    assert release(nextone) == "done"


def test_what_a_killed_run_left_is_swept(desk: Desk) -> None:
    media = desk.media("talk.mkv")
    desk.name(media)
    folder = desk.out / "talk"
    for place in (folder, folder / "stems", folder / "subs", folder / "debug" / "segments"):
        (place / ".polydub-scratch" / "deep").mkdir(parents=True)
        (place / ".polydub-half").write_text("half")
        (place / "mine.txt").write_text("mine")
    desk.name(media)
    assert not list(folder.rglob(".polydub-*"))
    assert len(list(folder.rglob("mine.txt"))) == 4


# small files


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "script.json"
    project.write(file, "one")
    reader = file.open()
    project.write(file, "two")
    assert (reader.read(), file.read_text()) == ("one", "two"), "who reads the old file reads it to its end"
    reader.close()
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["script.json"]


def test_an_equal_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    project.write(file, "same")
    before = file.stat()
    project.write(file, b"same")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_folder_in_the_way_of_a_small_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "script.json").mkdir()
    with pytest.raises(StoreError, match="in the way"):
        project.write(tmp_path / "script.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["script.json"]


def test_who_waited_for_a_folder_that_its_holder_removes_makes_it_anew(tmp_path: Path) -> None:
    content, waits, there = Artifact("ab" * 32, ".mkv", 4), threading.Event(), list[bool]()

    def second() -> None:
        with open_project(tmp_path, Path("stdin"), content, lambda text: waits.set()) as opened:
            there.append(opened.folder.is_dir() and (opened.folder / ".lock").exists())

    waiting = threading.Thread(target=second)
    with open_project(tmp_path, Path("stdin"), content, no_wait) as opened:
        waiting.start()
        assert waits.wait(60)
        shutil.rmtree(opened.folder)
    waiting.join(60)
    assert there == [True]
