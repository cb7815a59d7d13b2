"""The frames of a film's picture track by number: when each is shown, where a decoder may start, and what they look like.

Frame n is the n-th that is shown. Times are ticks of the track's time base, as the container has them.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.errors import UnreadableMedia
from polydub.media.program import FORMATS
from polydub.types import Track

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    Ticks = NDArray[np.int64]

HDR = frozenset({16, 18})  # transfer functions of ITU-T H.273: SMPTE ST 2084 (PQ), ARIB STD-B67 (HLG)
LAYOUTS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"})
JOINED = frozenset({"h264", "hevc"})  # codecs of which a part can be encoded anew, and the rest copied
CHUNK = 250  # frames that are encoded at once where a picture cannot be joined
LOOKED = 5  # frames that are decoded to see how they are stored
_AVC_IDR = frozenset({5})  # types of NAL units that need nothing before them; ITU-T H.264 table 7-1, H.265 table 7-1
_HEVC_IDR = frozenset({16, 17, 18, 19, 20})


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture track is stored.

    Attributes: frames: how many it has. fps: on average, as a fraction. base: of its time base. layout: pixel format.
    joined: a part of it can be encoded anew and the rest copied. refused: why its frames cannot be changed; "" = they can.
    """

    frames: int
    width: int
    height: int
    fps: tuple[int, int]
    base: tuple[int, int]
    codec: str
    layout: str
    joined: bool
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """A picture track, frame by frame.

    Attributes: shown: ticks at which each frame is shown, rising. starts: frames that a decoder may start at and before
    which nothing later is stored, so that the packets from there on are those of the frames from there on; the first is 0.
    reordered: by how many places packets are stored earlier than their frames are shown, at most.
    """

    look: Look
    shown: Ticks
    starts: Ticks
    reordered: int

    def seconds(self, start: float) -> NDArray[np.float64]:
        """When each frame is shown on the clock of a film that begins at container time `start`."""
        import numpy as np

        top, bottom = self.look.base
        return self.shown.astype(np.float64) * (top / bottom) - start

    def gop(self, frame: int) -> int:
        """The start at or before a frame."""
        return int(self.starts[self.starts.searchsorted(frame, "right") - 1])


def save_index(index: Index, out: Path) -> None:
    """Writes an index to a .npz file."""
    import numpy as np

    np.savez(out, shown=index.shown, starts=index.starts, reordered=index.reordered, look=json.dumps(asdict(index.look)))


def load_index(path: Path) -> Index:
    """What `save_index` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as rows:
        facts: dict[str, Any] = json.loads(str(rows["look"]))
        for name in ("fps", "base"):
            facts[name] = tuple(facts[name])
        return Index(Look(**facts), rows["shown"], rows["starts"], int(rows["reordered"]))


def index_of(link: Path, track: Track) -> Index:
    """Reads all packets of a track, and decodes a few frames. Raises: UnreadableMedia."""
    import numpy as np

    with opened(link) as container:
        stream: Any = container.streams[track.index]
        head = tuple(islice(cast("Iterator[VideoFrame]", container.decode(stream)), LOOKED))
        context = stream.codec_context
        base, rate = stream.time_base, stream.average_rate or Fraction(25)
        codec, layout = str(context.name), str(context.pix_fmt)
        refused = _refusal(head, int(context.color_trc), layout)
        sizes = length_size(context.extradata or b"", codec)
    shown: list[int] = []
    free: list[int] = []
    with opened(link) as container:
        stream = container.streams[track.index]
        for packet in cast("Iterator[Any]", container.demux(stream)):
            if packet.pts is None:
                refused = refused or ("its frames have no times" if packet.size else "")
                continue
            if packet.is_keyframe and (codec not in JOINED or _starts_anew(bytes(packet), codec, sizes)):
                free.append(len(shown))
            shown.append(packet.pts)
    stored = np.array(shown, np.int64)
    order = np.argsort(stored, kind="stable")
    if len(stored) < 2 or (np.diff(stored[order]) <= 0).any():
        refused = refused or "its frames have no times of their own"
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    highest = np.maximum.accumulate(ranks) if len(ranks) else ranks
    # packet n is frame n, and frames 0 to n - 1 are stored before it
    starts = [n for n in free if ranks[n] == n and (n == 0 or highest[n - 1] == n - 1)]
    joined = codec in JOINED and bool(starts) and starts[0] == 0
    if not joined:
        starts = list(range(0, max(1, len(stored)), CHUNK))
    late = int((np.arange(len(ranks)) - ranks).max()) if len(ranks) else 0
    look = Look(len(stored), track.width, track.height, (rate.numerator, rate.denominator), (base.numerator, base.denominator),
                codec, layout, joined, refused)  # fmt: skip
    return Index(look, stored[order], np.array(starts, np.int64), late)


def _refusal(head: tuple[Any, ...], transfer: int, layout: str) -> str:
    if not head:
        return "none of its frames can be decoded"
    reasons = (
        (transfer in HDR, "it is HDR"),
        (layout not in LAYOUTS, f"its pixels are stored as {layout}"),
        (head[0].width % 2 or head[0].height % 2, "its width or height is odd"),
        (any(frame.interlaced_frame for frame in head), "it is interlaced"),
        (any(frame.rotation % 360 for frame in head), "it is turned for display"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def length_size(extradata: bytes, codec: str) -> int:
    """Bytes before each NAL unit that tell its length; 0 = units are told apart by start codes (Annex B)."""
    if not extradata or extradata[0] != 1:  # configurationVersion of ISO/IEC 14496-15
        return 0
    return (extradata[4 if codec == "h264" else 21] & 3) + 1


def units(data: bytes, size: int) -> list[bytes]:
    """The NAL units of a packet, without start codes or lengths; see `length_size`."""
    found: list[bytes] = []
    if size:
        at = 0
        while at + size <= len(data):
            end = at + size + int.from_bytes(data[at : at + size], "big")
            found.append(data[at + size : end])
            at = end
        return [unit for unit in found if unit]
    parts = data.split(b"\0\0\1")[1:]  # what is before the first start code is its leading zero
    return [unit for part in parts if (unit := part.rstrip(b"\0"))]


def kind_of(unit: bytes, codec: str) -> int:
    """The type of a NAL unit."""
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def _starts_anew(data: bytes, codec: str, size: int) -> bool:
    wanted = _AVC_IDR if codec == "h264" else _HEVC_IDR
    return any(kind_of(unit, codec) in wanted for unit in units(data, size))


def frames(link: Path, track: Track, index: Index, first: int, last: int) -> Iterator[tuple[int, VideoFrame]]:
    """Frames `first` to `last` - 1 with their numbers, decoded. Raises: UnreadableMedia when some are not there."""
    for seeks in (True, False):  # some containers have no index to speak of
        expected = first
        for number, frame in _decoded(link, track, index, (first, last), seeks=seeks):
            if number != expected:
                break
            yield number, frame
            expected += 1
        if expected >= last:
            return
        first = expected
    raise UnreadableMedia(f"frame {first} of the picture cannot be decoded", "check that it plays in a video player")


def _decoded(
    link: Path, track: Track, index: Index, wanted: tuple[int, int], *, seeks: bool
) -> Iterator[tuple[int, VideoFrame]]:
    first, last = wanted
    with opened(link) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "AUTO"
        if seeks and first:
            container.seek(int(index.shown[index.gop(first) if index.look.joined else first]), stream=stream)
        for frame in cast("Iterator[VideoFrame]", container.decode(stream)):
            if frame.pts is None:
                continue
            number = int(index.shown.searchsorted(frame.pts))
            if number >= last:
                return
            if number >= first and index.shown[number] == frame.pts:
                yield number, frame


@contextmanager
def opened(link: Path) -> Generator[InputContainer]:
    """The file at `link` (from `safe_link`), for PyAV. Raises: UnreadableMedia."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(link), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}) as container:
            yield container
    except FFmpegError as error:
        raise UnreadableMedia("the picture cannot be read", "check that it plays in a video player") from error


@contextmanager
def written(out: Path, form: str) -> Generator[Any]:
    """A new file, for PyAV; times are kept as they are, and the same is written every time."""
    import av

    with av.open(str(out), "w", format=form, options={"fflags": "+bitexact", "avoid_negative_ts": "disabled"}) as container:
        yield container
