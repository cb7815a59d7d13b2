"""A film as it comes: its sound sample by sample, its picture in parts that begin at key frames and are not encoded anew."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.errors import EngineFailed, UnreadableMedia
from polydub.media.feeding import Feed
from polydub.media.program import FORMATS, SAFE_INPUT, Child, Limits, on_film_clock
from polydub.media.vigil import Vigil
from polydub.types import RATE_HZ, Notice, Samples, Source, Track, seconds

if TYPE_CHECKING:
    from io import BufferedReader

PART_S = 2.0  # a part of the picture ends at the first key frame after so long
_SHIFT_S = 10.0  # pictures that are decoded before time 0 would be moved otherwise
_ENDLESS = Limits(seconds=1e7, cpu_seconds=10_000_000)


@dataclass(frozen=True, slots=True)
class PicturePart:
    """Copied pictures: an MP4 file, and when its first picture is shown and its last one ends, seconds of the film."""

    path: Path
    start: float
    end: float


class Intake:
    """One ffmpeg that reads a film once, no faster than its sound is taken. A context manager.

    Where it stands still on a damaged film, the film ends with what was read. Attributes: vigil: sees to that. taken: samples.
    """

    def __init__(self, source: Source, track: Track, layout: str, folder: Path, came: Path | Feed) -> None:
        """`track`: the sound. `layout`: ffmpeg's name. `folder`: for the parts. `came`: from `safe_link`, or a feed."""
        from polydub.audio import layouts

        self._feed = came if isinstance(came, Feed) else None
        self._folder, self._channels = folder, len(layouts.channels(layout))
        self._picture = next(iter(source.of("video")), None)
        opened = on_film_clock(came, source.start) if isinstance(came, Path) else _from_pipe(source.start)
        arguments = [*opened, *_sound(track, layout), *self._pictures()]
        self._child = Child(arguments, "reading", _ENDLESS, feed=self._feed.descriptor if self._feed else None)
        self._given, self.taken = 0, 0
        self.vigil = Vigil(self._child.stop, self._sign)
        if self._feed:
            os.close(self._feed.descriptor)
            self._feed.start()

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, *error: object) -> None:
        self.vigil.close()
        if self._feed:
            self._feed.close()
        self._child.__exit__(None, None, None)

    @property
    def channels(self) -> int:
        """Of the sound."""
        return self._channels

    def read(self, frames: int) -> Samples:
        """The next `frames` samples, (channels, frames); fewer only at the end of the sound.

        Raises: UnreadableMedia where ffmpeg stands still before the first of them.
        """
        import numpy as np

        raw = np.empty((frames, self._channels), np.float32)
        with self.vigil.waiting():
            count = cast("BufferedReader", self._child.output).readinto(raw.data.cast("B")) // (4 * self._channels)
        self.taken += count
        if self.vigil.stopped and not self.taken:
            text = "the film is damaged: ffmpeg stands still before the first sound of it"
            raise UnreadableMedia(text, "check that it plays in a video player")
        return np.nan_to_num(np.ascontiguousarray(raw[:count].T), copy=False, posinf=0.0, neginf=0.0)

    def drain(self, samples: int | None) -> list[Notice]:
        """Reads to the end, so that all of the picture is there. `samples`: of the film, None = nobody knew."""
        while self.read(RATE_HZ).shape[1]:
            pass
        complaint = self.finish()
        missing_s = (samples - self.taken) / RATE_HZ if samples else 0.0
        if complaint and missing_s > 0.1:  # as `stages.listen` tells
            return [Notice("sound-cut-short", f"the last {missing_s:.1f} s of the sound could not be decoded and are silent")]
        if self.vigil.stopped:
            text = f"the film could not be read beyond {self.taken / RATE_HZ:.1f} s, where ffmpeg stands still"
            return [Notice("sound-cut-short", text)]
        return []

    def finish(self) -> str:
        """At the end: what ffmpeg complained of last, "" = nothing. Raises: Cancelled, StoreError, EngineFailed."""
        with self.vigil.waiting(), contextlib.suppress(UnreadableMedia):  # of a damaged file what could be read counts
            try:
                self._child.finish()
            except EngineFailed:
                if not self.vigil.stopped:
                    raise
        return self._child.complaint() or ("ffmpeg stands still" if self.vigil.stopped else "")

    def parts(self) -> Iterator[PicturePart]:
        """The finished parts of the picture that have not been given yet, in order."""
        if self._picture is None:
            return
        listed = self._folder / "parts.csv"
        text = listed.read_text() if listed.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines()[self._given :]:
            name, start, end = line.split(",")
            begins = self._picture.start if self._given == 0 else float(start) - _SHIFT_S  # of the first, ffmpeg tells 0
            self._given += 1
            yield PicturePart(self._folder / name, round(begins, 6), seconds(float(end) - _SHIFT_S))

    def pictured(self) -> float:
        """When the last finished part of the picture ends, seconds of the film; 0.0 without one."""
        listed = self._folder / "parts.csv"
        rows = listed.read_text().split() if listed.exists() else []
        return float(rows[-1].split(",")[2]) - _SHIFT_S if rows else 0.0

    def _sign(self) -> object | None:
        """What changes as long as ffmpeg gets on; None while it waits for more of a film that is still being made."""
        if self._feed and self._feed.waits:
            return None
        listed = self._folder / "parts.csv"
        return self.taken, self._feed.handed if self._feed else 0, listed.stat().st_size if listed.exists() else 0

    def _pictures(self) -> list[str]:
        if self._picture is None:
            return []
        small = "movflags=frag_keyframe+empty_moov+default_base_moof:use_editlist=0"
        return [
            *("-map", f"0:{self._picture.index}", "-c:v", "copy", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
            *("-output_ts_offset", f"{_SHIFT_S:g}", "-f", "segment", "-segment_time", f"{PART_S:g}"),
            *("-segment_format", "mp4", "-segment_format_options", small),
            *("-segment_list", f"{self._folder / 'parts.csv'}", "-segment_list_type", "csv"),
            f"{self._folder}/part-%06d.mp4",
        ]


def still(part: PicturePart, file: Path, length: float) -> None:
    """A part that shows the last picture of another one for so many seconds: after all others of its group, within an instant.

    What it depends on must be there, and browsers refuse segments without a picture after ones that have one.
    """
    import av

    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "use_editlist": "0", "fflags": "+bitexact"}
    with av.open(str(part.path)) as source, cast("Any", av).open(str(file), "w", format="mp4", options=options) as out:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.pts is not None and packet.dts is not None]
        packets = packets[max(n for n, packet in enumerate(packets) if packet.is_keyframe) :]
        packets = [packet for packet in packets if cast("int", packet.pts) >= cast("int", packets[0].pts)]
        place = {pts: n for n, pts in enumerate(sorted(cast("int", packet.pts) for packet in packets))}
        places = [place[cast("int", packet.pts)] for packet in packets]
        late = max(n - shown for n, shown in enumerate(places))
        to = out.add_stream_from_template(stream, opaque=True)
        for n, (packet, shown) in enumerate(zip(packets, places, strict=True)):
            last = n == len(packets) - 1
            packet.duration = max(1, round(length / float(stream.time_base or 1)) - shown) if last else 1
            packet.pts, packet.dts, packet.stream = shown + late, n, to
            out.mux(packet)


def unbroken_s(media: Path, source: Source) -> float:
    """Seconds of the longest part of the picture, as far as the index of the file tells; 0.0 where it does not."""
    import av
    from av.error import FFmpegError

    picture = next(iter(source.of("video")), None)
    if picture is None:
        return 0.0
    try:
        with av.open(str(media), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}) as file:
            if not {"mp4", "matroska"} & set(file.format.name.split(",")):
                return 0.0  # the index of other files grows as they are read
            file.seek(0)  # of Matroska, its index is read then
            stream = cast("Any", file.streams[picture.index])
            return seconds(_longest_part(stream.index_entries, round(PART_S / stream.time_base)) * stream.time_base)
    except (FFmpegError, ValueError):
        return 0.0


def _longest_part(index: Any, part: int) -> int:
    """Ticks of it. A film may have a million pictures, so that only key frames are looked up.

    Args: index: `index_entries` of a stream in PyAV, in order of time. part: ticks of a part.
    """
    if not len(index):
        return 0
    longest, last = 0, index[-1].timestamp
    number = index.search_timestamp(index[0].timestamp, backward=False)
    while number >= 0:
        key = index[number].timestamp
        end = index.search_timestamp(key + part, backward=False)
        longest = max(longest, (index[end].timestamp if end >= 0 else last) - key)
        number = index.search_timestamp(key + 1, backward=False)
    return longest


def _from_pipe(start: float) -> list[str]:
    return ["-copyts", "-itsoffset", f"{-start:.6f}", *SAFE_INPUT, "-i", "pipe:0"]


def _sound(track: Track, layout: str) -> list[str]:
    # as in media.decode: one graph that is built anew when the stream changes, one that keeps the time
    shape = f"aresample={RATE_HZ}:rematrix_maxval=1,aformat=sample_fmts=flt:channel_layouts={layout}"
    clock = f"aresample={RATE_HZ}:async=1:first_pts=0:min_comp=0.00002:min_hard_comp=0.03"
    return [
        *("-map", f"0:{track.index}", "-af", shape, "-c:a", "pcm_f32le", "-f", "null", "-"),
        *("-dec", "0:0", "-filter_complex", f"[dec:0]{clock}[sound]"),
        *("-map", "[sound]", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"),
    ]
