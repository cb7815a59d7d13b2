"""Putting picture, sound tracks and subtitles into one file. Pictures are copied, never encoded; the same bytes every time."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from polydub.errors import BadSettings
from polydub.media import tags
from polydub.media.pictures import opened
from polydub.media.program import COPYING, SAFE_INPUT, STANDARD, on_film_clock, run
from polydub.types import Notice, Source, Track

_MP4_VIDEO = frozenset({"h264", "hevc", "vvc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "vc1"})
_MP4_AUDIO = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac"})
_MKV_AUDIO = _MP4_AUDIO | {
    *("vorbis", "dts", "truehd", "mlp", "wavpack", "tta", "wmav1", "wmav2", "wmapro", "mp1"),
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_s16be", "pcm_s24be", "pcm_s32be"),
}
_MKV_SUBTITLES = frozenset({"subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"})
_HANDLERS = {"v": "VideoHandler", "a": "SoundHandler", "s": "SubtitleHandler"}
_COVERS = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}


@dataclass(frozen=True, slots=True)
class DubTrack:
    """A dub to put in: an ADTS file whose sample 0 is the film's first moment.

    Attributes: language: BCP-47. iso639_2: its three-letter code, for players that know no other: bibliographic ("ger") in
    Matroska, terminological ("deu") in MP4.
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
class Original:
    """The source's track that was dubbed. `language`, `iso639_2`, `title` override what the source says of it; "" keeps it."""

    track: Track
    language: str = ""
    iso639_2: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What goes into one file, in this order: pictures, dubs, the original sound, other sound, new then old subtitles.

    At most one dub may be default, and at most one of the subtitles.

    Attributes:
        link: the source, from `safe_link`.
        original: the track that was dubbed, kept without its default flag; None leaves all of the source's sound out.
        picture: from `safe_link`, a file whose first video track, on the film's clock, is taken for the source's first one.
    """

    link: Path
    source: Source
    container: Literal["mkv", "mp4"]
    dubs: tuple[DubTrack, ...]
    subtitles: tuple[SubTrack, ...] = ()
    original: Original | None = None
    picture: Path | None = None


def mux(plan: MuxPlan, out: Path, on_progress: Callable[[float], None] | None = None) -> tuple[Notice, ...]:
    """Write `plan` to `out`; returns notices about tracks that had to be left out or encoded again.

    `on_progress` gets the part done, 0 to 1. Chapters and container titles are kept, attachments in MKV only, data
    streams never.
    Raises: BadSettings when MP4 cannot hold the picture, and what `run` raises.
    """
    with tempfile.TemporaryDirectory(prefix="mux-", dir=out.parent) as folder:
        file = _File(plan, bcp47=_known_tags(plan))
        _pictures(file)
        _dubs(file)
        _source_sound(file)
        _subtitles(file)
        _attachments(file, Path(folder))
        arguments = [*_inputs(plan), *file.options, *_finish(plan), f"file:{out}"]

        def tell(done_s: float) -> None:
            if on_progress is not None:
                on_progress(min(1.0, done_s / plan.source.duration))

        encodes = any(notice.code == "original-re-encoded" for notice in file.notices)
        run(arguments, stage="mux", limits=STANDARD if encodes else COPYING, on_progress=tell)
        tags.settle(out, plan.container)
        if plan.container == "mp4" and not file.shows_subtitles:
            tags.hide_subtitles(out)
        tell(plan.source.duration)
    return tuple(file.notices)


@dataclass(frozen=True, slots=True)
class Label:
    """What a track says of itself; "" leaves what it has. `language` is BCP-47, `iso639_2` the code beside it."""

    language: str = ""
    iso639_2: str = ""
    title: str = ""


@dataclass
class _File:
    """The output while it is being described: its options, and how many streams of each type it has.

    `bcp47`: tags that the source has for its tracks.
    """

    plan: MuxPlan
    options: list[str] = field(default_factory=list[str])
    bcp47: Mapping[int, str] = field(default_factory=dict[int, str])
    notices: list[Notice] = field(default_factory=list[Notice])
    counts: Counter[str] = field(default_factory=Counter[str])
    shows_subtitles: bool = False

    def add(self, kind: str, selector: str, codec: str = "copy", disposition: str = "", label: Label | None = None) -> None:
        """Append a stream: `kind` is v, a, s or t, `selector` an input stream such as "0:1"."""
        stream = f"{kind}:{self.counts[kind]}"
        self.counts[kind] += 1
        self.options += ["-map", selector, f"-c:{stream}", codec]
        if disposition:
            self.options += [f"-disposition:{stream}", disposition]
        if label is not None:
            self.tag(stream, self._named(kind, label))

    def _named(self, kind: str, label: Label) -> dict[str, str]:
        title = tags.room_for(label.language, label.title, self.plan.container)
        if self.plan.container == "mkv":
            return {"language": label.iso639_2, "title": title}
        handler = title  # players show it as the title
        if title != label.title:
            handler = tags.room_for(label.language, label.title or _HANDLERS[kind], "mp4")
        return {"language": label.iso639_2, "title": label.title, "handler_name": handler}

    def tag(self, stream: str, values: Mapping[str, str]) -> None:
        """Set metadata of an output stream; empty values leave what it has."""
        for name, value in values.items():
            if value:
                self.options += [f"-metadata:s:{stream}", f"{name}={value}"]

    def kept(self, track: Track) -> Label:
        """What a track of the source is called, as far as ffmpeg would not see to it."""
        language = self.bcp47.get(track.index, "")
        return Label(language, title=track.title if language else "")

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
    if plan.picture:
        arguments += [*SAFE_INPUT, "-i", f"file:{plan.picture}"]
    return arguments


def _known_tags(plan: MuxPlan) -> dict[int, str]:
    """BCP-47 tags of the source's tracks by index; none where its tracks cannot be told from what ffmpeg made of them."""
    found = tags.bcp47(plan.link) if plan.source.container in ("mov", "matroska") else ()
    tracks = [track for track in plan.source.tracks if track.kind != "attachment"]
    if len(found) != len(tracks):
        return {}
    return {track.index: tag for track, tag in zip(tracks, found, strict=True) if tag}


def _pictures(file: _File) -> None:
    mp4 = file.plan.container == "mp4"
    for number, track in enumerate(file.plan.source.of("video")):
        if file.plan.picture and number == 0:
            _new_picture(file, track)
            continue
        if mp4 and track.codec not in _MP4_VIDEO:
            raise BadSettings(f"MP4 cannot hold {track.codec or 'this'} video", "use --format mkv")
        _tag_hevc(file, track.codec)
        file.add("v", f"0:{track.index}", label=file.kept(track))


def _tag_hevc(file: _File, codec: str) -> None:
    if file.plan.container == "mp4" and codec == "hevc":
        file.options += [f"-tag:v:{file.counts['v']}", "hvc1"]  # the tag that Apple's players know


def _new_picture(file: _File, old: Track) -> None:
    plan = file.plan
    number = 1 + len(plan.dubs) + len(plan.subtitles)
    language = "" if old.language == "und" else old.language
    label = Label(file.bcp47.get(old.index, ""), language, old.title)
    if old.codec == "hevc" and plan.picture:  # only then may the new one be HEVC, too
        with opened(plan.picture) as picture:
            _tag_hevc(file, picture.streams.video[0].codec_context.name)
    file.add("v", f"{number}:v:0", "copy", "default" if old.default else "0", label)


def _dubs(file: _File) -> None:
    for number, dub in enumerate(file.plan.dubs, 1):
        label = Label(dub.language, dub.iso639_2, dub.title)
        file.add("a", f"{number}:0", "copy", "default+dub" if dub.default else "dub", label)


def _source_sound(file: _File) -> None:
    plan, original = file.plan, file.plan.original
    if original is None:
        return
    others = [track for track in plan.source.of("audio") if track.index != original.track.index]
    holds = _MP4_AUDIO if plan.container == "mp4" else _MKV_AUDIO
    for track in (original.track, *others):
        codec = "copy"
        if track.codec not in holds:
            codec = "aac"
            text = (
                f"audio track {track.index} ({track.codec or 'unknown format'}) was encoded as AAC for {plan.container.upper()}"
            )
            file.notices.append(Notice("original-re-encoded", text, "info"))
            file.options += [f"-b:a:{file.counts['a']}", f"{96 * max(track.channels, 1)}k"]
        label, flags = file.kept(track), "-default"
        if track.index == original.track.index:
            language, flags = original.language or label.language, "-default+original"
            label = Label(language, original.iso639_2, original.title or track.title)
        file.add("a", f"0:{track.index}", codec, flags, label)


def _subtitles(file: _File) -> None:
    plan = file.plan
    mp4 = plan.container == "mp4"
    for number, new in enumerate(plan.subtitles, 1 + len(plan.dubs)):
        label = Label(new.language, new.iso639_2, new.title)
        file.add("s", f"{number}:0", "mov_text" if mp4 else "subrip", "default" if new.default else "0", label)
    file.shows_subtitles = any(new.default for new in plan.subtitles)
    for track in plan.source.of("subtitle"):
        if not track.text if mp4 else not (track.text or track.codec in _MKV_SUBTITLES):
            file.dropped(track, "subtitle track")
            continue
        codec = "mov_text" if mp4 else "copy" if track.codec in _MKV_SUBTITLES else "subrip"
        file.add("s", f"0:{track.index}", codec, "-default" if file.shows_subtitles else "", file.kept(track))
        file.shows_subtitles |= track.default


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
