"""Sounds in the formats of speech services, whole or while they are made: WAV, FLAC, MP3, AAC, Opus in Ogg, raw PCM."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from polydub.types import RATE_HZ, Samples

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream

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


# form -> (muxer, its options, encoder, its options, bits a second; 0 = lossless). No length is written at the front, since
# nobody knows it. The encoders' quicker ways are taken: for a second of speech mp3 needs 9 ms instead of 17, aac 8 instead of
# 20, opus 3 instead of 9, and many are made at once.
_MUXED: Mapping[str, tuple[str, Mapping[str, str], str, Mapping[str, str], int]] = {
    "mp3": (
        "mp3",
        {"write_xing": "0", "id3v2_version": "0", "write_id3v1": "0"},
        "libmp3lame",
        {"compression_level": "7"},
        96_000,
    ),
    "opus": ("ogg", {"page_duration": "20000"}, "libopus", {"compression_level": "5"}, 48_000),
    "aac": ("adts", {}, "aac", {"aac_coder": "fast"}, 96_000),
    "flac": ("flac", {}, "flac", {}, 0),
}
# mp3 and aac add up to three frames, which are shortest in time at this rate; pcm has what OpenAI's has, and cannot tell it.
_RATES_HZ = {"mp3": (RATE_HZ,), "aac": (RATE_HZ,), "opus": (16_000, 24_000, RATE_HZ), "pcm": (24_000,)}
FLOWING = ("mp3", "opus", "aac", "flac", "wav", "pcm")  # what a Flowing encodes


class Flowing:
    """Mono sound encoded while it is made: one header, what was encoded after each piece, the tail at the end.

    Forms are those of FLOWING: 16 bits where bits count, mp3 and aac with 96 kbit/s, opus in Ogg with 48; WAV tells the length
    0xFFFFFFFF. wav and flac have the sound's own rate, mp3 and aac 48 kHz, opus the nearest above it, pcm 24 kHz. The sound is
    as long as what was given, but for up to 0.07 s that mp3 and aac add.
    """

    def __init__(self, form: str, rate_hz: int) -> None:
        """Raises: ValueError for another form."""
        if form not in FLOWING:
            raise ValueError(f"{form!r} is none of {', '.join(FLOWING)}")
        import av

        known = _RATES_HZ.get(form, (rate_hz,))
        self._given_hz, self.rate_hz = rate_hz, min((r for r in known if r >= rate_hz), default=known[-1])
        self._at, self._sink, self._head = 0, _Sink(), b""
        self._resampler = self._container = None
        if form in _MUXED:
            muxer, options, encoder, quicker, bits = _MUXED[form]
            told = {**options, "fflags": "+flush_packets+bitexact"}
            self._container = av.open(self._sink, "w", format=muxer, options=told)
            added = cast("Any", self._container).add_stream(encoder, rate=self.rate_hz, layout="mono", options=dict(quicker))
            self._stream = cast("AudioStream", added)
            if bits:
                self._stream.bit_rate = bits
            self._stream.codec_context.open()  # a millisecond, which the first sound would wait for
            return
        self._head = wav_head(self.rate_hz) if form == "wav" else b""
        if self.rate_hz != rate_hz:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self.rate_hz)

    def add(self, samples: Samples) -> bytes:
        """What there is after these samples, (1, n) with full scale +-1; louder ones are clipped. May be nothing."""
        head, self._head = self._head, b""
        if not samples.shape[1]:
            return head
        if self._container is None and self._resampler is None:
            return head + pcm16(samples)
        return head + self._encoded(self._frame(samples))

    def finish(self) -> bytes:
        """The rest; nothing may be added any more."""
        head, self._head = self._head, b""
        rest = self._encoded(None) if self._at else b""
        if self._container is not None:
            self._container.close()
            rest += self._sink.take()
        return head + rest

    def _frame(self, samples: Samples) -> AudioFrame:
        from fractions import Fraction

        import av
        import numpy as np

        whole = np.frombuffer(pcm16(samples), "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._given_hz, self._at, Fraction(1, self._given_hz)
        self._at += samples.shape[1]
        return frame

    def _encoded(self, frame: AudioFrame | None) -> bytes:
        if self._resampler is not None:
            return b"".join(bytes(made.planes[0])[: 2 * made.samples] for made in self._resampler.resample(frame))
        if self._container is None:
            return b""
        for packet in cast("Any", self._stream).encode(frame):
            cast("Any", self._container).mux(packet)
        return self._sink.take()


class _Sink:
    """A file that only grows, from whose front one takes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
