"""A place to mix small films at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polydub.media.flac import read_flac, write_flac
from polydub.stages import render
from polydub.store import Store
from polydub.types import BLOCK, RATE_HZ, Artifact, Samples, Sound
from polydub.wants import Mixing
from polydub.work import Work

STEP = 2.0**-23  # of 24 bits


def noise(seconds: float, level: float = 0.05, seed: int = 1, channels: int = 1) -> Samples:
    """Noise on the grid of 24 bits."""
    made = np.random.default_rng(seed).normal(size=(channels, round(seconds * RATE_HZ))) * level
    return (np.rint(made / STEP) * STEP).astype(np.float32)


@dataclass
class Desk:
    """A store with the sounds of a film."""

    folder: Path
    store: Store = field(init=False)
    works: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "store")

    def work(self) -> Work:
        self.works += 1
        scratch = self.folder / f"work{self.works}"
        scratch.mkdir()
        return Work(self.store, scratch, 1, lambda share: None)

    def file(self, samples: Samples) -> Artifact:
        work = self.work()
        write_flac(work.scratch / "sound.flac", samples)
        return work.keep(work.scratch / "sound.flac")

    def sound(self, samples: Samples, layout: str = "") -> Sound:
        files = tuple(self.file(samples[:, n : n + BLOCK]) for n in range(0, samples.shape[1], BLOCK))
        return Sound(files, samples.shape[0], samples.shape[1], layout)

    def rendered(self, blocks: Sequence[render.Block], stem: str = "background") -> Samples:
        """A stem of the whole film, at a programme gain of 0 dB and so quiet that nothing is limited."""
        parts = [render.mix_block.function(self.work(), m) for m in render.masters(blocks, 0.0, Mixing())]
        assert all(part.limited_db == 0 for part in parts)
        return np.concatenate([read_flac(self.store.path(getattr(part, stem)), 0, BLOCK) for part in parts], axis=1)

    def stems(self, part: render.Rendered) -> dict[str, Samples]:
        """The stems of one block."""
        return {name: read_flac(self.store.path(getattr(part, name)), 0, BLOCK) for name in ("dub", "background", "mix")}
