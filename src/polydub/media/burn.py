"""Subtitles drawn into the picture, which is encoded anew for it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from polydub.errors import BadSettings, UnreadableMedia
from polydub.media.program import FORMATS, on_film_clock, run
from polydub.types import Source, Track

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# x264's bytes depend on its number of threads: a fixed one gives the same file on every machine.
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-x264-params", "threads=8:lookahead-threads=2")
_HDR = frozenset({16, 18})  # transfer functions of ITU-T H.273: SMPTE ST 2084 (PQ), ARIB STD-B67 (HLG)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn: the text of an ASS file whose styles name the fonts, and the font files, looked at before the system's."""

    ass: str
    fonts: tuple[Path, ...]


def burn_in(
    link: Path, source: Source, drawing: Drawing, out: Path, on_progress: Callable[[float], None] | None = None
) -> None:
    """Write the first picture track of `source` with subtitles drawn into it to `out`, a NUT file without sound.

    H.264 at CRF 18, 8 bits; the size, the shape of the pixels, the time of every frame and the colour tags stay; a picture
    that is to be turned for display is turned. Times in the file are the film's (its first moment is 0). NUT keeps them
    exactly, where Matroska rounds to 1 ms. The same bytes every time.

    Args: link: the source, from `safe_link`. on_progress: gets the part done, 0 to 1.
    Raises: BadSettings without a picture and for an HDR one, on which white letters would glare; and what `run` raises.
    """
    track = next(iter(source.of("video")), None)
    if track is None:
        raise BadSettings("there is no picture to draw subtitles into", "leave out --burn-in")
    layout = pixel_format(link, track)
    with tempfile.TemporaryDirectory(prefix="burn-", dir=out.parent) as folder:
        home = Path(folder)
        (home / "fonts").mkdir()
        for number, font in enumerate(drawing.fonts):
            (home / "fonts" / f"{number}{font.suffix.lower()}").symlink_to(font.resolve())
        (home / "cues.ass").write_text(drawing.ass, encoding="utf-8", newline="\n")
        filters = f"ass=filename={_escaped(home / 'cues.ass')}:fontsdir={_escaped(home / 'fonts')}"
        same_bytes = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-map_chapters", "-1"]
        same_times = ["-fps_mode", "passthrough", "-enc_time_base", "demux", "-avoid_negative_ts", "disabled"]
        arguments = [*on_film_clock(link, source.start), "-map", f"0:{track.index}", "-vf", filters, *_X264]
        arguments += ["-pix_fmt", layout, *same_times, *same_bytes, "-f", "nut", f"file:{out}"]

        def tell(done_s: float) -> None:
            if on_progress is not None:
                on_progress(min(1.0, done_s / source.duration))

        run(arguments, stage="burn", on_progress=tell)


def _escaped(path: Path) -> str:
    """A path as a value inside a filter description: escaped for the option, then for the description."""
    option = re.sub(r"([\\':])", r"\\\1", path.resolve().as_posix())
    return re.sub(r"([\\'\[\],;])", r"\\\1", option)


def pixel_format(link: Path, track: Track) -> str:
    """The pixel format to encode: 4:2:0 as players want it, unless an odd size rules that out. Raises for HDR."""
    with _opened(link) as container:
        picture = cast("VideoStream", container.streams[track.index]).codec_context
        if int(picture.color_trc) in _HDR:
            raise BadSettings(
                "the picture is HDR: subtitles are not drawn into it", "leave out --burn-in: the subtitle track shows on it"
            )
        return "yuv444p" if picture.width % 2 or picture.height % 2 else "yuv420p"


def shown_size(link: Path, source: Source) -> tuple[int, int]:
    """Width and height of the first picture track as it is shown: a film of an upright telephone is stored lying down.

    (0, 0) without a picture. Raises: UnreadableMedia.
    """
    track = next(iter(source.of("video")), None)
    if track is None:
        return 0, 0
    with _opened(link) as container:
        frames = cast("Iterator[VideoFrame]", container.decode(container.streams[track.index]))
        turned = any(frame.rotation % 180 != 0 for frame in islice(frames, 1))
        return (track.height, track.width) if turned else (track.width, track.height)


@contextmanager
def _opened(link: Path) -> Generator[InputContainer]:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(link), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}) as container:
            yield container
    except FFmpegError as error:
        raise UnreadableMedia("the picture cannot be read", "check that it plays in a video player") from error
