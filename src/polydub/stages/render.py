"""From placed takes to a file one can play: blocks, levels, mix, subtitles, mux.

Everything that is heard is made in blocks of 30 s that know only what is near them. So all cores work, memory does not
know the length of the film, and an edit renders one or two blocks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polydub.audio.roomtone import RoomTone
from polydub.audio.scenes import level_at
from polydub.stages.levelling import SourceLevels
from polydub.stages.listen import PEAKS_HZ, Heard
from polydub.types import BLOCK, FRAME, RATE_HZ, Artifact, Energies, Notice, Placement, Sound, Span, Take, bridged, seconds
from polydub.wants import Mixing
from polydub.work import Work, stage

if TYPE_CHECKING:
    from polydub.types import Samples

PRE = 64 * FRAME  # encoded before a block and dropped; with fewer frames joins are heard (measured up to 33 dB over one piece)
POST = 4 * FRAME  # the encoder looks ahead
MARGIN = 2048  # samples beyond both for the limiter's reach of 960
REACH_S = 2.0  # farther than any ramp of the ducking
BRIDGE_S = 0.8  # in shorter pauses the bed does not come up
HEADROOM_DB = 1.5  # what AAC usually adds to true peaks; more is taken where a block needs it


@dataclass(frozen=True, slots=True)
class Laying:
    """A take on the film: where it begins, in samples, and its gain."""

    sound: Artifact
    start: int
    frames: int
    gain_db: float


@dataclass(frozen=True, slots=True)
class Bedding:
    """How the source's own sound steps back under the dub.

    Attributes: ducking_db: by how much where its dialogue could not be separated. dialogue: the separated dialogue of
    each block of the source, None where there is none; None = no separation at all. could_not: where it failed; there
    the sound is ducked. room: what holes in the separated background are filled up to; None = left as they are.
    """

    ducking_db: float
    dialogue: tuple[Artifact | None, ...] | None = None
    could_not: tuple[Span, ...] = ()
    room: RoomTone | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """All that is needed to render samples `first` to `first + frames` of a film of `film` samples.

    Attributes: bed: the source's blocks around it, the first of them number `bed_first`. dialogue: what is to be taken
    out of each of them; empty = nothing was separated, all is ducked. spans: where the bed steps back, clipped to the
    neighbourhood. ducked: where it is ducked, clipped. layings: the takes that reach into the neighbourhood.
    """

    first: int
    frames: int
    film: int
    channels: int
    bed_first: int
    bed: tuple[Artifact, ...]
    ducking_db: float
    spans: tuple[Span, ...]
    layings: tuple[Laying, ...]
    dialogue: tuple[Artifact | None, ...] = ()
    ducked: tuple[Span, ...] = ()
    room: RoomTone | None = None


def layings(placed: Sequence[Placement], takes: Mapping[str, Take], levels: SourceLevels) -> tuple[Laying, ...]:
    """Each placed take at the level of the source's dialogue in the scene of its line, in order of time."""
    made: list[Laying] = []
    for p in placed:
        take = takes[p.id]
        gain_db = round(min(max(level_at(levels.scenes, p.start - p.shift) - take.loudness, -40.0), 30.0), 2)
        made.append(Laying(take.sound, round(p.start * RATE_HZ), round(p.duration * RATE_HZ), gain_db))
    return tuple(sorted(made, key=lambda x: x.start))


@stage("speech-track")
def speech_track(work: Work, speech: Heard, film: int) -> tuple[tuple[Laying, ...], tuple[Span, ...]]:
    """A finished speech track as layings at its own level, and where it is audible (cells above -50 LUFS)."""
    from polydub.audio import loudness

    cells = loudness.join(speech.energies) / loudness.CELL
    audible = [Span(n / 10, (n + 1) / 10) for n, power in enumerate(cells) if power > 1e-5]
    made: list[Laying] = []
    for number, file in enumerate(speech.sound.blocks):
        frames = min(BLOCK, speech.sound.frames - number * BLOCK, film - number * BLOCK)
        if frames > 0:
            made.append(Laying(file, number * BLOCK, frames, 0.0))
    if speech.sound.frames > film:
        late = (speech.sound.frames - film) / RATE_HZ
        work.notice(
            Notice("speech-cut", f"the speech is {late:.1f} s longer than the film; what is beyond its end is not heard")
        )
    return tuple(made), bridged(audible, BRIDGE_S)


def blocks(sound: Sound, laid: Sequence[Laying], talk: Sequence[Span], bedding: Bedding | float) -> Iterator[Block]:
    """Cuts the film; `talk` is where the bed steps back: where lines are in the source, and where the dub speaks."""
    how = bedding if isinstance(bedding, Bedding) else Bedding(bedding)
    spans = bridged(talk, BRIDGE_S)
    for first in range(0, sound.frames, BLOCK):
        frames = min(BLOCK, sound.frames - first)
        low, high = first - PRE - MARGIN, first + frames + POST + MARGIN
        beds = range(max(0, low // BLOCK), min(len(sound.blocks), -(-high // BLOCK)))
        near = Span(low / RATE_HZ - REACH_S, high / RATE_HZ + REACH_S)
        inside = tuple(x for x in laid if x.start < high and x.start + x.frames > low)
        bed = tuple(sound.blocks[n] for n in beds)
        block = Block(
            first, frames, sound.frames, sound.channels, beds.start, bed, how.ducking_db, _clipped(spans, near), inside
        )
        yield block if how.dialogue is None else _separated(block, how, near)


def _separated(block: Block, how: Bedding, near: Span) -> Block:
    """`block` with what is to be taken out of it, and without what then cannot be heard in it."""
    dialogue: list[Artifact | None] = []
    for number in range(block.bed_first, block.bed_first + len(block.bed)):
        around = Span(number * BLOCK / RATE_HZ - 1, (number + 1) * BLOCK / RATE_HZ + 1)
        heard = any(span.overlap(around) > 0 for span in block.spans)
        dialogue.append(how.dialogue[number] if how.dialogue and heard else None)
    ducked = _clipped(how.could_not, near)
    room = how.room if how.room and how.room.fills and any(dialogue) else None
    depth = how.ducking_db if ducked else 0.0
    return replace(block, ducking_db=depth, dialogue=tuple(dialogue), ducked=ducked, room=room)


def _clipped(spans: Sequence[Span], near: Span) -> tuple[Span, ...]:
    """The parts of `spans` inside `near`."""
    inside = (span for span in spans if span.overlap(near) > 0)
    return tuple(Span(seconds(max(s.start, near.start)), seconds(min(s.end, near.end))) for s in inside)


@dataclass(frozen=True, slots=True)
class Master:
    """A block and how it is mastered."""

    block: Block
    gain_db: float
    true_peak_dbtp: float
    kbit_per_channel: int


@stage("measure-block", version=2)
def measure_block(work: Work, master: Master) -> Energies:
    """Loudness of one block as it will be with this gain and the limiter, without encoding it."""
    from polydub.audio import loudness, signal
    from polydub.audio.limiter import limit

    block = master.block
    low = max(0, block.first - loudness.SETTLE)
    dry = replace(master, block=replace(block, room=None))  # room tone is far too low to count
    bed, dub = _stems(work, dry, low, block.first + block.frames)
    mix = bed + dub
    curve = limit(mix, signal.gain(master.true_peak_dbtp - HEADROOM_DB), between=False)
    return loudness.energies(mix if curve is None else signal.scaled(mix, curve), block.first, block.first - low)


@dataclass(frozen=True, slots=True)
class Rendered:
    """One finished block: its AAC packets, its stems, and what the decoded packets measure.

    Attributes: true_peak: linear, after decoding. dub_peaks: PEAKS_HZ absolute peaks a second, for pictures.
    """

    aac: Artifact
    dub: Artifact
    background: Artifact
    mix: Artifact
    energies: Energies
    true_peak: float
    limited_db: float
    dub_peaks: tuple[float, ...]


@stage("mix-block", version=2)
def mix_block(work: Work, master: Master) -> Rendered:
    """Mixes, limits, encodes and measures one block; its stems sum to its mix.

    AAC changes peaks, so the block is decoded again, and encoded with a lower ceiling while it passes the limit.
    """
    import numpy as np

    from polydub.audio import loudness, signal
    from polydub.audio.limiter import limit
    from polydub.media.aac import Cut, encode_aac_block

    block = master.block
    low, high = max(0, block.first - PRE), min(block.first + block.frames + POST, block.film)
    outer = max(0, low - MARGIN), min(high + MARGIN, block.film)
    bed, dub = _stems(work, master, *outer)
    mix = bed + dub
    ceiling_db = master.true_peak_dbtp - HEADROOM_DB
    cut = Cut(low, block.first, block.frames)
    while True:
        curve = limit(mix, signal.gain(ceiling_db))
        mastered = mix if curve is None else signal.scaled(mix, curve)
        encoded = encode_aac_block(
            mastered[:, low - outer[0] : high - outer[0]], cut, master.kbit_per_channel * block.channels, work.scratch
        )
        heard = encoded.heard[:, : block.frames]
        peak = loudness.true_peak(heard)
        excess = signal.decibels(peak) - master.true_peak_dbtp
        if excess <= -0.05 or peak == 0:
            break
        ceiling_db -= excess + 0.15
    own = slice(block.first - outer[0], block.first - outer[0] + block.frames)
    aac = work.scratch / "block.aac"
    aac.write_bytes(encoded.packets)
    del mix
    if curve is not None:
        dub *= curve
        bed *= curve
    stems = {"dub": dub[:, own], "background": bed[:, own], "mix": mastered[:, own]}
    files = {name: _keep(work, name, samples) for name, samples in stems.items()}
    columns = signal.peaks(stems["dub"], RATE_HZ // PEAKS_HZ)
    settle = mastered[:, max(0, own.start - loudness.SETTLE) : own.start]
    return Rendered(
        work.keep(aac), files["dub"], files["background"], files["mix"],
        loudness.energies(np.concatenate([settle, heard], axis=1), block.first, settle.shape[1]),
        round(peak, 6), round(0.0 if curve is None else -signal.decibels(float(curve[own].min())), 2),
        tuple(round(float(value), 3) for value in columns),
    )  # fmt: skip


def _keep(work: Work, name: str, samples: Samples) -> Artifact:
    from polydub.media.flac import write_flac

    file = work.scratch / f"{name}.flac"
    write_flac(file, samples)
    return work.keep(file)


def _stems(work: Work, master: Master, low: int, high: int) -> tuple[Samples, Samples]:
    """The bed and the dub of samples `low` to `high`, both (channels, frames), with the programme's gain."""
    import numpy as np

    from polydub.audio import mix, signal
    from polydub.media.flac import read_flac

    block = master.block
    bed = _bed(work, block, low, high)
    bed *= np.float32(signal.gain(master.gain_db))
    takes = (
        mix.Laid(read_flac(work.path(x.sound), 0, x.frames), x.start, x.gain_db + master.gain_db)
        for x in block.layings
        if x.start < high and x.start + x.frames > low
    )
    return bed, mix.lay(takes, low, high - low, block.channels)


def _bed(work: Work, block: Block, low: int, high: int) -> Samples:
    """The source of samples `low` to `high` without its dialogue, or ducked, (channels, frames)."""
    from polydub.audio import mix, roomtone

    frames = high - low
    bed, how = _joined(work, block, block.bed, (low, high)), mix.Ducking(block.ducking_db)
    if not block.dialogue:
        bed *= mix.duck(block.spans, low, frames, how)
        return bed
    kept, taken = mix.part(block.spans, block.ducked, low, frames, how)
    dialogue = _joined(work, block, block.dialogue, (low, high))
    dialogue *= taken
    bed *= kept
    bed -= dialogue
    if block.room:
        bed += roomtone.filling(bed, low, taken, block.room)
    return bed


def _joined(work: Work, block: Block, files: Sequence[Artifact | None], place: tuple[int, int]) -> Samples:
    """Samples of the film from consecutive blocks, (channels, frames), silent where there is no file."""
    import numpy as np

    from polydub.media.flac import read_flac

    low, high = place
    sound = np.zeros((block.channels, high - low), np.float32)
    for number, file in enumerate(files, block.bed_first):
        start, stop = max(low, number * BLOCK), min(high, (number + 1) * BLOCK)
        if file and start < stop:
            sound[:, start - low : stop - low] = read_flac(work.path(file), start - number * BLOCK, stop - start)
    return sound


def masters(cut: Sequence[Block], gain_db: float, want: Mixing) -> tuple[Master, ...]:
    """The blocks with the programme's gain."""
    return tuple(Master(block, gain_db, want.true_peak_dbtp, want.kbit_per_channel) for block in cut)
