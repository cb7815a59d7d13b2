"""Dialogue out of a mix by masks in time and frequency: the arithmetic, without any trained model.

A mask is a gain between 0 and 1 for each frame and frequency, shape (frames, bins). It is estimated on the middle (the mean
of all channels) and laid over every channel, so that nothing moves in the stereo picture. Sounds are at RATE_HZ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from polydub.audio import IMPORTING
from polydub.spans import bridged
from polydub.types import RATE_HZ, Samples, Span

Spectra = NDArray[np.complex64]  # (frames, bins)
Window = NDArray[np.float32]
Grid = NDArray[np.float32]  # (frames, bins): a mask, or power
FADE_S = 0.03  # of the gate, inside a span: spans are padded
_TINY = 1e-20  # power of digital silence

WINDOW = 4096  # samples; up to 2 dB better on sustained music than 2048, no worse on drums
_HOP = WINDOW // 4
_NEAR_S = 0.64  # standard deviation of the weights by which pauses count for a moment
_FAR = 1e-6  # weight of any pause, however far
FAR_S = 7.9  # pauses farther away do not count, so that a mask depends on so much around it and no more
_QUIET = 20.0  # percentile of about 0.9 s near which the background is: words leave holes at each frequency
_HOLES, _HOLES_STEP = 21, 2  # frames that are looked at for it, and their distance
_OVER = 2.0  # the estimate is doubled: less of the background is taken for speech; 3 gains 0.4 dB and leaks 2 dB more
_LOW_HZ = 70.0  # nobody speaks below
_ENOUGH_S = 0.5  # of pauses that an estimate takes


def middle(samples: Samples) -> Samples:
    """The mean of all channels, (1, frames)."""
    return samples.mean(axis=0, keepdims=True, dtype=np.float32)


def framed(sound: Samples, window: Window, hop: int) -> Spectra:
    """Windowed spectra of `sound` (n,), one for each `hop` samples, from the one that ends after the first `hop` of them.

    `len(window)` is a multiple of `hop`. Zero samples give spectra of silence.
    """
    views = _views(sound, len(window), hop)
    spectra = np.empty((len(views), len(window) // 2 + 1), np.complex64)
    for at in _batches(len(views)):
        spectra[at] = np.fft.rfft(views[at] * window, axis=1)
    return spectra


def joined(spectra: Spectra, window: Window, hop: int, length: int) -> Samples:
    """The sound (length,) of which `framed` made `spectra`, if the squares of all windows over a sample sum to 1."""
    sums = _sums(len(spectra), len(window), hop)
    _add(sums, 0, spectra, window)
    return _heard(sums, len(window), length)


def hann() -> Window:
    """A Hann window of WINDOW samples, scaled so that `joined` undoes `framed` at a quarter of it."""
    rise = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return (rise / np.sqrt(1.5)).astype(np.float32)


def masked(samples: Samples, mask: Grid) -> Samples:
    """Each channel of `samples` (channels, frames) behind a mask that was made for a sound of as many frames."""
    window = hann()
    kept = np.empty_like(samples)
    for channel, sound in enumerate(samples):
        views = _views(sound, WINDOW, _HOP)
        sums = _sums(len(views), WINDOW, _HOP)
        for at in _batches(len(views)):
            _add(sums, at.start, np.fft.rfft(views[at] * window, axis=1) * mask[at], window)
        kept[channel] = _heard(sums, WINDOW, len(sound))
    return kept


def _views(sound: Samples, size: int, hop: int) -> Samples:
    """The frames of `sound` (n,), shape (count, size), without copying them."""
    count = -(-(len(sound) + size - hop) // hop)
    padded = np.pad(sound, (size - hop, count * hop - len(sound)))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]


def _batches(count: int) -> Iterator[slice]:
    """So many frames at once: the spectra of all would take eight times the memory of the sound."""
    return (slice(at, min(at + 256, count)) for at in range(0, count, 256))


def _sums(count: int, size: int, hop: int) -> Samples:
    return np.zeros((count + size // hop - 1, hop), np.float32)


def _add(sums: Samples, first: int, spectra: NDArray[np.complexfloating], window: Window) -> None:
    """Adds the frames of `spectra`, the first of them number `first`, to `sums` (hops, samples)."""
    hop = sums.shape[1]
    frames = np.fft.irfft(spectra, len(window), axis=1).astype(np.float32, copy=False)
    frames *= window
    for part in range(len(window) // hop):
        sums[first + part : first + part + len(frames)] += frames[:, part * hop : (part + 1) * hop]


def _heard(sums: Samples, size: int, length: int) -> Samples:
    lead = size - sums.shape[1]
    return sums.reshape(-1)[lead : lead + length]


def gate(speech: Sequence[Span], frames: int) -> Samples:
    """A curve (frames,): 1 inside the spans (seconds), 0 outside, with smooth edges of FADE_S inside."""
    curve = np.zeros(frames, np.float32)
    for span in bridged(speech, 0.001):
        start, stop = max(0, round(span.start * RATE_HZ)), min(frames, round(span.end * RATE_HZ))
        if start >= stop:
            continue
        moments = np.arange(start, stop, dtype=np.float64) / RATE_HZ
        edge = np.minimum(moments - span.start, span.end - moments) / FADE_S
        inside = 0.5 - 0.5 * np.cos(np.pi * np.clip(edge, 0, 1))
        curve[start:stop] = np.maximum(curve[start:stop], inside)
    return curve


def ratio_mask(mix: Samples, dialogue: Samples) -> Grid:
    """Share of `dialogue` in the power of `mix`, both (n,), where the rest of the mix is taken for background.

    An enhancer rebuilds speech as it thinks it was; the share of it leaves what is really there, in the phase of the mix.
    """
    wanted, rest = _power(dialogue), _power(mix - dialogue)
    rest += wanted
    rest += _TINY
    return wanted / rest


def pause_mask(mix: Samples, speech: Sequence[Span]) -> Grid | None:
    """Share of dialogue in `mix` (n,) after what is heard in the pauses between the spans (seconds).

    The power of the background during speech is a mean of the pauses around, the nearest first, or what remains in the
    holes between words, whichever is more; the mask is a Wiener gain. None where the pauses are shorter than half a
    second in all. The constants were chosen on 28 mixes of 4 voices and 7 backgrounds at 5 dB.
    """
    power = _power(mix)
    free = _free(speech, len(power))
    if free.sum() * _HOP < _ENOUGH_S * RATE_HZ:
        return None
    busy = ~free
    background = _over_pauses(power, free)
    np.maximum(background, _in_holes(power)[busy], out=background)
    share = np.maximum(0, 1 - _OVER * background / (power[busy] + _TINY), dtype=np.float32)
    share[:, : int(_LOW_HZ * WINDOW / RATE_HZ) + 1] = 0
    mask = np.zeros_like(power)
    mask[busy] = share
    return mask


def _power(sound: Samples) -> Grid:
    window, views = hann(), _views(sound, WINDOW, _HOP)
    power = np.empty((len(views), WINDOW // 2 + 1), np.float32)
    for at in _batches(len(views)):
        spectra = np.fft.rfft(views[at] * window, axis=1)
        power[at] = spectra.real**2 + spectra.imag**2
    return power


def _free(speech: Sequence[Span], count: int) -> NDArray[np.bool_]:
    """Which frames hold (nearly) nothing of the spans: a Hann window's outer fifths weigh next to nothing."""
    reach = 0.3 * WINDOW / RATE_HZ
    middles = (np.arange(1, count + 1) * _HOP - WINDOW / 2) / RATE_HZ
    free = np.ones(count, np.bool_)
    for span in speech:
        free &= (middles <= span.start - reach) | (middles >= span.end + reach)
    return free


def _over_pauses(power: Grid, free: NDArray[np.bool_]) -> Grid:
    """For each frame that is not free a mean of `power` over the free ones no farther than FAR_S, the near ones first."""
    pauses = np.flatnonzero(free)
    away = np.abs(np.flatnonzero(~free)[:, None] - pauses) * (_HOP / RATE_HZ)
    weights = np.exp(-0.5 * (away / _NEAR_S) ** 2) + _FAR
    weights[away > FAR_S] = 0
    weights /= weights.sum(axis=1, keepdims=True) + _TINY
    return weights.astype(np.float32) @ power[pauses]


def _in_holes(power: Grid) -> Grid:
    """For each frame the 20th percentile of `power` around it."""
    with IMPORTING:
        from scipy.ndimage import percentile_filter

    quiet = percentile_filter(power[::_HOLES_STEP], _QUIET, size=(_HOLES, 1))
    return np.repeat(quiet, _HOLES_STEP, axis=0)[: len(power)]
