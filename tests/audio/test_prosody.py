"""How lines are said is measured right in voices that are known, not at all in noise, and told within narrow limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydub.audio import prosody
from polydub.audio.prosody import Prosody, Told
from polydub.types import HEAR_HZ, PLAIN, Expression

SAID = Prosody(2.0, 1.2, 120.0, 6.0, -20.0)


def voice(seconds: float, hz: float, swing: float, level: float = 0.1) -> NDArray[np.float32]:
    """A buzz in syllables of 0.25 s, whose pitch swings by so many semitones to both sides."""
    at = np.arange(round(seconds * HEAR_HZ)) / HEAR_HZ
    phase = 2 * np.pi * np.cumsum(hz * 2 ** (swing * np.sin(2 * np.pi * 0.7 * at) / 12)) / HEAR_HZ
    buzz = sum(np.sin(n * phase) / n for n in range(1, 8))
    return (level * buzz * np.clip(np.sin(np.pi * at / 0.25) ** 2 + 0.02, 0, 1)).astype(np.float32)


def told(number: int, one: Prosody = SAID, syllables: int = 10, start: float | None = None, speaker: str = "A") -> Told:
    at = number * 3.0 if start is None else start
    return Told(at, at + 2.0, str(number), speaker, syllables, syllables / 5, one)


def test_pitch_movement_loudness_and_time_of_a_voice_are_those_that_it_has() -> None:
    pause = np.zeros(HEAR_HZ // 2, np.float32)
    found = prosody.measure(np.concatenate([pause, voice(1.5, 120, 2), pause, voice(1.5, 120, 2), pause]))
    assert found.median_hz == pytest.approx(120, rel=0.03)
    assert 2.5 < found.spread_semitones < 4.2
    assert found.spoken_s == pytest.approx(3.0, abs=0.2), "pauses do not count"
    assert found.sure


def test_a_louder_a_higher_and_a_livelier_voice_measure_as_such() -> None:
    plain = prosody.measure(voice(2, 120, 2))
    assert prosody.measure(voice(2, 120, 2, 0.2)).lufs - plain.lufs == pytest.approx(6, abs=0.2)
    assert 12 * np.log2(prosody.measure(voice(2, 160, 2)).median_hz / plain.median_hz) == pytest.approx(5, abs=0.4)
    assert prosody.measure(voice(2, 120, 4)).spread_semitones / plain.spread_semitones == pytest.approx(2, abs=0.3)


def test_what_is_no_voice_tells_nothing() -> None:
    noise = np.random.default_rng(1).normal(size=2 * HEAR_HZ).astype(np.float32)
    bursts = noise * (np.sin(2 * np.pi * 2 * np.arange(len(noise)) / HEAR_HZ) > 0)
    for sound in (np.zeros(HEAR_HZ, np.float32), np.zeros(0, np.float32), 0.1 * noise, 0.1 * bursts, voice(0.05, 120, 2)):
        assert not prosody.measure(np.asarray(sound, np.float32)).sure


def test_a_voice_in_noise_measures_as_without_or_not_at_all() -> None:
    clean = voice(3, 150, 3)
    noise = np.random.default_rng(2).normal(size=len(clean)).astype(np.float32)
    for snr_db in (20, 10, 0, -10):
        level = float(clean.std()) * 10 ** (-snr_db / 20)
        found = prosody.measure(clean + np.float32(level) * noise)
        assert not found.sure or 12 * abs(np.log2(found.median_hz / 150)) < 0.5


def test_what_is_usual_is_the_median_of_a_speakers_sure_lines() -> None:
    odd = replace(SAID, median_hz=300.0, lufs=-5.0)
    unsure = replace(SAID, voiced_s=0.1, median_hz=90.0)
    lines = [told(0), told(1, odd), told(2), told(3, unsure), told(4, syllables=1), told(5), replace(told(6), covered=0.5)]
    (way,) = prosody.usual(lines).values()
    assert way == prosody.Usual(4, 1.0, 120.0, 6.0, -20.0)
    assert prosody.usual(lines[:2]) == {}, "two lines do not tell what is usual"


def test_a_line_departs_as_it_differs_from_what_is_usual() -> None:
    hot = Prosody(1.5, 1.0, 150.0, 9.0, -14.0)
    lines = [told(0), told(1), told(2), told(3, hot, 12)]
    found = prosody.deviations(lines, prosody.usual(lines))
    assert found["3"].rate > 1.1 and found["3"].pitch > 1.5 and found["3"].pitch_range > 1.1 and found["3"].energy_db > 3
    assert all(abs(found[id_].pitch) < 0.01 and found[id_].rate == 1 for id_ in ("0", "1", "2"))


def test_the_loudness_of_a_whole_scene_is_left_to_the_mix() -> None:
    loud = replace(SAID, lufs=-12.0)
    lines = [told(n) for n in range(4)] + [told(10 + n, loud, start=60 + 3 * n) for n in range(3)]
    found = prosody.deviations(lines, prosody.usual(lines))
    assert {one.energy_db for one in found.values()} == {0.0}


def test_few_syllables_and_little_voice_tell_little() -> None:
    usual = prosody.usual([told(n) for n in range(3)])
    short, long = (
        prosody.deviations([told(9, Prosody(s, 0.6 * s, 150.0, 9.0, -20.0), round(6 * s))], usual)["9"] for s in (0.6, 4.0)
    )
    assert 1 < short.rate < long.rate and 0 < short.pitch < long.pitch and 1 < short.pitch_range < long.pitch_range


DEPARTURES = st.builds(Expression, st.floats(0.2, 5), st.floats(-24, 24), st.floats(-40, 40), st.floats(0.05, 20))


@given(DEPARTURES, st.floats(0, 1))
def test_nothing_leaves_the_limits_or_the_steps(departure: Expression, strength: float) -> None:
    said = prosody.taken_over(departure, strength)
    assert prosody.RATE[0] <= said.rate <= prosody.RATE[1] and abs(said.pitch) <= prosody.PITCH
    assert abs(said.energy_db) <= prosody.ENERGY_DB and prosody.PITCH_RANGE[0] <= said.pitch_range <= prosody.PITCH_RANGE[1]
    assert said.pitch * 4 == round(said.pitch * 4) and said.energy_db * 2 == round(said.energy_db * 2)
    assert prosody.taken_over(departure, 0.0) == PLAIN


def test_a_small_departure_is_none() -> None:
    assert prosody.taken_over(Expression(1.015, 0.2, 0.4, 1.03), 0.5) == PLAIN
