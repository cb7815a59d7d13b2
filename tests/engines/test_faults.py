"""Engines that listen or separate and go wrong on purpose: every check of checks.py notices what it is for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from checks import (
    buzz,
    check_dialogue,
    check_no_loop,
    check_nothing_invented,
    check_probabilities,
    check_rows,
    check_segments,
    check_silent_outside,
    check_words,
    silence,
)

from polydub.engines import faults
from polydub.engines.base import Engine, Kind
from polydub.types import HEAR_HZ, RATE_HZ, Span, Word


def opened(engine: Engine) -> Any:
    return engine.load(engine.options(), {}, "cpu")


@pytest.mark.parametrize("fault", ["short", "nan"])
def test_bad_probabilities_are_noticed(fault: faults.DetectionFault) -> None:
    sound = buzz(1)
    with opened(faults.detection(fault, good=1)) as vad:
        check_probabilities(vad.probabilities(sound), HEAR_HZ)
        with pytest.raises(AssertionError):
            check_probabilities(vad.probabilities(sound), HEAR_HZ)


@pytest.mark.parametrize("fault", ["reversed", "outside", "nan", "surrogate"])
def test_bad_segments_are_noticed(fault: faults.RecognitionFault) -> None:
    sound = buzz(2)
    with opened(faults.recognition(fault, good=1)) as asr:
        assert check_segments(asr.transcribe(sound, "en"), sound.duration)
        with pytest.raises((AssertionError, UnicodeEncodeError)):
            check_segments(asr.transcribe(sound, "en"), sound.duration)


def test_invented_words_are_noticed_though_they_are_well_formed() -> None:
    with opened(faults.recognition("hallucinate", good=1)) as asr:
        check_nothing_invented(asr.transcribe(silence(HEAR_HZ), "en"))
        found = check_segments(asr.transcribe(silence(HEAR_HZ), "en"), 1.0)
        with pytest.raises(AssertionError):
            check_nothing_invented(found)


def test_a_loop_is_noticed_though_it_is_well_formed() -> None:
    sound = buzz(2)
    with opened(faults.recognition("repeat", good=1)) as asr:
        check_no_loop(list(asr.transcribe(sound, "en")))
        found = check_segments(asr.transcribe(sound, "en"), sound.duration)
        with pytest.raises(AssertionError):
            check_no_loop(found)


@pytest.mark.parametrize(
    "found",
    [
        (Word(0, 1, "one"),),
        (Word(0, 1, "one"), Word(1, 2, "Two")),
        (Word(1, 2, "one"), Word(0, 1, "two")),
        (Word(0, 1, "one"), Word(1, 9, "two")),
        (Word(0, 1, "one"), Word(math.nan, math.nan, "two")),
    ],
    ids=["few", "spelt otherwise", "order", "outside", "nan"],
)
def test_bad_words_are_noticed(found: tuple[Word, ...]) -> None:
    check_words((Word(0, 1, "one"), Word(1, 2, "two")), "one two", 2.0)
    with pytest.raises(AssertionError):
        check_words(found, "one two", 2.0)


@pytest.mark.parametrize("fault", ["nan", "not-unit"])
def test_bad_rows_are_noticed(fault: faults.EncodingFault) -> None:
    windows = (Span(0, 0.5), Span(0.5, 1))
    with opened(faults.encoding(fault, good=1)) as encoder:
        check_rows(encoder.embed(buzz(1), windows), windows)
        with pytest.raises(AssertionError):
            check_rows(encoder.embed(buzz(1), windows), windows)


@pytest.mark.parametrize("fault", ["nan", "shape", "none"])
def test_bad_dialogue_is_noticed(fault: faults.SeparationFault) -> None:
    sound, speech = buzz(2, RATE_HZ, 2), (Span(0.7, 1.3),)
    with opened(faults.separation(fault, good=1)) as separator:
        check_silent_outside(check_dialogue(separator.separate(sound, speech), sound), sound, speech)
        with pytest.raises(AssertionError):
            check_dialogue(separator.separate(sound, speech), sound)


def test_dialogue_where_nobody_speaks_is_noticed() -> None:
    sound = buzz(3, RATE_HZ)
    with pytest.raises(AssertionError):
        check_silent_outside(sound.samples, sound, (Span(0.5, 1.0),))


CRASHES: Mapping[Kind, tuple[Engine, Callable[[Any], object]]] = {
    "vad": (faults.detection("crash", good=1), lambda vad: vad.probabilities(buzz(1))),
    "asr": (faults.recognition("crash", good=1), lambda asr: list(asr.transcribe(buzz(1), "en"))),
    "embedding": (faults.encoding("crash", good=1), lambda encoder: encoder.embed(buzz(1), [Span(0, 1)])),
    "separation": (faults.separation("crash", good=1), lambda separator: separator.separate(buzz(1, RATE_HZ), ())),
}


@pytest.mark.parametrize("kind", CRASHES)
def test_a_fault_engine_crashes_only_after_its_good_calls(kind: Kind) -> None:
    engine, use = CRASHES[kind]
    with opened(engine) as loaded:
        use(loaded)
        with pytest.raises(RuntimeError):
            use(loaded)


def test_a_recogniser_that_hangs_ends_when_it_is_closed() -> None:
    with ThreadPoolExecutor(1) as pool:
        with opened(faults.recognition("hang")) as asr:
            call = pool.submit(lambda: list(asr.transcribe(buzz(1), "en")))
            with pytest.raises(TimeoutError):
                call.result(0.1)
        assert call.result(60)
