"""Dialogue by DeepFilterNet3 (Schröter et al. 2023), a speech enhancer for 48 kHz, run by onnxruntime.

Its three onnx files expect the front end that is written here: overlapping frames of 20 ms, 32 ERB bands and the lowest 96
frequencies, both normalised by running means. What it answers is only a hint: the dialogue is the mix behind the share that
the hint has in it (`audio.stems.ratio_mask`), inside the spans where somebody speaks. On 192 mixes that leaves the
background 3.4 dB cleaner than the mask without weights (2 to 9 dB by background); `benchmarks/separation.py` has the figures.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polydub.audio import IMPORTING
from polydub.engines.base import READY, Availability, Engine, Info, Options, Weight, WeightFile, Weights
from polydub.engines.separation.parts import assembled
from polydub.errors import MissingWeights
from polydub.types import RATE_HZ, Audio, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HOP, SIZE = 480, 960
BANDS_LOW = 96  # frequencies of 50 Hz that are filtered one by one, with TAPS complex taps
TAPS, AHEAD = 5, 2  # the net sees two frames ahead
ERB_WIDTHS = (2,) * 13 + (5, 5, 7, 7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67)  # libdf, 48 kHz, 32 bands
KEEP = 0.99  # of a running mean, per frame: a time constant of one second
LEVEL = 0.06  # RMS that speech is brought to: the normalisation of the low frequencies does not undo level
LEAD_S = 2.0  # heard before a part, so that running means and memories are where they would be
TAIL_S = 0.12  # heard after it: what the net and the windows look ahead
PART_S = 8.0  # the net takes 30 MB for each second it hears at once
SILENT = 1e-7  # RMS

_COMMIT = "1b520cea5625f50d6df01883d13483c2f62d31ca"
_FOLDER = f"https://raw.githubusercontent.com/liudonghua123/deepfilternet-web/{_COMMIT}/public/standard-model"
_FILES = (
    ("enc.onnx", "7c5399d3da8a50ebef1c1a0ae421b33376aa5e45d0e92df16da7e83c9c131916", 1_954_042),
    ("erb_dec.onnx", "ab669a1d10afe20911728b33053a452071042317a90581092b325da7b2f9d895", 3_292_397),
    ("df_dec.onnx", "23114ce3b0f6464b763ee62f7bb8aab6b2a129a21eabd5bcfe59413db05f278a", 3_340_803),
)
WEIGHT = Weight(
    id="deepfilternet3",
    revision=_COMMIT,
    source="files",
    licence="MIT OR Apache-2.0",
    commercial_use=True,
    files=tuple(WeightFile(name, sha256, length, f"{_FOLDER}/{name}") for name, sha256, length in _FILES),
)

HINT = f"polydub models pull {WEIGHT.id}"


class DeepFilterOptions(Options):
    """DeepFilterNet has no options."""


class DeepFilter:
    """A Separator. Serves any number of threads at once."""

    def __init__(self, folder: Path) -> None:
        self._encoder, self._gains, self._taps = (session(folder / name, "DeepFilterNet3", HINT) for name, _, _ in _FILES)

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

        middle = stems.middle(samples)[0]
        loud = float(np.sqrt(np.square(middle[start:stop]).mean()))
        if loud < SILENT:
            return np.zeros_like(samples)
        middle *= np.float32(LEVEL / loud)
        return stems.masked(samples, stems.ratio_mask(middle, self.enhanced(middle)))

    def enhanced(self, sound: Samples) -> Samples:
        """What the net makes of `sound` (n,) at RATE_HZ: speech as it should have been, in the same place."""
        import numpy as np

        from polydub.audio import stems

        window, scale = _window(), np.float32(2 * HOP / SIZE**2)
        spectra = stems.framed(np.concatenate([sound, np.zeros(AHEAD * HOP, np.float32)]), window * scale, HOP)
        gains, taps = self._answer(spectra)
        count = len(spectra)
        clean = spectra * np.repeat(gains, ERB_WIDTHS, axis=1)
        around = np.pad(spectra[:, :BANDS_LOW], ((TAPS - 1 - AHEAD, AHEAD), (0, 0)))
        clean[:, :BANDS_LOW] = np.sum([around[k : k + count] * taps[:, :, k] for k in range(TAPS)], axis=0)
        return stems.joined(clean, window / scale, HOP, len(sound))

    def _answer(self, spectra: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
        """Gains (frames, 32) of the ERB bands, and complex taps (frames, 96, 5) of the low frequencies."""
        erb, low = features(spectra)
        names = [output.name for output in self._encoder.get_outputs()]
        found = dict(zip(names, self._encoder.run(None, {"feat_erb": erb, "feat_spec": low}), strict=True))
        gains = self._gains.run(None, {name: found[name] for name in ("emb", "e3", "e2", "e1", "e0")})[0]
        taps = self._taps.run(["coefs"], {name: found[name] for name in ("emb", "c0")})[0]
        pairs = taps.reshape(len(spectra), BANDS_LOW, TAPS, 2)
        return gains[0, 0], pairs[..., 0] + 1j * pairs[..., 1]


def features(spectra: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the encoder sees of `spectra` (frames, 481): ERB levels (1, 1, frames, 32), low frequencies (1, 2, frames, 96).

    Levels are dB less their running mean, the rest is divided by the root of a running magnitude; both AHEAD frames early.
    """
    import numpy as np

    with IMPORTING:
        from scipy.signal import lfilter

    starts = np.cumsum((0, *ERB_WIDTHS[:-1]))
    power = spectra.real**2 + spectra.imag**2
    levels = 10 * np.log10(np.add.reduceat(power, starts, axis=1) / np.array(ERB_WIDTHS) + 1e-10)
    mean, _ = lfilter([1 - KEEP], [1, -KEEP], levels, axis=0, zi=KEEP * np.linspace(-60, -90, 32)[None])
    low = spectra[:, :BANDS_LOW]
    first = KEEP * np.linspace(0.001, 0.0001, BANDS_LOW)[None]
    running, _ = lfilter([1 - KEEP], [1, -KEEP], np.abs(low).astype(np.float64), axis=0, zi=first)
    even = low / np.sqrt(running)
    erb = np.zeros((1, 1, len(spectra), 32), np.float32)
    parts_ = np.zeros((1, 2, len(spectra), BANDS_LOW), np.float32)
    erb[0, 0, :-AHEAD] = ((levels - mean) / 40)[AHEAD:]
    parts_[0, 0, :-AHEAD], parts_[0, 1, :-AHEAD] = even.real[AHEAD:], even.imag[AHEAD:]
    return erb, parts_


def _window() -> NDArray[np.float32]:
    """The Vorbis window: its square and that of its neighbour add up to one."""
    import numpy as np

    rise = np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE)
    return np.sin(0.5 * np.pi * rise**2).astype(np.float32)


def session(file: Path, model: str, hint: str) -> Any:
    """One net of a model. Raises: MissingWeights with `hint` when the file is not there or damaged."""
    import onnxruntime  # pyright: ignore[reportMissingTypeStubs]

    runtime = cast("Any", onnxruntime)
    errors = runtime.capi.onnxruntime_pybind11_state
    how = runtime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    how.enable_cpu_mem_arena = False  # it would keep what the longest part took, for each thread
    how.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(file), how, ["CPUExecutionProvider"])
    except (errors.NoSuchFile, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.Fail) as error:
        raise MissingWeights(f"{file.name} of {model} is missing or damaged", hint) from error


@contextmanager
def _load(_options: DeepFilterOptions, weights: Weights, _device: str) -> Generator[DeepFilter]:
    if WEIGHT.id not in weights:
        raise MissingWeights("the weights of DeepFilterNet3 are not here", HINT)
    yield DeepFilter(weights[WEIGHT.id])


def _check(_options: DeepFilterOptions) -> Availability:
    if find_spec("onnxruntime") is None:
        return Availability(False, "onnxruntime is not installed", "pip install onnxruntime")
    return READY


ENGINE = Engine(
    info=Info(
        kind="separation",
        name="deepfilternet",
        summary="takes dialogue out of any background by a small neural net",
        licence="Apache-2.0",
        homepage="https://github.com/Rikorose/DeepFilterNet",
        package="onnxruntime",
        memory_mib=(400, 0),
        parallel=0,
    ),
    options=DeepFilterOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
    weights=lambda _: (WEIGHT,),
)
