"""Whether a take can be what was asked for: cut off at its end, far too short or far too long for its text.

The bounds were measured on 1,000 takes of espeak-ng (50 lines of talks in en, de, es, fr, it, four voices each), on single
sentences in 22 more languages, and on real recordings of people who read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polydub.types import Samples

FRAME_S = 0.005
FLOOR = 10**-6.5  # power of a frame that counts as sound: -65 dBFS
END_S = 0.02  # the end of a take, within which a voice that was not cut off has died away
# Speech ends far below this: the loudest end of 1,000 takes of espeak-ng was at -57 dB, of 32 sentences of LJSpeech at -30 dB,
# of 12 short ones of another corpus one at -18 dB. Cut at a random point 83 % of the first and 77 % of the second are louder;
# the others were cut in a pause or in a soft sound.
END_DB = -25.0
# Seconds / predicted seconds went from 0.54 to 1.94, and from 0.76 to 1.42 where more than a second was predicted; the
# largest overrun, an address of a web page, stays 0.7 s below the bound.
SHORTEST, LONGEST = 0.4, 2.5
SLACK_S = (0.3, 0.7)  # less and more that is always allowed: a single word, a number


@dataclass(frozen=True, slots=True)
class Take:
    """Sound as an engine gave it, mono (n,), and the samples between which it is audible."""

    samples: Samples
    rate_hz: int
    start: int
    end: int


def doubts(take: Take, expected_s: float) -> tuple[str, ...]:
    """What is wrong with an audible take: "cut-off", "too-short", "too-long". `expected_s`: seconds its text should take.

    Where nothing is expected (0.0: a text without a word) its length is not judged. Empty sound is too short.
    """
    found: list[str] = []
    if end_db(take.samples, take.rate_hz) > END_DB:
        found.append("cut-off")
    took = (take.end - take.start) / take.rate_hz
    if expected_s > 0 and took < SHORTEST * expected_s - SLACK_S[0]:
        found.append("too-short")
    if expected_s > 0 and took > LONGEST * expected_s + SLACK_S[1]:
        found.append("too-long")
    return tuple(found)


def end_db(samples: Samples, rate_hz: int) -> float:
    """How loud the last 20 ms are beside the loud parts (the 95th percentile of 5 ms that are not silent), in dB.

    -120 for silence or no samples.
    """
    frame = max(1, round(FRAME_S * rate_hz))
    whole = samples[len(samples) % frame :].reshape(-1, frame)
    powers = np.einsum("ij,ij->i", whole, whole) / frame
    heard = powers[powers > FLOOR]
    if not heard.size:
        return -120.0
    last = powers[-max(1, round(END_S / FRAME_S)) :].mean()
    return float(10 * np.log10(max(float(last), 1e-12) / float(np.percentile(heard, 95))))
