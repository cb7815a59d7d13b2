"""What all recognisers share: cutting sound, grouping words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from polydub.engines.asr.hearing import grouped, heard, in_order, joined, readable, spread, stretches
from polydub.types import HEAR_HZ, Audio, Word


def speech(*parts: tuple[float, float]) -> Audio:
    """Noise in parts of (seconds, level)."""
    rng = np.random.default_rng(0)
    made = [rng.normal(0, 1, round(length * HEAR_HZ)) * level for length, level in parts]
    return Audio(np.concatenate(made).astype(np.float32)[None], HEAR_HZ)


def test_long_sound_is_cut_in_pauses_and_nothing_is_lost() -> None:
    sound = speech((8, 0.1), (0.3, 0.001), (8, 0.1), (0.3, 0.001), (5, 0.1))
    found = list(stretches(sound, 10))
    assert [start for start, _ in found] == pytest.approx([0, 8.15, 16.45], abs=0.1)
    assert np.concatenate([part.samples for _, part in found], axis=1).tobytes() == sound.samples.tobytes()
    assert all(part.duration <= 10 for _, part in found)


@pytest.mark.parametrize("seconds", [0, 0.01, 1, 10, 10.001, 95])
def test_no_stretch_is_too_long_wherever_it_has_to_be_cut(seconds: float) -> None:
    sound = Audio(np.zeros((1, round(seconds * HEAR_HZ)), np.float32), HEAR_HZ)
    found = list(stretches(sound, 10))
    assert sum(part.samples.shape[1] for _, part in found) == sound.samples.shape[1]
    assert all(0 < part.duration <= 10 for _, part in found)
    assert all(a[0] + a[1].duration == pytest.approx(b[0], abs=0.001) for a, b in pairwise(found))
    assert len(found) <= 1 + seconds / 5.9


def words(*spans: tuple[float, float, str]) -> list[Word]:
    return [Word(start, end, text, 0.5) for start, end, text in spans]


def test_segments_end_with_sentences_and_before_pauses() -> None:
    found = list(
        grouped(words((0, 1, "One."), (1, 2, "Two"), (2, 3, "three"), (4, 5, "four"), (5, 6, "five?”"), (6, 7, "six")))
    )
    assert [segment.text for segment in found] == ["One.", "Two three", "four five?”", "six"]
    assert [(segment.start, segment.end) for segment in found] == [(0, 1), (1, 3), (4, 6), (6, 7)]


def test_no_segment_goes_on_for_ever() -> None:
    found = list(grouped(Word(n * 0.5, n * 0.5 + 0.5, "word") for n in range(200)))
    assert max(segment.duration for segment in found) <= 15
    assert sum(len(segment.words) for segment in found) == 200


def test_words_are_put_in_order_inside_the_sound() -> None:
    nan, inf = float("nan"), float("inf")
    odd = words(
        (-1, 0.5, "a"), (2, 1, "b"), (1, 3, "c"), (nan, inf, "d"), (9, 99, "e"), (4, 5, " \ufffd "), (9.5, 9.7, "\ud800f")
    )
    found = list(in_order(odd, 9.6))
    assert [word.text for word in found] == ["a", "b", "c", "d", "e", "f"]
    assert all(0 <= word.start <= word.end <= 9.6 for word in found)
    assert all(a.start <= b.start for a, b in pairwise(found))


def test_texts_are_joined_as_their_script_wants() -> None:
    assert joined(["Hello", ",", "world", "!"]) == "Hello, world!"
    assert joined(["你", "好", "。"]) == "你好。"
    assert joined([]) == ""
    assert readable(" a\ufffd\ud800b ") == "ab"


def test_a_text_without_times_is_laid_over_the_sound_by_length() -> None:
    found = spread("A considerably longer word", 2.0, 6.0)
    assert (found[0].start, found[-1].end) == (2.0, 6.0)
    assert all(word.estimated and word.confidence is None for word in found)
    assert found[1].duration > 3 * found[0].duration
    assert all(a.end == b.start for a, b in pairwise(found))
    assert spread("  ", 0, 1) == ()
    assert [word.text for word in spread("你好", 0, 1)] == ["你", "好"]


def test_words_of_stretches_get_the_times_of_the_whole_and_are_asked_for_one_by_one() -> None:
    asked: list[float] = []

    def words_of(part: Audio) -> list[Word]:
        asked.append(part.duration)
        return words((0.0, 0.5, "Begin."), (part.duration - 0.1, part.duration + 5, "end."))

    sound = speech((25, 0.1))
    found = heard(sound, 10, words_of)
    assert next(found).text == "Begin." and len(asked) == 1
    rest = list(found)
    assert [segment.text for segment in rest] == ["end.", "Begin.", "end.", "Begin.", "end."][: len(rest)]
    assert rest[-1].end == sound.duration and sum(asked) == pytest.approx(25)
    assert list(heard(Audio(np.zeros((1, 100), np.float32), HEAR_HZ), 10, words_of)) == []
