"""The film's sound without its dialogue: block by block, in such a way that nothing is heard where blocks meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polydub.engines.base import Separator, StemSeparator
from polydub.errors import BadEngineOutput
from polydub.spans import bridged
from polydub.stages.listen import Nearby, nearby
from polydub.types import BLOCK, FRAME, RATE_HZ, Artifact, Audio, Energies, Samples, Sound, Span, Speech, seconds
from polydub.work import Work, engine_stage

CONTEXT = 376 * FRAME  # samples an engine hears on both sides of a block: 8 s; whole frames, so that masks lie on one grid
SILENT = 1e-4  # peak, -80 dBFS: a channel of surround sound in which nothing is heard
VOCALS, OTHER = "vocals", "other"  # stems that every engine that has stems has
CUT_S = 5.5  # longer speech is cut, always at the same places, so that a part in a block lies in its context as a whole


@dataclass(frozen=True, slots=True)
class Separating:
    """What separating a block depends on: sound around it, and where somebody speaks there (film seconds, up to CUT_S each)."""

    near: Nearby
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Separated:
    """The dialogue of one block of the sound; what remains of the sound without it is the background.

    Attributes: dialogue: as long as the block; None when there is none. energies: of the dialogue, zeros without it.
    worked: False when the engine could not tell dialogue from background, so that there is none to take away although
    somebody speaks.
    """

    dialogue: Artifact | None
    energies: Energies
    worked: bool = True


@dataclass(frozen=True, slots=True)
class Stems:
    """The stems of one block of the sound by name, "vocals" first and "other" last; they sum to it."""

    files: Mapping[str, Artifact]


def pieces(sound: Sound, speech: Speech, *, everywhere: bool = False) -> tuple[Separating, ...]:
    """One for each block of `sound`, in order. Speech far away does not enter.

    `everywhere` asks for dialogue in all of the sound, as for songs; else only where `speech` says that somebody speaks.
    """
    spans = (Span(0.0, sound.duration),) if everywhere else speech.spans
    cut = tuple(part for span in spans for part in _cut(span))
    return tuple(Separating(near, _reaching(near, cut)) for near in nearby(sound))


def unseparated(separated: Sequence[Separated], frames: int) -> tuple[Span, ...]:
    """Where the dialogue of a sound of `frames` could not be separated: whole blocks, in film seconds, in order, joined."""
    failed = (n for n, block in enumerate(separated) if not block.worked)
    blocks = [Span(seconds(n * BLOCK / RATE_HZ), seconds(min((n + 1) * BLOCK, frames) / RATE_HZ)) for n in failed]
    return bridged(blocks, 0.001)


@engine_stage("separate", "separation", version=3)
def separate(work: Work, separator: Separator, piece: Separating) -> Separated:
    """The dialogue of one block. Without speech in it the engine is not asked. Raises: BadEngineOutput.

    In surround sound the centre is one sound for the engine, left and right are another: a mask over all three would cut
    the words out of music beside them. The other channels hold no dialogue.
    """
    import numpy as np

    from polydub.audio import loudness
    from polydub.media.flac import write_flac

    start, stop = _block(piece.near)
    if not any(span.overlap(Span(start / RATE_HZ, stop / RATE_HZ)) for span in piece.spans):
        return Separated(None, _nothing(start, stop))
    low, high = _context(piece.near)
    samples = _samples(work, piece.near, low, high)
    work.progress(0.1)
    # Not rounded, so that they are the same to the sample for this block and the next
    spans = tuple(Span(max(0.0, span.start - low / RATE_HZ), span.end - low / RATE_HZ) for span in piece.spans)
    dialogue = np.zeros_like(samples)
    for together in _speaking(piece.near.layout, samples):
        found = _found(separator, Audio(np.ascontiguousarray(samples[together])), spans)
        if found is None:
            return Separated(None, _nothing(start, stop), worked=False)
        dialogue[together] = found
    file = work.scratch / "dialogue.flac"
    write_flac(file, dialogue[:, start - low : stop - low])
    lead = min(loudness.SETTLE, start - low)
    energies = loudness.energies(dialogue[:, start - low - lead : stop - low], start, lead, piece.near.layout)
    return Separated(work.keep(file), energies)


@engine_stage("stems", "separation")
def stems(work: Work, separator: StemSeparator, piece: Separating) -> Stems:
    """The stems of one block. Raises: BadEngineOutput.

    In surround sound only the channels that may hold dialogue are told apart; all of the others is in "other".
    """
    import numpy as np

    from polydub.media.flac import read_flac, write_flac

    start, stop = _block(piece.near)
    low, high = _context(piece.near)
    samples = _samples(work, piece.near, low, high)
    spans = tuple(Span(max(0.0, span.start - low / RATE_HZ), span.end - low / RATE_HZ) for span in piece.spans)
    parts = {VOCALS: np.zeros_like(samples)}
    for together in _speaking(piece.near.layout, samples):
        sound = Audio(np.ascontiguousarray(samples[together]))
        for name, found in separator.stems(sound, spans).items():
            parts.setdefault(name, np.zeros_like(samples))[together] = _checked(found, sound)
    parts.pop(OTHER, None)
    left = samples[:, start - low : stop - low]
    files: dict[str, Artifact] = {}
    for name, part in parts.items():
        file = work.scratch / f"{name}.flac"
        write_flac(file, part[:, start - low : stop - low])
        left = left - read_flac(file, 0, BLOCK)  # as rounded, so that all of them sum to the sound
        files[name] = work.keep(file)
    write_flac(work.scratch / "other.flac", left)
    return Stems({**files, OTHER: work.keep(work.scratch / "other.flac")})


def _speaking(layout: str, samples: Samples) -> Iterator[list[int] | slice]:
    """The channels that may hold dialogue, those together that the engine gets together."""
    if not layout:
        yield slice(None)
        return
    from polydub.audio import layouts

    names = layouts.channels(layout)
    for wanted in (("FC",), ("FL", "FR")):
        together = [names.index(name) for name in wanted if name in names]
        if together and abs(samples[together]).max(initial=0) > SILENT:
            yield together


def _found(separator: Separator, sound: Audio, spans: tuple[Span, ...]) -> Samples | None:
    """What the engine answers. Raises: BadEngineOutput."""
    dialogue = separator.separate(sound, spans)
    return None if dialogue is None else _checked(dialogue, sound)


def _checked(found: Samples, sound: Audio) -> Samples:
    import numpy as np

    if found.shape != sound.samples.shape or not np.isfinite(found).all():
        raise BadEngineOutput("the separation engine gave something else than finite sound as long as what it was given")
    return found


def _cut(span: Span) -> Iterator[Span]:
    """`span` in parts of equal length, none longer than CUT_S, each beginning where the one before ends."""
    count = max(1, -(-round(span.duration * 1000) // round(CUT_S * 1000)))
    edges = [seconds(span.start + span.duration * n / count) for n in range(count)]
    return (Span(a, b) for a, b in zip(edges, [*edges[1:], span.end], strict=True))


def _reaching(near: Nearby, spans: Sequence[Span]) -> tuple[Span, ...]:
    """What of `spans` lies in the context of a block."""
    low, high = (seconds(edge / RATE_HZ) for edge in _context(near))
    clipped = (Span(max(span.start, low), min(span.end, high)) for span in spans)
    return tuple(span for span in clipped if span.start < span.end)


def _block(near: Nearby) -> tuple[int, int]:
    """First and last + 1 sample of the block."""
    return near.number * BLOCK, min((near.number + 1) * BLOCK, near.frames)


def _context(near: Nearby) -> tuple[int, int]:
    """First and last + 1 sample that an engine hears for the block."""
    start, stop = _block(near)
    return max(0, start - CONTEXT), min(near.frames, stop + CONTEXT)


def _nothing(start: int, stop: int) -> Energies:
    """What silence from sample `start` to `stop` of the film measures."""
    from polydub.audio.loudness import CELL

    first = start // CELL
    return Energies(first, (0.0,) * ((stop - 1) // CELL - first + 1))


def _samples(work: Work, near: Nearby, low: int, high: int) -> Samples:
    """Samples `low` to `high` of the sound, (channels, high - low)."""
    import numpy as np

    from polydub.media.flac import read_flac

    parts: list[Samples] = []
    for number, file in enumerate(near.blocks, near.first):
        begin, end = max(low, number * BLOCK), min(high, (number + 1) * BLOCK)
        if begin < end:
            parts.append(read_flac(work.path(file), begin - number * BLOCK, end - begin))
    return np.concatenate(parts, axis=1)
