"""Tiny random MDX, MDX23C, BS- and MelBand-RoFormer nets: `mdx23.py FOLDER`. Run by the Python of "separation"."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from audio_separator.separator.uvr_lib_v5.roformer.bs_roformer import BSRoformer
from audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer import MelBandRoformer
from audio_separator.separator.uvr_lib_v5.tfc_tdf_v3 import TFC_TDF_net
from ml_collections import ConfigDict

RATE = 44_100
COMMON: dict[str, Any] = {
    "dim": 16, "depth": 1, "stereo": True, "num_stems": 1, "time_transformer_depth": 1, "freq_transformer_depth": 1, "heads": 2,
    "dim_head": 8, "attn_dropout": 0.0, "ff_dropout": 0.0, "flash_attn": True, "stft_normalized": False,
}  # fmt: skip
BS = {**COMMON, "freqs_per_bands": (8,) * 15 + (9,), "dim_freqs_in": 129, "stft_n_fft": 256, "stft_hop_length": 128,
      "stft_win_length": 256, "mask_estimator_depth": 2}  # fmt: skip
MEL = {**COMMON, "num_bands": 12, "dim_freqs_in": 1025, "sample_rate": RATE, "stft_n_fft": 2048, "stft_hop_length": 441,
       "stft_win_length": 2048, "mask_estimator_depth": 1}  # fmt: skip
C23: dict[str, Any] = {
    "audio": {"chunk_size": 261_632, "dim_f": 256, "dim_t": 256, "hop_length": 512, "n_fft": 1024, "num_channels": 2,
              "sample_rate": RATE, "min_mean_abs": 0.001},
    "model": {"act": "gelu", "bottleneck_factor": 4, "growth": 8, "norm": "InstanceNorm", "num_blocks_per_scale": 1,
              "num_channels": 8, "num_scales": 2, "num_subbands": 4, "scale": [2, 2]},
    "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None},
    "inference": {"batch_size": 1, "dim_t": 256, "num_overlap": 2},
}  # fmt: skip


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of ONNX's protocol buffers; the package that writes them is not needed for anything else."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number in groups of seven bits."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def mdx(weights: np.ndarray[Any, Any]) -> bytes:
    """An MDX net of one convolution with a kernel of one point, (4, 4) weights."""

    def tensor(name: str) -> bytes:
        axes = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in ("N", 4, 1024, 256))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, axes)))

    shape = b"".join(field(1, d) for d in (4, 4, 1, 1))
    constant = shape + field(2, 1) + field(8, "w") + field(9, weights.astype("<f4").tobytes())
    node = field(1, "input") + field(1, "w") + field(2, "output") + field(4, "Conv")
    graph = field(1, node) + field(2, "net") + field(5, constant) + field(11, tensor("input")) + field(12, tensor("output"))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def write(folder: Path, name: str, net: Any, settings: dict[str, Any], loader: Any = yaml.safe_dump) -> None:
    """A checkpoint and its description."""
    torch.save(net.state_dict(), folder / f"{name}.ckpt")
    (folder / f"{name}.yaml").write_text(loader(settings))


def roformer(folder: Path, name: str, made: type, model: dict[str, Any], target: str = "vocals") -> None:
    """A RoFormer with 8-second windows, its bands written as tuples, as they often are."""
    hop = model["stft_hop_length"]
    frames = 8 * RATE // hop + 1
    audio = {"chunk_size": hop * (frames - 1), "dim_f": 1024, "dim_t": frames, "hop_length": hop, "n_fft": model["stft_n_fft"],
             "num_channels": 2, "sample_rate": RATE}  # fmt: skip
    training = {"instruments": ["vocals", "other"], "target_instrument": target}
    settings = {"audio": audio, "model": model, "training": training, "inference": {"dim_t": frames, "num_overlap": 2}}
    write(folder, name, made(**model), settings, yaml.dump)


def main(folder: Path) -> None:
    """All of them in one folder; `half` lets half of the sound through, `rest` says that this is what is no vocals."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).normal(0, 0.02, (4, 4))
    data = {"compensate": 1.0, "mdx_dim_f_set": 1024, "mdx_dim_t_set": 8, "mdx_n_fft_scale_set": 2048}
    for name, weights, stem in (
        ("mixed", np.eye(4) * 0.5 + noise, "Vocals"),
        ("half", np.eye(4) * 0.5, "Vocals"),
        ("rest", np.eye(4) * 0.75, "Instrumental"),
    ):
        (folder / f"{name}.onnx").write_bytes(mdx(weights))
        (folder / f"{name}.json").write_text(json.dumps({**data, "primary_stem": stem}))
    write(folder, "c23", TFC_TDF_net(ConfigDict(C23), device="cpu"), C23)
    roformer(folder, "bs", BSRoformer, BS)
    roformer(folder, "mel", MelBandRoformer, MEL)
    roformer(folder, "mel_rest", MelBandRoformer, MEL, "other")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
