"""What --voice and --voice-ref-dir mean as recordings: paths, voices of the library, a file for each speaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub.errors import BadInput, BadSettings
from polydub.store import Store
from polydub.types import Samples
from polydub.voices import wishes
from small_dubs import TALK, Film

RATE_HZ = 24_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A library with Carter, Maya and Mary."""
    folder = tmp_path / "voices"
    folder.mkdir()
    for n, name in enumerate(("en-Carter_man", "en-Maya_woman", "en-Mary_woman")):
        soundfile.write(folder / f"{name}.wav", tone(200 + 20 * n), RATE_HZ)
    return folder


def tone(hz: float) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)


def test_a_path_is_that_recording_and_a_name_one_of_the_library(store: Store, home: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "me.flac", tone(100), RATE_HZ)
    path = str(tmp_path / "me.flac")
    found = wishes.recorded([path, "carter", "es+m3", "Maya", ""], home, store)
    assert set(found) == {path, "carter", "Maya"}
    for (file,) in found.values():
        told = soundfile.info(store.path(file))
        assert (told.format, told.channels, told.samplerate) == ("FLAC", 1, RATE_HZ)
    assert len({file for (file,) in found.values()}) == 3


def test_a_word_alone_is_no_file_whatever_lies_right_here(store: Store, home: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "me", tone(100), RATE_HZ, format="FLAC")
    with chdir(tmp_path):
        assert set(wishes.recorded(["me", "./me"], home, store)) == {"./me"}


def test_a_part_of_a_name_will_do_if_it_is_long_enough(store: Store, home: Path) -> None:
    assert set(wishes.recorded(["cart", "es", "m"], home, store)) == {"cart"}


def test_a_name_that_means_several_voices_is_refused(store: Store, home: Path) -> None:
    soundfile.write(home / "en-Carten_man.wav", tone(90), RATE_HZ)
    with pytest.raises(BadSettings, match="may be one of 2"):
        wishes.recorded(["cart"], home, store)


def test_without_a_library_a_name_is_left_to_the_engine(store: Store, tmp_path: Path) -> None:
    assert wishes.recorded(["alloy", "Carter"], tmp_path / "nowhere", store) == {}


def test_a_recording_that_is_not_there_or_no_sound_is_told(store: Store, home: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no recording .*gone\.wav"):
        wishes.recorded([str(tmp_path / "gone.wav")], home, store)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(BadInput, match=r"text\.wav"):
        wishes.recorded([str(tmp_path / "text.wav")], home, store)


def test_a_folder_has_a_recording_of_each_speaker(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    for n, name in enumerate(("ANNA.wav", "Bob.FLAC", "SPEAKER_02.mp3")):
        soundfile.write(folder / name, tone(100 + n), RATE_HZ, format=name[-3:].upper() if name[-3:] != "LAC" else "FLAC")
    (folder / "notes.txt").write_text("not a voice")
    (folder / ".hidden.wav").write_text("neither")
    found = wishes.given(folder, store)
    assert set(found) == {"ANNA", "Bob", "SPEAKER_02"}
    assert all(soundfile.info(store.path(file)).format == "FLAC" for (file,) in found.values())
    assert wishes.given(None, store) == {}


def test_a_folder_that_is_missing_doubtful_or_broken_is_one_clear_sentence(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="folder of recordings") as caught:
        wishes.given(tmp_path / "nowhere", store)
    assert caught.value.hint == "check --voice-ref-dir"
    soundfile.write(tmp_path / "Anna.wav", tone(100), RATE_HZ)
    soundfile.write(tmp_path / "ANNA.flac", tone(100), RATE_HZ)
    with pytest.raises(BadInput, match="two recordings of"):
        wishes.given(tmp_path, store)
    (tmp_path / "ANNA.flac").unlink()
    (tmp_path / "Bob.wav").write_bytes(b"RIFF")
    with pytest.raises(BadInput, match=r"Bob\.wav"):
        wishes.given(tmp_path, store)


def test_an_alias_may_lead_to_a_voice_of_an_engine(store: Store, home: Path) -> None:
    (home / "aliases.json").write_text('{"version": 1, "aliases": {"alloy": "es+f2", "boss": "alloy", "me": "Carter"}}')
    names = ["alloy", "boss", "me", "Maya", "es+m3"]
    assert set(wishes.recorded(names, home, store)) == {"me", "Maya"}
    assert wishes.meant(names, home) == {"alloy": "es+f2", "boss": "es+f2"}
    assert wishes.meant([], home) == {}


def test_what_is_wrong_with_a_recording_of_a_speaker_is_told_and_remembered(clip: Callable[..., Path], tmp_path: Path) -> None:
    film = Film(tmp_path, clip("talk", seconds=6.0)).say(TALK, ("Hola.", "Bien.", "Sí.", "Adiós."))
    (tmp_path / "refs").mkdir()
    soundfile.write(tmp_path / "refs" / "Anna.wav", 0.2 * np.sin(np.arange(RATE_HZ) / 30), RATE_HZ)
    wish = {"voice_ref_dir": str(tmp_path / "refs"), "separation": "none"}
    for made in ({"hear-recording", "judge-recording"}, set[str]()):
        dub = film.dub(wish)
        assert dub.called & {"hear-recording", "judge-recording"} == made
        (told,) = [notice["text"] for notice in dub.report["notices"] if notice["code"] == "recording-doubtful"]
        assert told.startswith("the recording of ANNA: 0.0 s of speech are too little")
