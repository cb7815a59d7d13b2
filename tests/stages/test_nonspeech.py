"""What is laughed, sobbed and sung stays; what may be the original's speech does not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixing_desk import Desk, noise

from polydub.audio import loudness
from polydub.stages.bedding import Bedding, Laying, blocks
from polydub.stages.nonspeech import Heard, Nonspeech, holes, nonspeech, without
from polydub.types import RATE_HZ, Energies, Notice, Segment, Span, Word


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def energies(loud: Sequence[tuple[float, float]], film_s: float = 30.0) -> tuple[Energies, ...]:
    """Dialogue at -20 LUFS or so in these spans, silence elsewhere."""
    cells = np.zeros(round(film_s * 10))
    for start, end in loud:
        cells[round(start * 10) : round(end * 10)] = 0.01 * loudness.CELL
    return (Energies(0, tuple(cells.tolist())),)


def segment(
    start: float, end: float, kind: str = "speech", text: str = "so it is", words: Sequence[tuple[float, float]] = ()
) -> Segment:
    return Segment(start, end, "1", "A", text, tuple(Word(a, b, "so") for a, b in words), kind)  # type: ignore[arg-type]


def decide(
    desk: Desk, segments: Sequence[Segment], loud: Sequence[tuple[float, float]], **more: object
) -> tuple[Nonspeech, list[Notice]]:
    lines = tuple(Span(s.start, s.end) for s in segments if s.kind == "speech")
    speech = more.get("speech", lines)
    heard = Heard(lines, tuple(segments), speech, speech, energies(loud), bool(more.get("recognised", True)), -20.0)  # type: ignore[arg-type]
    work = desk.work()
    return nonspeech.function(work, heard), work.notices


def test_a_laugh_between_two_lines_is_kept_and_silence_is_not(desk: Desk) -> None:
    talk = [segment(1, 3), segment(4.4, 6), segment(6.6, 9)]
    found, notices = decide(desk, talk, [(1, 6), (6.6, 9)])
    (kept,) = found.kept
    assert 3.15 <= kept.start < 3.4 and 4.0 < kept.end <= 4.25
    assert found.gone == () and not notices


def test_a_laugh_far_from_lines_stays_and_counts(desk: Desk) -> None:
    found, _ = decide(desk, [segment(1, 3), segment(15, 17)], [(1, 3), (8, 10.5), (15, 17)])
    assert found.gone == () and found.seconds == pytest.approx(2.5, abs=0.3)


def test_a_laugh_between_the_words_of_a_line_is_kept_where_their_times_were_heard(desk: Desk) -> None:
    words = [(1.0, 1.5), (1.5, 2.0), (4.0, 4.5), (4.5, 5.0)]
    speech = (Span(1, 2.1), Span(3.9, 5))
    found, _ = decide(desk, [segment(1, 5, words=words)], [(1, 5)], speech=speech)
    (kept,) = found.kept
    assert kept.start >= 2.15 and kept.end <= 3.85
    assert decide(desk, [segment(1, 5)], [(1, 5)], speech=speech)[0].kept == (), "nobody knows where the words are"


def test_what_the_detector_takes_for_speech_is_never_kept_between_lines(desk: Desk) -> None:
    found, _ = decide(desk, [segment(1, 3), segment(5, 7)], [(1, 7)], speech=(Span(1, 7),))
    assert found.kept == ()


def test_a_line_that_recognition_missed_goes_and_is_told(desk: Desk) -> None:
    speech = (Span(1, 3), Span(8, 10.5), Span(15, 17))
    found, (notice,) = decide(desk, [segment(1, 3), segment(15, 17)], [(1, 3), (8, 10.5), (15, 17)], speech=speech)
    assert found.gone == (Span(8, 10.5),) and found.seconds == 0
    assert notice.code == "speech-without-line" and notice.severity == "warning" and "2.5 s" in notice.text


def test_what_a_given_text_leaves_out_stays_and_is_told(desk: Desk) -> None:
    speech = (Span(1, 3), Span(8, 10.5), Span(15, 17))
    found, (notice,) = decide(desk, [segment(1, 3), segment(15, 17)], [(1, 17)], speech=speech, recognised=False)
    assert found.gone == () and notice.severity == "info"


@pytest.mark.parametrize(
    ("kind", "text", "stays"),
    [("song", "♪ la la ♪", True), ("nonverbal", "[laughs]", True), ("nonverbal", "[whispering]", False)],
)
def test_what_a_text_calls_a_song_or_a_sound_stays_whatever_the_detector_says(
    desk: Desk, kind: str, text: str, stays: bool
) -> None:
    talk = [segment(1, 3), segment(3.2, 5.2, kind, text), segment(5.4, 7)]
    found, _ = decide(desk, talk, [(1, 7)], speech=(Span(1, 7),))
    assert bool(found.kept) == stays
    assert all(s.start >= 3.1 and s.end <= 5.3 for s in found.kept)


SPANS = st.lists(st.builds(lambda a, d: Span(a / 10, (a + d) / 10), st.integers(0, 200), st.integers(1, 40)), max_size=8)


@given(SPANS, SPANS)
def test_what_is_without_others_is_in_the_first_and_in_none_of_them(spans: list[Span], others: list[Span]) -> None:
    left = without(spans, others)
    for tenth in np.arange(0.05, 25, 0.1):
        inside = any(s.start <= tenth < s.end for s in spans) and not any(s.start <= tenth < s.end for s in others)
        assert inside == any(s.start <= tenth < s.end for s in left)


def test_what_is_kept_is_heard_at_its_level_fades_and_is_never_under_a_take(desk: Desk) -> None:
    laugh, film_s = noise(12, 0.05, seed=2), 12
    source, dialogue = noise(film_s, 0.001) + laugh, laugh
    laid = [Laying(desk.file(noise(1, 0.1, seed=3)), 4 * RATE_HZ, RATE_HZ, 0.0)]
    how = Bedding(12.0, desk.sound(dialogue).blocks, nonspeech=Nonspeech(kept=(Span(3, 7),)))
    bed = desk.rendered(list(blocks(desk.sound(source), laid, [Span(1, 3), Span(7, 9)], how)))

    def share(start: float, end: float) -> float:
        part = slice(round(start * RATE_HZ), round(end * RATE_HZ))
        return float((bed[:, part] * laugh[:, part]).sum() / np.square(laugh[:, part]).sum())

    assert share(1.5, 2.5) == pytest.approx(0, abs=0.02), "under a line"
    assert share(4.0, 5.0) == pytest.approx(0, abs=0.02), "under a take"
    assert share(3.3, 3.7) == pytest.approx(1, abs=0.02) and share(5.3, 6.7) == pytest.approx(1, abs=0.02)
    ramp = [share(5.1 + n / 100, 5.11 + n / 100) for n in range(0, 15)]
    assert all(b >= a - 0.03 for a, b in pairwise(ramp)) and 0.2 < ramp[7] < 0.8


def test_too_little_that_would_be_left_beside_a_take_goes(desk: Desk) -> None:
    assert holes(Nonspeech(kept=(Span(1, 3),)), [Span(1.3, 2.8)]) == ()
    assert holes(Nonspeech(kept=(Span(1, 3),)), [Span(0, 1.5)]) == (Span(1.5, 3),)


def test_what_goes_without_a_line_is_taken_out_and_nothing_else_changes_a_block(desk: Desk) -> None:
    speech, room = noise(6, 0.05, seed=2), noise(6, 0.001)
    sound, dialogue = desk.sound(room + speech), desk.sound(speech).blocks
    plain = list(blocks(sound, (), [Span(0.5, 1)], Bedding(12.0, dialogue)))
    assert plain == list(blocks(sound, (), [Span(0.5, 1)], Bedding(12.0, dialogue, nonspeech=Nonspeech(seconds=2.0))))
    bed = desk.rendered(
        list(blocks(sound, (), [Span(0.5, 1)], Bedding(12.0, dialogue, nonspeech=Nonspeech(gone=(Span(3, 4),)))))
    )
    assert np.abs(bed[:, 3 * RATE_HZ : 4 * RATE_HZ]).max() < 0.01 < np.abs(bed[:, 5 * RATE_HZ :]).max()
