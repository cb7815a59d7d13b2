"""The bed steps back under speech, takes land on their samples, and blocks agree at their borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio.mix import PAD_S, RAMP_S, Ducking, Laid, duck, lay, part
from polydub.audio.signal import decibels, gain, peaks, resample, scaled
from polydub.types import RATE_HZ, Span, bridged

HOW = Ducking(15.0)


def test_the_bed_is_at_its_depth_under_speech_and_untouched_far_from_it() -> None:
    curve = duck([Span(2, 4)], 0, 8 * RATE_HZ, HOW)
    assert np.allclose(curve[2 * RATE_HZ : 4 * RATE_HZ], gain(-15), atol=1e-3)
    assert np.all(curve[: int(1.87 * RATE_HZ)] == 1)
    assert np.all(curve[int(4.36 * RATE_HZ) :] == 1)
    assert np.abs(np.diff(curve)).max() < 0.01


@given(first=st.integers(0, 300_000), frames=st.integers(1, 100_000))
def test_ducking_does_not_depend_on_where_a_block_begins(first: int, frames: int) -> None:
    spans = [Span(0.5, 1.7), Span(3.0, 4.2), Span(6, 6.5)]
    whole = duck(spans, 0, 410_000, HOW)
    assert np.allclose(duck(spans, first, frames, HOW), whole[first : first + frames], atol=1e-6)


def test_dialogue_goes_under_the_talk_and_nothing_else_is_touched() -> None:
    source, dialogue = part([Span(2, 4)], [], 0, 6 * RATE_HZ, HOW)
    reach = round((PAD_S + RAMP_S) * RATE_HZ) + 48
    assert np.all(source == 1)
    assert np.all(dialogue[round((2 - PAD_S) * RATE_HZ) + 48 : round((4 + PAD_S) * RATE_HZ) - 48] == 1)
    assert not dialogue[: 2 * RATE_HZ - reach].any()
    assert not dialogue[4 * RATE_HZ + reach :].any()
    assert np.abs(np.diff(dialogue)).max() < 0.001


def test_what_could_not_be_separated_is_ducked_and_the_change_is_gradual() -> None:
    spans, failed = [Span(1, 5)], [Span(3, 9)]
    source, dialogue = part(spans, failed, 0, 9 * RATE_HZ, HOW)
    before, behind = slice(2 * RATE_HZ, round(2.9 * RATE_HZ)), slice(round(3.1 * RATE_HZ), 9 * RATE_HZ)
    assert np.all(source[before] == 1)
    assert np.all(dialogue[before] == 1)
    assert np.allclose(source[behind], duck(spans, 0, 9 * RATE_HZ, HOW)[behind], atol=1e-6)
    assert not dialogue[behind].any()
    assert max(np.abs(np.diff(source)).max(), np.abs(np.diff(dialogue)).max()) < 0.001


@given(first=st.integers(0, 300_000), frames=st.integers(1, 100_000))
def test_parting_does_not_depend_on_where_a_block_begins(first: int, frames: int) -> None:
    spans, failed = [Span(0.5, 1.7), Span(3.0, 4.2), Span(6, 6.5)], [Span(3.7, 5)]
    whole = part(spans, failed, 0, 410_000, HOW)
    for piece, curve in zip(part(spans, failed, first, frames, HOW), whole, strict=True):
        assert np.allclose(piece, curve[first : first + frames], atol=1e-6)


def test_without_speech_nothing_is_ducked() -> None:
    assert np.all(duck([], 0, 1000, HOW) == 1)


def test_short_pauses_are_bridged() -> None:
    spans = [Span(3, 4), Span(0, 1), Span(1.5, 2), Span(1.2, 1.4)]
    assert bridged(spans, 0.8) == (Span(0, 2), Span(3, 4))
    assert bridged([], 1) == ()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_take_lies_on_its_sample_with_its_gain(channels: int) -> None:
    take = np.ones((1, 100), np.float32)
    track = lay([Laid(take, 50, -6.0206), Laid(take, 120, 0)], 0, 300, channels)
    assert track.shape == (channels, 300)
    assert np.allclose(track[:, 50:120], 0.5, atol=1e-4)
    assert np.allclose(track[:, 120:150], 1.5, atol=1e-4)
    assert np.all(track[:, :50] == 0)
    assert np.all(track[:, 220:] == 0)


@given(cut=st.integers(0, 500))
def test_two_blocks_hold_what_one_holds(cut: int) -> None:
    rng = np.random.default_rng(0)
    takes = [Laid(rng.normal(size=(1, 120)).astype(np.float32), start, 0.0) for start in (-20, 90, 300, 450)]
    whole = lay(takes, 0, 500, 2)
    halves = np.concatenate([lay(takes, 0, cut, 2), lay(takes, cut, 500 - cut, 2)], axis=1)
    assert np.array_equal(whole, halves)


def test_stereo_speech_becomes_mono_where_the_film_is_mono() -> None:
    both = np.stack([np.ones(10), np.zeros(10)]).astype(np.float32)
    assert np.allclose(lay([Laid(both, 0, 0)], 0, 10, 1), 0.5)
    assert np.allclose(lay([Laid(both, 0, 0)], 0, 10, 2), both)


def test_resampling_keeps_pitch_level_and_length() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)[np.newaxis]
    made = resample(tone, 22_050, RATE_HZ)
    assert made.shape == (1, RATE_HZ)
    assert np.argmax(np.abs(np.fft.rfft(made[0]))) == 440
    assert np.abs(made[0, 1000:-1000]).max() == pytest.approx(1, abs=0.01)
    assert resample(tone[:, :0], 22_050, RATE_HZ).shape == (1, 0)


def test_peaks_and_decibels() -> None:
    sound = np.array([[0.1, -0.5, 0.2, 0.3, 0.9]], np.float32)
    assert peaks(sound, 2).tolist() == pytest.approx([0.5, 0.3, 0.9])
    assert peaks(sound[:, :0], 2).size == 0
    assert decibels(gain(-7.5)) == pytest.approx(-7.5)
    assert decibels(0) == -120
    assert scaled(sound, 2.0).dtype == np.float32
