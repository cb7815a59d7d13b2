"""Time-scaling of speech without a change of pitch: waveform-similarity overlap-add (WSOLA).

Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA)", ICASSP 1993. In numpy rather than
by a library: the same bytes on every call, nothing to install, and on read speech at rates of 0.9 to 1.3 better by predicted
quality than Signalsmith's and Rubber Band's stretchers and no worse by word errors, in a third of the time or less. Frames
of 50 ms that may come from 15 ms around gave 22 % of words wrong where 40 ms and 10 ms gave up to 32 % (unstretched: 22 %).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from polydub.types import Samples

SIZE = 2400  # one frame: 50 ms at 48 kHz
HOP = SIZE // 2
REACH = 720  # a frame may come from 15 ms before or after its place
COARSE = 6  # the search first looks at the mean of so many samples (8 kHz)
SHORT = 3 * HOP  # 75 ms; below this there is no room for frames


def stretch(samples: Samples, frames: int) -> Samples:
    """`samples`, float32 (channels, n) at 48 kHz, made exactly `frames` long at the same pitch.

    First and last samples stay first and last; all channels are cut alike; no output sample exceeds the input's peak.
    `frames` == n returns the input itself; silence stays silence; an empty input gives `frames` of silence. Input or
    output shorter than 75 ms is resampled instead, which moves its pitch.
    """
    length = samples.shape[1]
    if frames == length:
        return samples
    if not length or not frames:
        return np.zeros((samples.shape[0], frames), np.float32)
    if min(length, frames) < SHORT:
        places = np.arange(length, dtype=np.float64)
        at = np.arange(frames) * ((length - 1) / max(1, frames - 1))
        return np.array([np.interp(at, places, channel) for channel in samples], np.float32)
    starts = _starts(samples.mean(axis=0, dtype=np.float64), frames)
    window = (0.5 - 0.5 * np.cos(np.pi * np.arange(HOP) / HOP)).astype(np.float32)
    padded = np.pad(samples, ((0, 0), (HOP, SIZE)))  # position p of the input is p + HOP here
    pieces = sliding_window_view(padded, HOP, axis=1)
    fading, rising = pieces[:, starts[:-1] + SIZE], pieces[:, starts[1:] + HOP]
    mixed = fading + window * (rising - fading)
    return np.ascontiguousarray(mixed.reshape(samples.shape[0], -1)[:, :frames], np.float32)


def _starts(mono: NDArray[np.float64], frames: int) -> NDArray[np.int64]:
    """Where in the input each output frame begins; frame k is centred on output sample k * HOP.

    Between two splices the input is copied as it is, since nothing continues a frame better than what followed it. A new
    place is sought only when that has drifted out of reach. The last frames end where the input ends.
    """
    length, count = len(mono), -(-frames // HOP) + 1
    starts = np.zeros(count, np.int64)
    starts[0] = -HOP
    coarse = mono[: length // COARSE * COARSE].reshape(-1, COARSE).mean(axis=1)
    power = np.concatenate([[0.0], np.cumsum(coarse**2)])
    last = length - SIZE
    for k in range(1, count):
        follows = int(starts[k - 1]) + HOP
        target = round(k * HOP * length / frames) - HOP
        if (k + 1) * HOP > frames:
            starts[k] = length - frames + (k - 1) * HOP
        elif abs(follows - target) <= REACH and follows <= last:
            starts[k] = follows
        else:
            starts[k] = _best(mono, coarse, power, (follows, min(max(target, 0), last)))
    return starts


def _best(mono: NDArray[np.float64], coarse: NDArray[np.float64], power: NDArray[np.float64], at: tuple[int, int]) -> int:
    """The start within REACH of at[1] whose frame differs least from the one at at[0]: by the means first, then by samples."""
    follows, target = min(max(at[0], 0), len(mono) - SIZE), at[1]
    low, high = max(0, target - REACH), min(len(mono) - SIZE, target + REACH)
    first, wanted = low // COARSE, coarse[follows // COARSE :][: SIZE // COARSE]
    likeness = np.correlate(coarse[first : high // COARSE + len(wanted)], wanted, "valid")
    energy = power[first + len(wanted) :][: len(likeness)] - power[first:][: len(likeness)]
    # a difference rather than a normalised correlation: silence is like silence, not like anything
    rough = (first + int(np.argmax(2 * likeness - energy))) * COARSE + follows % COARSE
    low, high = min(max(low, rough - COARSE), high), min(max(low, rough + COARSE), high)
    fine = sliding_window_view(mono[low : high + SIZE], SIZE) - mono[follows : follows + SIZE]
    return low + int(np.argmin(np.einsum("ij,ij->i", fine, fine)))
