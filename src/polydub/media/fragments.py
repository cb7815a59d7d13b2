"""Media segments of HLS: fragments of MP4 on the film's clock, all for one init file.

The picture is copied. Its fragment is made by PyAV, then the decode times of the tracks are set here: sound frame j begins
at sample j * 1,024, and the first picture is shown when the film shows it. Pictures that are shown out of order are decoded
earlier by a delay, which the edit list of the init file takes away. Tried instead: negative composition offsets and no edit
list; then ffmpeg, and what plays with it, shows every picture late by that delay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from io import BytesIO
from math import lcm
from pathlib import Path
from typing import Any, cast

from polydub.media.intake import PicturePart
from polydub.types import FRAME, RATE_HZ

_ENTRIES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_TIMES = (b"moof", b"traf", b"tfdt")
_MOST_TICKS = 2**31 - 1  # a second, of the clock of an MP4 file
_NO_PICTURES = {"skip_frame": "all"}  # opening a file decodes some to find out more of them: 30 ms, as much as all the rest


@dataclass(frozen=True, slots=True)
class Cut:
    """One media segment: consecutive parts of the picture, and the sound from frame `first` of the film on, as ADTS."""

    parts: tuple[PicturePart, ...]
    adts: bytes
    first: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A media segment (moof and mdat) and the init segment (ftyp and moov) that it needs.

    Attributes: delay: ticks by which its first picture is decoded before it is shown, as the init segment's edit list tells.
    """

    init: bytes
    media: bytes
    delay: int

    @property
    def format(self) -> str:
        """The same for all segments that one init segment does for."""
        return sha256(b"".join(self.init[at : at + size] for at, size in inside(self.init, *_ENTRIES))).hexdigest()

    def after(self, delay: int) -> bytes:
        """The media segment, to be played after an init segment of that delay."""
        data = bytearray(self.media)
        at, _ = next(inside(data, *_TIMES))
        _put_ticks(data, at, max(0, _ticks(data, at) + delay - self.delay))
        return bytes(data)


def fragment(cut: Cut, folder: Path) -> Fragment:
    """The segment of a cut; the same bytes every time. `folder`: for scratch files."""
    import av

    sound, path = folder / "sound.aac", folder / "fragment.mp4"
    sound.write_bytes(cut.adts)
    flags = "empty_moov+default_base_moof+frag_custom+delay_moov"
    options = {"movflags": flags, "use_editlist": "1", "write_btrt": "0", "fflags": "+bitexact"}
    with ExitStack() as stack:
        out = stack.enter_context(av.open(str(path), "w", format="mp4", options=options))
        aac = stack.enter_context(av.open(str(sound), format="aac"))
        parts = [stack.enter_context(_opened(part, first=n == 0)) for n, part in enumerate(cut.parts)]
        pictures = _copied(parts[0].streams.video[0], out) if parts else None
        voice = _copied(aac.streams.audio[0], out) if cut.adts else None
        for part, file in zip(cut.parts, parts, strict=True):
            _copy_pictures(file, part.start - cut.parts[0].start, out, pictures)
        if voice:
            _copy_sound(aac.streams.audio[0], out, voice)
    whole = path.read_bytes()
    init = _unrated(b"".join(whole[at : at + size] for kind, at, size in _boxes(whole) if kind in (b"ftyp", b"moov")))
    media = b"".join(whole[at : at + size] for kind, at, size in _boxes(whole) if kind in (b"moof", b"mdat"))
    if not cut.parts:
        return Fragment(init, _settled(media, [cut.first * FRAME]), 0)
    shown = round(cut.parts[0].start * timescale(init, 0))
    return Fragment(init, _settled(media, [shown, cut.first * FRAME][: 1 + bool(cut.adts)]), _first_offset(media))


def stand_alone(data: bytes, path: Path) -> None:
    """Writes an init segment and the media segments after it as an MP4 file that can be played from its first byte on."""
    import av

    hints = [_NO_PICTURES for _ in inside(data, b"moov", b"trak")]
    with cast("Any", av).open(BytesIO(data), format="mp4", stream_options=hints) as film:
        scales = [stream.time_base.denominator for stream in film.streams]
        exact = lcm(*scales)  # for edit lists; of odd ones it may be more than ffmpeg takes
        scale = str(exact if exact <= _MOST_TICKS else max(scales))
        options = {"movflags": "+faststart", "movie_timescale": scale, "fflags": "+bitexact"}
        with cast("Any", av).open(str(path), "w", format="mp4", options=options) as out:
            to = [_copied(stream, out) for stream in film.streams]
            for packet in film.demux():
                if packet.dts is not None:
                    packet.stream = to[packet.stream.index]
                    out.mux(packet)


def _opened(part: PicturePart, *, first: bool) -> Any:
    """Only of the first part more must be known than its packets."""
    import av

    return cast("Any", av).open(str(part.path), stream_options=None if first else [_NO_PICTURES])


def _copied(stream: Any, out: Any) -> Any:
    """A stream of `out` for the packets of `stream`, whether or not there is an encoder of its kind."""
    copy = out.add_stream_from_template(stream, opaque=True)
    if stream.type == "video" and stream.sample_aspect_ratio is not None:
        copy.sample_aspect_ratio = stream.sample_aspect_ratio  # of the container, where no picture was decoded
    return copy


def _copy_pictures(file: Any, after_s: float, out: Any, to: Any) -> None:
    """Copies the pictures of a part that begins so long after the first one."""
    stream = file.streams.video[0]
    late = None
    for packet in file.demux(stream):
        if packet.dts is None or packet.pts is None or stream.time_base is None:
            continue
        if late is None:
            late = round(after_s / float(stream.time_base)) - packet.pts
        packet.pts, packet.dts = packet.pts + late, packet.dts + late
        packet.stream = to
        out.mux(packet)


def _copy_sound(source: Any, out: Any, to: Any) -> None:
    from av.bitstream import BitStreamFilterContext

    bare, number = cast("Any", BitStreamFilterContext("aac_adtstoasc", source, to)), 0
    for packet in source.container.demux(source):
        for one in bare.filter(packet if packet.dts is not None else None):
            one.stream, one.time_base = to, Fraction(1, RATE_HZ)
            one.pts = one.dts = number * FRAME
            one.duration = FRAME
            out.mux(one)
            number += 1


def _unrated(init: bytes) -> bytes:
    """Without the bit rates of the sound, which differ from segment to segment: 0 = not known (ISO/IEC 14496-1, 7.2.6.6)."""
    data = bytearray(init)
    config = data.find(b"\x04\x80\x80\x80", max(0, data.find(b"esds")))
    if b"esds" in data and config > 0:
        data[config + 7 : config + 18] = bytes(11)
    return bytes(data)


def _boxes(data: bytes | bytearray, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of the boxes in data[at:end]."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, kind = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
        if size < 8:
            raise ValueError("not an MP4 file")
        yield kind, at, size
        at += size


def inside(data: bytes | bytearray, *path: bytes) -> Iterator[tuple[int, int]]:
    """Place and size of every box at `path`, outermost kind first."""
    found = [(-8, len(data) + 8)]
    for kind in path:
        found = [(a, s) for at, size in found for k, a, s in _boxes(data, at + 8, at + size) if k == kind]
    yield from found


def timescale(init: bytes, number: int) -> int:
    """Ticks a second of track `number` (from 0)."""
    at, _ = list(inside(init, b"moov", b"trak", b"mdia", b"mdhd"))[number]
    place = at + (28 if init[at + 8] else 20)
    return int.from_bytes(init[place : place + 4], "big")


def _settled(media: bytes, begins: Sequence[int]) -> bytes:
    """With the tracks' decode times, in ticks."""
    data = bytearray(media)
    for (at, _), ticks in zip(inside(data, *_TIMES), begins, strict=True):
        if data[at + 8] != 1:
            raise ValueError("decode times of 32 bits")
        _put_ticks(data, at, ticks)
    return bytes(data)


def _ticks(data: bytearray, at: int) -> int:
    """The decode time that a `tfdt` box tells."""
    return int.from_bytes(data[at + 12 : at + 20], "big")


def _put_ticks(data: bytearray, at: int, ticks: int) -> None:
    data[at + 12 : at + 20] = ticks.to_bytes(8, "big")


def _first_offset(media: bytes) -> int:
    """How much later than it is decoded the first picture is shown, in ticks."""
    at, _ = next(inside(media, b"moof", b"traf", b"trun"))
    flags = int.from_bytes(media[at + 9 : at + 12], "big")
    if not flags & 0x800:  # sample-composition-time-offsets-present
        return 0
    before = sum(bool(flags & bit) for bit in (0x1, 0x4, 0x100, 0x200, 0x400))  # the offset comes last
    place = at + 16 + 4 * before
    return int.from_bytes(media[place : place + 4], "big", signed=True)


def moved(media: bytes, init: bytes, by_s: float) -> bytes:
    """The same segment, earlier by the decode time `by_s` seconds on all tracks; none before 0."""
    data = bytearray(media)
    for number, (at, _) in enumerate(inside(data, *_TIMES)):
        _put_ticks(data, at, max(0, _ticks(data, at) - round(by_s * timescale(init, number))))
    return bytes(data)


def codecs(init: bytes) -> str:
    """What is inside, as RFC 6381 names it; "" where this is not known."""
    names: list[str] = []
    for at, size in inside(init, *_ENTRIES):
        entry = init[at + 16 : at + size]
        kind = entry[4:8].decode("ascii", "replace")
        if kind in ("avc1", "avc3") and (where := entry.find(b"avcC")) > 0:
            names.append(f"{kind}.{entry[where + 5 : where + 8].hex()}")
        elif kind == "mp4a":
            names.append("mp4a.40.2")
        else:
            return ""
    return ",".join(names)
