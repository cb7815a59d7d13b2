"""What is durable: files by content, the memo, deliveries, scratch; and what becomes of them when things go wrong."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polydub.errors import StoreError
from polydub.store import Remembered, Store
from polydub.types import Artifact
from small_dubs import small_disk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def keep(store: Store, text: str, name: str = "made.txt") -> Artifact:
    with store.scratch() as scratch:
        (scratch / name).write_text(text)
        return store.keep(scratch / name)


def child(source: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process with `folder` = the first argument, `Store` and the like imported."""
    head = "import os, sys\nfrom pathlib import Path\nfrom polydub.errors import StoreError\n"
    head += "from polydub.store import Remembered, Store\nfolder = Path(sys.argv[1])\n"
    command = [sys.executable, "-c", head + textwrap.dedent(source), *map(os.fspath, map(str, arguments))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Its output; it must have ended well and without complaint."""
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


# artifacts


def test_a_kept_file_is_named_by_its_content(store: Store, tmp_path: Path) -> None:
    artifact = keep(store, "hello")
    assert artifact == Artifact(hashlib.sha256(b"hello").hexdigest(), ".txt", 5)
    assert store.has(artifact)
    assert store.path(artifact).read_text() == "hello"
    assert store.path(artifact).is_relative_to(tmp_path / "store" / "artifacts")


def test_equal_files_are_kept_once(store: Store) -> None:
    assert keep(store, "hello") == keep(store, "hello", "other.txt")
    assert sum(file.is_file() for file in (store.folder / "artifacts").rglob("*")) == 1


def test_an_empty_file_can_be_kept(store: Store) -> None:
    artifact = keep(store, "")
    assert store.has(artifact)
    assert artifact.bytes == 0


def test_a_lost_or_cut_off_file_is_noticed(store: Store) -> None:
    artifact = keep(store, "hello")
    store.path(artifact).write_text("hel")
    assert not store.has(artifact)
    store.path(artifact).unlink()
    assert not store.has(artifact)
    keep(store, "hello")
    assert store.has(artifact)


def test_an_adopted_file_stays_where_it_is(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mine.mkv"
    file.write_text("film")
    artifact = store.adopt(file)
    assert artifact == Artifact(hashlib.sha256(b"film").hexdigest(), ".mkv", 4)
    assert store.path(artifact) == file
    assert not any(path.is_file() for path in (store.folder / "artifacts").rglob("*"))
    file.unlink()
    assert not store.has(artifact)


def test_an_adopted_file_is_hashed_again_only_when_it_may_have_changed(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("one")
    first, stat = store.adopt(file), file.stat()
    file.write_text("two")  # same length, same inode
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.adopt(file) == first, "size, time and inode are equal, so the hash comes from the cache"
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = store.adopt(file)
    assert second.sha256 == hashlib.sha256(b"two").hexdigest()
    other = tmp_path / "other.txt"
    other.write_text("six")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    other.replace(file)  # same length and time, another inode
    assert store.adopt(file).sha256 == hashlib.sha256(b"six").hexdigest()
    file.write_text("seven")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert store.adopt(file).bytes == 5


ODD_NAMES = {
    "newline": b"new\nline.srt",
    "latin-1": b"caf\xe9.srt",
    "bytes": b"\xff\xfe.m\xffv",
    "quotes": "\N{CLAPPER BOARD} $(touch x) 'q' \"q\".srt".encode(),
    "dashes": b"--help.srt",
    "dots": b"...srt",
    "none": b"noext",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_files_may_have_any_name(store: Store, tmp_path: Path, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    try:
        file.write_text("text")
    except OSError:
        pytest.skip("this disk does not allow such a name")
    artifact = store.adopt(file)
    assert store.adopt(file) == artifact
    assert store.path(artifact).read_text() == "text"
    artifact.suffix.encode()  # it goes into JSON
    with store.scratch(near=tmp_path) as scratch:
        (scratch / "made").write_text("made")
        store.deliver(scratch / "made", file, "key")
    assert store.delivered(file) == "key"


def test_a_store_in_a_folder_of_odd_name_works(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20\n 'x'"
    store = Store(folder)
    store.remember([Remembered("k", "s", "1", "[]")])
    assert store.has(keep(store, "x"))
    store.close()
    assert (folder / "memo.sqlite").exists()


# memo and deliveries


def test_the_first_result_of_a_key_stays(store: Store) -> None:
    store.remember([Remembered("k", "s", "1", "[]")])
    store.remember([Remembered("k", "s", "2", "[]"), Remembered("l", "s", "3", "[]")])
    assert {key: row.output for key, row in store.look_up(["k", "l", "m"]).items()} == {"k": "1", "l": "3"}
    store.forget(["k"])
    assert list(store.look_up(["k", "l"])) == ["l"]


def test_many_keys_are_looked_up_at_once(store: Store) -> None:
    rows = [Remembered(f"k{n}", "s", str(n), "[]") for n in range(2000)]
    store.remember(rows)
    assert len(store.look_up([row.key for row in rows])) == 2000
    assert store.look_up([]) == {}


def test_a_delivery_moves_with_the_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "out" / ".polydub")
    with store.scratch() as scratch:
        (scratch / "a").write_text("film")
        store.deliver(scratch / "a", tmp_path / "out" / "clip" / "dub.mkv", "key")
    store.close()
    (tmp_path / "out").rename(tmp_path / "moved")
    store = Store(tmp_path / "moved" / ".polydub")
    assert store.delivered(tmp_path / "moved" / "clip" / "dub.mkv") == "key"
    assert store.delivered(tmp_path / "moved" / "clip" / "other.mkv") is None
    store.close()


def test_several_processes_share_a_store(tmp_path: Path) -> None:
    writer = """
        me = sys.argv[2]
        sys.stdin.readline()
        store = Store(folder)
        for n in range(60):
            with store.scratch() as scratch:
                (scratch / "f.txt").write_text(str(n))
                artifact = store.keep(scratch / "f.txt")
            store.remember([Remembered(f"both-{n}", "s", artifact.sha256, "[]"), Remembered(f"{me}-{n}", "s", "1", "[]")])
            assert store.has(artifact)
            (folder / "mine.txt").exists() and store.adopt(folder / "mine.txt")
        store.close()
    """
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    writers = [child(writer, folder, me) for me in ("a", "b", "c")]
    for process in writers:  # all begin together, on a folder without a database
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in writers:
        finish(process)
    store = Store(folder)
    found = store.look_up([f"{me}-{n}" for me in ("both", "a", "b", "c") for n in range(60)])
    assert len(found) == 240
    for n in range(60):
        artifact = Artifact(hashlib.sha256(str(n).encode()).hexdigest(), ".txt", len(str(n)))
        assert found[f"both-{n}"].output == artifact.sha256
        assert store.path(artifact).read_text() == str(n)
    assert [path.name for path in (folder / "scratch").iterdir() if path.is_dir()] == [store._own.folder.name]
    store.close()


# scratch


def test_scratch_is_private_and_disappears(store: Store, tmp_path: Path) -> None:
    with store.scratch() as one, store.scratch() as two, store.scratch(near=tmp_path) as three:
        assert len({one, two, three}) == 3
        assert three.parent == tmp_path
        (one / "left").write_text("behind")
    assert not any(path.exists() for path in (one, two, three))
    with pytest.raises(KeyError), store.scratch() as four:
        raise KeyError
    assert not four.exists()


def test_scratch_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    holder = """
        store = Store(folder)
        with store.scratch() as scratch:
            (scratch / "half").write_text("half a film")
            print(scratch, flush=True)
            sys.stdin.readline()
            print((scratch / "half").read_text())
        store.close()
    """
    dead, living = child(holder, tmp_path / "store"), child(holder, tmp_path / "store")
    assert dead.stdout and living.stdout
    left, held = (Path(process.stdout.readline().strip()) for process in (dead, living))
    dead.send_signal(signal.SIGKILL)
    dead.communicate(timeout=60)
    assert (left / "half").exists()

    Store(tmp_path / "store").close()
    assert not left.parent.exists()
    assert (held / "half").exists()
    out, err = living.communicate("\n", timeout=60)
    assert (out, err) == ("half a film\n", "")
    assert [path.name for path in (tmp_path / "store" / "scratch").iterdir()] == ["lock"]


def test_two_stores_of_one_process_leave_each_other_alone(tmp_path: Path) -> None:
    one = Store(tmp_path / "store")
    with one.scratch() as scratch:
        two = Store(tmp_path / "store")
        assert scratch.exists()
        two.close()
        assert scratch.exists()
    one.close()


# refusals


@contextmanager
def refused(words: str) -> Generator[None]:
    """The block raises a StoreError that says `words` and gives advice."""
    with pytest.raises(StoreError, match=words) as caught:
        yield
    assert caught.value.hint
    assert caught.value.exit_status == 6


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("I was here first")
    with refused("in the way"):
        Store(tmp_path / "store")
    with refused("in the way"):
        Store(tmp_path / "store" / "deeper")
    assert (tmp_path / "store").read_text() == "I was here first"


def test_a_folder_where_a_file_should_be_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "film.mkv" / "inside").mkdir(parents=True)
    with store.scratch() as scratch:
        (scratch / "film").write_text("film")
        with refused("in the way"):
            store.deliver(scratch / "film", tmp_path / "film.mkv", "key")
    assert store.delivered(tmp_path / "film.mkv") is None


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with refused("too long"):
        Store(tmp_path / ("n" * 300))


def test_a_damaged_memo_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "memo.sqlite").write_bytes(b"no database" * 1000)
    with refused("cannot be used"):
        Store(tmp_path / "store")
    assert (tmp_path / "store" / "memo.sqlite").read_bytes() == b"no database" * 1000


def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    folder.chmod(0o555)
    source = """
        if os.geteuid() == 0:  # root may write everywhere, unless it gives its privileges up
            import ctypes
            nothing = (ctypes.c_uint32 * 6)()
            assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), nothing) == 0
        try:
            Store(folder / "store")
        except StoreError as error:
            print(error.message, "|", error.hint)
    """
    try:
        if os.geteuid() == 0 and sys.platform != "linux":
            pytest.skip("root may write everywhere")
        said = finish(child(source, folder))
        assert "permission denied" in said
        assert "--store" in said
        assert not list(folder.iterdir())
    finally:
        folder.chmod(0o755)


FILL = """
    store = Store(folder)
    artifact = None
    for n in range(100):
        try:
            with store.scratch() as scratch:
                if {limited}:
                    import resource
                    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
                with __import__("polydub.store", fromlist=["writing"]).writing("a file"):
                    (scratch / "f.bin").write_bytes(os.urandom(100_000 if n < 3 else 200_000))
                artifact = store.keep(scratch / "f.bin")
            store.remember([Remembered(f"k{{n}}", "s", artifact.sha256, "[]")])
        except StoreError as error:
            print(n, error.message, error.hint, sep="|")
            break
    store.close()
"""


def survivors(folder: Path) -> list[Remembered]:
    """What a store remembers; every file of it must be there."""
    store = Store(folder)
    rows = store.look_up([f"k{n}" for n in range(100)])
    for row in rows.values():
        artifact = Artifact(row.output, ".bin", 100_000)
        assert hashlib.sha256(store.path(artifact).read_bytes()).hexdigest() == artifact.sha256
    store.remember([Remembered("after", "s", "1", "[]")])
    assert store.look_up(["after"])
    store.close()
    return list(rows.values())


def test_a_file_beyond_the_allowed_size_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    number, message, hint = finish(child(FILL.format(limited=True), tmp_path / "store")).strip().split("|")
    assert int(number) == 3
    assert "larger than allowed" in message
    assert hint
    assert len(survivors(tmp_path / "store")) == 3


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 1024) as place:
        yield place


def test_a_full_disk_is_told_and_nothing_is_lost(tiny_disk: Path) -> None:
    number, message, hint = finish(child(FILL.format(limited=False), tiny_disk / "store")).strip().split("|")
    assert 3 < int(number) < 10
    assert "disk is full" in message
    assert "kept" in hint
    kept = list((tiny_disk / "store" / "artifacts").rglob("*.bin"))
    max(kept, key=lambda file: file.stat().st_size).unlink()  # room again: the last, big one
    store = Store(tiny_disk / "store")
    rows = store.look_up([f"k{n}" for n in range(100)])
    assert set(rows) == {f"k{n}" for n in range(int(number))}
    assert keep(store, "fits again").bytes == 10
    store.close()


def test_a_store_on_a_full_disk_refuses_to_remember_and_stays_whole(tiny_disk: Path) -> None:
    store = Store(tiny_disk / "store")
    store.remember([Remembered("first", "s", "1", "[]")])
    with refused("full|cannot be used"):
        for n in range(100):
            store.remember([Remembered(f"k{n}", "s", "x" * 100_000, "[]")])
    assert store.look_up(["first"])
    store.close()
    again = Store(tiny_disk / "store")
    assert again.look_up(["first"])
    again.close()
