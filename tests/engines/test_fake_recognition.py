"""The fake recogniser: words wherever there is sound."""

from __future__ import annotations

import numpy as np

from polydub.engines.asr.fake import ENGINE, FakeOptions
from polydub.types import HEAR_HZ, Audio, Segment


def sound(*stretches: tuple[float, float], seconds: float = 6.0) -> Audio:
    samples = np.zeros((1, round(seconds * HEAR_HZ)), np.float32)
    for start, end in stretches:
        samples[0, round(start * HEAR_HZ) : round(end * HEAR_HZ)] = 0.1
    return Audio(samples, HEAR_HZ)


def heard(speech: Audio, text: str = "") -> list[Segment]:
    with ENGINE.load(FakeOptions(text=text), {}, "cpu") as engine:
        return list(engine.transcribe(speech, "es"))


def test_each_stretch_of_sound_is_a_sentence_with_words_that_fill_it() -> None:
    first, second = heard(sound((0.5, 2.0), (3.0, 5.0)))
    assert (first.start, first.end, second.start, second.end) == (0.5, 2.0, 3.0, 5.0)
    for segment in (first, second):
        assert segment.text == " ".join(word.text for word in segment.words)
        assert segment.text[0].isupper() and segment.text.endswith(".")
        assert (segment.words[0].start, segment.words[-1].end) == (segment.start, segment.end)
        assert all(a.end == b.start for a, b in zip(segment.words, segment.words[1:], strict=False))
    assert first.text != second.text


def test_short_pauses_and_clicks_do_not_count() -> None:
    (segment,) = heard(sound((0.5, 1.0), (1.1, 2.0), (4.0, 4.05)))
    assert (segment.start, segment.end) == (0.5, 2.0)


def test_silent_and_empty_sound_have_no_words() -> None:
    assert heard(sound()) == []
    assert heard(sound(seconds=0)) == []


def test_it_says_the_given_text_at_every_stretch() -> None:
    assert [segment.text for segment in heard(sound((0, 1), (2, 3)), "Buenos días.")] == ["Buenos días."] * 2


def test_it_takes_everything_for_english() -> None:
    with ENGINE.load(FakeOptions(), {}, "cpu") as engine:
        assert engine.identify(sound()) == ("en", 0.9)
