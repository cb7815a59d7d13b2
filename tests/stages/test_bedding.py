"""The bed follows the dub, blocks agree and know only what is near, and stems sum to the mix on every way there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixing_desk import Desk, noise

from polydub.audio import loudness
from polydub.audio.perspective import Room
from polydub.audio.roomtone import LocalTone
from polydub.stages import levelling, render
from polydub.stages.bedding import Bedding, Laying, blocks
from polydub.stages.listen import Heard
from polydub.types import BLOCK, RATE_HZ, Placement, Samples, Span, Take
from polydub.wants import Mixing

SECOND = RATE_HZ
BORDER = BLOCK / RATE_HZ
TONES = tuple(LocalTone(-55.0, (-69.0,) * 26, time) for time in (1.0, 20.0, 40.0, 61.0))
ROOM = Room(0.5, -8.0)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def lowered_db(bed: Samples, source: Samples, moment: float) -> float:
    """By how much the bed is lower than the source around a moment."""
    near = slice(round((moment - 0.05) * SECOND), round((moment + 0.05) * SECOND))
    return float(10 * np.log10(np.square(source[:, near]).sum() / np.square(bed[:, near]).sum()))


def test_without_separation_the_bed_follows_the_dub_and_stays_down_under_the_talk(desk: Desk) -> None:
    source, said = noise(12), desk.file(noise(2, 0.1, seed=3))
    laid = [Laying(said, 1 * SECOND, 2 * SECOND, 0.0), Laying(said, 7 * SECOND, 2 * SECOND, 0.0)]
    bed = desk.rendered(list(blocks(desk.sound(source), laid, [Span(2, 5)], Bedding(12.0))))
    down = {moment: round(lowered_db(bed, source, moment)) for moment in (0.5, 2, 4, 6, 8, 11)}
    assert down == {0.5: 0, 2: 12, 4: 12, 6: 0, 8: 12, 11: 0}


def test_the_depth_and_the_ramps_are_as_wished(desk: Desk) -> None:
    source = noise(8)
    bed = desk.rendered(list(blocks(desk.sound(source), (), [Span(3, 4)], Bedding(20.0, attack_s=1.0, release_s=2.0))))
    down = [lowered_db(bed, source, moment) for moment in (1.9, 2.5, 3.5, 5.0, 6.1)]
    assert down == pytest.approx([0, 10, 20, 10, 0], abs=0.7)


@pytest.mark.parametrize(("left_db", "down"), [(-60.0, 0), (-15.0, 0), (-9.0, 6), (0.0, 12)])
def test_what_separation_has_left_of_the_dialogue_is_lowered_as_much_as_it_needs(desk: Desk, left_db: float, down: int) -> None:
    source = noise(8)
    how = Bedding(12.0, desk.sound(noise(8, 0.001, seed=2)).blocks, residue_db=(left_db,))
    bed = desk.rendered(list(blocks(desk.sound(source), (), [Span(3, 5)], how)))
    assert lowered_db(bed, source, 4) == pytest.approx(down, abs=0.3)
    assert lowered_db(bed, source, 1) == 0


def test_the_dub_does_not_lower_a_bed_whose_dialogue_is_gone(desk: Desk) -> None:
    source, take = noise(8), Laying(desk.file(noise(2, 0.1)), 3 * SECOND, 2 * SECOND, 0.0)
    how = Bedding(12.0, desk.sound(noise(8, 1e-4, seed=2)).blocks)
    bed = desk.rendered(list(blocks(desk.sound(source), (take,), [Span(3, 5)], how)))
    assert lowered_db(bed, source, 4) == pytest.approx(0, abs=0.1)


def test_the_dub_lowers_the_bed_where_separation_failed_and_only_there(desk: Desk) -> None:
    source, take = noise(10), Laying(desk.file(noise(6, 0.1)), 2 * SECOND, 6 * SECOND, 0.0)
    how = Bedding(12.0, desk.sound(noise(10, 1e-4, seed=2)).blocks, could_not=(Span(5, 10),))
    bed = desk.rendered(list(blocks(desk.sound(source), (take,), (), how)))
    assert [round(lowered_db(bed, source, moment)) for moment in (1, 4, 7, 9.5)] == [0, 0, 12, 0]


def everything(desk: Desk, film_s: float, channels: int = 1, layout: str = "") -> tuple[Samples, Bedding]:
    """A source, and a bedding in which all that there is happens."""
    source, dialogue = noise(film_s, 0.05, channels=channels), noise(film_s, 0.02, seed=2, channels=channels)
    dead = dialogue.copy()
    dead[:, 2 * SECOND : 3 * SECOND] = source[:, 2 * SECOND : 3 * SECOND]  # a hole for the room tone
    files = desk.sound(dead, layout).blocks
    failed = (Span(4.0, 4.5), Span(BORDER - 1, BORDER + 0.5))
    return source, Bedding(12.0, files, failed, tones=TONES, residue_db=(-9.0, -12.0, -60.0), perspective=ROOM)


@pytest.mark.parametrize("way", ["ducked", "separated", "everything", "limited", "centre", "stereo speech"])
def test_stems_sum_to_the_mix_in_every_sample(desk: Desk, way: str) -> None:
    channels, layout = (6, "5.1(side)") if way == "centre" else (2, "")
    source, how = everything(desk, 6, channels, layout)
    if way in ("ducked", "stereo speech"):
        how = Bedding(12.0)
    if way == "separated":
        how = replace(how, perspective=None, tones=(), residue_db=(), could_not=())
    width = 2 if way == "stereo speech" else 1
    take = Laying(desk.file(noise(2, 0.05, seed=5, channels=width)), SECOND, 2 * SECOND, -3.0, width)
    (block,) = blocks(desk.sound(source, layout), (take,), [Span(1, 5)], how)
    (master,) = render.masters([block], 25.0 if way == "limited" else 1.0, Mixing())
    part = render.mix_block.function(desk.work(), master)
    stems = {name: np.rint(sound * 2.0**23).astype(int) for name, sound in desk.stems(part).items()}
    assert (part.limited_db > 3) == (way == "limited")
    assert np.array_equal(stems["dub"] + stems["background"], stems["mix"])
    heard = np.abs(stems["dub"]).max(axis=1) > 0
    assert heard.tolist() == ([False, False, True, False, False, False] if way == "centre" else [True, True])
    assert (stems["dub"][0] != stems["dub"][-1]).any() == (way == "stereo speech")


def test_stems_sum_to_the_mix_although_the_background_alone_is_above_full_scale(desk: Desk) -> None:
    tone = (0.9 * np.sin(2 * np.pi * 100 * np.arange(4 * SECOND) / SECOND)).astype(np.float32)[np.newaxis]
    take = Laying(desk.file(tone[:, : 2 * SECOND] * np.float32(-0.55)), SECOND, 2 * SECOND, 0.0)
    (block,) = blocks(desk.sound(tone), (take,), (), Bedding(0.0))
    (master,) = render.masters([block], 6.0, Mixing())
    part = render.mix_block.function(desk.work(), master)
    stems = {name: np.rint(sound * 2.0**23).astype(int) for name, sound in desk.stems(part).items()}
    assert stems["background"].max() == 2**23 - 1
    assert np.array_equal(stems["dub"] + stems["background"], stems["mix"])


@pytest.mark.parametrize("separated", [True, False])
def test_blocks_agree_on_every_sample_that_both_know(desk: Desk, separated: bool) -> None:
    source, how = everything(desk, BORDER + 5)
    how = how if separated else Bedding(12.0, perspective=ROOM)
    said = desk.file(noise(2, 0.1, seed=5))
    laid = [Laying(said, round(at * SECOND), 2 * SECOND, 0.0) for at in (24.1, 26.5, 28.8, 31.2)]
    cut = blocks(desk.sound(source), laid, [Span(25, 28), Span(29.9, 32)], how)
    first, second = render.masters(list(cut), 2.0, Mixing())
    (one, dub), (other, same) = (
        tuple(sound[:, cut_off:] for sound in render.mixed(desk.work(), master, low, BLOCK + 6000))
        for master, low, cut_off in ((first, 0, BLOCK - 30_000), (second, BLOCK - 30_000, 0))
    )
    inner = slice(9000, -5000)  # parts that begin before are not whole
    assert np.array_equal(one[:, inner], other[:, inner])
    assert np.array_equal(dub[:, inner], same[:, inner])


def test_a_block_is_the_same_whatever_is_far_from_it(desk: Desk) -> None:
    source, how = everything(desk, 2 * BORDER + 5)
    said = desk.file(noise(1, 0.1, seed=5))
    laid = [Laying(said, at * SECOND, SECOND, 0.0) for at in (5, 20, 40, 63)]
    sound, talk = desk.sound(source), [Span(4, 6), Span(39, 41), Span(62, 64)]
    edited = [*laid[:3], Laying(said, 63 * SECOND + 700, SECOND, 0.5)]
    for bedding in (how, Bedding(12.0)):
        before, after = (list(blocks(sound, some, talk, bedding)) for some in (laid, edited))
        assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]


@pytest.mark.slow
def test_an_edited_film_made_from_what_is_left_of_the_old_one_is_the_new_film_byte_for_byte(desk: Desk, tmp_path: Path) -> None:
    old, new = desk, Desk(tmp_path / "other")
    made: list[dict[render.Master, render.Rendered]] = []
    for place, gain_db in ((old, 0.0), (new, 0.5)):
        source, how = everything(place, 2 * BORDER + 2)
        said = place.file(noise(2, 0.1, seed=5))
        laid = [Laying(said, 5 * SECOND, 2 * SECOND, 0.0), Laying(said, 58 * SECOND, SECOND, gain_db)]
        cut = list(blocks(place.sound(source), laid, [Span(4, 8), Span(57, 59)], how))
        made.append({m: render.mix_block.function(place.work(), m) for m in reversed(render.masters(cut, 1.0, Mixing()))})
    kept = [master in made[0] for master in made[1]]
    spliced = [made[0].get(master, rendered) for master, rendered in made[1].items()]
    assert kept.count(False) in (1, 2)
    assert kept[-1]  # the first block
    assert [(r.aac, r.dub, r.background, r.mix) for r in spliced] == [
        (r.aac, r.dub, r.background, r.mix) for r in made[1].values()
    ]


def test_the_dub_is_as_loud_as_the_dialogue_of_its_scene(desk: Desk) -> None:
    """Soft talk at 2 to 8 s, loud talk at 16 to 22 s; the dub of both comes from takes of one level."""
    voice = np.zeros((1, 26 * SECOND), np.float32)
    voice[:, 2 * SECOND : 8 * SECOND] = noise(6, 0.015)
    voice[:, 16 * SECOND : 22 * SECOND] = noise(6, 0.05, seed=2)
    film = voice + noise(26, 0.0005, seed=3)
    scenes = Span(2, 8), Span(16, 22)
    energies = (loudness.energies(film, 0),)
    heard = Heard(desk.sound(film), energies, float(np.abs(film).max()), ())
    levels = levelling.source_levels.function(desk.work(), heard, scenes, (loudness.energies(voice, 0),))
    spoken = noise(5, 0.03, seed=9)
    take = Take(desk.file(spoken), 5.0, 1.0, loudness.whole(spoken))
    placed = [Placement(str(n), "a", scene.start + 0.5, 5.0, 1.0, 0.5, 0.0, 5.0) for n, scene in enumerate(scenes)]
    laid = render.layings(placed, {p.id: take for p in placed}, levels)
    dub = desk.rendered(list(blocks(heard.sound, laid, scenes, Bedding(12.0))), "dub")
    for scene in scenes:
        inside = slice(round((scene.start + 0.5) * SECOND), round((scene.start + 5.5) * SECOND))
        assert loudness.whole(dub[:, inside]) == pytest.approx(loudness.whole(voice[:, inside]), abs=1)
