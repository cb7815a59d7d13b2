"""Listening to a dub and its source: levels, delay, who speaks when. Sound is read in blocks, in three passes at most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.evaluate import timing
from polydub.evaluate.inputs import Reel, Subject, opened
from polydub.report.model import ReportLine
from polydub.spans import bridged
from polydub.types import Samples, Span, seconds

if TYPE_CHECKING:
    from polydub.evaluate.sound import Detector, Levels

NEAR_S = 0.3  # as near to speech its reverberation still is


@dataclass(frozen=True)
class Speech:
    """Where source and dub speak, and how that is known; `detected` False: by lines."""

    source: tuple[Span, ...]
    dub: tuple[Span, ...]
    basis: str
    detected: bool


class Sounds:
    """The first pass: levels of dub and source, how late the dub is, what the decoder had to say."""

    def __init__(self, dub: Reel, source: Reel | None) -> None:
        from polydub.evaluate.sound import Delay, Meter

        self.dub, self.source = dub, source
        ours, theirs, delay = Meter(dub.layout), Meter(source.layout if source else ""), Delay()
        decoding = dub.blocks()
        for a, b in zip_longest(decoding, source.blocks() if source else ()):
            if a is not None:
                ours.add(a)
            if b is not None:
                theirs.add(b)
            if a is not None and b is not None:
                frames = min(a.shape[1], b.shape[1])
                delay.add(*(x[:, :frames].mean(axis=0, keepdims=True) for x in (b, a)))
        self.levels: Levels = ours.levels()
        self.source_levels: Levels | None = theirs.levels() if source else None
        self.late_s = delay.seconds()
        self.complaint, self.missing_s = decoding.complaint, decoding.missing_s


def find_speech(subject: Subject, detect: Detector | None, name: str, sounds: Sounds) -> Speech:
    """Speech by the detector called `name`, in the stems where there are any; without a detector by the lines."""
    slots = bridged([Span(x.source_start, x.source_end) for x in subject.lines], 0.0)
    dubbed = bridged([span for line in subject.lines for span in spoken(line)], 0.0)
    if detect is None:
        return Speech(slots, dubbed, "line spans", False)
    sides: list[tuple[Span, ...]] = []
    where: list[str] = []
    whole = ((sounds.source, sounds.source_levels), (sounds.dub, sounds.levels))
    for side, (reel, levels) in zip(("dialogue", "dub"), whole, strict=True):
        stem = subject.stems.get(side)
        if stem is not None:
            with opened(stem) as track:
                sides.append(_detected(detect, track, max(float(abs(b).max(initial=0.0)) for b in track.mono())))
        elif reel is not None and levels is not None:
            sides.append(_detected(detect, reel, levels.peak))
        else:
            sides.append(slots)
        where.append("stem" if stem is not None else "sound" if reel is not None else "lines")
    return Speech(sides[0], sides[1], f"{name} on source {where[0]} and dub {where[1]}", True)


def spoken(line: ReportLine) -> tuple[Span, ...]:
    """When a line is heard: part by part where it is parted at pauses."""
    parts = [(p.start, p.duration) for p in line.phrases] or [(line.start, line.duration)]
    return tuple(Span(start, start + length) for start, length in parts if length > 0)


def _detected(detect: Detector, reel: Reel, peak: float) -> tuple[Span, ...]:
    from polydub.evaluate.sound import Listener

    listener = Listener(detect, peak)
    for block in reel.mono():
        listener.add(block)
    return listener.spans()


def placed(subject: Subject, speech: Speech) -> Subject:
    """Lines of which nobody told when they are spoken, put where speech is heard in the window of their slot."""
    if subject.placed or not speech.detected or not subject.lines:
        return subject
    slots = [Span(x.source_start, x.source_end) for x in subject.lines]
    lines: list[ReportLine] = []
    for line, window in zip(subject.lines, timing.windows(slots), strict=True):
        said = timing.inside(speech.dub, window)
        start = seconds(said[0].start) if said else line.start
        length = seconds(said[-1].end - start) if said else 0.0
        shift = seconds(start - line.source_start)
        lines.append(line.model_copy(update={"start": start, "duration": length, "shift": shift}))
    return replace(subject, lines=tuple(lines), placed=True)


def stem_level(path: Path) -> float:
    """LUFS of a stem in mono."""
    from polydub.evaluate.sound import measured

    with opened(path) as reel:
        return measured(reel.mono()).integrated


def padded(spans: Sequence[Span], by_s: float = NEAR_S) -> tuple[Span, ...]:
    """`spans` longer by `by_s` at both ends, joined where they meet."""
    return bridged([Span(max(0.0, s.start - by_s), s.end + by_s) for s in spans], 0.0)


def together(sounds: Sounds, stem: Reel | None) -> Iterable[tuple[int, tuple[Samples, Samples, Samples | None]]]:
    """Mono blocks of source, dub (set back by what it is late) and dialogue, of one length, with their first sample."""
    assert sounds.source is not None  # noqa: S101 - the caller has one
    at = 0
    streams = (sounds.source.mono(), sounds.dub.mono(sounds.late_s or 0.0))
    for s, o, d in zip_longest(*streams, stem.mono() if stem else ()):
        if s is None or o is None:
            return
        frames = min(x.shape[1] for x in (s, o, d) if x is not None)
        yield at, (s[:, :frames], o[:, :frames], None if d is None else d[:, :frames])
        at += frames


@dataclass(frozen=True)
class Ear:
    """Both sounds and the speech in them."""

    sounds: Sounds
    speech: Speech
