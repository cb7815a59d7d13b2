"""A speech engine for tests and trials: instant, the same every time, any language, not speech but a buzz."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

from pydantic import Field

from polydub.engines.base import READY, Engine, Info, Options, Weights
from polydub.errors import BadSettings
from polydub.types import Audio, Part, Voice

if TYPE_CHECKING:
    from polydub.types import Samples

RATE_HZ = 22_050
DEFAULT_CHARS_PER_S = 15.0
SILENCE_S = 0.05  # at both ends, as real engines leave it
FADE_S = 0.005
LEVEL = 0.1  # RMS, full scale 1
PITCHES_HZ = {"low": 105.0, "high": 210.0, "lower": 80.0, "higher": 270.0, "middle": 150.0}


def _pitch_hz(voice: str) -> float:
    """Of a voice by its name; unknown names get one between 80 and 320 Hz from their checksum."""
    return PITCHES_HZ.get(voice) or 80.0 * 2 ** (crc32(voice.encode()) % 25 / 12)


@lru_cache(maxsize=64)
def _period(pitch_hz: float) -> Samples:
    """One period of a voice: 12 falling harmonics."""
    import numpy as np

    frames = round(RATE_HZ / pitch_hz)
    phase = 2 * np.pi * np.arange(frames) / frames
    wave = sum((np.sin(n * phase) / n for n in range(1, 13)), np.zeros(frames))
    return (LEVEL * wave / np.sqrt(np.mean(wave**2))).astype(np.float32)


class FakeOptions(Options):
    """Options of the fake voice."""

    chars_per_s: float = Field(DEFAULT_CHARS_PER_S, gt=0, le=1000, description="pace at rate 1, characters per second")


class FakeSpeech:
    """A Synthesizer whose lines last len(text) / `chars_per_s` seconds at rate 1."""

    chars_per_s = DEFAULT_CHARS_PER_S

    def voices(self, language: str) -> Sequence[Voice]:
        """Five voices in any language, far apart in pitch; any other name is a voice too."""
        return tuple(Voice("fake", name, language, name) for name in PITCHES_HZ)

    def synthesize(self, part: Part) -> Audio:
        """A buzz between two silences of 50 ms, at 22,050 Hz. Blank text gives zero frames. The seed is not used."""
        return self._buzz(part, _pitch_hz(part.voice.name))

    def clone(self, part: Part, references: Sequence[Audio]) -> Audio:
        """As `synthesize`, at the median pitch of the references. Raises: BadSettings where nobody is heard in them."""
        import numpy as np

        from polydub.audio import pitch

        tracks = [pitch.track(one.samples.mean(axis=0), one.rate_hz)[1] for one in references if one.duration > 0.1]
        median_hz = pitch.median_hz(np.concatenate(tracks)) if tracks else 0.0
        if not median_hz:
            raise BadSettings("nobody is heard in the recordings of the voice", "give a recording of speech")
        return self._buzz(part, median_hz)

    def _buzz(self, part: Part, pitch_hz: float) -> Audio:
        import numpy as np

        text = part.text.strip()
        if not text:
            return Audio(np.zeros((1, 0), np.float32), RATE_HZ)
        fade, edge = round(FADE_S * RATE_HZ), round(SILENCE_S * RATE_HZ)
        frames = max(2 * fade, round(len(text) / self.chars_per_s / part.rate * RATE_HZ))
        sound = np.zeros((1, frames + 2 * edge), np.float32)
        buzz = sound[0, edge : edge + frames]
        period = _period(pitch_hz)
        buzz[:] = np.tile(period, -(-frames // len(period)))[:frames]
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        buzz[:fade] *= ramp
        buzz[-fade:] *= ramp[::-1]
        return Audio(sound, RATE_HZ)


@contextmanager
def _load(options: FakeOptions, _weights: Weights, _device: str) -> Generator[FakeSpeech]:
    engine = FakeSpeech()
    engine.chars_per_s = options.chars_per_s
    yield engine


ENGINE = Engine(
    info=Info(
        kind="tts",
        name="fake",
        summary="a buzz of the right length instead of speech, for tests and trials",
        licence="Apache-2.0",
        homepage="",
        memory_mib=(1, 0),
        parallel=0,
        features=frozenset({"clone", "rate"}),
    ),
    options=FakeOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
