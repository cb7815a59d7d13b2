"""Lip-sync: where a mouth can be moved, moving it, and the picture in which it moves.

Frames are known by number. The film's picture is looked at in cells of CELL frames, as far as the dub speaks there.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polydub.engines.base import FaceFinder, LipSyncer
from polydub.errors import BadEngineOutput, EngineFailed
from polydub.types import HEAR_HZ, RATE_HZ, Artifact, Source, Span, Track
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from polydub.media.rejoin import Paste, Reel

CELL = 400  # frames that are looked at together
AROUND = 24  # frames before and after them, by which a shot detector knows what is usual
EVERY = 5  # frames of which one is searched for faces
SMALL, TINY = 640, 256  # pixels of the longer side, as faces and shots are found at
FACE_PX = 60  # height of a face whose mouth can be seen
SHARE = 0.8  # of the searched frames in which there must be one face
MARGIN = 2  # frames before and after the speech
PAUSE_S = 0.5  # shorter ones do not end a stretch
LEAST = 8  # frames; in fewer nothing is seen
GROWN = (0.25, 0.25, 0.45)  # of the face's size, by which what is pasted is larger: at the sides, above, below
LEVEL_LUFS = -20.0  # what lip-sync programs learnt from is about that loud


@dataclass(frozen=True, slots=True)
class Picture:
    """A film's picture, and the index of its frames (.npz).

    Attributes: refused: why no mouth is moved in it; "" = nothing speaks against it. joined: what is not changed is copied.
    """

    source: Source
    track: Track
    index: Artifact
    refused: str
    joined: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in a cell: where shots begin, and the faces in some frames as x, y, width, height in pixels."""

    cuts: tuple[int, ...]
    faces: tuple[tuple[int, tuple[tuple[int, int, int, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames `first` to `last` - 1 of one shot, in which one face shall speak. Attributes: face: where it is on the whole.

    region: what will be pasted; both as x, y, width, height in pixels. span: when, on the film's clock.
    """

    first: int
    last: int
    face: tuple[int, int, int, int]
    region: tuple[int, int, int, int]
    span: Span


@dataclass(frozen=True, slots=True)
class Plan:
    """The stretches to do; and how often there was a reason not to, by reason."""

    stretches: tuple[Stretch, ...]
    left: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Sounding:
    """A take in a stretch: its file, the sample (RATE_HZ) of the stretch that it begins at, its length, its LUFS."""

    sound: Artifact
    start: int
    frames: int
    loudness: float


@dataclass(frozen=True, slots=True)
class Moved:
    """A stretch in which the mouth moves: the pictures of its region."""

    stretch: Stretch
    video: Artifact


@dataclass(frozen=True, slots=True)
class Part:
    """Frames that are encoded together, and what is pasted into them."""

    first: int
    last: int
    moved: tuple[Moved, ...]


@stage("lip-index")
def survey(work: Work, source: Source) -> Picture:
    """The frames of the film's first picture track."""
    from polydub.media.ffmpeg import safe_link
    from polydub.media.pictures import index_of, save_index

    track = source.of("video")[0]
    index = index_of(safe_link(work.path(source.media), work.scratch), track)
    file = work.scratch / "index.npz"
    save_index(index, file)
    return Picture(source, track, work.keep(file), index.look.refused, index.look.joined)


@stage("lip-cells")
def cells(work: Work, picture: Picture, speech: tuple[Span, ...]) -> tuple[int, ...]:
    """The numbers of the cells in which the dub speaks."""
    found: set[int] = set()
    for first, last in _spoken(_reel(work, picture), speech):
        found.update(range(first // CELL, (last - 1) // CELL + 1))
    return tuple(sorted(found))


def _reel(work: Work, picture: Picture) -> Reel:
    from polydub.media.ffmpeg import safe_link
    from polydub.media.pictures import load_index
    from polydub.media.rejoin import Reel

    link = safe_link(work.path(picture.source.media), work.scratch)
    return Reel(link, picture.track, load_index(work.path(picture.index)), picture.source.start)


def _spoken(reel: Reel, speech: Sequence[Span]) -> list[tuple[int, int]]:
    """The frames in which the dub speaks, with MARGIN, as stretches that do not meet."""
    shown = reel.index.seconds(reel.start)
    found: list[tuple[int, int]] = []
    for span in sorted(speech, key=lambda s: s.start):
        first = max(0, int(shown.searchsorted(span.start, "right")) - 1 - MARGIN)
        last = min(len(shown), int(shown.searchsorted(span.end)) + MARGIN)
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(last, found[-1][1])
        elif last > first:
            found.append((first, last))
    return found


@engine_stage("find-faces", "faces")
def look(work: Work, finder: FaceFinder, cell: int, picture: Picture) -> Seen:
    """The shots and faces in one cell."""
    import numpy as np

    from polydub.media.pictures import frames

    reel = _reel(work, picture)
    first, last = cell * CELL, min((cell + 1) * CELL, reel.index.look.frames)
    low, high = max(0, first - AROUND), min(reel.index.look.frames, last + AROUND)
    tiny, small, numbers, scale = list[Any](), list[Any](), list[int](), 1.0
    for number, frame in frames(reel.link, reel.track, reel.index, low, high):
        tiny.append(_shrunk(frame, TINY)[0])
        if first <= number < last and number % EVERY == 0:
            shrunk, scale = _shrunk(frame, SMALL)
            small.append(shrunk)
            numbers.append(number)
    cuts = tuple(low + n for n in finder.cuts(np.stack(tiny)) if first <= low + n < last)
    boxes = finder.faces(np.stack(small)) if small else ()
    if len(boxes) != len(numbers):
        raise BadEngineOutput(f"faces were found in {len(boxes)} pictures of {len(numbers)}")
    rows = (
        tuple((round(x / scale), round(y / scale), round(w / scale), round(h / scale)) for x, y, w, h in row) for row in boxes
    )
    return Seen(cuts, tuple(zip(numbers, rows, strict=True)))


def _shrunk(frame: Any, longer: int) -> tuple[NDArray[np.uint8], float]:
    """A frame as blue, green, red with its longer side at most `longer`, and by how much it was scaled."""
    scale = min(1.0, longer / max(frame.width, frame.height))
    size = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    return frame.to_ndarray(width=size[0], height=size[1], format="bgr24"), scale


@stage("lip-plan")
def plan(work: Work, picture: Picture, seen: tuple[Seen, ...], speech: tuple[Span, ...]) -> Plan:
    """Where one face, large enough, speaks: stretches of one shot each."""
    import numpy as np

    reel = _reel(work, picture)
    cuts = sorted(cut for cell in seen for cut in cell.cuts)
    faces = dict(row for cell in seen for row in cell.faces)
    shown = np.append(reel.index.seconds(reel.start), picture.source.duration)
    done: list[Stretch] = []
    left: dict[str, int] = {}
    for begin, end in _spoken(reel, speech):
        edges = [begin, *(cut for cut in cuts if begin < cut < end), end]
        for first, last in pairwise(edges):
            if last - first < LEAST:
                continue
            rows = [faces[n] for n in range(first // EVERY * EVERY, last + EVERY, EVERY) if n in faces and first <= n < last]
            reason, boxes = _one_face(rows)
            if reason:
                left[reason] = left.get(reason, 0) + 1
                continue
            size = reel.index.look.width, reel.index.look.height
            span = Span(round(float(shown[first]), 3), round(float(shown[last]), 3))
            done.append(Stretch(first, last, _middle(boxes), _around(boxes, size), span))
    return Plan(tuple(done), tuple(sorted(left.items())))


Box = tuple[int, int, int, int]


def _one_face(rows: Sequence[Sequence[Box]]) -> tuple[str, list[Box]]:
    """Why no mouth is moved, "" = one can be; and the face in the frames that show it alone."""
    large = [[box for box in row if box[3] >= FACE_PX] for row in rows]
    alone = [row[0] for row in large if len(row) == 1]
    if rows and len(alone) >= SHARE * len(rows):
        return "", alone
    if sum(len(row) > 1 for row in large) > (1 - SHARE) * len(rows):
        return "several faces", []
    if any(large):
        return "a face only now and then", []
    return ("a face too small" if any(rows) else "no face"), []


def _middle(boxes: Sequence[Box]) -> Box:
    import numpy as np

    x, y, width, height = (int(v) for v in np.median(np.array(boxes), axis=0))
    return x, y, width, height


def _around(boxes: Sequence[Box], size: tuple[int, int]) -> Box:
    """What all of the boxes lie in, with some room around, inside the picture, at even pixels."""
    side, above, below = GROWN
    left = min(x - side * w for x, _, w, _ in boxes)
    right = max(x + w + side * w for x, _, w, _ in boxes)
    top = min(y - above * h for _, y, _, h in boxes)
    bottom = max(y + h + below * h for _, y, _, h in boxes)
    x, y = max(0, int(left)) // 2 * 2, max(0, int(top)) // 2 * 2
    until = min(size[0], int(right) + 1), min(size[1], int(bottom) + 1)
    return x, y, max(2, (until[0] - x) // 2 * 2), max(2, (until[1] - y) // 2 * 2)


@stage("lip-sound", version=2)
def sound(work: Work, takes: tuple[Sounding, ...], duration: float) -> Artifact:
    """What the dub says in a stretch of `duration` seconds: mono WAV, 16 bits at HEAR_HZ, at an even level."""
    import wave

    import numpy as np

    from polydub.audio.signal import gain, resample
    from polydub.media.flac import read_flac

    mixed = np.zeros((1, round(duration * RATE_HZ)), np.float32)
    for take in takes:
        level = np.float32(gain(min(20.0, max(-20.0, LEVEL_LUFS - take.loudness))))
        samples = read_flac(work.path(take.sound), 0, take.frames).mean(axis=0) * level
        low, high = max(0, take.start), min(mixed.shape[1], take.start + len(samples))
        if high > low:
            mixed[0, low:high] += samples[low - take.start : high - take.start]
    heard = resample(mixed, RATE_HZ, HEAR_HZ)[0]
    # digital silence has no logarithm: Wav2Lip's spectra of it are no numbers
    noise = np.random.default_rng(0).integers(-1, 2, len(heard))
    written = np.clip(np.rint(heard * 32767), -32000, 32000).astype(np.int64) + noise
    file = work.scratch / "speech.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(HEAR_HZ)
        out.writeframes(written.astype("<i2").tobytes())
    return work.keep(file)


@engine_stage("lip-sync", "lipsync")
def sync(work: Work, engine: LipSyncer, stretch: Stretch, speech: Artifact, picture: Picture) -> Moved:
    """The region of the stretch with the mouth moving. Raises: EngineFailed when the result is not what was asked for."""
    from polydub.media.lipcut import check, cut, save_region

    reel = _reel(work, picture)
    with _desk() as folder:
        desk = Path(folder)
        given = cut(reel, stretch.first, stretch.last, desk / "in.mp4")
        shutil.copyfile(work.path(speech), desk / "in.wav")
        look = reel.index.look
        told = {"contract": 1, "video": str(desk / "in.mp4"), "audio": str(desk / "in.wav"), "out": str(desk / "out.mp4"),
                "work": str(desk), "fps": given.fps, "frames": given.frames, "width": look.width, "height": look.height,
                "face": stretch.face, "seed": 1247}  # fmt: skip
        (desk / "job.json").write_text(json.dumps(told), encoding="utf-8")
        engine.sync(desk / "job.json", lambda: work.progress(0.0))
        check(desk / "out.mp4", reel, given)
        made = work.scratch / "region.nut"
        save_region(desk / "out.mp4", reel, (stretch.first, stretch.last), stretch.region, made)
    return Moved(stretch, work.keep(made))


def _desk() -> tempfile.TemporaryDirectory[str]:
    """A folder to work in whose name has neither a space nor a dot: some programs split paths at both.

    Those that a kill left are swept.
    """
    places = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 - a private folder in it
    plain = [p for p in places if not set(p) & set(" .'\"$;&|()") and Path(p).is_dir()]
    if not plain:
        raise EngineFailed("there is no folder for temporary files without a space or a dot in its name", "set TMPDIR")
    for left in Path(plain[0]).glob("polydublip*x*"):
        owner = left.name.removeprefix("polydublip").partition("x")[0]
        if owner.isdecimal() and not _lives(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"polydublip{os.getpid()}x", dir=plain[0])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


@stage("lip-parts")
def parts(work: Work, picture: Picture, moved: tuple[Moved, ...]) -> tuple[Part, ...]:
    """What has to be encoded: the groups of pictures with a change, or all of them where the picture cannot be joined."""
    reel = _reel(work, picture)
    edges = [*reel.index.starts.tolist(), reel.index.look.frames]
    found: list[Part] = []
    for first, last in pairwise(edges):
        inside = tuple(m for m in moved if m.stretch.first < last and m.stretch.last > first)
        if inside or not picture.joined:
            found.append(Part(first, last, inside))
    return tuple(found)


@stage("lip-encode")
def encode(work: Work, part: Part, picture: Picture) -> Artifact:
    """The frames of one part with the moving mouths in them."""
    from polydub.media.rejoin import encode_part

    file = work.scratch / "part.nut"
    pastes = [_paste(work, one) for one in part.moved]
    encode_part(_reel(work, picture), (part.first, part.last), pastes, file)
    return work.keep(file)


def _paste(work: Work, moved: Moved) -> Paste:
    from polydub.media.ffmpeg import safe_link
    from polydub.media.rejoin import Paste

    stretch = moved.stretch
    link = safe_link(work.path(moved.video), work.scratch)
    return Paste(link, stretch.first, stretch.last - stretch.first, *stretch.region)


@stage("lip-join")
def join(work: Work, picture: Picture, encoded: tuple[tuple[Part, Artifact], ...]) -> Artifact:
    """The whole picture: a NUT file without sound, on the film's clock."""
    from polydub.media.ffmpeg import safe_link
    from polydub.media.rejoin import join as joined

    files = {(part.first, part.last): safe_link(work.path(file), work.scratch) for part, file in encoded}
    out = work.scratch / "picture.nut"
    joined(_reel(work, picture), files, out)
    return work.keep(out)
