"""Who speaks when, and which segment is whose."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from polydub.engines.base import Calibration, SpeakerEncoder
from polydub.stages.listen import excerpt, sound_of
from polydub.types import BLOCK, RATE_HZ, Artifact, Excerpt, Notice, Samples, Segment, Span, Speech, Turn, seconds
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    from polydub.audio.clusters import Labels, Voices

LONG, SHORT = (1.6, 0.4), (1.0, 0.5)  # seconds, every so many seconds: to find speakers, to find where they change
MOST_CLUSTERED = 1500  # windows; their distances take 18 MB, and time grows with the square
LITTLE_S = 2.0  # less speech is one speaker
TRIM_S = 0.05  # taken off the padding of speech at both ends: miss and false alarm are then nearest to each other


@dataclass(frozen=True, slots=True)
class EmbedPiece:
    """Whole spans of speech (film seconds) that begin in one block of the film, and the sound around them."""

    sound: Excerpt
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Voiceprints:
    """What the voices in one EmbedPiece are like: vectors of unit length, float16 (windows, dimensions) as .npy.

    Attributes: longs, shorts: one row for each window of LONG and of SHORT, span by span in order of time.
    calibration: of the encoder that made them.
    """

    longs: Artifact
    shorts: Artifact
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Diarized:
    """Who speaks when.

    Attributes: turns: in order of time. Speakers are SPEAKER_00, SPEAKER_01 ... by first appearance. voiceprints: what
    each speaker is like, a vector of unit length in the space of the encoder.
    """

    turns: tuple[Turn, ...]
    voiceprints: Mapping[str, tuple[float, ...]]


def embed_pieces(speech: Speech) -> tuple[EmbedPiece, ...]:
    """The spans of speech, grouped by the block in which they begin; no speech gives none."""
    groups = [tuple(group) for _, group in groupby(speech.spans, lambda span: int(span.start * RATE_HZ) // BLOCK)]
    return tuple(EmbedPiece(excerpt(speech, group[0].start, group[-1].end), group) for group in groups)


@engine_stage("embed", "embedding")
def embed(work: Work, encoder: SpeakerEncoder, piece: EmbedPiece) -> Voiceprints:
    """What the voices in one piece are like, window by window."""
    sound, at = sound_of(work, piece.sound), piece.sound.start
    kept: list[Artifact] = []
    for name, (size_s, hop_s) in (("longs", LONG), ("shorts", SHORT)):
        inside = [Span(w.start - at, w.end - at) for span in piece.spans for w in _windows(span, size_s, hop_s)]
        kept.append(_keep(work, name, encoder.embed(sound, inside)))
    return Voiceprints(kept[0], kept[1], encoder.calibration)


def _windows(span: Span, size_s: float, hop_s: float) -> tuple[Span, ...]:
    from polydub.audio import clusters

    return clusters.windows(span, size_s, hop_s)


def _keep(work: Work, name: str, vectors: Samples) -> Artifact:
    import numpy as np

    file = work.scratch / f"{name}.npy"
    np.save(file, vectors.astype(np.float16), allow_pickle=False)
    return work.keep(file)


@stage("cluster")
def cluster(
    work: Work, voiceprints: tuple[Voiceprints, ...], spans: tuple[Span, ...], speakers: tuple[int, int] | None
) -> Diarized:
    """Turns and speakers, from all voiceprints of a film and the spans of speech that they were made from.

    `speakers` are the fewest and the most there can be: more are never found; fewer only with a notice. No speech gives
    no turns, speech of less than 2 s is one speaker. Turns do not overlap: where two speak at once, the louder is named.
    """
    from polydub.audio import clusters

    if not voiceprints:
        return Diarized((), {})
    limits = (1, 1) if sum(span.duration for span in spans) < LITTLE_S else speakers
    measured = voiceprints[0].calibration
    thresholds = clusters.Thresholds(measured.merge, measured.centred, measured.switch)
    voices, shorts = _chosen(work, voiceprints, spans), _all(work, [v.shorts for v in voiceprints])
    work.progress(0.2)
    labels = clusters.speakers(voices, shorts, thresholds, limits)
    work.progress(0.8)
    turns = _turns(spans, labels)
    vectors = clusters.centres(shorts, labels)
    if speakers and len(vectors) < speakers[0]:
        text = f"{len(vectors)} speakers were found where {speakers[0]} were told; nobody was made up"
        work.notice(Notice("fewer-speakers", text.replace("1 speakers were", "1 speaker was")))
    return Diarized(turns, {_name(n): tuple(round(float(x), 4) for x in row) for n, row in enumerate(vectors)})


def _name(number: int) -> str:
    return f"SPEAKER_{number:02d}"


def _chosen(work: Work, voiceprints: Sequence[Voiceprints], spans: Sequence[Span]) -> Voices:
    """The long windows that are clustered: all of them, or MOST_CLUSTERED evenly chosen ones."""
    import numpy as np

    from polydub.audio import clusters

    lengths = np.array([window.duration for span in spans for window in _windows(span, *LONG)])
    count = min(len(lengths), MOST_CLUSTERED)
    rows = np.arange(count) * len(lengths) // count
    kept: list[Samples] = []
    at = 0
    for file in (v.longs for v in voiceprints):
        vectors = np.load(work.path(file), mmap_mode="r", allow_pickle=False)
        kept.append(vectors[rows[(rows >= at) & (rows < at + len(vectors))] - at].astype(np.float32))
        at += len(vectors)
    return clusters.Voices(clusters.unit(np.concatenate(kept)), lengths[rows] * (len(lengths) / count))


def _all(work: Work, files: Sequence[Artifact]) -> Samples:
    import numpy as np

    from polydub.audio import clusters

    rows = [np.load(work.path(file), allow_pickle=False) for file in files]
    return clusters.unit(np.concatenate(rows).astype(np.float32))


def _turns(spans: Sequence[Span], labels: Labels) -> tuple[Turn, ...]:
    """Turns from the labels of all short windows; the padding of speech is trimmed where it touches no other speech."""
    from polydub.audio import clusters

    starts, ends = {span.start for span in spans}, {span.end for span in spans}
    turns: list[Turn] = []
    at = 0
    for span in spans:
        around = _windows(span, *SHORT)
        for part, label in clusters.runs(span, around, labels[at : at + len(around)]):
            start = part.start + (TRIM_S if part.start == span.start and span.start not in ends else 0.0)
            end = part.end - (TRIM_S if part.end == span.end and span.end not in starts else 0.0)
            _add(turns, Turn(seconds(start), seconds(end), _name(label)))
        at += len(around)
    return tuple(turns)


def _add(turns: list[Turn], turn: Turn) -> None:
    """Appends a turn, to the one before when the same speaker goes on; turns without length are dropped."""
    last = turns[-1] if turns else None
    if last and last.speaker == turn.speaker and last.end == turn.start:
        turns[-1] = replace(last, end=turn.end)
    elif turn.end > turn.start:
        turns.append(turn)


def assign(segments: tuple[Segment, ...], turns: tuple[Turn, ...]) -> tuple[Segment, ...]:
    """Each segment with the speaker who talks most during it, else the one whose turn is nearest in time.

    Turns may overlap and come in any order. Of two who talk equally long the earlier is taken. Without turns the segments
    stay as they are.
    """
    if not turns:
        return segments
    ordered = sorted(turns, key=lambda t: (t.start, t.end, t.speaker))
    starts = [turn.start for turn in ordered]
    longest = max(turn.duration for turn in ordered)
    return tuple(replace(s, speaker=_speaker(s, ordered, starts, longest)) for s in segments)


def _speaker(segment: Segment, ordered: Sequence[Turn], starts: Sequence[float], longest_s: float) -> str:
    near = ordered[bisect_left(starts, segment.start - longest_s - 0.001) : bisect_right(starts, segment.end)]
    shared: dict[str, float] = {}
    for turn in near:
        shared[turn.speaker] = shared.get(turn.speaker, 0.0) + segment.overlap(turn)
    best = max(shared, key=lambda name: shared[name], default="")
    if shared.get(best):
        return best
    return min(ordered, key=lambda turn: max(turn.start - segment.end, segment.start - turn.end)).speaker
