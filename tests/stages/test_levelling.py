"""How loud a dub shall be, what it misses, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from polydub.audio import loudness
from polydub.config.settings import LOUDNESS, Settings
from polydub.media.aac import Cut, encode_aac_block
from polydub.stages import levelling
from polydub.store import Store
from polydub.types import FRAME, RATE_HZ, Energies, Samples, Span
from polydub.wants import Mixing
from polydub.work import Work

SPEECH = (Span(2, 6), Span(10, 12))


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(Store(tmp_path / "store"), tmp_path, 1, lambda share: None)


def hiss(level: float, seconds: float) -> Samples:
    return (level * np.random.default_rng(1).normal(size=(2, round(seconds * RATE_HZ)))).astype(np.float32)


def film(speech: Sequence[Span], seconds: float = 20) -> tuple[Energies, ...]:
    """A bed of noise, 12 dB louder where somebody speaks."""
    samples = hiss(0.01, seconds)
    for span in speech:
        samples[:, int(span.start * RATE_HZ) : int(span.end * RATE_HZ)] *= 4
    return (loudness.energies(samples, 0),)


def netflix(target: float = -27.0) -> Mixing:
    return Mixing(target_lufs=target, true_peak_dbtp=-2.0, dialogue_gated=True)


def test_a_profile_tells_whether_the_dialogue_counts() -> None:
    gated = {name: profile.dialogue_gated for name, profile in LOUDNESS.items()}
    assert gated == {"streaming": False, "youtube": False, "ebu": False, "netflix": True, "podcast": False}
    own = Settings(loudness="netflix", lufs=-25).target
    assert (own.lufs, own.true_peak_dbtp, own.dialogue_gated) == (-25, -2, True)


def test_the_goal_is_the_programme_unless_the_profile_is_about_dialogue() -> None:
    assert levelling.goal(Mixing(target_lufs=-23.0), SPEECH, 20) == levelling.Goal(-23.0)
    assert levelling.goal(netflix(), SPEECH, 20) == levelling.Goal(-27.0, SPEECH)


@pytest.mark.parametrize(("film_s", "lufs"), [(39.9, -27.0), (40.1, -24.0)])
def test_with_less_than_15_percent_of_dialogue_the_programme_counts(film_s: float, lufs: float) -> None:
    goal = levelling.goal(netflix(), [*SPEECH, Span(10.5, 11)], film_s)  # speech above speech is there once
    assert (goal.lufs, bool(goal.dialogue)) == (lufs, lufs == -27)


def test_a_programme_without_dialogue_is_measured_as_a_whole() -> None:
    assert levelling.goal(netflix(), [], 20) == levelling.Goal(-24.0)


def test_what_is_missing_is_measured_where_the_goal_says(work: Work) -> None:
    measured = film(SPEECH)
    inside = loudness.whole(hiss(0.04, 6))
    missing = levelling.correction.function(work, measured, -27.0, 0.1, SPEECH)
    assert missing == pytest.approx(-27 - inside, abs=0.1)  # and a little for what AAC takes
    programme = levelling.correction.function(work, measured, -27.0, 0.1)
    assert programme == pytest.approx(-27 - loudness.integrated(loudness.join(measured)), abs=0.05)
    assert missing < programme - 0.5, "the bed between the lines is softer and does not count"


def test_near_misses_and_silence_are_left(work: Work) -> None:
    measured = film(SPEECH)
    level = loudness.spoken(loudness.join(measured), SPEECH)
    assert levelling.correction.function(work, measured, level + 0.09, 0.1, SPEECH) == 0
    assert levelling.correction.function(work, measured, level + 0.2, 0.1, SPEECH) == pytest.approx(0.2, abs=0.05)
    assert levelling.correction.function(work, measured, level - 0.2, 0.1, SPEECH) == pytest.approx(-0.2, abs=0.05)
    silence = (Energies(0, (0.0,) * 100),)
    assert levelling.correction.function(work, silence, -23.0, 0.1, SPEECH) == 0
    assert levelling.correction.function(work, measured, -23.0, 0.1, (Span(90, 99),)) == 0


def test_levels_tell_programme_and_dialogue(work: Work) -> None:
    measured = film(SPEECH)
    levels = levelling.programme.function(work, measured, 0.5, SPEECH)
    assert levels.dialogue_gated == pytest.approx(loudness.whole(hiss(0.04, 6)), abs=0.1)
    assert levels.integrated == pytest.approx(loudness.integrated(loudness.join(measured)), abs=0.01)
    assert levels.true_peak == pytest.approx(-6.02, abs=0.01)
    assert levelling.programme.function(work, measured, 0.5).dialogue_gated is None
    assert levelling.Goal(-27.0, SPEECH).reached(levels) == levels.dialogue_gated
    assert levelling.Goal(-27.0).reached(levels) == levels.integrated


@pytest.mark.parametrize("kbit_s", [128, 192])
def test_what_is_near_enough_before_encoding_is_delivered_near_enough(work: Work, tmp_path: Path, kbit_s: int) -> None:
    """Swelling noise whose spectrum falls as that of speech does."""
    rng = np.random.default_rng(2)
    frames = 256 * FRAME
    white = np.fft.rfft(rng.normal(size=(2, frames)))
    pink = np.fft.irfft(white / np.maximum(np.arange(white.shape[1]), 200) ** 1.5, frames)
    swell = 1 + 0.9 * np.sin(2 * np.pi * 1.3 * np.arange(frames) / RATE_HZ)
    sound = (0.1 * swell * pink / np.abs(pink).max()).astype(np.float32)
    before = (loudness.energies(sound, 0),)
    heard = encode_aac_block(sound, Cut(0, 0, frames), kbit_s, tmp_path).heard
    after = levelling.programme.function(work, (loudness.energies(heard, 0),), 0.1).integrated
    usual = levelling.coding_loss.function(work, (), None)
    for edge in (-levelling.KEEP_LU, levelling.KEEP_LU):
        target = loudness.integrated(loudness.join(before)) + edge - usual
        assert levelling.correction.function(work, before, target + usual, levelling.KEEP_LU + 0.01) == 0
        assert abs(after - target) <= levelling.NEAR_LU + 0.01


def test_what_encoding_took_away_last_time_is_expected_again(work: Work) -> None:
    assert levelling.coding_loss.function(work, (), 1.3) == 1.3
