"""Metrics of the picture and of the file's clock: A1 (sound and picture together), A4 (picture untouched)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from polydub.evaluate.card import Score

_CONTAINER = "metrics of polydub, A1; ITU-R BT.1359-1 for the limits"


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a track: presentation time and length in seconds, digest of what it holds."""

    start: float
    length: float
    digest: str


def packets(rows: Iterable[str]) -> Iterator[Packet]:
    """The packets in ffmpeg's framehash format. A packet without a time is passed over."""
    base = 0.0
    for row in rows:
        if row.startswith("#tb"):
            top, _, bottom = row.split(":")[1].partition("/")
            base = int(top) / int(bottom)
        elif not row.startswith("#"):
            fields = [field.strip() for field in row.split(",")]
            if len(fields) >= 6 and fields[2].lstrip("-").isdigit():
                yield Packet(int(fields[2]) * base, int(fields[3]) * base, fields[5])


@dataclass(frozen=True, slots=True)
class Same:
    """How two pictures compare, packet by packet or frame by frame."""

    dub: int
    source: int
    different: int

    @property
    def untouched(self) -> bool:
        """As many, and all equal."""
        return self.dub == self.source and not self.different


def same(dub: Iterable[Packet], source: Iterable[Packet]) -> Same:
    """A4: counts packets and compares digests in order of storage; times may differ, since containers round them."""
    counts, different = [0, 0], 0
    for ours, theirs in zip_longest(dub, source):
        counts[0] += ours is not None
        counts[1] += theirs is not None
        different += ours is not None and theirs is not None and ours.digest != theirs.digest
    return Same(counts[0], counts[1], different)


def picture_score(found: Same) -> Score:
    """A4: per cent of the source's pictures that are in the dub, unchanged and at the same place."""
    longer = max(found.dub, found.source)
    kept = min(found.dub, found.source) - found.different
    value = round(100 * kept / longer, 3) if longer else 100.0
    return Score(id="A4.same", name="pictures unchanged", value=value, unit="%", n=found.source, higher_is_better=True,
                 source="metrics of polydub, A4")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Extent:
    """When a track begins and ends, in seconds of the container."""

    start: float
    end: float


def extent(found: Iterable[Packet], start: float) -> Extent:
    """The track's extent; `start` is when it is first presented, since players skip what an encoder put before."""
    return Extent(start, max((p.start + p.length for p in found), default=start))


@dataclass(frozen=True, slots=True)
class Clock:
    """A1 of the container, in ms: how late the sound begins beside the picture, how much longer it is."""

    offset_ms: float
    drift_ms: float


def clock(sound: Extent, picture: Extent) -> Clock:
    """Difference of the first moments, and of the lengths, sound less picture."""
    longer = (sound.end - sound.start) - (picture.end - picture.start)
    return Clock(round(1000 * (sound.start - picture.start), 1), round(1000 * longer, 1))


def beside(dub: Clock, source: Clock | None) -> Clock:
    """What a dub adds to its source: where a film's own sound begins late or ends early, both may be as they were.

    Of the dub's own figure and its difference from the source's the smaller one counts, for offset and drift each: a dub
    may fill the source's gap with silence, and may keep it.
    """
    if source is None:
        return dub
    offset = min(dub.offset_ms, dub.offset_ms - source.offset_ms, key=abs)
    return Clock(round(offset, 1), round(min(dub.drift_ms, dub.drift_ms - source.drift_ms, key=abs), 1))


def clock_scores(found: Clock, delay_s: float | None) -> tuple[Score, ...]:
    """A1: offset and drift of the container, and the delay of the sound itself against the source where it can be heard."""
    scores = [
        Score(id="A1.offset", name="sound begins after the picture", value=found.offset_ms, unit="ms", n=1, source=_CONTAINER),
        Score(id="A1.drift", name="sound longer than the picture", value=found.drift_ms, unit="ms", n=1, source=_CONTAINER),
    ]
    if delay_s is not None:
        scores.append(
            Score(id="A1.delay", name="sound later than in the source, by the background", value=round(1000 * delay_s, 1),
                  unit="ms", n=1, source="Knapp and Carter 1976 (GCC-PHAT)")
        )  # fmt: skip
    return tuple(scores)
