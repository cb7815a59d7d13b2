"""Recognisers of a few kilobytes for sherpa-onnx, one folder for each family: python sherpa_asr.py FOLDER

They say a few words, the same ones every time, as the sound changes; Moonshine says always the same. The files are written
as protocol buffers by hand, since the environment has no `onnx`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

FLOAT, INT32, INT64 = 1, 6, 7
BPE = ("▁hello", "▁wor", "ld", "▁good", "▁day", ".", "▁my", "<blk>")
NEMO = {"vocab_size": 7, "subsampling_factor": 8, "normalize_type": "per_feature"}
WINDOW = 7 * 80  # of SenseVoice: seven frames of 80 bands


def varint(value: int) -> bytes:
    made = bytearray()
    value %= 1 << 64
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
    kind, content = (INT64, array.astype("<i8")) if array.dtype.kind == "i" else (FLOAT, array.astype("<f4"))
    return b"".join(field(1, n) for n in array.shape) + field(2, kind) + field(8, name) + field(9, content.tobytes())


def node(operation: str, inputs: str, outputs: str, **attributes: Sequence[int] | int) -> bytes:
    made = b"".join(field(1, name) for name in inputs.split()) + b"".join(field(2, name) for name in outputs.split())
    made += field(4, operation)
    for name, value in attributes.items():
        if isinstance(value, int):
            made += field(5, field(1, name) + field(3, value) + field(20, 2))
        else:
            made += field(5, field(1, name) + b"".join(field(8, n) for n in value) + field(20, 7))
    return made


def value(text: str) -> bytes:
    """ "length:i8 B" is a vector of int64, "x N T 80" a float array of three axes."""
    name, *dims = text.split()
    name, _, kind = name.partition(":")
    shape = b"".join(field(1, field(1, int(d)) if d.isdigit() else field(2, d)) for d in dims)
    code = {"": FLOAT, "i4": INT32, "i8": INT64}[kind]
    return field(1, name) + field(2, field(1, field(1, code) + field(2, shape)))


def write(
    path: Path,
    nodes: Sequence[bytes],
    ends: tuple[str, str],
    weights: Mapping[str, np.ndarray] | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """ends: inputs and outputs, parted by semicolons."""
    graph = b"".join(field(1, n) for n in nodes) + field(2, "g")
    graph += b"".join(field(5, tensor(name, w)) for name, w in (weights or {}).items())
    graph += b"".join(field(11, value(text)) for text in ends[0].split(";"))
    graph += b"".join(field(12, value(text)) for text in ends[1].split(";"))
    properties = b"".join(field(14, field(1, key) + field(2, str(fact))) for key, fact in (facts or {}).items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)) + properties)


def tokens(folder: Path, symbols: Sequence[str]) -> None:
    (folder / "tokens.txt").write_text("".join(f"{symbol} {n}\n" for n, symbol in enumerate(symbols)), encoding="utf-8")


def nemo_ctc(folder: Path) -> None:
    nodes = [
        node("MaxPool", "audio_signal", "pooled", kernel_shape=[8], strides=[8]),
        node("Transpose", "pooled", "turned", perm=[0, 2, 1]),
        node("MatMul", "turned w", "logits"),
        node("LogSoftmax", "logits", "logprobs", axis=-1),
    ]
    weights = {"w": np.random.default_rng(0).normal(0, 1, (80, 8))}
    ends = ("audio_signal B 80 T;length:i8 B", "logprobs B T2 8")
    write(folder / "model.onnx", nodes, ends, weights, {**NEMO, "model_type": "EncDecCTCModelBPE"})
    tokens(folder, BPE)


def nemo_transducer(folder: Path, durations: int = 0) -> None:
    """With durations a TDT like Parakeet, whose joiner tells besides how many frames to go on."""
    rng = np.random.default_rng(1)
    encoder = [
        node("MaxPool", "audio_signal", "outputs", kernel_shape=[8], strides=[8]),
        node("Div", "length eight", "encoded_lengths"),
    ]
    facts = {**NEMO, "pred_rnn_layers": 1, "pred_hidden": 2, "model_type": "EncDecRNNTBPEModel"}
    facts |= {"url": "https://example.org/parakeet-tdt"} if durations else {}  # this is how it is known to be one
    ends = ("audio_signal B 80 T;length:i8 B", "outputs B 80 T2;encoded_lengths:i8 B")
    write(folder / "encoder.onnx", encoder, ends, {"eight": np.array([8])}, facts)
    decoder = [
        node("Gather", "table targets", "found"),
        node("Transpose", "found", "outputs", perm=[0, 2, 1]),
        node("Identity", "target_length", "prednet_lengths"),
        node("Identity", "h", "h2"),
        node("Identity", "c", "c2"),
    ]
    ends = (
        "targets:i4 B U;target_length:i4 B;h 1 B 2;c 1 B 2",
        "outputs B 4 U;prednet_lengths:i4 B;h2 1 B 2;c2 1 B 2",
    )
    write(folder / "decoder.onnx", decoder, ends, {"table": rng.normal(0, 3, (8, 4))})
    joiner = [
        node("Transpose", "encoder_outputs", "e", perm=[0, 2, 1]),
        node("Transpose", "decoder_outputs", "d", perm=[0, 2, 1]),
        node("MatMul", "e we", "le"),
        node("MatMul", "d wd", "ld"),
        node("Add", "le ld", "sum"),
        node("Add", "sum bias", "biased"),
        node("Unsqueeze", "biased axis", "outputs"),
    ]
    size = 8 + durations
    bias = np.zeros(size)
    bias[7] = 6.0  # silence is likely
    weights = {"we": rng.normal(0, 1, (80, size)), "wd": rng.normal(0, 1, (4, size)), "bias": bias, "axis": np.array([2])}
    ends = ("encoder_outputs B 80 1;decoder_outputs B 4 1", f"outputs B 1 1 {size}")
    write(folder / "joiner.onnx", joiner, ends, weights)
    tokens(folder, BPE)


def zipformer(folder: Path) -> None:
    rng = np.random.default_rng(2)
    encoder = [
        node("Transpose", "x", "turned", perm=[0, 2, 1]),
        node("MaxPool", "turned", "pooled", kernel_shape=[4], strides=[4]),
        node("Transpose", "pooled", "encoder_out", perm=[0, 2, 1]),
        node("Div", "x_lens four", "encoder_out_lens"),
    ]
    ends = ("x N T 80;x_lens:i8 N", "encoder_out N T2 80;encoder_out_lens:i8 N")
    write(folder / "encoder.onnx", encoder, ends, {"four": np.array([4])}, {"model_type": "zipformer2", "version": "1"})
    decoder = [node("Gather", "table y", "found"), node("ReduceMean", "found", "decoder_out", axes=[1], keepdims=0)]
    facts = {"vocab_size": 8, "context_size": 2}
    write(folder / "decoder.onnx", decoder, ("y:i8 N 2", "decoder_out N 80"), {"table": rng.normal(0, 1, (8, 80))}, facts)
    joiner = [
        node("Add", "encoder_out decoder_out", "sum"),
        node("MatMul", "sum w", "raw"),
        node("Add", "raw bias", "logit"),
    ]
    bias = np.zeros(8)
    bias[0] = 40.0
    ends = ("encoder_out N 80;decoder_out N 80", "logit N 8")
    write(folder / "joiner.onnx", joiner, ends, {"w": rng.normal(0, 1, (80, 8)), "bias": bias}, {"joiner_dim": 80})
    tokens(folder, ("<blk>", *BPE[:-1]))


def sense_voice(folder: Path) -> None:
    """Four frames before the sound's tell language, mood, event and spelling; here always <|en|>."""
    symbols = ("<unk>", "▁hello", "▁wor", "ld", "你", "好", ".", "<|en|>")
    weights = np.random.default_rng(3).normal(0, 1, (WINDOW, len(symbols)))
    weights[:, 7] = 0.0
    nodes = [node("Pad", "x ends", "longer"), node("MatMul", "longer w", "raw"), node("Add", "raw bias", "logits")]
    numbers = ("with_itn", "without_itn", *(f"lang_{tag}" for tag in ("auto", "zh", "en", "yue", "ja", "ko")))
    facts = {
        "model_type": "sense_voice_ctc",
        "vocab_size": len(symbols),
        "lfr_window_size": 7,
        "lfr_window_shift": 6,
        "normalize_samples": 0,
        "neg_mean": ",".join(["-10"] * WINDOW),
        "inv_stddev": ",".join(["0.1"] * WINDOW),
        "comment": "tiny",
        **{name: n for n, name in enumerate(numbers)},
    }
    given = {"w": weights, "ends": np.array([0, 4, 0, 0, 0, 0]), "bias": np.array([0, 0, 0, 0, 0, 0, 0, 0.1])}
    ends = (f"x N T {WINDOW};x_length:i4 N;language:i4 N;text_norm:i4 N", f"logits N T2 {len(symbols)}")
    write(folder / "model.onnx", nodes, ends, given, facts)
    tokens(folder, symbols)


def moonshine(folder: Path) -> None:
    preprocess = [
        node("Unsqueeze", "args_0 one", "three"),
        node("AveragePool", "three", "levels", kernel_shape=[384], strides=[384]),
        node("Transpose", "levels", "sequential", perm=[0, 2, 1]),
    ]
    write(folder / "preprocess.onnx", preprocess, ("args_0 1 N", "sequential 1 T 1"), {"one": np.array([1])})
    write(folder / "encode.onnx", [node("Identity", "args_0", "out")], ("args_0 1 T 1;args_1:i4 1", "out 1 T 1"))
    following = np.zeros((7, 7))
    for token, then in ((1, 3), (3, 4), (4, 5), (5, 6), (6, 2)):
        following[token, then] = 9.0
    step = [node("Gather", "table args_0", "logits")]
    weights = {"table": following}
    write(
        folder / "uncached_decode.onnx",
        [*step, node("Identity", "args_1", "state")],
        ("args_0:i4 1 U;args_1 1 T 1;args_2:i4 1", "logits 1 U 7;state 1 T 1"),
        weights,
    )
    write(
        folder / "cached_decode.onnx",
        [*step, node("Identity", "args_3", "state")],
        ("args_0:i4 1 U;args_1 1 T 1;args_2:i4 1;args_3 1 T 1", "logits 1 U 7;state 1 T 1"),
        weights,
    )
    tokens(folder, ("<unk>", "<s>", "</s>", "▁Hello", "▁wor", "ld", "."))


if __name__ == "__main__":
    root = Path(sys.argv[1])
    nemo_ctc(root / "nemo-ctc")
    nemo_transducer(root / "nemo-transducer")
    nemo_transducer(root / "tdt", durations=5)
    zipformer(root / "transducer")
    sense_voice(root / "sense-voice")
    moonshine(root / "moonshine")
