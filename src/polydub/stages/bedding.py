"""What each block of the film needs to be rendered, and nothing else: so an edit renders one or two blocks again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from polydub.audio.mix import BRIDGE_S, Ducking, Held
from polydub.audio.perspective import TAIL, Room
from polydub.audio.roomtone import LocalTone, RoomTone
from polydub.spans import bridged
from polydub.stages.nonspeech import NOTHING, Nonspeech, holes, without
from polydub.types import BLOCK, FRAME, RATE_HZ, Artifact, Sound, Span, seconds

PRE = 64 * FRAME  # encoded before a block and dropped; with fewer frames joins are heard (measured up to 33 dB over one piece)
POST = 4 * FRAME  # the encoder looks ahead
MARGIN = 2048  # samples beyond both for the limiter's reach of 960
FADE_S = 1.0  # farther than any fade of the dialogue
RESIDUE_DB = 15.0  # so far below the original's dialogue, and so below the dub, what is left of it is not heard


@dataclass(frozen=True, slots=True)
class Laying:
    """A take on the film: where it begins, in samples, and its gain; `channels`: of the file."""

    sound: Artifact
    start: int
    frames: int
    gain_db: float
    channels: int = 1


@dataclass(frozen=True, slots=True)
class Bedding:
    """How the source's own sound steps back under the dub, and in which room the dub is.

    Attributes: ducking_db: by how much where its dialogue could not be separated, at most. dialogue: the separated
    dialogue of each block of the source, None where there is none; None = no separation at all. could_not: where it
    failed; there the sound is ducked. residue_db: of each block, how loud what is left of the dialogue is beside the
    dialogue; empty = not known, and not ducked. room: what holes in the separated background are filled up to where
    `tones`, those of the pauses in order of time, tell nothing nearer; None = left as they are. attack_s, release_s: of
    the ducking. perspective: None = the dub stays as dry as it is. nonspeech: where dialogue stays, and where more of it goes.
    """

    ducking_db: float
    dialogue: tuple[Artifact | None, ...] | None = None
    could_not: tuple[Span, ...] = ()
    room: RoomTone | None = None
    tones: tuple[LocalTone, ...] = ()
    residue_db: tuple[float, ...] = ()
    attack_s: float = 0.12
    release_s: float = 0.35
    perspective: Room | None = None
    nonspeech: Nonspeech = NOTHING

    @property
    def ducking(self) -> Ducking:
        """Depth and ramps."""
        return Ducking(self.ducking_db, self.attack_s, self.release_s)


@dataclass(frozen=True, slots=True)
class Block:
    """All that is needed to render samples `first` to `first + frames` of a film of `film` samples.

    Attributes: bed: the source's blocks around it, the first of them number `bed_first`. layings: the takes that matter
    to it. dialogue: what is to be taken out of each of `bed`, under `spans`; empty = nothing was separated. could_not:
    where it was not, so that the dub ducks the bed; with empty `dialogue` it does so everywhere. held: where the bed is
    down whether the dub speaks or not. ducking: None = nothing is ducked here. Spans are clipped to the neighbourhood.
    """

    first: int
    frames: int
    film: int
    channels: int
    layout: str
    bed_first: int
    bed: tuple[Artifact, ...]
    layings: tuple[Laying, ...] = ()
    held: tuple[Held, ...] = ()
    ducking: Ducking | None = None
    dialogue: tuple[Artifact | None, ...] = ()
    spans: tuple[Span, ...] = ()
    could_not: tuple[Span, ...] = ()
    tones: tuple[LocalTone, ...] = ()
    perspective: Room | None = None

    @property
    def follows(self) -> bool:
        """Whether the bed follows the dub's own level somewhere in it."""
        return self.ducking is not None and (not self.dialogue or bool(self.could_not))

    @property
    def reach(self) -> tuple[int, int]:
        """How far takes before and after a stretch of sound matter to it, in samples."""
        ducking = round(self.ducking.reach_s * RATE_HZ) if self.ducking and self.follows else 0
        return ducking + (TAIL if self.perspective else 0), ducking


def blocks(sound: Sound, laid: Sequence[Laying], talk: Sequence[Span], bedding: Bedding | float) -> Iterator[Block]:
    """Cuts the film; `talk` is where the original speaks. Its dialogue goes there, and where the dub speaks."""
    how = bedding if isinstance(bedding, Bedding) else Bedding(bedding)
    takes = [Span(x.start / RATE_HZ, (x.start + x.frames) / RATE_HZ) for x in laid]
    said, spans = bridged(talk, BRIDGE_S), bridged([*talk, *takes, *how.nonspeech.gone], BRIDGE_S)
    if how.nonspeech.kept:
        left = holes(how.nonspeech, takes)
        said, spans = without(said, left), without(spans, left)
    for first in range(0, sound.frames, BLOCK):
        frames = min(BLOCK, sound.frames - first)
        low, high = first - PRE - MARGIN, first + frames + POST + MARGIN
        beds = range(max(0, low // BLOCK), min(len(sound.blocks), -(-high // BLOCK)))
        bed = tuple(sound.blocks[n] for n in beds)
        block = Block(first, frames, sound.frames, sound.channels, sound.layout, beds.start, bed, perspective=how.perspective)
        near = Span(low / RATE_HZ, high / RATE_HZ)
        block = _ducked(block, how, said, near) if how.dialogue is None else _separated(block, how, (said, spans), near)
        before, after = block.reach
        inside = tuple(x for x in laid if x.start < high + after and x.start + x.frames > low - before)
        yield replace(block, layings=inside) if inside or block.held or block.dialogue else replace(block, ducking=None)


def _ducked(block: Block, how: Bedding, said: Sequence[Span], near: Span) -> Block:
    """`block` where nothing was separated: down under the talk, and as the dub wants."""
    held = tuple(Held(s.start, s.end, how.ducking_db) for s in _clipped(said, near, how.ducking.reach_s))
    return replace(block, held=held, ducking=how.ducking)


def _separated(block: Block, how: Bedding, spans: tuple[Sequence[Span], Sequence[Span]], near: Span) -> Block:
    """`block` with what is to be taken out of it, and without what then cannot be heard in it."""
    said, under = spans
    dialogue: list[Artifact | None] = []
    fading = _clipped(under, near, FADE_S)
    for number in range(block.bed_first, block.bed_first + len(block.bed)):
        around = Span(number * BLOCK / RATE_HZ - 1, (number + 1) * BLOCK / RATE_HZ + 1)
        heard = any(span.overlap(around) > 0 for span in fading)
        dialogue.append(how.dialogue[number] if how.dialogue and heard else None)
    reach = how.ducking.reach_s
    could_not, talk = _clipped(how.could_not, near, reach), _clipped(said, near, reach)
    held = tuple(Held(s.start, s.end, how.ducking_db) for span in could_not for s in _clipped(talk, span))
    held += tuple(_residual(how, talk, near)) if any(dialogue) else ()
    return replace(
        block,
        held=held,
        ducking=how.ducking if held or could_not else None,
        dialogue=tuple(dialogue),
        spans=fading,
        could_not=could_not,
        tones=_nearest(how, near) if any(dialogue) else (),
    )


def _residual(how: Bedding, talk: Sequence[Span], near: Span) -> Iterator[Held]:
    """Where the bed is held down since something of its dialogue is left: block by block, only as much as is needed."""
    for number, left in enumerate(how.residue_db):
        depth = round(min(left + RESIDUE_DB, how.ducking_db), 1)
        block = Span(seconds(number * BLOCK / RATE_HZ), seconds((number + 1) * BLOCK / RATE_HZ))
        if depth > 0 and block.overlap(Span(near.start - how.ducking.reach_s, near.end + how.ducking.reach_s)) > 0:
            yield from (Held(s.start, s.end, depth) for s in _clipped(talk, block))


def _nearest(how: Bedding, near: Span) -> tuple[LocalTone, ...]:
    """The room tones inside `near` and the next ones on both sides."""
    if not how.tones:
        return (LocalTone(how.room.level_dbfs, how.room.bands_db),) if how.room and how.room.fills else ()
    first = max(0, bisect_left(how.tones, near.start, key=lambda tone: tone.time) - 1)
    return how.tones[first : bisect_right(how.tones, near.end, key=lambda tone: tone.time) + 1]


def _clipped(spans: Sequence[Span], near: Span, reach_s: float = 0.0) -> tuple[Span, ...]:
    """The parts of `spans` inside `near` and `reach_s` around it."""
    wide = Span(seconds(near.start - reach_s), seconds(near.end + reach_s))
    near_it = (span for span in spans if span.end > wide.start and span.start < wide.end)  # of a long film all blocks ask
    inside = (span for span in near_it if span.overlap(wide) > 0)
    return tuple(Span(seconds(max(s.start, wide.start)), seconds(min(s.end, wide.end))) for s in inside)
