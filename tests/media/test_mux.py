"""The finished file: every track where and when it should be, the picture untouched, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest
from flash_clips import artifact, beep_at, decode, ff, flash_at, flash_clip, onset, private_link, probe, tone
from test_decode import CLIPS

from polydub.errors import BadSettings
from polydub.media import ffmpeg
from polydub.types import FRAME, RATE_HZ, Samples, Source, Track

SRT = "1\n00:00:01,500 --> 00:00:02,500\nHola, señora\n\n2\n00:00:03,000 --> 00:00:03,500\n你好\n"
CONTAINERS = ["mkv", "mp4"]


def adts(path: Path, film: Samples) -> Path:
    """`film` as one AAC stream."""
    path.write_bytes(ffmpeg.encode_aac_block(film, ffmpeg.Cut(0, 0, film.shape[1]), 96, path.parent).packets)
    return path


def plan_for(film: Path, container: str, *, sound: Samples | None = None) -> ffmpeg.MuxPlan:
    """A Spanish dub of `film`, with its own sound as the dub unless another is given."""
    folder = film.parent
    source = probe(film)
    heard = decode(film) if sound is None and source.of("audio") else sound
    (folder / "dub.srt").write_text(SRT)
    dub = ffmpeg.DubTrack(
        adts(folder / "dub.aac", heard if heard is not None else tone(source.duration)), "es", "spa", "Spanish dub"
    )
    subtitles = (ffmpeg.SubTrack(folder / "dub.srt", "es", "spa", "Spanish"),)
    original = next((ffmpeg.Original(track) for track in source.of("audio")), None)
    return ffmpeg.MuxPlan(private_link(film), source, container, (dub,), subtitles, original)  # type: ignore[arg-type]


def muxed(plan: ffmpeg.MuxPlan, folder: Path, name: str = "out") -> tuple[Path, Source, list[str]]:
    """The file, what probing it tells, and the codes of the notices."""
    out = folder / f"{name}.{plan.container}"
    notices = ffmpeg.mux(plan, out)
    return out, probe(out), [n.code for n in notices]


def picture_packets(path: Path) -> list[str]:
    """Hashes of the packets of the first picture track, without the parameter sets that containers move about."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(bytes(p)).hexdigest() for p in container.demux(video=0) if p.size]


def subtitle_start(path: Path) -> float:
    with av.open(str(path)) as container:
        return next(float(p.pts * p.time_base) for p in container.demux(subtitles=0) if p.pts is not None and p.size > 2)


@pytest.mark.parametrize("container", CONTAINERS)
def test_tracks_come_in_order_with_their_tags_and_flags(container: str, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    (tmp_path / "own.srt").write_text(SRT)
    tones = ("-f", "lavfi", "-i", "sine=duration=2", "-f", "lavfi", "-i", "testsrc2=s=64x64:d=2", "-i", tmp_path / "own.srt")
    ff(
        *(*tones, "-map", 1, "-map", 0, "-map", 0, "-map", 2, "-c:a", "aac", "-c:v", "libx264", "-c:s", "srt"),
        *("-metadata:s:a:0", "language=eng", "-metadata:s:a:0", "title=Main", "-disposition:a:0", "default"),
        *("-metadata:s:a:1", "language=deu", "-metadata:s:a:1", "title=Director", "-metadata:s:s:0", "language=eng"),
        *("-metadata", "title=My film", film),
    )
    _, made, notices = muxed(plan_for(film, container), tmp_path)
    assert [t.kind for t in made.tracks] == ["video", "audio", "audio", "audio", "subtitle", "subtitle"]
    assert [t.language for t in made.of("audio")] == ["spa", "eng", "deu"]
    assert [t.title for t in made.of("audio")] == ["Spanish dub", "Main", "Director"]
    assert [t.default for t in made.of("audio")] == [True, False, False]
    assert [t.language for t in made.of("subtitle")] == ["spa", "eng"]
    assert not made.of("subtitle")[0].default
    assert {t.codec for t in made.of("subtitle")} == {"subrip" if container == "mkv" else "mov_text"}
    assert notices == []
    with av.open(str(tmp_path / f"out.{container}")) as opened:
        assert opened.metadata["title"] == "My film"
        assert av.stream.Disposition.dub in opened.streams.audio[0].disposition


@pytest.mark.parametrize("container", CONTAINERS)
def test_several_dubs_and_asked_for_defaults(container: str, tmp_path: Path) -> None:
    plan = plan_for(flash_clip(tmp_path / "a.mp4"), container)
    french = replace(plan.dubs[0], language="fr", iso639_2="fra", title="French dub", default=False)
    shown = replace(plan.subtitles[0], default=True)
    original = replace(plan.original, language="en", iso639_2="eng", title="Original")  # type: ignore[type-var]
    plan = replace(plan, dubs=(*plan.dubs, french), subtitles=(shown,), original=original)
    _, made, _ = muxed(plan, tmp_path)
    assert [(t.title, t.language, t.default) for t in made.of("audio")] == [
        ("Spanish dub", "spa", True),
        ("French dub", "fra", False),
        ("Original", "eng", False),
    ]
    assert made.of("subtitle")[0].default


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", [n for n in CLIPS if n != "windows.wmv"])
def test_flash_beep_and_subtitle_stay_together(name: str, container: str, tmp_path: Path) -> None:
    output, starts = CLIPS[name]
    film = flash_clip(tmp_path / name, *output, **starts)  # type: ignore[arg-type]
    plan = plan_for(film, container)
    out, made, _ = muxed(plan, tmp_path)
    before = flash_at(film) - beep_at(film)
    flash = flash_at(out)
    assert flash - beep_at(out, 0) == pytest.approx(before, abs=0.0015)  # the dub
    assert flash - beep_at(out, 1) == pytest.approx(before, abs=0.0015)  # the original
    assert flash - subtitle_start(out) == pytest.approx(flash_at(film) - plan.source.start - 1.5, abs=0.0015)
    assert made.duration == pytest.approx(plan.source.duration, abs=0.04 if plan.source.start >= 0 else 0.35)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("fps", [24, 30, 60])
def test_every_stream_is_as_long_as_the_film_within_a_frame(container: str, fps: int, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mp4", fps=fps)
    source = probe(film)
    out, _, _ = muxed(plan_for(film, container), tmp_path)
    with av.open(str(out)) as opened:
        ends = {0: 0.0, 1: 0.0, 2: 0.0}
        for packet in opened.demux():
            if packet.pts is not None and packet.stream_index in ends:
                end = float((packet.pts + packet.duration) * packet.time_base)
                ends[packet.stream_index] = max(ends[packet.stream_index], end)
    assert all(abs(end - source.duration) <= 1 / fps for end in ends.values()), ends


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_picture_is_copied_and_never_encoded(container: str, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mp4")
    out, _, _ = muxed(plan_for(film, container), tmp_path)
    assert picture_packets(out) == picture_packets(film)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_dub_that_comes_out_is_the_dub_that_went_in(container: str, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mp4", video_at=0.2)
    sound = tone(4.2)
    plan = plan_for(film, container, sound=sound)
    out, made, _ = muxed(plan, tmp_path)
    heard = decode(out, 1, made.of("audio")[0])
    whole = ffmpeg.decode_aac(plan.dubs[0].path.read_bytes(), 1)
    frames = min(heard.shape[1], whole.shape[1])
    assert frames > 4 * RATE_HZ
    assert abs(heard[:, FRAME:frames] - whole[:, FRAME:frames]).max() < 1e-6


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_same_plan_gives_the_same_bytes(container: str, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mkv", "-metadata", "creation_time=2020-01-01T00:00:00Z")
    plan = plan_for(film, container)
    one, two = (muxed(plan, tmp_path, name)[0].read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("container", CONTAINERS)
def test_chapters_are_kept(container: str, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mkv")
    (tmp_path / "m.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=One\n"
                                    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4000\ntitle=Two\n")  # fmt: skip
    ff("-i", film, "-i", tmp_path / "m.txt", "-map", 0, "-map_chapters", 1, "-c", "copy", tmp_path / "b.mkv")
    out, _, _ = muxed(plan_for(tmp_path / "b.mkv", container), tmp_path)
    with av.open(str(out)) as opened:
        found = [(c["metadata"]["title"], float(c["start"] * c["time_base"])) for c in opened.chapters()]
    assert found == [("One", 0.0), ("Two", 2.0)]


@pytest.mark.parametrize("container", CONTAINERS)
def test_sound_alone_becomes_a_file_with_sound_alone(container: str, tmp_path: Path) -> None:
    for suffix in (".mp3", ".wav", ".flac", ".opus"):
        song = tmp_path / f"song{suffix}"
        ff("-f", "lavfi", "-i", "aevalsrc='0.5*sin(2*PI*1000*t)*gt(t,1)':s=48000:d=2", song)
        out, made, codes = muxed(plan_for(song, container), tmp_path, suffix[1:])
        assert [t.kind for t in made.tracks] == ["audio", "audio", "subtitle"]
        assert codes == (["original-re-encoded"] if (container, suffix) == ("mp4", ".wav") else [])
        for track in made.of("audio"):
            assert onset(decode(out, 1, track)) == pytest.approx(1.0, abs=0.03)
        assert onset(decode(out, 1, made.of("audio")[0])) == pytest.approx(
            onset(decode(out, 1, made.of("audio")[1])), abs=0.002
        )


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_film_without_sound_gets_its_dub(container: str, clip: Callable[..., Path], tmp_path: Path) -> None:
    film = clip(sound="none", suffix=".mp4")
    _, made, _ = muxed(plan_for(film, container), tmp_path)
    assert [t.kind for t in made.tracks] == ["video", "audio", "subtitle"]


def film_with_extras(folder: Path) -> Path:
    """A film with a font, a cover and ASS subtitles."""
    (folder / "own.srt").write_text(SRT)
    (folder / "font.ttf").write_bytes(b"a font")
    ff("-f", "lavfi", "-i", "color=red:s=64x64:d=0.04", "-frames:v", 1, folder / "cover.png")
    ff(
        "-f",
        "lavfi",
        "-i",
        "color=blue:s=720x480:d=1",
        "-i",
        folder / "own.srt",
        "-map",
        0,
        "-c:v",
        "libx264",
        folder / "v.mkv",
    )
    film = flash_clip(folder / "plain.mkv", "-c:a", "aac")
    out = folder / "film.mkv"
    ff(
        *("-i", film, "-i", folder / "own.srt", "-map", 0, "-map", 1, "-c", "copy", "-c:s", "ass"),
        *("-attach", folder / "font.ttf", "-metadata:s:t:0", "mimetype=font/ttf"),
        *("-attach", folder / "cover.png", "-metadata:s:t:1", "mimetype=image/png", out),
    )
    return out


def test_mkv_keeps_fonts_covers_and_styled_subtitles(tmp_path: Path) -> None:
    film = film_with_extras(tmp_path)
    _, made, notices = muxed(plan_for(film, "mkv"), tmp_path)
    assert [t.kind for t in made.tracks] == ["video", "audio", "audio", "subtitle", "subtitle", "attachment", "attachment"]
    assert [t.codec for t in made.of("subtitle")] == ["subrip", "ass"]
    assert [t.width for t in made.of("attachment")] == [0, 64]
    assert notices == []


def test_mp4_keeps_the_cover_and_tells_what_it_cannot_hold(tmp_path: Path) -> None:
    film = film_with_extras(tmp_path)
    _, made, notices = muxed(plan_for(film, "mp4"), tmp_path)
    assert [t.kind for t in made.tracks] == ["video", "audio", "audio", "subtitle", "subtitle", "attachment"]
    assert made.of("attachment")[0].width == 64
    assert notices == ["track-dropped"]


def test_picture_subtitles_are_dropped_from_mp4_with_a_notice(tmp_path: Path) -> None:
    plan = plan_for(flash_clip(tmp_path / "a.mkv", "-c:a", "aac"), "mp4")
    pictures = Track(2, "subtitle", "hdmv_pgs_subtitle")
    plan = replace(plan, source=replace(plan.source, tracks=(*plan.source.tracks, pictures)))
    _, made, notices = muxed(plan, tmp_path)
    assert notices == ["track-dropped"] and len(made.of("subtitle")) == 1


@pytest.mark.parametrize(("codec", "container"), [("pcm_s16le", "mp4"), ("libvorbis", "mp4"), ("adpcm_ms", "mkv")])
def test_sound_that_a_container_cannot_hold_is_kept_as_aac(codec: str, container: str, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mkv" if codec != "adpcm_ms" else tmp_path / "a.avi", "-c:a", codec)
    out, made, notices = muxed(plan_for(film, container), tmp_path)
    assert notices == ["original-re-encoded"]
    assert [t.codec for t in made.of("audio")] == ["aac", "aac"]
    assert flash_at(out) - beep_at(out, 1) == pytest.approx(flash_at(film) - beep_at(film), abs=0.002)


def test_mp4_of_a_picture_it_cannot_hold_says_what_to_use(tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.webm", "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus")
    with pytest.raises(BadSettings, match="vp8") as caught:
        ffmpeg.mux(plan_for(film, "mp4"), tmp_path / "out.mp4")
    assert "mkv" in caught.value.hint
    assert muxed(plan_for(film, "mkv"), tmp_path)[1].of("video")[0].codec == "vp8"


def test_data_tracks_are_left_out(tmp_path: Path) -> None:
    film = flash_clip(tmp_path / "a.mov", "-timecode", "01:00:00:00")
    assert probe(film).of("data")
    for container in CONTAINERS:
        assert not muxed(plan_for(film, container), tmp_path)[1].of("data")


def test_the_original_sound_can_be_left_out(tmp_path: Path) -> None:
    plan = replace(plan_for(flash_clip(tmp_path / "a.mp4"), "mkv"), original=None)
    assert [t.title for t in muxed(plan, tmp_path)[1].of("audio")] == ["Spanish dub"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_empty_subtitles_are_no_obstacle(container: str, tmp_path: Path) -> None:
    plan = plan_for(flash_clip(tmp_path / "a.mp4"), container)
    (tmp_path / "dub.srt").write_text("")
    _, made, _ = muxed(plan, tmp_path)
    assert len(made.of("audio")) == 2


@pytest.mark.parametrize("title", ["a=b;c", 'it\'s "it"', "new\nline", "-i x", "$(id)", "ñ 你好 \N{CLAPPER BOARD}", "%d [0:v]"])
def test_any_title_is_only_a_title(title: str, tmp_path: Path) -> None:
    plan = plan_for(flash_clip(tmp_path / "a.mp4"), "mkv")
    plan = replace(plan, dubs=(replace(plan.dubs[0], title=title),))
    assert muxed(plan, tmp_path)[1].of("audio")[0].title == title


def test_progress_goes_from_nought_to_one(tmp_path: Path) -> None:
    told: list[float] = []
    ffmpeg.mux(plan_for(flash_clip(tmp_path / "a.mp4"), "mkv"), tmp_path / "out.mkv", told.append)
    assert told == sorted(told) and told[0] >= 0 and told[-1] == 1.0


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs a system ffprobe as an independent reader")
@pytest.mark.parametrize("container", CONTAINERS)
def test_an_independent_reader_agrees(container: str, tmp_path: Path) -> None:
    out, _, _ = muxed(plan_for(flash_clip(tmp_path / "a.mp4"), container), tmp_path)
    asked = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", str(out)]
    told = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    assert [s["codec_type"] for s in told["streams"]] == ["video", "audio", "audio", "subtitle"]
    assert [s["disposition"]["default"] for s in told["streams"][1:3]] == [1, 0]
    assert told["streams"][1]["tags"]["language"] == "spa"
    assert float(told["format"]["duration"]) == pytest.approx(4, abs=0.04)


def test_real_clips_keep_picture_and_length(shared_data: Path, tmp_path: Path) -> None:
    for clip in sorted((shared_data / "media/video").glob("*.mp4")):
        film = Path(shutil.copy(clip, tmp_path))
        for container in CONTAINERS:
            plan = plan_for(film, container)
            out, made, notices = muxed(plan, tmp_path)
            assert notices == [] and artifact(out).bytes > 0
            assert picture_packets(out) == picture_packets(film)
            fps = plan.source.of("video")[0].fps
            assert made.duration == pytest.approx(plan.source.duration, abs=1 / fps)
