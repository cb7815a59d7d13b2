"""What an engine gave for one text: checked, brought to the pace that was asked for, counted as somebody hears it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from polydub.errors import BadEngineOutput
from polydub.types import Audio, Part, Voice

LEAST_SHARE = 0.1  # of the expected length of the first piece; less is no speech
EXPECTED_S = 0.8  # of texts that are expected to be shorter nothing is expected
SLOWEST_S = 0.6  # that a letter takes at most (an ideograph); sound of such a share is not looked at any closer


class Clock:
    """When the sound that somebody hears runs out, as far as it has been made."""

    def __init__(self) -> None:
        self._began, self._sent_s, self._rate_hz = time.monotonic(), 0.0, 0

    @property
    def due(self) -> float:
        """By `time.monotonic`: at once for who has heard nothing yet."""
        return self._began + self._sent_s

    def counted(self, sounds: Iterable[Audio]) -> Iterator[Audio]:
        """The sound of one text, with a short silence before it unless it is the first. Raises: BadEngineOutput."""
        import numpy as np

        from polydub.text.chunks import PAUSE_S

        for number, audio in enumerate(sounds):
            if self._rate_hz not in (0, audio.rate_hz):
                raise BadEngineOutput("the speech engine changed its sample rate", "choose another engine")
            if not self._sent_s:
                self._began = time.monotonic()
            elif not number:
                yield Audio(np.zeros((1, round(PAUSE_S * audio.rate_hz)), np.float32), audio.rate_hz)
            self._rate_hz, self._sent_s = audio.rate_hz, self._sent_s + audio.duration
            yield audio


def check(audio: Audio, part: Part) -> None:
    """Raises: BadEngineOutput for what cannot be the speech that was asked for, such as 46 ms for a sentence."""
    import numpy as np

    if not np.isfinite(audio.samples).all():
        raise BadEngineOutput("the speech engine gave sound that is not finite", "try another voice or engine")
    if audio.duration * part.rate >= LEAST_SHARE * SLOWEST_S * len(part.text):
        return
    from polydub.text import durations

    expected_s = durations.predict(durations.prior(part.language), part.text, part.language) / part.rate
    if expected_s > EXPECTED_S and audio.duration < LEAST_SHARE * expected_s:
        text = f"the speech engine gave {audio.duration:.2f} s of sound for {len(part.text)} characters"
        raise BadEngineOutput(text, "try again, or another voice or engine")


def shaped(audio: Audio, voice: Voice, rate: float) -> Audio:
    """Mono, through the equaliser of a matched voice, at a rate that the engine itself does not speak at."""
    import numpy as np

    samples, rate_hz = audio.samples, audio.rate_hz
    if samples.shape[0] > 1:
        samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
    if voice.tone:
        from polydub.audio import match

        samples = match.toned(samples, rate_hz, voice.tone)
    if rate != 1:
        from polydub.audio.signal import resample
        from polydub.audio.stretch import stretch
        from polydub.types import RATE_HZ

        wide = resample(samples, rate_hz, RATE_HZ)
        samples, rate_hz = stretch(wide, round(wide.shape[1] / rate)), RATE_HZ
    return Audio(samples, rate_hz)
