"""Subtitles in the picture: drawn when they should be, in the right letters, on the film's own frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from flash_clips import ff, private_link, probe
from numpy.typing import NDArray
from tiny_font import write_font

from polydub.errors import BadSettings
from polydub.media.burn import Drawing, burn_in, shown_size
from polydub.text.subtitle_files import Look, write_ass
from polydub.types import Cue

GREY = "color=gray:s=320x180:r=25:d=2"


def film(path: Path, picture: str = GREY, *output: object) -> Path:
    ff("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "12", *output, path)
    return path


def burnt(path: Path, cues: list[Cue], font: Path, family: str = "Tiny Sans", size: tuple[int, int] = (320, 180)) -> Path:
    out = path.parent / "out.nut"
    ass = write_ass(cues, "t", Look(*size, fonts=(family, family), libass=True))
    burn_in(private_link(path), probe(path), Drawing(ass, (font,)), out)
    return out


def frames(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        return [(float(f.pts * f.time_base), f.to_ndarray(format="gray")) for f in container.decode(video=0)]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return sorted(float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None)


def light(picture: NDArray[np.uint8]) -> int:
    """White pixels of the picture."""
    return int((picture > 200).sum())


@pytest.fixture
def font(tmp_path: Path) -> Path:
    """A font that draws a filled square for each of its characters and a hollow one for all others."""
    return write_font(tmp_path / "tiny.ttf", "Tiny Sans", "中文")


def test_letters_are_on_exactly_the_frames_of_their_cue(tmp_path: Path, font: Path) -> None:
    shown = [t for t, picture in frames(burnt(film(tmp_path / "a.mp4"), [Cue(0.48, 1.2, "中文")], font)) if light(picture) > 40]
    assert shown == pytest.approx([n / 25 for n in range(12, 30)])


def test_chinese_is_drawn_with_the_given_font_and_not_as_boxes(tmp_path: Path, font: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    real = frames(burnt(film(tmp_path / "a.mp4"), [Cue(0, 2, "中文")], font))[5][1]
    boxes = frames(burnt(film(other / "a.mp4"), [Cue(0, 2, "中文")], write_font(other / "b.ttf", "Tiny Sans", "AB")))[5][1]
    assert light(real) > 1.5 * light(boxes)
    assert light(real) > 40


def test_a_folder_of_any_name_does(tmp_path: Path, font: Path) -> None:
    home = tmp_path / "it's [a]; folder, with: \\ and = in%d"
    home.mkdir()
    pictures = frames(burnt(film(home / "a.mp4"), [Cue(0, 2, "中文")], font))
    assert light(pictures[5][1]) > 40


def test_the_text_of_users_cannot_give_orders(tmp_path: Path, font: Path) -> None:
    text = "{\\pos(0,0)\\p1}m 0 0 l 320 0 320 180 0 180{\\p0}中\\N"
    pictures = frames(burnt(film(tmp_path / "a.mp4"), [Cue(0, 2, text)], font))
    assert (pictures[5][1][:90] < 150).all(), "nothing is drawn at the top"


def test_frames_of_any_time_keep_it(tmp_path: Path, font: Path) -> None:
    uneven = f"{GREY},select='not(mod(n,3))+not(mod(n,7))'"
    source = film(tmp_path / "a.mkv", uneven, "-fps_mode", "passthrough")
    assert len(set(np.diff(times(source)).round(3))) > 1
    assert times(burnt(source, [Cue(0, 1, "中")], font)) == pytest.approx(times(source), abs=1e-3)
    exact = film(tmp_path / "b.mp4", GREY.replace("r=25", "r=30000/1001"))
    assert times(burnt(exact, [Cue(0, 1, "中")], font)) == pytest.approx(times(exact), abs=1e-5)


def test_the_film_begins_at_its_first_moment_also_where_the_container_does_not(tmp_path: Path, font: Path) -> None:
    ff(
        *("-itsoffset", 0.4, "-f", "lavfi", "-i", GREY, "-f", "lavfi", "-i", "sine=d=2", "-c:v", "libx264", "-bf", "2"),
        tmp_path / "a.ts",
    )
    source = probe(tmp_path / "a.ts")
    first = source.of("video")[0].start
    assert source.start > 1 and first > 0.2
    shown = frames(burnt(tmp_path / "a.ts", [Cue(1.0, 1.5, "中文")], font))
    assert shown[0][0] == pytest.approx(first, abs=0.002)
    assert min(t for t, picture in shown if light(picture) > 40) == pytest.approx(1.0, abs=0.041)


def test_size_shape_of_pixels_and_colour_tags_stay(tmp_path: Path, font: Path) -> None:
    tags = "setsar=4/3,setparams=color_primaries=smpte170m:color_trc=bt709:colorspace=smpte170m:range=tv"
    out = burnt(film(tmp_path / "a.mp4", f"{GREY},{tags}"), [Cue(0, 1, "中")], font)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.width, context.height, stream.sample_aspect_ratio) == (320, 180, Fraction(4, 3))
        assert (int(context.color_primaries), int(context.color_trc), int(context.colorspace)) == (6, 1, 6)
        assert (context.pix_fmt, stream.codec.name, len(container.streams)) == ("yuv420p", "h264", 1)


def test_a_picture_that_is_to_be_turned_is_turned_before_the_letters_are_drawn(tmp_path: Path, font: Path) -> None:
    film(tmp_path / "flat.mp4")
    ff("-display_rotation", 90, "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "a.mp4")
    assert shown_size(private_link(tmp_path / "flat.mp4"), probe(tmp_path / "flat.mp4")) == (320, 180)
    assert shown_size(private_link(tmp_path / "a.mp4"), probe(tmp_path / "a.mp4")) == (180, 320)
    picture = frames(burnt(tmp_path / "a.mp4", [Cue(0, 2, "中文")], font, size=(180, 320)))[5][1]
    assert picture.shape == (320, 180)
    assert light(picture[160:]) > 40
    assert light(picture[:160]) == 0


def test_an_odd_size_stays(tmp_path: Path, font: Path) -> None:
    film(tmp_path / "a.mkv", "color=gray:s=161x91:r=25:d=1", "-pix_fmt", "yuv444p")
    assert frames(burnt(tmp_path / "a.mkv", [Cue(0, 1, "中")], font, size=(161, 91)))[0][1].shape == (91, 161)


def test_an_hdr_picture_is_refused(tmp_path: Path, font: Path) -> None:
    film(tmp_path / "a.mkv", f"{GREY},setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc")
    with pytest.raises(BadSettings, match="HDR"):
        burnt(tmp_path / "a.mkv", [Cue(0, 1, "中")], font)


def test_sound_alone_has_no_picture_to_draw_into(tmp_path: Path, font: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=d=1", tmp_path / "a.wav")
    with pytest.raises(BadSettings, match="no picture"):
        burnt(tmp_path / "a.wav", [Cue(0, 1, "中")], font)


def test_the_same_bytes_come_out_every_time(tmp_path: Path, font: Path) -> None:
    source = film(tmp_path / "a.mp4", "testsrc2=s=160x90:r=25:d=2")
    cues = [Cue(0, 1, "中")]
    assert burnt(source, cues, font).read_bytes() == burnt(source, cues, font).read_bytes()
