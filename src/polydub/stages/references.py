"""Recordings of the speakers, cut from the film itself: what their voices are cloned from.

Nothing here depends on what is said, only on who speaks when and on the sound: no edit of a text cuts them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from polydub.stages.match import alone, cut
from polydub.stages.separate import Separated
from polydub.types import BLOCK, RATE_HZ, Artifact, Samples, Sound, Span, Turn, seconds
from polydub.work import Work, stage

if TYPE_CHECKING:
    from polydub.audio.reference import Part

EDGE_S = 0.3  # kept away from what others say: turns are not exact to the word
PART_S = 5.0  # longer ones are cut, so that the voice is heard in several places
SHORT_S = 1.2  # shorter parts are used only where there is nothing else
LOOKED_S = 60.0  # of sound that is looked at for one speaker
PLACES = 6  # regions of the film, of each of which the longest parts are looked at
FIRST_S = 6.0  # of a speaker's speech, where the clean parts do not make a reference
SHORTEST_S = 0.1  # of a part of it
LEAST_S = 2.0  # of sound; less makes no voice
NOISY_DB = 12.0  # a reference whose noise is nearer than this clones the noise with the voice


@dataclass(frozen=True, slots=True)
class Stretch(Span):
    """Where somebody speaks alone, in film seconds: the blocks of the sound it lies in, the first of them number `first`.

    Attributes: dialogue: that of each block; None where none was taken out of it.
    """

    first: int = 0
    sound: tuple[Artifact, ...] = ()
    dialogue: tuple[Artifact | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Sitter:
    """One speaker. best: stretches away from the speech of others; first: those with which the speaker's speech begins."""

    best: tuple[Stretch, ...]
    first: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a voice is cloned from.

    Attributes: sound: mono FLAC at RATE_HZ, -23 LUFS; None where there is too little speech. parts: where in the film it comes
    from. duration: seconds, with the pauses between parts. snr_db: of the noisiest part. clipped: so is one of them.
    picked: from the best parts; else from the first of the speech. separated: from the dialogue alone.
    """

    sound: Artifact | None
    parts: tuple[Span, ...] = ()
    duration: float = 0.0
    snr_db: float = 0.0
    clipped: bool = False
    picked: bool = True
    separated: bool = False


def sitter(turns: Sequence[Turn], heard: Sequence[Span], speaker: str, film: Film) -> Sitter:
    """What of a film a reference of `speaker` may be made from; `heard` is where anybody speaks, () = not known."""
    best = [part for span in alone(turns, heard, speaker, EDGE_S) for part in cut(span, PART_S)]
    long = [part for part in best if part.duration >= SHORT_S] or best
    first: list[Span] = []
    for part in (p for span in alone(turns, heard, speaker, 0.0) for p in cut(span, FIRST_S)):
        if (left := FIRST_S - sum(p.duration for p in first)) < SHORTEST_S:
            break
        first.append(Span(part.start, seconds(min(part.end, part.start + left))))
    return Sitter(tuple(film.stretch(p) for p in _looked(long)), tuple(film.stretch(p) for p in first))


def _looked(parts: Sequence[Span]) -> list[Span]:
    """About LOOKED_S of the parts, the longest of each region of the film in turn, in order of time."""
    regions = [parts[len(parts) * n // PLACES : len(parts) * (n + 1) // PLACES] for n in range(PLACES)]
    ranked = [sorted(region, key=lambda p: (-p.duration, p.start)) for region in regions]
    chosen: list[Span] = []
    for part in (p for several in zip_longest(*ranked) for p in several if p is not None):
        if sum(p.duration for p in chosen) >= LOOKED_S:
            break
        chosen.append(part)
    return sorted(chosen, key=lambda p: p.start)


@dataclass(frozen=True)
class Film:
    """The sound of a film, and of each of its blocks the dialogue alone; () where none was taken out."""

    sound: Sound
    separated: tuple[Separated, ...] = ()

    def stretch(self, span: Span) -> Stretch:
        """The blocks in which `span` lies."""
        first = round(span.start * RATE_HZ) // BLOCK
        last = max(first, (round(span.end * RATE_HZ) - 1) // BLOCK)
        files = self.sound.blocks[first : last + 1]
        alone = tuple(s.dialogue for s in self.separated[first : last + 1]) or (None,) * len(files)
        return Stretch(span.start, span.end, first, files, alone)


@dataclass(frozen=True)
class _Piece:
    """A stretch as it is heard: the samples (n,), its film time, and how clean it is."""

    speech: Samples
    span: Span
    part: Part
    separated: bool


@stage("reference", version=2)
def reference(work: Work, sitter: Sitter, layout: str) -> Reference:
    """6 to 15 s of one speaker, clean and from several places of the film, or the first 6 s of what they say.

    `layout` is the sound's. Parts begin and end where it is quiet, are equally loud, faded and parted by short pauses.
    """
    from polydub.audio.reference import LEAST_S as ENOUGH_S
    from polydub.audio.reference import chosen

    pieces = list(_pieces(work, sitter.best, layout))
    taken = [pieces[n] for n in chosen([piece.part for piece in pieces])]
    if sum(piece.part.seconds for piece in taken) >= ENOUGH_S:
        return _kept(work, taken, picked=True)
    first = list(_pieces(work, sitter.first, layout))
    return _kept(work, first, picked=False)


def _pieces(work: Work, stretches: Sequence[Stretch], layout: str) -> Iterator[_Piece]:
    """The stretches with their edges moved to where it is quiet; those in which nothing is heard are left out."""
    from polydub.audio import reference as r

    for stretch in stretches:
        whole = _read(work, stretch, stretch.sound, layout)
        separated = all(stretch.dialogue) and bool(stretch.dialogue)
        speech = _read(work, stretch, [d for d in stretch.dialogue if d], layout) if separated else whole
        low, high = r.trimmed(speech)
        rest = (whole - speech)[low:high] if separated else None
        heard = speech[low:high]
        if not heard.any():
            continue
        start = stretch.start + low / RATE_HZ
        span = Span(seconds(start), seconds(start + (high - low) / RATE_HZ))
        yield _Piece(heard, span, r.Part(span.start, (high - low) / RATE_HZ, r.clean(heard, rest)), separated)


def _read(work: Work, stretch: Stretch, files: Sequence[Artifact], layout: str) -> Samples:
    """The samples (n,) of a stretch, mono."""
    import numpy as np

    from polydub.media.flac import read_flac

    start, stop = round(stretch.start * RATE_HZ), round(stretch.end * RATE_HZ)
    parts: list[Samples] = []
    for number, file in enumerate(files, stretch.first):
        begin, end = max(start, number * BLOCK), min(stop, (number + 1) * BLOCK)
        if begin < end:
            parts.append(_mono(read_flac(work.path(file), begin - number * BLOCK, end - begin), layout)[0])
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _mono(samples: Samples, layout: str) -> Samples:
    """(channels, n) as (1, n), as listening engines hear it."""
    if not layout:
        return samples.mean(axis=0, keepdims=True)
    from polydub.audio import layouts

    return layouts.listening_gains(layout, samples.shape[0])[None] @ samples


def _kept(work: Work, pieces: Sequence[_Piece], *, picked: bool) -> Reference:
    from polydub.audio.reference import clean, joined
    from polydub.media.flac import write_flac

    if sum(piece.part.seconds for piece in pieces) < LEAST_S:
        return Reference(None, picked=picked)
    sound = joined([piece.speech for piece in pieces])
    file = work.scratch / "reference.flac"
    write_flac(file, sound)
    return Reference(
        work.keep(file),
        tuple(piece.span for piece in pieces),
        seconds(sound.shape[1] / RATE_HZ),
        min(clean(piece.speech).snr_db for piece in pieces),  # as engines hear it, whatever was taken away
        any(piece.part.clean.clipped for piece in pieces),
        picked,
        all(piece.separated for piece in pieces),
    )
