"""Who speaks when, and which segment is whose.

Three ways to turns: `embed` and `cluster`, piece by piece; `diarize`, by an engine that wants the whole film; `read_turns`,
from a file. Only those of `cluster` never overlap.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from polydub.engines.base import Calibration, Diarizer, SpeakerEncoder
from polydub.errors import BadEngineOutput, BadInput
from polydub.spans import bridged
from polydub.stages.listen import excerpt, sound_of
from polydub.types import BLOCK, RATE_HZ, Artifact, Excerpt, Notice, Samples, Segment, Span, Speech, Turn, seconds
from polydub.work import Work, engine_stage, stage

if TYPE_CHECKING:
    from polydub.audio.clusters import Voices

LATE_S = 1.0  # a turn may end so long after the film: annotations are rounded
PIECE_S = 30.0  # of sound that is held while a film is written out for an engine


@dataclass(frozen=True, slots=True)
class EmbedPiece:
    """Whole spans of speech (film seconds) that begin in one block of the film, and the sound around them."""

    sound: Excerpt
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Voiceprints:
    """What the voices in one EmbedPiece are like: vectors of unit length, float16 (windows, dimensions) as .npy.

    Attributes: longs, shorts: one row for each window of audio.turns' LONG and SHORT, span by span in order of time.
    calibration: of the encoder that made them.
    """

    longs: Artifact
    shorts: Artifact
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Diarized:
    """Who speaks when.

    Attributes: turns: in order of time. Speakers are SPEAKER_00, SPEAKER_01 ... by first appearance, or as a file names them.
    voiceprints: what each speaker is like, a vector of unit length in the space of the encoder, where there was one.
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
    from polydub.audio.turns import LONG, SHORT

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
    from polydub.audio import turns as t

    if not voiceprints:
        return Diarized((), {})
    limits = (1, 1) if sum(span.duration for span in spans) < t.LITTLE_S else speakers
    measured = voiceprints[0].calibration
    thresholds = clusters.Thresholds(measured.merge, measured.centred, measured.switch)
    voices, shorts = _chosen(work, voiceprints, spans), _all(work, [v.shorts for v in voiceprints])
    work.progress(0.2)
    labels = clusters.speakers(voices, shorts, thresholds, limits)
    work.progress(0.8)
    vectors = clusters.centres(shorts, labels)
    _check_number(work, len(vectors), speakers)
    prints = {t.name(n): tuple(round(float(x), 4) for x in row) for n, row in enumerate(vectors)}
    return Diarized(t.turns(spans, labels), prints)


def _check_number(work: Work, found: int, speakers: tuple[int, int] | None) -> None:
    """Tells where so many speakers are not what was told."""
    least, most = speakers or (0, found)
    if found < least:
        text = f"{found} speakers were found where {least} were told; nobody was made up"
        work.notice(Notice("fewer-speakers", text.replace("1 speakers were", "1 speaker was")))
    elif found > most:
        work.notice(Notice("more-speakers", f"{found} speakers were found where there are {most} at most: name another engine"))


def _chosen(work: Work, voiceprints: Sequence[Voiceprints], spans: Sequence[Span]) -> Voices:
    """The long windows that are clustered: all of them, or MOST_CLUSTERED evenly chosen ones."""
    import numpy as np

    from polydub.audio import clusters
    from polydub.audio.turns import LONG, MOST_CLUSTERED

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


@engine_stage("diarize", "diarization")
def diarize(work: Work, diarizer: Diarizer, sound: Excerpt, speakers: tuple[int, int] | None) -> Diarized:
    """Turns and speakers as an engine tells them that hears the whole film; they may overlap.

    `speakers` as in `cluster`; whether they are kept is the engine's affair, and told. Raises: BadEngineOutput.
    """
    from polydub.audio import pcm

    file = work.scratch / "film.wav"
    starts = range(0, max(1, round(sound.duration * 1000)), round(PIECE_S * 1000))
    parts = (replace(sound, start=ms / 1000, end=min(sound.end, ms / 1000 + PIECE_S)) for ms in starts)
    pcm.write_pcm(file, (sound_of(work, part).samples for part in parts))
    work.progress(0.1)
    found = diarizer.diarize(file, range(speakers[0], speakers[1] + 1) if speakers else None)
    turns = _named(_within(found, sound.duration))
    if turns:
        _check_number(work, len({turn.speaker for turn in turns}), speakers)
    return Diarized(turns, {})


def _within(found: Sequence[Turn], film_s: float) -> tuple[Turn, ...]:
    """The turns in order, inside the film; those of one speaker that meet are one. Raises: BadEngineOutput."""
    if not all(math.isfinite(time) for turn in found for time in (turn.start, turn.end)):
        raise BadEngineOutput("the diarization engine gave times that are no numbers")
    made: list[Turn] = []
    for speaker in dict.fromkeys(turn.speaker for turn in found):
        own = (Span(max(0.0, seconds(t.start)), min(film_s, seconds(t.end))) for t in found if t.speaker == speaker)
        made += [Turn(s.start, s.end, speaker) for s in bridged([span for span in own if span.end > span.start], 0.001)]
    return tuple(sorted(made, key=lambda t: (t.start, t.end, t.speaker)))


def _named(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The same with names by first appearance."""
    names = {old: f"SPEAKER_{n:02d}" for n, old in enumerate(dict.fromkeys(turn.speaker for turn in turns))}
    return tuple(replace(turn, speaker=names[turn.speaker]) for turn in turns)


@stage("read_turns")
def read_turns(work: Work, file: Artifact, name: str, film_s: float) -> Diarized:
    """Turns and speakers from an RTTM file, where it tells of several recordings those of `name`. Raises: BadInput.

    Turns beyond the end of the film are left out, and told.
    """
    from polydub.text import rttm

    given = rttm.parse(work.path(file).read_bytes(), "the RTTM file", name)
    turns = _within(given, film_s)
    late = sum(turn.end > film_s + LATE_S for turn in given)
    if late:
        work.notice(
            Notice("turns-outside", f"{late} of {len(given)} turns of the RTTM file go beyond the film: is it of this one?")
        )
    if not turns:
        raise BadInput("no turn of the RTTM file lies in the film", "give the file that belongs to this film")
    return Diarized(turns, {})


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
