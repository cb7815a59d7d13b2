"""Short sounds in the formats of speech services."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
import soundfile

from polydub.media import sounds
from polydub.types import Audio

RATE_HZ = 22_050


def buzz(seconds: float, rate_hz: int = RATE_HZ, level: float = 0.3) -> Audio:
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return Audio((level * np.sin(2 * np.pi * 220 * at))[np.newaxis].astype(np.float32), rate_hz)


@pytest.mark.parametrize(
    ("form", "kind", "rate_hz"),
    [("wav", "WAV", RATE_HZ), ("flac", "FLAC", RATE_HZ), ("mp3", "MP3", 48_000), ("opus", "OGG", 48_000)],
)
@pytest.mark.parametrize("seconds", [0.2, 70.0])
def test_a_sound_of_any_length_keeps_length_and_level(form: str, kind: str, rate_hz: int, seconds: float) -> None:
    file = sounds.encoded(buzz(seconds), form)
    with soundfile.SoundFile(BytesIO(file)) as opened:
        assert (opened.format, opened.samplerate) == (kind, rate_hz)
        samples = opened.read(dtype="float32")
    assert abs(len(samples) / rate_hz - seconds) < 0.06
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_pcm_is_samples_alone_and_clips() -> None:
    loud = Audio(np.array([[0.0, 0.5, 1.0, 2.0, -3.0]], np.float32), RATE_HZ)
    assert struct.unpack("<5h", sounds.encoded(loud, "pcm")) == (0, 16384, 32767, 32767, -32767)


def test_no_sound_and_unknown_forms() -> None:
    assert sounds.encoded(Audio(np.zeros((1, 0), np.float32), RATE_HZ), "pcm") == b""
    with pytest.raises(ValueError, match="aac"):
        sounds.encoded(buzz(0.1), "aac")


def test_a_wav_that_is_poured_is_the_file_that_is_written_at_once() -> None:
    audio = buzz(0.5)
    raw = sounds.pcm16(audio.samples)
    samples, rate_hz = soundfile.read(BytesIO(sounds.wav_head(RATE_HZ, len(raw)) + raw), dtype="int16")
    assert rate_hz == RATE_HZ and samples.tobytes() == raw
    assert sounds.wav_head(RATE_HZ)[40:44] == b"\xff\xff\xff\xff"
