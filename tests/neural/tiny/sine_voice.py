"""Speech models of some twenty ONNX nodes: each symbol is a sine of its own frequency for a number of frames of its own.

The environments of the engines have onnxruntime but not onnx, so that the protobuf messages (onnx.proto3: ModelProto,
GraphProto, NodeProto, TensorProto, ValueInfoProto) are written here by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7  # TensorProto.DataType
Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, int]]


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _bytes(tag: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(tag << 3 | 2) + _varint(len(raw)) + raw


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    """A NodeProto; attributes are integers."""
    told = b"".join(_bytes(5, _bytes(1, name) + _number(3, value) + _number(20, 2)) for name, value in attributes.items())
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind) + told


def tensor(name: str, value: np.ndarray) -> bytes:
    """A TensorProto with its numbers."""
    kind = INT64 if value.dtype == np.int64 else FLOAT
    return b"".join(_number(1, size) for size in value.shape) + _number(2, kind) + _bytes(8, name) + _bytes(9, value.tobytes())


def port(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto: an input or an output."""
    sizes = b"".join(_bytes(1, _bytes(2, s) if isinstance(s, str) else _number(1, s)) for s in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, sizes)))


@dataclass
class SineVoice:
    """How a model is asked. `length`: nodes that give a scalar "length" from its inputs. `shape`: of its output."""

    ids: str
    symbols: int
    hop: int
    rate_hz: int
    inputs: Sequence[bytes]
    length: Sequence[bytes]
    output: str
    shape: Sequence[int]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)


def write(path: Path, voice: SineVoice) -> None:
    """Writes the model; its frequencies and widths are random, but the same every time."""
    rng = np.random.default_rng(0)
    values = {
        "frequency": (rng.uniform(120, 400, voice.symbols) * 2 * np.pi / voice.rate_hz).astype(np.float32),
        "width": rng.uniform(1.2, 4.0, voice.symbols).astype(np.float32),
        "hop": np.array(voice.hop, np.int64),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "last": np.array([-1], np.int64),
        "shape": np.array(voice.shape, np.int64),
        "loud": np.array(0.3, np.float32),
        **voice.constants,
    }
    nodes = [
        node("Reshape", [voice.ids, "last"], "ids"),
        *voice.length,
        node("Gather", ["width", "ids"], "w0"),
        node("Mul", ["w0", "length"], "w1"),
        node("Ceil", ["w1"], "w2"),
        node("Cast", ["w2"], "frames", to=INT64),
        node("Mul", ["frames", "hop"], "samples"),
        node("CumSum", ["samples", "zero"], "ends"),
        node("ReduceSum", ["samples"], "total", keepdims=0),
        node("Range", ["zero", "total", "one"], "t"),
        node("Unsqueeze", ["t", "last"], "column"),
        node("GreaterOrEqual", ["column", "ends"], "past"),
        node("Cast", ["past"], "past_int", to=INT64),
        node("ReduceSum", ["past_int", "last"], "which", keepdims=0),  # the symbol heard at each sample
        node("Gather", ["frequency", "ids"], "f0"),
        node("Gather", ["f0", "which"], "f"),
        node("Cast", ["t"], "time", to=FLOAT),
        node("Mul", ["f", "time"], "phase"),
        node("Sin", ["phase"], "sine"),
        node("Mul", ["sine", "loud"], "quiet"),
        node("Reshape", ["quiet", "shape"], voice.output),
    ]
    out = port(voice.output, FLOAT, [1] * (len(voice.shape) - 1) + ["T"])
    graph = b"".join(_bytes(1, n) for n in nodes) + _bytes(2, "tiny")
    graph += b"".join(_bytes(5, tensor(name, value)) for name, value in values.items())
    graph += b"".join(_bytes(11, one) for one in voice.inputs) + _bytes(12, out)
    model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 17))  # ir_version 8, opset 17
    path.write_bytes(model)
