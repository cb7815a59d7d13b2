"""Sound files: 24-bit FLAC, at 48 kHz unless told otherwise, exact on every round trip of samples that 24 bits can hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.errors import StoreError
from polydub.types import RATE_HZ, Samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEPS = 2.0**23  # libsndfile's own float path scales by 2**23 - 1 one way and 2**23 the other, which drifts
_PIECE = 4 * RATE_HZ  # samples made integers at once: all of a block would take three times its memory
_EFFORT = 0.3  # soundfile's 0 to 1; higher gains next to nothing on speech and costs time


def write_flac(path: Path, samples: Samples, rate_hz: int = RATE_HZ) -> None:
    """Write float32 samples (channels, frames) at `rate_hz`, rounded to 24 bits and clipped at full scale.

    Raises: StoreError when the file cannot be written; ValueError for zero frames, which FLAC cannot hold.
    """
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    if not samples.shape[1]:
        raise ValueError("there is no sound to write")
    # libsndfile hides why a write fails, so it writes to memory; through a descriptor, since through a Python object
    # it would ask for the interpreter lock hundreds of times
    with os.fdopen(os.memfd_create("polydub"), "w+b") as memory:
        with soundfile.SoundFile(
            memory.fileno(), "w", rate_hz, samples.shape[0], "PCM_24", format="FLAC", compression_level=_EFFORT, closefd=False
        ) as file:
            for start in range(0, samples.shape[1], _PIECE):
                file.write(_integers(samples[:, start : start + _PIECE]))
        memory.seek(0)
        sound = memory.read()
    try:
        path.write_bytes(sound)
    except OSError as error:
        raise StoreError(f"sound could not be written: {error.strerror}", "free some space or give another --output") from error


def read_flac(path: Path, start: int, frames: int) -> Samples:
    """Up to `frames` float32 samples per channel from sample `start`, shape (channels, frames); fewer at the end.

    Raises: StoreError when the file is missing or damaged.
    """
    import numpy as np
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    try:
        with soundfile.SoundFile(path) as file:
            file.seek(min(start, file.frames))
            found = file.read(frames, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise StoreError("a stored sound cannot be read", "delete the store folder and run again") from error
    return np.ascontiguousarray(found.T, np.float32)


def _integers(samples: Samples) -> NDArray[np.int32]:
    """24-bit values in the upper bits of 32, shape (frames, channels)."""
    import numpy as np

    steps = np.rint(samples.T * np.float32(_STEPS))
    return np.clip(steps, -_STEPS, _STEPS - 1).astype(np.int32) << 8
