"""From finished pieces to media segments: which ones are complete, where they lie, what the playlist and the manifest say."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from polydub import project
from polydub.errors import PolydubError
from polydub.media import hls
from polydub.media.aac import adts_packets
from polydub.media.fragments import codecs
from polydub.media.intake import PicturePart, still
from polydub.runner import Run
from polydub.stages import streamed
from polydub.streaming.pieces import MOST, Piece
from polydub.streaming.sources import Film
from polydub.types import FRAME, RATE_HZ, Notice, seconds

VERSION = 1
SHORTEST_S = 1.0  # shorter segments wait for the next piece
ROUNDED_S = 0.1  # a picture may be shown longer than the index of a file tells
MOST_NOTICES = 200  # are written down


@dataclass(frozen=True)
class Segment:
    """A media segment as the manifest tells it; files are in the stream's folder. `made_s`: seconds after the start."""

    number: int
    start: float
    duration: float
    file: str
    chunk: str
    init: str
    bytes: int
    made_s: float


@dataclass
class Manifest:
    """What has become of a stream so far. `key`: of what it is made; another one makes everything anew."""

    key: str
    source: str
    language: str
    state: str = "running"
    error: dict[str, str] | None = None
    spoken: str = "und"
    duration: float = 0.0
    pieces: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    segments: list[Segment] = field(default_factory=list[Segment])
    speakers: dict[str, str] = field(default_factory=dict[str, str])
    notices: dict[Notice, None] = field(default_factory=dict[Notice, None])
    loudness_lufs: float | None = None
    film: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON."""
        notices = [{"code": n.code, "text": n.text, "severity": n.severity, "line": n.line} for n in self.notices]
        rows = {k: v for k, v in vars(self).items() if k not in ("segments", "notices")}
        return {"version": VERSION, **rows, "segments": [asdict(s) for s in self.segments], "notices": notices}


@dataclass(frozen=True)
class Done:
    """A finished piece: its packets, and what is known of it."""

    piece: Piece
    packets: Sequence[bytes]
    cues: Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Waiting:
    """What waits to become media segments, from `at` seconds on: AAC frames from the first to before the second of `frames`,
    and parts of the picture, which end at `ends`.

    Attributes: pictures: the film has some. last: nothing more comes; the film ends at `duration`.
    """

    at: float
    frames: tuple[int, int]
    ends: tuple[float, ...]
    pictures: bool
    last: bool
    duration: float


@dataclass(frozen=True)
class Next:
    """The next media segment: so many parts of the picture, sound until before a frame, and when it ends."""

    parts: int
    until: int
    end: float


def next_cut(waiting: Waiting, usual_s: float, most_s: float) -> Next | None:
    """The next segment, if it is complete: not longer than `usual_s` where the picture can be cut there.

    It is longer than `most_s` only if one part of the picture is.
    """
    first, ready = waiting.frames
    ends, last = waiting.ends, waiting.last
    if not waiting.pictures or (last and not ends):  # no picture, or it has ended: equal lengths
        count = ready - first
        until = first + ceil(count / max(1, ceil(count * FRAME / RATE_HZ / usual_s)))
        return Next(0, until, until * FRAME / RATE_HZ) if count else None
    count = 0
    for end, before in zip(ends, (waiting.at, *ends), strict=False):
        late = not last and _frames(end) > ready
        rest = last and ends[-1] - before < SHORTEST_S and ends[-1] - waiting.at <= most_s  # stays with what is before it
        if late or (count and not rest and end - waiting.at > usual_s):
            break
        count += 1
    if not count or (not last and ends[count - 1] - waiting.at < SHORTEST_S):
        return None
    end = ends[count - 1]
    if last and count == len(ends) and waiting.duration - end < SHORTEST_S and waiting.duration - waiting.at <= most_s:
        return Next(count, ready, max(end, waiting.duration))
    return Next(count, min(_frames(end), ready), end)


class Reel:
    """The growing stream in its folder. Used by one thread."""

    def __init__(self, folder: Path, manifest: Manifest, chunk_s: float, film: Film) -> None:
        self.folder, self.manifest = folder, manifest
        self._usual, self._size, self._began = float(ceil(MOST * chunk_s)), film.size, time.monotonic()
        # as the first playlist says: RFC 8216 lets nobody change it
        self._target = max(self._usual, float(ceil(film.unbroken_s + ROUNDED_S)))
        self._packets: deque[bytes] = deque()
        self._first = 0  # frame number of the first of them
        self._parts: deque[PicturePart] = deque()
        self._at = 0.0  # where the next segment begins
        self._pictures = film.size != (0, 0)
        self._cues: list[tuple[float, float, str]] = []
        self._inits: dict[str, tuple[str, int]] = {}
        self._shown: PicturePart | None = None  # the newest part that was
        self._before = _resumed(folder, manifest)

    def add(self, run: Run, done: Done, parts: Sequence[PicturePart]) -> None:
        """A piece is finished, and so far the picture has come; makes the segments that are complete."""
        self._packets.extend(done.packets)
        self._parts.extend(parts)
        self._cues.extend(done.cues)
        self.manifest.duration = done.piece.span.end
        while self._one(run, last=done.piece.last):
            pass
        self._tell_piece(done.piece)
        self.write()

    def _tell_piece(self, piece: Piece) -> None:
        row = {"number": piece.number + 1, "start": piece.span.start, "end": piece.span.end, "made_s": self._now()}
        self.manifest.pieces.append(row)

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 2)

    def _one(self, run: Run, *, last: bool) -> bool:
        """Makes the next segment, if it is complete."""
        ready, parts = self._first + len(self._packets), list(self._parts)
        ends = (*(after.start for after in parts[1:]), *(part.end for part in parts[-1:]))
        waiting = Waiting(self._at, (self._first, ready), ends, self._pictures, last, self.manifest.duration)
        cut = next_cut(waiting, self._usual, self._target)
        if cut is not None:
            self._make(run, tuple(parts[: cut.parts]), cut.until, cut.end)
        return cut is not None

    def _make(self, run: Run, parts: tuple[PicturePart, ...], until: int, end: float) -> None:
        """Writes the segment of these parts, and of the sound up to frame `until`."""
        number = len(self.manifest.segments) + 1
        work = self.folder.parent / ".polydub-stream"
        sound = work / f"segment-{number:06d}.aac"
        sound.write_bytes(b"".join(self._packets.popleft() for _ in range(until - self._first)))
        if not parts and self._shown:
            picture = PicturePart(work / f"still-{number:06d}.mp4", self._at, end)
            still(self._shown, picture.path, end - self._at)
            shown = (streamed.Shown(run.store.keep(picture.path), picture.start, picture.end),)
        else:
            shown = tuple(streamed.Shown(run.adopt(p.path), p.start, p.end) for p in parts)
        shot = streamed.Shot(round(self._at, 6), shown, run.store.keep(sound), self._first)  # the same packets may be a piece's
        init, delay = self._init(run, run.step(streamed.init_segment, shot))
        played = replace(shot, delay=delay)
        media = run.deliver(streamed.media_segment, self.folder / f"segment_{number:03d}.m4s", played)
        whole = run.deliver(streamed.chunk, self.folder / f"chunk_{number:03d}.mp4", shot)
        length = media.result().stat().st_size
        names = media.result().name, whole.result().name
        duration = round(end - self._at, 6)
        self.manifest.segments.append(Segment(number, round(self._at, 6), duration, *names, init, length, self._now()))
        self._write_cues(number, self._at, end)
        self._at, self._first = end, until
        for _ in parts:
            if self._shown:
                self._shown.path.unlink()
            self._shown = self._parts.popleft()

    def _init(self, run: Run, made: streamed.Opening) -> tuple[str, int]:
        """Name and delay of the init segment, which all segments share unless the picture changes its format."""
        if made.format not in self._inits:
            name = f"init_{len(self._inits) + 1}.mp4" if self._inits else "init.mp4"
            self._inits[made.format] = (name, made.delay)
            data = run.store.path(made.init).read_bytes()
            project.write(self.folder / name, data)
            if name == "init.mp4":
                self._write_master(codecs(data))
        return self._inits[made.format]

    def _write_cues(self, number: int, start: float, end: float) -> None:
        own = [cue for cue in self._cues if cue[0] < end and cue[1] > start]
        project.write(self.folder / f"subtitles_{number:03d}.vtt", hls.vtt(own))
        self._cues = [cue for cue in self._cues if cue[1] > end]

    def _write_master(self, names: str) -> None:
        from polydub import languages

        language = self.manifest.language
        told = ("subtitles.m3u8", language, languages.title(language))
        variant = hls.Variant("index.m3u8", 5_000_000, names, self._size, *told)
        project.write(self.folder / "master.m3u8", hls.master_playlist(variant))

    def write(self, *, ended: bool = False) -> None:
        """Manifest and playlists, each in one go. What an interrupted run made stays listed until it is made again.

        The manifest comes first: from it a run that goes on knows what may already be playing.
        """
        made = self.manifest.segments
        rest = self._before[len(made) :] if not ended and _same(made, self._before) else []
        if not rest:
            self._before = []
        told = self.manifest.told()
        told["segments"] = [asdict(s) for s in [*made, *rest]]
        project.write(self.folder / "manifest.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        listed = [hls.Listed(s.file, s.duration, s.init) for s in [*made, *rest]]
        if listed:
            texts = [replace(row, file=f"subtitles_{n:03d}.vtt") for n, row in enumerate(listed, 1)]
            project.write(self.folder / "subtitles.m3u8", hls.text_playlist(texts, self._target, ended=ended))
            project.write(self.folder / "index.m3u8", hls.media_playlist(listed, self._target, ended=ended))

    def note(self, notices: Sequence[Notice]) -> None:
        """Tells notices, each once."""
        for notice in notices:
            if len(self.manifest.notices) < MOST_NOTICES:
                self.manifest.notices.setdefault(notice)

    def close(self, state: str, error: PolydubError | None = None) -> None:
        """Nothing more comes: what is there stays playable."""
        self.manifest.state = state
        if error is not None:
            self.manifest.error = {"code": error.code, "message": error.message, "hint": error.hint}
        self.write(ended=True)


def _frames(end: float) -> int:
    """AAC frames that begin before `end`."""
    return ceil(round(end * RATE_HZ / FRAME, 6))


def _same(made: Sequence[Segment], before: Sequence[Segment]) -> bool:
    pairs = zip(made, before, strict=False)
    return len(made) <= len(before) and all((a.file, a.duration, a.init) == (b.file, b.duration, b.init) for a, b in pairs)


def _resumed(folder: Path, manifest: Manifest) -> list[Segment]:
    """What an interrupted run of the same stream has made; anything else in the folder is removed."""
    old: Mapping[str, Any] = {}
    path = folder / "manifest.json"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["key"] == manifest.key and old["version"] == VERSION:
            rows = [Segment(**row) for row in old["segments"]]
            if all((folder / s.file).exists() and (folder / s.init).exists() for s in rows):
                return rows
    except (OSError, ValueError, KeyError, TypeError):
        pass
    for pattern in (
        "manifest.json",
        "*.m3u8",
        "init*.mp4",
        "segment_*.m4s",
        "chunk_*.mp4",
        "subtitles_*.vtt",
        "stream.final.*",
    ):
        for file in folder.glob(pattern):
            file.unlink()
    return []


def packets_of(run: Run, blocks: Sequence[Any]) -> list[bytes]:
    """The AAC packets of rendered blocks, in order."""
    return [packet for block in blocks for packet in adts_packets(run.store.path(block).read_bytes())]


def length_of(parts: Sequence[PicturePart]) -> float:
    """When the last of them ends."""
    return seconds(max((part.end for part in parts), default=0.0))
