"""What the tests of separation nets share: sounds, and films that are separated block by block as when they are dubbed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from polydub.media.flac import read_flac, write_flac
from polydub.stages import separate
from polydub.store import Store
from polydub.types import BLOCK, RATE_HZ, Artifact, Audio, Samples, Sound, Span, Speech
from polydub.work import Work

TALK = (Span(0.5, 1.7), Span(2.0, 2.9))


def tones(seconds: float, channels: int = 2) -> Samples:
    """Tones between 200 Hz and 8 kHz, others in each channel."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    rows = [sum(np.sin(2 * np.pi * (200 + 780.3 * k + 55 * c) * t + k) for k in range(10)) for c in range(channels)]
    return (0.02 * np.stack(rows)).astype(np.float32)


def hiss(frames: int, channels: int = 2) -> Samples:
    """Noise whose samples are kept exactly by 24-bit files."""
    return (np.round(0.05 * np.random.default_rng(7).normal(size=(channels, frames)) * 2**23) / 2**23).astype(np.float32)


def dialogue(engine: Any, samples: Samples, speech: Sequence[Span] = TALK) -> Samples:
    """The engine's answer, which has the shape of the sound and lies in the speech."""
    found = engine.separate(Audio(samples), tuple(speech))
    assert found.shape == samples.shape and found.dtype == np.float32 and np.isfinite(found).all()
    heard = np.zeros(samples.shape[1], bool)
    for span in speech:
        heard[round(span.start * RATE_HZ) : round(span.end * RATE_HZ)] = True
    assert not found[:, ~heard].any()
    return found


class Films:
    """Films in a store of their own."""

    def __init__(self, folder: Path) -> None:
        self._store, self._folder, self._numbers = Store(folder / "store"), folder, count()

    def work(self) -> Work:
        scratch = self._folder / f"scratch{next(self._numbers)}"
        scratch.mkdir()
        return Work(self._store, scratch, 1, lambda _: None)

    def film(self, samples: Samples, layout: str = "") -> Sound:
        files: list[Artifact] = []
        for at in range(0, samples.shape[1], BLOCK):
            work = self.work()
            write_flac(work.scratch / "block.flac", samples[:, at : at + BLOCK])
            files.append(work.keep(work.scratch / "block.flac"))
        return Sound(tuple(files), samples.shape[0], samples.shape[1], layout)

    def separated(self, engine: Any, sound: Sound, spans: Sequence[Span]) -> Samples:
        """The dialogue of a film, its blocks joined."""
        blocks: list[Samples] = []
        for piece in separate.pieces(sound, Speech((), -(-sound.frames // 3), tuple(spans))):
            work = self.work()
            done = separate.separate(work, engine, piece)
            length = min(BLOCK, sound.frames - piece.near.number * BLOCK)
            silence = np.zeros((sound.channels, length), np.float32)
            blocks.append(read_flac(work.path(done.dialogue), 0, BLOCK) if done.dialogue else silence)
        return np.concatenate(blocks, axis=1)

    def stems(self, engine: Any, sound: Sound) -> dict[str, Samples]:
        """The stems of a song, their blocks joined."""
        parts: dict[str, list[Samples]] = {}
        for piece in separate.pieces(sound, Speech((), 0, ()), everywhere=True):
            work = self.work()
            for name, file in separate.stems(work, engine, piece).files.items():
                parts.setdefault(name, []).append(read_flac(work.path(file), 0, BLOCK))
        return {name: np.concatenate(blocks, axis=1) for name, blocks in parts.items()}


def joins_are_not_heard(films: Films, engine: Any) -> float:
    """How far the dialogue around a join of blocks is from what one call over the join gives: largest difference.

    One span ends just at the join, one begins just after it; one goes over it and is cut.
    """
    worst, join = 0.0, BLOCK / RATE_HZ
    samples = hiss(BLOCK + 12 * RATE_HZ)
    low = BLOCK - 14 * RATE_HZ
    for spans in ((Span(24.6, round(join, 3)), Span(round(join, 3) + 0.02, 34.1)), (Span(26.0, 38.5),)):
        whole = films.separated(engine, films.film(samples), spans)
        # What stages cut a span to, as one call hears it
        parts = {part for piece in separate.pieces(_named(samples.shape[1]), Speech((), 0, spans)) for part in piece.spans}
        cut = sorted((p for p in parts if any(s.start <= p.start and p.end <= s.end for s in spans)), key=lambda p: p.start)
        here = [Span(p.start - low / RATE_HZ, p.end - low / RATE_HZ) for p in cut if p.start > low / RATE_HZ]
        once = engine.separate(Audio(samples[:, low:]), tuple(here))
        around = slice(BLOCK - RATE_HZ, BLOCK + RATE_HZ)
        assert np.abs(whole[:, around]).max() > 1e-3
        worst = max(worst, float(np.abs(whole[:, around] - once[:, around.start - low : around.stop - low]).max()))
    return worst


def _named(frames: int) -> Sound:
    return Sound(tuple(Artifact(f"{n:064x}", ".flac", 1) for n in range(-(-frames // BLOCK))), 2, frames)
