"""Sound that is encoded while it is made."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from polydub.media.sounds import FLOWING, Flowing
from polydub.types import Samples

MAGIC = {"mp3": b"\xff", "opus": b"OggS", "aac": b"\xff", "flac": b"fLaC", "wav": b"RIFF", "pcm": b""}


def swell(seconds: float, rate_hz: int) -> Samples:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * 220 * t) * np.linspace(0.2, 1, len(t))).astype(np.float32)[np.newaxis]


def flow(form: str, samples: Samples, rate_hz: int, step: int = 5000) -> tuple[list[bytes], int]:
    encoder = Flowing(form, rate_hz)
    made = [encoder.add(samples[:, at : at + step]) for at in range(0, samples.shape[1], step)]
    return [*made, encoder.finish()], encoder.rate_hz


def decoded(form: str, data: bytes, rate_hz: int) -> Samples:
    raw = ["-f", "s16le", "-ar", str(rate_hz), "-ac", "1"]
    source = raw if form == "pcm" else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-i", "pipe:0", *raw, "pipe:1"]
    told = subprocess.run(command, input=data, capture_output=True, check=True)
    return np.frombuffer(told.stdout, "<i2").astype(np.float32)[np.newaxis] / 32768


@pytest.mark.parametrize("form", FLOWING)
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100])
def test_what_flows_decodes_to_all_of_the_sound(form: str, rate_hz: int) -> None:
    samples = swell(4.0, rate_hz)
    parts, out_hz = flow(form, samples, rate_hz)
    data = b"".join(parts)
    assert data.startswith(MAGIC[form])
    heard = decoded(form, data, out_hz)
    assert heard.shape[1] / out_hz == pytest.approx(4.0, rel=0.02)
    last = heard[0, round(3.8 * out_hz) : round(3.95 * out_hz)]
    assert np.sqrt(np.mean(last**2)) == pytest.approx(0.5 * 0.97 / np.sqrt(2), rel=0.1)  # the tail is there, at its level


@pytest.mark.parametrize("form", FLOWING)
def test_sound_comes_out_with_the_first_piece_and_the_header_only_once(form: str) -> None:
    parts, _ = flow(form, swell(3.0, 24_000), 24_000, step=12_000)
    assert len(parts[0]) > 500
    magic = MAGIC[form]
    if form in ("flac", "wav"):
        assert b"".join(parts).count(magic) == 1
    if form == "opus":
        assert b"".join(parts).count(b"OpusHead") == 1


def test_lossless_forms_keep_every_sample_of_16_bits() -> None:
    samples = np.round(swell(1.0, 22_050) * 32767)
    for form in ("flac", "wav"):
        parts, rate_hz = flow(form, (samples / 32767).astype(np.float32), 22_050)
        assert rate_hz == 22_050
        assert np.array_equal(decoded(form, b"".join(parts), rate_hz) * 32768, samples)


def test_pcm_always_has_24_khz() -> None:
    parts, rate_hz = flow("pcm", swell(2.0, 22_050), 22_050)
    assert rate_hz == 24_000
    assert len(b"".join(parts)) / 2 / 24_000 == pytest.approx(2.0, abs=0.01)


def test_nothing_gives_a_header_at_most() -> None:
    for form in FLOWING:
        encoder = Flowing(form, 24_000)
        assert len(encoder.add(np.zeros((1, 0), np.float32)) + encoder.finish()) < 500


def test_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="ogg"):
        Flowing("ogg", 24_000)


def test_what_is_too_loud_is_clipped() -> None:
    encoder = Flowing("pcm", 24_000)
    made = np.frombuffer(encoder.add(np.array([[2.0, -2.0, 0.5]], np.float32)) + encoder.finish(), "<i2")
    assert made.tolist() == [32767, -32767, 16384]
