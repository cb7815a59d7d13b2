"""A picture of which a part is encoded anew: what is not changed is the same, bit for bit and at its time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from polydub.media import lipcut, mux, pictures, probe, rejoin
from polydub.types import Artifact

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
H264 = ("-c:v", "libx264", "-preset", "fast", "-g", "20", "-keyint_min", "20", "-sc_threshold", "0", "-pix_fmt", "yuv420p")
X265 = "keyint=20:min-keyint=20:scenecut=0:open-gop=0:log-level=none"
HEVC = ("-c:v", "libx265", "-preset", "fast", "-x265-params", X265, "-pix_fmt", "yuv420p")
UNEVEN = ("-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "vfr")
FRAMES = 60

JOINED = {
    "h264 in mp4": (".mp4", H264),
    "h264 in mkv": (".mkv", H264),
    "h264 without b-frames": (".mp4", (*H264, "-bf", "0", "-profile:v", "baseline")),
    "h264 in ts": (".ts", H264),
    "h264 at an uneven rate": (".mp4", (*H264, *UNEVEN)),
    "h264 of 10 bits": (".mkv", (*H264[:-1], "yuv420p10le")),
    "hevc in mp4": (".mp4", HEVC),
    "hevc in mkv": (".mkv", HEVC),
    "hevc of 10 bits": (".mkv", (*HEVC[:-1], "yuv420p10le")),
}


def ffmpeg(*arguments: str | Path) -> str:
    """Standard output of ffmpeg; it may not complain of anything."""
    done = subprocess.run(
        [FFMPEG, "-nostdin", "-v", "warning", "-y", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "deprecated" not in line]
    assert (done.returncode, complaints) == (0, [])
    return done.stdout


def film(path: Path, *how: str, extra: tuple[str, ...] = ()) -> rejoin.Reel:
    """A generated film of FRAMES frames at 25 a second, and its index."""
    source = f"testsrc2=size=96x64:rate=25:duration={FRAMES / 25}"
    done = subprocess.run(
        [FFMPEG, "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source, *how, *extra, path],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return reel_of(path)


def reel_of(path: Path) -> rejoin.Reel:
    source = probe.probe(Artifact("0", path.suffix, 0), path)
    track = source.of("video")[0]
    return rejoin.Reel(path, track, pictures.index_of(path, track), source.start)


@dataclass(frozen=True)
class Shown:
    """Frames as a player shows them: digests of their pixels, times in seconds."""

    digests: list[str]
    times: list[float]


def shown(path: Path) -> Shown:
    rows = ffmpeg("-copyts", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-").splitlines()
    base = next(row.split(":")[1].split("/") for row in rows if row.startswith("#tb"))
    fields = [row.split(",") for row in rows if not row.startswith("#")]
    return Shown([f[5].strip() for f in fields], [int(f[2]) * int(base[0]) / int(base[1]) for f in fields])


def rejoined(reel: rejoin.Reel, folder: Path, changed: int, pastes: tuple[rejoin.Paste, ...] = ()) -> Path:
    """The picture with the group that frame `changed` is in encoded anew."""
    edges = [*reel.index.starts.tolist(), reel.index.look.frames]
    groups = list(pairwise(edges))
    wanted = [g for g in groups if g[0] <= changed < g[1]] if reel.index.look.joined else groups
    parts: dict[tuple[int, int], Path] = {}
    for first, last in wanted:
        parts[first, last] = folder / f"{first}.nut"
        rejoin.encode_part(reel, (first, last), pastes, parts[first, last])
    out = folder / "picture.nut"
    rejoin.join(reel, parts, out)
    return out


@pytest.mark.parametrize("name", JOINED)
def test_frames_outside_the_changed_group_stay_as_they_are(tmp_path: Path, name: str) -> None:
    suffix, how = JOINED[name]
    reel = film(tmp_path / f"film{suffix}", *how)
    assert (reel.index.look.joined, reel.index.look.refused) == (True, "")
    starts = reel.index.starts.tolist()
    assert len(starts) >= 3
    before = shown(reel.link)
    made = rejoined(reel, tmp_path, starts[1])
    for container in ("nut", "mkv", "mp4"):
        file = made
        if container != "nut":
            file = tmp_path / f"new.{container}"
            ffmpeg("-copyts", "-i", made, "-c", "copy", file)
        after = shown(file)
        different = {n for n, (a, b) in enumerate(zip(before.digests, after.digests, strict=True)) if a != b}
        assert different == set(range(starts[1], starts[2]))
        expected = np.array(before.times) - reel.start
        assert np.abs(np.array(after.times) - expected).max() < (0.0011 if container == "mkv" or suffix == ".mkv" else 1e-4)


@pytest.mark.parametrize("changed", [0, 59])
@pytest.mark.parametrize("name", ["h264 in mp4", "hevc in mkv"])
def test_the_first_and_the_last_group_may_be_changed_too(tmp_path: Path, name: str, changed: int) -> None:
    suffix, how = JOINED[name]
    reel = film(tmp_path / f"film{suffix}", *how)
    before, after = shown(reel.link), shown(rejoined(reel, tmp_path, changed))
    different = {n for n, (a, b) in enumerate(zip(before.digests, after.digests, strict=True)) if a != b}
    assert different == set(range(reel.index.gop(changed), reel.index.gop(changed) + 20))


@pytest.mark.parametrize("seconds", ["0.9", "1.7"])
@pytest.mark.parametrize("name", ["h264 in mkv", "hevc in mp4"])
def test_a_player_may_begin_in_any_group(tmp_path: Path, name: str, seconds: str) -> None:
    suffix, how = JOINED[name]
    reel = film(tmp_path / f"film{suffix}", *how)
    new = tmp_path / "new.mkv"
    ffmpeg("-i", rejoined(reel, tmp_path, 25), "-c", "copy", new)
    rows = ffmpeg("-ss", seconds, "-i", new, "-frames:v", "3", "-f", "framemd5", "-")
    first = next(row.split(",")[5].strip() for row in rows.splitlines() if not row.startswith("#"))
    assert first in shown(new).digests


def test_open_groups_are_changed_together(tmp_path: Path) -> None:
    closed = film(tmp_path / "closed.mkv", *H264)
    opened = film(tmp_path / "open.mkv", *H264, extra=("-x264-params", "open-gop=1"))
    assert len(opened.index.starts) < len(closed.index.starts)
    before, after = shown(opened.link), shown(rejoined(opened, tmp_path, 0))
    assert len(before.digests) == len(after.digests)
    last = [*opened.index.starts.tolist(), FRAMES][1]
    assert before.digests[last:] == after.digests[last:]


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "mpeg4"), (".webm", "libvpx-vp9"), (".mkv", "mjpeg")])
def test_a_picture_that_cannot_be_joined_is_encoded_whole(tmp_path: Path, suffix: str, codec: str) -> None:
    reel = film(
        tmp_path / f"film{suffix}", "-c:v", codec, "-q:v", "3", "-pix_fmt", "yuvj420p" if codec == "mjpeg" else "yuv420p"
    )
    assert not reel.index.look.joined
    before, after = shown(reel.link), shown(rejoined(reel, tmp_path, 5))
    assert len(after.digests) == len(before.digests)
    assert np.abs(np.array(after.times) - np.array(before.times) + reel.start).max() < 1e-4
    new = tmp_path / "new.mp4"
    ffmpeg("-i", tmp_path / "picture.nut", "-c", "copy", new)
    assert probe.probe(Artifact("0", ".mp4", 0), new).of("video")[0].codec == "h264"


def test_the_same_is_written_every_time(tmp_path: Path) -> None:
    reel = film(tmp_path / "film.mp4", *H264)
    files: list[bytes] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(rejoined(reel, tmp_path / name, 25).read_bytes())
    assert files[0] == files[1]


Refused = dict[str, tuple[tuple[str, ...], str]]
REFUSED: Refused = {
    "hdr": (("-pix_fmt", "yuv420p10le", "-color_trc", "smpte2084", "-x265-params", "log-level=none:transfer=smpte2084"), "HDR"),
    "grey": (("-pix_fmt", "gray", "-x265-params", "log-level=none"), "gray"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_come_out_wrong_is_refused(tmp_path: Path, name: str) -> None:
    how, reason = REFUSED[name]
    reel = film(tmp_path / "film.mkv", "-c:v", "libx265", "-preset", "ultrafast", *how)
    assert reason in reel.index.look.refused


def test_a_picture_that_is_turned_for_display_is_refused(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", *H264)
    ffmpeg("-display_rotation", "90", "-i", tmp_path / "film.mp4", "-c", "copy", tmp_path / "turned.mp4")
    assert "turned" in reel_of(tmp_path / "turned.mp4").index.look.refused


def test_an_interlaced_picture_is_refused(tmp_path: Path) -> None:
    reel = film(tmp_path / "film.mkv", *H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1")
    assert "interlaced" in reel.index.look.refused


def test_an_index_that_was_written_is_read_again(tmp_path: Path) -> None:
    index = film(tmp_path / "film.mp4", *H264).index
    pictures.save_index(index, tmp_path / "index.npz")
    again = pictures.load_index(tmp_path / "index.npz")
    assert (again.look, again.reordered) == (index.look, index.reordered)
    assert again.shown.tolist() == index.shown.tolist() and again.starts.tolist() == index.starts.tolist()


def luma(path: Path) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    raw = subprocess.run(
        [FFMPEG, "-nostdin", "-v", "error", "-i", path, "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    return np.frombuffer(raw, np.uint8).reshape(-1, 64, 96)  # type: ignore[return-value]


def painted(reel: rejoin.Reel, folder: Path, first: int, last: int, colour: str = "white", rate: int = 25) -> rejoin.Paste:
    """A region of one colour, from a file such as a lip-syncing program gives back."""
    given = lipcut.cut(reel, first, last, folder / "in.mp4")
    out = folder / "out.mp4"
    seconds = given.frames * given.fps[1] / given.fps[0]
    ffmpeg("-f", "lavfi", "-i", f"color={colour}:size=96x64:rate={rate}:duration={seconds}", *H264, out)
    lipcut.check(out, reel, given)
    lipcut.save_region(out, reel, (first, last), (32, 16, 40, 30), folder / "region.nut")
    return rejoin.Paste(folder / "region.nut", first, last - first, 32, 16, 40, 30)


@pytest.mark.parametrize("rate", [25, 50, 24])
def test_what_is_pasted_is_seen_in_its_place_and_time_and_fades(tmp_path: Path, rate: int) -> None:
    reel = film(tmp_path / "film.mp4", *H264, "-crf", "4")
    paste = painted(reel, tmp_path, 24, 36, rate=rate)
    before, after = luma(reel.link), luma(rejoined(reel, tmp_path, 24, (paste,)))
    inside = after[:, 24:38, 42:62].mean((1, 2))
    assert inside[28:32].min() > 225
    assert before[28:32, 24:38, 42:62].mean() < 200
    assert (np.diff(inside[23:28]) > 0).all() and (np.diff(inside[32:36]) < 0).all()
    outside = np.abs(after.astype(int) - before)
    outside[:, 16:46, 32:72] = 0
    assert outside.mean() < 1
    assert np.abs(after[:24].astype(int) - before[:24]).mean() < 1 and np.abs(after[36:].astype(int) - before[36:]).mean() < 1


def test_a_cut_shows_every_frame_of_a_film_at_a_constant_rate(tmp_path: Path) -> None:
    reel = film(tmp_path / "film.mp4", *H264)
    given = lipcut.cut(reel, 13, 44, tmp_path / "in.mp4")
    assert (given.fps, given.frames) == ((25, 1), 31)
    assert (luma(tmp_path / "in.mp4") == luma(reel.link)[13:44]).all()


def test_a_cut_of_a_film_at_an_uneven_rate_lasts_as_long(tmp_path: Path) -> None:
    reel = film(tmp_path / "film.mp4", *H264, *UNEVEN)
    given = lipcut.cut(reel, 5, 40, tmp_path / "in.mp4")
    base = reel.index.look.base
    seconds = (reel.index.shown[40] - reel.index.shown[5]) * base[0] / base[1]
    assert given.frames * given.fps[1] / given.fps[0] == pytest.approx(seconds, abs=0.03)
    assert len(luma(tmp_path / "in.mp4")) == given.frames


BAD: dict[str, Callable[[Path], object]] = {
    "wrote no video": lambda out: None,
    "cannot be read": lambda out: out.write_bytes(b"no video" * 100),
    "48x64, not 96x64": lambda out: ffmpeg("-f", "lavfi", "-i", "color=red:size=48x64:rate=25:duration=1.2", *H264, out),
    "15 frames for 30": lambda out: ffmpeg("-f", "lavfi", "-i", "color=red:size=96x64:rate=25:duration=0.6", *H264, out),
    "without a picture": lambda out: ffmpeg("-f", "lavfi", "-i", "sine=duration=1.2", out),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_result_that_is_not_what_was_asked_for_is_refused(tmp_path: Path, reason: str) -> None:
    from polydub.errors import BadEngineOutput

    reel = film(tmp_path / "film.mp4", *H264)
    BAD[reason](tmp_path / "out.mp4")
    with pytest.raises(BadEngineOutput, match=reason):
        lipcut.check(tmp_path / "out.mp4", reel, lipcut.Cut((25, 1), 30))


def test_a_picture_of_an_odd_size_is_refused(tmp_path: Path) -> None:
    reel = film(tmp_path / "film.mkv", "-vf", "crop=95:63:exact=1", "-c:v", "libx264", "-pix_fmt", "yuv444p")
    assert "odd" in reel.index.look.refused


def test_new_parameter_sets_get_a_number_that_the_source_does_not_use() -> None:
    sps, pps = (lambda n: b"\x67\x64\x00\x1f" + n), (lambda n: b"\x68" + n)
    zero, one, two = b"\x80", b"\x40", b"\x60"  # Exp-Golomb: 1, 010, 011
    assert rejoin.free_number([sps(zero), pps(zero)]) == 1
    assert rejoin.free_number([sps(zero), pps(zero), pps(one)]) == 2
    assert rejoin.free_number([sps(one), sps(zero), pps(two)]) == 3


@pytest.mark.parametrize("rate", [24, 25, 50])
def test_each_frame_gets_what_is_nearest_in_time(tmp_path: Path, rate: int) -> None:
    reel = film(tmp_path / "film.mp4", *H264)
    brighter = f"color=black:size=96x64:rate={rate}:duration=1.2,geq=lum='40+150*T':cb=128:cr=128"
    ffmpeg("-f", "lavfi", "-i", brighter, *H264, "-qp", "0", tmp_path / "out.mp4")
    lipcut.save_region(tmp_path / "out.mp4", reel, (20, 50), (0, 0, 96, 64), tmp_path / "region.nut")
    found = luma(tmp_path / "region.nut").mean((1, 2))
    expected = (40 + 150 * np.arange(30) / 25 - 16) * 255 / 219  # grey of full range
    assert len(found) == 30
    assert np.abs(found - expected)[:-1].max() <= 150 / rate / 2 * 255 / 219 + 1.5


@pytest.mark.parametrize(("name", "tag"), [("hevc in mp4", "hvc1"), ("h264 in mp4", "avc1")])
def test_a_joined_picture_in_mp4_has_the_tag_that_players_know(tmp_path: Path, name: str, tag: str) -> None:
    suffix, how = JOINED[name]
    path = tmp_path / f"film{suffix}"
    reel = film(path, *how)
    source = probe.probe(Artifact("0", suffix, 0), path)
    mux.mux(mux.MuxPlan(reel.link, source, "mp4", (), picture=rejoined(reel, tmp_path, 25)), tmp_path / "new.mp4")
    assert tag.encode() in (tmp_path / "new.mp4").read_bytes()
