"""When lines are audible: on sounds whose onsets are known, and on real speech over noise."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from polydub.audio import activity
from polydub.audio.onsets import DETECTED_LATE_S, LATE_S, PAUSE_S, VOICED, Audible, audible, bands
from polydub.audio.signal import resample
from polydub.audio.trim import trim
from polydub.engines.registry import get
from polydub.types import HEAR_HZ, VAD_FRAME, Audio, Samples, Span

ANYWHERE = Span(0.0, 100.0)


def talk(*spans: tuple[float, float], total_s: float = 8.0, noise_db: float = -60.0) -> Samples:
    """A buzz of 150 Hz, at -12 dBFS, in these spans, and noise of that level everywhere."""
    times = np.arange(round(total_s * HEAR_HZ)) / HEAR_HZ
    buzz = sum(np.sin(2 * np.pi * 150 * k * times + k) / k for k in range(1, 20))
    buzz *= 0.25 / np.sqrt(np.mean(np.square(buzz)))
    open_ = np.zeros(len(times))
    for start, end in spans:
        open_[round(start * HEAR_HZ) : round(end * HEAR_HZ)] = 1
    noise = np.random.default_rng(2).normal(0, 10 ** (noise_db / 20), len(times))
    return (open_ * buzz + noise).astype(np.float32)


def detected(*spans: tuple[float, float], late_s: float = 0.05) -> list[Span]:
    """What a detector would say that is late."""
    return [Span(start + late_s, end + late_s) for start, end in spans]


@pytest.mark.parametrize("late_s", [-0.05, 0.0, 0.05, 0.08])
@pytest.mark.parametrize("noise_db", [-70.0, -40.0, -25.0])
@pytest.mark.parametrize("off_s", [-0.25, 0.0, 0.25])
def test_the_first_and_the_last_sound_are_found_to_20_ms(late_s: float, noise_db: float, off_s: float) -> None:
    levels = bands(talk((2.0, 4.0), noise_db=noise_db))
    found = audible(levels, detected((2.0, 4.0), late_s=late_s), Span(2.0 + off_s, 4.0 + off_s), ANYWHERE)
    assert found.start == pytest.approx(2.0, abs=0.02)
    assert found.end == pytest.approx(4.0, abs=0.02)
    assert found.pauses == ()


def test_where_nobody_was_heard_to_begin_or_end_the_given_times_stay() -> None:
    levels = bands(talk((0.0, 8.0)))
    assert audible(levels, [Span(0.0, 8.0)], Span(2.0, 4.0), Span(1.7, 4.3)) == Audible(2.0, 4.0)
    assert audible(levels, [], Span(2.0, 4.0), ANYWHERE) == Audible(2.0, 4.0)
    assert audible(bands(talk()), [], Span(9.0, 10.0), ANYWHERE) == Audible(9.0, 10.0), "beyond the sound"
    assert audible(bands(np.zeros(0, np.float32)), detected((2, 4)), Span(2.0, 4.0), ANYWHERE) == Audible(2.0, 4.0), "no sound"


@pytest.mark.parametrize("noise_db", [6.0, 0.0, -3.0])
def test_noise_that_hides_the_voice_leaves_what_was_detected_and_no_pause(noise_db: float) -> None:
    levels = bands(talk((2.0, 3.0), (3.8, 5.0), noise_db=noise_db))
    found = audible(levels, detected((2.0, 3.0), (3.8, 5.0), late_s=0.0), Span(2.2, 4.9), ANYWHERE)
    assert found == Audible(2.0 - DETECTED_LATE_S[0], 5.0 - DETECTED_LATE_S[1])


def test_an_onset_after_the_middle_of_the_line_or_far_after_its_start_is_not_its_own() -> None:
    voice = (2.6, 7.0)
    levels = bands(talk(voice))
    assert audible(levels, detected(voice), Span(2.2, 2.9), ANYWHERE).start == 2.2, "the middle is at 2.55"
    assert audible(levels, detected(voice), Span(2.5 - LATE_S, 7.0), ANYWHERE).start == 2.5 - LATE_S
    assert audible(levels, detected(voice), Span(2.7 - LATE_S, 7.0), ANYWHERE).start == pytest.approx(2.6, abs=0.02)


def test_the_speech_of_a_neighbour_is_not_reached_into() -> None:
    voices = (1.0, 2.0), (2.3, 3.0)
    levels = bands(talk(*voices))
    own = audible(levels, detected(*voices), Span(2.2, 3.1), Span(1.9, 3.4))
    assert own.start == pytest.approx(2.3, abs=0.02)
    before = audible(levels, detected(*voices), Span(1.0, 2.1), Span(0.7, 2.4))
    assert before.end == pytest.approx(2.0, abs=0.02)


def test_of_two_onsets_equally_near_the_one_after_the_longer_silence_counts() -> None:
    voices = (1.0, 1.5), (2.0, 2.25), (2.4, 4.0)
    found = audible(bands(talk(*voices)), detected(*voices, late_s=0.0), Span(2.2, 4.0), ANYWHERE)
    assert found.start == pytest.approx(2.0, abs=0.02)


def test_the_lines_own_words_are_not_left_out_at_its_ends() -> None:
    voices = (1.5, 2.55), (2.75, 5.25), (5.45, 6.5)
    levels, heard = bands(talk(*voices)), detected(*voices, late_s=0.0)
    found = audible(levels, heard, Span(2.2, 5.8), Span(1.9, 6.1))
    assert (found.start, found.end) == (2.2, 5.8), "0.35 s are spoken between the given ends and the edges inside"
    assert audible(levels, heard, Span(2.4, 5.6), Span(2.1, 5.9)).start == pytest.approx(2.75, abs=0.02)
    assert audible(levels, heard, Span(2.4, 5.6), Span(2.1, 5.9)).end == pytest.approx(5.25, abs=0.02)


def test_an_edge_that_was_detected_early_leads_no_further_than_the_line_reaches() -> None:
    found = audible(bands(talk((2.0, 4.0))), [Span(2.05, 3.95)], Span(2.1, 3.9), Span(2.03, 3.97))
    assert found == Audible(2.03, 3.97)


def test_a_line_given_for_long_after_it_was_said_ends_with_its_sound() -> None:
    for end in (2.4, 4.0, 5.0):
        assert audible(bands(talk((2.0, end))), detected((2.0, end)), Span(2.0, 6.5), ANYWHERE).end == pytest.approx(
            end, abs=0.02
        )
    voices = (2.0, 3.0), (3.5, 6.0)
    found = audible(bands(talk(*voices)), detected(*voices), Span(2.0, 4.5), Span(1.7, 4.8))
    assert audible(bands(talk(*voices)), detected(*voices), Span(2.0, 3.75), Span(1.7, 4.0)).end == 3.75, "too far from 3.05"
    assert found.end == 4.5, "what is said in the rest of the line is its own"


def test_pauses_are_found_to_20_ms_and_short_ones_are_part_of_speaking() -> None:
    voices = (2.0, 3.0), (3.5, 4.0), (4.2, 5.0), (5.4, 6.0)
    found = audible(bands(talk(*voices, noise_db=-40)), detected(*voices), Span(2.1, 6.1), ANYWHERE)
    assert [p.start for p in found.pauses] == pytest.approx([3.0, 5.0], abs=0.02)
    assert [p.end for p in found.pauses] == pytest.approx([3.5, 5.4], abs=0.02)


def test_a_pause_of_the_detector_in_which_the_voice_goes_on_is_none() -> None:
    found = audible(bands(talk((2.0, 6.0))), [Span(2.0, 3.0), Span(3.6, 6.0)], Span(2.0, 6.0), ANYWHERE)
    assert found.pauses == ()
    assert (found.start, found.end) == pytest.approx((2.0, 6.0), abs=0.02)


@pytest.mark.parametrize(("count", "steps"), [(0, 0), (159, 0), (160, 1), (1000, 6), (16_000, 100)])
def test_there_is_a_level_for_each_whole_step(count: int, steps: int) -> None:
    levels = bands(np.zeros(count, np.float32))
    assert levels.shape == (steps, 14)
    assert np.isfinite(levels).all()


SPANS = st.lists(st.tuples(st.integers(10, 600), st.integers(10, 900)), max_size=12)


@given(SPANS, SPANS, st.integers(0, 5000), st.integers(20, 5000), st.tuples(st.integers(0, 400), st.integers(0, 400)))
def test_what_is_found_lies_within_reach_and_in_order(
    heard: list[tuple[int, int]], said: list[tuple[int, int]], start: int, length: int, reach: tuple[int, int]
) -> None:
    def laid(pairs: list[tuple[int, int]]) -> list[tuple[float, float]]:
        at, made = 0, list[tuple[float, float]]()
        for pause, voice in pairs:
            made.append(((at + pause) / 1000, (at + pause + voice) / 1000))
            at += pause + voice
        return made

    line = Span(start / 1000, (start + length) / 1000)
    within = Span(max(0.0, line.start - reach[0] / 1000), line.end + reach[1] / 1000)
    found = audible(bands(talk(*laid(said))), [Span(a, b) for a, b in laid(heard)], line, within)
    assert within.start - 1e-9 <= found.start < found.end <= within.end + 1e-9
    assert found.start <= max(line.start, min(line.start + LATE_S, (line.start + line.end) / 2)) + 0.1
    assert all(p.duration >= PAUSE_S - 1e-9 and found.start < p.start and p.end < found.end for p in found.pauses)
    assert all(a.end < b.start for a, b in pairwise(found.pauses))


@pytest.mark.parametrize("noise_db", [-80.0, -10.0])
def test_real_lines_that_are_timed_carelessly_are_found(shared_data: Path, noise_db: float) -> None:
    """Eight recordings, 0.4 s apart, given with errors of 0.15 to 0.3 s; the noise is that far below the speech."""
    chance = np.random.default_rng(3)
    parts: list[Samples] = [np.zeros(HEAR_HZ, np.float32)]
    true: list[Span] = []
    for file in sorted((shared_data / "media/ljspeech").glob("*.wav"))[8:16]:
        samples, rate_hz = soundfile.read(file, dtype="float32")
        sound = resample(samples[np.newaxis], rate_hz, HEAR_HZ)[0]
        start, end = trim(sound, HEAR_HZ)
        at = sum(map(len, parts)) / HEAR_HZ
        true.append(Span(at + 0.005, at + (end - start) / HEAR_HZ - 0.005))
        parts += [sound[start:end], np.zeros(round(0.4 * HEAR_HZ), np.float32)]
    clean = np.concatenate([*parts, parts[0]])
    loud = float(np.sqrt(np.mean(np.square(clean))))
    film = (clean + chance.normal(0, loud * 10 ** (noise_db / 20), len(clean))).astype(np.float32)
    silero = get("vad", "silero")
    with silero.load(silero.options(), {}, "cpu") as vad:
        chances = vad.probabilities(Audio((film * np.float32(0.9 / np.abs(film).max()))[np.newaxis], HEAR_HZ))
    times = [n * VAD_FRAME / HEAR_HZ for n in range(len(chances))]
    voiced = activity.spans(chances, times, len(film) / HEAR_HZ, VOICED)
    levels, errors = bands(film), list[float]()
    for line in true:
        off = chance.choice([-1, 1], 2) * chance.uniform(0.15, 0.3, 2)
        told = Span(line.start + off[0], line.end + off[1])
        found = audible(levels, voiced, told, Span(told.start - 0.3, told.end + 0.3))
        errors.append(abs(found.start - line.start))
    assert float(np.median(errors)) < 0.03
    assert sorted(errors)[-2] < 0.15, "one begins with a breath, which is no speech"
