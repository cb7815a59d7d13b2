"""From speech to sentences: pieces cut at pauses, the language, what a recogniser makes up left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.errors import BadSettings
from polydub.media.flac import write_flac
from polydub.stages import recognise
from polydub.stages.recognise import Piece, pieces
from polydub.store import Store
from polydub.types import HEAR_HZ, Audio, Excerpt, Segment, Span, Speech, Turn, Word
from polydub.work import Work


def speech(*spans: tuple[float, float]) -> Speech:
    return Speech((), 10**9, tuple(Span(a, b) for a, b in spans))


@dataclass
class Parrot:
    """A recogniser that answers what it was told to, and remembers what it was asked."""

    answers: list[Segment]
    tongues: list[tuple[str, float]] = field(default_factory=list)
    asked: list[tuple[float, str | None]] = field(default_factory=list)

    def transcribe(self, heard: Audio, language: str | None) -> Iterator[Segment]:
        self.asked.append((heard.duration, language))
        yield from self.answers

    def identify(self, heard: Audio) -> tuple[str, float]:
        return self.tongues.pop(0)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    store = Store(tmp_path / "store")
    with store.scratch() as scratch:
        yield Work(store, scratch, 1, lambda share: None)
    store.close()


@pytest.fixture
def piece(work: Work) -> Piece:
    """Seconds 20 to 24 of a film, spoken from 20.5 to 23.5."""
    file = work.scratch / "speech.flac"
    noise = np.random.default_rng(1).normal(0, 0.1, (1, 30 * HEAR_HZ)).astype(np.float32)
    write_flac(file, noise, HEAR_HZ)
    return Piece(Excerpt(20.0, 24.0, 0, (work.keep(file),)), (Span(20.5, 23.5),))


def test_pieces_are_cut_at_pauses_and_are_not_longer_than_wanted() -> None:
    found = pieces(speech((1, 4), (4.5, 8), (8.3, 9), (9.5, 14), (30, 31)), 10.0)
    assert [(p.sound.start, p.sound.end) for p in found] == [(0.85, 9.15), (9.35, 14.15), (29.85, 31.15)]
    assert [len(p.speech) for p in found] == [3, 1, 1]


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 9000)), max_size=30), st.integers(5, 30))
def test_every_span_is_in_one_piece_whole(rests: list[tuple[int, int]], longest_s: int) -> None:
    at, spans = 0, list[tuple[float, float]]()
    for pause, length in rests:
        spans.append(((at + pause) / 1000, (at + pause + length) / 1000))
        at += pause + length
    found = pieces(speech(*spans), longest_s)
    assert [(s.start, s.end) for p in found for s in p.speech] == spans
    assert all(p.sound.duration <= max(longest_s, p.speech[0].duration) + 2 * recognise.PAD_S + 1e-6 for p in found)
    assert all(a.sound.end <= b.sound.start for a, b in pairwise(found))


def test_segments_come_back_at_film_time_with_their_words(work: Work, piece: Piece) -> None:
    words = (Word(0.6, 1.0, "Good", 0.9), Word(1.1, 1.5, "day.", 0.8))
    parrot = Parrot([Segment(0.6, 1.5, text="Good day.", words=words)])
    (segment,) = recognise.transcribe(work, parrot, piece, "en")
    assert (segment.start, segment.end, segment.text) == (20.6, 21.5, "Good day.")
    assert [(w.start, w.end) for w in segment.words] == [(20.6, 21.0), (21.1, 21.5)]
    assert parrot.asked == [(4.0, "en")]


def test_what_is_said_where_nobody_speaks_is_left_out_and_told(work: Work, piece: Piece) -> None:
    parrot = Parrot([Segment(0.0, 0.4, text="Thanks for watching!"), Segment(1.0, 2.0, text="Real words here.")])
    assert [s.text for s in recognise.transcribe(work, parrot, piece, "en")] == ["Real words here."]
    assert [n.code for n in work.notices] == ["not-believed"]
    assert "20.0 to 20.4" in work.notices[0].text


def test_the_likeliest_language_wins_and_a_doubtful_one_is_told(work: Work, piece: Piece) -> None:
    assert recognise.identify(work, Parrot([], [("de", 0.9), ("nl", 0.95), ("de", 0.8)]), (piece,) * 3) == "de"
    assert [n.severity for n in work.notices] == ["info"]
    work.notices.clear()
    assert recognise.identify(work, Parrot([], [("en", 0.0)]), (piece,)) == "en"
    assert [(n.code, n.severity) for n in work.notices] == [("language-assumed", "warning")]
    with pytest.raises(BadSettings, match="could not be told") as caught:
        recognise.identify(work, Parrot([], [("und", 0.0)]), (piece,))
    assert "--from" in caught.value.hint


def test_sentences_without_turns_are_one_speakers(work: Work) -> None:
    said = ((Segment(0, 2, text="One thing. Another.", words=tuple(Word(n / 2, n / 2 + 0.4, w) for n, w in
                                                                   enumerate(["One", "thing.", "Another."]))),),)  # fmt: skip
    cut = recognise.sentences(work, said, ())
    assert [(s.speaker, s.text) for s in cut] == [("SPEAKER_00", "One thing."), ("SPEAKER_00", "Another.")]
    two = recognise.sentences(work, said, (Turn(0, 0.95, "ANN"), Turn(0.95, 2, "BOB")))
    assert [(s.speaker, s.text) for s in two] == [("ANN", "One thing."), ("BOB", "Another.")]
