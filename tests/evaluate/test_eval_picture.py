"""A1 and A4: packets against PyAV, changed and shifted films."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from eval_projects import encode
from polydub.evaluate import picture
from polydub.evaluate.inputs import opened
from polydub.evaluate.picture import Clock, Extent, Packet

Clip = Callable[..., Path]


def test_packets_are_those_that_pyav_reads(clip: Clip) -> None:
    film = clip("film", seconds=2.0)
    with opened(film) as reel:
        assert reel.picture is not None
        found = list(reel.packets(reel.picture))
    with av.open(str(film)) as container:
        wanted = [(float(p.pts * p.time_base)) for p in container.demux(video=0) if p.pts is not None]
    assert [p.start for p in found] == pytest.approx(wanted)
    assert len({p.digest for p in found}) > 10


def test_a_copied_picture_is_untouched_in_another_container(clip: Clip, tmp_path: Path) -> None:
    film, copy = clip("film", seconds=2.0), tmp_path / "copy.mp4"
    encode("-i", str(film), "-c:v", "copy", "-c:a", "aac", str(copy))
    with opened(film) as source, opened(copy) as dub:
        assert source.picture and dub.picture
        found = picture.same(dub.packets(dub.picture), source.packets(source.picture))
    assert found.untouched
    assert found.source == 50
    assert picture.picture_score(found).value == 100.0


def test_an_encoded_picture_is_another_one(clip: Clip, tmp_path: Path) -> None:
    film, other = clip("film", seconds=2.0), tmp_path / "other.mkv"
    encode("-i", str(film), "-c:v", "mpeg4", "-c:a", "copy", str(other))
    with opened(film) as source, opened(other) as dub:
        assert source.picture and dub.picture
        found = picture.same(dub.packets(dub.picture, decoded=True), source.packets(source.picture, decoded=True))
    assert not found.untouched
    assert found.dub == found.source == 50


def test_missing_and_changed_pictures_are_counted() -> None:
    source = [Packet(n / 25, 0.04, str(n)) for n in range(10)]
    found = picture.same([*source[:4], Packet(0.16, 0.04, "x"), *source[5:8]], source)
    assert (found.dub, found.source, found.different) == (8, 10, 1)
    assert picture.picture_score(found).value == 70.0


def test_a_packet_without_a_time_is_passed_over() -> None:
    rows = ["#tb 0: 1/1000\n", "0, 0, NOPTS, 40, 10, aa\n", "0, 40, 40, 40, 10, bb\n"]
    assert list(picture.packets(rows)) == [Packet(0.04, 0.04, "bb")]


def test_the_clock_tells_a_late_and_longer_sound() -> None:
    found = picture.clock(Extent(0.08, 10.2), Extent(0.0, 10.0))
    assert (found.offset_ms, found.drift_ms) == (80.0, 120.0)


def test_packets_before_the_first_presented_moment_do_not_make_a_track_longer() -> None:
    found = picture.extent([Packet(-0.02, 0.02, ""), Packet(0.0, 0.02, ""), Packet(0.02, 0.02, "")], 0.0)
    assert (found.start, found.end) == (0.0, pytest.approx(0.04))


@pytest.mark.parametrize("dub", [Clock(0.0, 0.0), Clock(500.0, -700.0)])
def test_a_gap_of_the_source_may_be_kept_or_filled(dub: Clock) -> None:
    found = picture.beside(dub, Clock(500.0, -700.0))
    assert (found.offset_ms, found.drift_ms) == (0.0, 0.0)


def test_a_delay_of_the_dubs_own_stays() -> None:
    assert picture.beside(Clock(80.0, 0.0), Clock(0.0, 0.0)).offset_ms == 80.0
    assert picture.beside(Clock(80.0, 0.0), None).offset_ms == 80.0
