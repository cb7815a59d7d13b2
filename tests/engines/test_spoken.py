from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polydub.engines.tts import spoken
from polydub.errors import BadEngineOutput, BadInput
from polydub.types import Artifact, Audio, Voice


def sound(*samples: float, rate_hz: int = 24_000) -> Audio:
    return Audio(np.array([samples], np.float32), rate_hz)


def test_sound_above_full_scale_is_turned_down_as_a_whole() -> None:
    loud = spoken.finished([0.5, -2.0, 1.0], 24_000, "X").samples
    np.testing.assert_allclose(loud, [[0.25 * 0.999, -0.999, 0.5 * 0.999]], rtol=1e-6)
    np.testing.assert_array_equal(spoken.finished(np.array([[0.5, -0.9]]), 24_000, "X").samples, np.float32([[0.5, -0.9]]))


def test_the_peaks_of_a_stream_are_bent_the_same_wherever_it_is_cut() -> None:
    wave = np.linspace(-3, 3, 601, dtype=np.float32)
    whole = spoken.streamed(wave, 24_000, "X").samples
    parts = [spoken.streamed(piece, 24_000, "X").samples for piece in (wave[:7], wave[7:300], wave[300:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))
    assert np.abs(whole).max() <= 1 and (np.diff(whole) >= 0).all()
    quiet = np.abs(wave) < 0.9
    np.testing.assert_allclose(whole[0, quiet], wave[quiet], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sound_that_is_no_number_is_an_error(bad: float) -> None:
    for check in (spoken.finished, spoken.streamed):
        with pytest.raises(BadEngineOutput, match="no numbers"):
            check([0.0, bad], 24_000, "X")


def test_no_sound_stays_no_sound() -> None:
    assert spoken.finished([], 24_000, "X").samples.shape == (1, 0)
    assert spoken.in_a_row([], 0.04, 24_000).samples.shape == (1, 0)


def test_sounds_follow_one_another_after_pauses() -> None:
    row = spoken.in_a_row([sound(1, rate_hz=100), sound(2, rate_hz=100)], 0.02, 100)
    np.testing.assert_array_equal(row.samples, [[1, 0, 0, 2]])


def test_references_are_mono_at_the_rate_asked_for_and_short_ones_are_left_out() -> None:
    stereo = Audio(np.stack([np.ones(48_000, np.float32), np.zeros(48_000, np.float32)]), 48_000)
    (heard,) = spoken.heard([stereo, sound(0.5)], 24_000, 0.5, "X")
    assert heard.shape == (24_000,) and np.median(heard) == pytest.approx(0.5, abs=0.01)
    for short in ([], [sound(0.5)]):
        with pytest.raises(BadInput, match=r"at least 0\.5 s"):
            spoken.heard(short, 24_000, 0.5, "X")


def test_a_voice_is_learnt_once_for_each_set_of_recordings() -> None:
    learnt: spoken.Learnt[int] = spoken.Learnt()
    calls: list[int] = []

    def learn() -> int:
        calls.append(1)
        return len(calls)

    ana, ben = (Voice("x", n, "en", references=(Artifact(n * 64, ".flac", 1),)) for n in "ab")
    assert learnt.known(ana) is None
    assert [learnt.get(v, [sound(1)], learn) for v in (ana, ben, ana)] == [1, 2, 1]
    assert learnt.known(ana) == 1 and learnt.known(Voice("x", "a", "en")) is None
    bare = Voice("x", "c", "en")
    assert [learnt.get(bare, [sound(n)], learn) for n in (1, 2, 1)] == [3, 4, 3]
    for n in range(spoken.KEPT):
        learnt.get(bare, [sound(10.0 + n)], learn)
    assert learnt.known(ana) is None


def test_folders_differ_by_names_lengths_and_contents(tmp_path: Path) -> None:
    assert spoken.digest(tmp_path / "none") == ""
    file = tmp_path / "model.bin"
    told = set()
    for content in (b"", b"a", b"b", b"a" * (3 << 20), b"a" * (3 << 20) + b"b"):
        file.write_bytes(content)
        told.add(spoken.digest(tmp_path))
    assert len(told) == 5
    assert spoken.lacking(tmp_path, ("model.bin", "x", "y")) == "x, y"


def test_the_nearest_voices_are_named() -> None:
    assert "Ana" in spoken.no_voice("Anna", ["Ana", "Zoe"], "X").hint
