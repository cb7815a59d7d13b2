"""Faces by YuNet (Wu, Peng and Yu 2023) through OpenCV, shots by PySceneDetect's adaptive detector."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from polydub.engines.base import READY, Engine, Environment, Info, Options, Weight, WeightFile, Weights
from polydub.errors import MissingWeights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COMMIT = "0047ac24afb1"
# The one of that repository that OpenCV can load and that takes any size (its "dynamic" one fails in OpenCV 4.14).
FILE = "yunet_n_640_640.onnx"
WEIGHT = Weight(
    id="yunet",
    revision=_COMMIT,
    source="files",
    licence="Apache-2.0",
    commercial_use=True,
    files=(
        WeightFile(
            FILE,
            "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
            317_466,
            f"https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/{_COMMIT}/onnx/{FILE}",
        ),
    ),
)


class YuNetOptions(Options):
    """Options of YuNet."""

    score: float = Field(default=0.7, ge=0.1, le=1.0, description="How sure a face must be, 0 to 1.")
    threads: int = Field(
        default=0, ge=0, le=64, description="Threads; 0 = OpenCV's choice.", json_schema_extra={"identity": False}
    )


class YuNet:
    """A FaceFinder."""

    def __init__(self, path: Path, options: YuNetOptions) -> None:
        self._cv: Any = importlib.import_module("cv2")
        if options.threads:
            self._cv.setNumThreads(options.threads)
        try:
            self._net: Any = self._cv.FaceDetectorYN.create(str(path), "", (320, 320), options.score)
        except self._cv.error as error:
            raise MissingWeights("YuNet cannot be loaded: its file is damaged", f"polydub models pull {WEIGHT.id}") from error

    def cuts(self, frames: NDArray[np.uint8]) -> Sequence[int]:
        """Where a new shot begins; never less than 15 frames after the last one or after the first frame."""
        scenes: Any = importlib.import_module("scenedetect")
        detector, found = scenes.AdaptiveDetector(), list[Any]()
        for number, frame in enumerate(frames):
            found += detector.process_frame(scenes.FrameTimecode(number, 25.0), frame)
        found += detector.post_process(scenes.FrameTimecode(max(0, len(frames) - 1), 25.0)) if len(frames) else []
        return tuple(sorted({int(cut.frame_num) for cut in found} - {0}))

    def faces(self, frames: NDArray[np.uint8]) -> Sequence[Sequence[tuple[float, float, float, float]]]:
        """The faces in each frame, the surest first."""
        import numpy as np

        found: list[tuple[tuple[float, float, float, float], ...]] = []
        for frame in frames:
            self._net.setInputSize((frame.shape[1], frame.shape[0]))
            rows: Any = self._net.detect(np.ascontiguousarray(frame))[1]
            sure = sorted([] if rows is None else rows.tolist(), key=lambda row: -row[-1])
            found.append(tuple((row[0], row[1], row[2], row[3]) for row in sure))
        return tuple(found)


@contextmanager
def _load(options: YuNetOptions, weights: Weights, _device: str) -> Generator[YuNet]:
    path = weights[WEIGHT.id] / FILE
    if not path.is_file():
        raise MissingWeights(f"YuNet: there is no {FILE} in {path.parent}", f"polydub models pull {WEIGHT.id}")
    yield YuNet(path, options)


ENGINE = Engine(
    info=Info(
        kind="faces",
        name="yunet",
        summary="finds faces with YuNet and shots with PySceneDetect, for lip-sync",
        licence="Apache-2.0 (OpenCV), BSD-3-Clause (PySceneDetect)",
        homepage="https://github.com/ShiqiYu/libfacedetection.train",
        package="scenedetect",
        memory_mib=(400, 0),
    ),
    options=YuNetOptions,
    load=_load,
    check=lambda _: READY,
    languages=lambda _: None,
    weights=lambda _: (WEIGHT,),
    environment=Environment("lipsync", "scenedetect", ("cpu",)),
)
