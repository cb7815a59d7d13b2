"""What probing tells of good, odd and bad files."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from flash_clips import ff, flash_clip, probe

from polydub.errors import UnreadableMedia
from polydub.media.probe import MAX_TRACKS


def test_tracks_are_told_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello there\n")
    (tmp_path / "font.ttf").write_bytes(b"font")
    film = tmp_path / "film.mkv"
    ff(
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=2", "-f", "lavfi", "-i", "sine=duration=2"),
        *(
            "-i",
            tmp_path / "s.srt",
            "-map",
            0,
            "-map",
            1,
            "-map",
            1,
            "-map",
            2,
            "-c:v",
            "libx264",
            "-c:a",
            "aac",
            "-c:s",
            "srt",
        ),
        *("-ac:a:0", 2, "-ac:a:1", 6, "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=GER"),
        *("-metadata:s:a:1", "title=Kommentar", "-disposition:a:1", "0", "-disposition:a:0", "default"),
        *("-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=font/ttf", film),
    )
    source = probe(film)
    video, first, second, subtitle, font = source.tracks
    assert [t.index for t in source.tracks] == [0, 1, 2, 3, 4]
    assert [t.kind for t in source.tracks] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert (video.codec, video.width, video.height, video.fps) == ("h264", 320, 180, 30)
    assert (first.codec, first.channels, first.rate_hz, first.layout) == ("aac", 2, 44_100, "stereo")
    assert (first.language, first.default) == ("eng", True)
    assert (second.language, second.title, second.default, second.channels) == ("ger", "Kommentar", False, 6)
    assert (subtitle.codec, subtitle.text, subtitle.language) == ("subrip", True, "und")
    assert (font.codec, font.width) == ("", 0)
    assert source.container == "matroska" and source.duration == pytest.approx(2, abs=0.04)


def test_a_cover_is_an_attachment_and_mp4_names_are_titles(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "color=red:s=64x64:d=0.04", "-frames:v", 1, tmp_path / "c.png")
    song = ("-f", "lavfi", "-i", "sine=duration=1", "-i", tmp_path / "c.png", "-map", 0, "-map", 1)
    ff(
        *song,
        "-c:a",
        "aac",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
        "-metadata:s:a",
        "title=Song",
        tmp_path / "a.mp4",
    )
    source = probe(tmp_path / "a.mp4")
    assert [t.kind for t in source.tracks] == ["audio", "attachment"]
    assert source.tracks[0].title == "Song"


SOUND_FILES = {
    **{".wav": "pcm_s16le", ".w64": "pcm_s16le", ".aiff": "pcm_s16be", ".flac": "flac", ".mp3": "mp3", ".m4a": "aac"},
    **{".aac": "aac", ".ac3": "ac3", ".ogg": "vorbis", ".opus": "opus", ".wma": "wmav2", ".mka": "vorbis"},
}


@pytest.mark.parametrize(("suffix", "codec"), SOUND_FILES.items())
def test_sound_alone_is_fine_and_its_length_right(suffix: str, codec: str, tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=3", tmp_path / f"a{suffix}")
    source = probe(tmp_path / f"a{suffix}")
    assert [(t.kind, t.codec) for t in source.tracks] == [("audio", codec)]
    assert source.duration == pytest.approx(3, abs=0.09)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mkv").rename(tmp_path / "a.mp3")
    assert probe(film).container == "matroska"


def test_no_sound_is_no_error_here(clip: Callable[..., Path]) -> None:
    assert not probe(clip(sound="none")).of("audio")


def test_unknown_lengths_are_measured(tmp_path: Path) -> None:
    film = tmp_path / "piped.webm"
    flash_clip(film, "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus", "-live", 1)
    assert b"\x44\x89" not in film.read_bytes()[:300]  # no duration in its header
    assert probe(film).duration == pytest.approx(4, abs=0.05)


def test_a_guessed_length_is_measured(tmp_path: Path) -> None:
    quiet_then_loud = "aevalsrc='if(gt(t,20),0.5*random(0)-0.25,0)':d=30"
    ff("-f", "lavfi", "-i", quiet_then_loud, "-c:a", "libmp3lame", "-q:a", 2, "-write_xing", 0, tmp_path / "a.mp3")
    ff("-f", "lavfi", "-i", quiet_then_loud, "-c:a", "aac", tmp_path / "a.aac")
    assert probe(tmp_path / "a.mp3").duration == pytest.approx(30, abs=0.1)
    assert probe(tmp_path / "a.aac").duration == pytest.approx(30, abs=0.1)


def test_times_are_on_the_films_clock_wherever_it_begins(tmp_path: Path) -> None:
    late = probe(flash_clip(tmp_path / "late.mkv", "-output_ts_offset", "3600.5", "-c:a", "pcm_s16le"))
    assert (late.start, late.duration) == (3600.5, 4.0)
    assert [t.start for t in late.tracks] == [0.0, 0.0]
    ts = probe(flash_clip(tmp_path / "a.ts", audio_at=0.5))
    assert ts.start > 1
    assert ts.tracks[0].start == 0.0 and ts.tracks[1].start == pytest.approx(0.5, abs=0.03)
    before = probe(flash_clip(tmp_path / "b.mkv", "-avoid_negative_ts", "disabled", "-c:a", "libopus", audio_at=-0.3))
    assert before.start == pytest.approx(-0.307, abs=0.002)
    assert before.tracks[0].start == pytest.approx(0.307, abs=0.002)


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"Dear all,\nthis is a letter.\n", "text file"),
    "hls": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "playlist"),
    "hls after a byte-order mark": (b"\xef\xbb\xbf#EXTM3U\n", "playlist"),
    "concat": (b"ffconcat version 1.0\nfile other.mp4\n", "playlist"),
    "dash": (b'<?xml version="1.0"?><MPD></MPD>', "playlist"),
    "sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", "playlist"),
    "noise": (bytes(range(256)) * 40, "not a video or sound file"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a video or sound file"),
    "cut": (b"\0\0\0\x18ftypisom\0\0\0\0isommp41\0\0\1\0mdat" + bytes(100), "cut off"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".m3u8"])
def test_what_is_not_media_is_refused_in_one_sentence(kind: str, suffix: str, tmp_path: Path) -> None:
    content, said = REFUSED[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableMedia, match=said) as caught:
        probe(path)
    assert caught.value.hint and str(tmp_path) not in caught.value.message and "\n" not in caught.value.message


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.mp4", Path("/dev/null")):
        with pytest.raises(UnreadableMedia):
            probe(path)


def test_subtitles_alone_are_no_film(tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello there\n")
    ff("-i", tmp_path / "s.srt", tmp_path / "s.mkv")
    with pytest.raises(UnreadableMedia, match="neither sound nor picture"):
        probe(tmp_path / "s.mkv")


def test_more_tracks_than_the_limit_are_refused(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=0.1", *["-map", "0"] * (MAX_TRACKS + 1), "-c:a", "pcm_u8", tmp_path / "many.mkv")
    with pytest.raises(UnreadableMedia, match="201 tracks"):
        probe(tmp_path / "many.mkv")


def test_a_longer_film_than_the_limit_is_refused(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=0.1", "-c:a", "pcm_u8", tmp_path / "a.mkv")
    film = (tmp_path / "a.mkv").read_bytes()
    length = film.index(b"\x44\x89\x88") + 3  # Matroska Duration, milliseconds
    (tmp_path / "b.mkv").write_bytes(film[:length] + struct.pack(">d", 25 * 3.6e6) + film[length + 8 :])
    with pytest.raises(UnreadableMedia, match="25 h long"):
        probe(tmp_path / "b.mkv")


def test_a_picture_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "color=s=300x300:r=25:d=0.2", "-c:v", "ffv1", tmp_path / "a.mkv")
    film = (tmp_path / "a.mkv").read_bytes()
    size, huge = b"\xb0\x82\x01\x2c\xba\x82\x01\x2c", b"\xb0\x82\x7f\xff\xba\x82\x7f\xff"  # PixelWidth, PixelHeight
    assert film.count(size) == 1
    (tmp_path / "b.mkv").write_bytes(film.replace(size, huge))
    assert probe(tmp_path / "a.mkv").tracks[0].width == 300
    with pytest.raises(UnreadableMedia, match="larger than 16384"):
        probe(tmp_path / "b.mkv")


def test_real_clips_are_read(shared_data: Path) -> None:
    films = sorted((shared_data / "media/video").glob("*.mp4"))
    assert films
    for film in films:
        source = probe(film)
        assert source.of("video") and source.of("audio")
        assert 1 < source.duration < 60 and math.isfinite(source.start)
