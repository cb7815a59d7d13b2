"""A face finder for tests and trials: where a picture is not black there is one face, in the middle."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from polydub.engines.base import READY, Engine, Info, Options, Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHANGE = 40.0  # mean difference of two frames, of 255, that makes a cut
BLACK = 20.0  # mean of a frame in which there is nobody


class FakeFacesOptions(Options):
    """Options of the fake face finder."""

    model: Literal["one", "two", "none"] = Field(default="one", description="Faces in each frame.")


class FakeFaces:
    """A FaceFinder."""

    def __init__(self, count: int) -> None:
        self._count = count

    def cuts(self, frames: NDArray[np.uint8]) -> Sequence[int]:
        """The frames that are quite another picture than the one before."""
        import numpy as np

        small = frames[:, ::4, ::4].astype(np.float32)
        changes = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
        return tuple((np.flatnonzero(changes > CHANGE) + 1).tolist())

    def faces(self, frames: NDArray[np.uint8]) -> Sequence[Sequence[tuple[float, float, float, float]]]:
        """Faces of two thirds of the height, side by side."""
        height, width = frames.shape[1:3]
        step, size = width / (self._count + 1), 2 * height / 3
        row = tuple((step * (n + 1) - size / 2, height / 6, size, size) for n in range(self._count))
        return tuple(row if float(frame.mean()) > BLACK else () for frame in frames)


@contextmanager
def _load(options: FakeFacesOptions, _weights: Weights, _device: str) -> Generator[FakeFaces]:
    yield FakeFaces({"none": 0, "one": 1, "two": 2}[options.model])


ENGINE = Engine(
    info=Info(
        kind="faces",
        name="fake",
        summary="one face in the middle of every picture that is not black, for tests and trials",
        licence="Apache-2.0",
        homepage="",
        memory_mib=(1, 0),
        parallel=0,
    ),
    options=FakeFacesOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
)
