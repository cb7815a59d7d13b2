"""Silero VAD v6 through onnxruntime, from the model file that the faster-whisper package carries (no torch)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.engines.base import READY, Availability, Engine, Info, Options, Weights
from polydub.errors import BadEngineOutput, MissingExtra
from polydub.types import HEAR_HZ, VAD_FRAME, Audio

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "assets/silero_vad_v6.onnx"
CONTEXT = 64  # samples of the frame before, which the model is given with each frame
FRAMES = 4096  # frames in one run of the model: 131 s, 9 MB
INSTALL = "pip install faster-whisper onnxruntime"


class SileroOptions(Options):
    """It has none: thresholds belong to whoever reads the probabilities."""


class Silero:
    """A SpeechDetector. Thread-safe: what it remembers of the sound lives in each call."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def probabilities(self, speech: Audio) -> Sequence[float]:
        """Probability of speech, 0 to 1, in each VAD_FRAME samples of mono sound at HEAR_HZ.

        A last frame that is short is filled up with silence. Empty sound gives (), digital silence probabilities near 0.
        Levels matter: bring the sound near full scale. Raises: BadEngineOutput for answers that are not probabilities.
        """
        import numpy as np

        if speech.rate_hz != HEAR_HZ or speech.samples.shape[0] != 1:
            raise ValueError(f"Silero wants mono sound at {HEAR_HZ} Hz")
        sound = speech.samples[0]
        frames = np.zeros((-(-len(sound) // VAD_FRAME), VAD_FRAME), np.float32)
        frames.reshape(-1)[: len(sound)] = sound
        before = np.zeros((len(frames), CONTEXT), np.float32)
        before[1:] = frames[:-1, -CONTEXT:]
        state: tuple[Any, Any] = (np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32))
        found: list[float] = []
        for at in range(0, len(frames), FRAMES):
            batch = np.concatenate([before[at : at + FRAMES], frames[at : at + FRAMES]], axis=1)
            chances, *state_after = self._session.run(None, {"input": batch, "h": state[0], "c": state[1]})
            state = (state_after[0], state_after[1])
            found.extend(_checked(chances, len(batch)))
        return tuple(found)


def _checked(chances: NDArray[Any], frames: int) -> list[float]:
    values = chances.reshape(-1)
    if len(values) != frames or not ((values >= 0) & (values <= 1)).all():
        raise BadEngineOutput("Silero gave something else than one probability for each frame")
    return values.tolist()


def model_file() -> Path | None:
    """The model inside the installed faster-whisper package, which is not imported; None when it is not there."""
    spec = find_spec("faster_whisper")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / MODEL
        if file.is_file():
            return file
    return None


def check(options: SileroOptions) -> Availability:
    """Ready when onnxruntime and the model file are there."""
    del options
    if find_spec("onnxruntime") is None:
        return Availability(False, "onnxruntime is not installed", INSTALL)
    if model_file() is None:
        return Availability(False, "the model, a part of the faster-whisper package, is not installed", INSTALL)
    return READY


@contextmanager
def _load(options: SileroOptions, weights: Weights, device: str) -> Generator[Silero]:
    del weights, device
    available, file = check(options), model_file()
    if not available.ready or file is None:
        raise MissingExtra(f"Silero cannot run: {available.reason}", available.fix)
    import onnxruntime  # pyright: ignore[reportMissingTypeStubs]

    settings = cast("Any", onnxruntime).SessionOptions()
    # One thread: the runner works on several blocks at once, and threads that spin crawl on busy cores.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False  # the arena keeps what the longest call needed
    settings.log_severity_level = 3
    yield Silero(onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"]))


ENGINE = Engine(
    info=Info(
        kind="vad",
        name="silero",
        summary="Small neural speech detector, any language, about 200 times faster than real time",
        licence="MIT",
        homepage="https://github.com/snakers4/silero-vad",
        package="faster-whisper",
        memory_mib=(90, 0),
        parallel=0,
    ),
    options=SileroOptions,
    load=_load,
    check=check,
    languages=lambda options: None,
)
