"""What changes the voice library: it is whole before and after, whoever else changes it, and takes nothing hostile in."""

from __future__ import annotations

import json
import stat
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub import voices
from polydub.errors import BadInput, BadSettings
from polydub.types import Audio
from polydub.voices import keeping, library
from polydub.voices.keeping import Entry, Recorded


def recorded(text: str = "", seconds: float = 0.2) -> Recorded:
    wave = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 24_000)) / 24_000)
    return Recorded(Audio(wave[np.newaxis].astype(np.float32), 24_000), text)


def sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, recorded().sound.samples[0], 24_000)
    return path


def names(folder: Path) -> list[str]:
    return [voice.name for voice in library.read(folder).voices]


def listing(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    proof = tmp_path / "letter.PDF"
    proof.write_bytes(b"signed")
    entry = Entry("Anna Łoś", "pl", "CC-BY-4.0", "see letter.PDF", proof, "calm", ("woman", "calm"))
    kept = keeping.add(tmp_path / "lib", entry, [recorded("Dzień dobry."), recorded()])
    assert library.read(tmp_path / "lib").voices == (kept,)
    assert (kept.name, kept.language, kept.licence, kept.consent) == ("Anna Łoś", "pl", "CC-BY-4.0", "see letter.PDF")
    assert (kept.description, kept.tags) == ("calm", ("woman", "calm"))
    assert [(r.path.name, r.transcript) for r in kept.references] == [("1.flac", "Dzień dobry."), ("2.flac", "")]
    assert kept.consent_file is not None and kept.consent_file.read_bytes() == b"signed"
    assert listing(tmp_path / "lib") == [f"Anna Łoś/{n}" for n in ("1.flac", "2.flac", "consent.pdf", "voice.json")]


@pytest.mark.parametrize("name", ["anna", "ÁNNA", "Ben"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    keeping.add(tmp_path, Entry("Anna"), [recorded()])
    (tmp_path / "Ben").mkdir()
    with pytest.raises(BadSettings, match="already"):
        keeping.add(tmp_path, Entry(name), [recorded()])


def test_a_damaged_voice_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Anna").mkdir()
    (tmp_path / "Anna" / "voice.json").write_text("{")
    with pytest.raises(BadSettings, match="already"):
        keeping.add(tmp_path, Entry("anna"), [recorded()])
    assert listing(tmp_path) == ["Anna/voice.json"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.txt"):
        keeping.add(tmp_path, Entry("Anna", consent_file=tmp_path / "gone.txt"), [recorded()])
    assert listing(tmp_path) == [] and names(tmp_path) == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    sound(tmp_path / ".polydub-left" / "Zoe" / "1.wav")
    (tmp_path / ".polydub-half").write_text("{")
    keeping.add(tmp_path, Entry("Anna"), [recorded()])
    assert listing(tmp_path) == ["Anna/1.flac", "Anna/voice.json"]
    assert not list(tmp_path.glob(".polydub-*"))


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    keeping.add(tmp_path, Entry("V"), [recorded()])
    threads = [threading.Thread(target=keeping.set_alias, args=(tmp_path, f"other{n}", "V")) for n in range(8)]
    threads += [threading.Thread(target=keeping.add, args=(tmp_path, Entry(f"W{n}"), [recorded()])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = library.read(tmp_path)
    assert {f"other{n}" for n in range(8)} <= set(found.aliases) and len(found.voices) == 5


def test_removing_a_voice_takes_its_aliases_along(tmp_path: Path) -> None:
    keeping.add(tmp_path, Entry("Anna"), [recorded()])
    sound(tmp_path / "Ben.wav")
    (tmp_path / "Ben.txt").write_text("Hello.")
    for alias, name in (("nova", "Anna"), ("star", "nova"), ("echo", "Ben")):
        keeping.set_alias(tmp_path, alias, name)
    assert keeping.remove(tmp_path, library.read(tmp_path).find("Anna")) > 0
    assert names(tmp_path) == ["Ben"] and not {"nova", "star"} & library.read(tmp_path).aliases.keys()
    keeping.remove(tmp_path, library.read(tmp_path).find("Ben"))
    assert listing(tmp_path) == ["aliases.json"] and library.read(tmp_path).aliases == {}


def test_the_first_alias_writes_the_defaults_down(tmp_path: Path) -> None:
    sound(tmp_path / "Anna.wav")
    aliases = keeping.set_alias(tmp_path, "boss", "anna")
    assert aliases == dict.fromkeys((*library.OPENAI, "boss"), "Anna")
    assert not library.read(tmp_path).by_default


def test_aliases_that_would_be_of_no_use_are_refused(tmp_path: Path) -> None:
    sound(tmp_path / "Anna.wav")
    keeping.set_alias(tmp_path, "one", "Anna")
    keeping.set_alias(tmp_path, "two", "one")
    for alias, name, words in (("one", "two", "leads round"), ("anna", "one", "never be used"), ("x", "Zed", "no voice")):
        with pytest.raises(BadSettings, match=words):
            keeping.set_alias(tmp_path, alias, name)
    keeping.set_alias(tmp_path, "x", "en-us", engines=True)
    assert library.read(tmp_path).leads_to("X") == "en-us"
    assert "two" not in keeping.set_alias(tmp_path, "TWO", None)
    with pytest.raises(BadSettings, match="no alias"):
        keeping.set_alias(tmp_path, "two", None)


@pytest.mark.parametrize(
    ("licence", "free"), [("CC0-1.0", True), ("cc-by-4.0", True), ("Public Domain", True), ("", False), ("own", False)]
)
def test_public_licences_are_known(licence: str, free: bool) -> None:
    assert keeping.public(licence) is free


def test_a_consent_gets_todays_date_unless_it_has_one() -> None:
    assert keeping.dated("Anna, 2024-05-01") == "Anna, 2024-05-01"
    assert keeping.dated("Anna by mail").startswith("Anna by mail (20")


def test_a_folder_is_imported_and_what_is_there_stays(tmp_path: Path) -> None:
    source, home = tmp_path / "from", tmp_path / "lib"
    keeping.add(source, Entry("Anna", "de", consent="Anna 2026"), [recorded("Guten Tag.")])
    keeping.set_alias(source, "boss", "Anna")
    for path in ("en-Ben_man.wav", "Cid/a.wav", "Dora.wav", ".secret.wav"):
        sound(source / path)
    (source / "en-Ben_man.txt").write_text("Hello.")
    (source / "Eve.wav").write_text("no sound")
    (source / "link.wav").symlink_to(source / "Dora.wav")
    (source / "run.sh").write_text("#!/bin/sh")
    keeping.add(home, Entry("dora"), [recorded()])
    taken = keeping.import_from(home, source)
    assert taken.names == ("Anna", "Ben", "Cid")
    assert {name: why.split()[0] for name, why in taken.refused.items()} == {
        "Dora": "the",
        "Eve": "Eve.wav",
        "link.wav": "it",
        "run.sh": "it",
    }
    found = library.read(home)
    assert found.find("boss").consent == "Anna 2026"
    assert (found.find("Ben").language, found.find("Ben").references[0].transcript) == ("en", "Hello.")
    assert keeping.import_from(home, source).names == ()


def archive(path: Path, **more: bytes) -> Path:
    """A ZIP with one good voice and more entries."""
    made = sound(path.parent / "a.wav")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(made, "voices/Anna/a.wav")
        for name, content in more.items():
            out.writestr(name, content)
    return path


def test_an_archive_is_imported_without_what_lies_outside_it(tmp_path: Path) -> None:
    wave = sound(tmp_path / "x.wav").read_bytes()
    odd = {
        "../evil.wav": wave,
        "/abs.wav": wave,
        "a\\..\\evil.wav": wave,
        "C:evil.wav": wave,
        "__MACOSX/b.wav": wave,
        "x.exe": b"MZ",
    }
    path = archive(tmp_path / "v.zip", **odd)
    with zipfile.ZipFile(path, "a") as out:
        link = zipfile.ZipInfo("link.wav")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(link, "/etc/passwd")
    taken = keeping.import_from(tmp_path / "in" / "lib", path)
    assert taken.names == ("Anna",) and len(taken.refused) == 6
    assert listing(tmp_path / "in") == ["lib/Anna/a.wav"] and not list(tmp_path.rglob("*evil*"))


def test_bombs_and_broken_archives_are_refused_whole(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "bomb.zip", **{"b.wav": bytes(20_000_000)})
    broken = tmp_path / "broken.zip"
    broken.write_bytes(bomb.read_bytes()[:2000])
    spoiled = archive(tmp_path / "spoiled.zip")
    data = bytearray(spoiled.read_bytes())
    data[60:80] = bytes(20)  # of what is packed
    spoiled.write_bytes(data)
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    for path, words in (
        (bomb, "beyond reason"),
        (broken, "cannot be unpacked"),
        (spoiled, "cannot be unpacked"),
        (text, "cannot be unpacked"),
        (tmp_path / "no", "not there"),
    ):
        with pytest.raises(BadInput, match=words):
            keeping.import_from(tmp_path / "lib", path)
    assert not listing(tmp_path / "lib") if (tmp_path / "lib").exists() else True


def test_an_import_without_a_voice_says_what_one_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no voice in"):
        keeping.import_from(tmp_path / "lib", tmp_path / "empty")


def test_a_manifest_that_names_files_elsewhere_is_not_imported(tmp_path: Path) -> None:
    folder = tmp_path / "from" / "Anna"
    sound(folder / "1.wav")
    told = {"version": 1, "name": "Anna", "references": [{"file": "/etc/passwd"}]}
    (folder / "voice.json").write_text(json.dumps(told))
    taken = keeping.import_from(tmp_path / "lib", tmp_path / "from")
    assert taken.names == () and "folder of its voice" in taken.refused["Anna"]


@pytest.mark.parametrize("name", ["a\\b.wav", "a\nb.wav"])
def test_a_voice_whose_recordings_no_description_can_name_is_one_sentence(tmp_path: Path, name: str) -> None:
    sound(tmp_path / "Anna" / "a.wav").rename(tmp_path / "Anna" / name)
    assert names(tmp_path) == ["Anna"]
    with pytest.raises(BadSettings, match="Anna cannot be described: a recording lies in the folder"):
        voices.change("Anna", tmp_path, description="low")
    assert not (tmp_path / "Anna" / "voice.json").exists()
