"""Media segments against what ffmpeg reads in them and in the picture that they were made of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from polydub.media import fragments
from polydub.media.intake import PicturePart

SMALL = "movflags=frag_keyframe+empty_moov+default_base_moof:use_editlist=0"  # as the intake makes the parts
CODERS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast"],
    "h264 of an odd rate": ["-r", "100003/4000", "-c:v", "libx264", "-preset", "veryfast"],  # a clock of 100,003 ticks
    "h264 without B-frames": ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"],
    "h264 of oblong pixels": ["-vf", "setsar=4/3", "-c:v", "libx264", "-preset", "veryfast"],
    "hevc": ["-c:v", "libx265", "-x265-params", "log-level=none"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
    "av1": ["-c:v", "libsvtav1", "-preset", "12"],
}


def ffmpeg(*arguments: str | Path) -> str:
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={"SVT_LOG": "1"}).stdout


def packets(file: Path, track: str) -> list[tuple[float, int, str]]:
    """When each packet is shown, how large it is, and its digest."""
    told = ffmpeg("-copyts", "-i", file, "-map", track, "-c", "copy", "-f", "framemd5", "-").splitlines()
    (base,) = (line.split()[-1] for line in told if line.startswith("#tb"))
    over, under = base.split("/")
    rows = [line.split(",") for line in told if not line.startswith("#")]
    return sorted((round(int(row[2]) * int(over) / int(under), 4), int(row[4]), row[5].strip()) for row in rows)


@pytest.mark.parametrize("kind", CODERS)
def test_a_segment_and_its_chunk_hold_the_pictures_and_the_sound_of_the_film(tmp_path: Path, kind: str) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=4", "-g", "50", *CODERS[kind], tmp_path / "film.mp4")
    part = ["-c", "copy", "-fflags", "+bitexact", "-output_ts_offset", "10", "-f", "segment", "-segment_time", "2"]
    ffmpeg("-i", tmp_path / "film.mp4", *part, "-segment_format_options", SMALL, tmp_path / "part-%d.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=440:r=48000:d=4", "-c:a", "aac", "-f", "adts", tmp_path / "sound.aac")
    parts = tuple(PicturePart(file, 20.0 + 2 * n, 22.0 + 2 * n) for n, file in enumerate(sorted(tmp_path.glob("part-*"))))

    made = fragments.fragment(fragments.Cut(parts, (tmp_path / "sound.aac").read_bytes(), 938), tmp_path)
    (tmp_path / "segment.mp4").write_bytes(made.init + made.media)
    fragments.stand_alone(made.init + fragments.moved(made.media, made.init, 20.0), tmp_path / "chunk.mp4")

    film = packets(tmp_path / "film.mp4", "0:v")
    assert len(film) == 100
    assert packets(tmp_path / "chunk.mp4", "0:v") == film
    shown = [(round(time - 20, 4), *what) for time, *what in packets(tmp_path / "segment.mp4", "0:v")]
    assert shown == packets(tmp_path / "chunk.mp4", "0:v")
    heard, alone = packets(tmp_path / "segment.mp4", "0:a"), packets(tmp_path / "chunk.mp4", "0:a")
    assert [what for _, *what in heard] == [what for _, *what in alone]
    assert alone[0][0] == pytest.approx(938 * 1024 / 48_000 - 20, abs=1e-3)
    shape = subprocess.run(
        [get_ffmpeg_exe(), "-hide_banner", "-i", tmp_path / "chunk.mp4"], capture_output=True, text=True, check=False
    )
    assert ("SAR 4:3" in shape.stderr) == (kind == "h264 of oblong pixels")
    assert (tmp_path / "chunk.mp4").read_bytes().find(b"moov") < 100, "its head comes first"
