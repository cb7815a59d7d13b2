"""A copy of a film that runs by another clock: packets of pictures and subtitles get new times, nothing is encoded again."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polydub.errors import StoreError, UnreadableMedia
from polydub.media.program import FORMATS, SAFE_INPUT, run, safe_link
from polydub.types import FRAME, RATE_HZ, Samples, Source

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

Clock = Callable[[float], float]  # seconds of the source, from its first moment -> seconds of the copy
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
_Flow = Iterator[tuple[float, int, Any]]  # seconds, number of the new stream, packet
_TICK = Fraction(1, 1000)  # Matroska's
_LEAD = 1000  # ticks before a track's first picture from which missing decoding times are counted


@dataclass(frozen=True, slots=True)
class Retiming:
    """What is copied: the source (at `link`, from `safe_link`), its clock, and a sound file for each of its audio tracks.

    Attributes: sounds: by index of the track; they run by the new clock already, sample 0 at 0.
    """

    link: Path
    source: Source
    clock: Clock
    sounds: Mapping[int, Path]


@dataclass(frozen=True, slots=True)
class Coding:
    """How a sound is encoded: its channels, their layout by ffmpeg's name ("" = mono or stereo), kbit/s for each."""

    channels: int
    layout: str
    kbit_per_channel: int


def encode_sound(pieces: Iterable[Samples], how: Coding, out: Path) -> None:
    """Writes float32 pieces (channels, frames) at 48 kHz as one AAC file in Matroska; memory does not know their number.

    What is less than an AAC frame at the end is left out: encoded, it would be longer than the film.
    Raises: StoreError, and what `run` raises.
    """
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    raw = out.with_suffix(".flac")
    try:
        with soundfile.SoundFile(raw, "w", RATE_HZ, how.channels, "PCM_24", format="FLAC", compression_level=0) as file:
            for piece in _whole_frames(pieces):
                file.write(piece.T)
        layout = ["-channel_layout", how.layout] if how.layout else []
        coder = ["-c:a", "aac", "-b:a", f"{how.kbit_per_channel * how.channels}k", "-aac_pns", "0", "-flags:a", "+bitexact"]
        shape = ["-fflags", "+bitexact", "-f", "matroska"]
        run([*SAFE_INPUT, *layout, "-i", f"file:{raw}", *coder, *shape, f"file:{out}"], stage="encoding")
    except (OSError, soundfile.SoundFileError) as error:
        raise StoreError("the slowed-down sound could not be written", "free some space or give another --output") from error
    finally:
        raw.unlink(missing_ok=True)


def _whole_frames(pieces: Iterable[Samples]) -> Iterator[Samples]:
    """The pieces again, without the last samples that fill no AAC frame."""
    held: Samples | None = None
    total = 0
    for piece in pieces:
        if held is not None:
            yield held
        held, total = piece, total + piece.shape[1]
    if held is not None:
        yield held[:, : max(1, held.shape[1] - total % FRAME)]


def retime(what: Retiming, out: Path) -> None:
    """Writes the copy to `out`, a Matroska file with the source's tracks in their order, chapters and attachments.

    Data streams are left out. Raises: UnreadableMedia when the source cannot be read.
    """
    import av
    from av.error import FFmpegError

    with tempfile.TemporaryDirectory(prefix="retime-", dir=out.parent) as folder, ExitStack() as stack:
        try:
            source = stack.enter_context(av.open(str(what.link), options=_OPTIONS, metadata_errors="replace"))
            copy = stack.enter_context(av.open(str(out), "w", format="matroska", options={"fflags": "+bitexact"}))
            copy.metadata.update(source.metadata)
            sounds = {
                index: stack.enter_context(av.open(str(safe_link(path, Path(folder))), options=_OPTIONS))
                for index, path in what.sounds.items()
            }
            _copy(what, source, copy, sounds)
        except FFmpegError as error:
            raise UnreadableMedia(f"the film cannot be copied: {error.strerror}", "leave --stretch-video out") from error


def _copy(what: Retiming, source: InputContainer, copy: OutputContainer, sounds: Mapping[int, InputContainer]) -> None:
    kept: dict[int, Any] = {}
    output: Any = copy  # typed in part only
    flows: list[_Flow] = []
    for track in what.source.tracks:
        stream: Any = source.streams[track.index]
        if stream.type == "attachment":
            copy.add_attachment(stream.name or "file", stream.mimetype or "", stream.data or b"")
            continue
        if stream.type == "data" or not track.codec:
            continue
        template = sounds[track.index].streams.audio[0] if track.index in sounds else stream
        new = output.add_stream_from_template(template)
        new.metadata.update(stream.metadata)
        new.disposition = stream.disposition
        if track.index in sounds:
            flows.append(_sound(sounds[track.index], new))
        else:
            kept[track.index] = new
    copy.set_chapters([_chapter(chapter, what) for chapter in source.chapters()])
    flows.append(_pictures(source, kept, what))
    for _, _, packet in heapq.merge(*flows, key=lambda flow: flow[:2]):
        output.mux_one(packet)


def _sound(file: InputContainer, new: Any) -> _Flow:
    packets: Iterator[Any] = file.demux(audio=0)
    for packet in packets:
        if packet.pts is not None:
            at = float(packet.pts * packet.time_base)
            packet.stream = new
            yield at, new.index, packet


def _pictures(source: InputContainer, kept: Mapping[int, Any], what: Retiming) -> _Flow:
    """Packets of all other tracks with their new times, in the order of the file."""
    packets: Iterator[Any] = source.demux([source.streams[index] for index in kept])
    decoded = dict[int, int]()  # decoding time of the last packet of each track: they must rise, and some containers lack them
    last = 0.0
    for packet in packets:
        begin = packet.dts if packet.pts is None else packet.pts
        if begin is None:
            continue
        track, base = packet.stream.index, packet.time_base
        start, end = (_ticks(what, time * base) for time in (begin, begin + (packet.duration or 0)))
        before = decoded.get(track, start - _LEAD - 1)
        decoded[track] = before + 1 if packet.dts is None else max(before + 1, _ticks(what, packet.dts * base))
        packet.stream, packet.time_base = kept[track], _TICK
        packet.pts, packet.dts, packet.duration = start, min(decoded[track], start), end - start
        last = max(last, decoded[track] / 1000)
        yield last, kept[track].index, packet


def _ticks(what: Retiming, time: Fraction) -> int:
    """The copy's ticks at a container time of the source."""
    return round(what.clock(float(time) - what.source.start) / _TICK)


def _chapter(chapter: Any, what: Retiming) -> Any:
    base = chapter["time_base"]
    start, end = (_ticks(what, chapter[side] * base) for side in ("start", "end"))
    return {**chapter, "start": start, "end": end, "time_base": _TICK}
