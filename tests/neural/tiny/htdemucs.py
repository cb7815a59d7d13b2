"""Tiny random nets of Demucs and a bag of two: `htdemucs.py FOLDER`, run by the Python of "separation"."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import torch
import yaml
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import save_with_checksum

SOURCES = ["drums", "bass", "other", "vocals"]
COMMON = {"sources": SOURCES, "channels": 8, "nfft": 4096, "samplerate": 44_100, "audio_channels": 2}


def save(file: Path, made: type, seed: int, kwargs: dict[str, object]) -> None:
    """Writes `file` as NAME-CHECKSUM.th."""
    torch.manual_seed(seed)
    model = made(**kwargs)
    state = {key: value.half() for key, value in model.state_dict().items()}
    file.parent.mkdir(exist_ok=True)
    save_with_checksum({"klass": made, "args": (), "kwargs": kwargs, "state": state, "training_args": {}}, file)


def main(folder: Path) -> None:
    """Folders `one` (an HTDemucs), `old` (an HDemucs) and `bag` (two, of which only the second says anything of vocals)."""
    torch.set_num_threads(1)
    hybrid = {
        **COMMON,
        "segment": Fraction(39, 5),
        "depth": 4,
        "t_layers": 1,
        "t_heads": 2,
        "bottom_channels": 16,
        "dconv_comp": 4,
    }
    save(folder / "one" / "tinya.th", HTDemucs, 0, hybrid)
    save(folder / "old" / "tinyold.th", HDemucs, 2, {**COMMON, "depth": 6, "segment": 10, "dconv_lstm": 99, "dconv_attn": 99})
    for seed, name in enumerate(("tinya", "tinyb")):
        save(folder / "bag" / f"{name}.th", HTDemucs, seed, hybrid)
    plan = {"models": ["tinya", "tinyb"], "weights": [[1.0, 0.5, 1.0, 0.0], [0.0, 0.5, 1.0, 1.0]], "segment": 7.8}
    (folder / "bag" / "bag.yaml").write_text(yaml.safe_dump(plan))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
