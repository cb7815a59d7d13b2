"""A slowed-down film: every track runs by the new clock, nothing of the picture is encoded again."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import av
import pytest

from polydub.audio.timemap import TimeMap
from polydub.stages import listen, retiming
from polydub.stages.timing import Spoken
from polydub.store import Store
from polydub.types import Line, Source
from polydub.wants import Timing
from polydub.work import Work

sys.path.append(str(Path(__file__).resolve().parents[1] / "media"))
from flash_clips import X264, beep_at, ff, flash_at, flash_clip, probe

CLOCK = TimeMap(((1.0, 1.0), (3.0, 3.5)))  # two seconds take two and a half
SRT = "1\n00:00:02,000 --> 00:00:02,400\nflash\n\n2\n00:00:03,500 --> 00:00:03,900\nafter\n"


class Bench(Work):
    """A work that also takes films in."""

    def __init__(self, folder: Path, name: str) -> None:
        self.shelf = Store(folder / "store")
        (folder / name).mkdir()
        super().__init__(self.shelf, folder / name, 1, lambda share: None)


@pytest.fixture
def work(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "scratch")


def packets(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [hashlib.sha256(bytes(p)).hexdigest() for p in container.demux(video=0) if p.size]


def copied(film: Path, work: Bench, clock: TimeMap = CLOCK) -> tuple[Path, Source]:
    source = work.shelf.adopt(film)
    probed = listen.probe.function(work, source)
    sounds = tuple(listen.extract.function(work, probed, track).sound for track in probed.of("audio"))
    out = work.path(retiming.retime.function(work, probed, sounds, clock))
    return out, probe(out)


def test_picture_and_sound_stay_together_and_the_picture_is_not_encoded_again(work: Bench, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "film.mp4", "-c:a", "aac")
    out, made = copied(film, work)
    assert made.duration == pytest.approx(4.5, abs=0.05)
    assert flash_at(out) == pytest.approx(2.25, abs=0.002)
    assert beep_at(out) == pytest.approx(2.25, abs=0.012)
    assert packets(out) == packets(film)


def test_a_film_that_begins_late_counts_from_its_first_moment(work: Bench, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "late.mkv", "-c:a", "flac", video_at=5, audio_at=5)
    out, _ = copied(film, work)
    assert flash_at(out) == pytest.approx(2.25, abs=0.002)


def test_other_tracks_chapters_attachments_and_tags_go_along(work: Bench, tmp_path: Path) -> None:
    (tmp_path / "own.srt").write_text(SRT)
    (tmp_path / "font.ttf").write_bytes(b"a font")
    chapters = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=one\n"
    (tmp_path / "chapters.txt").write_text(chapters + "[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4000\ntitle=two\n")
    plain = flash_clip(tmp_path / "plain.mkv", "-c:a", "flac")
    film = tmp_path / "film.mkv"
    ff(
        *("-i", plain, "-i", tmp_path / "own.srt", "-f", "ffmetadata", "-i", tmp_path / "chapters.txt"),
        *("-map", "0:v", "-map", "0:a", "-map", "0:a", "-map", "1", "-map_chapters", 2, "-c", "copy"),
        *("-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=font/ttf", "-metadata:s:t", "filename=font.ttf"),
        *("-metadata:s:a:1", "language=fra", "-metadata:s:a:1", "title=Comments", "-disposition:a:0", "default", film),
    )
    out, made = copied(film, work)
    assert [t.kind for t in made.tracks] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert [(t.language, t.title, t.default) for t in made.of("audio")][1] == ("fra", "Comments", False)
    assert made.of("audio")[0].default
    assert beep_at(out, 1) == pytest.approx(2.25, abs=0.012)
    with av.open(str(out)) as container:
        times = [float(p.pts * p.time_base) for p in container.demux(subtitles=0) if p.pts is not None]
        assert [c["start"] * c["time_base"] for c in container.chapters()] == [0, 2.25]
    assert times == [2.25, 4.0]


def test_the_copy_is_the_same_every_time_and_decodes(work: Bench, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "film.mp4", "-c:a", "aac", "-g", "12")
    out, _ = copied(film, work)
    again, _ = copied(film, Bench(tmp_path, "again"))
    assert out == again
    ff("-xerror", "-i", out, "-f", "null", "-")


def test_frames_of_a_variable_rate_keep_their_order(work: Bench, tmp_path: Path) -> None:
    film = tmp_path / "vfr.mkv"
    inputs = ("-f", "lavfi", "-i", "testsrc=s=160x90:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4")
    ff(*inputs, "-vf", "select='not(mod(n,3))+gt(n,50)'", "-fps_mode", "vfr", *X264, "-c:a", "flac", film)
    out, _ = copied(film, work)

    def times(path: Path) -> list[float]:
        with av.open(str(path)) as container:
            return [float(f.pts * f.time_base) for f in container.decode(video=0)]

    assert times(out) == pytest.approx([CLOCK.to(t) for t in times(film)], abs=0.0011)


def line(number: int, start: float, end: float, natural_s: float) -> Spoken:
    return Spoken(str(number), "a", start, end, natural_s)


def test_a_film_in_which_all_fits_keeps_its_clock(work: Bench) -> None:
    lines = (line(1, 1, 3, 2.0), line(2, 3.5, 5, 1.4))
    assert retiming.slow_down.function(work, lines, retiming.Room(6, 1.25), Timing(), None) == TimeMap()


def test_a_film_that_is_too_short_is_slowed_down_within_the_limit(work: Bench) -> None:
    lines = tuple(line(n, 2 * n, 2 * n + 1.9, 3.2) for n in range(1, 20))
    clock = retiming.slow_down.function(work, lines, retiming.Room(42, 1.25), Timing(), None)
    assert 1.1 < clock.slowest <= 1.251
    assert clock.added_s > 5


def test_an_edit_that_still_fits_keeps_the_clock(work: Bench) -> None:
    lines = tuple(line(n, 2 * n, 2 * n + 1.9, 3.2) for n in range(1, 20))
    room = retiming.Room(42, 1.4)
    clock = retiming.slow_down.function(work, lines, room, Timing(), None)
    edited = (line(1, 2, 3.9, 2.5), *lines[1:])
    assert retiming.slow_down.function(work, edited, room, Timing(), clock) == clock


def test_lines_get_the_times_of_the_new_clock() -> None:
    moved = retiming.on_clock((Line(2.0, 3.0, "1"), Line(3.5, 4.0, "2")), CLOCK)
    assert [(x.start, x.end) for x in moved] == [(2.25, 3.5), (4.0, 4.5)]
