"""From a media file to sound on the film's clock, and to the text of a subtitle track."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from polydub.errors import EngineFailed, NoAudioTrack, UnreadableMedia
from polydub.media.program import SAFE_INPUT, Child, on_film_clock
from polydub.types import BLOCK, RATE_HZ, Samples, Source, Track

if TYPE_CHECKING:
    from io import BufferedReader

_LAYOUTS = {1: "mono", 2: "stereo"}
_TEXT_BYTES = 64 << 20  # more than any subtitle track holds
_PIPE_BYTES = 1 << 20


def decode_blocks(link: Path, track: Track, source: Source, channels: int, layout: str = "") -> Decoding:
    """One audio track as float32 blocks of shape (channels, BLOCK), the last one shorter; see `Decoding`.

    Sample 0 is `source.start`; gaps are filled with silence, overlaps cut, samples that are not finite numbers silent; the
    length is `source.duration` to the sample, cut or padded with silence. What has another layout, at once or on the way, is
    mixed by ffmpeg's matrix, scaled so that it cannot pass full scale.
    Args: link: from `safe_link`. channels: of `layout`, ffmpeg's name; empty = mono or stereo.
    Raises: NoAudioTrack; while iterating UnreadableMedia when not one sample could be decoded, EngineFailed.
    """
    if track.kind != "audio":
        raise NoAudioTrack(f"track {track.index} holds no sound", "choose an audio track")
    return Decoding(link, track, source, channels, layout)


class Decoding:
    """An iterable of blocks, to be gone through once.

    Attributes, when it is exhausted: missing_s: seconds at the end that a damaged file should have held and that are
    silent now; 0.0 when ffmpeg had nothing to complain of, however short the sound. complaint: what it said last.
    """

    def __init__(self, link: Path, track: Track, source: Source, channels: int, layout: str = "") -> None:
        self._link, self._track, self._start, self._channels = link, track, source.start, channels
        self._layout = layout or _LAYOUTS[channels]
        self._frames = round(source.duration * RATE_HZ)
        self.missing_s = 0.0
        self.complaint = ""

    def __iter__(self) -> Iterator[Samples]:
        import numpy as np

        heard = 0
        with Child(self._arguments(), "decoding") as child:
            _widen(child.output)
            for first in range(0, self._frames, BLOCK):
                raw = np.zeros((min(BLOCK, self._frames - first), self._channels), np.float32)
                heard += _fill(child.output, raw) // (raw.itemsize * self._channels)
                if heard == 0:
                    break
                yield np.nan_to_num(np.ascontiguousarray(raw.T), copy=False, posinf=0.0, neginf=0.0)
            if heard < self._frames:
                self._explain(child, heard)

    def _explain(self, child: Child, heard: int) -> None:
        """Why the sound ended after `heard` samples per channel."""
        try:
            child.finish()
        except (UnreadableMedia, EngineFailed):  # of a damaged file what could be decoded counts
            if child.killed:
                raise
        self.complaint = child.complaint()
        if heard == 0:
            why = f": {self.complaint}" if self.complaint else ""
            raise UnreadableMedia(f"no sound could be decoded{why}", "check that the file plays in a video player")
        if self.complaint:
            self.missing_s = (self._frames - heard) / RATE_HZ

    def _arguments(self) -> list[str]:
        # Two graphs, joined by a loopback decoder. ffmpeg builds the first one anew whenever the stream changes its rate
        # or layout; if it also kept the time, it would fill in the whole past again at every change.
        shape = f"aresample={RATE_HZ}:rematrix_maxval=1,aformat=sample_fmts=flt:channel_layouts={self._layout}"
        # Gaps from 30 ms on are filled (two lost AAC frames); smaller ones are jitter of the container's clock. The start
        # is placed to the sample.
        clock = f"aresample={RATE_HZ}:async=1:first_pts=0:min_comp=0.00002:min_hard_comp=0.03"
        return [
            *on_film_clock(self._link, self._start),
            *("-map", f"0:{self._track.index}"),
            *("-af", shape, "-c:a", "pcm_f32le", "-f", "null", "-"),
            *("-dec", "0:0", "-filter_complex", f"[dec:0]{clock}[sound]"),
            *("-map", "[sound]", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"),
        ]


def _fill(pipe: IO[bytes], raw: Samples) -> int:
    """Reads into `raw` until it is full or the pipe ends; the number of bytes read."""
    return cast("BufferedReader", pipe).readinto(raw.data.cast("B"))  # which reads on until one of the two


def _widen(pipe: IO[bytes]) -> None:
    """A larger pipe means fewer switches between ffmpeg and us."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # a container may allow less; it is only speed
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def extract_subtitles(link: Path, track: Track) -> bytes:
    """The text of a subtitle track with times on the film's clock: ASS for an ASS track, else SRT; UTF-8.

    Args: link: from `safe_link`. Raises: UnreadableMedia when the track holds pictures or is larger than 64 MiB.
    """
    if not track.text:
        raise UnreadableMedia(f"subtitle track {track.index} holds pictures, not text", "give the subtitles as a text file")
    form = "ass" if track.codec in ("ass", "ssa") else "srt"
    selected = ["-i", f"file:{link}", "-map", f"0:{track.index}", "-c:s", form, "-f", form, "pipe:1"]
    with Child([*SAFE_INPUT, *selected], "reading subtitles") as child:
        text = child.output.read(_TEXT_BYTES + 1)
        if len(text) > _TEXT_BYTES:
            raise UnreadableMedia(f"subtitle track {track.index} is larger than 64 MiB", "give the subtitles as a text file")
        child.finish()
    return text
