"""What a media file holds: tracks, length, start. Read by PyAV behind the same walls as ffmpeg."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from polydub.errors import UnreadableMedia
from polydub.media.program import FORMATS, safe_link
from polydub.types import Artifact, Source, Track, seconds

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.codec.context import CodecContext
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

MAX_TRACKS = 200
MAX_PIXELS = 16384 * 16384
MAX_SECONDS = 24 * 3600.0

_TEXT_CODECS = frozenset({"subrip", "ass", "ssa", "webvtt", "mov_text", "text"})
# Without an index these formats have their length guessed from the bit rate.
_GUESSED = frozenset({"aac", "mp3", "ac3", "eac3", "dts", "truehd", "amr"})
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"v=0", b"[Reference]", b"<asx", b"<ASX")
_CHECK = "check that it plays in a video player"


def probe(media: Artifact, path: Path) -> Source:
    """Tracks, length and start of the file at `path`, which is `media` by content.

    Track times are on the film's clock, languages are lower-case as the file has them ("und" when it has none), cover
    pictures count as attachments. A length that the file does not tell is measured from its packets.
    Raises: UnreadableMedia for what is not media, is damaged beyond opening, has zero length, or passes the limits
    (200 tracks, 16384 x 16384 pixels, 24 h).
    """
    import av
    from av.error import FFmpegError

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    with tempfile.TemporaryDirectory(prefix="polydub-") as folder:
        link = safe_link(path, Path(folder))
        try:
            with av.open(str(link), options=options, metadata_errors="replace") as container:
                return _source(media, container)
        except (FFmpegError, UnicodeError) as error:
            raise _refusal(path) from error


def _source(media: Artifact, container: InputContainer) -> Source:
    start = (container.start_time or 0) / 1e6
    if len(container.streams) > MAX_TRACKS:
        raise UnreadableMedia(f"the file has {len(container.streams)} tracks; at most {MAX_TRACKS} are read", "remove some")
    tracks = tuple(_track(stream, start) for stream in container.streams)
    for track in tracks:
        # FFmpeg itself refuses most of what is larger, and then tells no size at all.
        if track.kind == "video" and not 0 < track.width * track.height <= MAX_PIXELS:
            raise UnreadableMedia("the picture's size is unknown or larger than 16384 x 16384 pixels", "convert the file first")
    if not any(track.kind in ("video", "audio") for track in tracks):
        raise UnreadableMedia("the file holds neither sound nor picture", "give a video or sound file")
    duration = _duration(container, start)
    if duration <= 0:
        raise UnreadableMedia("the file has zero length", _CHECK)
    if duration > MAX_SECONDS:
        raise UnreadableMedia(f"the file is {duration / 3600:.0f} h long; at most 24 h are read", "cut it into parts")
    return Source(media, container.format.name.split(",")[0], duration, round(start, 6), tracks)


def _track(stream: Stream, start: float) -> Track:
    from av.stream import Disposition

    begins = 0.0
    if stream.start_time is not None and stream.time_base is not None:
        begins = seconds(float(stream.start_time * stream.time_base) - start) + 0.0  # not -0.0
    track = Track(
        index=stream.index,
        kind="data" if stream.type == "unknown" else stream.type,
        codec=_codec(stream),
        language=(stream.metadata.get("language") or "und").lower(),
        title=stream.metadata.get("title") or stream.metadata.get("name") or "",  # MP4 calls it name
        default=Disposition.default in stream.disposition,
        start=begins,
    )
    if not track.codec:  # then PyAV has no size, rate or layout either
        return track
    if stream.type == "video":
        video = cast("VideoStream", stream)
        track = replace(track, width=video.width, height=video.height, fps=round(float(video.average_rate or 0), 6))
        if Disposition.attached_pic in stream.disposition:
            track = replace(track, kind="attachment")
    elif stream.type == "audio":
        audio = cast("AudioStream", stream)
        track = replace(track, channels=audio.channels, rate_hz=audio.rate, layout=audio.layout.name)
    elif stream.type == "subtitle":
        track = replace(track, text=track.codec in _TEXT_CODECS)
    return track


def _codec(stream: Stream) -> str:
    """The codec's name, not the decoder's ("av1", not "libdav1d"); empty for what PyAV does not know."""
    context = cast("CodecContext | None", stream.codec_context)  # its stubs say it is always there
    return context.codec.canonical_name if context is not None else ""


def _duration(container: InputContainer, start: float) -> float:
    told = (container.duration or 0) / 1e6
    names = set(container.format.name.split(","))
    if told > 0 and not _GUESSED & names and not ("matroska" in names and abs(start) > 0.1):
        return seconds(told)
    # Matroska's length is in fact its last moment: of no use in a recording that begins late.
    measured = _last_moment(container) - start
    # Headers know what the encoder padded at the end, packets do not: a small difference speaks for the header.
    return seconds(told if told > 0 and abs(measured - told) < 0.1 else max(measured, 0.0))


def _last_moment(container: InputContainer) -> float:
    """Container time at which the last packet of sound or picture ends."""
    from av.error import FFmpegError

    last = 0.0
    with contextlib.suppress(FFmpegError):  # cut off: what is there counts
        for packet in container.demux():
            if packet.pts is not None and packet.stream.type in ("video", "audio"):
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if last > MAX_SECONDS + 3600:
                    break
    return last


def _refusal(path: Path) -> UnreadableMedia:
    """Says in words why ffmpeg would not open the file."""
    with path.open("rb") as file:
        head = file.read(1024)
        size = file.seek(0, 2)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not size:
        return UnreadableMedia("the file is empty", "copy or download it again")
    if text.startswith(_PLAYLISTS) or (text.startswith(b"<?xml") and b"<MPD" in text):
        return UnreadableMedia("this is a playlist, not a media file", "give the media files that it names")
    if head[4:8] == b"ftyp" and not _has_index(path):
        return UnreadableMedia("the file is cut off or damaged: its index (moov) is not all there", "copy or download it again")
    if head.isascii() and b"\0" not in head:
        return UnreadableMedia("this is a text file, not a media file", "give a video or sound file")
    return UnreadableMedia("this is not a video or sound file that polydub can read", _CHECK)


def _has_index(path: Path) -> bool:
    """Whether one of an MP4 file's outer boxes is the index, all of it."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if head[4:8] == b"moov":
                return at + length <= size
            if length < 8:
                return False
            at += length
    return False
