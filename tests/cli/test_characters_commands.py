"""`polydub characters`, as a person uses it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import Call, files, program

from polydub.types import Part
from small_dubs import DIALOGUE, TALKERS

KEY = "POLYDUB_CHARACTERS_KEY"
BOOK = ("--character-book", "book.json")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ann1.wav, ann2.wav, bob1.wav of some seconds, and both.wav in which both speak."""
    from polydub.engines.tts.espeak import ENGINE

    folder = tmp_path_factory.mktemp("recordings")
    with ENGINE.load(ENGINE.options(), {}, "cpu") as tts:
        said = [(who, tts.synthesize(Part(text, "en", TALKERS[who]))) for who, text in DIALOGUE]
    rate_hz = said[0][1].rate_hz
    sounds = {who: [audio.samples[0] for name, audio in said if name == who] for who in TALKERS}
    for who, (first, second) in sounds.items():
        soundfile.write(folder / f"{who.lower()}1.wav", np.concatenate([first, second]), rate_hz)
        soundfile.write(folder / f"{who.lower()}2.wav", np.concatenate([second, first]), rate_hz)
    pause = np.zeros(rate_hz // 2, np.float32)
    both = [x for audio in (audio for _, audio in said) for x in (pause, audio.samples[0])]
    soundfile.write(folder / "both.wav", np.concatenate(both), rate_hz)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the book of Ann and Bob is kept when it has been made once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def book(polydub: Call, recordings: Path, kept: Path, tmp_path: Path) -> Call:
    """Ann and Bob are enrolled; `book("list")` is `polydub characters list` on that book."""

    def call(command: str, *arguments: str | Path) -> object:
        return polydub("characters", command, *arguments, *BOOK)

    if not (kept / "book.json").exists():
        for name in ("Ann", "Bob"):
            told = call("enrol", name, recordings / f"{name.lower()}1.wav", "--speakers", "1")
            assert told.status == 0, told.err  # type: ignore[attr-defined]
        shutil.copytree(tmp_path / "book.references", kept / "book.references")
        for name in ("book.json", "book.json.lock"):  # the lock too: a change that fails leaves one behind
            shutil.copy(tmp_path / name, kept)
        shutil.rmtree(tmp_path / "Output")
    else:
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    return call  # type: ignore[return-value]


def test_an_empty_book_says_how_to_fill_it(polydub: Call, tmp_path: Path) -> None:
    told = polydub("characters", "list", *BOOK)
    assert told.status == 0 and not told.out and "--characters on" in told.err
    assert polydub("characters", "list", "--json", *BOOK).json["characters"] == []
    assert not list(tmp_path.iterdir())


def test_enrolled_voices_are_listed_shown_and_recognised(book: Call, recordings: Path) -> None:
    told = book("list")
    assert [line.split()[:2] for line in told.out.splitlines()] == [["c1", "Ann"], ["c2", "Bob"]]
    shown = book("show", "ann")
    assert "fingerprint" in shown.out and "recording:" in shown.out and "by hand" in shown.out
    told = book("match", recordings / "bob2.wav", "--json", "--speakers", "1")
    (one,) = told.json["speakers"]
    assert (one["name"], one["verdict"]) == ("Bob", "known") and told.json["limits"]["threshold"] == 0.8
    assert told.json["encoder"].startswith("fingerprint") and "weaker than a trained encoder" in told.err


def test_everybody_in_a_file_is_named(book: Call, recordings: Path) -> None:
    told = book("match", recordings / "both.wav", "--speakers", "2")
    assert told.status == 0
    assert sorted(line.partition(": ")[2].partition(": ")[0] for line in told.out.splitlines()) == [
        "the character Ann",
        "the character Bob",
    ]


def test_a_stranger_is_nobody(book: Call, recordings: Path) -> None:
    book("forget", "bob", "--yes")
    told = book("match", recordings / "bob2.wav", "--speakers", "1")
    assert told.status == 0
    assert "nobody known; the nearest is Ann" in told.out


def test_several_people_in_a_recording_must_be_told_apart(book: Call, recordings: Path, tmp_path: Path) -> None:
    before = files(tmp_path)["book.json"]
    told = book("enrol", "Cleo", recordings / "both.wav", "--speakers", "2")
    told.fails(2, "several people speak", "SPEAKER_00", "--speaker")
    book("enrol", "Cleo", recordings / "both.wav", "--speakers", "2", "--speaker", "SPEAKER_07").fails(2, "SPEAKER_07")
    assert files(tmp_path)["book.json"] == before
    assert book("enrol", "Cleo", recordings / "both.wav", "--speakers", "2", "--speaker", "SPEAKER_01").status == 0


def test_more_recordings_teach_a_known_character(book: Call, recordings: Path) -> None:
    assert book("enrol", "ann", recordings / "ann2.wav", "--speakers", "1").out.startswith("c1 Ann")
    (one,) = [c for c in book("list", "--json").json["characters"] if c["id"] == "c1"]
    assert list(one["encoders"].values()) == [2] and len(one["references"]) == 2


def test_silence_and_short_recordings_enrol_nobody(book: Call, tmp_path: Path, recordings: Path) -> None:
    sound, rate_hz = soundfile.read(recordings / "ann1.wav")
    soundfile.write(tmp_path / "short.wav", sound[: int(1.5 * rate_hz)], rate_hz)
    soundfile.write(tmp_path / "silent.wav", np.zeros(3 * rate_hz), rate_hz)
    book("enrol", "Cleo", tmp_path / "short.wav", "--speakers", "1").fails(2, "too little")
    book("enrol", "Cleo", tmp_path / "silent.wav", "--speakers", "1").fails(2, "nobody speaks")
    book("enrol", "Cleo", tmp_path / "none.wav").fails(2, "there is no file")
    assert len(book("list", "--json").json["characters"]) == 2


def test_of_several_recordings_those_that_can_be_used_are_enrolled(book: Call, tmp_path: Path, recordings: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000), 8_000)
    told = book("enrol", "Ann", "silent.wav", recordings / "ann2.wav", "none.wav", "--speakers", "1")
    assert told.status == 1 and told.out.endswith("in 1 of 3 files\n")
    assert "nobody speaks in silent.wav" in told.err and "there is no file none.wav" in told.err
    told = book("enrol", "Ann", "silent.wav", recordings / "ann1.wav", "--speakers", "1", "--json")
    assert list(told.json["refused"]) == ["silent.wav"] and told.json["encoders"].popitem()[1] == 2


def test_a_preset_that_nobody_knows_is_refused_with_near_names(book: Call, tmp_path: Path) -> None:
    before = files(tmp_path)["book.json"]
    book("set", "Ann", "--preset", "espeak-ng=anouncer").fails(3, "no voice 'anouncer'", "announcer")
    book("set", "Ann", "--preset", "anouncer").fails(3, "announcer", "--preset ENGINE=anouncer")
    book("set", "Ann", "--preset", "espeak=f2").fails(3, "there is no speech engine 'espeak'", "espeak-ng")
    assert files(tmp_path)["book.json"] == before
    assert book("set", "Ann", "--preset", "f2").status == 0
    told = book("set", "Ann", "--preset", "xtts=Claribel Dervla")
    assert told.status == 0 and "nobody could tell whether there is a voice Claribel Dervla" in told.err
    assert book("set", "Ann", "--preset", "xtts=", "--preset", "f3").status == 0
    assert book("show", "Ann", "--json").json["presets"] == {"*": "f3"}


def test_names_settings_and_locks_are_kept(book: Call) -> None:
    assert book("rename", "c1", "Anna Karenina").out == "c1 Anna Karenina: called Ann until now\n"
    assert book("set", "anna", "--preset", "espeak-ng=es+f2", "--rate", "1.1", "--lock", "--alias", "Anja").status == 0
    one = book("show", "anja", "--json").json
    assert (one["mode"], one["presets"], one["manner"]["rate"], one["locked"]) == (
        "preset",
        {"espeak-ng": "es+f2"},
        1.1,
        True,
    )
    assert "preset espeak-ng=es+f2 locked" in book("list").out
    book("set", "anna").fails(3, "nobody said what to set")
    book("set", "anna", "--rate", "7").fails(3, "rate is out of range")
    book("rename", "anna", "bob").fails(3, "another character")
    book("show", "Clara").fails(3, "there is no character")


def test_merging_and_forgetting_leave_no_recordings_behind(book: Call, tmp_path: Path) -> None:
    folder = tmp_path / "book.references"
    assert len(list(folder.iterdir())) == 2
    assert book("merge", "Ann", "Bob").status == 0
    one = book("show", "bob", "--json").json
    assert one["name"] == "Ann" and one["aliases"] == ["Bob"] and len(one["references"]) == 2
    book("merge", "Ann", "Bob").fails(3, "merged with itself")
    book("split", "Ann", "Bob", "--film", "episode 9").fails(3, "was not heard in")
    assert book("forget", "Ann", "--yes").status == 0
    assert not list(folder.iterdir()) and not book("list", "--json").json["characters"]


def test_nobody_is_forgotten_unless_somebody_agrees(book: Call, tmp_path: Path) -> None:
    before = files(tmp_path)["book.json"]
    told = program("characters", "forget", "Ann", *BOOK, cwd=tmp_path)
    assert told.status == 3 and "nobody answered" in told.err and "--yes" in told.err
    book("forget").fails(3, "whom to forget")
    assert files(tmp_path)["book.json"] == before


class TestParcels:
    def test_exported_characters_can_be_imported_elsewhere(self, book: Call, polydub: Call, recordings: Path) -> None:
        assert book("export", "--out", "all.zip").out == "all.zip\n"
        other = ("--character-book", "other.json")
        assert polydub("characters", "import", "all.zip", *other).status == 0
        rows = [
            polydub("characters", "list", "--json", "--character-book", b).json["characters"]
            for b in ("book.json", "other.json")
        ]
        assert rows[0] == rows[1]
        told = polydub("characters", "match", recordings / "ann2.wav", "--speakers", "1", *other)
        assert "the character Ann" in told.out

    def test_the_same_characters_make_the_same_file(self, book: Call, tmp_path: Path) -> None:
        for name in ("a.zip", "b.zip"):
            book("export", "Ann", "--out", name)
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()

    def test_who_is_here_already_comes_in_once(self, book: Call, tmp_path: Path) -> None:
        book("export", "--out", "all.zip")
        before = files(tmp_path)["book.json"]
        told = book("import", "all.zip")
        assert (told.status, told.out) == (0, "") and "all here already" in told.err
        assert files(tmp_path)["book.json"] == before
        book("forget", "Ann", "--yes")
        assert book("import", "all.zip").out == "c3 Ann: imported\n"

    def test_another_person_of_the_same_name_gets_a_number(self, book: Call) -> None:
        book("export", "Ann", "--out", "a.zip")
        book("forget", "Ann", "--yes")
        book("rename", "Bob", "Ann")
        assert book("import", "a.zip").out == "c3 Ann 2: imported\n"

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda parts: parts.pop("manifest.json"),
            lambda parts: parts.update({"../evil": b"x"}),
            lambda parts: parts.update({"references/notes.txt": b"x"}),
            lambda parts: parts.update({next(n for n in parts if "flac" in n): b"fLaC and no more"}),
            lambda parts: parts.pop(next(n for n in parts if "flac" in n)),
            lambda parts: parts.update({"manifest.json": parts["manifest.json"][:-40]}),
            lambda parts: parts.update({"manifest.json": parts["manifest.json"].replace(b'"version": 1', b'"version": 9')}),
            lambda parts: parts.update({"manifest.json": b"[" * 50_000}),
        ],
    )
    def test_anything_else_is_refused_and_changes_nothing(
        self, book: Call, tmp_path: Path, spoil: Callable[[dict[str, bytes]], object]
    ) -> None:
        book("export", "--out", "all.zip")
        with zipfile.ZipFile("all.zip") as parcel:
            parts = {name: parcel.read(name) for name in parcel.namelist()}
        spoil(parts)
        with zipfile.ZipFile("bad.zip", "w") as parcel:
            for name, data in parts.items():
                parcel.writestr(name, data)
        before = files(tmp_path)
        book("import", "bad.zip").fails(2)
        assert files(tmp_path) == before

    def test_a_zip_that_was_damaged_on_its_way_is_refused(self, book: Call, tmp_path: Path) -> None:
        with zipfile.ZipFile("bad.zip", "w", zipfile.ZIP_DEFLATED) as parcel:
            parcel.writestr("manifest.json", "{" + " " * 200 + "}")
        data = bytearray((tmp_path / "bad.zip").read_bytes())
        data[43:47] = b"\xff\xff\xff\xff"  # of what is packed
        (tmp_path / "bad.zip").write_bytes(data)
        book("import", "bad.zip").fails(2, "no file of exported characters")

    def test_what_is_no_zip_is_refused(self, book: Call, tmp_path: Path) -> None:
        (tmp_path / "text.zip").write_text("hello")
        book("import", "text.zip").fails(2, "no file of exported characters")
        book("import", "none.zip").fails(2, "there is no file")


class TestKeys:
    def test_a_key_encrypts_what_is_written_next_and_this_is_told(
        self, book: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(KEY, "a key of some length")
        assert "not encrypted yet" in book("list").err
        assert "is encrypted from now on" in book("rename", "Ann", "Anna").err
        assert b"Anna" not in (tmp_path / "book.json").read_bytes()
        assert {p.suffix for p in (tmp_path / "book.references").iterdir()} == {".enc"}
        assert "Anna" in book("list").out and "encrypted" not in book("list").err
        assert "all.zip is not encrypted" in book("export", "--out", "all.zip").err

    def test_without_the_key_nothing_can_be_read_or_changed(
        self, book: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(KEY, "a key of some length")
        book("rename", "Ann", "Anna")
        before = files(tmp_path)
        monkeypatch.setenv(KEY, "another key of some length")
        book("list").fails(3, KEY, "does not open")
        monkeypatch.delenv(KEY)
        book("list").fails(4, "is encrypted", KEY)
        book("forget", "--all", "--yes").fails(4, "is encrypted")
        assert files(tmp_path) == before


def test_a_damaged_book_is_one_sentence(book: Call, tmp_path: Path) -> None:
    (tmp_path / "book.json").write_text(json.dumps({"version": 1, "characters": 3}))
    book("list").fails(6, "book.json", "damaged")
    book("rename", "Ann", "Bob").fails(6, "damaged")


def test_help_shows_what_there_is(polydub: Call) -> None:
    told = polydub("characters", "--help")
    assert told.status == 0
    for command in ("list", "show", "enrol", "rename", "merge", "split", "set", "forget", "export", "import", "match"):
        assert f"  {command} " in told.out
