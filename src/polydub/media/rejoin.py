"""A picture of which some frames are changed: only the groups of pictures with such frames are encoded, the others copied.

A decoder that comes from a copied group to an encoded one must learn the other parameters, and back. H.264: the encoder's
parameter sets get a number that the source does not use and are in band at the start of each encoded group, so that copied
packets stay as they are. H.265: its encoder knows but one number, so the source's own sets go in band at the start of each
copied group, whose other units stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.errors import EngineFailed, StoreError
from polydub.media.pictures import Index, frames, kind_of, length_size, opened, units, written
from polydub.types import Track

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    Plane = NDArray[Any]

FADE = 4  # frames over which a changed stretch comes and goes
SEAM = 0.08  # of its width, over which a pasted region fades into the picture
_BITEXACT, _GLOBAL_HEADER = 1 << 23, 1 << 22  # AV_CODEC_FLAG_...
SPS, PPS = 7, 8  # types of H.264's NAL units: parameter sets
# x264's and x265's bytes depend on their numbers of threads: fixed ones give the same file on every machine.
# With its macroblock tree x264 gave another file in 1 of 4 runs of a picture of 96x64, whatever the number of threads.
_X264 = {"preset": "veryfast", "crf": "18"}
_X264_PARAMS = "threads=8:lookahead-threads=2:open-gop=0:b-pyramid=none:mbtree=0"
_X265 = {"preset": "veryfast", "crf": "17"}
_X265_PARAMS = "frame-threads=2:pools=8:open-gop=0:b-pyramid=0:repeat-headers=1:info=0:log-level=none"


@dataclass(frozen=True, slots=True)
class Paste:
    """A region of the picture that is shown instead of what is there.

    Attributes: video: its frames, from `save_region`. first: number of the first of them in the film. frames: how many.
    x, y, width, height: where it lies, in even pixels.
    """

    video: Path
    first: int
    frames: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Reel:
    """A film's picture: the file (at `link`, from `safe_link`), the track and its index. `start`: of the film's clock."""

    link: Path
    track: Track
    index: Index
    start: float


def encode_part(reel: Reel, part: tuple[int, int], pastes: Sequence[Paste], out: Path) -> None:
    """Writes frames part[0] to part[1] - 1 with `pastes` in them to a NUT file; times are those of the source.

    The codec is the source's where the picture is joined, else H.264; colours, size and pixel format stay.
    Raises: UnreadableMedia, StoreError, EngineFailed when the encoder does not start.
    """
    from av.error import FFmpegError

    index = reel.index
    pasted = _pasted(frames(reel.link, reel.track, index, *part), pastes)
    first = next(pasted)
    try:
        with written(out, "nut") as file:
            coder = _encoder(file, reel, first)
            for frame in chain([first], pasted):
                frame.time_base = Fraction(*index.look.base)
                frame.pict_type = 0  # the encoder decides
                file.mux(coder.encode(frame))
            file.mux(coder.encode(None))
    except FFmpegError as error:
        raise EngineFailed(f"the picture could not be encoded: {error.strerror}", "run it again without --lip-sync") from error


def _encoder(file: Any, reel: Reel, like: VideoFrame) -> Any:
    index, look = reel.index, reel.index.look
    hevc = look.joined and look.codec == "hevc"
    number, told = 0, (0, 0, 0, 0)
    with opened(reel.link) as container:
        source: Any = container.streams[reel.track.index]
        context = source.codec_context
        if look.joined and not hevc:
            number = free_number(_own_sets(source, container))
        told = tuple(int(x) for x in (context.color_range, context.color_primaries, context.color_trc, context.colorspace))
        shape = source.sample_aspect_ratio
    coder = file.add_stream("libx265" if hevc else "libx264", rate=Fraction(*look.fps))
    coder.width, coder.height, coder.pix_fmt = look.width, look.height, like.format.name
    coder.time_base = coder.codec_context.time_base = Fraction(*look.base)
    if shape:
        coder.codec_context.sample_aspect_ratio = shape
    inner: Any = coder.codec_context
    inner.color_range, inner.color_primaries, inner.color_trc, inner.colorspace = told
    bframes = f"bframes={min(3, 3 * index.reordered if look.joined else 3)}"
    if hevc:
        coder.options = {**_X265, "x265-params": f"{_X265_PARAMS}:{bframes}"}
    else:
        coder.options = {**_X264, "x264-params": f"{_X264_PARAMS}:{bframes}:sps-id={number}"}
    inner.flags |= _BITEXACT
    if look.joined:
        inner.flags &= ~_GLOBAL_HEADER  # parameter sets in band
    return coder


def _own_sets(stream: Any, container: Any) -> list[bytes]:
    """The parameter sets of an H.264 source: of its header, and of its first packet."""
    header = bytes(stream.codec_context.extradata or b"")
    size = length_size(header, "h264")
    found = _of_header(header, "h264") if size else units(header, 0)
    packet = next(iter(container.demux(stream)), None)
    return found + (units(bytes(packet), size) if packet else [])


def _of_header(header: bytes, codec: str) -> list[bytes]:
    """The parameter sets in an avcC or hvcC box; ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1."""
    found: list[bytes] = []

    def take(at: int, count: int) -> int:
        for _ in range(count):
            end = at + 2 + int.from_bytes(header[at : at + 2], "big")
            found.append(header[at + 2 : end])
            at = end
        return at

    if codec == "h264":
        at = take(6, header[5] & 31)
        take(at + 1, header[at] if at < len(header) else 0)
        return found
    at = 23
    for _ in range(header[22]):
        at = take(at + 3, int.from_bytes(header[at + 1 : at + 3], "big"))
    return found


def free_number(sets: Sequence[bytes]) -> int:
    """A number that none of the source's H.264 sequence and picture parameter sets has. Raises: EngineFailed."""
    taken = {_ue(unit[4:]) for unit in sets if kind_of(unit, "h264") == SPS}  # behind header, profile, constraints and level
    taken |= {_ue(unit[1:]) for unit in sets if kind_of(unit, "h264") == PPS}
    free = [n for n in range(1, 32) if n not in taken]
    if not free:
        raise EngineFailed("the picture uses every number of parameter sets", "run it again without --lip-sync")
    return free[0]


def _ue(data: bytes) -> int:
    """The unsigned Exp-Golomb number that `data` begins with; ITU-T H.264, 9.1."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1


def _pasted(pictures: Iterator[tuple[int, VideoFrame]], pastes: Sequence[Paste]) -> Iterator[VideoFrame]:
    """The pictures with what is pasted into them, faded at both ends and at the edges."""
    with ExitStack() as stack:
        waiting = sorted(pastes, key=lambda p: p.first)
        current: list[tuple[Paste, Iterator[tuple[int, VideoFrame]]]] = []
        for number, frame in pictures:
            while waiting and waiting[0].first <= number:
                paste = waiting.pop(0)
                current.append((paste, _region(paste, number - paste.first, stack)))
            current = [(p, region) for p, region in current if number < p.first + p.frames]
            made = frame
            for paste, region in current:
                _, new = next(region)
                at = number - paste.first
                share = min(at + 1, paste.frames - at, FADE) / FADE
                made = _blended(made, new, paste, share)
            made.pts = frame.pts
            yield made


def _region(paste: Paste, skipped: int, stack: ExitStack) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of a region from its frame `skipped` on."""
    container = stack.enter_context(opened(paste.video))
    for number, frame in enumerate(container.decode(video=0)):
        if number >= skipped:
            yield number, frame


def _blended(frame: VideoFrame, new: VideoFrame, paste: Paste, share: float) -> VideoFrame:
    """A copy of `frame` with `share` of the region laid over it."""
    import numpy as np
    from av.video.frame import VideoFrame

    made = VideoFrame(frame.width, frame.height, frame.format.name)
    for attribute in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(made, attribute, getattr(frame, attribute))
    for number in range(len(frame.planes)):
        whole, part = plane(frame, number).copy(), plane(new, number)
        down, across = _shrunk(frame, number)
        y, x = paste.y // down, paste.x // across
        height, width = min(part.shape[0], whole.shape[0] - y), min(part.shape[1], whole.shape[1] - x)
        weight = share * _mask(height, width)
        here = whole[y : y + height, x : x + width]
        mixed = here + weight * (part[:height, :width].astype(np.float32) - here)
        whole[y : y + height, x : x + width] = np.rint(mixed).astype(whole.dtype)
        put_plane(made, number, whole)
    return made


def _mask(height: int, width: int) -> NDArray[np.float32]:
    """1 inside, falling to 0 at the edges of a region."""
    import numpy as np

    def side(length: int) -> NDArray[np.float32]:
        reach = max(1.0, SEAM * length)
        near = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
        return np.minimum(1.0, near / reach).astype(np.float32)

    return side(height)[:, np.newaxis] * side(width)


def _shrunk(frame: VideoFrame, number: int) -> tuple[int, int]:
    """How many times smaller than the picture a plane is, down and across."""
    if number == 0:
        return 1, 1
    here = frame.planes[number]
    return -(-frame.height // here.height), -(-frame.width // here.width)


def plane(frame: VideoFrame, number: int) -> Plane:
    """The samples of one plane (rows, columns), as they are stored."""
    import numpy as np

    here = frame.planes[number]
    kind = np.dtype("<u2") if frame.format.components[number].bits > 8 else np.dtype("u1")
    rows = np.frombuffer(cast("Any", here), kind).reshape(here.height, here.line_size // kind.itemsize)
    return rows[:, : here.width]


def put_plane(frame: VideoFrame, number: int, samples: Plane) -> None:
    """Stores the samples of one plane."""
    import numpy as np

    here: Any = frame.planes[number]
    rows = np.zeros((here.height, here.line_size // samples.dtype.itemsize), samples.dtype)
    rows[:, : here.width] = samples
    here.update(rows.tobytes())


def join(reel: Reel, parts: Mapping[tuple[int, int], Path], out: Path) -> None:
    """Writes the whole picture to `out`, a NUT file without sound: `parts` from `encode_part`, what is between copied.

    Times in it are the film's (its first moment is 0). NUT keeps them exactly, where Matroska rounds to 1 ms.
    Raises: UnreadableMedia, StoreError.
    """
    from av.error import FFmpegError

    try:
        with opened(reel.link) as source, written(out, "nut") as file:
            index, stream = reel.index, cast("Any", source.streams[reel.track.index])
            new = _copy_of(file, stream, parts, joined=index.look.joined)
            times = _Times(index)
            base = Fraction(*index.look.base)
            shift = round(reel.start / base)
            for number, packet in enumerate(_packets(source, stream, index, parts)):
                packet.pts = round(packet.pts * (packet.time_base / base))  # NUT may have taken a coarser one, without loss
                packet.duration = round(packet.duration * (packet.time_base / base))
                packet.dts = times.stored(number, packet.pts) - shift
                packet.pts -= shift
                packet.stream, packet.time_base = new, base
                file.mux_one(packet)
    except FFmpegError as error:
        raise StoreError(f"the picture could not be written: {error.strerror}", "free some space and run it again") from error


def _copy_of(file: Any, stream: Any, parts: Mapping[tuple[int, int], Path], *, joined: bool) -> Any:
    """A track of the new file like the source's, or like the parts where all of it is encoded."""
    if joined:
        new = file.add_stream_from_template(stream)
    else:
        with opened(next(iter(parts.values()))) as part:
            new = file.add_stream_from_template(part.streams.video[0])
    new.time_base = stream.time_base
    return new


class _Times:
    """When packets are decoded: as late as their order allows, never later than they are shown."""

    def __init__(self, index: Index) -> None:
        self._shown, self._late = index.shown, max(index.reordered, 0 if index.look.joined else 1)
        self._step = max(1, round(float(1 / (Fraction(*index.look.fps) * Fraction(*index.look.base)))))

    def stored(self, number: int, shown: int) -> int:
        at = number - self._late
        told = int(self._shown[at]) if at >= 0 else int(self._shown[0]) + at * self._step
        return min(told, shown)


def _packets(source: Any, stream: Any, index: Index, parts: Mapping[tuple[int, int], Path]) -> Iterator[Any]:
    """The packets of the new picture in the order of decoding."""
    look = index.look
    size = length_size(bytes(stream.codec_context.extradata or b""), look.codec) if look.joined else 0
    if not look.joined:
        for part in sorted(parts):
            yield from _coded(parts[part], 0)
        return
    sets = b""
    if look.codec == "hevc" and size:
        sets = _packed(_of_header(bytes(stream.codec_context.extradata), "hevc"), size)
    starts = set(index.starts.tolist())
    ends = {first: (last, path) for (first, last), path in parts.items()}
    until = 0
    packets = (p for p in source.demux(stream) if p.pts is not None)
    for number, packet in enumerate(packets):
        if number in ends:
            until, path = ends[number]
            yield from _coded(path, size)
        if number >= until:
            yield _with(packet, sets) if sets and number in starts else packet


def _coded(path: Path, size: int) -> Iterator[Any]:
    """The packets of an encoded part, in the form of the source's."""
    with opened(path) as part:
        for packet in part.demux(video=0):
            if packet.pts is not None:
                yield _replaced(packet, _packed(units(bytes(packet), 0), size)) if size else packet


def _packed(parts: Sequence[bytes], size: int) -> bytes:
    return b"".join(len(unit).to_bytes(size, "big") + unit for unit in parts)


def _with(packet: Any, before: bytes) -> Any:
    return _replaced(packet, before + bytes(packet))


def _replaced(packet: Any, data: bytes) -> Any:
    import av

    new = av.Packet(data)
    new.pts, new.dts, new.duration, new.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    new.is_keyframe = packet.is_keyframe
    return new
