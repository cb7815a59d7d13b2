"""Of what somebody says in a film, that from which a voice is best cloned: how clean parts are, which are taken, joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydub.audio import loudness, signal
from polydub.types import RATE_HZ, Samples

LEAST_S, GOAL_S, MOST_S = 6.0, 12.0, 15.0  # of sound in a reference: engines gain little from more, and lose by less
FRAME = RATE_HZ // 50  # 20 ms
SNAP_S = 0.4  # how far the edge of a part may move inwards, to where it is quietest
PAUSE_S = 0.15  # between two parts
FADE_S = 0.01
LOUDNESS_LUFS, PEAK = -23.0, 10 ** (-3 / 20)
CLIPPED_SHARE = 1e-4  # of the samples: at most 6e-5 in 129 parts of 4 s of real speech that was not clipped
INAUDIBLE_DB = 25.0  # noise so far below the voice does not count any more
SECOND_DB = 1.0  # what a second more is worth against cleaner sound
CLIPPED_DB = 10.0  # what being cut off costs
NEAR_S, NEAR_DB = 30.0, 4.0  # parts of one moment of the film cost: they are of one mood and one place
DIRTY_DB, WORSE_DB = 10.0, 10.0  # a part that is so near its noise, or so much nearer than the best, is not added for length
FLOOR_DB = -75.0  # full scale: what is below is taken for silence

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clean:
    """How clean speech is. snr_db: of its loud moments to what is left in its pauses, or around it. clipped: is it cut off."""

    snr_db: float
    clipped: bool


def clean(speech: Samples, rest: Samples | None = None) -> Clean:
    """How clean the `speech` (n,) at RATE_HZ is; `rest` (n,) is what was taken away from it, if anything was.

    Noise is what is heard in the quietest twentieth of 20-ms stretches. What was taken away counts as well, since some of it
    is always left. Silence has 0 dB.
    """
    power = _powers(speech)
    if not power.size or power.max() <= 0:
        return Clean(0.0, clipped=False)
    loud = float(np.percentile(power, 90))
    floor = 10 ** (FLOOR_DB / 10)
    snr_db = 10 * np.log10(max(loud, floor) / max(float(np.percentile(power, 5)), floor))
    if rest is not None:
        left = _powers(rest)[power <= np.percentile(power, 25)]  # between words: elsewhere it holds some of the voice itself
        snr_db = min(snr_db, 10 * np.log10(max(loud, floor) / max(float(left.mean()), floor)))
    return Clean(round(float(snr_db), 1), clipped(speech))


def clipped(speech: Samples) -> bool:
    """Whether more than CLIPPED_SHARE of the samples (n,) are within 1 % of the highest."""
    level = np.abs(speech)
    peak = float(level.max(initial=0.0))
    return peak > 0 and float(np.mean(level >= 0.99 * peak)) > CLIPPED_SHARE


def _powers(mono: Samples) -> Floats:
    count = len(mono) // FRAME
    return np.mean(np.square(mono[: count * FRAME].reshape(count, FRAME), dtype=np.float64), axis=1)


def trimmed(speech: Samples) -> tuple[int, int]:
    """First and last + 1 sample of `speech` (n,) when both edges move inwards to where it is quietest, SNAP_S at most."""
    power = _powers(speech)
    reach = min(round(SNAP_S * RATE_HZ) // FRAME, len(power) // 4)
    if reach < 1:
        return 0, len(speech)
    first = reach - 1 - int(np.argmin(power[:reach][::-1]))  # of equally quiet ones that which is nearest to the voice
    last = len(power) - reach + int(np.argmin(power[len(power) - reach :]))
    return first * FRAME, (last + 1) * FRAME


@dataclass(frozen=True, slots=True)
class Part:
    """A part that may be taken: when it begins in the film, how long it is, in seconds, and how clean."""

    start: float
    seconds: float
    clean: Clean


def chosen(parts: Sequence[Part]) -> list[int]:
    """Which of the parts to take, in order of time: clean and long ones, from several places, GOAL_S in all at best.

    Never more than MOST_S, and nothing noisy or cut off beside clean parts once there are LEAST_S.
    """
    left = list(range(len(parts)))
    best = max((part.clean.snr_db for part in parts), default=0.0)
    taken: list[int] = []
    total = 0.0  # without pauses
    while left and total < GOAL_S:
        n = max(left, key=lambda n: (_worth(parts[n], [parts[m] for m in taken]), -n))
        left.remove(n)
        poor = parts[n].clean.clipped or parts[n].clean.snr_db < max(DIRTY_DB, best - WORSE_DB)
        if total + parts[n].seconds + PAUSE_S * len(taken) > MOST_S or (poor and total >= LEAST_S):
            continue
        total += parts[n].seconds
        taken.append(n)
    return sorted(taken, key=lambda n: parts[n].start)


def _worth(part: Part, taken: Sequence[Part]) -> float:
    near = sum(abs(part.start - other.start) < NEAR_S for other in taken)
    clean = min(part.clean.snr_db, INAUDIBLE_DB) - CLIPPED_DB * part.clean.clipped
    return clean + SECOND_DB * part.seconds - NEAR_DB * near


def joined(parts: Sequence[Samples]) -> Samples:
    """The parts (n,) at RATE_HZ one after the other as (1, n): faded, parted by short pauses, as loud as each other.

    Each has LOUDNESS_LUFS unless its peaks forbid it. No parts, or silence, give what they are.
    """
    pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(round(FADE_S * RATE_HZ)) + 0.5) / round(FADE_S * RATE_HZ))).astype(np.float32)
    row: list[Samples] = []
    for part in parts:
        sound = part * signal.gain(_wanted_db(part))  # each: a whisper must not lie beside a shout
        edge = min(len(ramp), len(sound) // 2)
        sound[:edge] *= ramp[:edge]
        sound[len(sound) - edge :] *= ramp[::-1][len(ramp) - edge :]
        row += [pause, sound] if row else [sound]
    return np.concatenate(row)[np.newaxis].astype(np.float32) if row else np.zeros((1, 0), np.float32)


def _wanted_db(part: Samples) -> float:
    peak = float(np.abs(part).max(initial=0.0))
    if peak <= 0:
        return 0.0
    return min(LOUDNESS_LUFS - loudness.whole(part[np.newaxis]), signal.decibels(PEAK / peak))
