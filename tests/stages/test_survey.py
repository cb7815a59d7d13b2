"""What is known of a film's sound before it is mixed: its room tones, what separation has left, its room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mixing_desk import Desk, noise

from polydub.audio.perspective import decay
from polydub.stages import survey
from polydub.types import BLOCK, RATE_HZ, Samples, Span


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def syllables(seconds: float) -> Samples:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    swell = np.clip(np.sin(2 * np.pi * 1.9 * time), 0, None) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.3 * time))
    return noise(seconds, 0.1, seed=4) * swell.astype(np.float32)


def test_the_tones_of_all_pauses_come_in_order_of_time_and_know_when_they_were(desk: Desk) -> None:
    film = noise(BLOCK / RATE_HZ + 10, 0.001)
    blocks = survey.pauses(desk.sound(film), [Span(5, 25), Span(31, 34)])
    found = survey.tones([survey.survey.function(desk.work(), block) for block in reversed(blocks)])
    times = [tone.time for tone in found]
    assert times == sorted(times)
    assert times[0] < 4.7
    assert times[-1] > 35
    assert all(tone.level_dbfs == pytest.approx(-60, abs=1) for tone in found)
    assert survey.tones([]) == ()


def test_only_the_channels_that_speak_are_looked_at(desk: Desk) -> None:
    film = noise(6, 0.1, channels=6)
    film[2] = noise(6, 0.001)[0]
    (block,) = survey.pauses(desk.sound(film, "5.1"), [])
    assert survey.survey.function(desk.work(), block).level_dbfs == pytest.approx(-60, abs=1)


@pytest.mark.parametrize("left_db", [-6.0, -30.0])
def test_what_is_left_of_the_dialogue_is_measured_block_by_block(desk: Desk, left_db: float) -> None:
    whole, rest = syllables(20), noise(20, 0.003)
    dialogue = whole * np.float32(1 / (1 + 10 ** (left_db / 20)))
    sound = desk.sound(whole + rest)
    (block,) = survey.taken(sound, desk.sound(dialogue).blocks)
    found = survey.residue.function(desk.work(), block)
    assert found == pytest.approx(left_db, abs=1.5) if left_db > -20 else found < -20


def test_without_dialogue_nothing_is_left_and_no_room_is_known(desk: Desk) -> None:
    (block,) = survey.taken(desk.sound(noise(3)), [None])
    assert survey.residue.function(desk.work(), block) == survey.SILENT_DB
    assert survey.room_decay.function(desk.work(), block) == 0


def test_the_room_is_heard_in_the_dialogue_alone(desk: Desk) -> None:
    dialogue = syllables(20) + noise(20, 1e-4)
    (block,) = survey.taken(desk.sound(dialogue + noise(20, 0.1)), desk.sound(dialogue).blocks)
    found = survey.room_decay.function(desk.work(), block)
    assert found == pytest.approx(decay(dialogue), abs=0.01)
    assert found > 0
