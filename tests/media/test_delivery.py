"""The finished film as programs see it that have nothing to do with the one that wrote it: MediaInfo, mkvmerge, pysubs2."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pysubs2
import pytest
from flash_clips import X264, artifact, beep_at, decode, ff, flash_at, flash_clip, private_link, tone
from pymediainfo import MediaInfo
from test_decode import CLIPS
from test_mux import CONTAINERS, SRT, adts, muxed, picture_packets, plan_for

from polydub.media import ffmpeg
from polydub.types import FRAME, RATE_HZ

AAC_FRAME = FRAME / RATE_HZ
ODD: dict[str, tuple[tuple[object, ...], dict[str, float]]] = {
    **{name: clip for name, clip in CLIPS.items() if name != "windows.wmv"},
    "variable rate.mkv": (("-vf", "select='not(mod(n,7))+lt(n,30)'", "-fps_mode", "vfr"), {}),
    "short sound.mp4": (("-af", "atrim=0:3"), {}),
    "short sound.mkv": (("-af", "atrim=0:3"), {}),
    "short picture.mp4": (("-vf", "trim=0:3"), {}),
    "short picture.mkv": (("-vf", "trim=0:3"), {}),
}


def seconds_of(track: Any) -> float:
    return float(track.duration) / 1000


def tracks_of(path: Path, kind: str) -> list[Any]:
    return [track for track in MediaInfo.parse(path).tracks if track.track_type == kind]


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"00:00:{ms // 1000:02d},{ms % 1000:03d}"


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ODD)
def test_container_sound_and_subtitles_end_with_the_film(name: str, container: str, tmp_path: Path) -> None:
    output, starts = ODD[name]
    plan = plan_for(flash_clip(tmp_path / name, *output, **starts), container)  # type: ignore[arg-type]
    end = plan.source.duration
    cues = [(0.0, 0.5), (1.0, 1.7), (end - 0.5, end)]
    rows = [f"{n}\n{clock(a)} --> {clock(b)}\nCue {n}\n" for n, (a, b) in enumerate(cues, 1)]
    plan.subtitles[0].path.write_text("\n".join(rows))
    out, _, _ = muxed(plan, tmp_path)
    frame = max(AAC_FRAME, 1 / (plan.source.of("video")[0].fps or 25))
    assert seconds_of(tracks_of(out, "General")[0]) == pytest.approx(end, abs=frame)
    dub, text = tracks_of(out, "Audio")[0], tracks_of(out, "Text")[0]
    assert seconds_of(dub) == pytest.approx(end, abs=AAC_FRAME / 2 + 0.002)
    assert seconds_of(text) == pytest.approx(end, abs=0.002)
    with av.open(str(out)) as opened:
        heard = sum(frame.samples for frame in opened.decode(audio=0))
    assert heard / RATE_HZ == pytest.approx(end, abs=AAC_FRAME / 2 + 0.001)
    ff("-i", out, "-map", "0:s:0", tmp_path / "out.srt")
    back = [(e.start / 1000, e.end / 1000, e.text) for e in pysubs2.load(str(tmp_path / "out.srt"))]
    assert [text for _, _, text in back] == ["Cue 1", "Cue 2", "Cue 3"]
    assert [t for e in back for t in e[:2]] == pytest.approx([t for cue in cues for t in cue], abs=0.0015)


def rich_film(folder: Path) -> Path:
    """A film with two subtitle tracks that ask to be shown, and tracks for people who do not see or hear well."""
    for n in range(3):
        (folder / f"{n}.srt").write_text(SRT)
    tones = ("-f", "lavfi", "-i", "sine=duration=4", "-f", "lavfi", "-i", "testsrc2=s=64x64:d=4")
    texts = [x for n in range(3) for x in ("-i", folder / f"{n}.srt")]
    maps = [x for n in (1, 0, 0, 0, 2, 3, 4) for x in ("-map", n)]
    flags = {"a:0": "default+original", "a:1": "comment", "a:2": "visual_impaired"}
    flags |= {"s:0": "default+forced", "s:1": "default+hearing_impaired", "s:2": "0"}
    options = [x for stream, value in flags.items() for x in (f"-disposition:{stream}", value)]
    ff(*tones, *texts, *maps, *X264, "-c:a", "aac", "-c:s", "srt", *options, folder / "rich.mkv")
    return folder / "rich.mkv"


@pytest.mark.parametrize("container", CONTAINERS)
def test_flags_of_the_source_are_kept_and_one_track_of_a_kind_is_default(container: str, tmp_path: Path) -> None:
    out, _, _ = muxed(plan_for(rich_film(tmp_path), container), tmp_path)
    flag = av.stream.Disposition
    with av.open(str(out)) as opened:
        sound = [stream.disposition for stream in opened.streams.audio]
        texts = [stream.disposition for stream in opened.streams.subtitles]
    assert [flag.default in found for found in sound] == [True, False, False, False]
    assert [flag.default in found for found in texts] == [False, True, False, False]
    assert flag.dub in sound[0] and flag.comment in sound[2] and flag.visual_impaired in sound[3]
    assert flag.hearing_impaired in texts[2]
    assert container == "mp4" or (flag.original in sound[1] and flag.forced in texts[1])


@pytest.mark.skipif(shutil.which("mkvmerge") is None, reason="needs mkvmerge as an independent reader")
def test_mkvmerge_sees_the_same_flags(tmp_path: Path) -> None:
    out, _, _ = muxed(plan_for(rich_film(tmp_path), "mkv"), tmp_path)
    told = json.loads(subprocess.run(["mkvmerge", "-J", str(out)], capture_output=True, check=True).stdout)
    found = [track["properties"] for track in told["tracks"]]
    assert [track["default_track"] for track in found[1:]] == [True, False, False, False, False, True, False, False]
    assert [track.get("flag_original", False) for track in found[1:5]] == [False, True, False, False]
    assert found[3]["flag_commentary"] and found[4]["flag_visual_impaired"]
    assert found[6]["forced_track"] and found[7]["flag_hearing_impaired"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_many_dubs_and_subtitles_have_one_default_each_at_most(container: str, tmp_path: Path) -> None:
    plan = plan_for(flash_clip(tmp_path / "a.mp4"), container)
    tongues = [("es", "spa"), ("fr", "fra"), ("ja", "jpn")]
    dubs = tuple(
        replace(plan.dubs[0], path=adts(tmp_path / f"{tag}.aac", tone(4.0, hz=300 + 100 * n)), language=tag, iso639_2=code,
                title=f"{tag} dub", default=n == 0) for n, (tag, code) in enumerate(tongues)
    )  # fmt: skip
    subtitles = tuple(
        replace(plan.subtitles[0], language=tag, iso639_2=code, title=tag) for tag, code in [*tongues, ("en", "eng")]
    )
    out, made, _ = muxed(replace(plan, dubs=dubs, subtitles=subtitles), tmp_path)
    sound, texts = tracks_of(out, "Audio"), tracks_of(out, "Text")
    assert [track.language for track in sound] == ["es", "fr", "ja", None]
    assert [track.language for track in texts] == ["es", "fr", "ja", "en"]
    assert [track.default for track in made.of("audio")] == [True, False, False, False]
    assert not any(track.default for track in made.of("subtitle"))
    if container == "mp4":  # players let the user choose one track of a group
        assert len({track.alternate_group for track in sound}) == 1 and sound[0].alternate_group not in (None, "0")
        assert len({track.alternate_group for track in texts}) == 1 and texts[0].alternate_group not in (None, "0")
        assert len({track.track_id for track in [*sound, *texts]}) == 8
    for number, dub in enumerate(dubs):
        heard, whole = decode(out, 1, made.of("audio")[number]), ffmpeg.decode_aac(dub.path.read_bytes(), 1)
        frames = min(heard.shape[1], whole.shape[1])
        assert frames > 3.9 * RATE_HZ and abs(heard[:, FRAME:frames] - whole[:, FRAME:frames]).max() < 1e-6


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ["film.mkv", "late picture.mp4", "film.ts"])
def test_another_picture_takes_the_place_of_the_first(name: str, container: str, tmp_path: Path) -> None:
    film = flash_clip(tmp_path / name, "-c:a", "aac", "-metadata:s:v:0", "title=Camera", **CLIPS.get(name, ((), {}))[1])  # type: ignore[arg-type]
    plan = plan_for(film, container)
    start = plan.source.of("video")[0].start
    ff("-copyts", "-itsoffset", -plan.source.start, "-i", film, "-map", "0:v:0", "-vf", "drawbox=w=20:h=20:c=red",
       *("-fps_mode", "passthrough", "-enc_time_base", "demux"), *X264, "-f", "matroska", tmp_path / "picture.mkv")  # fmt: skip
    whole = replace(plan, picture=private_link(tmp_path / "picture.mkv"))
    out, made, notices = muxed(whole, tmp_path)
    assert [t.kind for t in made.tracks] == ["video", "audio", "audio", "subtitle"] and notices == []
    assert picture_packets(out) == picture_packets(tmp_path / "picture.mkv") != picture_packets(film)
    assert flash_at(out) - beep_at(out, 1) == pytest.approx(flash_at(film) - beep_at(film), abs=0.0015)
    assert made.of("video")[0].start == pytest.approx(start, abs=0.002)
    assert made.duration == pytest.approx(plan.source.duration, abs=0.04)
    assert made.of("video")[0].title == plan.source.of("video")[0].title
    assert artifact(out).bytes
