"""What separation has left of the speech is found, and music is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from polydub.audio.residue import left_over
from polydub.types import RATE_HZ, Samples


def speech(seconds: float, level: float = 0.1, seed: int = 0) -> Samples:
    """Noise that comes in syllables of varying strength, as speech does."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * RATE_HZ)
    strength = np.repeat(rng.random(frames // 9600 + 1) ** 2, 9600)[:frames]
    time = np.arange(frames) / RATE_HZ
    swell = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None) * strength
    return (rng.normal(size=(1, frames)) * level * swell).astype(np.float32)


def music(seconds: float, level: float, seed: int = 1) -> Samples:
    """Chords that change, with beats."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    notes = sum(
        np.sin(2 * np.pi * hz * time + phase) for hz, phase in zip(rng.uniform(150, 3000, 12), rng.random(12) * 6, strict=True)
    )
    beats = 0.4 + 0.6 * np.exp(-6 * (time * 2 % 1))
    return (level * notes / 4 * beats).astype(np.float32)[np.newaxis]


def cut(rest: Samples, dialogue: Samples) -> list[tuple[Samples, Samples]]:
    return [(rest[:, n : n + 480_000], dialogue[:, n : n + 480_000]) for n in range(0, rest.shape[1], 480_000)]


@pytest.mark.parametrize("left_db", [0.0, -6.0, -12.0])
@pytest.mark.parametrize("seed", [0, 5])
def test_the_level_of_what_is_left_is_found_under_soft_music(left_db: float, seed: int) -> None:
    dialogue = speech(30, seed=seed)
    rest = dialogue * np.float32(10 ** (left_db / 20)) + music(30, 0.005)
    assert left_over(cut(rest, dialogue)) == pytest.approx(left_db, abs=2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", [0.003, 0.05])
def test_music_and_noise_are_no_speech(seed: int, level: float) -> None:
    rest = music(30, level, seed) + np.random.default_rng(seed).normal(size=(1, 30 * RATE_HZ)).astype(np.float32) * 0.01
    assert left_over(cut(rest, speech(30, seed=seed))) < -15


def test_where_nothing_can_be_known_nothing_is_left() -> None:
    silence, dialogue = np.zeros((2, 30 * RATE_HZ), np.float32), speech(30)
    assert left_over([]) == -60
    assert left_over(cut(silence, silence)) == -60
    assert left_over(cut(silence, dialogue)) == -60
    assert left_over(cut(dialogue[:, :RATE_HZ], dialogue[:, :RATE_HZ])) == -60
