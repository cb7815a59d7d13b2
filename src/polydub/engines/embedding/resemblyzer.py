"""Resemblyzer's speaker encoder in plain numpy: three LSTM layers of 256 over 40 mel bands, 256 numbers of unit length.

The weights come out of the Resemblyzer package, which itself (with torch, librosa and webrtcvad) is not needed. Its file
is read by an unpickler that knows tensors and nothing else, and is rewritten without the optimiser's state.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from polydub.engines.base import READY, Calibration, Engine, Info, Options, Weight, WeightFile, Weights
from polydub.errors import BadInput, MissingWeights
from polydub.types import HEAR_HZ, Audio, Samples, Span

WEIGHT_ID = "resemblyzer"
PACKED = "encoder.safetensors"
UNITS, LAYERS, BANDS, DIMENSIONS = 256, 3, 40, 256
LAYOUT: Mapping[str, tuple[int, ...]] = {
    **{f"lstm.weight_ih_l{n}": (4 * UNITS, BANDS if n == 0 else UNITS) for n in range(LAYERS)},
    **{f"lstm.weight_hh_l{n}": (4 * UNITS, UNITS) for n in range(LAYERS)},
    **{f"lstm.bias_ih_l{n}": (4 * UNITS,) for n in range(LAYERS)},
    **{f"lstm.bias_hh_l{n}": (4 * UNITS,) for n in range(LAYERS)},
    "linear.weight": (DIMENSIONS, UNITS),
    "linear.bias": (DIMENSIONS,),
}
HINT = "polydub models pull resemblyzer"
LENGTH, FRAMES = 25_600, 160  # samples and mel frames of the 1.6 s it was trained on
SLACK = 400  # samples by which a window of 1.6 s may be longer, for rounding
HOP = 77  # mel frames from one 1.6 s to the next in longer windows
COVERED = 0.75  # the last 1.6 s are used when the window covers this share of them
QUIET = 10**-3.0  # mean square of -30 dBFS
BATCH = 16  # windows at once: about 35 MB a thread
WEIGHT = Weight(
    id=WEIGHT_ID,
    revision="0.1.4",
    source="wheel:Resemblyzer==0.1.4#8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
    licence="Apache-2.0",
    commercial_use=True,
    files=(
        WeightFile(
            PACKED,
            "f63193f160bebbf7b17665b63f9c882dff6b4fb6b4851af9635cdbda257314cc",
            5_695_648,
            "resemblyzer/pretrained.pt|polydub.engines.embedding.resemblyzer:distil",
        ),
    ),
)


class ResemblyzerOptions(Options):
    """It has none."""


class _Tensor(NamedTuple):
    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild(storage: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(storage, offset, size, stride)


class _Plain(pickle.Unpickler):
    """Reads tensors, dictionaries and numbers of the torch format before 1.6; refuses all else, so that no code can run."""

    TYPES: Mapping[str, str] = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "LongStorage": "<i8", "IntStorage": "<i4"}

    def __init__(self, file: IO[bytes], storages: dict[str, str]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str, /) -> Any:
        """The few names that weights are made of."""
        if module == "torch" and name in self.TYPES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"{module}.{name} is no part of weights")

    def persistent_load(self, pid: Any, /) -> str:
        """Notes the type of a storage, whose numbers follow later in the file."""
        self._storages[pid[2]] = self.TYPES[pid[1]]
        return pid[2]


def _read_pretrained(file: Path) -> dict[str, Samples]:
    """The tensors of LAYOUT out of Resemblyzer's pretrained.pt. Raises: BadInput."""
    import numpy as np

    storages: dict[str, str] = {}
    numbers: dict[str, Any] = {}
    try:
        with file.open("rb") as opened:
            for _ in range(3):  # magic number, protocol, system
                _Plain(opened, {}).load()
            state = _Plain(opened, storages).load()["model_state"]
            for key in _Plain(opened, {}).load():
                dtype = np.dtype(storages[key])
                (count,) = struct.unpack("<q", opened.read(8))
                numbers[key] = np.frombuffer(opened.read(count * dtype.itemsize), dtype)
        found: dict[str, Samples] = {}
        for name, shape in LAYOUT.items():
            tensor = cast("_Tensor", state[name])
            values = numbers[tensor.storage][tensor.offset : tensor.offset + int(np.prod(shape))]
            if tuple(tensor.size) != shape or (len(shape) == 2 and tuple(tensor.stride) != (shape[1], 1)):
                raise ValueError(f"{name} has another shape")
            found[name] = values.astype("<f4").reshape(shape)
    except (OSError, pickle.UnpicklingError, struct.error, KeyError, IndexError, TypeError, ValueError, EOFError) as error:
        raise BadInput(f"these are not Resemblyzer's weights: {error}", HINT) from error
    return found


def distil(pretrained: Path, out: Path) -> None:
    """Write the encoder's 1.42 million numbers of `pretrained` (17.1 MB) to `out` (5.7 MB, safetensors), always the same bytes.

    Raises: BadInput when `pretrained` is not what the package carries.
    """
    tensors = _read_pretrained(pretrained)
    header: dict[str, Any] = {}
    at = 0
    for name in LAYOUT:
        end = at + tensors[name].nbytes
        header[name] = {"dtype": "F32", "shape": list(LAYOUT[name]), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    out.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[name].tobytes() for name in LAYOUT))


def _read_packed(file: Path) -> dict[str, Samples]:
    import numpy as np

    try:
        whole = file.read_bytes()
        (length,) = struct.unpack_from("<Q", whole)
        header = json.loads(whole[8 : 8 + length])
        found: dict[str, Samples] = {}
        for name, shape in LAYOUT.items():
            start, end = header[name]["data_offsets"]
            found[name] = np.frombuffer(whole[8 + length + start : 8 + length + end], "<f4").reshape(shape)
    except (OSError, struct.error, KeyError, TypeError, ValueError) as error:
        raise MissingWeights(f"the weights of Resemblyzer cannot be read: {error}", HINT) from error
    return found


def _sigmoid(x: Samples) -> None:
    """In place; by tanh, which cannot overflow."""
    import numpy as np

    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5


class Resemblyzer:
    """A SpeakerEncoder. Thread-safe: nothing is kept between calls."""

    calibration = Calibration(merge=0.35, centred=0.70, switch=(0.3, 0.5), same=0.26, other=0.42)

    def __init__(self, tensors: Mapping[str, Samples]) -> None:
        import numpy as np

        self._layers = [
            (
                np.ascontiguousarray(tensors[f"lstm.weight_ih_l{n}"].T),
                np.ascontiguousarray(tensors[f"lstm.weight_hh_l{n}"].T),
                tensors[f"lstm.bias_ih_l{n}"] + tensors[f"lstm.bias_hh_l{n}"],
            )
            for n in range(LAYERS)
        ]
        self._linear = np.ascontiguousarray(tensors["linear.weight"].T), tensors["linear.bias"]

    def embed(self, speech: Audio, windows: Sequence[Span]) -> Samples:
        """One row of unit length for each window (seconds in `speech`, mono at HEAR_HZ), float32 (len(windows), 256).

        Windows up to 1.6 s are repeated until they fill 1.6 s; longer ones are the mean over 1.6 s taken every 0.77 s.
        Windows quieter than -30 dBFS are raised to it. Silence, or a window outside the sound, gives the row of silence.
        Only rows of windows of about the same length can be compared: short windows are less alike.
        """
        import numpy as np

        if speech.rate_hz != HEAR_HZ or speech.samples.shape[0] != 1:
            raise ValueError(f"Resemblyzer wants mono sound at {HEAR_HZ} Hz")
        found = np.zeros((len(windows), DIMENSIONS), np.float32)
        rows: list[int] = []
        spectra: list[Samples] = []
        for row, window in enumerate(windows):
            for one in _spectra(speech.samples[0, _at(window.start) : _at(window.end)]):
                rows.append(row)
                spectra.append(one)
                if len(rows) == BATCH:
                    self._add(found, rows, spectra)
        self._add(found, rows, spectra)
        return _unit(found)

    def _add(self, found: Samples, rows: list[int], spectra: list[Samples]) -> None:
        """Adds the vectors of `spectra` to the `rows` of `found` and empties both lists."""
        import numpy as np

        if rows:
            np.add.at(found, rows, self._vectors(np.stack(spectra, axis=1)))
        rows.clear()
        spectra.clear()

    def _vectors(self, spectra: Samples) -> Samples:
        """Unit vectors (batch, 256) of mel spectra (frames, batch, 40)."""
        import numpy as np

        inputs = spectra
        frames, batch, _ = spectra.shape
        for into, again, bias in self._layers:
            gates = (inputs.reshape(frames * batch, -1) @ into).reshape(frames, batch, 4 * UNITS)
            gates += bias
            cell = np.zeros((batch, UNITS), np.float32)
            outputs = np.empty((frames, batch, UNITS), np.float32)
            for frame in range(frames):
                gate = gates[frame]
                if frame:
                    gate += outputs[frame - 1] @ again
                candidate = np.tanh(gate[:, 2 * UNITS : 3 * UNITS])
                _sigmoid(gate)
                cell *= gate[:, UNITS : 2 * UNITS]
                cell += gate[:, :UNITS] * candidate
                np.multiply(gate[:, 3 * UNITS :], np.tanh(cell), out=outputs[frame])
            inputs = outputs
        weight, bias = self._linear
        return _unit(np.maximum(0, inputs[-1] @ weight + bias))


def _unit(rows: Samples) -> Samples:
    import numpy as np

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 0, rows / np.maximum(lengths, 1e-12), np.float32(DIMENSIONS**-0.5)).astype(np.float32)


def _at(second: float) -> int:
    return max(0, round(second * HEAR_HZ))


def _spectra(sound: Samples) -> list[Samples]:
    """The stretches of FRAMES mel frames that stand for one window, (FRAMES, 40) each; at least one."""
    import numpy as np

    from polydub.audio import mel

    power = float(np.mean(np.square(sound, dtype=np.float64))) if len(sound) else 0.0
    sound = sound * np.float32(max(1.0, (QUIET / max(power, 1e-12)) ** 0.5)) if power else np.zeros(LENGTH, np.float32)
    if len(sound) <= LENGTH + SLACK:
        return [mel.spectra(np.tile(sound, -(-LENGTH // len(sound)))[:LENGTH])[:FRAMES]]
    frames = len(sound) // mel.HOP + 1
    starts = list(range(0, max(1, frames - FRAMES + HOP + 1), HOP))
    if len(sound) - starts[-1] * mel.HOP < COVERED * LENGTH and len(starts) > 1:
        starts.pop()
    whole = mel.spectra(np.pad(sound, (0, max(0, (starts[-1] + FRAMES) * mel.HOP - len(sound)))))
    return [whole[start : start + FRAMES] for start in starts]


def _find(weights: Weights) -> Path:
    folder = weights.get(WEIGHT_ID)
    if folder is None or not (folder / PACKED).is_file():
        raise MissingWeights("the weights of Resemblyzer are not here", HINT)
    return folder / PACKED


@contextmanager
def _load(options: ResemblyzerOptions, weights: Weights, device: str) -> Generator[Resemblyzer]:
    del options, device
    yield Resemblyzer(_read_packed(_find(weights)))


ENGINE = Engine(
    info=Info(
        kind="embedding",
        name="resemblyzer",
        summary="Neural speaker encoder, any language; run in numpy",
        licence="Apache-2.0",
        homepage="https://github.com/resemble-ai/Resemblyzer",
        memory_mib=(120, 0),
        parallel=0,
    ),
    options=ResemblyzerOptions,
    load=_load,
    check=lambda options: READY,
    languages=lambda options: None,
    weights=lambda options: (WEIGHT,),
)
