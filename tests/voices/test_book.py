"""The character book: what is written is read again, two writers lose nothing, and nothing damaged is overwritten."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub.errors import BadInput, BadSettings, MissingSecret, PolydubError, StoreError
from polydub.voices import book as books
from polydub.voices.book import Book, Exemplar, Film, Shelf, Voiceprint
from polydub.voices.bookkeeping import added, find, forgotten, replaced

NOW = "2026-01-02T03:04:05+00:00"
KEY = "correct horse battery"


def flac(seconds: float = 0.5, seed: int = 0, channels: int = 1) -> bytes:
    memory = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * 16_000), channels))
    soundfile.write(memory, noise, 16_000, "PCM_16", format="FLAC")
    return memory.getvalue()


def filled(shelf: Shelf, name: str = "Anna", sound: bytes | None = None) -> str:
    """Puts a character with a voiceprint and a recording into the book; its id."""
    with shelf.changing() as draft:
        draft.book, one = added(draft.book, name, "clone", NOW)
        numbers = (0.6, -0.8)
        one = one.model_copy(
            update={
                "voiceprints": {
                    "fingerprint r1": Voiceprint(mean=numbers, count=1, exemplars=(Exemplar(film="", numbers=numbers),))
                },
                "references": (draft.keep(sound or flac()),),
                "films": (Film(key="k", name="episode 1", speaker="SPEAKER_00", seconds=9.0, seen=NOW),),
            }
        )
        draft.book = replaced(draft.book, one)
    return one.id


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "characters.json")


@pytest.fixture
def sealed(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "characters.json", KEY)


def everything(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def test_there_is_no_book_at_first_and_reading_makes_none(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.read() == Book()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", [None, KEY])
def test_what_is_written_is_read_again(tmp_path: Path, key: str | None) -> None:
    shelf = Shelf(tmp_path / "characters.json", key)
    filled(shelf)
    (one,) = Shelf(shelf.file, key).read().characters
    assert (one.name, one.mode, one.films[0].name) == ("Anna", "clone", "episode 1")
    assert one.voiceprints["fingerprint r1"].mean == (0.6, -0.8)
    assert shelf.sound(one.references[0]) == flac() and one.references[0].seconds == 0.5


def test_a_person_can_read_the_file_and_others_on_the_machine_cannot(shelf: Shelf) -> None:
    filled(shelf)
    text = shelf.file.read_text()
    assert '"name": "Anna"' in text and '"mean": [0.6, -0.8]' in text
    assert json.loads(text)["version"] == 1
    assert {p.stat().st_mode & 0o077 for p in shelf.file.parent.rglob("*") if p.is_file()} == {0}


def test_ids_are_never_used_again(shelf: Shelf) -> None:
    first = filled(shelf)
    with shelf.changing() as draft:
        draft.book = forgotten(draft.book, [find(draft.book, first)])
    assert filled(shelf, "Ben") != first


def test_an_unchanged_book_is_not_written(shelf: Shelf) -> None:
    filled(shelf)
    before = shelf.file.stat().st_mtime_ns
    with shelf.changing():
        pass
    assert shelf.file.stat().st_mtime_ns == before


def test_a_change_that_fails_leaves_everything_as_it_was(shelf: Shelf, tmp_path: Path) -> None:
    filled(shelf)
    before = everything(tmp_path)

    def fail() -> None:
        with shelf.changing() as draft:
            draft.keep(flac(seed=1))
            draft.book, _ = added(draft.book, "Ben", "match", NOW)
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert everything(tmp_path) == before


def test_forgetting_removes_the_recordings_and_leaves_those_that_others_have(shelf: Shelf) -> None:
    filled(shelf, "Anna", flac(seed=1))
    filled(shelf, "Ben", flac(seed=2))
    with shelf.changing() as draft:
        draft.book = forgotten(draft.book, [find(draft.book, "Anna")])
    assert [p.read_bytes() for p in shelf.folder.iterdir()] == [flac(seed=2)]
    assert "Anna" not in shelf.file.read_text()


def test_other_files_beside_the_book_are_nobodys_to_delete(shelf: Shelf) -> None:
    filled(shelf)
    (shelf.folder / "notes.txt").write_text("mine")
    filled(shelf, "Ben", flac(seed=2))
    assert (shelf.folder / "notes.txt").read_text() == "mine"


def _add(file: Path, number: int) -> None:
    for n in range(5):
        with Shelf(file).changing() as draft:
            draft.book, one = added(draft.book, f"{number}-{n}", "match", NOW)
            draft.book = replaced(draft.book, one.model_copy(update={"references": (draft.keep(flac(0.1, 10 * number + n)),)}))


def test_two_films_that_write_at_once_lose_nothing(shelf: Shelf) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(shelf.file, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    book = shelf.read()
    assert {c.name for c in book.characters} == {f"{a}-{b}" for a in range(3) for b in range(5)}
    assert len({c.id for c in book.characters}) == 15 and all(shelf.sound(c.references[0]) for c in book.characters)


class TestEncryption:
    def test_nothing_of_it_can_be_read_without_the_key(self, sealed: Shelf, tmp_path: Path) -> None:
        filled(sealed)
        held = everything(tmp_path)
        assert b"Anna" not in held and b"fLaC" not in held and b"0.6" not in held

    def test_two_books_with_one_key_and_content_differ(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            filled(Shelf(tmp_path / f"{name}.json", KEY))
        assert (tmp_path / "a.json").read_bytes()[:100] != (tmp_path / "b.json").read_bytes()[:100]

    def test_a_plain_book_is_encrypted_when_it_is_written_next(self, shelf: Shelf, tmp_path: Path) -> None:
        filled(shelf)
        sealed = Shelf(shelf.file, KEY)
        assert sealed.open_to_read and sealed.read().characters[0].name == "Anna"
        filled(sealed, "Ben", flac(seed=2))
        assert not sealed.open_to_read and {c.name for c in sealed.read().characters} == {"Anna", "Ben"}
        assert b"fLaC" not in everything(tmp_path)
        assert [sealed.sound(c.references[0]) for c in sealed.read().characters] == [flac(), flac(seed=2)]

    @pytest.mark.parametrize(
        ("key", "error", "words"),
        [(None, MissingSecret, "is encrypted"), ("wrong horse", BadSettings, "does not open")],
    )
    def test_without_the_right_key_nothing_is_read_and_nothing_overwritten(
        self, sealed: Shelf, tmp_path: Path, key: str | None, error: type[PolydubError], words: str
    ) -> None:
        filled(sealed)
        before, other = everything(tmp_path), Shelf(sealed.file, key)
        for attempt in (other.read, lambda: filled(other, "Ben")):
            with pytest.raises(error, match=words) as told:
                attempt()
            assert books.KEY in told.value.message + told.value.hint
        assert everything(tmp_path) == before

    @pytest.mark.parametrize("at", [5, 40, 60, 200, -5])
    def test_a_damaged_file_is_told(self, sealed: Shelf, at: int) -> None:
        filled(sealed)
        data = bytearray(sealed.file.read_bytes())
        data[at] ^= 1
        sealed.file.write_bytes(data)
        with pytest.raises((StoreError, BadSettings)):
            sealed.read()
        assert sealed.file.read_bytes() == data

    def test_a_short_key_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadSettings, match="too short"):
            filled(Shelf(tmp_path / "characters.json", "short"))
        assert not (tmp_path / "characters.json").exists()
        with pytest.raises(BadSettings, match="too short"):  # before a film is dubbed that could not be remembered
            Shelf(tmp_path / "characters.json", "short").read()

    def test_the_key_shows_nowhere(self, sealed: Shelf) -> None:
        assert KEY not in repr(sealed)


def as_text(change: Callable[[dict[str, object]], None]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        held = json.loads(data)
        change(held)
        return json.dumps(held).encode()

    return changed


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "no JSON": lambda data: b"\xff\xfe\x00",
    "a list": lambda data: b"[]",
    "deep": lambda data: b"[" * 100_000,
    "an unknown key": as_text(lambda held: held.update(more=1)),
    "a newer version": as_text(lambda held: held.update(version=2)),
    "two of one name": as_text(
        lambda held: held.update(next=3, characters=[*held["characters"], {"id": "c2", "name": "anna"}])
    ),  # type: ignore[misc]
    "an id of the future": as_text(lambda held: held.update(next=1)),
    "no finite number": lambda data: data.replace(b"[0.6, -0.8]", b"[NaN, -0.8]", 1),
    "two lengths": lambda data: data.replace(b"[0.6, -0.8]", b"[0.6]", 1),
    "a path": lambda data: data.replace(b'"sha256": "', b'"sha256": "../../', 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_book_is_one_sentence_and_never_overwritten(shelf: Shelf, damage: str) -> None:
    filled(shelf)
    shelf.file.write_bytes(DAMAGES[damage](shelf.file.read_bytes()))
    before = shelf.file.read_bytes()
    for attempt in (shelf.read, lambda: filled(shelf, "Ben")):
        with pytest.raises(StoreError) as told:
            attempt()
        assert str(shelf.file) in told.value.message and told.value.hint and "\n" not in told.value.message
    assert shelf.file.read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"fLaC\0 but not this one"])
def test_a_damaged_recording_is_told(shelf: Shelf, damage: bytes) -> None:
    filled(shelf)
    (file,) = shelf.folder.iterdir()
    file.write_bytes(damage)
    with pytest.raises(StoreError, match="damaged"):
        shelf.sound(shelf.read().characters[0].references[0])
    file.unlink()
    with pytest.raises(StoreError, match="missing"):
        shelf.sound(shelf.read().characters[0].references[0])


@pytest.mark.parametrize("sound", [b"", b"RIFF....WAVEfmt ", flac(channels=2), flac()[:20]])
def test_only_mono_flac_is_kept(shelf: Shelf, sound: bytes) -> None:
    with shelf.changing() as draft, pytest.raises(BadInput, match="mono FLAC"):
        draft.keep(sound)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "\x1b[31m", "x" * 81])
def test_what_is_no_name_is_refused(shelf: Shelf, name: str) -> None:
    with pytest.raises(BadSettings, match="no name"):
        filled(shelf, name)
    assert not shelf.file.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(shelf: Shelf) -> None:
    shelf.file.parent.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="permission"):
            filled(shelf)
    finally:
        shelf.file.parent.chmod(0o700)
