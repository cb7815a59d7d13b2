"""Room tone is the quiet part of the pauses; noise like it fills holes and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydub.audio.roomtone import LocalTone, Quiet, RoomTone, filling, quiet, room_tone
from polydub.types import RATE_HZ, Samples, Span


def noise(seconds: float, level_dbfs: float, channels: int = 2, seed: int = 0) -> Samples:
    """White noise of that mean square."""
    made = np.random.default_rng(seed).normal(size=(channels, round(seconds * RATE_HZ)))
    return (made * 10 ** (level_dbfs / 20)).astype(np.float32)


def dark(seconds: float, level_dbfs: float) -> Samples:
    """Noise without much above 500 Hz."""
    from scipy.signal import butter, sosfilt

    made = sosfilt(butter(2, 500, fs=RATE_HZ, output="sos"), noise(seconds, 0, 1), axis=1)
    return (made / np.sqrt(np.mean(made**2)) * 10 ** (level_dbfs / 20)).astype(np.float32)


def level(samples: Samples) -> float:
    return float(10 * np.log10(max(np.mean(np.square(samples, dtype=np.float64)), 1e-20)))


def everywhere(room: RoomTone) -> list[LocalTone]:
    return [LocalTone(room.level_dbfs, room.bands_db)]


def tone_of(samples: Samples) -> RoomTone:
    found = room_tone([quiet(samples, [Span(0, samples.shape[1] / RATE_HZ)])])
    assert found
    return found


@pytest.mark.parametrize("dbfs", [-70.0, -50.0])
@pytest.mark.parametrize("make", [noise, dark])
def test_the_level_of_a_known_noise_is_found(make: object, dbfs: float) -> None:
    assert tone_of(make(8, dbfs)).level_dbfs == pytest.approx(dbfs, abs=1)  # type: ignore[operator]


def test_only_the_pauses_are_measured() -> None:
    film = noise(12, -60)
    film[:, 4 * RATE_HZ : 8 * RATE_HZ] *= 100
    found = room_tone([quiet(film, [Span(0, 3.9), Span(8.1, 12)])])
    assert found
    assert found.level_dbfs == pytest.approx(-60, abs=1)


def test_what_happens_now_and_then_in_the_pauses_does_not_count() -> None:
    film = noise(20, -60)
    film[:, 5 * RATE_HZ : 15 * RATE_HZ] *= 30  # a train passes
    assert tone_of(film).level_dbfs == pytest.approx(-60, abs=1)


def test_the_spectrum_is_found_and_made_again() -> None:
    room = tone_of(dark(8, -55))
    made = filling(np.zeros((1, 8 * RATE_HZ), np.float32), 0, np.ones(8 * RATE_HZ, np.float32), everywhere(room))
    again = tone_of(made[np.newaxis, RATE_HZ // 2 : -RATE_HZ // 2])
    strong = [n for n, band in enumerate(room.bands_db) if band > -90]
    assert len(strong) > 15
    assert [again.bands_db[n] for n in strong] == pytest.approx([room.bands_db[n] for n in strong], abs=1.5)


def test_the_quiet_fifth_of_a_film_is_its_room_tone() -> None:
    loud, soft = quiet(noise(10, -40), [Span(0, 10)]), quiet(noise(10, -62), [Span(0, 10)])
    found = room_tone([loud, loud, soft, loud])
    assert found
    assert found.level_dbfs == pytest.approx(-62, abs=1)


def test_without_enough_pauses_there_is_no_room_tone() -> None:
    assert room_tone([]) is None
    assert room_tone([Quiet(0.0, -120.0, ())]) is None
    assert room_tone([quiet(noise(3, -50), [Span(0, 0.4), Span(1, 2)])]) is None
    assert quiet(noise(1, -50), []).seconds == 0


@pytest.mark.parametrize(("dbfs", "fills"), [(-80.0, False), (-60.0, True), (-30.0, False)])
def test_neither_silent_nor_loud_rooms_fill_holes(dbfs: float, fills: bool) -> None:
    assert tone_of(noise(4, dbfs)).fills == fills
    assert not tone_of(np.zeros((1, 4 * RATE_HZ), np.float32)).fills


def test_a_dead_hole_is_filled_up_to_the_room_tone_and_a_live_bed_is_left_alone() -> None:
    room, bed = tone_of(noise(8, -55)), noise(9, -55, seed=3)
    bed[:, 3 * RATE_HZ : 6 * RATE_HZ] *= 0.05  # 26 dB below
    added = filling(bed, 0, np.ones(bed.shape[1], np.float32), everywhere(room))
    assert level((bed + added)[:, 3 * RATE_HZ + 4096 : 6 * RATE_HZ - 4096]) == pytest.approx(-55, abs=1)
    assert level(added[np.newaxis, : 3 * RATE_HZ - 4096]) < -55 - 25
    assert level(added[np.newaxis, 6 * RATE_HZ + 4096 :]) < -55 - 25


def test_nothing_is_added_where_nothing_was_taken_out() -> None:
    room, share = tone_of(noise(4, -55)), np.zeros(2 * RATE_HZ, np.float32)
    share[RATE_HZ:] = 1
    added = filling(np.zeros((2, 2 * RATE_HZ), np.float32), 0, share, everywhere(room))
    assert not added[:RATE_HZ].any()
    assert level(added[np.newaxis, RATE_HZ + 4096 :]) == pytest.approx(-55, abs=1)
    assert filling(np.zeros((2, 0), np.float32), 0, share[:0], everywhere(room)).shape == (0,)


ROOM = everywhere(tone_of(noise(4, -55)))
HOLES = noise(2, -55, seed=5) * np.repeat([0.01, 1.0, 0.1, 0.0], RATE_HZ // 2).astype(np.float32)


@settings(max_examples=20)
@given(first=st.integers(0, RATE_HZ), frames=st.integers(10_000, RATE_HZ))
def test_the_noise_does_not_depend_on_where_a_block_begins(first: int, frames: int) -> None:
    start = 7 * RATE_HZ + 11
    share = np.ones(HOLES.shape[1], np.float32)
    whole = filling(HOLES, start, share, ROOM)[first : first + frames]
    part = filling(HOLES[:, first : first + frames], start + first, share[:frames], ROOM)
    assert np.array_equal(part[4096:-4096], whole[4096:-4096])


def octaves(samples: Samples) -> list[float]:
    """Levels of the octaves from 125 Hz to 8 kHz, mean of channels, by filters."""
    from scipy.signal import butter, sosfilt

    centres = [125 * 2**n for n in range(7)]
    edges = [(hz / 2**0.5, hz * 2**0.5) for hz in centres]
    return [level(np.asarray(sosfilt(butter(4, e, "band", fs=RATE_HZ, output="sos"), samples, axis=1))) for e in edges]


def without(samples: Samples, low: float, high: float, begin: int, end: int) -> Samples:
    """`samples` with a band of them taken out from sample `begin` to `end`."""
    from scipy.signal import butter, sosfiltfilt

    band = sosfiltfilt(butter(4, (low, high), "band", fs=RATE_HZ, output="sos"), samples, axis=1)
    made = samples.copy()
    made[:, begin:end] -= band[:, begin:end].astype(np.float32)
    return made


@pytest.mark.parametrize(("low", "high"), [(20, 20_000), (300, 6_000), (1_500, 20_000)])
@pytest.mark.parametrize("make", [noise, dark])
def test_every_octave_of_a_hole_comes_up_to_what_is_around_it(make: object, low: float, high: float) -> None:
    film = make(12, -52)  # type: ignore[operator]
    begin, end = 5 * RATE_HZ, 8 * RATE_HZ
    bed = without(film, low, high, begin, end)
    share = np.zeros(film.shape[1], np.float32)
    share[begin:end] = 1
    tones = quiet(film, [Span(0, 5), Span(8, 12)]).tones
    filled = bed + filling(bed, 0, share, tones)
    inside, around = filled[:, begin + 4096 : end - 4096], film[:, RATE_HZ : 4 * RATE_HZ]
    far = np.array(octaves(inside)) - np.array(octaves(around))
    audible = np.array(octaves(around)) > -90
    assert np.abs(far[audible]).max() < 3


def test_each_scene_has_its_own_tone() -> None:
    film = np.concatenate([noise(10, -65), dark(10, -50).repeat(2, axis=0)], axis=1)
    pauses = [Span(0, 3), Span(5, 12), Span(14, 20)]
    share = np.zeros(film.shape[1], np.float32)
    bed = film.copy()
    for begin, end in ((3, 5), (12, 14)):
        share[begin * RATE_HZ : end * RATE_HZ] = 1
        bed[:, begin * RATE_HZ : end * RATE_HZ] = 0
    filled = bed + filling(bed, 0, share, quiet(film, pauses).tones)
    for moment, scene in ((4, film[:, : 3 * RATE_HZ]), (13, film[:, 15 * RATE_HZ :])):
        inside = filled[:, round((moment - 0.8) * RATE_HZ) : round((moment + 0.8) * RATE_HZ)]
        far = np.array(octaves(inside)) - np.array(octaves(scene))
        assert np.abs(far[np.array(octaves(scene)) > -90]).max() < 3


def test_a_loud_pause_does_not_fill_quiet_talk_with_noise() -> None:
    soft, loud = (tone_of(noise(4, dbfs)) for dbfs in (-70.0, -47.0))
    tones = [LocalTone(soft.level_dbfs, soft.bands_db, 0.0), LocalTone(loud.level_dbfs, loud.bands_db, 10.0)]
    bed = np.zeros((1, 10 * RATE_HZ), np.float32)
    added = filling(bed, 0, np.ones(bed.shape[1], np.float32), tones)[np.newaxis]
    assert level(added[:, RATE_HZ // 2 : RATE_HZ]) == pytest.approx(-69, abs=1.5)
    assert level(added[:, 8 * RATE_HZ : 9 * RATE_HZ]) < -62


def test_pauses_have_times_of_the_film() -> None:
    found = quiet(noise(20, -50), [Span(1, 2), Span(4, 16)], begin=100.0)
    assert [tone.time for tone in found.tones] == pytest.approx([101.4, 106.3, 111.0, 114.5], abs=0.5)


def test_between_two_pauses_the_tone_changes_gradually() -> None:
    soft, loud = (tone_of(noise(4, dbfs)) for dbfs in (-62.0, -57.0))
    tones = [LocalTone(soft.level_dbfs, soft.bands_db, 0.0), LocalTone(loud.level_dbfs, loud.bands_db, 10.0)]
    bed = np.zeros((1, 10 * RATE_HZ), np.float32)
    added = filling(bed, 0, np.ones(bed.shape[1], np.float32), tones)[np.newaxis]
    found = [level(added[:, n * RATE_HZ : (n + 1) * RATE_HZ]) for n in (1, 4, 8)]
    assert found == pytest.approx([-61.2, -59.8, -57.8], abs=0.6)
