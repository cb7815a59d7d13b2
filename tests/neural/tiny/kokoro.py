"""A tiny Kokoro of sines: FOLDER/kokoro.onnx and FOLDER/voices.bin, whose voices differ in pace. Version 1."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import sine_voice
from kokoro_onnx.config import DEFAULT_VOCAB
from sine_voice import FLOAT, INT64, SineVoice, node, port

RATE_HZ = 24_000
VOICES = ("af_x", "am_y", "bf_z", "ef_dora", "jf_alpha", "zm_yunxi")
# length = 1 / speed + mean of the style
LENGTH = [
    node("ReduceMean", ["style"], "mean", keepdims=0),
    node("Reshape", ["speed", "last"], "speed1"),
    node("Div", ["unit", "speed1"], "slow"),
    node("Squeeze", ["slow"], "slow0"),
    node("Add", ["slow0", "mean"], "length"),
]


def main(folder: Path) -> None:
    inputs = [port("input_ids", INT64, [1, "n"]), port("style", FLOAT, [1, 256]), port("speed", FLOAT, [1])]
    symbols = max(DEFAULT_VOCAB.values()) + 1
    voice = SineVoice("input_ids", symbols, 600, RATE_HZ, inputs, LENGTH, "waveform", [-1], {"unit": np.array(1, np.float32)})
    sine_voice.write(folder / "kokoro.onnx", voice)
    styles = {name: np.full((510, 1, 256), 0.02 * at, np.float32) for at, name in enumerate(VOICES)}
    with (folder / "voices.bin").open("wb") as file:  # an npz under another name
        np.savez(file, **styles)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
