"""A spectral fingerprint of a voice: mean and spread of 23 cepstral coefficients. No weights, no network, much weaker.

It hears the room and the microphone as much as the voice: speakers recorded in one place are told apart less surely than
figures on recordings of one person each suggest. It stands in until Resemblyzer's weights have been pulled.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import cast

from polydub.audio import IMPORTING
from polydub.engines.base import READY, Calibration, Engine, Info, Options, Weights
from polydub.types import HEAR_HZ, Audio, Samples, Span

COEFFICIENTS = 23
DIMENSIONS = 2 * COEFFICIENTS + 1  # means of coefficients 1 to 23, deviations of 0 to 23
FLOOR = 1e-8  # of the mean mel power: 80 dB below it
# Mean and deviation of each number over 213 windows of 1.6 s: 50 utterances of LibriSpeech test-other by five speakers (1688,
# 1998, 2033, 2414, 2609). Figures measured on these speakers are therefore a little too good.
MEANS = (
    10.5, 2.12, 4.21, 1.62, 0.388, -0.103, -0.0412, 0.0758, 0.0447, 0.248, -0.23, 0.198, 0.225, 0.0453, 0.353, -0.0188,
    -0.0402, -0.0351, 0.0326, -0.342, -0.122, -0.17, -0.0737, 18.8, 8.1, 4.28, 3.73, 2.89, 2.39, 1.98, 1.92, 1.72, 1.62,
    1.52, 1.57, 1.37, 1.29, 1.32, 1.2, 1.07, 0.954, 0.994, 0.935, 0.925, 0.842, 0.827, 0.792,
)  # fmt: skip
DEVIATIONS = (
    5.61, 1.86, 2.16, 1.41, 1.61, 1.1, 1.13, 0.861, 0.944, 0.809, 0.731, 0.833, 0.587, 0.792, 0.589, 0.466, 0.382, 0.344,
    0.367, 0.477, 0.294, 0.355, 0.26, 8.33, 2.25, 1.48, 1.23, 0.964, 0.582, 0.493, 0.633, 0.416, 0.476, 0.345, 0.551,
    0.395, 0.371, 0.393, 0.266, 0.285, 0.209, 0.301, 0.255, 0.273, 0.272, 0.252, 0.232,
)  # fmt: skip


class FingerprintOptions(Options):
    """It has none."""


class Fingerprint:
    """A SpeakerEncoder. Thread-safe: nothing is kept between calls."""

    # Known again from 0.8: of fifteen people no stranger is taken for one, where at 0.75 some 5 % are; of 16 s of speech in one
    # recording everybody is known, of 4 to 8 s 92 %, in another room 60 %, over a telephone nobody (benchmarks/characters.py).
    # At 0.68 one of ten streams of one speaker is split and none of twelve dialogues joined (benchmarks/speakers.py).
    calibration = Calibration(merge=0.68, centred=0.9, switch=(0.3, 0.5), same=0.7, known=(0.8, 0.05), other=1.4)

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        """One row of unit length for each window (seconds in `speech`, mono at HEAR_HZ), float32 (len(windows), 47).

        The level does not matter. Silence, or a window outside the sound, gives the row of silence.
        """
        import numpy as np

        if speech.rate_hz != HEAR_HZ or speech.samples.shape[0] != 1:
            raise ValueError(f"the fingerprint wants mono sound at {HEAR_HZ} Hz")
        rows = np.zeros((len(windows), DIMENSIONS), np.float32)
        for row, window in zip(rows, windows, strict=True):
            start, end = max(0, round(window.start * HEAR_HZ)), max(0, round(window.end * HEAR_HZ))
            row[:] = _numbers(speech.samples[0, start:end])
        rows = (rows - np.array(MEANS, np.float32)) / np.array(DEVIATIONS, np.float32)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _numbers(sound: Samples) -> Samples:
    """What one voice is like, float32 (DIMENSIONS,); silence gives zeros."""
    import numpy as np

    with IMPORTING:
        from scipy.fft import dct  # pyright: ignore[reportMissingTypeStubs]

    from polydub.audio import mel

    power = mel.spectra(sound)
    logs = np.log(power + np.float32(max(FLOOR * float(power.mean()), 1e-20)))
    cepstra = cast("Samples", dct(logs, norm="ortho", axis=1))[:, : COEFFICIENTS + 1]
    return np.concatenate([cepstra[:, 1:].mean(axis=0), cepstra.std(axis=0)])


@contextmanager
def _load(options: FingerprintOptions, weights: Weights, device: str) -> Generator[Fingerprint]:
    del options, weights, device
    yield Fingerprint()


def _remarks(options: FingerprintOptions, language: str) -> tuple[str, ...]:
    del options, language
    return (
        "speakers are told apart by a spectral fingerprint, weaker than a trained encoder; "
        "for a better one: polydub models pull resemblyzer",
    )


ENGINE = Engine(
    info=Info(
        kind="embedding",
        name="fingerprint",
        summary="Spectral fingerprint without weights, weaker than resemblyzer: hears the room as much as the voice",
        licence="Apache-2.0",
        homepage="https://en.wikipedia.org/wiki/Mel-frequency_cepstrum",
        memory_mib=(20, 0),
        parallel=0,
        features=frozenset({"untrained"}),
    ),
    options=FingerprintOptions,
    load=_load,
    check=lambda options: READY,
    languages=lambda options: None,
    remarks=_remarks,
)
