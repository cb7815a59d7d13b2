"""Tiny Piper voices of sines: FOLDER/{en_US-tiny-x_low,es_ES-duo-x_low}.onnx; the second has two speakers. Version 1."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sine_voice
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
from sine_voice import FLOAT, INT64, SineVoice, node, port

RATE_HZ, SYMBOLS = 22_050, 512
INPUTS = [port("input", INT64, [1, "n"]), port("input_lengths", INT64, [1]), port("scales", FLOAT, [3])]
# The speaker changes nothing but the pace: two speakers can be told apart by their lengths.
SPEAKER = [
    node("Cast", ["sid"], "sidf", to=FLOAT),
    node("Squeeze", ["sidf"], "sid0"),
    node("Mul", ["sid0", "loud"], "more"),
    node("Add", ["more", "scale"], "length"),
]


def main(folder: Path) -> None:
    for name, espeak, speakers in (("en_US-tiny-x_low", "en-us", {}), ("es_ES-duo-x_low", "es", {"ana": 0, "luis": 1})):
        scale = node("Gather", ["scales", "one"], "scale" if speakers else "length")
        inputs = [*INPUTS, port("sid", INT64, [1])] if speakers else INPUTS
        length = [scale, *(SPEAKER if speakers else ())]
        voice = SineVoice("input", SYMBOLS, 256, RATE_HZ, inputs, length, "output", [1, 1, -1])
        sine_voice.write(folder / f"{name}.onnx", voice)
        described = {
            "audio": {"sample_rate": RATE_HZ, "quality": "x_low"},
            "espeak": {"voice": espeak},
            "phoneme_type": "espeak",
            "num_symbols": SYMBOLS,
            "num_speakers": max(1, len(speakers)),
            "speaker_id_map": speakers,
            "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
            "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
            "language": {"code": name.partition("-")[0]},
        }
        (folder / f"{name}.onnx.json").write_text(json.dumps(described), "utf-8")


if __name__ == "__main__":
    np.seterr(all="raise")
    main(Path(sys.argv[1]))
