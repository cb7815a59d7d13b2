"""Masks take apart what they should and nothing else, and depend on what is near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydub.audio import stems
from polydub.types import RATE_HZ, Samples, Span

HOP = stems.WINDOW // 4


def noise(seconds: float, seed: int = 0) -> Samples:
    return (0.05 * np.random.default_rng(seed).normal(size=round(seconds * RATE_HZ))).astype(np.float32)


def buzz(seconds: float, speech: list[Span], pitch_hz: float = 150.0) -> Samples:
    """A voiced sound inside the spans, in syllables of a quarter of a second."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 12)) * np.sin(np.pi * 4 * t) ** 2
    return (0.2 * wave * stems.gate(speech, len(t))).astype(np.float32)


def si_sdr(true: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    part = (found @ true) / (true @ true) * true
    return float(10 * np.log10((part @ part) / ((found - part) @ (found - part))))


SPEECH = [Span(1.0, 2.2), Span(2.8, 4.0), Span(4.6, 6.0)]


@pytest.mark.parametrize("frames", [0, 1, 479, 4095, 4096, 30_001])
def test_frames_joined_again_are_the_sound(frames: int) -> None:
    sound = noise(1)[:frames]
    for window, hop in ((stems.hann(), HOP), (np.full(960, np.sqrt(0.5), np.float32), 480)):
        again = stems.joined(stems.framed(sound, window, hop), window, hop, frames)
        assert again.shape == (frames,) and again.dtype == np.float32
        assert np.abs(again - sound).max(initial=0) < 1e-6


@given(st.integers(1, 8), st.integers(0, 9000))
def test_an_open_mask_lets_everything_through_and_a_closed_one_nothing(channels: int, frames: int) -> None:
    sound = np.stack([noise(0.2, c)[:frames] for c in range(channels)])
    shape = (len(stems.framed(sound[0], stems.hann(), HOP)), stems.WINDOW // 2 + 1)
    assert np.abs(stems.masked(sound, np.ones(shape, np.float32)) - sound).max(initial=0) < 1e-6
    assert not stems.masked(sound, np.zeros(shape, np.float32)).any()


def test_the_gate_is_open_inside_shut_outside_and_never_jumps() -> None:
    curve = stems.gate([Span(0.5, 1.0), Span(1.5, 1.7)], 2 * RATE_HZ)
    t = np.arange(len(curve)) / RATE_HZ
    outside = (t < 0.5) | ((t > 1.0) & (t < 1.5)) | (t > 1.7)
    inside = ((t > 0.53) & (t < 0.97)) | ((t > 1.53) & (t < 1.67))
    assert not curve[outside].any() and (curve[inside] == 1).all()
    assert np.abs(np.diff(curve)).max() < 2e-3


def test_the_gate_stays_open_where_spans_touch_and_bears_spans_beyond_the_sound() -> None:
    curve = stems.gate([Span(0.0, 0.5), Span(0.5, 9.0)], RATE_HZ)
    assert (curve[round(0.1 * RATE_HZ) :] == 1).all()
    assert not stems.gate([Span(2.0, 3.0)], RATE_HZ).any()
    assert stems.gate([], 0).shape == (0,)


def test_the_ratio_mask_is_the_share_of_the_dialogue() -> None:
    mix = noise(0.5)
    assert np.allclose(stems.ratio_mask(mix, mix), 1, atol=1e-6)
    assert not stems.ratio_mask(mix, np.zeros_like(mix)).any()
    assert np.allclose(stems.ratio_mask(mix, mix / 2), 0.5, atol=1e-4)
    silent = stems.ratio_mask(np.zeros_like(mix), np.zeros_like(mix))
    assert np.isfinite(silent).all() and not silent.any()


def test_speech_is_told_from_a_steady_background() -> None:
    speech, background = buzz(7, SPEECH), noise(7)
    mask = stems.pause_mask(speech + background, SPEECH)
    assert mask is not None and mask.min() >= 0 and mask.max() <= 1
    found = stems.masked((speech + background)[None], mask)[0]
    assert si_sdr(speech, found) > si_sdr(speech, speech + background) + 5
    assert si_sdr(background, speech + background - found) > si_sdr(background, speech + background) + 12


def test_what_is_too_low_for_a_voice_stays_in_the_background() -> None:
    low = (0.3 * np.sin(2 * np.pi * 40 * np.arange(7 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    low[: RATE_HZ // 2] = 0  # not heard in the first pause
    speech = buzz(7, SPEECH)
    mask = stems.pause_mask(speech + low, SPEECH)
    assert mask is not None
    found = stems.masked((speech + low)[None], mask)[0]
    assert abs(found @ low) / (low @ low) < 0.01


@pytest.mark.parametrize("speech", [[Span(0.0, 4.0)], [Span(0.0, 1.9), Span(2.1, 4.0)]])
def test_without_pauses_there_is_no_mask(speech: list[Span]) -> None:
    assert stems.pause_mask(noise(4), speech) is None
    assert stems.pause_mask(noise(4)[:0], []) is None


def test_the_mask_does_not_depend_on_level() -> None:
    mix = buzz(7, SPEECH) + noise(7)
    loud, quiet = stems.pause_mask(mix, SPEECH), stems.pause_mask(mix * np.float32(0.001), SPEECH)
    assert loud is not None and quiet is not None
    assert np.abs(loud - quiet).max() < 1e-3


def test_digital_silence_gives_a_finite_mask() -> None:
    mask = stems.pause_mask(np.zeros(7 * RATE_HZ, np.float32), SPEECH)
    assert mask is not None and np.isfinite(mask).all()


def test_what_is_far_away_changes_nothing() -> None:
    seconds, reach = 2 * stems.FAR_S + 6, stems.FAR_S + stems.WINDOW / RATE_HZ
    middle = seconds / 2
    speech = [Span(middle - 0.5, middle + 0.5)]
    mix = buzz(seconds, speech) + noise(seconds)
    other = mix.copy()
    other[: round((middle - 0.5 - reach) * RATE_HZ)] *= 30
    other[round((middle + 0.5 + reach) * RATE_HZ) :] = 0
    one, two = stems.pause_mask(mix, speech), stems.pause_mask(other, speech)
    assert one is not None and two is not None and one.any()
    assert np.abs(one - two).max() < 1e-5
