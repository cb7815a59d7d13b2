"""Scenes end at long pauses, and their levels are those of the talk in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polydub.audio import loudness, scenes
from polydub.audio.scenes import SceneLevel, level_at, talk_levels
from polydub.types import RATE_HZ, Span

Cells = NDArray[np.float64]


def film(duration: float, parts: list[tuple[Span, float]], bed_lufs: float = -60.0) -> Cells:
    """Energies of a film in which each span has a level in LUFS, the rest that of the bed."""
    power = np.full(round(duration * 10), 10 ** ((bed_lufs + 0.691) / 10))
    for span, lufs in parts:
        power[round(span.start * 10) : round(span.end * 10)] += 10 ** ((lufs + 0.691) / 10)
    return power * loudness.CELL


def lines(start: float, count: int, length: float = 2.0, pause: float = 0.5) -> list[Span]:
    return [Span(start + n * (length + pause), start + n * (length + pause) + length) for n in range(count)]


def test_a_pause_of_four_seconds_ends_a_scene_and_a_shorter_one_does_not() -> None:
    assert scenes.scenes([Span(1, 3), Span(6.9, 8), Span(12.1, 14)]) == (Span(1, 8), Span(12.1, 14))
    assert scenes.scenes([]) == ()


def test_a_long_talk_is_cut_at_its_largest_pause() -> None:
    talk = [*lines(0, 15), *lines(40, 20)]  # 37 s, a pause of 3 s, 49.5 s
    assert scenes.scenes(talk) == (Span(0, 37), Span(40, 89.5))


def test_a_talk_without_pauses_is_one_scene() -> None:
    assert scenes.scenes([Span(0, 200), Span(90, 120)]) == (Span(0, 200),)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0.1, 20)), max_size=60))
def test_scenes_hold_all_talk_once_in_order(raw: list[tuple[float, float]]) -> None:
    talk = [Span(round(start, 3), round(start + length, 3)) for start, length in raw]
    found = scenes.scenes(talk)
    for span in talk:
        assert sum(s.start <= span.start and span.end <= s.end for s in found) == 1
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_a_loud_and_a_quiet_scene_have_their_levels() -> None:
    loud, quiet = lines(2, 8), lines(40, 8)
    cells = film(70, [(s, -20.0) for s in loud] + [(s, -29.0) for s in quiet])
    found = talk_levels(cells, [*loud, *quiet])
    assert [s.lufs for s in found.scenes] == pytest.approx([-20, -29], abs=0.5)
    assert [s.confidence for s in found.scenes] == [1, 1]
    assert not found.separated


def test_levels_of_real_samples_are_those_of_the_meter() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, 30 * RATE_HZ)).astype(np.float32) * np.float32(0.001)
    first, second = Span(2, 8), Span(18, 26)
    for span, level in ((first, 0.05), (second, 0.02)):
        noise[:, int(span.start * RATE_HZ) : int(span.end * RATE_HZ)] *= np.float32(level / 0.001)
    wanted = [loudness.whole(noise[:, int(s.start * RATE_HZ) : int(s.end * RATE_HZ)]) for s in (first, second)]
    found = talk_levels(loudness.join([loudness.energies(noise, 0)]), [first, second])
    assert [s.lufs for s in found.scenes] == pytest.approx(wanted, abs=0.2)


def test_a_scene_with_little_talk_leans_on_its_neighbours() -> None:
    before, short, after = lines(0, 6), [Span(30, 31)], lines(50, 6)
    cells = film(80, [(s, -24.0) for s in [*before, *after]] + [(short[0], -18.0)])
    level = talk_levels(cells, [*before, *short, *after]).scenes[1]
    assert level.confidence == pytest.approx(1 / 3, abs=0.01)
    assert level.lufs == pytest.approx(-22, abs=0.3)


def test_a_scene_in_which_nothing_is_heard_takes_its_neighbours_level() -> None:
    heard, silent = lines(0, 6), lines(40, 4)
    cells = film(60, [(s, -24.0) for s in heard], bed_lufs=-115)
    cells[300:] = 0
    level = talk_levels(cells, [*heard, *silent]).scenes[1]
    assert (level.lufs, level.confidence) == (pytest.approx(-24, abs=0.3), 0)


def test_no_scene_is_far_from_the_film() -> None:
    normal, shout, whisper = lines(0, 10), lines(40, 2), lines(60, 2)
    cells = film(80, [(s, -24.0) for s in normal] + [(s, -5.0) for s in shout] + [(s, -55.0) for s in whisper], -90)
    found = talk_levels(cells, [*normal, *shout, *whisper])
    assert all(abs(s.lufs - found.film) <= scenes.LIMIT_LU + 0.05 for s in found.scenes)
    assert found.scenes[1].lufs > found.scenes[2].lufs


def test_separated_dialogue_is_measured_where_music_hides_the_talk() -> None:
    talk = lines(2, 8)
    music = Span(1, 24)  # nearly all of it under the talk
    cells = film(26, [(s, -26.0) for s in talk] + [(music, -22.0)])
    alone = film(26, [(s, -26.0) for s in talk], -120)
    assert talk_levels(cells, talk, alone).scenes[0].lufs == pytest.approx(-26, abs=0.2)
    assert talk_levels(cells, talk, alone).separated


@pytest.mark.parametrize("wrong_lufs", [-60.0, -10.0, -119.0])
def test_separated_dialogue_that_cannot_be_true_is_not_believed(wrong_lufs: float) -> None:
    talk = lines(2, 8)
    cells = film(26, [(s, -24.0) for s in talk])
    found = talk_levels(cells, talk, film(26, [(s, wrong_lufs) for s in talk], -120))
    assert found.film == pytest.approx(-24, abs=0.2)
    assert not found.separated


def test_where_separation_failed_for_one_scene_that_scene_is_measured_in_the_mix() -> None:
    first, second = lines(0, 6), lines(40, 6)
    cells = film(60, [(s, -24.0) for s in [*first, *second]])
    found = talk_levels(cells, [*first, *second], film(30, [(s, -25.0) for s in first], -120))
    assert [s.lufs for s in found.scenes] == pytest.approx([-25, -24], abs=0.2)


def test_a_silent_film_and_a_film_without_talk() -> None:
    assert talk_levels(np.zeros(100), [Span(1, 5)]).scenes[0].lufs == loudness.SILENT_LUFS
    assert talk_levels(film(20, []), []).scenes == ()
    assert talk_levels(np.zeros(0), [Span(1, 5)]).film == loudness.SILENT_LUFS


def test_a_line_has_the_level_of_its_scene_or_of_the_nearest() -> None:
    levels = [SceneLevel(10, 20, -20), SceneLevel(30, 40, -30), SceneLevel(40, 50, -25)]
    times = {0: -20, 10: -20, 20: -20, 24: -20, 26: -30, 35: -30, 40: -25, 99: -25}
    assert {time: level_at(levels, time) for time in times} == times
