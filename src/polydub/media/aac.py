"""AAC in blocks that join into one stream without a seam, a delay or an edit list.

The encoder runs one frame late: its packet k decodes to its input frame k - 1. Here packet k of the joined stream *is*
film frame k: each block is encoded alone, from 64 frames before its first, and only the packets of its own frames are
kept. So in the joined ADTS stream decoded sample j is film sample j. The very first frame of a film (21 ms) decodes as
a fade-in, since the half of it that lay in the dropped packet before it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from polydub.types import FRAME, RATE_HZ, Samples

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.packet import Packet

_RATE_INDEX = 3  # 48 kHz in the ADTS header
_LAYOUTS = {1: "mono", 2: "stereo"}
_HEADER = 7


class _Encoder(Protocol):
    """What PyAV's codec context does; its own stubs leave the packets' type open."""

    def encode(self, frame: AudioFrame | None) -> Sequence[Packet[Any]]: ...


class _Decoder(Protocol):
    def decode(self, packet: Packet[Any]) -> Sequence[AudioFrame]: ...


@dataclass(frozen=True, slots=True)
class AacBlock:
    """The ADTS packets of one block, to be joined in order.

    Attributes: packets: one for each frame of 1,024 samples. lead: the packet before them, which a decoder needs to
    give the block's first frame as it will sound in the joined stream; empty at the start of the film.
    """

    packets: bytes
    lead: bytes


def encode_aac_block(samples: Samples, start: int, first: int, frames: int, kbit_s: int) -> AacBlock:
    """Encode film samples `first` to `first + frames` with their neighbourhood; the same bytes every time.

    Args:
        samples: float32 (1 or 2 channels, n), 48 kHz: the film from sample `start` on, 64 frames of 1,024 before `first`
            (or from the film's beginning) to two frames beyond the block (or to the film's end).
        start, first: whole numbers of frames. frames: a whole number of AAC frames, except in the film's last block,
            which is rounded to the nearest, so that the sound ends within 11 ms of the film.
        kbit_s: total bit rate in kbit/s.
    Returns: a block with no packet for a last block of less than half an AAC frame, unless it is the only one.
    """
    if start % FRAME or first % FRAME or not 0 <= start <= first:
        raise ValueError("blocks begin at whole AAC frames")
    count = (frames + FRAME // 2) // FRAME or int(first == 0)
    before = (first - start) // FRAME
    packets = list(_encoded(samples, before + count + 2, kbit_s))
    mine = packets[before + 1 : before + 1 + count]
    return AacBlock(b"".join(mine), packets[before] if first else b"")


def decode_aac_block(block: AacBlock, channels: int) -> Samples:
    """What a player will hear of `block` in the joined stream: float32 (channels, whole AAC frames)."""
    heard = decode_aac(block.lead + block.packets, channels)
    return heard[:, FRAME:] if block.lead else heard


def decode_aac(adts: bytes, channels: int) -> Samples:
    """Decode an ADTS stream: float32 (channels, 1,024 for each packet), not clipped; no packet gives zero frames."""
    import numpy as np
    from av.codec.context import CodecContext
    from av.packet import Packet

    decoder = cast("_Decoder", CodecContext.create("aac", "r"))
    heard = [frame.to_ndarray() for packet in _split(adts) for frame in decoder.decode(Packet(packet))]
    if not heard:
        return np.zeros((channels, 0), np.float32)
    return np.concatenate(heard, axis=1, dtype=np.float32)


def _encoded(samples: Samples, frames: int, kbit_s: int) -> Iterator[bytes]:
    """ADTS packets of the first `frames` frames, and of the encoder's delay; what `samples` lacks is silence."""
    import numpy as np
    from av.audio.frame import AudioFrame
    from av.codec.context import CodecContext, Flags

    channels = samples.shape[0]
    encoder = CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE_HZ, _LAYOUTS[channels], "fltp"
    encoder.bit_rate = kbit_s * 1000
    # ffmpeg's manual: above 64 kbit/s a channel "fast" is better and much faster than its default. Without pns, which would
    # leave noise, and so peaks, to the dice of each decoder.
    encoder.options = {"aac_coder": "fast", "aac_pns": "0"}
    encoder.flags |= Flags.bitexact
    encode = cast("_Encoder", encoder).encode
    short = frames * FRAME - samples.shape[1]
    padded = np.pad(samples, ((0, 0), (0, max(0, short))))
    for k in range(frames):
        piece = np.ascontiguousarray(padded[:, k * FRAME : (k + 1) * FRAME], np.float32)
        frame = AudioFrame.from_ndarray(piece, format="fltp", layout=_LAYOUTS[channels])
        frame.sample_rate, frame.pts = RATE_HZ, k * FRAME
        for packet in encode(frame):
            yield _framed(bytes(packet), channels)
    for packet in encode(None):
        yield _framed(bytes(packet), channels)


def _framed(packet: bytes, channels: int) -> bytes:
    """`packet` behind an ADTS header (ISO/IEC 13818-7 6.2): MPEG-4, AAC LC, no checksum, buffer fullness unknown."""
    size = len(packet) + _HEADER
    header = 0xFFF1 << 40 | 1 << 38 | _RATE_INDEX << 34 | channels << 30 | size << 13 | 0x7FF << 2
    return header.to_bytes(_HEADER, "big") + packet


def _split(adts: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEADER <= len(adts):
        size = int.from_bytes(adts[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        if size < _HEADER:
            raise ValueError("not an ADTS stream")
        yield adts[at : at + size]
        at += size
