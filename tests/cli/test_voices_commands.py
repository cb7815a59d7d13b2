"""`polydub voices`: what a person types and sees, and `speak` in voices of the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import Call

GOOD = ("--licence", "CC0-1.0", "--force")  # what the tests make is no speech


@pytest.fixture
def buzz(tmp_path: Path) -> Path:
    t = np.arange(4 * 16_000) / 16_000
    wave = sum(np.sin(2 * np.pi * 120 * n * t) / n for n in range(1, 30)) * (np.sin(2 * np.pi * t) > -0.5)
    soundfile.write(tmp_path / "buzz.wav", 0.1 * wave, 16_000)
    return tmp_path / "buzz.wav"


@pytest.fixture
def shelf(tmp_path: Path, buzz: Path) -> Path:
    """A library of two voices, the second just a file."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "es-Ben_man.wav").write_bytes(buzz.read_bytes())
    (folder / "Anna.wav").write_bytes(buzz.read_bytes())
    return folder


def test_an_empty_library_says_how_to_fill_it(polydub: Call) -> None:
    told = polydub("voices", "list")
    assert (told.status, told.out) == (0, "") and "polydub voices add NAME FILE" in told.err
    assert polydub("voices", "list", "--json").json["voices"] == []


def test_a_voice_is_added_shown_and_removed(polydub: Call, buzz: Path, tmp_path: Path) -> None:
    added = polydub("voices", "add", "Anna", buzz, "--language", "German", *GOOD, "--tag", "calm,low", "--transcript", "Bzz.")
    assert added.status == 0, added.err
    assert Path(added.out.strip()).name == "Anna" and "score" in added.err
    listed = polydub("voices", "list")
    assert listed.out.splitlines()[1].split() == ["Anna", "de", "1", "CC0-1.0", "calm", "low"]
    assert "by default: alloy = Anna" in listed.err
    shown = polydub("voices", "show", "ann")
    assert "consent: not told" in shown.out and "says: Bzz." in shown.out and "1.flac: score" in shown.out
    assert polydub("voices", "show", "ann", "--json").json["quality"][0]["figures"]["seconds"] > 1
    polydub("voices", "remove", "Anna").fails(3, "for good", "--yes")
    polydub("voices", "remove", "An", "--yes").fails(3, "Anna is the nearest")
    assert polydub("voices", "remove", "anna", "--yes", "--json").json[0]["name"] == "Anna"
    assert polydub("voices", "list", "--json").json["voices"] == []


def test_recordings_of_a_person_want_consent(polydub: Call, buzz: Path, tmp_path: Path) -> None:
    polydub("voices", "add", "Anna", buzz, "--licence", "my own").fails(3, "note that the person agreed", "--consent")
    polydub("voices", "add", "Anna", buzz, "--consent", "@gone.pdf").fails(2, "gone.pdf")
    (tmp_path / "letter.txt").write_text("I agree.")
    added = polydub("voices", "add", "Anna", buzz, "--consent", "@letter.txt", "--force", "--json").json
    assert added["consent"].startswith("see letter.txt (20")
    assert Path(added["consent_file"]).read_text() == "I agree."


def test_recordings_without_speech_are_refused_unless_forced(polydub: Call, buzz: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    polydub("voices", "add", "Anna", tmp_path / "silence.wav", "--licence", "CC0").fails(2, "no voice can be made", "--force")
    (tmp_path / "text.wav").write_text("hello")
    polydub("voices", "add", "Anna", tmp_path / "text.wav", *GOOD).fails(2, "text.wav")
    polydub("voices", "add", "Anna", tmp_path / "gone.wav", *GOOD).fails(2, "gone.wav")
    assert polydub("voices", "list", "--json").json["voices"] == []


@pytest.mark.parametrize("name", ["../Anna", "An.na", "a/b", ""])
def test_names_that_are_no_folder_are_refused_at_once(polydub: Call, buzz: Path, name: str) -> None:
    polydub("voices", "add", name, buzz, *GOOD).fails(3, "use letters")


def test_transcripts_belong_to_recordings_one_to_one(polydub: Call, buzz: Path) -> None:
    polydub("voices", "add", "Anna", buzz, buzz, "--transcript", "one", *GOOD).fails(3, "1 transcripts for 2 recordings")


def test_a_folder_is_imported_and_missing_consent_is_said(polydub: Call, shelf: Path) -> None:
    told = polydub("voices", "import", shelf)
    assert (told.status, told.out.split()) == (0, ["Anna", "Ben"])
    assert "agreed to the use of their voices: Anna, Ben" in told.err
    again = polydub("voices", "import", shelf, "--json")
    assert again.status == 1 and set(again.json["left_out"]) == {"Anna", "es-Ben_man"}


def test_aliases_are_set_and_taken_away(polydub: Call, shelf: Path) -> None:
    here = ("--voices", shelf)
    assert "boss" in polydub("voices", "alias", "boss", "ben", *here).out
    assert polydub("voices", "show", "BOSS", "--json", *here).json["name"] == "Ben"
    polydub("voices", "alias", "boss", "zed", *here).fails(3, "no voice 'zed'")
    polydub("voices", "alias", "boss", *here).fails(3, "what shall the alias mean")
    assert "boss" not in polydub("voices", "alias", "boss", "--remove", "--json", *here).json


def test_a_damaged_voice_is_told_and_the_others_are_shown(polydub: Call, shelf: Path) -> None:
    (shelf / "Cid").mkdir()
    (shelf / "Cid" / "voice.json").write_text("{")
    told = polydub("voices", "list", "--voices", shelf)
    assert "Cid is left out" in told.err and "Anna" in told.out
    polydub("voices", "show", "cid", "--voices", shelf).fails(2, "voice.json")


def test_the_voices_of_an_engine_are_shown(polydub: Call) -> None:
    told = polydub("voices", "list", "--engine", "fake", "--to", "es", "--json").json
    assert told["engine"] == "fake" and told["voices"][0]["name"] == "low"
    polydub("voices", "list", "--engine", "fake").fails(3, "of which language", "--to es")


@pytest.mark.slow  # some forty takes are listened to
def test_an_engine_without_cloning_speaks_in_its_nearest_voice_and_says_so(polydub: Call, shelf: Path) -> None:
    told = polydub("voices", "test", "ash", "Hola a todos.", "--tts", "espeak-ng", "--voices", shelf, "-o", "ben.wav")
    assert told.status == 0, told.err
    assert "espeak-ng cannot clone" in told.err and "instead of Ben" in told.err
    assert soundfile.info("ben.wav").duration > 0.5


def test_the_engines_own_voice_goes_before_the_librarys(polydub: Call, shelf: Path, buzz: Path) -> None:
    (shelf / "low.wav").write_bytes(buzz.read_bytes())
    (shelf / "aliases.json").write_text('{"version": 1, "aliases": {"boss": "High", "far": "beyond"}}')
    said = ("speak", "Hola.", "--to", "es", "--tts", "fake", "--voices", shelf, "--json")
    for name, meant in (("LOW", "low"), ("boss", "high"), ("far", "beyond")):
        assert polydub(*said, "--voice", name).json["voice"] == meant


def test_a_name_that_nobody_knows_names_the_nearest_of_both(polydub: Call, shelf: Path) -> None:
    told = polydub("speak", "Hola.", "--to", "es", "--tts", "espeak-ng", "--voices", shelf, "--voice", "Anma")
    told.fails(3, "espeak-ng has no voice 'Anma', nor has the voice library", "Anna")


def test_a_name_that_may_be_two_voices_is_refused(polydub: Call, shelf: Path, buzz: Path) -> None:
    (shelf / "Annabel.wav").write_bytes(buzz.read_bytes())
    told = polydub("speak", "Hola.", "--to", "es", "--tts", "fake", "--voices", shelf, "--voice", "nna")
    told.fails(3, "Anna, Annabel")
