"""The voice library: what lies in its folder, which voice a name means, what engines are given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import BadInput, BadSettings
from polydub.store import Store
from polydub.voices import library, manifest


def sound(path: Path, seconds: float = 0.2, rate_hz: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate_hz)) / rate_hz)
    soundfile.write(path, np.repeat(wave[:, np.newaxis], channels, axis=1), rate_hz)
    return path


def described(folder: Path, name: str, **more: object) -> Path:
    """A voice with a manifest; `more` are its fields."""
    sound(folder / name / "1.flac")
    told = {"version": 1, "name": name, "references": [{"file": "1.flac"}], **more}
    (folder / name / "voice.json").write_text(json.dumps(told), encoding="utf-8")
    return folder / name


def shelf(folder: Path, *names: str) -> library.Library:
    for name in names:
        sound(folder / f"{name}.wav")
    return library.read(folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def test_a_folder_that_is_not_there_is_an_empty_library(tmp_path: Path) -> None:
    assert library.read(tmp_path / "none") == library.Library(tmp_path / "none")


def test_files_are_voices_called_as_they_say(tmp_path: Path) -> None:
    found = shelf(tmp_path, "alice", "en-Mary_woman_bgm", "in-Samuel_man", "xx-Odd", "pt-BR-Ana", "jean-luc").voices
    told = [(v.name, v.language, v.tags) for v in found]
    assert told == [
        ("alice", "und", ()),
        ("Ana", "pt-BR", ()),
        ("jean-luc", "und", ()),
        ("Mary", "en", ("woman", "bgm")),
        ("Samuel", "en-IN", ("man",)),
        ("xx-Odd", "und", ()),
    ]


def test_a_text_beside_a_recording_is_its_transcript(tmp_path: Path) -> None:
    (tmp_path / "alice.txt").write_text("Good\nmorning.", encoding="utf-8")
    assert shelf(tmp_path, "alice").voices[0].references[0].transcript == "Good morning."


def test_a_folder_without_manifest_is_a_voice_of_all_its_recordings(tmp_path: Path) -> None:
    for name in ("2.wav", "1.flac", ".hidden.wav"):
        sound(tmp_path / "Ben" / name)
    (voice,) = library.read(tmp_path).voices
    assert (voice.name, [r.path.name for r in voice.references]) == ("Ben", ["1.flac", "2.wav"])


def test_a_manifest_tells_all(tmp_path: Path) -> None:
    folder = described(tmp_path, "Anna", language="de", licence="CC0-1.0", consent="Anna, 2026", tags=["calm"])
    (voice,) = library.read(tmp_path).voices
    assert voice == library.LibraryVoice(
        "Anna",
        "de",
        (library.Reference(folder / "1.flac"),),
        "CC0-1.0",
        "Anna, 2026",
        tags=("calm",),
        folder=folder,
        origin="Anna",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ('{"version": 1, "name": "Anna", "references": [{"file": "1.flac"}], "age": 3}', "age"),
        ('{"version": 2, "name": "Anna", "references": [{"file": "1.flac"}]}', "version"),
        ('{"version": 1, "name": "Anna", "references": []}', "references"),
        ('{"version": 1, "name": "Anna", "references": [{"file": "../other.flac"}]}', "folder of its voice"),
        ('{"version": 1, "name": "Anna", "references": [{"file": "gone.flac"}]}', "gone.flac"),
        ('{"version": 1, "name": "A/b", "references": [{"file": "1.flac"}]}', "holds /"),
        ('{"version": 1, "name": "Anna", "language": "klingonish", "references": [{"file": "1.flac"}]}', "klingonish"),
    ],
)
def test_a_damaged_manifest_is_one_sentence_and_hides_no_other_voice(tmp_path: Path, text: str, words: str) -> None:
    (described(tmp_path, "Anna") / "voice.json").write_text(text)
    found = shelf(tmp_path, "Ben")
    assert [v.name for v in found.voices] == ["Ben"]
    with pytest.raises(BadInput) as told:
        found.get("anna")
    assert (
        words in told.value.message and "\n" not in told.value.message and "voice.json" in told.value.message + told.value.hint
    )


def test_of_two_voices_of_one_name_the_described_one_is_kept_and_the_other_told(tmp_path: Path) -> None:
    described(tmp_path, "Anna", language="de")
    found = shelf(tmp_path, "en-anna")
    assert [v.language for v in found.voices] == ["de"]
    assert "is called anna" in found.damaged["en-anna"].message


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("Mary", "Mary"),
        ("mary", "Mary"),
        ("MÁRY", "Mary"),
        ("mary jane", "Mary-Jane"),
        ("jane", "Mary-Jane"),
        ("łukasz", "Lukasz"),
        ("luka", "Lukasz"),
        ("en-Carter_man", "Carter"),
        ("zoe", "Zoë"),
    ],
)
def test_a_name_means_the_nearest_that_fits(tmp_path: Path, asked: str, meant: str) -> None:
    assert shelf(tmp_path, "Mary", "Mary-Jane", "Lukasz", "en-Carter_man", "Zoë").find(asked).name == meant


def test_a_whole_name_goes_before_a_part_of_another(tmp_path: Path) -> None:
    found = shelf(tmp_path, "Ann", "Anne")
    assert found.find("ann").name == "Ann" and found.find("Anne").name == "Anne"


def test_a_name_that_may_be_several_names_them_all(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="Mary, Maya"):
        shelf(tmp_path, "Maya", "Mary", "Carter").find("ma")


def test_an_unknown_name_names_the_nearest(tmp_path: Path) -> None:
    found = shelf(tmp_path, "Carter", "Maya")
    with pytest.raises(BadSettings) as told:
        found.find("Catrer")
    assert "Carter" in told.value.hint
    assert found.get("Catrer") is None
    assert "en-us" in found.unknown("en-uz", ["en-us"]).hint


def test_nothing_is_no_name(tmp_path: Path) -> None:
    assert shelf(tmp_path, "Carter").get(" _- ") is None


def aliased(folder: Path, **aliases: str) -> library.Library:
    (folder / "aliases.json").write_text(json.dumps({"version": 1, "aliases": aliases}), encoding="utf-8")
    return shelf(folder, "Anna", "Ben", "Nova Scotia")


def test_an_alias_leads_to_a_voice_over_others(tmp_path: Path) -> None:
    found = aliased(tmp_path, alloy="Ben", echo="Alloy", ben="Anna", nova="Anna")
    assert [found.find(name).name for name in ("alloy", "ECHO", "ben", "nova")] == ["Ben", "Ben", "Ben", "Anna"]
    assert found.notices(["alloy"]) == ()


def test_aliases_that_lead_round_or_nowhere_are_errors(tmp_path: Path) -> None:
    found = aliased(tmp_path, a1="a2", a2="a3", a3="a1", lost="Zed")
    with pytest.raises(BadSettings, match="a1 -> a2 -> a3 -> a1"):
        found.find("a1")
    with pytest.raises(BadSettings, match="'Zed'"):
        found.find("lost")


def test_without_a_file_openais_names_go_round_the_voices_and_that_is_said(tmp_path: Path) -> None:
    found = shelf(tmp_path, "Anna", "Ben")
    assert [found.find(name).name for name in library.OPENAI[:3]] == ["Anna", "Ben", "Anna"]
    (notice,) = found.notices(["alloy", "Anna", "alloy"])
    assert (notice.code, "alloy is Anna" in notice.text) == ("alias-by-default", True)


@pytest.mark.parametrize("text", ["[]", '{"version": 1}', '{"version": 1, "aliases": {"a": 1}}', "{"])
def test_a_damaged_aliases_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "aliases.json").write_text(text)
    with pytest.raises(BadInput, match=r"aliases\.json cannot be used"):
        library.read(tmp_path)


def test_names_that_are_resolved_keep_their_order(tmp_path: Path) -> None:
    assert [(n, v.name) for n, v in shelf(tmp_path, "Anna", "Ben").resolve(["ben", "ann"]).items()] == [
        ("ben", "Ben"),
        ("ann", "Anna"),
    ]


@pytest.mark.parametrize("name", ["Anna", "Ünal-2", "王小明", "O'Neil", "नीरज", "x" * 64, "3PO"])
def test_letters_and_digits_of_any_script_make_a_name(name: str) -> None:
    assert manifest.checked_name(f" {name} ") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "a.b",
        "../a",
        "a/b",
        "a\\b",
        "-a",
        "_",
        "a\0b",
        "a\nb",
        "a\u202eb",
        "a=b",
        "a,b",
        "*",
        "CON",
        "x" * 65,
        "\udc80",
    ],
)
def test_what_could_be_no_folder_or_no_flag_is_no_name(name: str) -> None:
    with pytest.raises(BadSettings) as told:
        manifest.checked_name(name)
    assert told.value.message.encode("utf-8") and told.value.hint


@given(st.text(max_size=70))
def test_a_name_that_passes_is_one_safe_folder(name: str) -> None:
    try:
        tidy = manifest.checked_name(name)
    except BadSettings:
        return
    assert Path(tidy).name == tidy and not tidy.startswith((".", "-")) and tidy.isprintable()
    assert manifest.checked_name(tidy) == tidy


def test_references_are_mono_flac_at_their_own_rate(tmp_path: Path, store: Store) -> None:
    sound(tmp_path / "lib" / "a.wav", 0.5, 22_050, channels=2)
    voice = library.read(tmp_path / "lib").find("a")
    (kept,) = library.references(voice, store)
    told = soundfile.info(store.path(kept))
    assert (kept.suffix, told.format, told.channels, told.samplerate, told.frames) == (".flac", "FLAC", 1, 22_050, 11_025)
    assert library.references(voice, store) == (kept,)


def test_a_long_recording_is_cut_for_engines(tmp_path: Path, store: Store) -> None:
    sound(tmp_path / "lib" / "a.flac", 32, 8_000)
    (kept,) = library.references(library.read(tmp_path / "lib").find("a"), store)
    assert soundfile.info(store.path(kept)).duration == library.MOST_S


def test_a_reference_lost_from_the_store_is_made_again(tmp_path: Path, store: Store) -> None:
    sound(tmp_path / "lib" / "a.wav")
    voice = library.read(tmp_path / "lib").find("a")
    (kept,) = library.references(voice, store)
    store.path(kept).unlink()
    assert library.references(voice, store) == (kept,) and store.has(kept)


def test_a_recording_that_is_none_is_told_by_its_name(tmp_path: Path, store: Store) -> None:
    (tmp_path / "bad.wav").write_text("no sound")
    with pytest.raises(BadInput, match=r"bad\.wav"):
        library.references(library.read(tmp_path).find("bad"), store)
