"""Streams of small generated films with fake engines, and what players and parsers make of them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from polydub import config
from polydub.dubbing import Ears, Job
from polydub.engines.pool import EnginePool
from polydub.streaming import Streamed, stream_film
from small_dubs import Cue, srt

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
PLAIN: Mapping[str, Any] = {
    "to": "es",
    "tts": "fake",
    "separation": "none",
    "diarization": "none",
    "download": "no",
    "threads": 2,
    "stream": "segments",
    "chunk_seconds": 4,
    "format": "mp4",
}


@dataclass
class Streaming:
    """A film and its translation in a folder; the stream goes to `out`."""

    folder: Path
    media: Path

    @property
    def out(self) -> Path:
        return self.folder / "out" / self.media.stem / "stream"

    def say(self, cues: list[Cue]) -> Streaming:
        """What the dub shall say."""
        (self.folder / "film.es.srt").write_text(srt(cues))
        return self

    def stream(self, **settings: Any) -> Streamed:
        """Streams it in this process."""
        values = {**PLAIN, "output": str(self.folder / "out"), **settings}
        loaded = config.load(values, job=None, environ={}, cwd=self.folder, user_file=None)
        given = self.folder / "film.es.srt"
        pool = EnginePool()
        try:
            (made,) = stream_film(Job(self.media, None, {"": given} if given.exists() else {}), loaded, pool, Ears())
        finally:
            pool.close()
        return made

    @property
    def manifest(self) -> Any:
        return json.loads((self.out / "manifest.json").read_text())


def until(wish: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    """Waits until a wish has come true while a process works."""
    ends = time.monotonic() + seconds
    while not wish():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < ends, "it takes too long"
        time.sleep(0.05)


def cut_short(media: Path, *, picture_s: float = 60.0, sound_s: float = 60.0) -> Path:
    """The same film with less of its picture or of its sound, in place."""
    short = media.with_stem("short")
    ends = ["-t", f"{picture_s}", "-i", media, "-t", f"{sound_s}", "-i", media]
    subprocess.run([FFMPEG, "-v", "error", *ends, "-map", "0:v", "-map", "1:a", "-c", "copy", short], check=True)
    return short.replace(media)


@dataclass(frozen=True)
class Playlist:
    """A media playlist, checked by the rules of RFC 8216 that a player relies on."""

    inits: tuple[str, ...]
    files: tuple[str, ...]
    durations: tuple[float, ...]
    target: int
    ended: bool


def playlist(path: Path) -> Playlist:
    """Reads one. Asserts: the header, the order of tags, durations within the target, files that exist."""
    text = path.read_text()
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert text.endswith("\n")
    tags = {line.partition(":")[0]: line.partition(":")[2] for line in lines if line.startswith("#EXT-X-")}
    assert int(tags["#EXT-X-VERSION"]) >= 6  # EXT-X-MAP in a playlist of pictures
    assert tags["#EXT-X-MEDIA-SEQUENCE"] == "0"
    assert tags["#EXT-X-PLAYLIST-TYPE"] == "EVENT"
    target = int(tags["#EXT-X-TARGETDURATION"])
    durations = [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    files = [line for line in lines if line and not line.startswith("#")]
    assert len(files) == len(durations) == len(set(files))
    assert all(round(d) <= target for d in durations)
    inits = re.findall(r'#EXT-X-MAP:URI="(.*)"', text)
    for name in (*files, *inits):
        assert (path.parent / name).stat().st_size > 0
    if files and inits:
        assert text.index("#EXT-X-MAP") < text.index("#EXTINF")
    ended = "#EXT-X-ENDLIST" in tags
    assert not ended or lines[-1] == "#EXT-X-ENDLIST"
    return Playlist(tuple(inits), tuple(files), tuple(durations), target, ended)


@dataclass(frozen=True)
class Packets:
    """The packets of one stream: presentation and decode times, seconds."""

    pts: tuple[float, ...]
    dts: tuple[float, ...]
    ends: float


def packets(path: Path) -> dict[str, Packets]:
    """By kind of stream, through PyAV."""
    import av

    found: dict[str, list[Any]] = {}
    with av.open(str(path)) as file:
        for packet in file.demux():
            if packet.dts is not None:
                found.setdefault(packet.stream.type, []).append(packet)
        made: dict[str, Packets] = {}
        for kind, several in found.items():
            base = float(several[0].time_base)
            ends = max((p.pts + (p.duration or 0)) * base for p in several)
            made[kind] = Packets(tuple(p.pts * base for p in several), tuple(p.dts * base for p in several), ends)
        return made


def joined(folder: Path, files: tuple[str, ...], init: str = "init.mp4") -> Path:
    """What a player has when it has appended all of these."""
    path = folder.parent / f"joined-{len(files)}.mp4"
    path.write_bytes(b"".join((folder / name).read_bytes() for name in (init, *files)))
    return path


def decoded(path: Path, stream: str = "0:a:0") -> NDArray[np.float32]:
    """Mono at 48 kHz, on the file's clock. Asserts that ffmpeg has nothing to say."""
    command = [FFMPEG, "-v", "error", "-i", path, "-map", stream, "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]
    ran = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert not ran.stderr, ran.stderr.decode()
    return np.frombuffer(ran.stdout, np.float32)


def plays(path: Path) -> None:
    """Asserts that ffmpeg decodes all of it without a word, by the film's own clock."""
    command = [FFMPEG, "-v", "error", "-i", path, "-enc_time_base:v", "demux", "-f", "null", "-"]
    ran = subprocess.run(command, capture_output=True, check=True)
    assert not ran.stderr, ran.stderr.decode()
