"""Language tags in full, read back by programs that have nothing to do with ffmpeg."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flash_clips import ff, flash_clip, probe
from hypothesis import given
from hypothesis import strategies as st
from pymediainfo import MediaInfo
from test_mux import CONTAINERS, muxed, plan_for

from polydub.media import ffmpeg, tags

TAGS = [("es-MX", "spa"), ("pt-BR", "por"), ("zh-Hant", "zho"), ("sr-Latn", "srp"), ("de", "deu"), ("zh-Hant-TW", "zho")]


def tagged_plan(film: Path, container: str) -> ffmpeg.MuxPlan:
    """One dub and one set of subtitles for each of TAGS; the third has no title."""
    plan = plan_for(film, container)
    titles = ["Mexicano", "Do Brasil", "", "Srpski \N{LATIN SMALL LETTER C WITH CARON}", "x" * 200, "Taiwan"]
    dubs = [
        replace(plan.dubs[0], language=tag, iso639_2=code, title=title, default=not number)
        for number, ((tag, code), title) in enumerate(zip(TAGS, titles, strict=True))
    ]
    subtitles = [replace(plan.subtitles[0], language=tag, iso639_2=code, title=f"{tag} text") for tag, code in TAGS]
    original = replace(plan.original, language="en-GB", iso639_2="eng")  # type: ignore[type-var]
    return replace(plan, dubs=tuple(dubs), subtitles=tuple(subtitles), original=original)


def mediainfo(path: Path) -> list[Any]:
    return [track for track in MediaInfo.parse(path).tracks if track.track_type in ("Audio", "Text")]


def mkvmerge(path: Path) -> list[dict[str, Any]]:
    if shutil.which("mkvmerge") is None:
        pytest.skip("needs mkvmerge as an independent reader")
    told = subprocess.run(["mkvmerge", "-J", str(path)], capture_output=True, check=True).stdout
    document = json.loads(told)
    assert document["warnings"] == [] and document["errors"] == []
    return [track["properties"] for track in document["tracks"] if track["type"] != "video"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_mediainfo_reads_region_and_script(container: str, tmp_path: Path) -> None:
    out, _, _ = muxed(tagged_plan(flash_clip(tmp_path / "a.mp4"), container), tmp_path)
    found = mediainfo(out)
    wanted = [tag for tag, _ in TAGS]
    assert [track.language for track in found] == [*wanted, "en-GB", *wanted]
    titles = [track.title and track.title.split(" / ")[0] for track in found[:4]]  # in MP4 title and handler
    assert titles == ["Mexicano", "Do Brasil", None, "Srpski \N{LATIN SMALL LETTER C WITH CARON}"]


def test_mkvmerge_reads_both_tags_and_the_titles(tmp_path: Path) -> None:
    plan = tagged_plan(flash_clip(tmp_path / "a.mp4"), "mkv")
    out, _, _ = muxed(plan, tmp_path)
    found = mkvmerge(out)
    assert [track.get("language_ietf") for track in found[:6]] == [tag for tag, _ in TAGS]
    assert [track["language"] for track in found[:2]] == ["spa", "por"]
    assert [track.get("track_name", "") for track in found[:6]] == [dub.title for dub in plan.dubs]


@pytest.mark.parametrize("container", CONTAINERS)
def test_titles_of_any_length_keep_theirs(container: str, tmp_path: Path) -> None:
    """Sizes of Matroska's elements take two bytes from 127 on, be it that of the title alone or with the room for a tag."""
    plan = plan_for(flash_clip(tmp_path / "a.mp4"), container)
    titles = ["x" * length for length in (0, 1, 116, 117, 118, 119, 125, 126, 127, 128, 300)]
    dubs = tuple(replace(plan.dubs[0], title=title, language="es-MX", default=not n) for n, title in enumerate(titles))
    out, made, _ = muxed(replace(plan, dubs=dubs), tmp_path)
    assert [track.title for track in made.of("audio")][: len(titles)] == titles
    assert set(tags.bcp47(out)[1 : 1 + len(titles)]) == {"es-MX"}


@pytest.mark.parametrize("container", CONTAINERS)
def test_players_that_know_three_letters_only_find_them(container: str, tmp_path: Path) -> None:
    plan = tagged_plan(flash_clip(tmp_path / "a.mp4"), container)
    _, made, _ = muxed(plan, tmp_path)
    assert [track.language for track in made.of("audio")] == [*(code for _, code in TAGS), "eng"]
    assert [track.title for track in made.of("audio")][:6] == [dub.title for dub in plan.dubs]
    assert [track.language for track in made.of("subtitle")] == [code for _, code in TAGS]
    assert [track.title for track in made.of("subtitle")] == [sub.title for sub in plan.subtitles]


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_unknown_language_stays_unknown(container: str, tmp_path: Path) -> None:
    plan = plan_for(flash_clip(tmp_path / "a.mp4"), container)
    dub = replace(plan.dubs[0], language="und", iso639_2="und")
    out, made, _ = muxed(replace(plan, dubs=(dub,)), tmp_path)
    assert [track.language for track in made.of("audio")] == ["und", "und"]
    assert tags.bcp47(out)[1:3] == ("", "")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("before", CONTAINERS)
def test_tags_of_the_source_are_kept(before: str, container: str, tmp_path: Path) -> None:
    film, _, _ = muxed(tagged_plan(flash_clip(tmp_path / "a.mp4"), before), tmp_path, "film")
    plan = plan_for(film, container)
    out, made, _ = muxed(plan, tmp_path)
    wanted = [tag for tag, _ in TAGS]
    assert [track.language for track in mediainfo(out)] == ["es", *wanted, "en-GB", "es", *wanted]
    assert [track.title for track in made.of("audio")][1:3] == ["Mexicano", "Do Brasil"]
    assert [track.language for track in made.of("audio")][1:3] == ["spa", "por"]


@pytest.mark.skipif(shutil.which("mkvmerge") is None, reason="needs a file of mkvmerge's")
def test_tags_that_mkvmerge_wrote_are_read_and_kept(tmp_path: Path) -> None:
    flash_clip(tmp_path / "a.mp4")
    film = tmp_path / "film.mkv"
    asked = ["mkvmerge", "-q", "-o", str(film), "--language", "1:es-419", "--track-name", "1:Latino", str(tmp_path / "a.mp4")]
    subprocess.run(asked, check=True)
    assert tags.bcp47(film)[1] == "es-419"
    for container in CONTAINERS:
        out, _, _ = muxed(plan_for(film, container), tmp_path)
        assert mediainfo(out)[1].language == "es-419" and mediainfo(out)[1].title.startswith("Latino")


def test_checksums_of_the_track_list_are_right(tmp_path: Path) -> None:
    out, _, _ = muxed(tagged_plan(flash_clip(tmp_path / "a.mp4"), "mkv"), tmp_path)
    whole = out.read_bytes()
    at = whole.rindex(b"\x16\x54\xae\x6b")  # the index names it too
    width = 9 - whole[at + 4].bit_length()
    size = int.from_bytes(whole[at + 4 : at + 4 + width], "big") & ~(1 << 7 * width)
    content = whole[at + 4 + width :][:size]
    assert content[:2] == b"\xbf\x84"
    assert int.from_bytes(content[2:6], "little") == zlib.crc32(content[6:])


@pytest.mark.parametrize("container", CONTAINERS)
def test_no_decoder_complains(container: str, tmp_path: Path) -> None:
    out, _, _ = muxed(tagged_plan(flash_clip(tmp_path / "a.mp4"), container), tmp_path)
    strict = [str(ffmpeg.program()), "-v", "error", "-err_detect", "crccheck+explode", "-i", str(out)]
    done = subprocess.run([*strict, "-map", "0", "-c", "copy", "-f", "null", "-"], capture_output=True, check=True)
    assert done.stderr == b""


@given(st.binary(max_size=300), st.sampled_from([b"\x1aE\xdf\xa3", b"\0\0\0\x08ftyp", b"\0\0\0\x20moov", b""]))
def test_any_bytes_have_no_more_than_no_tags(tmp_path_factory: pytest.TempPathFactory, rest: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(head + rest)
    before = path.read_bytes()
    assert all(isinstance(tag, str) for tag in tags.bcp47(path))
    for container in CONTAINERS:
        tags.settle(path, container)
    assert path.read_bytes() == before


def test_other_formats_have_no_tags(tmp_path: Path) -> None:
    ff("-f", "lavfi", "-i", "sine=duration=0.1", tmp_path / "a.wav")
    assert tags.bcp47(tmp_path / "a.wav") == ()
    assert probe(tmp_path / "a.wav").tracks


@pytest.mark.parametrize("tag", ["", "und", "a=b", "es MX", "es-MX\n", "x" * 120])
def test_what_is_no_tag_leaves_the_title_alone(tag: str) -> None:
    assert tags.room_for(tag, "Title", "mkv") == "Title"
