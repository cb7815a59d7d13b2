"""Who of a film's speakers is a known character, and what films add to what is known."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.engines import registry
from polydub.engines.embedding.fingerprint import Fingerprint
from polydub.engines.pool import Tool
from polydub.errors import BadSettings
from polydub.remembering import encoder_of, machine_made
from polydub.types import HEAR_HZ, Audio, Span
from polydub.voices import characters
from polydub.voices.book import Book, Film, Reference, StockVoice
from polydub.voices.bookkeeping import Changes, added, changed, find, forgotten, merged, renamed, replaced, split
from polydub.voices.characters import Found, Limits, Sighting

NOW, LATER = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
ENCODER, LIMITS = "test r1", Limits(0.75, 0.05)


@dataclass(frozen=True)
class Heard:
    """A portrait."""

    voiceprint: tuple[float, ...]
    seconds: float = 20.0


def voice(degrees: float, seconds: float = 20.0) -> Heard:
    """A voice on a circle: the cosine of two is that of the angle between them."""
    return Heard((round(math.cos(math.radians(degrees)), 6), round(math.sin(math.radians(degrees)), 6)), seconds)


def film(number: int, speaker: str = "SPEAKER_00") -> Film:
    return Film(key=f"film{number}", name=f"episode {number}", speaker=speaker, seconds=20.0, seen=f"2026-01-{number:02}")


def seen(degrees: float, number: int, **more: Mapping[str, StockVoice] | tuple[Reference, ...]) -> Sighting:
    return Sighting(ENCODER, voice(degrees).voiceprint, film(number), **more)  # type: ignore[arg-type]


def book_of(**people: float) -> Book:
    """People by name, each heard once at an angle, in a film of their own."""
    book = Book()
    for number, (name, degrees) in enumerate(people.items(), 1):
        book, one = added(book, name, "match", NOW)
        book = replaced(book, characters.learned(one, seen(degrees, number), NOW))
    return book


def who(people: Mapping[str, Heard], book: Book, limits: Limits = LIMITS) -> dict[str, str]:
    """Name or verdict by speaker."""
    found = characters.match(people, book, ENCODER, limits)
    return {name: one.character.name if one.character else one.verdict for name, one in found.items()}


class TestMatching:
    def test_the_nearest_character_is_who_it_is(self) -> None:
        found = characters.match({"a": voice(5), "b": voice(95)}, book_of(Anna=0, Ben=90), ENCODER, LIMITS)
        assert {n: f.character.name for n, f in found.items() if f.character} == {"a": "Anna", "b": "Ben"}
        assert found["a"].likeness == pytest.approx(0.996, abs=0.001) and "Anna" in found["a"].reason

    def test_a_voice_below_the_threshold_is_nobody_and_the_nearest_is_told(self) -> None:
        found = characters.match({"a": voice(45)}, book_of(Anna=0), ENCODER, LIMITS)["a"]
        assert (found.verdict, found.nearest) == ("unknown", "Anna") and "0.71" in found.reason

    def test_a_voice_between_two_is_neither(self) -> None:
        found = characters.match({"a": voice(19)}, book_of(Anna=0, Ben=40), ENCODER, LIMITS)["a"]
        assert found.verdict == "unclear" and "Anna" in found.reason and "Ben" in found.reason

    def test_a_second_one_below_the_threshold_counts_for_the_margin_too(self) -> None:
        assert who({"a": voice(40)}, book_of(Anna=0, Ben=81)) == {"a": "unclear"}

    def test_one_character_is_one_speaker_at_most(self) -> None:
        found = characters.match({"a": voice(2), "b": voice(20)}, book_of(Anna=0), ENCODER, LIMITS)
        assert found["a"].character and found["b"].verdict == "taken" and "another speaker" in found["b"].reason

    def test_all_speakers_are_assigned_at_once(self) -> None:
        # alone, b is nearer to Anna; Anna is a, so that b is Ben
        assert who({"a": voice(0), "b": voice(10)}, book_of(Anna=2, Ben=25)) == {"a": "Anna", "b": "Ben"}

    def test_who_is_another_speaker_of_the_film_does_not_make_one_unclear(self) -> None:
        people = {"a": voice(-10), "b": voice(30)}
        assert who(people, book_of(Anna=0, Ben=20)) == {"a": "Anna", "b": "Ben"}
        assert who({"a": voice(9)}, book_of(Anna=0, Ben=20)) == {"a": "unclear"}

    def test_the_very_recording_is_known_however_alike_voices_are(self) -> None:
        book = book_of(Anna=0, Ben=4)
        assert who({"x": voice(0), "y": voice(4)}, book) == {"x": "Anna", "y": "Ben"}
        assert who({"x": voice(4)}, book) == {"x": "Ben"}
        assert who({"x": voice(2)}, book) == {"x": "unclear"}

    @pytest.mark.parametrize("heard", [Heard(()), voice(0, 1.0)])
    def test_too_little_speech_is_nobody(self, heard: Heard) -> None:
        found = characters.match({"a": heard, "b": voice(1)}, book_of(Anna=0), ENCODER, LIMITS)
        assert found["a"].verdict == "short" and found["b"].character

    def test_voiceprints_of_two_encoders_are_never_compared(self) -> None:
        found = characters.match({"a": voice(0)}, book_of(Anna=0), "another r1", LIMITS)
        assert found["a"].verdict == "unknown"
        assert characters.match({"a": Heard((1.0, 0.0, 0.0))}, book_of(Anna=0), ENCODER, LIMITS)["a"].verdict == "unknown"

    def test_nobody_is_found_in_an_empty_book_or_film(self) -> None:
        assert who({"a": voice(0)}, Book()) == {"a": "unknown"}
        assert who({}, book_of(Anna=0)) == {}

    @given(
        st.lists(st.integers(0, 359), min_size=1, max_size=6, unique=True),
        st.lists(st.integers(0, 359), max_size=6, unique=True),
        st.randoms(use_true_random=False),
    )
    def test_order_and_names_of_speakers_and_characters_do_not_matter(
        self, heard: list[int], known: list[int], order: random.Random
    ) -> None:
        people = {f"S{n}": voice(d + 0.25) for n, d in enumerate(heard)}
        book = book_of(**{f"C{n}": d for n, d in enumerate(known)})
        before = who(people, book)
        names = list(people)
        order.shuffle(names)
        shuffled = book.model_copy(update={"characters": tuple(order.sample(book.characters, len(book.characters)))})
        after = who({f"other {name}": people[name] for name in names}, shuffled)
        assert {name: after[f"other {name}"] for name in before} == before
        taken = [found for found in before.values() if found.startswith("C")]
        assert len(taken) == len(set(taken))


class TestLearning:
    def test_each_film_moves_the_mean_and_is_kept(self) -> None:
        one = characters.learned(book_of(Anna=0).characters[0], seen(20, 2), LATER)
        known = one.voiceprints[ENCODER]
        assert known.count == 2 and [e.film for e in known.exemplars] == ["film1", "film2"]
        assert math.degrees(math.atan2(known.mean[1], known.mean[0])) == pytest.approx(10, abs=0.1)
        assert [f.name for f in one.films] == ["episode 1", "episode 2"] and one.updated == LATER

    def test_a_film_dubbed_again_replaces_what_it_told(self) -> None:
        one = book_of(Anna=0).characters[0]
        again = characters.learned(characters.learned(one, seen(20, 2), LATER), seen(30, 2), LATER)
        assert again == characters.learned(one, seen(30, 2), LATER)
        assert characters.learned(again, seen(0, 1), NOW) == again
        assert characters.learned(one, seen(0, 1), LATER) == one

    def test_a_locked_character_learns_nothing(self) -> None:
        one = book_of(Anna=0).characters[0].model_copy(update={"locked": True})
        assert characters.learned(one, seen(20, 2), LATER) == one

    def test_the_first_voice_in_a_language_stays(self) -> None:
        first, other = {"espeak-ng es": StockVoice(name="f2")}, {"espeak-ng es": StockVoice(name="f5")}
        one = characters.learned(book_of(Anna=0).characters[0], seen(1, 2, voices=first), LATER)
        assert characters.learned(one, seen(1, 3, voices=other), LATER).voices == first

    def test_many_films_keep_a_bounded_number_of_exemplars_and_a_true_mean(self) -> None:
        one = book_of(Anna=0).characters[0]
        for number in range(2, 30):
            one = characters.learned(one, seen(number, number), LATER)
        known = one.voiceprints[ENCODER]
        assert known.count == 29 and len(known.exemplars) == characters.EXEMPLARS and known.exemplars[0].film == "film1"
        expected = np.mean([voice(d).voiceprint for d in [0, *range(2, 30)]], axis=0)
        assert known.mean == pytest.approx(tuple(expected), abs=1e-4)

    def test_the_best_recordings_are_kept(self) -> None:
        made = [Reference(sha256=f"{n:064x}", bytes=1, seconds=n + 1, film=f"f{n % 3}") for n in range(12)]
        by_hand = Reference(sha256="f" * 64, bytes=1, seconds=2.0)
        kept = characters.best_references([*made, by_hand])
        assert kept[0] == by_hand and len(kept) == characters.REFERENCES
        assert all(sum(r.film == film for r in kept) <= 2 for film in ("f0", "f1", "f2"))
        assert kept == characters.best_references([by_hand, *reversed(made)])


class TestKeeping:
    def test_a_character_is_found_by_part_of_a_name_alias_or_id(self) -> None:
        book = book_of(Anna=0, Annabel=90, Ben=180)
        assert find(book, "c3").name == find(book, "BEN").name == find(book, "be n".replace(" ", "")).name == "Ben"
        assert find(book, "anna").name == "Anna"
        for wanted, words in (("ann", "Anna, Annabel"), ("Bem", "no character"), ("", "no character")):
            with pytest.raises(BadSettings, match=words):
                find(book, wanted)

    def test_a_renamed_character_keeps_its_voice(self) -> None:
        book = renamed(book_of(Anna=0, Ben=90), find(book_of(Anna=0, Ben=90), "Anna"), "Clara", LATER)
        assert who({"a": voice(1)}, book) == {"a": "Clara"}
        with pytest.raises(BadSettings, match="another character"):
            renamed(book, find(book, "Clara"), "ben", LATER)

    def test_merged_characters_are_one_and_splitting_undoes_it(self) -> None:
        book = book_of(Anna=0, Stranger=30)
        one = merged(book, find(book, "Anna"), [find(book, "Stranger")], LATER)
        anna = find(one, "stranger")
        assert anna.name == "Anna" and anna.voiceprints[ENCODER].count == 2 and len(one.characters) == 1
        back, made = split(one, anna, ["episode 2"], "Stranger", LATER)
        assert (find(back, "Anna").voiceprints, made.voiceprints) == tuple(c.voiceprints for c in book.characters)
        assert [f.name for f in made.films] == ["episode 2"] and made.id == "c3"

    def test_what_cannot_be_merged_or_split_is_refused(self) -> None:
        book = book_of(Anna=0)
        anna = find(book, "Anna")
        for attempt in (
            lambda: merged(book, anna, [anna], LATER),
            lambda: split(book, anna, ["episode 9"], "Ben", LATER),
            lambda: split(book, anna, ["episode 1"], "Ben", LATER),
        ):
            with pytest.raises(BadSettings):
                attempt()

    def test_what_a_person_sets_is_kept(self) -> None:
        book = book_of(Anna=0)
        wish = Changes(presets={"espeak-ng": "f2"}, rate=1.2, locked=True, aliases=("Annie",))
        one = find(changed(book, find(book, "Anna"), wish, LATER), "annie")
        assert (one.mode, one.presets, one.manner.expression.rate, one.locked) == ("preset", {"espeak-ng": "f2"}, 1.2, True)
        for wrong in (Changes(mode="preset"), Changes(rate=9.0), Changes(aliases=("",))):
            with pytest.raises(BadSettings):
                changed(book, find(book, "Anna"), wrong, LATER)

    def test_a_forgotten_character_is_nobody(self) -> None:
        book = forgotten(book_of(Anna=0, Ben=90), [find(book_of(Anna=0), "Anna")])
        assert who({"a": voice(0)}, book) == {"a": "unknown"}


def portrait(encoder: Fingerprint, sounds: Sequence[np.ndarray]) -> Heard:
    """As stages.match makes one: the mean of windows of 1.6 s."""
    joined = np.concatenate(sounds).astype(np.float32)
    seconds = len(joined) / HEAR_HZ
    rows = encoder.embed(Audio(joined[None], HEAR_HZ), [Span(n * 1.6, n * 1.6 + 1.6) for n in range(int(seconds / 1.6))])
    mean = rows.mean(axis=0)
    return Heard(tuple(round(float(x), 4) for x in mean / np.linalg.norm(mean)), seconds)


@pytest.fixture(scope="module")
def utterances(shared_data: Path) -> dict[str, list[np.ndarray]]:
    folder = shared_data / "media/librispeech-speakers"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/media/librispeech-speakers (not present)")
    return {f.name: [soundfile.read(p, dtype="float32")[0] for p in sorted(f.iterdir())] for f in sorted(folder.iterdir())}


def test_real_people_are_known_again_and_strangers_are_not(utterances: dict[str, list[np.ndarray]]) -> None:
    """Enrolled from half of what there is, heard in thirds of the rest: one chapter each, so this is no test of other rooms."""
    encoder, limits = Fingerprint(), Limits(*Fingerprint.calibration.known)
    book = Book()
    for name, sounds in utterances.items():
        book, one = added(book, name, "match", NOW)
        book = replaced(book, characters.learned(one, Sighting(ENCODER, portrait(encoder, sounds[:5]).voiceprint), NOW))
    told: dict[str, list[Found]] = {"known": [], "strangers": []}
    for name, sounds in utterances.items():
        without = forgotten(book, [find(book, name)])
        for heard in (portrait(encoder, sounds[n : n + 2]) for n in (5, 7, 8)):
            told["known"].append(characters.match({"s": heard}, book, ENCODER, limits)["s"])
            told["strangers"].append(characters.match({"s": heard}, without, ENCODER, limits)["s"])
    names = [name for name in utterances for _ in range(3)]
    right = [bool(f.character) and f.character.name == n for f, n in zip(told["known"], names, strict=True) if f]
    assert sum(right) >= 11 and not any(f.character and not ok for f, ok in zip(told["known"], right, strict=True))
    assert not any(f.character for f in told["strangers"])


def test_five_people_of_a_film_are_known_in_another_order(utterances: dict[str, list[np.ndarray]]) -> None:
    """All five at once, in another order and under other names: each is who it is."""
    encoder = Fingerprint()
    book = Book()
    for name, sounds in utterances.items():
        book, one = added(book, name, "match", NOW)
        book = replaced(book, characters.learned(one, Sighting(ENCODER, portrait(encoder, sounds[:5]).voiceprint), NOW))
    names = sorted(utterances, reverse=True)
    people = {f"SPEAKER_{n:02}": portrait(encoder, utterances[name][5:]) for n, name in enumerate(names)}
    found = characters.match(people, book, ENCODER, Limits(*Fingerprint.calibration.known))
    assert [f.character.name if f.character else "" for f in found.values()] == names


def test_an_encoder_is_known_by_name_weights_and_revision_whatever_version_polydub_has() -> None:
    def identity(name: str) -> str:
        engine = registry.get("embedding", name)
        return encoder_of(Tool(engine, engine.options(), {"package": "polydub 9.9"}))

    assert (identity("fingerprint"), identity("resemblyzer")) == ("fingerprint r1", "resemblyzer 0.1.4 r1")


@pytest.mark.parametrize(("name", "machine"), [("SPEAKER_00", True), ("S1", True), ("Anna", False), ("Bob 2", False)])
def test_numbers_are_nobodys_names(name: str, machine: bool) -> None:
    assert machine_made(name) == machine
