"""When lines are audible in a film, and in which phrases they are spoken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.engines.registry import get
from polydub.media.flac import write_flac
from polydub.stages import listen
from polydub.stages.phrasing import (
    LEAST_S,
    LONGEST_S,
    SPLIT_PAUSE_S,
    Mouth,
    MouthPiece,
    clearest,
    mouth_pieces,
    mouths,
    phrases,
    voiced,
)
from polydub.stages.separate import Separated
from polydub.store import Store
from polydub.text.phrases import WORDS, words
from polydub.types import BLOCK, HEAR_HZ, RATE_HZ, VAD_FRAME, Artifact, Audio, Energies, Line, Phrase, Sound, Span, Speech
from polydub.work import Work

FILM = Speech((), 3600 * HEAR_HZ, ())
TEXT = "When it rains, we stay at home."


def line(start: float, end: float, text: str = TEXT, number: str = "1") -> Line:
    return Line(start, end, number, "A", "", text, "en")


def letters(_: Line, text: str) -> float:
    """A voice that takes 0.1 s for each letter."""
    return 0.1 * sum(c.isalnum() for c in text)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    store = Store(tmp_path / "store")
    with store.scratch() as scratch:
        yield Work(store, scratch, 1, lambda share: None)
    store.close()


def ids(pieces: tuple[MouthPiece, ...]) -> list[list[str]]:
    return [[said.id for said in piece.lines] for piece in pieces]


def test_lines_are_measured_with_those_that_begin_in_the_same_block() -> None:
    lines = [line(28, 33, number="2"), line(1, 4, number="1"), line(31, 34, number="3"), line(95, 99, number="4")]
    pieces = mouth_pieces(lines, FILM, [Span(0.5, 4.2), Span(27.8, 33.3), Span(60, 61)])
    assert ids(pieces) == [["1", "2"], ["3"], ["4"]]
    assert [piece.voiced for piece in pieces] == [(Span(0.5, 4.2), Span(27.8, 33.3)), (Span(27.8, 33.3),), ()]
    assert all(p.sound.start <= min(s.earliest for s in p.lines) - 1 or p.sound.start == 0 for p in pieces)
    assert all(p.sound.end >= max(s.latest for s in p.lines) + 1 for p in pieces)
    assert mouth_pieces([], FILM, []) == ()


def test_a_text_or_a_far_line_changes_no_piece() -> None:
    lines = [line(1, 4), line(5, 9, number="2"), line(100, 104, number="3")]
    spans = [Span(1, 9), Span(100, 104)]
    pieces = mouth_pieces(lines, FILM, spans)
    edited = [replace(lines[0], text="", speaker="B", locked=True), lines[1], replace(lines[2], start=101.0)]
    again = mouth_pieces(edited, FILM, [spans[0], Span(100.5, 104)])
    assert again[0] == pieces[0]
    assert again[1] != pieces[1]


def test_no_line_reaches_beyond_the_middle_of_its_neighbours() -> None:
    (piece,) = mouth_pieces([line(1, 1.2), line(1.3, 1.5, number="2"), line(3, 4, number="3")], FILM, [])
    assert [(s.earliest, s.latest) for s in piece.lines] == [(0.7, 1.4), (1.1, 1.8), (2.7, 4.3)]
    (talk_over,) = mouth_pieces([line(1, 9), line(2, 3, number="2")], FILM, [])
    assert [(s.earliest, s.latest) for s in talk_over.lines] == [(0.7, 9), (2, 3.3)], "a span of its own is always reached"


def test_what_is_no_line_is_not_measured() -> None:
    assert ids(mouth_pieces([line(0, LONGEST_S + 1), line(5, 5, number="2"), line(6, 7, number="3")], FILM, [])) == [["3"]]


def voice(*spans: tuple[float, float], total_s: float) -> np.ndarray:
    times = np.arange(round(total_s * HEAR_HZ)) / HEAR_HZ
    buzz = sum(0.1 * np.sin(2 * np.pi * 150 * k * times + k) / k for k in range(1, 20))
    sounding = np.zeros(len(times))
    for start, end in spans:
        sounding[round(start * HEAR_HZ) : round(end * HEAR_HZ)] = 1
    noise = np.random.default_rng(1).normal(0, 0.001, len(times))
    return (buzz * sounding + noise).astype(np.float32)[np.newaxis]


def speech_of(work: Work, sound: np.ndarray) -> Speech:
    """The blocks of a sound at HEAR_HZ, as the film's are kept."""
    blocks: list[Artifact] = []
    step = BLOCK * HEAR_HZ // RATE_HZ
    for at in range(0, sound.shape[1], step + 1):
        begin, end = -(-len(blocks) * BLOCK // 3), -(-(len(blocks) + 1) * BLOCK // 3)
        file = work.scratch / f"{at}.flac"
        write_flac(file, sound[:, begin:end], HEAR_HZ)
        blocks.append(work.keep(file))
    return Speech(tuple(blocks), sound.shape[1], ())


def test_lines_open_their_mouth_with_the_first_sound_in_any_block(work: Work) -> None:
    talks = (2.0, 5.0), (29.5, 31.0), (31.6, 33.0), (35.0, 37.0)
    speech = speech_of(work, voice(*talks, total_s=40))
    heard = [Span(start + 0.04, end + 0.05) for start, end in talks]
    lines = [line(1.8, 5.2), line(29.7, 33.1, number="2"), line(34.8, 36.9, number="3"), line(38, 39, number="4")]
    found = [mouth for piece in mouth_pieces(lines, speech, heard) for mouth in mouths(work, piece)]
    assert [m.id for m in found] == ["1", "2", "3", "4"]
    assert [m.start for m in found] == pytest.approx([2.0, 29.5, 35.0, 38], abs=0.02)
    assert [m.end for m in found] == pytest.approx([5.0, 33.0, 37.0, 39], abs=0.02)
    assert [len(m.pauses) for m in found] == [0, 1, 0, 0]
    assert (found[1].pauses[0].start, found[1].pauses[0].end) == pytest.approx((31.0, 31.6), abs=0.02)


def test_a_line_is_heard_at_the_same_time_whatever_lines_are_around_it(work: Work) -> None:
    speech = speech_of(work, voice((2.0, 5.0), (6, 7), total_s=12))
    heard = [Span(2.04, 5.05), Span(6.04, 7.05)]
    alone = mouth_pieces([line(6.2, 7.2)], speech, heard)
    among = mouth_pieces([line(2.3, 5, number="0"), line(6.2, 7.2), line(9, 10, number="2")], speech, heard)
    assert mouths(work, among[0])[1] == mouths(work, alone[0])[0]


def test_speech_is_detected_in_the_dialogue_where_there_is_one(work: Work) -> None:
    original, dialogue = (Artifact(letter * 64, ".flac", 1) for letter in "ab")
    sound = Sound((original, original), 2, 2 * BLOCK)
    nothing = Energies(0, ())
    separated = (Separated(dialogue, nothing), Separated(None, nothing, worked=False))
    assert clearest(sound, separated) == replace(sound, blocks=(dialogue, original))
    assert clearest(sound, ()) == sound


def test_short_pauses_of_the_speech_are_kept(work: Work) -> None:
    chances = [0.0] * 10 + [0.9] * 20 + [0.1] * 5 + [0.9] * 20 + [0.0] * 10
    detected = listen.Detected(Artifact("a" * 64, ".flac", 1), len(chances) * VAD_FRAME, tuple(chances))
    found = voiced(work, (detected, detected))
    one = [(0.32, 0.96), (1.12, 1.76)]
    whole = len(chances) * 0.032
    assert [(s.start, s.end) for s in found] == [*one, *((round(a + whole, 3), round(b + whole, 3)) for a, b in one)]


def test_a_line_is_spoken_where_it_is_audible(work: Work) -> None:
    first, second = line(1, 4), line(5, 6, "Yes.", "2")
    mouth = Mouth(1.1, 3.8, "1")
    assert phrases([first, second, line(7, 8, " ", "3")], {"1": mouth}, letters) == (
        Phrase(1.1, 3.8, "1", "A", TEXT),
        Phrase(5, 6, "2", "A", "Yes."),
    )


SPLIT = Mouth(1.0, 4.0, "1", (Span(2.2, 2.8),))  # 1.1 s and 1.2 s of text, for 1.2 s and 1.2 s of speech


def test_a_pause_of_the_source_is_re_created_where_the_text_allows_it() -> None:
    assert phrases([line(1, 4)], {"1": SPLIT}, letters) == (
        Phrase(1.0, 2.2, "1.1", "A", "When it rains,"),
        Phrase(2.8, 4.0, "1.2", "A", "we stay at home."),
    )


def cut(room_s: float, pause_s: float, last_s: float) -> Mouth:
    """A mouth that pauses once, from second 1 on."""
    edge = 1 + room_s
    return Mouth(1.0, round(edge + pause_s + last_s, 3), "1", (Span(round(edge, 3), round(edge + pause_s, 3)),))


@pytest.mark.parametrize(
    ("split", "whole", "text"),
    [
        (cut(1.2, 0.36, 1.2), cut(1.2, 0.34, 1.2), TEXT),
        (cut(0.62, 0.6, 1.2), cut(0.58, 0.6, 1.2), "So what? We stay at home."),
        (cut(1.2, 0.6, 1.4), cut(1.2, 0.6, 1.2), "When it rains, we stay all at home."),
        (cut(1.6, 1.0, 1.2), cut(1.2, 1.0, 1.2), "Whenever it starts to. We stay at home."),
        (cut(2.82, 0.6, 2.82), cut(2.82, 0.36, 2.82), f"{'abcde ' * 5}fghij, {'abcde ' * 6}"),
        (cut(2.85, 0.9, 2.95), cut(2.85, 0.5, 2.95), f"{'abcde ' * 5}fghij and {'abcde ' * 6}"),
    ],
    ids=["a short pause", "little speech", "a hurried end", "a pause filled up", "a comma", "a joining word"],
)
def test_a_line_is_parted_only_where_that_is_better(split: Mouth, whole: Mouth, text: str) -> None:
    assert [len(phrases([line(1, 9, text)], {"1": mouth}, letters)) for mouth in (split, whole)] == [2, 1]


@pytest.mark.parametrize(
    ("changed", "mouth"),
    [
        ({"locked": True}, SPLIT),
        ({"text": "Never ever!"}, SPLIT),
        ({"text": "We always just stayed quietly home."}, SPLIT),
        ({}, replace(SPLIT, pauses=())),
    ],
    ids=["locked", "too few words", "no border", "no pause"],
)
def test_a_line_stays_whole(changed: dict[str, object], mouth: Mouth) -> None:
    (phrase,) = phrases([replace(line(1, 4), **changed)], {"1": mouth}, letters)
    assert phrase.id == "1"


def test_a_locked_line_stays_where_a_person_put_it() -> None:
    assert phrases([replace(line(1.3, 3.9), locked=True)], {"1": SPLIT}, letters)[0].start == 1.3


def test_a_line_is_over_before_a_line_that_came_after_it_is_heard() -> None:
    lines = [line(1, 4), line(4, 6, number="2"), line(5, 7, number="3")]
    heard = {"1": Mouth(1, 4.2, "1"), "2": Mouth(3.9, 6.1, "2"), "3": Mouth(4.8, 7, "3")}
    assert [p.end for p in phrases(lines, heard, letters)] == [3.9, 6.1, 7], "2 and 3 were said at once"


TEXTS = st.lists(
    st.sampled_from(["one", "two,", "and", "so.", "1,000", "there;", "Dr.", "home", "今日は、", "行く。"]),
    min_size=1,
    max_size=20,
)


@given(
    TEXTS,
    st.lists(st.tuples(st.integers(200, 3000), st.integers(300, 1500)), max_size=6),
    st.integers(20, 200),
    st.sampled_from(["en", "ja"]),
)
def test_words_are_kept_in_order_and_every_part_is_worth_a_take(
    texts: list[str], rooms: list[tuple[int, int]], per_letter_ms: int, language: str
) -> None:
    at, pauses = 1000, list[Span]()
    for room, pause in rooms:
        pauses.append(Span((at + room) / 1000, (at + room + pause) / 1000))
        at += room + pause
    mouth = Mouth(1.0, (at + 800) / 1000, "7", tuple(pauses))
    text = " ".join(texts)
    whole = replace(line(1, mouth.end, text, "7"), language=language)
    made = phrases([whole], {"7": mouth}, lambda _, said: per_letter_ms / 1000 * sum(c.isalnum() for c in said))
    assert "".join("".join(p.text for p in made).split()) == "".join(text.split())
    assert made[0].start == mouth.start and made[-1].end == mouth.end
    assert all(p.line == "7" and p.speaker == "A" for p in made)
    if len(made) == 1:
        assert made == (Phrase(mouth.start, mouth.end, "7", "A", text),)
        return
    assert [p.id for p in made] == [f"7.{n + 1}" for n in range(len(made))] and len(made) <= 4
    assert all(Span(a.end, b.start) in pauses and b.start - a.end >= SPLIT_PAUSE_S - 1e-9 for a, b in pairwise(made))
    assert all(words(p.text) >= WORDS and p.duration >= LEAST_S for p in made)


def test_real_speech_is_parted_where_the_speaker_pauses(work: Work, shared_data: Path) -> None:
    """Kennedy pauses for half a second before "ask what you can do"."""
    import soundfile

    from polydub.audio.signal import resample

    samples, rate_hz = soundfile.read(shared_data / "media/whisper-jfk/jfk.flac", dtype="float32", always_2d=True)
    sound = resample(samples.T.mean(axis=0, keepdims=True), rate_hz, HEAR_HZ)
    speech = speech_of(work, sound)
    silero = get("vad", "silero")
    with silero.load(silero.options(), {}, "cpu") as vad:
        chances = tuple(vad.probabilities(Audio(sound * np.float32(0.9 / np.abs(sound).max()), HEAR_HZ)))
    spans = voiced(work, (listen.Detected(speech.blocks[0], speech.frames, chances),))
    text = "Y así, compatriotas, no preguntéis qué puede hacer vuestro país por vosotros, preguntad qué podéis hacer por él."
    said = replace(line(0.0, 11.0, text), language="es")
    (piece,) = mouth_pieces([said], speech, spans)
    (mouth,) = mouths(work, piece)
    assert 0.2 < mouth.start < 0.45 and 10.2 < mouth.end < 10.8
    assert len(mouth.pauses) >= 3
    made = phrases([said], {"1": mouth}, lambda _, part: 0.062 * len(part))
    assert len(made) >= 2
    assert any(p.text.startswith("preguntad") and 8.0 < p.start < 8.4 for p in made)
