"""Putting picture, sound tracks and subtitles into one file. Pictures are copied, never encoded; the same bytes every time."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from polydub.errors import BadSettings
from polydub.media.program import SAFE_INPUT, on_film_clock, run
from polydub.types import Notice, Source, Track

_MP4_VIDEO = frozenset({"h264", "hevc", "vvc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "vc1"})
_MP4_AUDIO = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac"})
_MKV_AUDIO = _MP4_AUDIO | {
    *("vorbis", "dts", "truehd", "mlp", "wavpack", "tta", "wmav1", "wmav2", "wmapro", "mp1"),
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_s16be", "pcm_s24be", "pcm_s32be"),
}
_MKV_SUBTITLES = frozenset({"subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"})
_COVERS = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}


@dataclass(frozen=True, slots=True)
class DubTrack:
    """A dub to put in: an ADTS file whose sample 0 is the film's first moment.

    Attributes: language: BCP-47. iso639_2: its three-letter (terminology) code, all that either container can hold here.
    """

    path: Path
    language: str
    iso639_2: str
    title: str = ""
    default: bool = True


@dataclass(frozen=True, slots=True)
class SubTrack:
    """Soft subtitles to put in: an SRT file in UTF-8 on the film's clock; languages as in `DubTrack`."""

    path: Path
    language: str
    iso639_2: str
    title: str = ""
    default: bool = False


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What goes into one file, in this order: pictures, dubs, the original sound, other sound, new then old subtitles.

    Attributes:
        link: the source, from `safe_link`.
        keep_original: the track that was dubbed, kept without its default flag; None leaves all of the source's sound out.
        original_iso639_2, original_title: override what the source says of that track; empty keeps it.
    """

    link: Path
    source: Source
    container: Literal["mkv", "mp4"]
    dubs: tuple[DubTrack, ...]
    subtitles: tuple[SubTrack, ...] = ()
    keep_original: Track | None = None
    original_iso639_2: str = ""
    original_title: str = ""


def mux(plan: MuxPlan, out: Path, on_progress: Callable[[float], None] | None = None) -> tuple[Notice, ...]:
    """Write `plan` to `out`; returns notices about tracks that had to be left out or encoded again.

    `on_progress` gets the part done, 0 to 1. Chapters and container titles are kept, attachments in MKV only, data
    streams never.
    Raises: BadSettings when MP4 cannot hold the picture, and what `run` raises.
    """
    with tempfile.TemporaryDirectory(prefix="mux-", dir=out.parent) as folder:
        file = _File(plan)
        _pictures(file)
        _sound(file)
        _subtitles(file)
        _attachments(file, Path(folder))
        arguments = [*_inputs(plan), *file.options, *_finish(plan), f"file:{out}"]

        def tell(done_s: float) -> None:
            if on_progress is not None:
                on_progress(min(1.0, done_s / plan.source.duration))

        run(arguments, stage="mux", on_progress=tell)
        if plan.container == "mp4" and not file.shows_subtitles:
            _hide_subtitles(out)
        tell(plan.source.duration)
    return tuple(file.notices)


@dataclass
class _File:
    """The output while it is being described: its options, and how many streams of each type it has."""

    plan: MuxPlan
    options: list[str] = field(default_factory=list[str])
    notices: list[Notice] = field(default_factory=list[Notice])
    counts: Counter[str] = field(default_factory=Counter[str])
    shows_subtitles: bool = False

    def add(
        self, kind: str, selector: str, codec: str = "copy", disposition: str = "", tags: Mapping[str, str] | None = None
    ) -> None:
        """Append a stream: `kind` is v, a, s or t, `selector` an input stream such as "0:1"."""
        stream = f"{kind}:{self.counts[kind]}"
        self.counts[kind] += 1
        self.options += ["-map", selector, f"-c:{stream}", codec]
        if disposition:
            self.options += [f"-disposition:{stream}", disposition]
        self.tag(stream, tags or {})

    def tag(self, stream: str, tags: Mapping[str, str]) -> None:
        """Set metadata of an output stream; empty values leave what it has."""
        handler = {"handler_name": tags.get("title", "")} if self.plan.container == "mp4" else {}  # players show it as title
        for name, value in {**tags, **handler}.items():
            if value:
                self.options += [f"-metadata:s:{stream}", f"{name}={value}"]

    def dropped(self, track: Track, what: str) -> None:
        """Tell that a track could not be kept."""
        text = f"{what} {track.index} ({track.codec or 'unknown format'}) cannot be kept in {self.plan.container.upper()}"
        self.notices.append(Notice("track-dropped", text))


def _inputs(plan: MuxPlan) -> list[str]:
    # Older containers leave out presentation times, which the new ones want.
    complete = [] if plan.source.container in ("mov", "matroska") else ["-fflags", "+genpts"]
    arguments = [*complete, *on_film_clock(plan.link, plan.source.start)]
    for kind, tracks in (("aac", plan.dubs), ("srt", plan.subtitles)):
        for track in tracks:
            arguments += ["-protocol_whitelist", "file", "-f", kind, "-i", f"file:{track.path}"]
    return arguments


def _pictures(file: _File) -> None:
    mp4 = file.plan.container == "mp4"
    for track in file.plan.source.of("video"):
        if mp4 and track.codec not in _MP4_VIDEO:
            raise BadSettings(f"MP4 cannot hold {track.codec or 'this'} video", "use --format mkv")
        if mp4 and track.codec == "hevc":
            file.options += [f"-tag:v:{file.counts['v']}", "hvc1"]  # the tag that Apple's players know
        file.add("v", f"0:{track.index}")


def _sound(file: _File) -> None:
    plan = file.plan
    for number, dub in enumerate(plan.dubs, 1):
        flags = "default+dub" if dub.default else "dub"
        file.add("a", f"{number}:0", "copy", flags, {"language": dub.iso639_2, "title": dub.title})
    original = plan.keep_original
    if original is None:
        return
    others = [track for track in plan.source.of("audio") if track.index != original.index]
    holds = _MP4_AUDIO if plan.container == "mp4" else _MKV_AUDIO
    for track in (original, *others):
        codec = "copy"
        if track.codec not in holds:
            codec = "aac"
            text = (
                f"audio track {track.index} ({track.codec or 'unknown format'}) was encoded as AAC for {plan.container.upper()}"
            )
            file.notices.append(Notice("original-re-encoded", text, "info"))
            file.options += [f"-b:a:{file.counts['a']}", f"{96 * max(track.channels, 1)}k"]
        mine = track.index == original.index
        tags = {"language": plan.original_iso639_2, "title": plan.original_title} if mine else None
        file.add("a", f"0:{track.index}", codec, "-default+original" if mine else "-default", tags)


def _subtitles(file: _File) -> None:
    plan = file.plan
    mp4 = plan.container == "mp4"
    for number, new in enumerate(plan.subtitles, 1 + len(plan.dubs)):
        tags = {"language": new.iso639_2, "title": new.title}
        file.add("s", f"{number}:0", "mov_text" if mp4 else "subrip", "default" if new.default else "0", tags)
    shown = any(new.default for new in plan.subtitles)
    file.shows_subtitles = shown
    for track in plan.source.of("subtitle"):
        if not track.text if mp4 else not (track.text or track.codec in _MKV_SUBTITLES):
            file.dropped(track, "subtitle track")
            continue
        file.shows_subtitles |= track.default
        codec = "mov_text" if mp4 else "copy" if track.codec in _MKV_SUBTITLES else "subrip"
        file.add("s", f"0:{track.index}", codec, "-default" if shown else "")


def _attachments(file: _File, folder: Path) -> None:
    """Fonts are copied and covers attached in MKV; in MP4 covers are copied and the rest is dropped."""
    plan = file.plan
    covers: list[Track] = []
    for track in plan.source.of("attachment"):
        cover = track.width > 0
        if plan.container == "mkv" and not cover:
            file.add("t", f"0:{track.index}")
        elif cover and track.codec in _COVERS:
            covers.append(track)
        else:
            file.dropped(track, "attachment")
    for track in covers:
        if plan.container == "mp4":
            file.add("v", f"0:{track.index}", "copy", "attached_pic")
        else:
            _attach(file, track, folder)


def _attach(file: _File, cover: Track, folder: Path) -> None:
    """Mapped like a stream, a cover would become a video of one frame in Matroska."""
    name, mime = _COVERS[cover.codec]
    picture = folder / f"{cover.index}-{name}"
    one = ["-map", f"0:{cover.index}", "-c", "copy", "-frames:v", "1", "-f", "image2pipe"]
    run([*SAFE_INPUT, "-i", f"file:{file.plan.link}", *one, f"file:{picture}"], stage="mux")
    file.options += ["-attach", f"file:{picture}"]
    file.tag(f"t:{file.counts['t']}", {"mimetype": mime, "filename": name})
    file.counts["t"] += 1


def _finish(plan: MuxPlan) -> list[str]:
    same_bytes = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    kept = ["-map_metadata", "0", "-map_chapters", "0"]
    if plan.container == "mp4":
        return [*kept, *same_bytes, "-movflags", "+faststart", "-write_tmcd", "0", "-f", "mp4"]
    return [*kept, *same_bytes, "-f", "matroska"]


def _hide_subtitles(mp4: Path) -> None:
    """Clear the "enabled" flag of all subtitle tracks: ffmpeg sets it for the first one, and players then show it unasked."""
    with mp4.open("r+b") as file:
        for name, at, end in _boxes(file, 0, mp4.stat().st_size):
            if name != b"moov":
                continue
            for track, begin, stop in _boxes(file, at, end):
                inside = {kind: place for kind, place, _ in _boxes(file, begin, stop)} if track == b"trak" else {}
                if inside and _handler(file, inside[b"mdia"], stop) in (b"sbtl", b"text", b"subt"):
                    file.seek(inside[b"tkhd"] + 3)  # behind the version: three bytes of flags, bit 0 of the last
                    flags = file.read(1)[0]
                    file.seek(-1, 1)
                    file.write(bytes([flags & ~1]))


def _handler(file: BinaryIO, media: int, end: int) -> bytes:
    for name, at, _ in _boxes(file, media, end):
        if name == b"hdlr":
            file.seek(at + 8)
            return file.read(4)
    return b""


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin of the content and end of each box of an MP4 file between two places."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, begin = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), at + 16
        if size < 8:
            return
        yield head[4:8], begin, at + size
        at += size
