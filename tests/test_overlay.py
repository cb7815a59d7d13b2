"""What a person has set, laid over lines and script: splits and merges, set times, locks that find their line again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from polydub import edits, overlay, performed
from polydub.edits import Edits, LineEdit, Lock, Manner, Merge, SpeakerEdit, Split, Version
from polydub.overlay import Laid
from polydub.runner import Run
from polydub.spoken import Spoken, SpokenFilm
from polydub.stages.translate import Given
from polydub.store import Store
from polydub.types import Artifact, Line, Phrase, Placement, Script, Segment, Span, Speaker, Take, Word
from polydub.wants import Voicing, Wanted

EMPTY = Edits(format=2)


def line(number: int, start: float, end: float, text: str = "", speaker: str = "A") -> Line:
    return Line(start, end, str(number), speaker, f"source {number}", text or f"[es] source {number}", "es", short="corto")


LINES = (line(1, 0, 2), line(2, 2.5, 4, speaker="B"), line(3, 5, 7), line(4, 7.5, 9))


@dataclass
class Desk:
    """A run in which something may have been set."""

    run: Run
    asked: list[Given]

    def lay(self, book: Edits, lines: tuple[Line, ...] = LINES, words: tuple[Word, ...] = ()) -> Laid:
        self.run.book = book
        segments = tuple(Segment(x.start, x.end, x.id, x.speaker, x.source_text, words if x.id == "3" else ()) for x in lines)
        given = Given(Script("en", segments, (Speaker("A", "A"), Speaker("B", "B"))), {})
        return overlay.laid_over(self.run, given, lines, self.anew)

    def anew(self, given: Given) -> list[Line]:
        self.asked.append(given)
        return [replace(line(1, s.start, s.end), id=s.id, text=f"[new] {s.text}") for s in given.script.segments]

    def told(self) -> list[str]:
        return [notice.code for notice in self.run.notices]

    def sound(self, name: str) -> Artifact:
        """A file in the store."""
        with self.run.store.scratch() as folder:
            (folder / "take.flac").write_text(name)
            return self.run.store.keep(folder / "take.flac")

    def spoken(self, of: Line, text: str = "dicho", at: float | None = None) -> Spoken:
        take = Take(self.sound(of.id + text), 1.5, 1.0, -20.0)
        start = of.start if at is None else at
        return Spoken(
            line=of,
            span=Span(of.start, of.end),
            text=text,
            voice="low",
            phrases=(Phrase(of.start, of.end, of.id, of.speaker, text),),
            takes={of.id: (take,)},
            shaped={of.id: take},
            placed=(Placement(of.id, of.speaker, start, 1.5, 1.0, 0.0, 0.0, 1.5),),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path / "store")
    with Run(store, tmp_path) as run:
        yield Desk(run, [])
    store.close()


def by_id(laid: Laid) -> dict[str, Line]:
    return {x.id: x for x in laid.lines}


def locked(spoken: Spoken | None, id_: str = "3") -> Edits:
    return EMPTY.with_lock(id_, Lock(when=edits.now(), spoken=spoken))


def test_without_edits_everything_stays(desk: Desk) -> None:
    laid = desk.lay(EMPTY)
    assert laid.lines == laid.written == laid.sources == LINES
    assert not (laid.held or laid.locks or desk.told() or desk.asked)


def test_a_text_by_hand_is_given_and_has_no_other_wordings(desk: Desk) -> None:
    made = by_id(desk.lay(EMPTY.with_line("3", LineEdit(text="Hola.", seed=5, voice="Ana", expression=Manner(pitch=2.0)))))["3"]
    assert (made.text, made.short, made.given, made.seed, made.voice, made.expression.pitch) == (
        "Hola.",
        "",
        True,
        5,
        "Ana",
        2.0,
    )


def test_a_corrected_source_is_translated_anew_it_alone(desk: Desk) -> None:
    laid = desk.lay(EMPTY.with_line("3", LineEdit(source_text="what was really said")))
    assert [[s.text for s in given.script.segments] for given in desk.asked] == [["what was really said"]]
    assert by_id(laid)["3"].text == "[new] what was really said"
    assert {s.id: s.text for s in laid.given.script.segments}["3"] == "what was really said"
    assert [x for x in laid.lines if x.id != "3"] == [x for x in LINES if x.id != "3"]


def test_a_mark_in_a_corrected_source_is_not_translated(desk: Desk) -> None:
    said = by_id(desk.lay(EMPTY.with_line("3", LineEdit(source_text="[angry] Get out"))))["3"]
    assert (said.text, said.source_text) == ("[new] Get out", "[angry] Get out")


def test_a_corrected_source_does_not_touch_what_a_person_wrote(desk: Desk) -> None:
    given = tuple(replace(x, given=True) for x in LINES)
    assert by_id(desk.lay(EMPTY.with_line("3", LineEdit(source_text="new")), given))["3"].text == LINES[2].text
    assert by_id(desk.lay(EMPTY.with_line("3", LineEdit(source_text="new", text="mío"))))["3"].text == "mío"
    assert not desk.asked


def test_another_speaker_becomes_one_of_the_film(desk: Desk) -> None:
    laid = desk.lay(EMPTY.with_line("3", LineEdit(speaker="CARL")).with_speaker("A", SpeakerEdit(label="Anna")))
    assert by_id(laid)["3"].speaker == "CARL"
    assert [(s.id, s.label) for s in laid.given.script.speakers] == [("A", "Anna"), ("B", "B"), ("CARL", "CARL")]
    assert {s.id: s.speaker for s in laid.given.script.segments}["3"] == "CARL"


def test_a_set_time_moves_the_line_but_not_where_the_source_says_it(desk: Desk) -> None:
    laid = desk.lay(EMPTY.with_line("3", LineEdit(start=6.0)))
    made = by_id(laid)["3"]
    assert (made.start, made.end, made.pinned) == (6.0, 8.0, True)
    assert {x.id: (x.start, x.end) for x in laid.sources}["3"] == (5, 7)
    assert {s.id: s.start for s in laid.given.script.segments}["3"] == 5
    assert "3" not in laid.held
    assert desk.lay(EMPTY.with_line("3", LineEdit(end=6.5))).held["3"].ends


def test_a_split_line_is_two_and_its_words_go_with_them(desk: Desk) -> None:
    cut = Split(kind="split", line="3", second="9", at=6.0, texts=("uno", "dos"), source_texts=("one", "two"))
    words = (Word(5.1, 5.4, "one"), Word(6.2, 6.8, "two"))
    laid = desk.lay(EMPTY.model_copy(update={"cuts": (cut,)}).with_line("9", LineEdit(voice="Ana")), words=words)
    made = by_id(laid)
    assert [(made[x].start, made[x].end, made[x].text, made[x].given) for x in ("3", "9")] == [
        (5, 6.0, "uno", True),
        (6.0, 7, "dos", True),
    ]
    assert (made["3"].voice, made["9"].voice) == ("", "Ana")
    segments = {s.id: s for s in laid.given.script.segments}
    assert ([w.text for w in segments["3"].words], segments["9"].text) == (["one"], "two")
    assert [x.id for x in laid.lines] == ["1", "2", "3", "9", "4"]


def test_merged_lines_are_one(desk: Desk) -> None:
    cut = Merge(kind="merge", line="3", second="4", text="tres cuatro", source_text="three four")
    laid = desk.lay(EMPTY.model_copy(update={"cuts": (cut,)}))
    assert [x.id for x in laid.lines] == ["1", "2", "3"] == [s.id for s in laid.given.script.segments]
    assert (by_id(laid)["3"].end, by_id(laid)["3"].text) == (9, "tres cuatro")
    assert laid.given.script.segments[2].text == "three four"


@pytest.mark.parametrize(
    "book",
    [
        EMPTY.with_line("77", LineEdit(text="x")),
        EMPTY.model_copy(
            update={"cuts": (Split(kind="split", line="3", second="9", at=60.0, texts=("a", "b"), source_texts=("a", "b")),)}
        ),
        EMPTY.model_copy(update={"cuts": (Merge(kind="merge", line="3", second="77", text="a", source_text="a"),)}),
    ],
    ids=["unknown line", "split elsewhere", "merge with nobody"],
)
def test_what_belongs_to_no_line_is_told_and_waits(desk: Desk, book: Edits) -> None:
    assert desk.lay(book).lines == LINES
    assert desk.told() == ["edit-lost"]


def test_speakers_get_the_manner_that_was_set_and_unknown_ones_are_told(desk: Desk) -> None:
    book = EMPTY.with_speaker("A", SpeakerEdit(expression=Manner(rate=1.2))).with_speaker("ZOE", SpeakerEdit(voice="x"))
    desk.run.book = book
    want = overlay.of_speakers(desk.run, Wanted("es"), (Speaker("A"), Speaker("B")))
    assert want.acting.asked["A"].rate == 1.2
    assert set(want.acting.asked) == {"A"}
    assert desk.told() == ["edit-lost"]


def test_a_speakers_voice_that_was_set_goes_before_the_wish_of_a_call(desk: Desk) -> None:
    desk.run.book = EMPTY.with_speaker("A", SpeakerEdit(voice="two"))
    want = Wanted("es", voicing=Voicing(voices={"A": "one", "B": "three"}))
    assert overlay.of_speakers(desk.run, want, (Speaker("A"), Speaker("B"))).voicing.voices == {"A": "two", "B": "three"}


# locks


def test_a_lock_keeps_text_take_and_time_whatever_is_set_or_translated(desk: Desk) -> None:
    spoken = desk.spoken(replace(LINES[2], pinned=True), "como era", at=5.2)
    lines = tuple(replace(x, text="[other engine]", start=x.start + 0.2) for x in LINES)
    laid = desk.lay(locked(spoken).with_line("3", LineEdit(text="set later")), lines)
    made = by_id(laid)["3"]
    assert (made.text, made.start, made.end, made.locked, made.short) == ("como era", 5, 7, True, "")
    held = laid.held["3"]
    assert (held.placed[0].start, held.takes["3"], held.shaped["3"]) == (5.2, spoken.takes["3"], spoken.shaped["3"])
    assert laid.locks == {"3": "3"}


def renumbered(shift: float = 0.0) -> tuple[Line, ...]:
    """A new transcript of the same film: other ids, other texts, nearly the same times."""
    return tuple(replace(x, id=str(int(x.id) + 20), start=x.start + shift, end=x.end + shift, text="nuevo") for x in LINES)


def test_a_lock_finds_its_line_by_time_in_a_new_transcript(desk: Desk) -> None:
    laid = desk.lay(locked(desk.spoken(LINES[2], "como era")), renumbered(0.4))
    assert laid.locks == {"23": "3"}
    made = by_id(laid)["23"]
    assert (made.text, made.start, made.locked) == ("como era", 5, True)
    assert [p.id for p in laid.held["23"].phrases] == ["23"] == list(laid.held["23"].takes)
    assert not desk.told()


def test_a_lock_whose_time_is_gone_is_told_and_stays_in_the_file(desk: Desk) -> None:
    laid = desk.lay(locked(desk.spoken(LINES[2])), renumbered(1.6))
    assert not laid.locks
    assert desk.told() == ["lock-lost"]


def test_an_id_that_means_another_line_now_is_not_locked(desk: Desk) -> None:
    swapped = tuple(replace(x, id={"3": "1", "1": "3"}.get(x.id, x.id)) for x in LINES)
    assert desk.lay(locked(desk.spoken(LINES[2])), swapped).locks == {"1": "3"}


def test_a_locked_line_is_not_said_twice_when_a_new_transcript_cuts_it(desk: Desk) -> None:
    lines = (*renumbered()[:2], line(31, 5, 6.2, "primera mitad"), line(32, 6.2, 7, "segunda mitad"), renumbered()[3])
    laid = desk.lay(locked(desk.spoken(LINES[2], "todo")), lines)
    assert {x.id: x.text for x in laid.lines} == {"21": "nuevo", "22": "nuevo", "31": "todo", "32": "", "24": "nuevo"}
    assert desk.told() == ["lock-covers"]


def test_a_speaker_who_is_gone_is_replaced_by_who_speaks_there_now(desk: Desk) -> None:
    others = tuple(replace(x, speaker="SPEAKER_07") for x in LINES)
    assert by_id(desk.lay(locked(desk.spoken(LINES[2])), others))["3"].speaker == "SPEAKER_07"


def test_a_lock_whose_recording_is_gone_is_told(desk: Desk) -> None:
    spoken = desk.spoken(LINES[2], "como era", at=5.4)
    desk.run.store.path(spoken.takes["3"][0].sound).unlink()
    laid = desk.lay(locked(spoken))
    assert not laid.held
    made = by_id(laid)["3"]
    assert (made.text, made.locked, made.pinned, made.start) == ("como era", True, True, 5.4)
    assert desk.told() == ["take-lost"]


def test_a_lock_that_was_not_rendered_yet_will_hold_what_is_set(desk: Desk) -> None:
    laid = desk.lay(locked(None).with_line("3", LineEdit(text="mío")))
    assert (by_id(laid)["3"].text, laid.held, laid.locks) == ("mío", {}, {"3": "3"})


def test_a_lock_that_waits_for_a_render_fixes_nothing_yet(desk: Desk) -> None:
    version = Version(number=2, when=edits.now(), why="", spoken=desk.spoken(LINES[2], "dos"))
    chosen = locked(None).with_take("3", version).with_line("3", LineEdit(text="dos", take=2, end=6.5))
    held = desk.lay(chosen).held["3"]
    assert (held.takes, held.ends) == (version.spoken.takes, True)
    corrected = by_id(desk.lay(locked(None).with_line("3", LineEdit(source_text="other words"))))["3"]
    assert corrected.text == "[new] other words"


def test_locks_that_change_their_numbers_all_stay(desk: Desk) -> None:
    """Lock 2 goes to the line that is 3 now, and lock 3 to 4."""
    spoken = {x.id: desk.spoken(x) for x in LINES[1:3]}
    book = EMPTY
    for id_, one in spoken.items():
        book = book.with_lock(id_, Lock(when=edits.now(), spoken=one))
    later = tuple(replace(x, id=str(int(x.id) + 1)) for x in LINES)
    laid = desk.lay(book, later)
    assert laid.locks == {"3": "2", "4": "3"}
    film = SpokenFilm(revision=0, next_id=9, film_s=10.0, written=later, lines={})
    kept = performed.recorded(book, book, film, {lock: line for line, lock in laid.locks.items()})
    assert {id_: lock.spoken for id_, lock in kept.locks.items()} == {"3": spoken["2"], "4": spoken["3"]}


def test_a_chosen_take_brings_its_recording_as_long_as_the_line_says_that(desk: Desk) -> None:
    version = Version(number=2, when=edits.now(), why="", spoken=desk.spoken(LINES[2], "dos"))
    book = EMPTY.with_take("3", version).with_line("3", LineEdit(text="dos", take=2))
    held = desk.lay(book).held["3"]
    assert (held.takes, held.placed, held.shaped) == (version.spoken.takes, (), {})
    assert not desk.lay(book.with_line("3", LineEdit(text="otra cosa", take=2))).held


LAYERS: list[tuple[str, Callable[[Desk], Edits], str]] = [
    ("engine", lambda desk: EMPTY, "[es] source 3"),
    ("edit over engine", lambda desk: EMPTY.with_line("3", LineEdit(text="edit")), "edit"),
    ("lock over edit", lambda desk: locked(desk.spoken(LINES[2], "lock")).with_line("3", LineEdit(text="edit")), "lock"),
]


@pytest.mark.parametrize(("book", "text"), [case[1:] for case in LAYERS], ids=[case[0] for case in LAYERS])
def test_the_order_of_precedence(desk: Desk, book: Callable[[Desk], Edits], text: str) -> None:
    assert by_id(desk.lay(book(desk)))["3"].text == text
