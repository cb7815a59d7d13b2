"""Filters against those of scipy.signal."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.signal import oaconvolve, resample_poly, upfirdn
from scipy.sparse import csc_matrix

from polydub.audio import filters, sparse
from polydub.audio.signal import resample
from polydub.types import RATE_HZ, Samples


def noise(channels: int, frames: int, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(size=(channels, frames)).astype(np.float32)


@given(
    rates=st.sampled_from([(48_000, 16_000), (44_100, 48_000), (22_050, 48_000), (24_000, 48_000), (16_000, 48_000),
                           (48_000, 44_100), (48_000, 7_000), (11_025, 16_000), (44_101, 48_000), (47_999, 16_000)]),
    channels=st.integers(1, 3),
    frames=st.integers(1, 9_000),
)  # fmt: skip
def test_sound_at_another_rate_is_as_scipy_makes_it(rates: tuple[int, int], channels: int, frames: int) -> None:
    sound = noise(channels, frames, frames)
    common = np.gcd(*rates)
    expected = resample_poly(sound.astype(np.float64), rates[1] // common, rates[0] // common, axis=1)
    made = resample(sound, *rates)
    assert (made.shape, made.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(made, expected, atol=4e-6)


def test_long_sound_is_resampled_as_its_parts_are() -> None:
    sound = noise(2, 700_000)
    made = resample(sound, 44_100, 48_000)
    np.testing.assert_allclose(made, resample_poly(sound, 160, 147, axis=1), atol=4e-6)
    part = resample(sound[:, 294_000:400_000], 44_100, 48_000)
    np.testing.assert_allclose(made[:, 320_000 + 4_000 : 430_000], part[:, 4_000:110_000], atol=1e-6)


def test_rates_with_little_in_common_need_little_memory() -> None:
    tracemalloc.start()
    try:
        resample(noise(1, 7_919), 7_919, 16_000)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_four_fold_interpolation_is_as_scipy_makes_it() -> None:
    sound = noise(2, 5_000)
    taps = np.sinc((np.arange(97) - 48) / 4) * np.kaiser(97, 7.0)
    expected = upfirdn(4 * taps / taps.sum(), sound.astype(np.float64), up=4, axis=1)[:, 48 : 48 + 20_000]
    np.testing.assert_allclose(filters.polyphase(sound, 4, 1, 48, 7.0), expected, atol=4e-6)


@given(frames=st.integers(1, 120_000), begin=st.integers(0, 50_000), length=st.integers(1, 3_000))
def test_pieces_of_a_filtered_sound_are_the_whole(frames: int, begin: int, length: int) -> None:
    sound, taps = noise(2, frames, length), noise(1, length)[0].astype(np.float64)
    made = list(filters.filtered(sound, np.fft.rfft(taps, filters.SIZE), length - 1, begin))
    whole = np.hstack(made) if made else np.zeros((2, 0))
    expected = oaconvolve(sound.astype(np.float64), taps[np.newaxis], axes=1)[:, begin:frames]
    assert whole.shape == expected.shape
    np.testing.assert_allclose(whole, expected, atol=1e-9 * length)


def test_a_stretch_without_sound_stays_without() -> None:
    assert resample(np.zeros((2, 0), np.float32), RATE_HZ, 16_000).shape == (2, 0)
    assert not resample(np.zeros((2, 1_000), np.float32), RATE_HZ, 16_000).any()


@pytest.mark.parametrize(
    "module", ["polydub.stages.render", "polydub.stages.listen", "polydub.stages.speak", "polydub.streaming.work"]
)
def test_what_every_dub_needs_imports_no_scipy(module: str) -> None:
    work = (
        f"import sys, numpy as np, {module}\n"
        "from polydub.audio import fit, limiter, loudness, match, mix, signal\n"
        "sound = np.random.default_rng(1).normal(size=(2, 96_000)).astype(np.float32)\n"
        "loudness.energies(signal.resample(sound, 44_100, 48_000), 0), loudness.true_peak(sound)\n"
        "match.toned(sound, 48_000, [3.0] * len(match.BANDS_HZ))\n"
        "assert limiter.limit(sound, 0.1) is not None and mix.voice(sound, 0).presence.size\n"
        "slots = [fit.Slot('1', 's', 0.0, 1.0, 2.0), fit.Slot('2', 's', 1.5, 3.0, 2.0)]\n"
        "assert len(fit.fit(slots, 10.0)) == 2\n"
        "sys.exit(any(name.startswith('scipy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", work], check=False, timeout=60).returncode == 0


@given(
    values=st.lists(st.floats(0, 1), max_size=60),
    size=st.integers(0, 20).map(lambda half: 2 * half + 1),
    extreme=st.sampled_from([(np.minimum, minimum_filter1d), (np.maximum, maximum_filter1d)]),
    outside=st.sampled_from([0.0, 1.0]),
)
def test_running_extremes_are_those_of_scipy(values: list[float], size: int, extreme: tuple, outside: float) -> None:
    ours, theirs = extreme
    made = filters.running(ours, np.array(values), size, outside)
    expected = theirs(np.array(values), size, mode="constant", cval=outside) if values else []
    np.testing.assert_array_equal(made, expected)


@given(
    cells=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.floats(-9, 9)), max_size=40),
)
def test_sparse_matrices_are_those_of_scipy(cells: list[tuple[int, int, float]]) -> None:
    row, column = (np.array([cell[n] for cell in cells], np.int64) for n in (0, 1))
    values = np.array([value for _, _, value in cells], np.float64)
    made = sparse.columns(values, (row, column), (7, 5))
    expected = csc_matrix((values, (row, column)), shape=(7, 5))
    expected.sum_duplicates()
    np.testing.assert_array_equal(made.indptr, expected.indptr)
    np.testing.assert_array_equal(made.indices, expected.indices)
    np.testing.assert_allclose(made.data, expected.data, rtol=1e-12, atol=1e-12)
