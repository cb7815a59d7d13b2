"""How much of the dialogue is left in a sound from which it was separated.

What is left of speech rises and falls with the speech; music and effects do not. So the share of the dialogue's power in
the rest is the slope of a regression of one on the other, of their deviations from slow means, in the band of speech.
Music that is as loud as the speech makes the slope uncertain, and then hides what is left: two standard errors are
taken off, so that the bed is lowered only where there is evidence.

Measured with the embedded mask on read speech over songs, music and noises 0, 10 and 20 dB below it: what is coherent
with the speech in the rest is at -16 dB and less, and in none of 18 mixes anything is found.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from polydub.types import RATE_HZ, Samples

_FRAME = 2048  # samples: 43 ms
_SLOW = 35  # frames of the slow mean: 1.5 s
_BAND_HZ = (200, 4000)
_LEAST_DB = -60.0


def left_over(parts: Iterable[tuple[Samples, Samples]]) -> float:
    """Level of the speech in the rest beside the dialogue, in dB, from -60 to 0.

    `parts`: consecutive stretches of the rest and of the dialogue, (channels, frames) each. Silence, sound under 3 s and
    rests in which no speech can be shown give -60.
    """
    pairs = [(_powers(rest), _powers(dialogue)) for rest, dialogue in parts]
    rest, dialogue = (np.concatenate(side) if side else np.zeros(0) for side in zip(*pairs, strict=True)) if pairs else _none()
    if len(rest) < 2 * _SLOW or not dialogue.any():
        return _LEAST_DB
    spoken = dialogue > dialogue.max() * 1e-4
    x, y = dialogue - _slow(dialogue), rest - _slow(rest)
    near = np.convolve(spoken, np.ones(_SLOW), "same") > 0
    x, y = x[near], y[near]
    slope = float(x @ y / max(float(x @ x), 1e-30))
    error = float(np.sqrt(np.square(y - slope * x).sum() / max(len(x) - 1, 1) / max(float(x @ x), 1e-30)))
    share = min(max(slope - 2 * error, 0.0), 1.0)
    return round(max(10 * float(np.log10(max(share, 1e-12))), _LEAST_DB), 1)


def _none() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.zeros(0), np.zeros(0)


def _powers(samples: Samples) -> NDArray[np.float64]:
    """Power in the band of speech of each frame, mean of channels."""
    frames = samples[:, : samples.shape[1] // _FRAME * _FRAME].reshape(samples.shape[0], -1, _FRAME)
    hz = np.fft.rfftfreq(_FRAME, 1 / RATE_HZ)
    inside = (hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1])
    spectrum = np.fft.rfft(frames * np.hanning(_FRAME), axis=-1)[..., inside]
    return np.square(np.abs(spectrum)).sum(axis=-1).mean(axis=0)


def _slow(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the frames around each."""
    count = np.convolve(np.ones(len(powers)), np.ones(_SLOW), "same")
    return np.convolve(powers, np.ones(_SLOW), "same") / count
