"""Short sounds in the formats of speech services: WAV, FLAC, MP3, Opus in Ogg, raw PCM."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from polydub.types import RATE_HZ, Samples

if TYPE_CHECKING:
    from polydub.types import Audio

# form -> (libsndfile's format, its subtype, whether the sample rate has to be 48 kHz: MP3 and Opus know but a few)
_FORMS = {
    "flac": ("FLAC", "PCM_16", False),
    "mp3": ("MP3", "MPEG_LAYER_III", True),
    "opus": ("OGG", "OPUS", True),
}
FORMS = ("wav", *_FORMS, "pcm")
STREAMED = ("wav", "pcm")  # what can be written before its length is known
UNKNOWN = 0xFFFFFFFF  # length of a WAV that is still being made
_PIECE = RATE_HZ  # frames encoded at once: libsndfile's encoders keep all that they are given on their stack


def encoded(audio: Audio, form: str) -> bytes:
    """`audio` as a file of one of FORMS, 16 bits where bits count; "pcm" is little-endian samples alone, at its own rate.

    Full scale is +-1; what is louder is clipped. Raises: ValueError for another form.
    """
    if form in STREAMED:
        raw = pcm16(audio.samples)
        return wav_head(audio.rate_hz, len(raw), audio.samples.shape[0]) + raw if form == "wav" else raw
    if form not in _FORMS:
        raise ValueError(f"{form!r} is none of {', '.join(FORMS)}")
    import numpy as np
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    kind, subtype, wide = _FORMS[form]
    samples, rate_hz = np.clip(audio.samples, -1, 1), audio.rate_hz
    if wide and rate_hz != RATE_HZ:
        from polydub.audio.signal import resample

        samples, rate_hz = np.clip(resample(samples, rate_hz, RATE_HZ), -1, 1), RATE_HZ
    memory = BytesIO()
    with soundfile.SoundFile(memory, "w", rate_hz, samples.shape[0], subtype, format=kind) as file:
        for at in range(0, samples.shape[1], _PIECE):
            file.write(samples[:, at : at + _PIECE].T)
    return memory.getvalue()


def pcm16(samples: Samples) -> bytes:
    """Samples (channels, n) as interleaved little-endian 16-bit integers."""
    import numpy as np

    return np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").T.tobytes()


def wav_head(rate_hz: int, length: int = UNKNOWN, channels: int = 1) -> bytes:
    """What comes before the 16-bit samples of a WAV of `length` bytes of sound, or of one that is still being made."""
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, 2 * channels * rate_hz, 2 * channels, 16)
    whole = min(UNKNOWN, length + 36)
    return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", length)
