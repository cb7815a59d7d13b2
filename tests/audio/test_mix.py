"""The bed steps back under speech, takes land on their samples, and blocks agree at their borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio.layouts import dialogue_gains
from polydub.audio.mix import BRIDGE_S, CELL, PAD_S, RAMP_S, Ducking, Held, Laid, Voice, duck, lay, spread, taken, voice
from polydub.audio.signal import decibels, gain, peaks, resample, scaled
from polydub.audio.trim import shape
from polydub.spans import bridged
from polydub.types import RATE_HZ, Samples, Span

HOW = Ducking(15.0)


def held(*spans: tuple[float, float], depth_db: float = 15.0) -> list[Held]:
    return [Held(start, end, depth_db) for start, end in spans]


def talking(seconds: float, *spans: tuple[float, float], level: float = 0.1) -> Samples:
    """A dub that hums in `spans`."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    inside = np.any([(time >= start) & (time < end) for start, end in spans], axis=0)
    return (level * np.sin(2 * np.pi * 200 * time) * inside).astype(np.float32)[np.newaxis]


def test_the_bed_is_at_its_depth_under_speech_and_untouched_far_from_it() -> None:
    curve = duck(held((2, 4)), None, (0, 8 * RATE_HZ), HOW)
    assert np.allclose(curve[2 * RATE_HZ : 4 * RATE_HZ], gain(-15), atol=1e-3)
    assert np.all(curve[: int(1.87 * RATE_HZ)] == 1)
    assert np.all(curve[int(4.36 * RATE_HZ) :] == 1)
    assert np.abs(np.diff(curve)).max() < 0.01


@pytest.mark.parametrize(("attack_s", "release_s"), [(0.05, 0.2), (1.0, 2.0)])
def test_attack_and_release_are_as_long_as_wished(attack_s: float, release_s: float) -> None:
    curve = duck(held((4, 5)), None, (0, 10 * RATE_HZ), Ducking(15.0, attack_s, release_s))
    lowered = np.flatnonzero(curve < gain(-0.01)) / RATE_HZ
    assert lowered[0] == pytest.approx(4 - attack_s, abs=0.03 * attack_s + 0.002)
    assert lowered[-1] == pytest.approx(5 + release_s, abs=0.03 * release_s + 0.002)
    middle = 10 ** (-15 / 2 / 20)
    assert curve[round((5 + release_s / 2) * RATE_HZ)] == pytest.approx(middle, rel=0.01)


def test_the_dub_itself_lowers_the_bed_and_lets_it_up_in_its_long_pauses() -> None:
    dub = talking(9, (1, 3), (3.5, 4), (6, 7))
    curve = duck([], voice(dub, 0), (0, 9 * RATE_HZ), HOW)
    for moment, down in ((0.8, False), (1.1, True), (3.2, True), (3.9, True), (5, False), (6.5, True), (7.5, False)):
        assert curve[round(moment * RATE_HZ)] == pytest.approx(gain(-15) if down else 1, abs=1e-3), moment


def test_a_soft_dub_lowers_the_bed_less_and_its_noise_not_at_all() -> None:
    depths = []
    for level in (-30, -45, -60):
        curve = duck([], voice(talking(6, (2, 4), level=gain(level + 3)), 0), (0, 6 * RATE_HZ), HOW)
        depths.append(-decibels(float(curve.min())))
    assert depths == pytest.approx([15, 7.5, 0], abs=0.3)


def test_the_original_stays_down_while_the_dub_pauses() -> None:
    dub = talking(9, (1, 3))
    curve = duck(held((1, 7)), voice(dub, 0), (0, 9 * RATE_HZ), HOW)
    assert np.allclose(curve[1 * RATE_HZ : 7 * RATE_HZ], gain(-15), atol=1e-3)


def test_the_deepest_wish_counts() -> None:
    curve = duck([*held((1, 5), depth_db=3.0), *held((2, 3), depth_db=9.0)], None, (0, 6 * RATE_HZ), HOW)
    assert curve[round(2.5 * RATE_HZ)] == pytest.approx(gain(-9), rel=1e-3)
    assert curve[round(4.5 * RATE_HZ)] == pytest.approx(gain(-3), rel=1e-3)


LONG = talking(30, (2, 6), (6.5, 11), (15, 15.2), (20, 27))


@given(first=st.integers(4 * RATE_HZ, 12 * RATE_HZ), frames=st.integers(1, 12 * RATE_HZ))
def test_ducking_does_not_depend_on_where_a_block_begins(first: int, frames: int) -> None:
    spans = held((0.5, 7.2), (9.0, 9.2)) + held((9.1, 12), depth_db=4.0)
    whole = duck(spans, voice(LONG, 0), (0, LONG.shape[1]), HOW)[first : first + frames]
    reach = round(HOW.reach_s * RATE_HZ)
    begin, end = (first - reach) // CELL * CELL, first + frames + reach
    near = [Held(max(h.start, begin / RATE_HZ), min(h.end, end / RATE_HZ), h.depth_db) for h in spans]
    near = [h for h in near if h.end > h.start]
    assert np.array_equal(duck(near, voice(LONG[:, begin:end], begin), (first, first + frames), HOW), whole)


def test_silence_has_no_voice() -> None:
    for frames in (0, 5 * CELL):
        found = voice(np.zeros((2, frames), np.float32), 7 * CELL)
        assert (found.first, len(found.presence), found.presence.sum()) == (7, frames // CELL, 0)
    assert np.all(duck([], Voice(0, np.zeros(0)), (0, 1000), HOW) == 1)


def test_the_voice_counts_only_where_it_may() -> None:
    found = voice(talking(8, (1, 6)), 0, [Span(3, 5)])
    assert np.flatnonzero(found.presence).tolist() == list(range(300, 500))


def test_a_pause_is_closed_exactly_when_it_is_short() -> None:
    for pause, closed in ((BRIDGE_S - 0.05, True), (BRIDGE_S + 0.05, False)):
        found = voice(talking(8, (1, 3), (3 + pause, 6)), 0)
        assert bool(found.presence[100:590].all()) == closed


def test_dialogue_goes_under_the_talk_and_nothing_else_is_touched() -> None:
    dialogue = taken([Span(2, 4)], [], (0, 6 * RATE_HZ))
    reach = round((PAD_S + RAMP_S) * RATE_HZ) + 48
    assert np.all(dialogue[round((2 - PAD_S) * RATE_HZ) + 48 : round((4 + PAD_S) * RATE_HZ) - 48] == 1)
    assert not dialogue[: 2 * RATE_HZ - reach].any()
    assert not dialogue[4 * RATE_HZ + reach :].any()
    assert np.abs(np.diff(dialogue)).max() < 0.001


def test_nothing_is_taken_out_where_nothing_could_be_separated() -> None:
    dialogue = taken([Span(1, 5)], [Span(3, 9)], (0, 9 * RATE_HZ))
    assert np.all(dialogue[2 * RATE_HZ : round(2.9 * RATE_HZ)] == 1)
    assert not dialogue[3 * RATE_HZ :].any()
    assert np.abs(np.diff(dialogue)).max() < 0.001


@given(first=st.integers(0, 300_000), frames=st.integers(1, 100_000))
def test_taking_out_does_not_depend_on_where_a_block_begins(first: int, frames: int) -> None:
    spans, failed = [Span(0.5, 1.7), Span(3.0, 4.2), Span(6, 6.5)], [Span(3.7, 5)]
    whole = taken(spans, failed, (0, 410_000))
    assert np.array_equal(taken(spans, failed, (first, first + frames)), whole[first : first + frames])


def test_without_speech_nothing_is_ducked() -> None:
    assert np.all(duck([], None, (0, 1000), HOW) == 1)


def bends(samples: Samples) -> float:
    """The sharpest bend of a sound: a click has one."""
    return float(np.abs(np.diff(samples.astype(np.float64), 2)).max())


SINE = np.sin(2 * np.pi * 100 * np.arange(10 * RATE_HZ) / RATE_HZ).astype(np.float32)[np.newaxis]


def test_no_fade_of_the_bed_clicks() -> None:
    place, smooth = (0, SINE.shape[1]), 1.5 * bends(SINE)
    assert (
        bends(SINE * duck(held((2, 4)), None, place, Ducking(40.0, 0.01, 0.01))) < 5 * smooth
    )  # the shortest one may wish for
    assert bends(SINE * duck(held((2, 4)), voice(talking(10, (5, 7)), 0), place, HOW)) < smooth
    assert bends(SINE * (1 - taken([Span(2, 4)], [Span(3, 6)], place))) < smooth


def test_removal_keeps_the_background_at_its_level_all_through_the_fade() -> None:
    """Background is in both sides of the fade: gains that sum to 1 in amplitude, not in power, leave it as it is."""
    share = taken([Span(2, 4)], [], (0, SINE.shape[1]))
    dialogue = np.roll(SINE, 77)
    bed = (SINE + dialogue) - dialogue * share
    inside = share == 1
    assert np.abs(bed - SINE)[:, inside].max() < 1e-6
    assert np.abs(bed - (SINE + dialogue * (1 - share))).max() < 1e-6


def test_takes_that_follow_each_other_do_not_click() -> None:
    first, second = (shape(SINE[0], start, start + RATE_HZ)[np.newaxis] for start in (131, 377))
    track = lay([Laid(first, 1000, 0.0), Laid(second, 1000 + RATE_HZ, 0.0), Laid(first, 1500 + RATE_HZ, 0.0)], 0, 200_000, 1)
    fade = (np.pi / 144) ** 2 / 2 + 2 * (np.pi / 144) * (2 * np.pi * 100 / RATE_HZ)  # of 3 ms, as a take has
    assert bends(track) < bends(SINE) * 2 + 2 * fade


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


def test_speech_goes_to_the_centre_alone_where_there_is_one() -> None:
    speech = np.full((1, 10), 0.25, np.float32)
    track = spread(speech, dialogue_gains("5.1(side)", 6))
    assert np.all(track[2] == 0.25)
    assert not track[[0, 1, 3, 4, 5]].any()
    assert np.all(spread(speech, dialogue_gains("", 2)) == 0.25)


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
