"""From placed takes to a file one can play: blocks, levels, mix, subtitles, mux.

Everything that is heard is made in blocks of 30 s that know only what is near them. So all cores work, memory does not
know the length of the film, and an edit renders one or two blocks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polydub.audio.mix import BRIDGE_S
from polydub.audio.scenes import level_at
from polydub.spans import bridged
from polydub.stages import levelling
from polydub.stages.bedding import MARGIN, POST, PRE, Bedding, Block, Laying, blocks
from polydub.stages.levelling import Measured, SourceLevels
from polydub.stages.listen import PEAKS_HZ, Heard
from polydub.types import BLOCK, RATE_HZ, Artifact, Energies, Notice, Placement, Samples, Span, Take
from polydub.wants import Mixing
from polydub.work import Work, stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from polydub.audio.mix import Voice
    from polydub.media.aac import AacBlock, Cut

    Curve = NDArray[np.float32]
    Encode = Callable[[Samples, Cut, int, Path, str], AacBlock]

__all__ = ["Bedding", "Block", "Laying", "blocks"]  # parts of the mix that others ask for here

READ = 10 * RATE_HZ  # samples read at once
HEADROOM_DB = 1.5  # what AAC usually adds to true peaks; more is taken where a block needs it


def layings(
    placed: Sequence[Placement], takes: Mapping[str, Take], levels: SourceLevels, louder: Mapping[str, float] | None = None
) -> tuple[Laying, ...]:
    """Each placed take at the level of the source's dialogue in the scene of its line, in order of time.

    `louder`: by line id, dB that it is said louder than that.
    """
    made: list[Laying] = []
    for p in placed:
        take = takes[p.id]
        wanted = level_at(levels.scenes, p.start - p.shift) + (louder or {}).get(p.line, 0.0)
        gain_db = round(min(max(wanted - take.loudness, -40.0), 30.0), 2)
        made.append(Laying(take.sound, round(p.start * RATE_HZ), round(p.duration * RATE_HZ), gain_db))
    return tuple(sorted(made, key=lambda x: x.start))


@stage("speech-track", version=2)
def speech_track(work: Work, speech: Heard, film: int) -> tuple[tuple[Laying, ...], tuple[Span, ...]]:
    """A finished speech track as layings at its own level, and where it is audible (cells above -50 LUFS)."""
    from polydub.audio import loudness

    cells = loudness.join(speech.energies) / loudness.CELL
    audible = [Span(n / 10, (n + 1) / 10) for n, power in enumerate(cells) if power > 1e-5]
    made: list[Laying] = []
    for number, file in enumerate(speech.sound.blocks):
        frames = min(BLOCK, speech.sound.frames - number * BLOCK, film - number * BLOCK)
        if frames > 0:
            made.append(Laying(file, number * BLOCK, frames, 0.0, speech.sound.channels))
    if speech.sound.frames > film:
        late = (speech.sound.frames - film) / RATE_HZ
        work.notice(
            Notice("speech-cut", f"the speech is {late:.1f} s longer than the film; what is beyond its end is not heard")
        )
    return tuple(made), bridged(audible, BRIDGE_S)


@dataclass(frozen=True, slots=True)
class Master:
    """A block and how it is mastered."""

    block: Block
    gain_db: float
    true_peak_dbtp: float
    kbit_per_channel: int


@stage("measure-block", version=6)
def measure_block(work: Work, master: Master) -> Measured:
    """Loudness of one block as it will be with gains around this one and the limiter, without encoding it."""
    import numpy as np

    from polydub.audio import loudness, signal

    block = master.block
    low = max(0, block.first - loudness.SETTLE)
    dry = replace(master, block=replace(block, tones=()))  # room tone is far too low to count
    mix, _ = mixed(work, dry, low, block.first + block.frames)
    ceiling = signal.gain(master.true_peak_dbtp - HEADROOM_DB)
    found = levelling.tried(mix, block.first, block.first - low, block.layout, ceiling)
    file = work.scratch / "sums.npy"
    np.save(file, found.sums, allow_pickle=False)
    return Measured(found.first, work.keep(file))


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


@stage("mix-block", version=4)
def mix_block(work: Work, master: Master) -> Rendered:
    """Mixes, limits, encodes and measures one block; its stems sum to its mix in every sample of 24 bits."""
    from polydub.media.aac import encode_aac_block

    return finished(work, master, encode_aac_block)


def finished(work: Work, master: Master, encode: Encode) -> Rendered:
    """`mix_block` with this encoder: benchmarks leave it out. Large arrays are changed in place: four are worked on at once."""
    from polydub.audio import layouts, signal
    from polydub.audio import mix as mixing

    block = master.block
    low, high = max(0, block.first - PRE), min(block.first + block.frames + POST, block.film)
    outer = max(0, low - MARGIN), min(high + MARGIN, block.film)
    mix, dub = mixed(work, master, *outer)
    done = _encoded(work, master, mix, (low - outer[0], high - outer[0]), encode)
    del mix
    own = slice(block.first - outer[0], block.first - outer[0] + block.frames)
    whole, spoken = _on_grid(done.mix[:, own]), dub[:, own]
    if done.curve is not None:
        spoken *= done.curve[own]
    files = {"mix": _keep(work, "mix", whole)}
    said = mixing.spread(_on_grid(spoken), layouts.dialogue_gains(block.layout, block.channels))
    whole -= said  # exact on the grid of 24 bits, so that the stems sum to the mix
    background, said = _within(whole, said)
    files |= {"dub": _keep(work, "dub", said), "background": _keep(work, "background", background)}
    return Rendered(
        done.aac, files["dub"], files["background"], files["mix"], done.energies, round(done.peak, 6),
        round(0.0 if done.curve is None else -signal.decibels(float(done.curve[own].min())), 2),
        tuple(round(float(value), 3) for value in signal.peaks(spoken, RATE_HZ // PEAKS_HZ)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Encoded:
    """A limited mix, the curve by which it was limited, its packets, and what they measure decoded."""

    mix: Samples
    curve: Curve | None
    aac: Artifact
    energies: Energies
    peak: float


def _encoded(work: Work, master: Master, mix: Samples, part: tuple[int, int], encode: Encode) -> _Encoded:
    """`mix` limited, and its samples part[0] to part[1], which are the block with its neighbourhood, encoded.

    AAC changes peaks, so the block is decoded again, and encoded with a lower ceiling while it passes the limit.
    """
    import numpy as np

    from polydub.audio import loudness, signal
    from polydub.audio.limiter import limit
    from polydub.media.aac import Cut

    block, ceiling_db = master.block, master.true_peak_dbtp - HEADROOM_DB
    cut = Cut(max(0, block.first - PRE), block.first, block.frames)
    while True:
        curve = limit(mix, signal.gain(ceiling_db))
        mastered = mix if curve is None else signal.scaled(mix, curve)
        kbit_s = master.kbit_per_channel * block.channels
        encoded = encode(mastered[:, part[0] : part[1]], cut, kbit_s, work.scratch, block.layout)
        heard = encoded.heard[:, : block.frames]
        peak = loudness.true_peak(heard)
        excess = signal.decibels(peak) - master.true_peak_dbtp
        if excess <= -0.05 or peak == 0:
            break
        ceiling_db -= excess + 0.15
    aac = work.scratch / "block.aac"
    aac.write_bytes(encoded.packets)
    before = block.first - cut.start + part[0]
    settle = mastered[:, max(0, before - loudness.SETTLE) : before]
    energies = loudness.energies(np.concatenate([settle, heard], axis=1), block.first, settle.shape[1], block.layout)
    return _Encoded(mastered, curve, work.keep(aac), energies, peak)


def _on_grid(samples: Samples) -> Samples:
    """`samples`, rounded in place to 24 bits."""
    import numpy as np

    samples *= np.float32(2**23)
    np.rint(samples, out=samples)
    np.clip(samples, -(2**23), 2**23 - 1, out=samples)
    samples *= np.float32(2**-23)
    return samples


def _within(background: Samples, dub: Samples) -> tuple[Samples, Samples]:
    """Both, of the same sum, with `background` within full scale: a loud one may pass it where the dub is opposed to it."""
    import numpy as np

    low, high = -1.0, 1 - 2.0**-23
    if background.max(initial=0) <= high and background.min(initial=0) >= low:
        return background, dub
    kept = np.asarray(np.clip(background, low, high), np.float32)
    return kept, np.asarray(dub + (background - kept), np.float32)


def _keep(work: Work, name: str, samples: Samples) -> Artifact:
    from polydub.media.flac import write_flac

    file = work.scratch / f"{name}.flac"
    write_flac(file, samples)
    return work.keep(file)


def mixed(work: Work, master: Master, low: int, high: int) -> tuple[Samples, Samples]:
    """The mix of samples `low` to `high`, (channels, frames), and the dub in it, mono or stereo, at the programme's gain."""
    import numpy as np

    from polydub.audio import layouts, mix, perspective, signal
    from polydub.media.flac import read_flac

    block = master.block
    before, after = block.reach
    begin, end = (low - before) // mix.CELL * mix.CELL, high + after
    near = [x for x in block.layings if x.start < end and x.start + x.frames > begin]
    takes = (mix.Laid(read_flac(work.path(x.sound), 0, x.frames), x.start, x.gain_db + master.gain_db) for x in near)
    stereo = block.channels == 2 and any(x.channels == 2 for x in near)
    dub = mix.lay(takes, begin, end - begin, 2 if stereo else 1)
    if block.perspective:
        dub = perspective.placed(dub, begin, block.perspective)
    speech = mix.voice(dub, begin, block.could_not if block.dialogue else None) if block.follows else None
    dub = dub[:, low - begin : high - begin]
    made = _bed(work, block, (low, high), speech)
    made *= np.float32(signal.gain(master.gain_db))
    gains = layouts.dialogue_gains(block.layout, block.channels)
    for channel, gain in enumerate(gains):
        if gain:
            made[channel] += dub[channel] if stereo else dub[0] * gain
    return made, dub


def _bed(work: Work, block: Block, place: tuple[int, int], speech: Voice | None) -> Samples:
    """The source of samples place[0] to place[1] without its dialogue, or ducked, (channels, frames)."""
    import numpy as np

    from polydub.audio import layouts, mix, roomtone

    bed = np.zeros((block.channels, place[1] - place[0]), np.float32)
    for part, samples in _pieces(work, block, block.bed, place):
        bed[:, part] = samples
    taken = mix.taken(block.spans, block.could_not, place) if any(block.dialogue) else None
    if taken is not None:
        for part, samples in _pieces(work, block, block.dialogue, place):
            bed[:, part] -= samples * taken[part]
    if block.ducking:
        bed *= mix.duck(block.held, speech, place, block.ducking)
    if taken is not None and block.tones:
        speaking = layouts.dialogue_gains(block.layout, block.channels) > 0
        part = bed if speaking.all() else bed[speaking]
        noise = roomtone.filling(part, place[0], taken, block.tones)
        for channel in np.flatnonzero(speaking):
            bed[channel] += noise
    return bed


def _pieces(
    work: Work, block: Block, files: Sequence[Artifact | None], place: tuple[int, int]
) -> Iterator[tuple[slice, Samples]]:
    """What consecutive blocks of the film hold of samples place[0] to place[1], little by little, and where it belongs."""
    from polydub.media.flac import read_flac

    for number, file in enumerate(files, block.bed_first):
        low, high = max(place[0], number * BLOCK), min(place[1], (number + 1) * BLOCK)
        if file is None:
            continue
        for start in range(low, high, READ):
            stop = min(start + READ, high)
            samples = read_flac(work.path(file), start - number * BLOCK, stop - start)
            yield slice(start - place[0], stop - place[0]), samples


def masters(cut: Sequence[Block], gain_db: float, want: Mixing) -> tuple[Master, ...]:
    """The blocks with the programme's gain."""
    return tuple(Master(block, gain_db, want.true_peak_dbtp, want.kbit_per_channel) for block in cut)
