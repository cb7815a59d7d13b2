"""Dialogue by UL-UNAS (Rong et al. 2025), a small speech enhancer for 16 kHz, run by onnxruntime.

It hears one frame of 32 ms after another and answers with what of it is speech. As with DeepFilterNet the dialogue is the mix
behind the share that the answer has in it; above 7.6 kHz, where it hears nothing, that is the share at 3 to 7.5 kHz of the
same moment. On 192 mixes it is 0.7 dB behind DeepFilterNet and takes three times as long, but its weights are a tenth of the
size and less of the voice is left (2 dB); `benchmarks/separation.py` has the figures.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from polydub.engines.base import READY, Availability, Engine, Info, Options, Weight, WeightFile, Weights
from polydub.engines.separation.deepfilternet import session
from polydub.engines.separation.parts import assembled
from polydub.errors import MissingWeights
from polydub.types import HEAR_HZ, RATE_HZ, Audio, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HOP, SIZE = 256, 512
CACHES = {"conv_cache": 5358, "tfa_cache": 402, "inter_cache": 1056}  # what the net carries from frame to frame
LEVEL = 0.06  # RMS that speech is brought to
LEAD_S = 2.0  # heard before a part, so that the net's memory is where it would be
TAIL_S = 0.12
PART_S = 5.5
SILENT = 1e-7  # RMS
TOP_HZ = 7600.0  # what the net hears
LIKE_HZ = (3000.0, 7500.0)  # whose share is that of all above

_COMMIT = "00f7c700da43d38347f30a6ccebd86fcbc798e07"
_FILE = "ulunas_stream_simple.onnx"
WEIGHT = Weight(
    id="ul-unas",
    revision=_COMMIT,
    source="files",
    licence="MIT",
    commercial_use=True,
    files=(
        WeightFile(
            _FILE,
            "f2e804d54d6a88f4f82f44d86c9f1cf646db2509bfca935cfbfc5fcd8cbfac3b",
            788_967,
            f"https://raw.githubusercontent.com/Xiaobin-Rong/ul-unas/{_COMMIT}/ulunas_onnx/onnx_models/{_FILE}",
        ),
    ),
)
HINT = f"polydub models pull {WEIGHT.id}"


class UlUnasOptions(Options):
    """UL-UNAS has no options."""


class UlUnas:
    """A Separator. Serves any number of threads at once."""

    def __init__(self, folder: Path) -> None:
        self._net = session(folder / _FILE, "UL-UNAS", HINT)

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        """The dialogue in `sound` (RATE_HZ), float32 of its shape; silent outside `speech`. Never None.

        The sound is brought to one level first. Silence, and sound without speech, give silence.
        """
        from polydub.audio import stems

        samples = sound.samples

        def answer(start: int, stop: int, lead: int) -> Samples:
            low, high = max(0, start - round(LEAD_S * RATE_HZ)), stop + round(TAIL_S * RATE_HZ)
            return self._part(samples[:, low:high], start - low, stop - low)[:, start - low - lead : stop - low]

        return assembled(samples, speech, PART_S, answer) * stems.gate(speech, samples.shape[1])

    def _part(self, samples: Samples, start: int, stop: int) -> Samples:
        """The dialogue in all of `samples`, in which somebody speaks from `start` to `stop`, and which are judged by that."""
        import numpy as np

        from polydub.audio import stems
        from polydub.audio.signal import resample

        middle = stems.middle(samples)
        loud = float(np.sqrt(np.square(middle[0, start:stop]).mean()))
        if loud < SILENT:
            return np.zeros_like(samples)
        middle *= np.float32(LEVEL / loud)
        low = resample(middle, RATE_HZ, HEAR_HZ)[0]
        clean = resample(self.enhanced(low)[None], HEAR_HZ, RATE_HZ)[0, : middle.shape[1]]
        return stems.masked(samples, _widened(stems.ratio_mask(middle[0], clean)))

    def enhanced(self, sound: Samples) -> Samples:
        """What the net makes of `sound` (n,) at HEAR_HZ: speech as it should have been, in the same place."""
        import numpy as np

        from polydub.audio import stems

        window, back = _windows()
        spectra = stems.framed(sound, window, HOP)
        found = np.empty_like(spectra)
        caches = {name: np.zeros((1, size), np.float32) for name, size in CACHES.items()}
        for n, frame in enumerate(spectra):
            mix = np.stack([frame.real, frame.imag], axis=1).astype(np.float32)[None, :, None]
            clean, *after = self._net.run(None, {"mix": mix, **caches})
            caches = dict(zip(CACHES, after, strict=True))
            found[n] = clean[0, :, 0, 0] + 1j * clean[0, :, 0, 1]
        return stems.joined(found, back, HOP, len(sound))


def _windows() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The Hann window with which the net was trained, and the one after which the sum of their products is 1."""
    import numpy as np

    rise = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
    squares = rise**2 + np.roll(rise, HOP) ** 2
    return rise.astype(np.float32), (rise / squares).astype(np.float32)


def _widened(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mask whose frequencies above TOP_HZ have the mean share of LIKE_HZ."""
    import numpy as np

    from polydub.audio.stems import WINDOW

    top, low, high = (round(hz * WINDOW / RATE_HZ) for hz in (TOP_HZ, *LIKE_HZ))
    wide = mask.copy()
    wide[:, top:] = np.mean(mask[:, low:high], axis=1, keepdims=True)
    return wide


@contextmanager
def _load(_options: UlUnasOptions, weights: Weights, _device: str) -> Generator[UlUnas]:
    if WEIGHT.id not in weights:
        raise MissingWeights("the weights of UL-UNAS are not here", HINT)
    yield UlUnas(weights[WEIGHT.id])


def _check(_options: UlUnasOptions) -> Availability:
    if find_spec("onnxruntime") is None:
        return Availability(False, "onnxruntime is not installed", "pip install onnxruntime")
    return READY


ENGINE = Engine(
    info=Info(
        kind="separation",
        name="ul-unas",
        summary="takes dialogue out of any background by a very small neural net (0.8 MB)",
        licence="Apache-2.0",
        homepage="https://github.com/Xiaobin-Rong/ul-unas",
        package="onnxruntime",
        memory_mib=(300, 0),
        parallel=0,
    ),
    options=UlUnasOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
    weights=lambda _: (WEIGHT,),
)
