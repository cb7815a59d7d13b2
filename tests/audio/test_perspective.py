"""The room of speech is found by its decays, and the dub gets reflections that are over after 80 ms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import oaconvolve

from polydub.audio.perspective import TAIL, Room, decay, placed, response, room
from polydub.types import RATE_HZ, Samples


def syllables(seconds: float, seed: int = 0) -> Samples:
    """Bursts of noise with pauses of several lengths, over a soft noise."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=round(seconds * RATE_HZ)) * 1e-4
    at = 0
    while at < len(made) - RATE_HZ:
        length = int(RATE_HZ * rng.uniform(0.08, 0.3))
        made[at : at + length] += rng.normal(size=length) * 0.1 * np.hanning(length)
        at += length + int(RATE_HZ * rng.uniform(0.05, 0.8))
    return made.astype(np.float32)[np.newaxis]


SPEECH = syllables(2.5)
WHOLE = placed(SPEECH, 7 * RATE_HZ + 11, Room(0.8, -6.0))


def reverberant(speech: Samples, decay_s: float) -> Samples:
    rng = np.random.default_rng(7)
    time = np.arange(round(decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.normal(size=len(time)) * 10 ** (-3 * time / decay_s) / np.sqrt(decay_s * RATE_HZ / 14)
    tail[0] = 1
    return oaconvolve(speech[0], tail)[: speech.shape[1]].astype(np.float32)[np.newaxis]


def test_a_slower_decay_is_found_as_such() -> None:
    speech = syllables(20)
    found = [decay(reverberant(speech, seconds)) for seconds in (0.3, 0.5, 0.8)]
    assert decay(speech) < 0.22
    assert found == sorted(found)
    assert found[:2] == pytest.approx([0.3, 0.5], rel=0.35)


def test_silence_and_short_speech_tell_no_room() -> None:
    assert decay(np.zeros((2, 20 * RATE_HZ), np.float32)) == 0
    assert decay(np.zeros((1, 100), np.float32)) == 0
    assert decay(syllables(1.5)[:, :RATE_HZ]) == 0


def test_the_room_is_that_of_most_parts_and_dry_speech_has_none() -> None:
    assert room([]) is None
    assert room([0.0, 0.0]) is None
    assert room([0.15, 0.18, 0.5]) is None
    assert room([0.0, 0.4, 0.5, 0.6]) == Room(0.5, -7.0)
    assert room([3.0]) == room([9.0])


@pytest.mark.parametrize("where", [Room(0.3, -10.0), Room(0.8, -6.0)])
def test_reflections_are_as_loud_as_wished_and_over_in_time(where: Room) -> None:
    answer = response(where).astype(np.float64)
    assert len(answer) == TAIL
    assert np.abs(answer[-10:]).max() < 1e-4
    assert np.square(answer).sum() == pytest.approx(1)
    assert 10 * np.log10(np.square(answer[1:]).sum() / answer[0] ** 2) == pytest.approx(where.early_db, abs=0.01)


def test_the_dub_keeps_its_length_its_level_and_its_onsets() -> None:
    speech = syllables(5)
    speech[:, :RATE_HZ] = 0
    heard = placed(speech, 0, Room(0.5, -7.0))
    assert heard.shape == speech.shape
    assert np.abs(heard[:, :RATE_HZ]).max() < 2.0**-25  # nothing in 24 bits
    assert np.square(heard).sum() == pytest.approx(np.square(speech).sum(), rel=0.1)
    assert placed(speech[:, :0], 0, Room(0.5, -7.0)).shape == (1, 0)


@given(first=st.integers(0, RATE_HZ), frames=st.integers(20_000, RATE_HZ))
def test_the_dub_does_not_depend_on_where_a_block_begins(first: int, frames: int) -> None:
    part = placed(SPEECH[:, first : first + frames], 7 * RATE_HZ + 11 + first, Room(0.8, -6.0))
    inside = slice(8192, -4096)  # parts at the edges are not whole
    assert np.array_equal(part[:, inside], WHOLE[:, first : first + frames][:, inside])


def test_it_is_the_convolution_with_the_response() -> None:
    where = Room(0.5, -7.0)
    assert np.allclose(placed(SPEECH, 3, where)[0], oaconvolve(SPEECH[0], response(where))[: SPEECH.shape[1]], atol=1e-6)
