"""Sound on the film's clock, whatever the container does with time; and the text of subtitle tracks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from flash_clips import beep_at, decode, ff, flash_clip, onset, private_link, probe

from polydub.errors import NoAudioTrack, UnreadableMedia
from polydub.media import ffmpeg
from polydub.types import BLOCK, RATE_HZ

MS = 0.001
NEGATIVE = ("-avoid_negative_ts", "disabled")
CLIPS: dict[str, tuple[tuple[object, ...], dict[str, float]]] = {
    "plain.mp4": ((), {}),
    "plain.mkv": ((), {}),
    "late sound.mp4": ((), {"audio_at": 0.5}),
    "late sound.mkv": ((), {"audio_at": 0.5}),
    "late sound.ts": ((), {"audio_at": 0.5}),
    "late picture.mp4": ((), {"video_at": 0.2}),
    "late picture.mkv": ((), {"video_at": 0.2}),
    "negative start.mp4": ((), {"audio_at": -0.5}),
    "negative start.mkv": ((*NEGATIVE, "-c:a", "libopus"), {"audio_at": -0.3}),
    "an hour in.mkv": (("-output_ts_offset", "3600.5"), {}),
    "ten seconds in.mp4": (("-output_ts_offset", "10.5"), {}),
    "fragments.mp4": (("-movflags", "frag_keyframe+empty_moov"), {}),
    "plain.ts": ((), {}),
    "plain.flv": ((), {}),
    "pcm.mov": (("-c:a", "pcm_s16le"), {}),
    "mp3.avi": (("-c:v", "mpeg4", "-c:a", "libmp3lame"), {}),
    "mp2.mpg": (("-c:v", "mpeg2video", "-c:a", "mp2"), {}),
    "opus.mkv": (("-c:a", "libopus"), {}),
    "windows.wmv": (("-c:v", "wmv2", "-c:a", "wmav2"), {}),
}


@pytest.mark.parametrize("name", CLIPS)
def test_sound_is_where_the_container_says(name: str, tmp_path: Path) -> None:
    output, starts = CLIPS[name]
    film = flash_clip(tmp_path / name, *output, **starts)  # type: ignore[arg-type]
    source, sound = probe(film), decode(film)
    assert sound.shape == (1, round(source.duration * RATE_HZ))
    assert onset(sound) == pytest.approx(beep_at(film) - source.start, abs=MS)


def test_long_sound_comes_in_whole_blocks(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=70:r=8000", tmp_path / "a.wav")
    source = probe(tmp_path / "a.wav")
    blocks = list(ffmpeg.decode_blocks(private_link(tmp_path / "a.wav"), source.tracks[0], source, 2))
    assert [b.shape for b in blocks] == [(2, BLOCK), (2, BLOCK), (2, 70 * RATE_HZ - 2 * BLOCK)]
    assert all(b.dtype == np.float32 and b.flags.c_contiguous for b in blocks)


def test_samples_are_those_of_the_file(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (100_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    heard = decode(tmp_path / "a.wav", 2)
    assert np.abs(heard[:, :100_000] - samples.T[:, : heard.shape[1]]).max() < 1e-6


@pytest.mark.parametrize("second_at", [1.5, 1.05, 0.6])
def test_gaps_are_filled_and_overlaps_cut(second_at: float, tmp_path: Path) -> None:
    """Two pieces of 1 s, each with a beep at its start; the second begins late, or before the first ends."""
    ff("-f", "lavfi", "-i", "aevalsrc='0.5*sin(2*PI*1000*t)*lt(t,0.1)':s=48000:d=1", "-c:a", "pcm_s16le", tmp_path / "a.mkv")
    pieces = tmp_path / "pieces.txt"
    pieces.write_text(f"ffconcat version 1.0\nfile a.mkv\nduration {second_at}\nfile a.mkv\n")
    ff("-i", pieces, "-c", "copy", "-f", "nut", tmp_path / "both.nut")
    loud = np.abs(decode(tmp_path / "both.nut")[0]) > 0.25
    second = np.flatnonzero(loud[RATE_HZ // 4 :])[0] / RATE_HZ + 0.25
    kept = second_at if second_at > 1 else 1.0
    assert second == pytest.approx(kept, abs=0.03) or (second_at < 1 and second > 1)


def test_a_change_of_rate_and_layout_on_the_way_keeps_the_time(tmp_path: Path) -> None:
    for name, channels, rate in (("1.ac3", 2, 48_000), ("2.ac3", 6, 44_100), ("3.ac3", 1, 32_000)):
        ff("-f", "lavfi", "-i", "aevalsrc='0.5*sin(2*PI*1000*t)*gt(t,1)':d=2", "-ac", channels, "-ar", rate, tmp_path / name)
    (tmp_path / "all.ac3").write_bytes(b"".join((tmp_path / f"{n}.ac3").read_bytes() for n in (1, 2, 3)))
    ff("-f", "ac3", "-i", tmp_path / "all.ac3", "-c", "copy", tmp_path / "all.mkv")
    sound = decode(tmp_path / "all.mkv")
    level = [np.abs(sound[0, int((k + 0.3) * RATE_HZ) : int((k + 0.7) * RATE_HZ)]).max() for k in range(6)]
    assert sound.shape[1] / RATE_HZ == pytest.approx(6, abs=0.1)
    assert [bool(x > 0.1) for x in level] == [False, True] * 3


def test_surround_is_mixed_down_without_passing_full_scale(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=1:r=48000,volume=8", "-ac", 1, tmp_path / "loud.wav")
    six = "[0:a]pan=5.1|" + "|".join(f"c{n}=c0" for n in range(6))
    ff("-i", tmp_path / "loud.wav", "-filter_complex", six, "-c:a", "pcm_f32le", tmp_path / "six.mka")
    for channels in (1, 2):
        heard = decode(tmp_path / "six.mka", channels)
        assert heard.shape[0] == channels
        assert 0.5 < np.abs(heard).max() <= 1.0


def test_surround_sound_keeps_its_channels_and_their_levels(tmp_path: Path) -> None:
    levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    steady = np.repeat(np.array([levels], np.float32), 2 * RATE_HZ, axis=0)
    soundfile.write(tmp_path / "six.wav", steady, RATE_HZ, subtype="FLOAT")
    for layout in ("5.1", "5.1(side)"):
        film = tmp_path / f"{layout}.mka"
        ff("-channel_layout", layout, "-i", tmp_path / "six.wav", "-c:a", "pcm_f32le", film)
        source = probe(film)
        blocks = ffmpeg.decode_blocks(private_link(film), source.tracks[0], source, 6, layout)
        heard = np.concatenate(list(blocks), axis=1)
        assert np.allclose(heard[:, RATE_HZ], levels)


def test_a_film_whose_layout_changes_on_the_way_keeps_its_first_one(tmp_path: Path) -> None:
    for name, channels in (("1.ac3", 6), ("2.ac3", 2), ("3.ac3", 1), ("4.ac3", 6)):
        ff("-f", "lavfi", "-i", "sine=frequency=1000:d=2,volume=4", "-ac", channels, "-ar", RATE_HZ, tmp_path / name)
    (tmp_path / "all.ac3").write_bytes(b"".join((tmp_path / f"{n}.ac3").read_bytes() for n in (1, 2, 3, 4)))
    ff("-f", "ac3", "-i", tmp_path / "all.ac3", "-c", "copy", tmp_path / "all.mka")
    source = probe(tmp_path / "all.mka")
    blocks = ffmpeg.decode_blocks(private_link(tmp_path / "all.mka"), source.tracks[0], source, 6, source.tracks[0].layout)
    heard = np.concatenate(list(blocks), axis=1)
    loud = [np.abs(heard[:, n * RATE_HZ : n * RATE_HZ + 4800]).max(axis=1) > 0.05 for n in (1, 3, 5, 7)]
    centre, front = [False, False, True, False, False, False], [True, True, False, False, False, False]
    assert [part.tolist() for part in loud] == [centre, front, centre, centre]


def test_mono_keeps_its_level(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "aevalsrc='0.5*sin(2*PI*1000*t)':s=48000:d=1", "-c:a", "pcm_f32le", tmp_path / "a.wav")
    assert np.abs(decode(tmp_path / "a.wav", 1)).max() == pytest.approx(0.5, abs=0.001)


def test_the_chosen_track_is_decoded(tmp_path: Path) -> None:
    tones = ("-f", "lavfi", "-i", "anullsrc,atrim=duration=1", "-f", "lavfi", "-i", "sine=duration=1,volume=4")
    ff(*tones, "-map", 0, "-map", 1, "-c:a", "flac", tmp_path / "a.mkv")
    first, second = probe(tmp_path / "a.mkv").of("audio")
    assert np.abs(decode(tmp_path / "a.mkv", 1, first)).max() == 0
    assert np.abs(decode(tmp_path / "a.mkv", 1, second)).max() > 0.3


def test_a_film_whose_sound_ends_early_is_padded_without_a_complaint(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "color=s=64x64:d=3", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "flac", tmp_path / "a.mkv")
    source = probe(tmp_path / "a.mkv")
    decoding = ffmpeg.decode_blocks(private_link(tmp_path / "a.mkv"), source.of("audio")[0], source, 1)
    (sound,) = decoding
    assert sound.shape[1] == 3 * RATE_HZ
    assert np.abs(sound[0, : RATE_HZ - 50]).max() > 0.1 and not sound[0, RATE_HZ + 50 :].any()
    assert (decoding.missing_s, decoding.complaint) == (0.0, "")


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_truncated_film_gives_what_it_has_and_says_what_is_missing(name: str, tmp_path: Path) -> None:
    noise = ("-f", "lavfi", "-i", "anoisesrc=d=4", "-f", "lavfi", "-i", "testsrc2=s=160x90:d=4")
    ff(*noise, "-c:a", "aac", "-movflags", "faststart", tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    source = probe(tmp_path / name)
    decoding = ffmpeg.decode_blocks(private_link(tmp_path / name), source.of("audio")[0], source, 1)
    sound = np.concatenate(list(decoding), axis=1)
    assert sound.shape[1] == round(source.duration * RATE_HZ)
    assert 1 < decoding.missing_s < 3 and decoding.complaint
    assert str(tmp_path) not in decoding.complaint
    heard = round((source.duration - decoding.missing_s) * RATE_HZ)
    assert np.abs(sound[0, heard - 4800 : heard - 100]).max() > 0.01 and not sound[0, heard + 10 :].any()


def test_a_track_without_any_sound_in_it_is_unreadable(tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mp4", "-movflags", "faststart")
    whole = film.read_bytes()
    film.write_bytes(whole[: whole.index(b"mdat") + 60])
    source = probe(film)
    with pytest.raises(UnreadableMedia, match="no sound could be decoded"):
        list(ffmpeg.decode_blocks(private_link(film), source.of("audio")[0], source, 1))


def test_only_sound_tracks_are_decoded(tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mkv")
    source = probe(film)
    with pytest.raises(NoAudioTrack):
        ffmpeg.decode_blocks(private_link(film), source.of("video")[0], source, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_become_silence(value: float, tmp_path: Path) -> None:
    samples = np.full((4800, 1), 0.25, np.float32)
    samples[100:200] = value
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    sound = decode(tmp_path / "a.wav")
    assert np.isfinite(sound).all()
    assert not sound[0, 100:200].any() and (sound[0, 200:4800] == 0.25).all()


def test_a_reader_that_stops_early_leaves_no_program_behind(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=300:r=8000", tmp_path / "a.wav")
    source = probe(tmp_path / "a.wav")
    link = private_link(tmp_path / "a.wav")
    blocks = iter(ffmpeg.decode_blocks(link, source.tracks[0], source, 2))
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(link) not in listed


def test_text_subtitles_keep_their_times_and_words(tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text(
        "1\n00:00:01,234 --> 00:00:02,345\nHello <i>there</i>\n\n2\n00:00:03,000 --> 00:00:03,500\nñ 你好\n"
    )
    for codec, suffix in (("srt", ".mkv"), ("webvtt", ".mkv"), ("mov_text", ".mp4")):
        film = flash_clip(tmp_path / f"a{suffix}")
        ff("-i", film, "-i", tmp_path / "s.srt", "-map", 0, "-map", 1, "-c", "copy", "-c:s", codec, tmp_path / f"b{suffix}")
        track = probe(tmp_path / f"b{suffix}").of("subtitle")[0]
        text = ffmpeg.extract_subtitles(private_link(tmp_path / f"b{suffix}"), track).decode()
        assert "00:00:01,234 --> 00:00:02,345" in text
        assert "there" in text and "ñ 你好" in text


def test_subtitles_of_a_recording_that_begins_late_are_on_the_films_clock(tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:01,230 --> 00:00:02,340\nHello there\n")
    film = flash_clip(tmp_path / "a.mkv")
    late = ("-map", 0, "-map", 1, "-c", "copy", "-c:s", "srt", "-output_ts_offset", 100.5)
    ff("-i", film, "-i", tmp_path / "s.srt", *late, tmp_path / "b.mkv")
    track = probe(tmp_path / "b.mkv").of("subtitle")[0]
    assert "00:00:01,230 -->" in ffmpeg.extract_subtitles(private_link(tmp_path / "b.mkv"), track).decode()


def test_ass_stays_ass(tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:01,230 --> 00:00:02,340\nHello there\n")
    film = flash_clip(tmp_path / "a.mkv")
    ff("-i", film, "-i", tmp_path / "s.srt", "-map", 0, "-map", 1, "-c", "copy", "-c:s", "ass", tmp_path / "b.mkv")
    track = probe(tmp_path / "b.mkv").of("subtitle")[0]
    text = ffmpeg.extract_subtitles(private_link(tmp_path / "b.mkv"), track).decode()
    assert text.startswith("[Script Info]") and "0:00:01.23" in text


def test_picture_subtitles_have_no_text(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "color=s=64x64:d=1", "-c:v", "libx264", tmp_path / "a.mkv")
    track = probe(tmp_path / "a.mkv").tracks[0]
    with pytest.raises(UnreadableMedia, match="pictures"):
        ffmpeg.extract_subtitles(private_link(tmp_path / "a.mkv"), track)


def test_real_clips_decode_to_their_full_length(shared_data: Path, tmp_path: Path) -> None:
    for film in sorted((shared_data / "media/video").glob("*.mp4")):
        source = probe(film)
        link = ffmpeg.safe_link(film, tmp_path)
        decoding = ffmpeg.decode_blocks(link, source.of("audio")[0], source, 1)
        sound = np.concatenate(list(decoding), axis=1)
        assert sound.shape[1] == round(source.duration * RATE_HZ)
        assert np.abs(sound).max() > 0.05 and decoding.missing_s == 0
