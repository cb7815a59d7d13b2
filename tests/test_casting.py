"""Everybody gets a voice of their own: cloned, matched, wished, in turn; kept from run to run, whatever the texts say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cast_room import BOOTH, CLONER, PEOPLE, PLAIN, TALK, Cloner, Room, buzz, lines_of, names, tool
from polydub.casting import Recalled
from polydub.edits import Edits, LineEdit
from polydub.errors import BadSettings, StrictNotice
from polydub.runner import Run
from polydub.stages.match import Portrait
from polydub.stages.voicing import TILTS
from polydub.store import Store
from polydub.types import HEAR_HZ, Artifact, Expression, Voice
from polydub.wants import Acting, Voicing, Wanted

CLONE, MATCH, PRESET = Voicing("clone"), Voicing("match"), Voicing("preset")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    store = Store(tmp_path / "store")
    yield Room(tmp_path, store)
    store.close()


def carter(room: Room) -> tuple[Artifact, ...]:
    """A recording of somebody who sounds like Bob."""
    return (room.keep("carter", buzz(*PEOPLE["BOB"], 6.0), HEAR_HZ),)


# cloning


def test_speakers_are_cloned_from_what_they_say_in_the_film(room: Room) -> None:
    cast = room.cast(CLONER, CLONE)
    assert names(cast) == {"ANNA": "ANNA", "BOB": "BOB"}
    for who, voice in cast.casting.voices.items():
        assert voice.references == cast.references[who]
        assert cast.reasons[who].startswith("cloned from") and cast.reasons[who].endswith(" places")
    assert cast.casting.voices["ANNA"].references != cast.casting.voices["BOB"].references
    assert set(room.notices) == {"reference-not-separated"}


def test_another_text_cuts_nothing_anew_and_calls_nobody(room: Room) -> None:
    first = room.cast(CLONER, CLONE)
    assert room.ran["reference"] == 2
    again = room.cast(CLONER, CLONE, room.film(texts="Quite another text, and a longer one."))
    assert again.casting == first.casting
    assert room.ran == {}


def test_a_new_speaker_elsewhere_leaves_the_references_of_the_others_alone(room: Room) -> None:
    film = room.film()
    first = room.cast(CLONER, CLONE, film)
    script = film.given.script
    moved = [(s.speaker if s.id != "4" else "CID", s.start, s.end) for s in script.segments]
    again = room.cast(CLONER, CLONE, replace(room.film(moved), heard=film.heard, ear=film.ear))
    assert again.casting.voices["ANNA"] == first.casting.voices["ANNA"]
    assert room.ran["reference"] == 2


def test_an_engine_that_cannot_clone_matches_instead_and_says_so(room: Room) -> None:
    cast = room.cast(BOOTH, CLONE)
    assert "cannot speak in the voice of a recording" in room.notices["not-cloned"]
    assert all(reason.startswith("matched:") for reason in cast.reasons.values())
    assert cast.casting == room.cast(BOOTH, MATCH).casting
    assert room.cast(PLAIN, CLONE).reasons["ANNA"] == "the next of the engine's voices"
    with pytest.raises(StrictNotice, match="cannot speak in the voice"):
        room.cast(BOOTH, CLONE, strict=True)


def test_an_alias_of_an_engines_voice_is_that_voice_unless_the_engine_has_one_so_called(room: Room) -> None:
    film = room.film()
    wish = Voicing(voices={"ANNA": "alloy", "BOB": "one"}, aliases={"alloy": "two", "one": "two", "fable": "one"})
    cast = room.cast(PLAIN, wish, film, lines_of(film, line3="fable"))
    assert names(cast) == {"ANNA": "two", "BOB": "one"}
    assert cast.casting.lines["3"].name == "one"
    assert cast.reasons["ANNA"] == "wished"


def test_who_says_too_little_gets_another_voice_and_it_is_told(room: Room) -> None:
    cast = room.cast(CLONER, CLONE, room.film([*TALK[:3], ("BOB", 23.0, 24.0), ("CID", 25.0, 26.5)]))
    assert names(cast) == {"ANNA": "ANNA", "BOB": "BOB", "CID": "one"}
    assert "CID says too little" in room.notices["too-little-to-clone"]
    assert not cast.casting.voices["CID"].references


def test_less_than_six_seconds_are_cloned_all_the_same_with_a_notice(room: Room) -> None:
    cast = room.cast(CLONER, CLONE, room.film([*TALK[:3], ("CID", 23.0, 26.0)]))
    assert cast.reasons["CID"] == "cloned from the first 3 s of their own speech"
    assert "CID" in room.notices["reference-short"]


# wishes


@pytest.mark.parametrize("who", ["ANNA", "*"])
def test_a_recording_is_cloned_where_the_engine_can(room: Room, who: str) -> None:
    wish = Voicing("match", {who: "carter.wav"}, {"carter.wav": carter(room)})
    cast = room.cast(CLONER, wish)
    assert cast.casting.voices["ANNA"] == Voice("cloner", "carter.wav", "es", "carter.wav", references=carter(room))
    assert cast.reasons["ANNA"] == "wished: cloned from carter.wav"
    assert (names(cast)["BOB"] == "carter.wav") == (who == "*")
    assert not room.notices


def test_the_folder_of_a_voice_goes_by_its_name_even_where_the_engine_has_one_of_that_name(room: Room) -> None:
    wish = Voicing("match", {"*": "/jobs/1/voice"}, {"/jobs/1/voice": carter(room)}, called={"/jobs/1/voice": "one"})
    cast = room.cast(CLONER, wish)
    assert cast.casting.voices["ANNA"] == Voice("cloner", "one", "es", "one", references=carter(room))
    assert cast.reasons["BOB"] == "wished: cloned from one"
    room.cast(BOOTH, wish)
    assert "takes the place of one" in room.notices["not-cloned"]


def test_where_it_cannot_the_nearest_voice_is_matched_and_never_called_cloned(room: Room) -> None:
    cast = room.cast(BOOTH, Voicing("preset", {"ANNA": "Carter"}, {"Carter": carter(room)}))
    assert names(cast)["ANNA"] == "large" and abs(cast.casting.voices["ANNA"].settings["hz"] - 115) < 15
    assert cast.reasons["ANNA"] == "wished: matched to Carter, not cloned"
    assert "takes the place of Carter" in room.notices["not-cloned"]
    assert cast.casting.voices["BOB"] != cast.casting.voices["ANNA"]


def test_where_it_can_do_neither_that_is_told(room: Room) -> None:
    cast = room.cast(PLAIN, Voicing("preset", {"ANNA": "Carter"}, {"Carter": carter(room)}))
    assert names(cast) == {"ANNA": "one", "BOB": "two"}
    assert "another voice takes the place of Carter" in room.notices["not-cloned"]


def test_a_voice_of_the_engine_goes_before_one_of_the_library_that_has_its_name(room: Room) -> None:
    cast = room.cast(CLONER, Voicing("clone", {"ANNA": "two"}, {"two": carter(room)}))
    assert cast.casting.voices["ANNA"] == Voice("plain", "two", "es", "two")
    assert cast.reasons["ANNA"] == "wished"


def test_a_recording_in_the_folder_is_the_speakers_whatever_their_case_and_others_are_told(room: Room) -> None:
    wish = Voicing("clone", given={"anna": carter(room), "Zoe": carter(room)})
    cast = room.cast(CLONER, wish)
    assert cast.casting.voices["ANNA"].references == carter(room)
    assert cast.reasons["ANNA"] == "recording given: cloned from anna"
    assert "Zoe" in room.notices["unknown-recordings"] and "ANNA, BOB" in room.notices["unknown-recordings"]


def test_a_wish_for_one_goes_before_the_folder_and_the_folder_before_a_wish_for_all(room: Room) -> None:
    wish = Voicing("preset", {"ANNA": "two", "*": "one"}, given={"ANNA": carter(room), "BOB": carter(room)})
    cast = room.cast(CLONER, wish)
    assert names(cast) == {"ANNA": "two", "BOB": "BOB"}


def test_a_wish_for_nobody_is_refused(room: Room) -> None:
    with pytest.raises(BadSettings, match="nobody in this film is called ZOE") as caught:
        room.cast(PLAIN, Voicing("preset", {"ZOE": "one"}))
    assert caught.value.hint == "the speakers are: ANNA, BOB"
    with pytest.raises(BadSettings, match="nobody in this film is called ZOE"):
        room.cast(PLAIN, acting=Acting(asked={"ZOE": Expression(rate=1.1), "*": Expression(rate=1.2)}))
    room.cast(PLAIN, acting=Acting(asked={"ANNA": Expression(rate=1.1), "*": Expression(rate=1.2)}))


def test_one_voice_for_all_is_the_engines_first(room: Room) -> None:
    cast = room.cast(PLAIN, Voicing("single"))
    assert names(cast) == {"ANNA": "one", "BOB": "one"}
    assert not room.notices


# review


def test_a_line_may_have_a_voice_of_its_own(room: Room) -> None:
    film = room.film()
    recorded = {"Carter": carter(room)}
    cast = room.cast(CLONER, Voicing("clone", {}, recorded), film, lines_of(film, line2="two", line3="Carter"))
    assert cast.casting.lines["2"] == Voice("plain", "two", "es", "two")
    assert cast.casting.lines["3"].references == recorded["Carter"]
    assert set(cast.casting.lines) == {"2", "3"}
    assert names(cast) == {"ANNA": "ANNA", "BOB": "BOB"}
    assert set(room.cast(CLONER, CLONE, film).casting.lines) == set()
    assert "reference" not in room.ran


def test_a_line_that_is_given_to_another_speaker_leaves_the_reference_of_the_first(room: Room) -> None:
    film = room.film()
    script = film.given.script
    moved = tuple(replace(s, speaker="CID") if s.id == "3" else s for s in script.segments)
    film = replace(film, given=replace(film.given, script=replace(script, segments=moved)))
    cast = room.cast(CLONER, CLONE, film, book=Edits(format=2, lines={"3": LineEdit(speaker="CID")}))
    assert names(cast) == {"ANNA": "ANNA", "BOB": "BOB", "CID": "CID"}
    assert cast.reasons["ANNA"].endswith("in 2 places") and cast.reasons["CID"].endswith("in 2 places")
    assert room.ran["reference"] == 3


# distinct voices


def test_more_speakers_than_voices_get_variations_before_any_is_shared(room: Room) -> None:
    said = [(f"P{n}", n * 4.0, n * 4.0 + 3) for n in range(7)]
    cast = room.cast(PLAIN, PRESET, room.film(said))
    voices = list(cast.casting.voices.values())
    assert [v.name for v in voices[:2]] == ["one", "two"] and [bool(v.tone) for v in voices] == [False] * 2 + [True] * 4 + [
        False
    ]
    assert "P6 shares a voice" in room.notices["voice-shared"] and "P5" in room.notices["voice-varied"]
    assert max(abs(gain) for tilt in TILTS for gain in tilt) <= 6


def test_wished_voices_are_not_given_to_others_but_two_may_wish_the_same(room: Room) -> None:
    said = [("ANNA", 0.5, 3.0), ("BOB", 4.0, 6.0), ("CID", 7.0, 9.0)]
    cast = room.cast(PLAIN, Voicing("preset", {"BOB": "one", "CID": "one"}), room.film(said))
    assert names(cast) == {"ANNA": "two", "BOB": "one", "CID": "one"}
    assert not room.notices


def test_speakers_who_are_matched_all_differ_also_from_a_matched_recording(room: Room) -> None:
    said = [("ANNA", 0.5, 7.0), ("BOB", 8.0, 15.0), ("CID", 16.0, 23.0)]
    cast = room.cast(BOOTH, Voicing("match", {"ANNA": "Carter"}, {"Carter": carter(room)}), room.film(said))
    voices = list(cast.casting.voices.values())
    assert all(one != other for n, one in enumerate(voices) for other in voices[:n])


def test_an_engine_without_any_voice_of_its_own_asks_for_recordings(room: Room) -> None:
    class Nobody(Cloner):
        names = ()

    with pytest.raises(BadSettings, match="no voice of its own in es"):
        room.cast(tool("tts", Nobody, "clone"), PRESET)
    assert names(room.cast(tool("tts", Nobody, "clone"), CLONE)) == {"ANNA": "ANNA", "BOB": "BOB"}


# memory


@pytest.mark.parametrize(("engine", "mode"), [(PLAIN, PRESET), (BOOTH, MATCH)], ids=["preset", "match"])
def test_the_same_film_is_cast_the_same_and_nobody_is_asked(room: Room, engine: object, mode: Voicing) -> None:
    first = room.cast(engine, mode)  # type: ignore[arg-type]
    for text in ("Hello.", "Something else is said."):
        again = room.cast(engine, mode, room.film(texts=text))  # type: ignore[arg-type]
        assert (again.casting, again.reasons) == (first.casting, first.reasons)
        assert room.ran == {}


@pytest.mark.parametrize(("engine", "mode"), [(PLAIN, PRESET), (BOOTH, MATCH)], ids=["preset", "match"])
def test_a_new_speaker_who_comes_first_takes_nobodys_voice(room: Room, engine: object, mode: Voicing) -> None:
    before = room.cast(engine, mode, room.film(TALK[1:])).casting.voices  # type: ignore[arg-type]
    after = room.cast(engine, mode, room.film([("DORA", 0.5, 7.0), *TALK[1:]])).casting.voices  # type: ignore[arg-type]
    assert {who: after[who] for who in before} == before
    assert after["DORA"] not in before.values()


def test_people_without_names_are_known_by_when_they_speak(room: Room) -> None:
    said = [("SPEAKER_00", 8.0, 15.0), ("SPEAKER_01", 15.5, 22.5)]
    before = room.cast(PLAIN, PRESET, room.film(said)).casting.voices
    renamed = [("SPEAKER_00", 0.5, 7.5), ("SPEAKER_01", 8.0, 15.0), ("SPEAKER_02", 15.5, 22.0)]
    after = room.cast(PLAIN, PRESET, room.film(renamed)).casting.voices
    assert (after["SPEAKER_01"], after["SPEAKER_02"]) == (before["SPEAKER_00"], before["SPEAKER_01"])
    assert after["SPEAKER_00"] not in before.values()


def test_who_gets_a_name_keeps_the_voice(room: Room) -> None:
    before = room.cast(PLAIN, PRESET, room.film([("SPEAKER_00", 0.5, 7.5), ("SPEAKER_01", 8.0, 15.0)])).casting.voices
    after = room.cast(PLAIN, PRESET, room.film([("BOB", 8.0, 15.0), ("ANNA", 15.5, 20.0)])).casting.voices
    assert after["BOB"] == before["SPEAKER_01"] and after["ANNA"] == before["SPEAKER_00"]


def test_what_is_forgotten_is_cast_anew(room: Room) -> None:
    room.cast(PLAIN, PRESET, room.film(TALK[1:]))
    room.state = {}
    assert names(room.cast(PLAIN, PRESET)) == {"ANNA": "one", "BOB": "two"}


def test_voices_of_another_way_or_another_engine_are_not_kept(room: Room) -> None:
    matched = room.cast(BOOTH, MATCH).casting.voices
    assert room.cast(BOOTH, PRESET).casting.voices != matched
    assert set(names(room.cast(PLAIN, PRESET)).values()) == {"one", "two"}


# characters


class Book:
    """Knows one character."""

    def __init__(self, who: str, known: Recalled) -> None:
        self.who, self.known, self.asked = who, known, dict[str, Portrait]()

    def recall(self, run: Run, portraits: Mapping[str, Portrait], want: Wanted) -> Mapping[str, Recalled]:
        self.asked = dict(portraits)
        return {self.who: self.known}


def test_a_known_character_has_the_voice_of_other_films(room: Room) -> None:
    voice = Voice("booth", "small", "es", settings={"hz": 200})
    book = Book("BOB", Recalled("c1", "Robert", "match", "the character Robert", voice=voice, asked=Expression(rate=1.1)))
    cast = room.cast(BOOTH, Voicing("match", characters=True), characters=book)
    assert cast.casting.voices["BOB"] == voice and cast.reasons["BOB"] == "the character Robert"
    assert cast.casting.voices["ANNA"] != voice
    assert set(book.asked) == set(cast.portraits) == set(cast.references) == {"ANNA", "BOB"}
    assert cast.known["BOB"].asked.rate == 1.1


def test_a_character_is_cloned_from_what_is_kept_of_them(room: Room) -> None:
    book = Book("BOB", Recalled("c1", "Robert", "clone", "the character Robert", references=carter(room)))
    cast = room.cast(CLONER, Voicing("preset", characters=True), characters=book)
    assert cast.casting.voices["BOB"].references == carter(room)
    assert cast.reasons["BOB"] == "the character Robert: cloned from Robert"
    assert names(cast)["ANNA"] == "one"


def test_what_a_person_wishes_goes_before_a_character(room: Room) -> None:
    book = Book("BOB", Recalled("c1", "Robert", "preset", "the character Robert", preset="one"))
    assert names(room.cast(PLAIN, Voicing("preset", {"BOB": "two"}, characters=True), characters=book))["BOB"] == "two"
    assert names(room.cast(PLAIN, Voicing("preset", characters=True), characters=book))["BOB"] == "one"
