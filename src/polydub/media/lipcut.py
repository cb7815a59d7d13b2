"""A stretch of a picture as a lip-syncing program wants it, and what it gave back, frame for frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.errors import BadEngineOutput, UnreadableMedia
from polydub.media.pictures import frames, opened, written
from polydub.media.rejoin import Reel, plane, put_plane

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

_LOSSLESS = {"preset": "ultrafast", "qp": "0", "x264-params": "threads=8:lookahead-threads=2"}
_FULL = 2  # AVCOL_RANGE_JPEG
SLACK = 0.25  # of a frame by which the time of one may be rounded
MOST_OFF = (2.0, 0.02)  # frames, and share of them, by which a result may be longer or shorter


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of a picture at a constant rate: fps as a fraction, and frames at that rate."""

    fps: tuple[int, int]
    frames: int


def _times(reel: Reel, first: int, last: int) -> NDArray[np.float64]:
    """When frames `first` to `last` are shown, in seconds since the first of them; the last one only ends the stretch."""
    import numpy as np

    shown = reel.index.shown[first : last + 1].astype(np.float64) * float(Fraction(*reel.index.look.base))
    if len(shown) <= last - first:  # the film ends with the stretch
        shown = np.append(shown, shown[-1] + float(1 / Fraction(*reel.index.look.fps)))
    return shown - shown[0]


def cut(reel: Reel, first: int, last: int, out: Path) -> Cut:
    """Writes frames `first` to `last` - 1 to `out`, an MP4 file: lossless H.264, 8 bits, the film's mean rate.

    Where frames do not come at a constant rate, each moment shows what the film shows then.
    """
    times, rate = _times(reel, first, last), Fraction(*reel.index.look.fps)
    count = max(1, round(float(times[-1] * rate)))
    with written(out, "mp4") as file:
        made = file.add_stream("libx264", rate=rate)
        made.width, made.height, made.pix_fmt = reel.index.look.width, reel.index.look.height, "yuv420p"
        made.options, done = _LOSSLESS, 0
        for number, frame in frames(reel.link, reel.track, reel.index, first, last):
            until = count if number == last - 1 else round(float((times[number - first + 1]) * rate) + SLACK)
            picture = frame.reformat(format="yuv420p")
            for at in range(done, min(until, count)):
                picture.pts, picture.time_base, picture.pict_type = at, 1 / rate, 0
                file.mux(made.encode(picture))
            done = max(done, until)
        file.mux(made.encode(None))
    return Cut((rate.numerator, rate.denominator), count)


def check(video: Path, reel: Reel, given: Cut) -> None:
    """Raises BadEngineOutput unless `video` is what a lip-syncing program should give back for a cut."""
    look = reel.index.look
    if not video.is_file() or not video.stat().st_size:
        raise BadEngineOutput("it wrote no video")
    try:
        with opened(video) as container:
            if not container.streams.video:
                raise BadEngineOutput("it wrote a file without a picture")
            stream: Any = container.streams.video[0]
            size, rate = (stream.width, stream.height), stream.average_rate
            count = len([1 for _ in cast("Iterator[VideoFrame]", container.decode(stream))])
    except UnreadableMedia as error:
        raise BadEngineOutput("it wrote a file that cannot be read") from error
    if size != (look.width, look.height):
        raise BadEngineOutput(f"it wrote a picture of {size[0]}x{size[1]}, not {look.width}x{look.height}")
    told = count * Fraction(*given.fps) / rate if rate else Fraction(0)
    least, share = MOST_OFF
    if not count or abs(float(told) - given.frames) > max(least, share * given.frames):
        raise BadEngineOutput(f"it wrote {float(told):.0f} frames for {given.frames}")


def save_region(video: Path, reel: Reel, span: tuple[int, int], box: tuple[int, int, int, int], out: Path) -> None:
    """Writes a region (x, y, width, height, even) of what came back, one picture for each frame of the film's span.

    Each is the nearest in time; lossless FFV1 in NUT, in the film's own pixel format.
    """
    times = _times(reel, *span)[:-1]
    base = reel.index.look.layout.replace("yuvj", "yuv")
    x, y, width, height = box
    with written(out, "nut") as file:
        made = file.add_stream("ffv1", rate=25)
        made.width, made.height, made.pix_fmt = width, height, base
        made.codec_context.flags |= 1 << 23  # AV_CODEC_FLAG_BITEXACT
        for number, frame in enumerate(_nearest(video, times.tolist())):
            picture = _region(_alike(frame, reel, base), x, y, (width, height))
            picture.pts, picture.time_base = number, Fraction(1, 25)
            file.mux(made.encode(picture))
        file.mux(made.encode(None))


def _nearest(video: Path, times: list[float]) -> Iterator[VideoFrame]:
    """The frame of a video that is nearest to each of `times`, which rise."""
    with opened(video) as container:
        stream: Any = container.streams.video[0]
        pictures = cast("Iterator[VideoFrame]", container.decode(stream))
        rate, number, frame = float(stream.average_rate), 0, next(pictures)
        for time in times:
            while number < round(time * rate):
                following = next(pictures, None)
                if following is None:
                    break
                number, frame = number + 1, following
            yield frame


def _alike(frame: VideoFrame, reel: Reel, layout: str) -> VideoFrame:
    """A frame in the film's pixel format and range."""
    full = reel.index.look.layout.startswith("yuvj")
    return frame.reformat(format=layout, dst_color_range=_FULL if full else None)


def _region(frame: VideoFrame, x: int, y: int, size: tuple[int, int]) -> VideoFrame:
    from av.video.frame import VideoFrame

    made = VideoFrame(*size, frame.format.name)
    for number in range(len(frame.planes)):
        samples = plane(frame, number)
        here = made.planes[number]
        down, across = -(-size[1] // here.height), -(-size[0] // here.width)
        top, left = y // down, x // across
        put_plane(made, number, samples[top : top + here.height, left : left + here.width])
    return made
