"""Cues are grouped for alignment, and get the times of their words; one wrong cue does not spoil its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.engines.registry import get
from polydub.errors import BadEngineOutput
from polydub.media.flac import write_flac
from polydub.stages.align import LONGEST_S, Passage, align, align_pieces
from polydub.store import Store
from polydub.types import HEAR_HZ, Audio, Excerpt, Segment, Span, Speech, Word
from polydub.work import Work


def cue(start: float, end: float, text: str = "one two", number: str = "") -> Segment:
    return Segment(start, end, number, "A", text)


FILM = Speech((), 3600 * HEAR_HZ, ())


def grouped(*cues: Segment) -> list[list[tuple[float, float]]]:
    return [[(s.start, s.end) for s in p.segments] for p in align_pieces(cues, FILM)]


def test_neighbours_go_together_and_distant_or_overlapping_cues_do_not() -> None:
    assert grouped(cue(1, 2), cue(2.2, 3), cue(5, 6)) == [[(1, 2), (2.2, 3)], [(5, 6)]]
    assert grouped(cue(1, 4), cue(3, 6)) == [[(1, 4)], [(3, 6)]]
    assert grouped(cue(5, 6), cue(4, 5)) == [[(4, 5), (5, 6)]]
    assert grouped() == []


def test_a_long_run_is_cut_where_its_cues_are_furthest_apart() -> None:
    cues = [cue(n * 3, n * 3 + 2.8) for n in range(5)] + [cue(15.5, 18), cue(18.2, 24)]
    assert [len(group) for group in grouped(*cues)] == [5, 2]


def test_songs_sounds_empty_cues_and_those_with_words_are_left_alone() -> None:
    song = Segment(1, 2, "1", text="la la", kind="song")
    known = Segment(3, 4, "2", text="known", words=(Word(3, 4, "known"),))
    assert align_pieces([song, cue(2, 3, " "), known], FILM) == ()


def test_more_is_heard_around_cues_where_there_is_room() -> None:
    first, second = align_pieces([cue(1, 3), cue(2.5, 9)], FILM)
    assert (first.sound.start, first.sound.end, second.sound.start, second.sound.end) == (0.5, 3.15, 2.35, 9.5)
    (lone,) = align_pieces([cue(0.1, 3600.0)], FILM)
    assert (lone.sound.start, lone.sound.end) == (0.0, 3600.0)


@given(st.lists(st.tuples(st.integers(-800, 4000), st.integers(1, 30_000)), max_size=40))
def test_every_cue_is_in_one_passage_that_holds_it(steps: list[tuple[int, int]]) -> None:
    at, cues = 1000, list[Segment]()
    for n, (pause, length) in enumerate(steps):
        at = max(0, at + pause)
        cues.append(cue(at / 1000, (at + length) / 1000, number=str(n)))
        at += length
    passages = align_pieces(cues, FILM)
    ordered = [s for p in passages for s in p.segments]
    assert sorted(s.id for s in ordered) == sorted(c.id for c in cues)
    assert all(a.start <= b.start for a, b in pairwise(ordered))
    for p in passages:
        assert all(p.sound.start <= s.start and s.end <= p.sound.end for s in p.segments)
        assert len(p.segments) == 1 or p.segments[-1].end - p.segments[0].start <= LONGEST_S + 1e-6


@dataclass
class Clockwork:
    """An aligner that gives each word 0.1 s from 0.2 s on, doubts some words, and refuses texts that hold a wrong one."""

    wrong: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()
    lost: int = 0
    asked: list[tuple[str, float]] = field(default_factory=list)

    def align(self, speech: Audio, text: str, language: str) -> tuple[Word, ...] | None:
        self.asked.append((text, round(speech.duration, 3)))
        words = text.split()
        if self.wrong & set(words):
            return None
        return tuple(
            Word(0.2 + n / 10, 0.3 + n / 10, word, 0.0 if word in self.doubted else 0.9)
            for n, word in enumerate(words[self.lost :])
        )


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    store = Store(tmp_path / "store")
    with store.scratch() as scratch:
        yield Work(store, scratch, 1, lambda share: None)
    store.close()


@pytest.fixture
def passage(work: Work) -> Passage:
    """Three cues from second 20 on; somebody speaks from 20.5 to 21.5 and from 24 to 26."""
    file = work.scratch / "speech.flac"
    write_flac(file, np.random.default_rng(1).normal(0, 0.1, (1, 30 * HEAR_HZ)).astype(np.float32), HEAR_HZ)
    cues = (cue(20.5, 22, "a b", "1"), cue(22.5, 23.5, "c d", "2"), cue(24, 26, "e f", "3"))
    return Passage(Excerpt(20.0, 26.5, 0, (work.keep(file),)), (Span(20.5, 21.5), Span(24, 26)), cues)


def timed(work: Work, aligner: object, passage: Passage) -> list[list[tuple[str, float, float, bool]]]:
    found = align(work, aligner, passage, "en")
    assert [(s.start, s.end, s.text, s.id, s.speaker) for s in found] == [
        (s.start, s.end, s.text, s.id, s.speaker) for s in passage.segments
    ]
    return [[(w.text, w.start, w.end, w.estimated) for w in s.words] for s in found]


def test_words_are_dealt_to_their_cues_in_film_time(work: Work, passage: Passage) -> None:
    aligner = Clockwork()
    assert timed(work, aligner, passage) == [
        [("a", 20.2, 20.3, False), ("b", 20.3, 20.4, False)],
        [("c", 20.4, 20.5, False), ("d", 20.5, 20.6, False)],
        [("e", 20.6, 20.7, False), ("f", 20.7, 20.8, False)],
    ]
    assert aligner.asked == [("a b c d e f", 6.5)]
    assert work.notices == []


def test_a_wrong_cue_is_estimated_and_told_and_the_others_are_tried_alone(work: Work, passage: Passage) -> None:
    aligner = Clockwork(wrong=frozenset({"c"}))
    first, second, third = timed(work, aligner, passage)
    assert first[0][:2] == ("a", 20.2) and third[0][:2] == ("e", 23.7)
    assert second == [("c", 22.5, 23.0, True), ("d", 23.0, 23.5, True)], "nobody speaks there: the whole cue"
    assert aligner.asked[1:] == [("a b", 2.5), ("c d", 2.0), ("e f", 3.0)]
    (notice,) = work.notices
    assert (notice.code, notice.line, notice.severity) == ("text-mismatch", "2", "warning")
    assert "0:22" in notice.text


def test_a_cue_whose_words_are_all_doubted_is_tried_alone(work: Work, passage: Passage) -> None:
    aligner = Clockwork(doubted=frozenset({"e", "f"}))
    first, _, third = timed(work, aligner, passage)
    assert not any(estimated for *_, estimated in first)
    assert third == [("e", 24.0, 25.0, True), ("f", 25.0, 26.0, True)], "over what is spoken in the cue"
    assert [text for text, _ in aligner.asked] == ["a b c d e f", "e f"]
    assert [n.line for n in work.notices] == ["3"]


def test_several_wrong_cues_are_one_notice(work: Work, passage: Passage) -> None:
    timed(work, Clockwork(wrong=frozenset("ae")), passage)
    (notice,) = work.notices
    assert notice.line == "1" and "2 lines" in notice.text


def test_too_many_or_too_few_words_are_an_error(work: Work, passage: Passage) -> None:
    with pytest.raises(BadEngineOutput, match="6 words went out"):
        align(work, Clockwork(lost=1), passage, "en")


def test_counting_syllables_is_never_a_mismatch(work: Work, passage: Passage) -> None:
    engine = get("align", "syllables")
    with engine.load(engine.options(), {}, "cpu") as aligner:
        found = timed(work, aligner, passage)
    assert all(estimated for words in found for *_, estimated in words)
    assert work.notices == []
