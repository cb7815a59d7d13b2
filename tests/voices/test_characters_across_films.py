"""Episodes of a series: who was heard in one keeps the voice in the next, whatever the speakers are called there."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from polydub import config
from polydub.dubbing import Ears, Job, dub_film
from polydub.engines.pool import EnginePool
from polydub.errors import MissingSecret
from polydub.types import HEAR_HZ, Progress
from polydub.voices.book import Book, Shelf
from polydub.voices.bookkeeping import Changes, added, changed, find, forgotten
from small_dubs import DIALOGUE, Dub, Film, spoken_film

pytestmark = pytest.mark.slow

NOW = "2026-01-01T00:00:00+00:00"
LINE = "This is something that somebody says."


class Series:
    """Films in one folder with one character book, dubbed with the fake voices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = Shelf(folder / "characters.json")

    @property
    def book(self) -> Book:
        return self.shelf.read()

    def dub(self, name: str, **settings: object) -> Dub:
        book = {"characters": "on", "character_book": str(self.shelf.file), "separation": "none"}
        return Film(self.folder, self.folder / f"{name}.mkv").dub(book | settings)

    def espeak(self, name: str, speakers: dict[str, str], said: Sequence[tuple[str, str]] = DIALOGUE) -> None:
        """A film in which DIALOGUE is spoken; `speakers` tells what the transcript calls ANN and BOB."""
        media = self.folder / f"{name}.mkv"
        cues = spoken_film(media, said)
        named = [(start, end, f"{speakers[text.split(':')[0]]}:{text.partition(':')[2]}") for start, end, text in cues]
        Film(self.folder, media).say(named)

    def real(self, name: str, said: Sequence[tuple[str, np.ndarray]]) -> None:
        """A film of real speech: who says it by the transcript, and the sound."""
        media, parts, cues = self.folder / f"{name}.mka", [np.zeros(HEAR_HZ // 2, np.float32)], []
        for speaker, sound in said:
            at = sum(map(len, parts)) / HEAR_HZ
            parts += [sound * np.float32(0.06 / np.sqrt(np.mean(sound**2))), np.zeros(HEAR_HZ // 2, np.float32)]
            cues.append((at, at + len(sound) / HEAR_HZ, f"{speaker}: {LINE}"))
        wav = self.folder / "speech.wav"
        soundfile.write(wav, np.concatenate(parts), HEAR_HZ, "PCM_16")
        program = imageio_ffmpeg.get_ffmpeg_exe()
        subprocess.run([program, "-v", "error", "-i", wav, "-c:a", "flac", media.with_suffix(".mkv")], check=True)
        Film(self.folder, media).say(cues)


def voices(dub: Dub) -> dict[str, str]:
    return {one["id"]: one["voice"] for one in dub.report["speakers"]}


def codes(dub: Dub) -> list[str]:
    return [notice.code for notice in dub.outcome.notices]


def facts(book: Book) -> list[Any]:
    """All but the times at which films were seen."""
    return [c.model_copy(update={"films": tuple(f.model_copy(update={"seen": ""}) for f in c.films)}) for c in book.characters]


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return Series(tmp_path)


def test_the_same_people_keep_their_voices_in_another_order_under_other_names(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    series.espeak("two", {"BOB": "SPEAKER_00", "ANN": "SPEAKER_01"}, DIALOGUE[1:] + DIALOGUE[:1])
    first = series.dub("one")
    assert [(c.name, c.mode, len(c.references)) for c in series.book.characters] == [("ANN", "match", 1), ("BOB", "match", 1)]
    assert codes(first).count("character-enrolled") == 2 and "characters-weakly" in codes(first)
    second = series.dub("two")
    assert voices(second) == {"SPEAKER_00": voices(first)["BOB"], "SPEAKER_01": voices(first)["ANN"]}
    assert codes(second).count("character-recognised") == 2
    assert [[f.name for f in c.films] for c in series.book.characters] == [["one", "two"]] * 2
    assert "the character ANN" in next(v["reason"] for v in second.report["speakers"] if v["id"] == "SPEAKER_01")


def test_a_film_dubbed_again_repeats_nothing_and_teaches_nothing(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    series.dub("one")
    before, files = facts(series.book), sorted(p.name for p in series.shelf.folder.iterdir())
    again = series.dub("one")
    assert again.called == set() and facts(series.book) == before
    assert sorted(p.name for p in series.shelf.folder.iterdir()) == files


def test_a_book_that_somebody_encrypts_meanwhile_costs_no_film(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    film = Film(series.folder, series.folder / "one.mkv")
    names = {"characters": "on", "character_book": str(series.shelf.file), "output": str(film.out)}
    values = {"to": "es", "mt": "fake", "tts": "fake", "separation": "none", **names}
    loaded = config.load(values, job=None, environ={}, cwd=series.folder, user_file=None)

    def encrypt(progress: Progress) -> None:
        if progress.stage == "mux" and not series.shelf.file.exists():
            with Shelf(series.shelf.file, "a key of somebody else").changing() as draft:
                draft.book, _ = added(draft.book, "Zoe", "match", NOW)

    with closing(EnginePool()) as pool:
        (outcome,) = dub_film(Job(film.media, film.transcript), loaded, pool, Ears(encrypt))
    assert outcome.film.is_file() and outcome.report.is_file()
    assert "characters-not-kept" in {notice.code for notice in outcome.notices}


def test_by_default_nobody_is_remembered(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    series.dub("one", characters="off")
    assert not series.shelf.file.exists()


def test_without_auto_enrolment_only_known_people_are_recognised(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    series.dub("one", auto_enrol=False)
    assert not series.book.characters


def test_what_a_person_sets_for_a_character_is_spoken_and_who_is_forgotten_is_new(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    series.dub("one")
    with series.shelf.changing() as draft:
        wish = Changes(presets={"fake": "fake-5"}, locked=True)
        draft.book = changed(draft.book, find(draft.book, "ANN"), wish, NOW)
        draft.book = forgotten(draft.book, [find(draft.book, "BOB")])
    series.espeak("two", {"ANN": "SPEAKER_01", "BOB": "SPEAKER_00"}, DIALOGUE[1:] + DIALOGUE[:1])
    second = series.dub("two")
    assert voices(second)["SPEAKER_01"] == "fake-5" != voices(second)["SPEAKER_00"]
    ann, other = series.book.characters
    assert (ann.name, len(ann.films), other.id) == ("ANN", 1, "c3") and other.name == "Character 3"


def test_an_encrypted_book_without_its_key_stops_the_dub_before_anything_is_spoken(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    with Shelf(series.shelf.file, "a key of some length").changing() as draft:
        draft.book = Book(next=2)
    before = series.shelf.file.read_bytes()
    with pytest.raises(MissingSecret, match="is encrypted"):
        series.dub("one")
    assert series.shelf.file.read_bytes() == before


def test_a_wrong_threshold_is_the_users_choice(series: Series) -> None:
    series.espeak("one", {"ANN": "ANN", "BOB": "BOB"})
    series.espeak("two", {"ANN": "A", "BOB": "B"}, DIALOGUE[2:])
    series.dub("one")
    assert "character-recognised" not in codes(series.dub("two", character_threshold=0.999, auto_enrol=False))


def test_real_people_are_known_again_and_a_third_is_not(series: Series, shared_data: Path) -> None:
    folder = shared_data / "media/librispeech-speakers"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/media/librispeech-speakers (not present)")

    def said(who: str, *numbers: int) -> list[np.ndarray]:
        files = sorted((folder / who).iterdir())
        return [soundfile.read(files[n], dtype="float32")[0] for n in numbers]

    one, two, third = said("1688", 0, 1, 6, 7), said("2609", 2, 4, 6, 7), said("2033", 0, 1)
    series.real("one", [("S1", one[0]), ("S2", two[0]), ("S1", one[1]), ("S2", two[1])])
    series.real("two", [("S1", third[0]), ("S2", two[2]), ("S3", one[2]), ("S1", third[1]), ("S2", two[3]), ("S3", one[3])])
    first, second = series.dub("one"), series.dub("two")
    assert voices(second)["S3"] == voices(first)["S1"] and voices(second)["S2"] == voices(first)["S2"]
    assert len(set(voices(second).values())) == 3
    known = [c.name for c in series.book.characters]
    assert len(known) == 3 and [len(c.films) for c in series.book.characters] == [2, 2, 1]
