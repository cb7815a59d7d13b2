"""Cutting a film that comes little by little into pieces: each ends at a pause, and has some of its neighbours' sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.runner import Run
from polydub.stages import streamed
from polydub.types import FRAME, HEAR_HZ, RATE_HZ, Span, seconds

if TYPE_CHECKING:
    from polydub.media.intake import Intake
    from polydub.types import Samples

# Pieces lie on clocks of their own that begin at a multiple of 1.6 s: whole milliseconds, AAC frames and loudness cells.
GRID = 76_800
LEAD = GRID  # heard before a piece at least: the encoder's and the limiter's pre-roll
TAIL = GRID  # and after it
LEAST, MOST = 0.5, 1.5  # of the wished length


@dataclass(frozen=True)
class Piece:
    """A part of the film, in samples of it: `start` to `end` is its own, `origin` to `stop` is in its sound file."""

    number: int
    origin: int
    start: int
    end: int
    stop: int
    last: bool
    sound: Path

    @property
    def at(self) -> float:
        """Film time of moment 0 of its own clock, a multiple of 1.6 s."""
        return seconds(self.origin / RATE_HZ)

    @property
    def span(self) -> Span:
        """Its own part, on the film's clock."""
        return Span(seconds(self.start / RATE_HZ), seconds(self.end / RATE_HZ))

    @property
    def own(self) -> Span:
        """Its own part, on its clock."""
        return Span(seconds((self.start - self.origin) / RATE_HZ), seconds((self.end - self.origin) / RATE_HZ))


class Cutter:
    """Takes sound from an intake as it is needed and cuts it."""

    def __init__(self, intake: Intake, film: int | None, wish: tuple[float, float], lines: Sequence[Span] = ()) -> None:
        """`film`: samples, None = nobody knows yet. `wish`: seconds of a piece, and heard around it. `lines`: known ones."""
        import numpy as np

        self._intake, self._film, self._lines = intake, film, lines
        self._ideal, self._overlap = round(wish[0] * RATE_HZ), round(wish[1] * RATE_HZ)
        self._start, self._number, self._base, self._peak = 0, 0, 0, 0.0
        self._kept: Samples = np.zeros((intake.channels, 0), np.float32)
        self._ended = False

    @property
    def film(self) -> int | None:
        """Samples of the film; None while nobody knows."""
        return self._film

    def next(self, run: Run, folder: Path) -> Piece | None:
        """The next piece, its sound as a file in `folder`; None after the last one."""
        if self._film is not None and self._number and self._start >= self._film:
            return None
        end = self._end(run, folder)
        if end is None:
            return None
        last = self._film is not None and end >= self._film
        tail = max(TAIL, self._overlap)
        self._fill(end + tail)
        stop = end + tail if self._film is None else min(end + tail, self._film)
        origin = max(0, (self._start - max(LEAD, self._overlap)) // GRID * GRID)
        piece = Piece(self._number, origin, self._start, end, stop, last, folder / f"piece-{self._number:06d}.flac")
        self._write(piece)
        self._start, self._number = end, self._number + 1
        self._drop(max(0, (end - max(LEAD, self._overlap)) // GRID * GRID))
        return piece

    def _end(self, run: Run, folder: Path) -> int | None:
        """Where the piece that is due ends; None where nothing is left."""
        most = round(MOST * self._ideal)
        for reach in (self._ideal, most):
            self._fill(self._start + reach + TAIL)
            if self._film is not None:
                left = self._film - self._start
                if left <= 0:
                    return None
                if left <= most:
                    return self._film
            found = self._pause(run, folder, reach)
            if found.good or reach == most:
                break
        return (self._start + round(found.at * RATE_HZ)) // FRAME * FRAME

    def _pause(self, run: Run, folder: Path, reach: int) -> streamed.Pause:
        from polydub.audio import signal
        from polydub.media.flac import write_flac

        low, high = self._start - self._base, self._start - self._base + reach + TAIL
        mono = self._kept[:, low:high].mean(axis=0, keepdims=True)
        file = folder / f"look-{self._number:06d}-{reach}.flac"
        write_flac(file, signal.resample(mono, RATE_HZ, HEAR_HZ), HEAR_HZ)
        at = self._start / RATE_HZ
        near = [s for s in self._lines if s.end > at and s.start < at + (reach + TAIL) / RATE_HZ]
        lines = tuple(Span(seconds(s.start - at), seconds(s.end - at)) for s in near)
        ideal = self._ideal / RATE_HZ
        wish = streamed.Wish(seconds(LEAST * ideal), seconds(ideal), seconds(reach / RATE_HZ), lines, round(self._peak, 4))
        try:
            return run.step(streamed.find_pause, run.adopt(file), wish)
        finally:
            file.unlink()

    def _fill(self, until: int) -> None:
        """Takes sound up to sample `until`, if there is so much."""
        import numpy as np

        parts, have = [self._kept], self._base + self._kept.shape[1]
        while have < until and not self._ended:
            samples = self._intake.read(RATE_HZ)
            self._ended = samples.shape[1] < RATE_HZ
            self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
            parts.append(samples)
            have += samples.shape[1]
        if self._ended:
            if self._film is None:
                self._intake.finish()
                self._film = max(have, round(self._intake.pictured() * RATE_HZ))
            silent = min(until, self._film) - have
            if silent > 0:  # the sound ends before the picture
                parts.append(np.zeros((self._intake.channels, silent), np.float32))
        self._kept = np.concatenate(parts, axis=1)
        if self._film is not None and self._base + self._kept.shape[1] > self._film:
            self._kept = self._kept[:, : max(0, self._film - self._base)]

    def _write(self, piece: Piece) -> None:
        from polydub.media.flac import write_flac

        write_flac(piece.sound, self._kept[:, piece.origin - self._base : piece.stop - self._base])

    def _drop(self, before: int) -> None:
        """Forgets the sound before this sample."""
        import numpy as np

        self._kept = np.ascontiguousarray(self._kept[:, before - self._base :])
        self._base = before
