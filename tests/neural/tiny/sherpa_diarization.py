"""Two ONNX files that sherpa-onnx diarizes with, for people who each hum one note: python sherpa_diarization.py FOLDER

They are no random weights: the first hears which of the notes of NOTES_HZ sound, as a network of pyannote's would tell who of
three speakers talks, also two at once; the second tells notes apart by the bands they fall into. The files are written as
protocol buffers by hand, since the environment has no `onnx`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

RATE_HZ, WINDOW, FIELD, SHIFT = 16_000, 160_000, 991, 270
NOTES_HZ = (400.0, 1100.0)
BANDS = 80
SEGMENTATION = {
    "model_type": "pyannote-segmentation-3.0",
    "num_speakers": 3,
    "powerset_max_classes": 2,
    "num_classes": 7,
    "sample_rate": RATE_HZ,
    "window_size": WINDOW,
    "receptive_field_size": FIELD,
    "receptive_field_shift": SHIFT,
}
EMBEDDING = {
    "framework": "3d-speaker",
    "language": "English",
    "url": "none",
    "comment": "tiny",
    "sample_rate": RATE_HZ,
    "output_dim": BANDS,
    "normalize_samples": 1,
    "feature_normalize_type": "",
}


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(field(1, n) for n in array.shape)
    kind, content = (7, array.astype("<i8")) if array.dtype.kind == "i" else (1, array.astype("<f4"))
    return dims + field(2, kind) + field(8, name) + field(9, content.tobytes())


def node(operation: str, inputs: str, output: str, **attributes: Sequence[int] | int) -> bytes:
    made = b"".join(field(1, name) for name in inputs.split()) + field(2, output) + field(4, operation)
    for name, value in attributes.items():
        if isinstance(value, int):
            made += field(5, field(1, name) + field(3, value) + field(20, 2))
        else:
            made += field(5, field(1, name) + b"".join(field(8, n) for n in value) + field(20, 7))
    return made


def value(name: str, *dims: int | str) -> bytes:
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def model(
    nodes: Sequence[bytes], weights: Mapping[str, np.ndarray], ends: Sequence[bytes], facts: Mapping[str, object]
) -> bytes:
    graph = b"".join(field(1, n) for n in nodes) + field(2, "g")
    graph += b"".join(field(5, tensor(name, w)) for name, w in weights.items())
    graph += field(11, ends[0]) + field(12, ends[1])
    properties = b"".join(field(14, field(1, key) + field(2, str(fact))) for key, fact in facts.items())
    return field(1, 8) + field(7, graph) + field(8, field(2, 13)) + properties


def segmentation(facts: Mapping[str, object] = SEGMENTATION) -> bytes:
    time = np.arange(FIELD) / RATE_HZ
    waves = [f(2 * np.pi * hz * time) * 2 / FIELD for hz in NOTES_HZ for f in (np.cos, np.sin)]
    powers = np.kron(np.eye(2), np.ones((1, 2)))[:, :, None] * 1000
    classes = np.array([[-1, -1], [1, -1], [-1, 1], [0, 0], [1, 1], [0, 0], [0, 0]])[:, :, None]  # nobody, 1, 2, 3, 1+2 ...
    weights = {
        "waves": np.array(waves)[:, None],
        "powers": powers,
        "least": np.full(2, -10.0),  # an amplitude of 0.1
        "classes": classes.astype(float),
        "never": np.array([0, 0, 0, -9, 0, -9, -9.0]),
    }
    nodes = [
        node("Conv", "x waves", "heard", strides=[SHIFT]),
        node("Mul", "heard heard", "power"),
        node("Conv", "power powers least", "loud"),
        node("Tanh", "loud", "sounding"),
        node("Conv", "sounding classes never", "scores"),
        node("Transpose", "scores", "y", perm=[0, 2, 1]),
    ]
    return model(nodes, weights, [value("x", "N", 1, "T"), value("y", "N", "F", 7)], facts)


def embedding(facts: Mapping[str, object] = EMBEDDING) -> bytes:
    """The mean of each band over time, less the mean over all bands."""
    nodes = [
        node("ReduceMean", "feats", "bands", axes=[1], keepdims=0),
        node("ReduceMean", "bands", "level", axes=[1], keepdims=1),
        node("Sub", "bands level", "embs"),
    ]
    return model(nodes, {}, [value("feats", "B", "T", BANDS), value("embs", "B", BANDS)], facts)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "segmentation.onnx").write_bytes(segmentation())
    (folder / "embedding.onnx").write_bytes(embedding())
