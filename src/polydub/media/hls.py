"""Playlists of HTTP Live Streaming (RFC 8216) for fragmented MP4 that grow while they are played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Listed:
    """One media segment: its file, seconds, and the init segment that it needs."""

    file: str
    duration: float
    init: str


def media_playlist(segments: Sequence[Listed], target_s: float, *, ended: bool) -> str:
    """A playlist that only ever gets longer; after `ended` nothing is added.

    `target_s`: no segment is longer than this rounded up, unless one is, which then counts: the picture's key frames may be
    farther apart than anybody could know.
    """
    longest = max([target_s, *(s.duration for s in segments)])
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{ceil(round(longest, 3))}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    init = ""
    for segment in segments:
        if segment.init != init:
            lines += ["#EXT-X-DISCONTINUITY"] if init else []
            lines.append(f'#EXT-X-MAP:URI="{segment.init}"')
            init = segment.init
        lines += [f"#EXTINF:{segment.duration:.6f},", segment.file]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])


def text_playlist(segments: Sequence[Listed], target_s: float, *, ended: bool) -> str:
    """The same for subtitles, which need no init segment."""
    bare = [Listed(s.file, s.duration, "") for s in segments]
    return media_playlist(bare, target_s, ended=ended)


@dataclass(frozen=True, slots=True)
class Variant:
    """What a master playlist tells: the streams' names, subtitles if there are any, the codecs ("" = not known)."""

    media: str
    bandwidth: int
    codecs: str
    size: tuple[int, int]
    subtitles: str = ""
    language: str = ""
    name: str = ""


def master_playlist(variant: Variant) -> str:
    """One variant, with its subtitles."""
    told = [f"BANDWIDTH={variant.bandwidth}"]
    told += [f'CODECS="{variant.codecs}"'] if variant.codecs else []
    told += [f"RESOLUTION={variant.size[0]}x{variant.size[1]}"] if variant.size[0] else []
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if variant.subtitles:
        lines.append(
            f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="{variant.name}",LANGUAGE="{variant.language}",'
            f'DEFAULT=NO,AUTOSELECT=YES,URI="{variant.subtitles}"'
        )
        told.append('SUBTITLES="subs"')
    return "\n".join([*lines, "#EXT-X-STREAM-INF:" + ",".join(told), variant.media, ""])


def vtt(cues: Sequence[tuple[float, float, str]]) -> str:
    """A WebVTT segment on the film's clock, which is that of the media segments."""
    lines = ["WEBVTT", "X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000", ""]
    for start, end, text in cues:
        lines += [f"{_time(start)} --> {_time(end)}", _plain(text), ""]
    return "\n".join(lines)


def _time(s: float) -> str:
    ms = round(s * 1000)
    return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _plain(text: str) -> str:
    """One paragraph without marks: an empty line would end the cue."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
