"""Long sounds as WAV files of 32-bit floats that are mapped instead of read: what is heard at once need not be in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from polydub.errors import BadInput
from polydub.types import HEAR_HZ, Audio, Samples

FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT
LONGEST = (1 << 32) - 64  # bytes of sound in a WAV file: 18 hours at 16 kHz


def write_pcm(path: Path, pieces: Iterable[Samples], rate_hz: int = HEAR_HZ) -> int:
    """Writes pieces of mono sound (1, n), one after the other. Returns the samples in all.

    Raises: BadInput for more than a WAV file can hold.
    """
    with path.open("wb") as file:
        file.write(bytes(44))
        size = 0
        for piece in pieces:
            size += file.write(np.ascontiguousarray(piece[0], "<f4").tobytes())
            if size > LONGEST:
                raise BadInput("the film is longer than 18 hours: nobody can be told apart in it", "cut it into parts")
        file.seek(0)
        form = struct.pack("<HHIIHH", FLOAT, 1, rate_hz, 4 * rate_hz, 4, 32)
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16) + form)
        file.write(b"data" + struct.pack("<I", size))
    return size // 4


def mapped(path: Path) -> Audio:
    """A file of `write_pcm`; the samples stay on disk until they are looked at, and changing them changes no file.

    Raises: BadInput when it is another kind of file.
    """
    with path.open("rb") as file:
        head = file.read(44)
    if len(head) < 44 or head[:4] + head[8:16] + head[36:40] != b"RIFFWAVEfmt data":
        raise BadInput(f"{path.name} is not a sound that polydub wrote", "write it with polydub.audio.pcm.write_pcm")
    form, channels, rate_hz = struct.unpack("<HHI", head[20:28])
    (size,) = struct.unpack("<I", head[40:])
    if (form, channels) != (FLOAT, 1) or size % 4 or path.stat().st_size != 44 + size:
        raise BadInput(f"{path.name} is damaged, or not mono sound of 32-bit floats", "write it again")
    if not size:
        return Audio(np.zeros((1, 0), np.float32), rate_hz)
    return Audio(np.asarray(np.memmap(path, "<f4", "c", 44, (1, size // 4))), rate_hz)
