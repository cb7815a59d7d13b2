"""Whether one person or several are heard in a recording, and whether two recordings are of one person.

Several in one are told as follows, of 45 pairs of ten people (LibriSpeech, LJSpeech, VibeVoice's, LibriVox); wrongly in none of
181 recordings of one person, of which the doubtful ones lie 0.51 (fingerprint) and 0.25 (resemblyzer) apart:

| told by | bound | 8 s, halves | 12 s, halves | 12 s, a quarter | 20 s, halves | 24 s, six turns | three people |
|---|---|---|---|---|---|---|---|
| fingerprint | 0.54 | 23 of 45 | 39 of 45 | 17 of 45 | 38 of 45 | 35 of 45 | 20 of 20 |
| resemblyzer | 0.28 | 30 of 45 | 42 of 45 | 26 of 45 | 45 of 45 | 40 of 45 | 20 of 20 |

Two who speak at once are not told.

Whether two recordings of 12 s are of one person, of nine people (LibriSpeech, LJSpeech, VibeVoice's) as they are and as from
other microphones and rooms (300-3400 Hz, dull, bright, echoes of 0.5 and 0.8 s, noise 20 and 12 dB below, MP3 at 32 kbit/s,
and two mixtures): 9,130 pairs of one person and 84,337 of two. Cosine distances, and what lies beyond two bounds:

| told by | one person, as they are: most | on a telephone | a far echo | 12 dB of noise | 99 % of all pairs |
|---|---|---|---|---|---|
| fingerprint | 0.43 | 0.84 | 0.98 | 1.41 | 1.20 |
| resemblyzer | 0.16 | 0.37 | 0.39 | 0.30 | 0.39 |

| told by | bound | beyond it of one person's | of two people's |
|---|---|---|---|
| fingerprint | 0.54: worth a word | 29 %, none where the microphone is the same | 85 %, 94 % |
| fingerprint | `other` 1.4: sure | less than 0.1 % | 2 % |
| resemblyzer | 0.28: worth a word | 30 %, none where the microphone is the same | 99 %, 99.6 % |
| resemblyzer | `other` 0.42: sure | 0.3 % | 71 % |

So a fingerprint hears the microphone as much as the person. Importing this costs nothing; numpy comes with a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polydub.engines.base import Calibration, SpeakerEncoder
from polydub.types import HEAR_HZ, Audio, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

APART, FAR_APART = 0.8, 1.1  # shares of `Calibration.merge` beyond which two voices are two people, and are so without doubt
FEWEST, FEW = 3, 0.15  # windows that a second voice needs, and share of all of them
WINDOW_S, HOP_S, LEAST_S = 1.6, 0.4, 0.8  # of one voiceprint


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a recording sounds like to an encoder. Attributes: numbers: of unit length. bound, sure: cosine distances beyond
    which another recording may be of somebody else, and is so in whatever way both were recorded."""

    numbers: tuple[float, ...]
    bound: float
    sure: float = 2.0

    def apart(self, other: Likeness) -> float:
        """Cosine distance, 0 to 2."""
        return 1 - sum(a * b for a, b in zip(self.numbers, other.numbers, strict=True))


def voiceprints(sound: Audio, speech: Sequence[Span], encoder: SpeakerEncoder) -> Samples:
    """One row for each window of speech in a recording (1, n), in order of time; none where nobody speaks."""
    from polydub.audio import clusters, signal

    windows = [w for s in speech for w in clusters.windows(s, WINDOW_S, HOP_S) if w.end - w.start >= LEAST_S]
    return encoder.embed(Audio(signal.resample(sound.samples, sound.rate_hz, HEAR_HZ), HEAR_HZ), windows)


def likeness(rows: Samples, calibration: Calibration) -> Likeness | None:
    """Of all of a recording; None without voiceprints."""
    return Likeness(tuple(map(float, _middle(rows))), APART * calibration.merge, calibration.other) if len(rows) else None


def _middle(rows: Samples) -> Samples:
    from polydub.audio import clusters

    return clusters.unit(rows.mean(axis=0))


def apart(rows: Samples, calibration: Calibration) -> float:
    """How far apart the two most different voices are that windows can be parted into; 0.0 for too few windows.

    They are parted at one stretch that is most unlike the rest, and by groups of windows that are alike; then each window goes
    to the nearer voice, at a cost for every change of speaker, since one person's sounds differ as voices do, but not for long.
    """
    import numpy as np

    from polydub.audio import clusters

    least = max(FEWEST, FEW * len(rows))
    if len(rows) < 2 * least:
        return 0.0
    found, stretch = _stretch(rows, least)
    for start in (stretch, *_groups(rows)):
        labels = start
        for _ in range(2):
            middles = np.stack([_middle(rows[labels == n]) for n in (0, 1)])
            labels = clusters.viterbi(rows @ middles.T, calibration.switch[0])
            if not 0 < labels.sum() < len(labels):
                break
        if least <= labels.sum() <= len(labels) - least:
            found = max(found, 1 - float(_middle(rows[labels == 0]) @ _middle(rows[labels == 1])))
    return found


def _stretch(rows: Samples, least: float) -> tuple[float, NDArray[np.int64]]:
    """The stretch of windows whose mean is most unlike that of the rest: its distance, and 1 for each window in it."""
    import numpy as np

    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    products = sums @ sums.T
    squares, whole = products.diagonal(), products[-1]
    inside = squares[None, :] - 2 * products + squares[:, None]  # of the sum over windows i to j, squared
    across = whole[None, :] - whole[:, None]  # of it and the sum of all
    cosines = (across - inside) / np.sqrt(np.maximum(inside * (squares[-1] - 2 * across + inside), 1e-12))
    lengths = np.arange(len(sums))[None, :] - np.arange(len(sums))[:, None]
    distances = np.where((lengths >= least) & (lengths <= len(rows) - least), 1 - cosines, -1.0)
    start, end = divmod(int(distances.argmax()), len(sums))
    labels = np.zeros(len(rows), np.int64)
    labels[start:end] = 1
    return float(distances[start, end]), labels


def _groups(rows: Samples) -> Iterator[NDArray[np.int64]]:
    """The two largest of 2 to 5 groups of windows: 0 and 1, -1 elsewhere; a few odd ones may be parted from the rest first."""
    import numpy as np

    from polydub.audio import IMPORTING

    with IMPORTING:
        from scipy.cluster.hierarchy import fcluster, linkage  # pyright: ignore[reportMissingTypeStubs]
        from scipy.spatial.distance import squareform

    distances = np.clip(1 - rows @ rows.T, 0, None).astype(np.float64)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform((distances + distances.T) / 2, checks=False), "average")
    for count in range(2, 6):
        labels = fcluster(tree, count, "maxclust")
        one, other = np.argsort(-np.bincount(labels), kind="stable")[:2]
        if min(np.count_nonzero(labels == one), np.count_nonzero(labels == other)) > 1:
            yield np.where(labels == one, 0, np.where(labels == other, 1, -1)).astype(np.int64)
