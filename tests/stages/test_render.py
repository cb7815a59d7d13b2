"""Under the dub only the dialogue of the source goes; blocks agree at their borders and know only what is near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixing_desk import STEP, Desk, noise
from numpy.typing import NDArray

from polydub.audio import loudness, mix
from polydub.audio.roomtone import RoomTone
from polydub.audio.scenes import SceneLevel
from polydub.spans import bridged
from polydub.stages import levelling, render, survey
from polydub.stages.listen import Heard
from polydub.stages.render import Bedding, Laying
from polydub.types import BLOCK, RATE_HZ, Energies, Placement, Samples, Span, Take

SECOND = RATE_HZ


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def separated(desk: Desk, sound: Samples, ducking_db: float = 12.0) -> Bedding:
    """A bedding with `sound` as dialogue."""
    return Bedding(ducking_db, desk.sound(sound).blocks)


def test_outside_the_talk_the_source_is_untouched_and_inside_its_dialogue_is_gone(desk: Desk) -> None:
    source, dialogue = noise(8, channels=2), noise(8, seed=2, channels=2)
    (block,) = render.blocks(desk.sound(source), (), [Span(3, 5)], separated(desk, dialogue))
    bed = desk.rendered([block])
    inside, reach = slice(round(2.86 * SECOND), round(5.14 * SECOND)), mix.PAD_S + mix.RAMP_S + 0.002
    assert np.abs(bed - (source - dialogue))[:, inside].max() <= STEP
    for outside in (slice(0, int((3 - reach) * SECOND)), slice(int((5 + reach) * SECOND), None)):
        assert np.array_equal(bed[:, outside], source[:, outside])


def test_without_separation_the_source_is_ducked(desk: Desk) -> None:
    source = noise(6)
    (block,) = render.blocks(desk.sound(source), (), [Span(2, 4)], Bedding(20.0))
    bed = desk.rendered([block])
    assert np.abs(bed - 0.1 * source)[:, 2 * SECOND : 4 * SECOND].max() < 1e-4
    assert np.array_equal(bed[:, : int(1.8 * SECOND)], source[:, : int(1.8 * SECOND)])


def whole_bed(source: Samples, dialogue: Samples, talk: Sequence[Span], how: Bedding) -> Samples:
    """The bed of a film in one piece."""
    spans, place = bridged(talk, mix.BRIDGE_S), (0, source.shape[1])
    held = [mix.Held(max(s.start, c.start), min(s.end, c.end), how.ducking_db) for s in spans for c in how.could_not]
    kept = mix.duck([h for h in held if h.end > h.start], None, place, how.ducking)
    return (source - dialogue * mix.taken(spans, how.could_not, place)) * kept


BORDER = BLOCK / RATE_HZ


@pytest.mark.parametrize("failed", ["nothing", "first", "second"])
def test_blocks_hold_what_the_film_in_one_piece_holds(desk: Desk, failed: str) -> None:
    film = BORDER + 4
    source, dialogue = noise(film), noise(film, seed=2)
    talk = [Span(2, 3), Span(27, 29.8), Span(30.2, 32), Span(33, 33.5)]
    files, could_not = list(desk.sound(dialogue).blocks), ()
    if failed == "first":
        files[0], could_not, dialogue[:, :BLOCK] = None, (Span(0, round(BORDER, 3)),), 0
    if failed == "second":
        files[1], could_not, dialogue[:, BLOCK:] = None, (Span(round(BORDER, 3), film),), 0
    how = Bedding(12.0, tuple(files), could_not)
    bed = desk.rendered(list(render.blocks(desk.sound(source), (), talk, how)))
    assert np.abs(bed - whole_bed(source, dialogue, talk, how)).max() < 2e-6


def test_a_border_between_separated_and_ducked_sound_does_not_click(desk: Desk) -> None:
    film = BORDER + 3
    time = np.arange(round(film * RATE_HZ)) / RATE_HZ
    source = (0.2 * np.sin(2 * np.pi * 100 * time)).astype(np.float32)[np.newaxis]
    files = (desk.sound(source * np.float32(0.9)).blocks[0], None)
    how = Bedding(12.0, files, (Span(round(BORDER, 3), film),))
    bed = desk.rendered(list(render.blocks(desk.sound(source), (), [Span(28, 32)], how)))
    near = bed[0, BLOCK - SECOND // 4 : BLOCK + SECOND // 4].astype(np.float64)
    bends = np.abs(np.diff(near, 2)).max()
    assert bends < 1.5 * 0.2 * (2 * np.pi * 100 / RATE_HZ) ** 2  # hardly more than those of the tone itself


def test_a_block_knows_nothing_of_what_is_far(desk: Desk) -> None:
    sound = desk.sound(noise(3 * BORDER, 0.01))
    other = desk.file(noise(1))
    how = Bedding(12.0, (sound.blocks[0], None, sound.blocks[2]))
    talk = [Span(5, 7), Span(80, 82)]
    first, second, third = render.blocks(sound, (Laying(other, 5 * SECOND, SECOND, 0.0),), talk, how)
    later = replace(how, dialogue=(sound.blocks[0], None, other), could_not=(Span(60, 90),))
    edited = list(render.blocks(sound, (Laying(other, 5 * SECOND, SECOND, 0.0),), [Span(5, 7), Span(81, 82)], later))
    assert edited[0] == first
    assert edited[2] != third
    assert not any(second.dialogue)


def test_ducking_depth_matters_only_where_something_is_ducked(desk: Desk) -> None:
    sound = desk.sound(noise(4))
    for how, same in (
        (Bedding(12.0, sound.blocks), True),
        (Bedding(12.0, (None,), (Span(0, 4),)), False),
        (Bedding(12.0), False),
    ):
        cuts = [list(render.blocks(sound, (), [Span(1, 2)], replace(how, ducking_db=depth))) for depth in (6.0, 20.0)]
        assert (cuts[0] == cuts[1]) == same


ROOM = RoomTone(-55.0, tuple([-55 - 10 * np.log10(26)] * 26))


@pytest.mark.parametrize(("room", "expected"), [(ROOM, -55.0), (None, -120.0), (replace(ROOM, level_dbfs=-80.0), -120.0)])
def test_holes_are_filled_with_room_tone_where_there_is_one(desk: Desk, room: RoomTone | None, expected: float) -> None:
    source = noise(6, 10 ** (-55 / 20))
    how = replace(separated(desk, source), room=room)
    bed = desk.rendered(list(render.blocks(desk.sound(source), (), [Span(2, 4)], how)))
    hole = np.square(bed[:, int(2.1 * SECOND) : int(3.9 * SECOND)], dtype=np.float64)
    assert 10 * np.log10(max(hole.mean(), 1e-12)) == pytest.approx(expected, abs=1)
    assert np.array_equal(bed[:, : int(1.7 * SECOND)], source[:, : int(1.7 * SECOND)])


def measured(samples: Samples) -> tuple[Energies, ...]:
    return (loudness.energies(samples, 0),)


def film_of(desk: Desk, samples: Samples) -> Heard:
    return Heard(desk.sound(samples), measured(samples), float(np.abs(samples).max()), ())


def two_scenes() -> tuple[Samples, NDArray[np.float32]]:
    """A film whose talk is loud at 2 to 8 s and 8 dB softer at 16 to 22 s, and its dialogue."""
    voice = np.zeros((1, 26 * SECOND), np.float32)
    voice[:, 2 * SECOND : 8 * SECOND] = noise(6, 0.05)
    voice[:, 16 * SECOND : 22 * SECOND] = noise(6, 0.02, seed=2)
    return voice + noise(26, 0.0005, seed=3), voice


SCENES = (Span(2, 8), Span(16, 22))


def test_takes_are_laid_at_the_level_of_their_scenes(desk: Desk) -> None:
    film, voice = two_scenes()
    levels = levelling.source_levels.function(desk.work(), film_of(desk, film), SCENES, measured(voice))
    assert levels.separated
    take = Take(desk.file(noise(2)), 2.0, 1.0, -20.0)
    placed = [
        Placement("1", "a", 3.0, 2.0, 1.0, 0.5, 0.0, 2.0),
        Placement("2", "a", 15.9, 2.0, 1.0, -0.2, 0.0, 2.0),
    ]
    loud, soft = render.layings(placed, {"1": take, "2": take}, levels)
    assert loud.gain_db - soft.gain_db == pytest.approx(20 * np.log10(0.05 / 0.02), abs=0.5)
    assert loud.gain_db == pytest.approx(loudness.whole(voice[:, 2 * SECOND : 8 * SECOND]) + 20, abs=0.5)


def test_separated_dialogue_that_cannot_be_true_is_noticed(desk: Desk) -> None:
    film, voice = two_scenes()
    work = desk.work()
    levels = levelling.source_levels.function(work, film_of(desk, film), SCENES, measured(voice * np.float32(0.001)))
    assert not levels.separated
    assert [notice.code for notice in work.notices] == ["separation-doubtful"]
    assert levels == levelling.source_levels.function(desk.work(), film_of(desk, film), SCENES)


def test_a_film_in_which_nothing_was_separated_is_no_reason_for_a_notice(desk: Desk) -> None:
    film, _ = two_scenes()
    work = desk.work()
    levels = levelling.source_levels.function(work, film_of(desk, film), SCENES, (Energies(0, ()),))
    assert not levels.separated
    assert not work.notices


def test_a_film_without_talk_is_one_scene(desk: Desk) -> None:
    levels = levelling.source_levels.function(desk.work(), film_of(desk, noise(3)), ())
    assert levels.scenes == (SceneLevel(0, 3, round(levels.dialogue, 1)),)
    assert levels.room is None


def test_the_room_tone_of_a_film_is_that_of_its_pauses(desk: Desk) -> None:
    film, _ = two_scenes()
    found = survey.pauses(desk.sound(film), SCENES)
    quiet = tuple(survey.survey.function(desk.work(), block) for block in found)
    room = levelling.source_levels.function(desk.work(), film_of(desk, film), SCENES, (), quiet).room
    assert room
    assert room.level_dbfs == pytest.approx(20 * np.log10(0.0005), abs=1)


def test_pauses_are_where_nobody_speaks(desk: Desk) -> None:
    sound = replace(desk.sound(noise(1)), frames=2 * BLOCK + SECOND)
    sound = replace(sound, blocks=sound.blocks * 3)
    found = survey.pauses(sound, [Span(1, 20), Span(20.9, 40), Span(58, 99)])
    assert [block.spans for block in found] == [(Span(0, 0.7),), (Span(pytest.approx(10.305), pytest.approx(27.705)),)]
    assert [len(block.spans) for block in survey.pauses(sound, [])] == [1, 1, 1]
    assert survey.pauses(sound, [Span(0, 70)]) == ()
