"""Where a take is audible, and cutting it there without clicks."""

from __future__ import annotations

import numpy as np

from polydub.types import RATE_HZ, Samples

FRAME_S, STEP_S = 0.005, 0.001
BELOW_LOUD_DB, FLOOR_DB = -40.0, -65.0
LEAD_S = 0.005  # kept around the audible part, so that the fades leave soft consonants alone
MILLISECOND = RATE_HZ // 1000
FADE = 3 * MILLISECOND


def trim(samples: Samples, rate_hz: int) -> tuple[int, int]:
    """Start and end sample of the audible part of `samples`, float32 (n,) at any rate; (0, 0) for silence or no samples.

    The level is the RMS of 5 ms, looked at every millisecond. The audible onset is the middle of the first stretch that is
    louder than both -65 dBFS and 40 dB below the loud level, which is the 95th percentile of all stretches above -65 dBFS;
    the offset likewise from the end. What is returned begins 5 ms before the onset and ends 5 ms after the offset.
    """
    frame, step = max(1, round(FRAME_S * rate_hz)), max(1, round(STEP_S * rate_hz))
    around = (frame // 2, frame - frame // 2 + step)  # so that a sound at the very edge has a stretch around it
    energy = np.concatenate([[0.0], np.cumsum(np.pad(samples.astype(np.float64), around) ** 2)])
    power = (energy[frame::step] - energy[:-frame:step]) / frame
    heard = power[power > 10 ** (FLOOR_DB / 10)]
    if not heard.size:
        return 0, 0
    threshold = max(float(np.percentile(heard, 95)) * 10 ** (BELOW_LOUD_DB / 10), 10 ** (FLOOR_DB / 10))
    audible = np.flatnonzero(power > threshold)
    lead = round(LEAD_S * rate_hz)
    first, last = int(audible[0]) * step, int(audible[-1]) * step
    return max(0, first - lead), min(len(samples), last + lead + 1)


def shape(samples: Samples, start: int, end: int) -> Samples:
    """`samples[start:end]`, float32 (n,) at 48 kHz, as a take: whole milliseconds long, 3 ms raised-cosine fades at both ends.

    The end moves up to 47 samples later to fill the last millisecond, with silence where the sound is over. Takes under
    6 ms fade over half their length. Empty (0 samples) when `end` <= `start`.
    """
    wanted = -(-max(0, end - start) // MILLISECOND) * MILLISECOND
    cut = samples[start : start + wanted]
    take = np.zeros(wanted, np.float32)
    take[: len(cut)] = cut
    fade = min(FADE, wanted // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(1, fade))).astype(np.float32)
    take[:fade] *= ramp
    take[wanted - fade :] *= ramp[::-1]
    return take
