"""How loud a dub shall be, what it misses, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polydub.audio import loudness, signal
from polydub.audio.limiter import limit
from polydub.config.settings import LOUDNESS, Settings
from polydub.media.aac import Cut, encode_aac_block
from polydub.stages import levelling
from polydub.stages.levelling import Tried
from polydub.store import Store
from polydub.types import FRAME, RATE_HZ, Samples, Span
from polydub.wants import Mixing
from polydub.work import Work

SPEECH = (Span(2, 6), Span(10, 12))


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(Store(tmp_path / "store"), tmp_path, 1, lambda share: None)


def hiss(level: float, seconds: float) -> Samples:
    return (level * np.random.default_rng(1).normal(size=(2, round(seconds * RATE_HZ)))).astype(np.float32)


def film(speech: Sequence[Span], seconds: float = 20) -> Samples:
    """A bed of noise, 12 dB louder where somebody speaks."""
    samples = hiss(0.01, seconds)
    for span in speech:
        samples[:, int(span.start * RATE_HZ) : int(span.end * RATE_HZ)] *= 4
    return samples


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


CEILING = 0.5


def measured(*sounds: Samples) -> tuple[Tried, ...]:
    """Blocks of a film, each of them as long as it is."""
    starts = np.cumsum([0, *(sound.shape[1] for sound in sounds)]).tolist()
    return tuple(levelling.tried(x, at, 0, "", CEILING) for x, at in zip(sounds, starts, strict=False))


def free(blocks: tuple[Tried, ...]) -> Any:
    """Cells of the film, not limited."""
    cells = np.zeros(blocks[-1].first + blocks[-1].sums.shape[1])
    for block in blocks:
        cells[block.first : block.first + block.sums.shape[1]] += block.sums[0]
    return cells


def aim(blocks: tuple[Tried, ...], lufs: float, **how: Any) -> levelling.Aim:
    tried = levelling.Aim(how.get("gain_db", 3.0), 0.0, 3.0, how.get("bound", False))
    return levelling.aimed(blocks, tried, lufs, how.get("dialogue", ()))


def talk(seconds: float, peak: float) -> Samples:
    """Swelling noise whose spectrum falls as that of speech does, with short peaks far above it."""
    frames = round(seconds * RATE_HZ)
    white = np.fft.rfft(np.random.default_rng(1).normal(size=(2, frames)))
    sound = np.fft.irfft(white / np.maximum(np.arange(white.shape[1]) / seconds, 200) ** 1.2, frames)
    sound *= 0.03 / sound.std() * (1 + 0.9 * np.sin(2 * np.pi * 1.3 * np.arange(frames) / RATE_HZ))
    for at in range(RATE_HZ // 3, frames - 2400, RATE_HZ // 3):
        sound[:, at : at + 960] *= peak
    return sound.astype(np.float32)


def test_the_gain_is_set_by_what_is_heard_where_the_goal_says(work: Work) -> None:
    blocks = measured(film(SPEECH))
    inside = loudness.whole(hiss(0.04, 6))
    found = aim(blocks, -27.0, dialogue=SPEECH)
    assert found.gain_db - 3 == pytest.approx(-27 - inside, abs=0.1)
    whole = aim(blocks, -27.0)
    assert whole.gain_db - 3 == pytest.approx(-27 - loudness.integrated(free(blocks)), abs=0.02)
    assert found.gain_db < whole.gain_db - 0.5, "the bed between the lines is softer and does not count"


def test_near_misses_and_silence_keep_the_gain(work: Work) -> None:
    blocks = measured(film(SPEECH))
    level = loudness.spoken(free(blocks), SPEECH)
    for miss in (0.14, -0.14):
        assert aim(blocks, level + miss, dialogue=SPEECH).gain_db == 3
    for miss in (0.2, -0.2):
        assert aim(blocks, level + miss, dialogue=SPEECH).gain_db == pytest.approx(3 + miss, abs=0.02)
    assert aim(measured(np.zeros((2, 480_000), np.float32)), -23.0).gain_db == 3
    assert aim(blocks, -23.0, dialogue=(Span(90, 99),)).gain_db == 3


@pytest.mark.parametrize(("peak", "above"), [(2, 8.0), (3, 3.0), (4, 2.5), (4, -1.0), (6, 1.0)])
def test_where_the_limiter_works_the_gain_found_makes_the_limited_sound_as_loud_as_wanted(
    work: Work, peak: float, above: float
) -> None:
    sounds = talk(16, peak), talk(4, 1.0)
    blocks = measured(*sounds)
    lufs = loudness.integrated(free(blocks)) + above
    found = aim(blocks, lufs)
    assert not found.bound
    louder = np.concatenate(sounds, axis=1) * np.float32(signal.gain(found.gain_db - 3))
    curve = limit(louder, CEILING)
    assert curve is not None and curve.min() < 0.7
    assert loudness.integrated(loudness.join([loudness.energies(louder * curve, 0)])) == pytest.approx(lufs, abs=0.06)


def test_the_limiter_takes_6_db_away_at_most_and_the_next_run_stays_there(work: Work) -> None:
    blocks = measured(talk(20, 12.0))  # 6 dB are gone before it is made louder
    alone = loudness.integrated(free(blocks))
    found = aim(blocks, alone + 5.9)
    assert found.bound and found.gain_db == pytest.approx(3 + 5.9 + levelling.LIMITED_DB, abs=0.02)
    assert aim(blocks, alone + 6, gain_db=found.gain_db, bound=True) == found
    assert aim(blocks, alone - 9, bound=True).gain_db < 2, "too loud is always mended"


def test_what_was_measured_with_one_gain_tells_whether_another_is_kept(work: Work) -> None:
    blocks = measured(talk(16, 4.0))
    lufs = loudness.integrated(free(blocks)) + 4
    found = aim(blocks, lufs)
    assert found.gain_db > 7 and found.tried_db == 3
    assert aim(blocks, lufs + 0.14, gain_db=found.gain_db) == found
    assert aim(blocks, lufs + 0.3, gain_db=found.gain_db).gain_db > found.gain_db


def test_a_gain_far_away_is_set_without_the_limiter_and_measured_again(work: Work) -> None:
    blocks = measured(film(SPEECH))
    alone = loudness.integrated(free(blocks))
    for far in (-20.0, 14.0):
        found = aim(blocks, alone + far)
        assert not found.bound and found.gain_db == pytest.approx(3 + far, abs=0.02)


def test_levels_tell_programme_and_dialogue(work: Work) -> None:
    told = (loudness.energies(film(SPEECH), 0),)
    levels = levelling.programme.function(work, told, 0.5, SPEECH)
    assert levels.dialogue_gated == pytest.approx(loudness.whole(hiss(0.04, 6)), abs=0.1)
    assert levels.integrated == pytest.approx(loudness.integrated(loudness.join(told)), abs=0.01)
    assert levels.true_peak == pytest.approx(-6.02, abs=0.01)
    assert levelling.programme.function(work, told, 0.5).dialogue_gated is None
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
    for edge in (-0.99 * levelling.KEEP_LU, 0.99 * levelling.KEEP_LU):
        target = loudness.integrated(loudness.join(before)) + edge - usual
        assert aim(measured(sound), target + usual).gain_db == 3
        assert abs(after - target) <= levelling.NEAR_LU + 0.01


def test_what_encoding_took_away_last_time_is_expected_again(work: Work) -> None:
    assert levelling.coding_loss.function(work, (), 1.3) == 1.3
